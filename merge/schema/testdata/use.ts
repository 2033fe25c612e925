// What programs do with the generated types. It compiles under tsc --strict;
// each line after @ts-expect-error must not.
import type { EveryThing, EveryThingJson, EveryThingTreeNode, Order, Record2, Value } from "./schemas";

const order: Order = {
  price: 5,
  paid: { units: "9007199254740993", change: { currency: "NOK" } },
  notes: { a: { text: "x" }, b: {} },
  buyer: null,
  state: "open",
};
// @ts-expect-error price is required
const free: Order = { state: "open" };
// @ts-expect-error no such state
const lost: Order = { price: 5, state: "lost" };
// @ts-expect-error a reference is an object
const named: Order = { price: 5, buyer: "ann" };
// @ts-expect-error no such member of the message
const paid: Order = { price: 5, paid: { colour: 1 } };
// @ts-expect-error tags are joined
const tagged: Order = { price: 5, tags: ["a"] };

const leaf: EveryThingTreeNode = { value: 1, more: null };
const json: EveryThingJson = [1, "a", null, { b: [true] }];
const every: EveryThing = {
  deep: { er: { mean: 1 }, "conflict-free": -1 },
  owner: { $ref: "person/ann" },
  tree: { value: 1, more: [], left: leaf },
  json,
  bag: ["a"],
  unions: ["a", 1],
  pair: ["a", null],
  rest: ["a", true, false],
  both: { a: "x", b: "y" },
  bytes: { $bytes: "aGk=" },
  map: { any: "text" },
  wild: { tame: { on: { me: "x" } }, wolf: { on: { me: true } } },
  "it's \"q\"": { "/": "\"\u2028" },
};
// @ts-expect-error a node has a value
every.tree = { more: 1 };
// @ts-expect-error a pair has two items
every.pair = ["a", 1, 2];

const total: Record2 = 5;
const list: Value = { a: "b" };

export { every, free, list, lost, named, order, paid, tagged, total };
