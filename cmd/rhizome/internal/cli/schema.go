package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/merge/schema"
)

func (a *app) schemaCmd() *cobra.Command {
	return a.group("schema", "Say what entities hold, and how it reads", "rhizome schema add order.json\nrhizome schema ls",
		a.schemaAddCmd(), a.schemaCheckCmd(), a.schemaLsCmd(), a.schemaShowCmd(), a.schemaRmCmd(), a.schemaRequireCmd(), a.schemaGenCmd())
}

const schemaHelp = `FILE is a schema's document, "-" stdin; docs/schemas.md has its form.`

// document reads a FILE or - argument whole.
func (a *app) document(args []string) ([]byte, error) {
	r, closeFile, err := a.input(args)
	if err != nil {
		return nil, err
	}
	text, err := readAll(r, "the document")
	return text, errors.Join(err, closeFile())
}

func (a *app) schemaAddCmd() *cobra.Command {
	return a.command(spec{
		use: "add FILE|-", short: "Add a version of a schema",
		long: `Reads go by it at once, here and on every node that it comes to; what is written is
held to it. What was written before is not changed: it reads by the new version, whose
migrations say how. All that is wrong with the document is told at once.

` + schemaHelp,
		example: "rhizome schema add order.json",
		codes:   reach(api.CodeValidation), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error { return a.schemaAdd(cmd, args, false) },
	})
}

func (a *app) schemaCheckCmd() *cobra.Command {
	return a.command(spec{
		use: "check FILE|-", short: "Say what is wrong with a schema, and write nothing",
		long:    "It is checked as the next version of its name in this space.\n\n" + schemaHelp,
		example: "rhizome schema check order.json",
		codes:   reach(api.CodeValidation), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error { return a.schemaAdd(cmd, args, true) },
	})
}

func (a *app) schemaAdd(cmd *cobra.Command, args []string, dry bool) error {
	doc, err := a.document(args)
	if err != nil {
		return err
	}
	return a.with(cmd, func(ctx context.Context, c *client.Client) error {
		r, err := c.AddSchema(ctx, doc, dry)
		if err != nil {
			return err
		}
		a.printVersion(&r)
		return nil
	})
}

// printVersion prints what became of a version of a schema or resolver.
func (a *app) printVersion(r *api.SchemaReceipt) {
	switch {
	case a.out.json():
		a.out.value(r)
	case a.out.form == "raw":
		a.out.printf("%s@%d\n", r.Name, r.Version)
	case r.DryRun:
		a.out.printf("ok  %s@%d may be added\n", r.Name, r.Version)
	default:
		a.out.printf("ok  %s@%d  txn %s\n", r.Name, r.Version, r.Txn)
	}
}

func (a *app) printProblems(problems []api.CatalogProblem) {
	for _, p := range problems {
		if p.InForce {
			a.note("%s is in force, but: %s", plainKey(p.Key), p.Text)
		} else {
			a.note("%s cannot be used: %s", plainKey(p.Key), p.Text)
		}
	}
}

func (a *app) schemaLsCmd() *cobra.Command {
	return a.command(spec{
		use: "ls", short: "List the schemas of the space",
		long:    "Every version; * marks the active one of each, the highest that can be used.",
		example: "rhizome schema ls", codes: reach(),
		run: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				s, err := c.Schemas(ctx)
				if err != nil {
					return err
				}
				if a.out.json() {
					a.out.value(s)
					return nil
				}
				var rows [][]string
				for _, x := range s.Schemas {
					mark := ""
					if x.Active {
						mark = "*"
					}
					if a.out.form == "raw" {
						a.out.printf("%s@%d\n", x.Name, x.Version)
						continue
					}
					rows = append(rows, []string{mark, x.Name, strconv.Itoa(x.Version), plainKey(strings.Join(x.Entities, " ")), strconv.Itoa(x.Properties), plainKey(x.Description)})
				}
				if a.out.form == "table" {
					a.out.table([]string{"", "NAME", "VERSION", "ENTITIES", "PROPERTIES", "DESCRIPTION"}, rows)
				}
				if s.Require {
					a.note("writes to entities without a schema are refused")
				}
				a.printProblems(s.Problems)
				return nil
			})
		},
	})
}

