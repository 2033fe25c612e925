// Generated from schemas by rhizome. Do not edit.

/** _@1 of entities list/*. */
export type Value = Record<string, string>;

/**
 * Two lines,
 * and *​/ no end.
 * every-thing@1 of entities every/*.
 */
export interface EveryThing {
  all?: (string | null)[];
  anchored?: unknown;
  any?: unknown;
  bag?: string[];
  both?: {
    a?: string;
    [name: string]: unknown;
  } & {
    b: string;
    [name: string]: unknown;
  };
  bytes?: {
    $bytes: string;
  };
  choice?: "yes" | "no";
  count?: number;
  deep: {
    "conflict-free"?: ("a" | "b" | 1 | null | 0.5 | -1) | null;
    er: {
      mean: number;
    };
    own?: unknown;
  };
  fixed?: { a: [1, number, { $ref: "x" }] };
  friends?: ({ $ref: string } | null)[];
  "it's \"q\""?: {
    /** A name to quote. */
    "/"?: "\"\u2028";
  };
  joined?: string;
  json?: (null | boolean | number | string) | EveryThingJson[] | { [name: string]: EveryThingJson };
  lists?: string[];
  map?: { [name: string]: string };
  money?: EveryThingShopV1Money | { $bytes: string };
  never?: never;
  open?: { [name: string]: unknown };
  owner: { $ref: string };
  pair?: [string?, (number | null)?];
  rest?: [string?, ...boolean[]];
  shut?: Record<string, never>;
  sum?: number;
  tree?: EveryThingTreeNode;
  unions?: (string | number)[];
  wild?: {
    tame?: {
      on?: {
        me?: string;
      };
    };
    [name: string]: undefined | {
      on?: {
        me?: string;
      };
    } | {
      on?: Record<string, boolean>;
    };
  };
}

export type EveryThingJson = (null | boolean | number | string) | EveryThingJson[] | { [name: string]: EveryThingJson };

/** The message shop.v1.Money. */
export interface EveryThingShopV1Money {
  currency?: string;
  units?: number | string;
  nanos?: number | string;
  state?: "OPEN" | "PAID" | number;
  parts?: EveryThingShopV1Money[];
  rates?: Record<string, number | string>;
  at?: string;
  more?: { [name: string]: unknown };
  raw?: string;
  free?: unknown;
  maybe?: number | string;
  nothing?: null;
  final?: boolean;
  innerPart?: EveryThingShopV1MoneyInner;
  list?: unknown[];
  object?: { [name: string]: unknown };
}

/** A node. */
export type EveryThingTreeNode = {
  left?: EveryThingTreeNode;
  more: unknown;
  right?: EveryThingTreeNode;
  /** What it holds. */
  value: number;
};

/** The message shop.v1.Money.Inner. */
export interface EveryThingShopV1MoneyInner {
  share?: number | string;
}

/** every.thing@1 of entities twin/*. */
export interface EveryThing2 {
}

/**
 * What a customer buys.
 * order@2 of entities order/*, archive/**.
 */
export interface Order {
  buyer?: { $ref: string } | null;
  notes?: Record<string, {
    text?: string;
  }>;
  paid?: OrderMoney | { $bytes: string };
  /** Before tax. */
  price: number;
  state?: "open" | "paid";
  tags?: string;
  tax?: number;
  total?: number;
}

/** The message Money. */
export interface OrderMoney {
  currency?: string;
  units?: number | string;
  change?: OrderMoney;
}

/** record@1 of entities record/*. */
export type Record2 = number;
