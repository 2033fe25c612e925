package cli

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

func (a *app) diffCmd() *cobra.Command {
	return a.command(spec{
		use: "diff PEER|FILE|-", short: "List in what this node's state differs from a peer's or a backup's",
		long: `The peer, named by its id as status shows it, must be connected. What differs is found by
sums of ranges, so that equal states cost next to nothing. FILE is a backup, "-" one on
standard input. Nothing is changed on either side.

A row stands here or there alone. It is new where the other side has not applied the
entry that it is of; else something killed it there. Where both have applied the same
entries their states must be equal, and every row that is listed is damage: see repair.`,
		example: "rhizome diff 12D3KooW…\nrhizome diff /mnt/backup/web-1.rhizome -o json",
		min:     1, max: 1,
		codes: reach(api.CodeNotFound, api.CodeValidation),
		run: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := a.diffWith(ctx, c, args[0])
				if err != nil {
					return err
				}
				a.printDiff(&r)
				return nil
			})
		},
	})
}

// diffWith compares with a backup where the name is that of a file, else with a
// peer.
func (a *app) diffWith(ctx context.Context, c *client.Client, name string) (r api.DiffReport, err error) {
	in := a.In
	if name != "-" {
		f, err := os.Open(name)
		if os.IsNotExist(err) && !strings.ContainsAny(name, "/.") {
			return c.DiffPeer(ctx, name)
		}
		if err != nil {
			return r, api.NewProblem(api.CodeValidation, err.Error(), "name a connected peer as status lists it, or a backup file")
		}
		defer func() { _ = f.Close() }() // it was only read from
		in = f
	}
	return c.DiffBackup(ctx, in)
}

func (a *app) printDiff(r *api.DiffReport) {
	if a.out.form != "table" {
		if a.out.json() {
			a.out.value(r)
			return
		}
		for i := range r.Rows {
			a.out.printf("%s\n", r.Rows[i].Key)
		}
		return
	}
	switch {
	case r.Equal:
		a.out.printf("equal: same entries, same state\n")
		return
	case r.SameLog:
		a.out.printf("same entries, and %d rows differ: one of the two is damaged\n", r.Here+r.There)
	default:
		a.out.printf("%d rows here alone, %d there alone; not the same entries are applied\n", r.Here, r.There)
	}
	rows := make([][]string, 0, len(r.Rows))
	for i := range r.Rows {
		x := &r.Rows[i]
		state := "killed on the other side"
		if x.New {
			state = "new"
		}
		rows = append(rows, []string{x.Side, x.Key, string(x.Value), state, x.Dot})
	}
	if len(rows) > 0 {
		a.out.table([]string{"SIDE", "KEY", "VALUE", "STATE", "DOT"}, rows)
	}
	if r.More {
		a.note("only the first %d rows are listed", len(r.Rows))
	}
}
