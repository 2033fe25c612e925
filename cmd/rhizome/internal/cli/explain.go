package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

func (a *app) explainCmd() *cobra.Command {
	var o rhizome.ReadOptions
	cmd := a.command(spec{
		use: "explain KEY [--view NAME | --raw]", short: "Say why a key reads as it does",
		long: `For each property: its value, the resolver that decided and why, what that had to go by,
and every survivor, those marked with * that the value shows. Then what was killed there
since the horizon, the newest first, and by whom.`,
		example: "rhizome explain order/7#/total\nrhizome explain host/web-1 --view trusted",
		codes:   reach(api.CodeNotFound, api.CodeValidation), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			if err := keyArg(args[0]); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				x, err := c.Explain(ctx, args[0], o)
				if err != nil {
					return err
				}
				a.printExplanation(&x)
				return nil
			})
		},
	})
	cmd.Flags().StringVar(&o.View, "view", "", "by this view's survivors and resolvers")
	cmd.Flags().BoolVar(&o.Raw, "raw", false, "by the verbs alone, whatever schema there is")
	return cmd
}

func (a *app) printExplanation(x *api.Explanation) {
	switch {
	case a.out.json():
		a.out.value(x)
		return
	case a.out.form == "raw":
		a.out.printf("%s\n", x.Value)
		return
	}
	a.out.printf("%s", plainKey(x.Key))
	if x.Rules != "" {
		a.out.printf("  by %s", x.Rules)
	}
	a.out.printf("\n")
	for i := range x.Properties {
		a.printExplained(&x.Properties[i])
	}
	if len(x.Killed) > 0 {
		a.out.printf("\nkilled:\n")
		var rows [][]string
		for i := range x.Killed {
			k := &x.Killed[i]
			rows = append(rows, []string{
				"", plainPath(k.Path), valueText(k.Value, false), k.Verb, shortTime(k.Time), creatorText(k.Creator, k.Author), killersText(k),
			})
		}
		a.out.table([]string{"", "PATH", "VALUE", "VERB", "TIME", "CREATOR", "KILLED BY"}, rows)
		if x.More {
			a.note("more was killed than is listed")
		}
	}
	if x.Horizon != "" {
		a.note("what was killed is told from cursor %s on (%s)", x.Horizon, shortTime(*x.Since))
	}
}

func (a *app) printExplained(p *api.ExplainedProperty) {
	value := "(no value)"
	if len(p.Value) > 0 {
		value = valueText(p.Value, false)
	}
	a.out.printf("\n%s = %s\n", plainPath(p.Path), value)
	if p.Resolver != "" || p.Why != "" {
		a.out.printf("  rule: %s\n", strings.Trim(p.Resolver+": "+p.Why, ": "))
	}
	for _, id := range slices.Sorted(maps.Keys(p.Inputs)) {
		a.out.printf("  input: %s = %s\n", plainKey(id), valueText(p.Inputs[id], false))
	}
	if p.Error != nil {
		a.out.printf("  error: %s: %s\n", p.Error.Kind, p.Error.Text)
	}
	if p.Conflict {
		a.out.printf("  it hides a value that differs\n")
	}
	if len(p.Survivors) > 0 {
		a.out.table(nil, indent(survivorRows(p.Survivors)))
	}
}

// indent moves rows to the right.
func indent(rows [][]string) [][]string {
	for i := range rows {
		rows[i][0] = "  " + rows[i][0]
	}
	return rows
}

// killersText names who killed a survivor, each by its dot.
func killersText(killed *api.KilledSurvivor) string {
	if len(killed.By) == 0 {
		return "a state that a peer served, or the closing of a lane"
	}
	var out []string
	for _, k := range killed.By[:min(len(killed.By), shownKillers)] {
		who := creatorText(k.Creator, k.Author)
		if k.Creator == "" {
			who = short(k.Author)
		}
		out = append(out, strings.TrimSpace(k.Verb+" of "+who)+" ("+k.Dot+")")
	}
	text := strings.Join(out, ", ")
	if more := killed.Killers - len(out); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// shownKillers is how many of those that killed a survivor fit on its line.
const shownKillers = 3
