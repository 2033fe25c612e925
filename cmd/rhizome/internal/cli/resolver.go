package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

func (a *app) resolverCmd() *cobra.Command {
	return a.group("resolver", "Add resolvers of one's own, which replicate", "rhizome resolver add order-total --cel 'double(deps.price) * double(deps.quantity)'\nrhizome resolver ls",
		a.resolverAddCmd(), a.resolverLsCmd(), a.resolverRmCmd())
}

func (a *app) resolverAddCmd() *cobra.Command {
	var cel, wasm, description string
	cmd := a.command(spec{
		use: "add NAME --cel EXPRESSION | --wasm FILE [--description TEXT]", short: "Add a version of a resolver",
		long: `It takes the place of the version before it at once, here and on every node that it
comes to; reads go on meanwhile. A schema or a view names it.

--cel is an expression over survivors, values, deps, entity and path; "@FILE" reads it
from a file, "-" from stdin. --wasm is a WebAssembly module of at most 8 MiB.
docs/resolvers.md says what they are given, and what they may not do.`,
		example: "rhizome resolver add order-total --cel 'double(deps.price) * double(deps.quantity)'\nrhizome resolver add median --wasm median.wasm",
		codes:   reach(api.CodeValidation), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			if (cel == "") == (wasm == "") {
				return usage(cmd, "resolver add: want --cel or --wasm")
			}
			expression, err := a.expression(cel)
			if err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := a.addResolver(ctx, c, args[0], description, expression, wasm)
				if err != nil {
					return err
				}
				a.printVersion(&r)
				return nil
			})
		},
	})
	f := cmd.Flags()
	f.StringVar(&cel, "cel", "", "an expression, @FILE or -")
	f.StringVar(&wasm, "wasm", "", "the file of a module")
	f.StringVar(&description, "description", "", "what it does, for people")
	return cmd
}

// expression reads what --cel was given.
func (a *app) expression(arg string) (string, error) {
	name, isFile := strings.CutPrefix(arg, "@")
	if !isFile && arg != "-" {
		return arg, nil
	}
	text, err := a.document([]string{name})
	return strings.TrimSpace(string(text)), err
}

func (a *app) addResolver(ctx context.Context, c *client.Client, name, description, expression, wasm string) (r api.SchemaReceipt, err error) {
	if wasm == "" {
		return c.AddCEL(ctx, name, description, expression)
	}
	f, err := openFile(wasm)
	if err != nil {
		return r, err
	}
	defer func() { _ = f.Close() }() // it was only read from
	return c.AddWASM(ctx, name, description, f)
}

func (a *app) resolverLsCmd() *cobra.Command {
	return a.command(spec{
		use: "ls", short: "List the resolvers of the space",
		long: `Every version with its state: active, replaced by a later one, loading while its module
has not come whole, broken, or retired. Those that are built in are named on stderr.`,
		example: "rhizome resolver ls", codes: reach(),
		run: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				list, err := c.Resolvers(ctx)
				if err != nil {
					return err
				}
				a.printResolvers(&list)
				return nil
			})
		},
	})
}

func (a *app) printResolvers(list *api.Resolvers) {
	if a.out.json() {
		a.out.value(list)
		return
	}
	var rows [][]string
	for _, r := range list.Resolvers {
		for _, v := range r.Versions {
			if a.out.form == "raw" {
				a.out.printf("%s@%d\n", r.Name, v.Version)
				continue
			}
			what := v.Expression
			if v.Module != "" {
				what = v.Module[:12] + "…  " + sizeText(uint64(v.Size))
			}
			rows = append(rows, []string{r.Name, strconv.Itoa(v.Version), v.State, string(v.Kind), plainKey(what), plainKey(v.Description)})
		}
	}
	if a.out.form != "table" {
		return
	}
	a.out.table([]string{"NAME", "VERSION", "STATE", "KIND", "WHAT", "DESCRIPTION"}, rows)
	a.note("built in: %s", strings.Join(list.Builtin, ", "))
	a.printProblems(list.Problems)
}

func (a *app) resolverRmCmd() *cobra.Command {
	return a.command(spec{
		use: "rm NAME", short: "Retire a resolver",
		long:    "Properties that it is for have an error in place of a value, until another version is\nadded.",
		example: "rhizome resolver rm order-total", codes: reach(api.CodeNotFound, api.CodeValidation), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := c.RetireResolver(ctx, args[0])
				if err != nil {
					return err
				}
				a.printVersion(&r)
				return nil
			})
		},
	})
}
