package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

func (a *app) repairCmd() *cobra.Command {
	var timeout time.Duration
	var force bool
	cmd := a.command(spec{
		use:   "repair [--timeout 1m] [--bootstrap MULTIADDR]... [--listen MULTIADDR]... [--force]",
		short: "Get a damaged repo anew from its peers",
		long: `For a stopped node whose repo verify finds damaged, or whose repo does not open. The
repo gets a new store under the same identity: what peers hold comes from them, and
what no peer has from the signed entries that can still be read. The damaged data
is kept beside it, as data.damaged-TIME. Where the index of references alone is wrong,
it is built anew in place, and no peer is needed.

Else a peer must be up. Where none is reached within the timeout, which counts only while
nothing goes forward, nothing is changed. A repo that nothing is wrong with is left
alone; --force repairs it all the same. What could not be read and is on no peer is
listed: those entries are gone, but for what the damaged data still holds.`,
		example: "rhizome repair\nrhizome repair --timeout 10m -o json",
		codes:   []api.Code{api.CodeValidation, api.CodeTimeout, api.CodeLocked},
		run: func(cmd *cobra.Command, _ []string) error {
			if a.cfg.Get("api") != "" {
				return usage(cmd, "repair: works on a repo here, so --api does not go with it")
			}
			if timeout <= 0 {
				return usage(cmd, "repair: --timeout %v is no time", timeout)
			}
			return a.repair(cmd.Context(), timeout, force)
		},
	})
	f := cmd.Flags()
	f.DurationVar(&timeout, "timeout", time.Minute, "how long to wait for peers while nothing goes forward")
	f.BoolVar(&force, "force", false, "repair a repo that nothing is wrong with")
	f.StringArray("bootstrap", nil, "multiaddr of a peer to dial; may be repeated")
	f.StringArray("listen", nil, "multiaddr to listen on; may be repeated (default: as the node does)")
	return cmd
}

func (a *app) repair(ctx context.Context, timeout time.Duration, force bool) error {
	bar := newProgress(a.Err, 0)
	rep, err := rhizome.Repair(ctx, rhizome.RepairOptions{
		Dir: a.cfg.Get("repo"), Timeout: timeout, Force: force, Listen: a.cfg.List("listen"), Bootstrap: a.cfg.List("bootstrap"),
		Progress: func(doing string, done uint64) { bar.draw(fmt.Sprintf("%d %s", done, doing)) }, Logger: a.logger("error"),
	})
	bar.end()
	if err != nil {
		return a.repairError(err)
	}
	out := repairReportOf(&rep)
	switch {
	case a.out.json():
		a.out.value(out)
	case rep.Healthy:
		a.out.printf("ok  nothing is wrong with the repo\n")
	case rep.Reindexed:
		a.out.printf("ok  the index of references was wrong, and is built anew\n")
	case a.out.form == "raw":
		a.out.printf("%s\n", out.Aside)
	default:
		a.printRepair(&out)
	}
	return nil
}

func (a *app) repairError(err error) error {
	switch {
	case errors.Is(err, rhizome.ErrLocked):
		return api.NewProblem(api.CodeLocked, err.Error(), "stop the node first")
	case errors.Is(err, rhizome.ErrNoPeers):
		return api.NewProblem(api.CodeTimeout, err.Error(),
			"nothing has changed; start a peer that this node knows, or name one with --bootstrap, and try again")
	case errors.Is(err, rhizome.ErrNotAgreed):
		return api.NewProblem(api.CodeTimeout, err.Error(), "nothing has changed; see how the peers fare, and try again with a longer --timeout")
	}
	return a.openError(err)
}

// A repairReport is what a repair found and did, as JSON has it.
type repairReport struct {
	Healthy     bool          `json:"healthy"`
	Reindexed   bool          `json:"reindexed"`
	Problems    []string      `json:"problems"`
	Aside       string        `json:"aside,omitempty"`
	Files       int           `json:"files"`
	Unreadable  []string      `json:"unreadable"`
	Salvaged    uint64        `json:"salvaged"`
	Returned    uint64        `json:"returned"`
	ReturnedOwn uint64        `json:"returned_own"`
	Lost        []lostEntries `json:"lost"`
	Peers       int           `json:"peers"`
	Entries     uint64        `json:"entries"`
	Rows        uint64        `json:"rows"`
	Digest      string        `json:"digest,omitempty"`
}

type lostEntries struct {
	Lane     string `json:"lane"`
	Author   string `json:"author"`
	Own      bool   `json:"own"`
	From     uint64 `json:"from"`
	To       uint64 `json:"to"`
	Readable uint64 `json:"readable"`
	// Rewritten are those whose edits were made again.
	Rewritten uint64 `json:"rewritten"`
}

func repairReportOf(r *rhizome.RepairReport) repairReport {
	out := repairReport{
		Healthy: r.Healthy, Reindexed: r.Reindexed, Problems: append([]string{}, r.Problems...), Aside: r.Aside, Files: r.Files,
		Unreadable: append([]string{}, r.Unreadable...), Salvaged: r.Salvaged, Returned: r.Returned,
		ReturnedOwn: r.ReturnedOwn, Lost: make([]lostEntries, 0, len(r.Lost)), Peers: r.Peers, Entries: r.Entries,
		Rows: r.Rows, Digest: r.Digest,
	}
	for _, l := range r.Lost {
		out.Lost = append(out.Lost, lostEntries{l.Lane.String(), l.Author.String(), l.Own, l.From, l.To, l.Readable, l.Rewritten})
	}
	return out
}

func (a *app) printRepair(r *repairReport) {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	a.out.pairs("problems", strings.Join(r.Problems, "\n\t"), "unreadable", strings.Join(r.Unreadable, "\n\t"),
		"read", number(r.Salvaged)+" signed entries",
		"returned", fmt.Sprintf("%d that no peer had, %d of this node", r.Returned, r.ReturnedOwn),
		"peers", strconv.Itoa(r.Peers), "entries", number(r.Entries), "rows", number(r.Rows), "digest", r.Digest,
		"kept", r.Aside)
	for _, l := range r.Lost {
		whose := "of " + short(l.Author)
		if l.Own {
			whose = "of this node"
		}
		a.out.printf("lost: entries %d to %d %s, lane %s; %d of them could be read, and the edits of %d are made again\n",
			l.From, l.To, whose, l.Lane, l.Readable, l.Rewritten)
	}
}
