// Command bench measures Rhizome beside the peer that people would pick,
// go-ds-crdt, and beside raw Pebble, the limit of both.
//
//	go -C bench run . -scenario all -o table
//
// See README.md for what the figures mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/crdtside"
	"github.com/rhizome-p2p/rhizome/bench/internal/pebbleside"
	"github.com/rhizome-p2p/rhizome/bench/internal/report"
	"github.com/rhizome-p2p/rhizome/bench/internal/rhizomeside"
	"github.com/rhizome-p2p/rhizome/bench/internal/scenario"
	"github.com/rhizome-p2p/rhizome/bench/internal/side"
	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(exit(os.Stderr, err))
}

// A usageError reports a command line that asks for nothing that there is.
type usageError struct{ text, hint string }

// Error says what is wrong.
func (e *usageError) Error() string { return e.text }

func usage(hint, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), hint}
}

// seeHelp is the hint where the list of flags helps.
const seeHelp = "bench -help lists the flags"

// exit tells a person what an error says, and returns the exit code of the
// program: 2 for a command line that makes no sense, 1 for all else that went
// wrong.
func exit(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(w, "error:", strings.ReplaceAll(err.Error(), "\n", "\n       "))
	var u *usageError
	if !errors.As(err, &u) {
		return 1
	}
	fmt.Fprintln(w, "hint:", u.hint)
	return 2
}

func run(ctx context.Context, args []string, in io.Reader, out, progress io.Writer) error {
	if len(args) > 0 && args[0] == "worker" {
		return work(ctx, args[1:], in, out)
	}
	return measure(ctx, args, out, progress)
}

// openers are how each system is opened.
var openers = map[scenario.System]worker.Opener{
	scenario.Ours: func(ctx context.Context, o side.Options) (side.Store, error) { return rhizomeside.Open(ctx, o) },
	scenario.Peer: func(_ context.Context, o side.Options) (side.Store, error) {
		return crdtside.Open(o, crdtside.Bitswap)
	},
	scenario.PeerFast: func(_ context.Context, o side.Options) (side.Store, error) {
		return crdtside.Open(o, crdtside.Plain)
	},
	scenario.Limit: func(_ context.Context, o side.Options) (side.Store, error) { return pebbleside.Open(o) },
}

// work runs a worker. It leaves signals to the process that started it, whose
// end closes its input.
func work(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	system := flags.String("system", "", "rhizome, peer, peer-fast or pebble")
	if help, err := parse(flags, args, out); help || err != nil {
		return err
	}
	open, ok := openers[scenario.System(*system)]
	if !ok {
		return usage("bench starts its workers itself", "no system %q", *system)
	}
	return worker.Serve(context.WithoutCancel(ctx), in, out, open)
}

// parse reads flags. Where help is asked for it is printed, and there is nothing
// else to do.
func parse(flags *flag.FlagSet, args []string, out io.Writer) (help bool, err error) {
	flags.SetOutput(io.Discard)
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(out)
		flags.Usage()
		return true, nil
	case err != nil:
		return false, usage(seeHelp, "%v", err)
	case flags.NArg() > 0:
		return false, usage(seeHelp, "what is %q?", flags.Arg(0))
	}
	return false, nil
}

func measure(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	names := flags.String("scenario", "all", "scenarios to run: all, or names with commas between")
	runs := flags.Int("runs", 0, "runs of each scenario; 0 means 5, and 1 where a peer takes over 10 s")
	format := flags.String("o", "table", "output: table, json or markdown")
	limit := flags.Duration("limit", time.Minute, "time limit of what is measured in one cell")
	scale := flags.Float64("scale", 1, "factor, at most 1, for all counts")
	dir := flags.String("dir", os.TempDir(), "where to make temporary directories; the disk that is measured")
	docs := flags.Bool("write", false, "renew docs/benchmarks.md and its charts")
	if help, err := parse(flags, args, out); help || err != nil {
		return err
	}
	chosen, err := scenario.Select(*names)
	if err != nil {
		return usage("name one or more of them, with commas between", "%v", err)
	}
	write, err := writer(*format)
	if err != nil {
		return err
	}
	switch {
	case *runs < 0:
		return usage(seeHelp, "%d runs", *runs)
	case *limit <= 0:
		return usage(seeHelp, "limit %v is not above 0", *limit)
	case !(*scale > 0 && *scale <= 1): // nor is what is no number
		return usage(seeHelp, "scale %v is not above 0 and at most 1", *scale)
	}
	if *docs {
		if err := checkDocs(*names, *scale); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	rep, err := report.New(*dir, strings.Join(append([]string{"go -C bench run ."}, args...), " "))
	if err != nil {
		return err
	}
	err = scenario.Run(ctx, scenario.Config{
		Scenarios: chosen, Runs: *runs, Limit: *limit, Scale: *scale, Dir: *dir, Progress: progress,
		Command: func(s scenario.System) *exec.Cmd { return exec.Command(self, "worker", "-system", string(s)) },
	}, rep)
	if err != nil {
		return err
	}
	rep.Finish()
	if err := write(rep, out); err != nil {
		return err
	}
	if len(rep.Errors) > 0 {
		return errors.New(strings.Join(rep.Errors, "\n"))
	}
	if *docs {
		return rep.WriteDocs(docsDir)
	}
	return nil
}

// docsDir is seen from the module's directory, in which `go -C bench run` runs the program.
const docsDir = "../docs"

// checkDocs says before all the measuring what would be wrong after it.
func checkDocs(names string, scale float64) error {
	if names != "all" || scale != 1 {
		return usage("leave out -scenario and -scale, or -write", "-write wants all scenarios at full scale: the page has no room for less")
	}
	if _, err := os.Stat(docsDir); err != nil {
		return usage("go -C bench run . -write", "-write wants to be run in the directory of the bench module: %v", err)
	}
	return nil
}

func writer(format string) (func(*report.Report, io.Writer) error, error) {
	switch format {
	case "table":
		return (*report.Report).WriteTable, nil
	case "json":
		return (*report.Report).WriteJSON, nil
	case "markdown":
		return (*report.Report).WriteMarkdown, nil
	}
	return nil, usage("name one of them with -o", "no output %q; there are table, json and markdown", format)
}
