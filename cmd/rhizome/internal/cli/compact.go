package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

// cutHelp says what a CUT is.
const cutHelp = `A CUT is one of

  now                   everything
  2026-05-01T12:00:00Z  what had been written by then, as its authors' clocks say
  720h, 30d             the same, that long ago
  a cursor              what this node had applied at it; log and watch print them
  LANE:SEQ              an entry and its causal past

The past is kept as far back as raw history is: below that, exit code 12.`

func (a *app) compactCmd() *cobra.Command {
	var to string
	var force, dryRun bool
	cmd := a.command(spec{
		use: "compact [--dry-run] [--to CUT] [--force]", short: "Drop raw history, and give its space back",
		long: `Drops the raw entries that this node holds, all of them or those within --to, and
gives their space back. The newest state stays what it was. Nobody is asked: a peer
that was away gets the state instead, and its own edits are taken in as before. What
goes is the log, undo, and reads of the past. A node does this by itself as its
retention says: see rhizome run.

Entries of this node that no peer is known to hold stay, where it knows peers;
--force drops them too: peers then get what they did, the entries themselves never.
--dry-run says what would go, and about how many bytes of entries that are.

` + cutHelp,
		example: "rhizome compact --dry-run\nrhizome compact --to 30d",
		codes:   reach(api.CodeValidation, api.CodeConflict, api.CodeHorizon),
		run: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				bar := newProgress(a.Err, 0)
				r, err := c.Compact(ctx, to, force, dryRun, func(done, total int) {
					bar.draw(fmt.Sprintf("giving space back  %d%%", done*100/max(total, 1)))
				})
				bar.end()
				if err != nil {
					return err
				}
				a.printCompacted(r)
				return nil
			})
		},
	})
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "drop only what lies within this cut (default: now)")
	f.BoolVar(&force, "force", false, "drop also own entries that no peer is known to hold")
	f.BoolVar(&dryRun, "dry-run", false, "change nothing, and say what would go")
	return cmd
}

func (a *app) printCompacted(r *api.CompactReport) {
	switch {
	case a.out.json():
		a.out.value(r)
	case a.out.form == "raw":
		a.out.printf("%d\n", r.Dropped)
	case r.DryRun:
		a.out.printf("would drop %d entries, about %s", r.Dropped, sizeText(r.Freed))
		a.printBehind(r)
	case r.Checkpoint == 0:
		a.out.printf("nothing to drop; %s given back\n", sizeText(r.Freed))
	default:
		a.out.printf("ok  checkpoint %d, %d entries dropped in %.1f ms, %s given back", r.Checkpoint, r.Dropped, r.WorkMillis, sizeText(r.Freed))
		a.printBehind(r)
	}
	if r.Held {
		a.note("own entries that no peer is known to hold were kept; --force drops them too")
	}
}

func (a *app) printBehind(r *api.CompactReport) {
	if r.Cursor != "" {
		a.out.printf(", up to cursor %s", r.Cursor)
	}
	a.out.printf("\n")
	if len(r.UnseenBy) > 0 {
		a.out.printf("not known to hold all of it, and to get it as state: %s\n", strings.Join(r.UnseenBy, ", "))
	}
}

func (a *app) checkpointsCmd() *cobra.Command {
	return a.command(spec{
		use: "checkpoints", short: "List the compactions of this node",
		long: `Each is recorded before anything is dropped: its number, time, how many entries and
bytes went, the root of the floors that it raised, and the digest of the state, which
a compaction does not change. The last 64 are kept.`,
		example: "rhizome checkpoints\nrhizome checkpoints -o json",
		codes:   reach(),
		run: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				all, err := c.Checkpoints(ctx)
				if err != nil {
					return err
				}
				a.printCheckpoints(all)
				return nil
			})
		},
	})
}

func (a *app) printCheckpoints(all []api.Checkpoint) {
	if a.out.form != "table" {
		l := a.out.list()
		for i := range all {
			l.item(&all[i], func() { a.out.printf("%d\n", all[i].Number) })
		}
		l.end()
		return
	}
	var rows [][]string
	for i := range all {
		c := &all[i]
		state := "done"
		if !c.Done {
			state = "to be dropped"
		}
		rows = append(rows, []string{
			strconv.FormatUint(c.Number, 10), shortTime(c.Time), strconv.FormatUint(c.Entries, 10), sizeText(c.Bytes),
			c.FloorRoot[:min(12, len(c.FloorRoot))], c.Digest[:min(12, len(c.Digest))], state,
		})
	}
	a.out.table([]string{"NUMBER", "TIME", "ENTRIES", "BYTES", "FLOOR", "DIGEST", "STATE"}, rows)
}

// storagePairs returns of a status what concerns compaction.
func storagePairs(s *api.Storage) []string {
	keep := s.Retention.Mode
	if s.Retention.Age != "" {
		age := s.Retention.Age
		if d, err := time.ParseDuration(age); err == nil && d%(24*time.Hour) == 0 {
			age = fmt.Sprintf("%dd", d/(24*time.Hour))
		}
		keep += "  " + age + ", " + sizeText(s.Retention.Bytes)
	}
	dropped := ""
	if s.FloorEntries > 0 {
		dropped = fmt.Sprintf("%d entries, in %d compactions", s.FloorEntries, s.Checkpoints)
		if s.PastFrom != nil {
			dropped += "; the past is kept from " + shortTime(*s.PastFrom) + " on"
		}
	}
	return []string{
		"raw", fmt.Sprintf("%s, of which %s can go, +%s a day", sizeText(s.RawBytes), sizeText(s.ReclaimableBytes), sizeText(s.GrowthPerDay)),
		"live", sizeText(s.LiveBytes), "retention", keep, "dropped", dropped,
	}
}

// retention returns how much history the settings say to keep. They are checked
// when they are loaded.
func (a *app) retention() (rhizome.Retention, error) {
	keep, err := rhizome.ParseRetention(a.cfg.Get("retention"), a.cfg.Get("retention_age"), a.cfg.Get("retention_bytes"))
	if err != nil {
		return keep, api.NewProblem(api.CodeConfig, err.Error(), "see rhizome config show --origin")
	}
	return keep, nil
}

// note tells a person something beside the answer.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintf(a.Err, "note: "+format+"\n", args...)
}