func (a *app) schemaShowCmd() *cobra.Command {
	var version int
	cmd := a.command(spec{
		use: "show NAME [--version N]", short: "Print a schema's document",
		long:    "That of the active version, where none is named.",
		example: "rhizome schema show order\nrhizome schema show order --version 1", codes: reach(api.CodeNotFound), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				doc, err := c.Schema(ctx, args[0], version)
				if err != nil {
					return err
				}
				if a.out.form == "table" {
					a.out.printf("%s\n", valueText(doc, true))
				} else {
					a.out.printf("%s\n", doc)
				}
				return nil
			})
		},
	})
	cmd.Flags().IntVar(&version, "version", 0, "which one (default: the active one)")
	return cmd
}

func (a *app) schemaRmCmd() *cobra.Command {
	return a.command(spec{
		use: "rm NAME", short: "Drop all versions of a schema",
		long:    "What was written by it stays, and reads by the verbs alone.",
		example: "rhizome schema rm order", codes: reach(api.CodeNotFound, api.CodeValidation), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := c.RemoveSchema(ctx, args[0])
				if err != nil {
					return err
				}
				a.printReceipt("", r)
				return nil
			})
		},
	})
}

func (a *app) schemaRequireCmd() *cobra.Command {
	return a.command(spec{
		use: "require on|off", short: "Refuse writes to entities without a schema, or take them",
		long:    "It holds on every node of the space. What is there already, and what peers wrote before\nthey knew, stays.",
		example: "rhizome schema require on", codes: reach(api.CodeValidation), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			if args[0] != "on" && args[0] != "off" {
				return usage(cmd, "schema require: want on or off, not %q", args[0])
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := c.RequireSchema(ctx, args[0] == "on")
				if err != nil {
					return err
				}
				a.printReceipt("", r)
				return nil
			})
		},
	})
}

func (a *app) schemaGenCmd() *cobra.Command {
	gen := func(use, short, long, example string, print func(all []*schema.Compiled) error) *cobra.Command {
		return a.command(spec{
			use: use, short: short, long: long + "\n\nWith FILEs of documents no node is asked: all versions of a schema must be among them.",
			example: example, codes: reach(api.CodeNotFound, api.CodeValidation), max: -1,
			run: func(cmd *cobra.Command, args []string) error {
				all, err := a.compiled(cmd, args)
				if err != nil {
					return err
				}
				return print(all)
			},
		})
	}
	return a.group("gen", "Write types for programs", "rhizome schema gen ts >types.ts",
		gen("ts [FILE...]", "Print TypeScript types of what entities read as",
			"One interface for each schema. They compile under tsc --strict.", "rhizome schema gen ts >types.ts",
			func(all []*schema.Compiled) error {
				a.out.printf("%s", schema.GenTypeScript(all))
				return nil
			}),
		gen("jsonschema [FILE...]", "Print JSON Schemas of what entities read as",
			"A JSON Schema 2020-12 for each schema, one behind the other; with -o json and jsonl, one\na line.", "rhizome schema gen jsonschema",
			func(all []*schema.Compiled) error {
				for _, c := range all {
					text := bytes.TrimSpace(schema.GenJSONSchema(c))
					if a.out.json() {
						text = []byte(valueText(text, false))
					}
					a.out.printf("%s\n", text)
				}
				return nil
			}))
}

// compiled returns the active schemas of the space, or of files.
func (a *app) compiled(cmd *cobra.Command, files []string) ([]*schema.Compiled, error) {
	var docs [][]byte
	for _, name := range files {
		doc, err := a.document([]string{name})
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	if len(files) == 0 {
		err := a.with(cmd, func(ctx context.Context, c *client.Client) (err error) {
			docs, err = documents(ctx, c)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var all []*schema.Schema
	for i, doc := range docs {
		s, err := schema.Parse(doc)
		if err != nil {
			if len(files) > 0 {
				err = fmt.Errorf("%s: %w", files[i], err)
			}
			return nil, api.Problemf(api.CodeValidation, "%v", err)
		}
		all = append(all, s)
	}
	// Nothing is read by them here: any resolver will do.
	known := func(string, map[string]any) (merge.Resolver, error) {
		return merge.ResolverFunc(func(*merge.Input) (merge.Output, error) { return merge.Output{Absent: true}, nil }), nil
	}
	return schema.NewCatalog(all, known, nil).Schemas(), nil
}

// documents fetches every version of every schema.
func documents(ctx context.Context, c *client.Client) (docs [][]byte, err error) {
	list, err := c.Schemas(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range list.Schemas {
		doc, err := c.Schema(ctx, s.Name, s.Version)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}
