package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

// simFlags are the flags of sim as they were given.
type simFlags struct {
	peers, writers   int
	seed             uint64
	virtual          time.Duration
	faults, workload string
	retention        string
	trace, svg       string
	record, replay   string
	untilFailure     bool
	shrink           bool
}

func (a *app) simCmd() *cobra.Command {
	var f simFlags
	cmd := a.command(spec{
		use: "sim [--peers N] [--seed S] [--virtual TIME] [--faults LIST] [--workload NAME]", short: "Break a simulated network",
		long: `Runs hosts with the production code in one process, in virtual time, on a
network, disks and clocks that go wrong, all drawn from the seed: the same flags
give the same run, byte for byte. Then the faults end, and all hosts must become
equal. Exits 1 when an invariant breaks, with the command that runs it again.

--faults is all, none, or names with commas, each with a rate where it is not to
be drawn from the seed: loss=0.1,crash. There are:
` + wrap(faultNames(), 78) + `
--workload is one of ` + strings.Join(workloadNames(), ", ") + `.
--retention is what hosts keep of their raw history by themselves: archive is
all, minimal next to nothing, and a time a window of that length.
--trace writes a line for each event; --svg draws how many hosts were equal over
time. --until-failure goes on with the next seed until one fails.

--record writes down all that chance decided, as a script that --replay runs
again, to the same trace; it may be edited. --shrink makes the script of a run
that broke an invariant as small as it gets, and prints it.`,
		example: "rhizome sim --peers 20 --seed 7\nrhizome sim --peers 100 --virtual 10m --faults loss=0.1,crash --svg equal.svg",
		max:     0, bare: true,
		run: func(cmd *cobra.Command, _ []string) error { return a.sim(cmd, f) },
	})
	fl := cmd.Flags()
	fl.IntVar(&f.peers, "peers", 5, "how many hosts there are")
	fl.IntVar(&f.writers, "writers", 0, "how many of them write (default: all, up to 64)")
	fl.Uint64Var(&f.seed, "seed", 1, "where all randomness comes from")
	fl.DurationVar(&f.virtual, "virtual", time.Minute, "how long workload and faults go on, in virtual time")
	fl.StringVar(&f.faults, "faults", "all", "all, none, or names")
	fl.StringVar(&f.workload, "workload", "mixed", "what the writers do")
	fl.StringVar(&f.retention, "retention", "archive", "how much raw history hosts keep by themselves")
	fl.StringVar(&f.trace, "trace", "", "write a line for each event to this file")
	fl.StringVar(&f.svg, "svg", "", "draw the convergence into this file")
	fl.StringVar(&f.record, "record", "", "write a script of the run to this file")
	fl.StringVar(&f.replay, "replay", "", "run this script; other flags that make a world have no effect")
	fl.BoolVar(&f.shrink, "shrink", false, "make the script of a failure small")
	fl.BoolVar(&f.untilFailure, "until-failure", false, "go on with the next seed until one fails")
	return cmd
}

func faultNames() []string {
	var names []string
	for _, f := range simnet.AllFaults {
		names = append(names, string(f))
	}
	return names
}

func workloadNames() []string { return slices.Sorted(maps.Keys(workload.Named)) }

