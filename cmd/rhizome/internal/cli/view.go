package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

func (a *app) viewCmd() *cobra.Command {
	return a.group("view", "Keep questions that are asked again", "rhizome view add linux-hosts linux-hosts.json\nrhizome view show linux-hosts",
		a.viewAddCmd(), a.viewLsCmd(), a.viewShowCmd(), a.viewRmCmd())
}

func (a *app) viewAddCmd() *cobra.Command {
	return a.command(spec{
		use: "add NAME FILE|-", short: "Add a view, or replace it",
		long: `FILE is its definition, "-" stdin; docs/views.md has its form:

  {"entities": ["host/*"], "where": {"/os": "linux", "/cpu/cores": {"ge": 8}},
   "authors": [ID, …], "resolvers": {"/site": "first-write-wins"},
   "project": ["/os", "/cpu"], "expand": 1}`,
		example: `echo '{"entities": ["host/*"], "where": {"/os": "linux"}}' | rhizome view add linux-hosts -`,
		codes:   reach(api.CodeValidation), min: 2, max: 2,
		run: func(cmd *cobra.Command, args []string) error {
			doc, err := a.document(args[1:])
			if err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := c.PutView(ctx, args[0], doc)
				if err != nil {
					return err
				}
				a.printReceipt("", r)
				return nil
			})
		},
	})
}

func (a *app) viewLsCmd() *cobra.Command {
	return a.command(spec{
		use: "ls", short: "List the views of the space", example: "rhizome view ls", codes: reach(),
		run: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				list, err := c.Views(ctx)
				if err != nil {
					return err
				}
				if a.out.json() {
					a.out.value(list)
					return nil
				}
				var rows [][]string
				for _, v := range list.Views {
					if a.out.form == "raw" {
						a.out.printf("%s\n", v.Name)
						continue
					}
					rows = append(rows, []string{v.Name, plainKey(strings.Join(v.Definition.Entities, " ")), plainKey(v.Definition.Description)})
				}
				if a.out.form == "table" {
					a.out.table([]string{"NAME", "ENTITIES", "DESCRIPTION"}, rows)
				}
				a.printProblems(list.Problems)
				return nil
			})
		},
	})
}

func (a *app) viewRmCmd() *cobra.Command {
	return a.command(spec{
		use: "rm NAME", short: "Drop a view",
		long: "Nothing that it showed is changed.", example: "rhizome view rm linux-hosts",
		codes: reach(api.CodeNotFound, api.CodeValidation), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := c.RemoveView(ctx, args[0])
				if err != nil {
					return err
				}
				a.printReceipt("", r)
				return nil
			})
		},
	})
}

func (a *app) viewShowCmd() *cobra.Command {
	var after, at string
	var limit int
	cmd := a.command(spec{
		use: "show NAME [--at CUT] [--after ID] [--limit N]", short: "Print what a view shows, in the byte order of ids",
		long: `One entity a line: its id and its lossy value as JSON; with -o json and jsonl {id, value,
errors[]}. --at shows it as of the past, by the rules of now. ` + cutHelp,
		example: "rhizome view show linux-hosts\nrhizome view show linux-hosts -o jsonl --at 24h",
		codes:   reach(api.CodeNotFound, api.CodeValidation, api.CodeHorizon), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return usage(cmd, "view show: --limit %d is negative", limit)
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				return a.showView(ctx, c, args[0], after, at, limit)
			})
		},
	})
	f := cmd.Flags()
	f.StringVar(&at, "at", "", "as of this cut")
	f.StringVar(&after, "after", "", "only ids after this one")
	f.IntVar(&limit, "limit", 0, "how many at most (default: all)")
	return cmd
}

func (a *app) showView(ctx context.Context, c *client.Client, name, after, at string, limit int) error {
	return a.pages(after, limit, func(l *list, after string, n int) (string, error) {
		got, err := c.ShowView(ctx, name, after, n, at)
		for i := range got.Items {
			l.item(&got.Items[i], func() { a.printViewItem(&got.Items[i]) })
		}
		return got.Next, err
	})
}

func (a *app) printViewItem(i *api.ViewItem) {
	switch {
	case a.out.form == "raw":
		a.out.printf("%s\n", i.ID)
	case i.Gone:
		a.out.printf("%s  (no longer)\n", plainKey(i.ID))
	default:
		a.out.printf("%s  %s\n", plainKey(i.ID), valueText(i.Value, false))
		for j := range i.Errors {
			a.out.printf("    %s\n", errorText(&i.Errors[j]))
		}
	}
}

// viewLine prints what a watched view shows of an entity.
func (a *app) viewLine(data json.RawMessage) error {
	var i api.ViewItem
	if err := json.Unmarshal(data, &i); err != nil {
		return fmt.Errorf("read an item: %w", err)
	}
	a.printViewItem(&i)
	return nil
}
