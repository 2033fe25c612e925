package cli

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

// The bounds of bench: it is to tell how a node does, not to fill it.
const (
	// maxBenchTime is enough for a rate that is steady.
	maxBenchTime = time.Minute

	// maxBenchValues and maxBenchBytes bound what a phase writes, and so what the
	// node keeps of it as history.
	maxBenchValues = 100_000
	maxBenchBytes  = 256 << 20

	// maxBenchWriters is far above what a group commit needs, and below what a
	// process may open at once.
	maxBenchWriters = 256

	// maxBenchSize keeps a batch far under the limit of an entry, 1 MiB.
	maxBenchSize = 64 << 10

	// maxBenchPrefix keeps a removal of removeBatch keys in one entry.
	maxBenchPrefix = 200
)

// benchFlags are the flags of bench as they were given.
type benchFlags struct {
	duration time.Duration
	ops      int
	writers  int
	size     int
	prefix   string
	keep     bool
}

func (a *app) benchCmd() *cobra.Command {
	var f benchFlags
	cmd := a.command(spec{
		use: "bench [--duration TIME | --ops N] [--writers N] [--size BYTES] [--prefix P] [--keep]", short: "Measure a running node",
		long: fmt.Sprintf(`Writes and reads through the API, as a program beside the node does, and tells
rates and how long single operations took. Each write is on disk when it counts.
In this order:

  put       single writes, by one writer and by --writers
  batch     writes in transactions of up to %d values
  peers     how long until all connected peers have it, if there are any
  get       single reads
  list      keys, in pages
  scan      values, in pages
  watch     single writes, each until a watcher sees it
  catch-up  all that was written, read back from a cursor

Every value that comes back is compared with what was written; one that differs
ends with exit code 1. All is written below --prefix, where nothing may stand
before, and removed at the end, also after an interrupt, which prints what was
measured by then and exits 1. (A second interrupt ends the removal too.) The history
of it stays until the node compacts, and goes to the peers as all else does.

The bounds: --duration up to %v, --ops up to %d; a phase that
writes also ends at %d values or %d MiB. --writers up to %d, --size up to %d.`,
			benchBatch, maxBenchTime, maxBenchValues, maxBenchValues, maxBenchBytes>>20, maxBenchWriters, maxBenchSize),
		example: "rhizome bench\nrhizome bench --writers 64 --duration 10s\nrhizome bench --ops 1000 -o json",
		codes:   reach(api.CodeValidation, api.CodeConflict),
		run:     func(cmd *cobra.Command, _ []string) error { return a.bench(cmd, f) },
	})
	fl := cmd.Flags()
	fl.DurationVar(&f.duration, "duration", 2*time.Second, "how long each phase goes on")
	fl.IntVar(&f.ops, "ops", 0, "how many values each phase writes or reads, in place of --duration")
	fl.IntVar(&f.writers, "writers", 16, "how many write at once")
	fl.IntVar(&f.size, "size", 100, "bytes of a value")
	fl.StringVar(&f.prefix, "prefix", "", "what keys begin with (default: bench/ and a random name)")
	fl.BoolVar(&f.keep, "keep", false, "leave in place what was written")
	return cmd
}

// check says what is wrong with the flags, and fills in the prefix.
func (f *benchFlags) check(cmd *cobra.Command) error {
	set := cmd.Flags().Changed
	switch {
	case set("duration") && set("ops"):
		return usage(cmd, "bench: a phase ends by --duration or by --ops, not by both")
	case f.duration <= 0 || f.duration > maxBenchTime:
		return usage(cmd, "bench: --duration %v: must be above 0 and at most %v", f.duration, maxBenchTime)
	case set("ops") && (f.ops < 1 || f.ops > maxBenchValues):
		return usage(cmd, "bench: --ops %d: must be from 1 to %d", f.ops, maxBenchValues)
	case f.writers < 1 || f.writers > maxBenchWriters:
		return usage(cmd, "bench: --writers %d: must be from 1 to %d", f.writers, maxBenchWriters)
	case f.size < 1 || f.size > maxBenchSize:
		return usage(cmd, "bench: --size %d: must be from 1 to %d", f.size, maxBenchSize)
	case set("prefix") && !prefixFits(f.prefix):
		return usage(cmd, "bench: --prefix %q: must be up to %d bytes of text, without # and not beginning with $", f.prefix, maxBenchPrefix)
	}
	if f.prefix == "" {
		var name [6]byte
		if _, err := crand.Read(name[:]); err != nil {
			return fmt.Errorf("name of the prefix: %w", err)
		}
		f.prefix = "bench/" + hex.EncodeToString(name[:])
	}
	if !strings.HasSuffix(f.prefix, "/") {
		f.prefix += "/"
	}
	return nil
}

func prefixFits(p string) bool {
	return p != "" && len(p) <= maxBenchPrefix && utf8.ValidString(p) && p[0] != '$' && !strings.Contains(p, "#")
}

func (a *app) bench(cmd *cobra.Command, f benchFlags) (err error) {
	if err := f.check(cmd); err != nil {
		return err
	}
	ctx := cmd.Context()
	clients, closeAll, err := a.benchClients(ctx, f.writers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	b, err := newBench(ctx, clients, f)
	if err != nil {
		return err
	}
	b.bar = newProgress(a.Err, 0)
	if f.keep {
		a.note("writing below %s, where it stays", plainKey(f.prefix))
	} else {
		a.note("writing below %s, and removing it at the end", plainKey(f.prefix))
	}
	err = b.run(ctx)
	b.report.Interrupted = ctx.Err() != nil
	if !f.keep {
		// What was written goes whatever has ended the run.
		b.remove(context.WithoutCancel(ctx))
	}
	b.bar.end()
	a.printBench(&b.report)
	return b.verdict(ctx, err)
}

// benchClients returns a client for each writer, so that each keeps a connection
// of its own, and what closes them.
func (a *app) benchClients(ctx context.Context, n int) (clients []*client.Client, closeAll func() error, err error) {
	closeAll = func() (err error) {
		for _, c := range clients {
			err = errors.Join(err, c.Close())
		}
		return err
	}
	for range n {
		c, err := a.connect(ctx)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		clients = append(clients, c)
		if c.Local {
			err := api.NewProblem(api.CodeUnreachable, "no node runs on this repo, so there is nothing to measure", "start one with rhizome run")
			return nil, nil, errors.Join(err, closeAll())
		}
	}
	return clients, closeAll, nil
}

// verdict makes the command's error of how the run ended: of what went wrong
// with the data before all else.
func (b *bench) verdict(ctx context.Context, err error) error {
	r := &b.report
	left := ""
	if r.Left > 0 {
		left = fmt.Sprintf("; %s", r.leftText())
	}
	hint := "rhizome ls " + r.Prefix + " tells what is left there"
	switch {
	case r.Wrong > 0:
		return api.NewProblem(api.CodeError, fmt.Sprintf("%d values are not what was written, the first at %s%s", r.Wrong, r.FirstWrong, left),
			"run rhizome verify")
	case ctx.Err() != nil:
		p := api.NewProblem(api.CodeError, "interrupted"+left, "")
		if r.Left > 0 {
			p.Hint = hint
		}
		return p
	case err != nil:
		p := *api.ProblemOf(err)
		p.Detail += left
		if r.Left > 0 {
			p.Hint = hint
		}
		return &p
	case r.Left > 0:
		return api.NewProblem(api.CodeError, r.leftText(), hint)
	}
	return nil
}