// wrap breaks a list of words into lines.
func wrap(words []string, width int) string {
	var b strings.Builder
	at := 0
	for i, word := range words {
		if i < len(words)-1 {
			word += ","
		}
		switch {
		case at == 0:
		case at+1+len(word) > width:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String()
}

// options are what the flags say.
func (f *simFlags) options(cmd *cobra.Command) (simnet.Options, error) {
	o := simnet.Options{Peers: f.peers, Writers: f.writers, Seed: f.seed, Virtual: f.virtual}
	o.Invariants, o.AtEnd = []simnet.Invariant{workload.OracleNow}, []simnet.Invariant{workload.Oracle, workload.SameReads}
	if f.replay != "" {
		if f.untilFailure {
			return o, usage(cmd, "%s: a script has one seed: leave --until-failure or --replay out", cmd.CommandPath())
		}
		text, err := os.ReadFile(f.replay)
		if err != nil {
			return o, fmt.Errorf("read the script: %w", err)
		}
		if o.Replay, err = simnet.ParseSchedule(string(text)); err != nil {
			return o, usage(cmd, "%s: %s: %v", cmd.CommandPath(), f.replay, err)
		}
		f.virtual, f.workload = o.Replay.Virtual, "script"
		return o, nil
	}
	if f.peers < 1 || f.writers < 0 || f.virtual <= 0 {
		return o, usage(cmd, "%s: --peers and --virtual must be above 0, --writers not below", cmd.CommandPath())
	}
	var err error
	if o.Faults, o.Rates, err = simnet.ParseFaults(f.faults); err != nil {
		return o, usage(cmd, "%s: %v", cmd.CommandPath(), err)
	}
	if o.Workload = workload.Named[f.workload]; o.Workload == nil {
		return o, usage(cmd, "%s: workload %q is not one of %s", cmd.CommandPath(), f.workload, strings.Join(workloadNames(), ", "))
	}
	if o.Retention, err = simnet.ParseRetention(f.retention); err != nil {
		return o, usage(cmd, "%s: %v", cmd.CommandPath(), err)
	}
	return o, nil
}

// again is the command that repeats a run.
func (f *simFlags) again(r *simnet.Report) string {
	if f.replay != "" {
		return "rhizome sim --replay " + f.replay
	}
	again := fmt.Sprintf("rhizome sim --peers %d --writers %d --seed %d --virtual %v --faults %s --workload %s",
		r.Peers, r.Writers, r.Seed, f.virtual, f.faults, f.workload)
	if f.retention != "archive" {
		again += " --retention " + f.retention
	}
	return again
}

// simReport is what sim prints as JSON.
type simReport struct {
	simnet.Report
	Workload string `json:"workload"`
	Replay   string `json:"replay"`
	Script   string `json:"script,omitempty"`
}

func (a *app) sim(cmd *cobra.Command, f simFlags) error {
	o, err := f.options(cmd)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		defer simnet.TuneMemory()()
	}
	for {
		broken, err := a.simOnce(cmd.Context(), f, o)
		if err != nil || broken != nil || !f.untilFailure {
			return errors.Join(err, broken)
		}
		if err := a.out.flush(); err != nil {
			return err
		}
		f.seed++
		o.Seed = f.seed
	}
}

// simOnce runs one seed and prints its report. broken is an invariant's.
func (a *app) simOnce(ctx context.Context, f simFlags, o simnet.Options) (broken, err error) {
	closeTrace := func() error { return nil }
	if f.trace != "" {
		if o.Trace, closeTrace, err = traceFile(f.trace); err != nil {
			return nil, err
		}
	}
	bar := newProgress(a.Err, 0)
	o.Watch = func(at time.Duration, events uint64) error {
		bar.simulating(o.Seed, at, f.virtual, events)
		return ctx.Err()
	}
	var script string
	if f.record != "" || f.shrink {
		o.Record = new(simnet.Schedule)
	}
	r, runErr := simnet.Run(o)
	bar.end()
	if err := closeTrace(); err != nil {
		return nil, fmt.Errorf("write the trace: %w", err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if f.svg != "" {
		if err := os.WriteFile(f.svg, convergenceSVG(&r, f.virtual), 0o666); err != nil {
			return nil, fmt.Errorf("write the figure: %w", err)
		}
	}
	if script, err = f.script(o, runErr != nil, bar); err != nil {
		return nil, err
	}
	a.printSim(&f, &r, script)
	if runErr != nil {
		return api.NewProblem(api.CodeError, runErr.Error(), "run it again with "+f.again(&r)), nil
	}
	return nil, nil
}

// script writes what chance decided where it was asked for, and returns the
// script of a failure that was shrunk.
func (f *simFlags) script(o simnet.Options, failed bool, bar *progress) (shrunk string, err error) {
	s := o.Record
	if failed && f.shrink {
		var failure *simnet.Failure
		x := simnet.Shrinker{Options: o, Log: func(format string, args ...any) { bar.draw("shrink: " + fmt.Sprintf(format, args...)) }}
		s, failure, err = x.Shrink(s)
		bar.end()
		if err != nil {
			return "", err
		}
		shrunk = fmt.Sprintf("# %v\n%v", failure, s)
	}
	if f.record == "" {
		return shrunk, nil
	}
	text := shrunk
	if text == "" {
		text = s.String()
	}
	if err := os.WriteFile(f.record, []byte(text), 0o666); err != nil {
		return "", fmt.Errorf("write the script: %w", err)
	}
	return shrunk, nil
}

// traceFile opens a file to write a trace into.
func traceFile(name string) (w io.Writer, end func() error, err error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, nil, fmt.Errorf("write the trace: %w", err)
	}
	buf := bufio.NewWriterSize(file, 1<<20)
	return buf, func() error { return errors.Join(buf.Flush(), file.Close()) }, nil
}

func (a *app) printSim(f *simFlags, r *simnet.Report, script string) {
	switch {
	case a.out.json():
		a.out.value(simReport{*r, f.workload, f.again(r), script})
		return
	case a.out.form == "raw":
		a.out.printf("%s\n", r.TraceHash)
		return
	case f.untilFailure && r.Error == "":
		a.out.printf("ok  seed %d  %d events  equal after %.1f s\n", r.Seed, r.Events, r.ConvergedAfterS)
		return
	}
	converged := fmt.Sprintf("all equal %.1f s after the faults ended", r.ConvergedAfterS)
	if !r.Converged {
		converged = "no"
	}
	a.out.pairs(
		"run", f.again(r),
		"sessions", fmt.Sprintf("%d or so for each host", r.Degree),
		"rates", ratesText(r.Rates),
		"events", fmt.Sprintf("%d, %.0f a second", r.Events, r.EventsPerS),
		"time", fmt.Sprintf("%.1f s virtual in %.2f s, %.0f times as fast", r.VirtualS, r.WallS, r.VirtualS/max(r.WallS, 1e-9)),
		"writes", fmt.Sprintf("%d acknowledged, %d entries in the end", r.Writes, r.Entries),
		"raw", fmt.Sprintf("%d entries at most at one host", r.MostRaw),
		"compactions", fmt.Sprintf("%d, %d of them ended by the next process", r.Compactions, r.Redone),
		"states", fmt.Sprintf("%d served, %d adopted", r.StatesServed, r.StatesAdopted),
		"faults", countsText(r.Faults),
		"alarms", countsText(r.Alarms),
		"converged", converged,
		"bytes", sizeText(r.BytesPerPeer)+" for each host",
		"digest", r.Digest,
		"trace", r.TraceHash,
	)
	if script != "" {
		a.out.printf("\n%s", script)
	}
}

// ratesText lists rates, those of messages for each message, others for each
// host and minute.
func ratesText(rates simnet.Rates) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(rates)) {
		parts = append(parts, string(k)+"="+strconv.FormatFloat(rates[k], 'g', 4, 64))
	}
	return strings.Join(parts, ",")
}

func countsText[K ~string](counts map[K]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, counts[k]))
	}
	return strings.Join(parts, ", ")
}

func (p *progress) simulating(seed uint64, at, of time.Duration, events uint64) {
	rate := float64(events) / max(time.Since(p.start).Seconds(), 0.001)
	p.draw(fmt.Sprintf("seed %d  %v of %v  %d events  %.0f events/s", seed, at.Round(time.Second), of, events, rate))
}
