package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/report"
	"github.com/rhizome-p2p/rhizome/bench/internal/stat"
	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

const (
	// usualRuns is how often a scenario is run, in turn.
	usualRuns = 5
	// slow is what a peer may take before a scenario is run only once.
	slow = 10 * time.Second
)

// A Config says what to run and how.
type Config struct {
	Scenarios []Scenario
	// Runs of each scenario; zero means 5, and 1 where a peer takes over 10 s.
	Runs int
	// Limit is what each measured part of one cell may take.
	Limit time.Duration
	// Scale makes all counts smaller, for a quick look or a test; 1 is full size.
	Scale float64
	// Dir is where temporary directories are made.
	Dir string
	// Command returns a command that runs a worker of a system.
	Command func(System) *exec.Cmd
	// Progress gets a line for each cell.
	Progress io.Writer
}

// suite is a Config that runs.
type suite struct {
	cfg Config
	// base holds the directories of the scenario that runs.
	base string
	// ready are the prepared stores that are there.
	ready map[string]bool
}

// results are the samples of one scenario: by system, by run.
type results struct {
	samples map[System]map[int]Sample
	notes   map[System]string
	runs    int
	errs    []string
}

// Run runs the scenarios and adds their rows to a report. An error is one of the
// surroundings; what goes wrong within a scenario stands in the report.
func Run(ctx context.Context, cfg Config, rep *report.Report) error {
	if cfg.Scale <= 0 || cfg.Scale > 1 {
		return fmt.Errorf("scale %v is not above 0 and at most 1", cfg.Scale)
	}
	for _, s := range cfg.Scenarios {
		base, err := os.MkdirTemp(cfg.Dir, "rhizome-bench-")
		if err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		x := &suite{cfg: cfg, base: base, ready: make(map[string]bool)}
		res := x.runScenario(ctx, s)
		if err := os.RemoveAll(base); err != nil {
			return fmt.Errorf("remove what was measured: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rep.Scenarios = append(rep.Scenarios, report.Scenario{Name: s.Name, About: s.About, Durability: s.Durability})
		rep.Rows = append(rep.Rows, res.rows(s)...)
		rep.Errors = append(rep.Errors, res.errs...)
	}
	return nil
}

// runScenario runs all systems in turn, as often as is due. Each run begins with
// another of them.
func (x *suite) runScenario(ctx context.Context, s Scenario) *results {
	res := &results{samples: make(map[System]map[int]Sample), notes: make(map[System]string)}
	runs := x.cfg.Runs
	if runs == 0 {
		runs = usualRuns
	}
	for run := 0; run < runs && ctx.Err() == nil; run++ {
		cells := x.cells(s, run, res)
		if s.sliced != nil {
			x.runSliced(ctx, s.sliced, cells, res)
		}
		for _, c := range cells {
			if s.sliced == nil && ctx.Err() == nil {
				sample, err := x.runWhole(ctx, s, c)
				res.note(c, sample, err)
			}
			if c.system.isPeer() && c.took > slow.Seconds() && x.cfg.Runs == 0 {
				runs = 1
			}
		}
		res.runs = run + 1
	}
	return res
}

// cells returns the cells of a run, without those of systems that have failed
// before and would again.
func (x *suite) cells(s Scenario, run int, res *results) (cells []*cell) {
	for i := range s.Systems {
		system := s.Systems[(i+run)%len(s.Systems)]
		if res.notes[system] != "" {
			continue
		}
		name := fmt.Sprintf("run-%d-%s", run, system)
		cells = append(cells, &cell{suite: x, scenario: s.Name, run: run, system: system, dir: filepath.Join(x.base, name)})
	}
	return cells
}

// runWhole runs a cell from its beginning to its end.
func (x *suite) runWhole(ctx context.Context, s Scenario, c *cell) (sample Sample, err error) {
	if err = os.Mkdir(c.dir, 0o700); err == nil {
		sample, err = s.run(ctx, c)
	}
	if end := c.end(err != nil); err == nil {
		err = end
	}
	return sample, err
}

// runSliced runs cells side by side: all are open, and one works at a time.
func (x *suite) runSliced(ctx context.Context, s *sliced, cells []*cell, res *results) {
	errs := make([]error, len(cells))
	workers := make([]*worker.Client, len(cells))
	for i, c := range cells {
		if errs[i] = os.Mkdir(c.dir, 0o700); errs[i] == nil {
			workers[i], errs[i] = c.alone(ctx, c.path("a"), true)
		}
	}
	for slice := range sliceCount {
		for n := range cells {
			i := (n + slice) % len(cells)
			if errs[i] == nil && ctx.Err() == nil {
				cells[i].last, errs[i] = s.slice(ctx, cells[i], workers[i], slice)
			}
		}
	}
	for i, c := range cells {
		var sample Sample
		if errs[i] == nil {
			sample, errs[i] = s.finish(ctx, c, workers[i])
		}
		if end := c.end(errs[i] != nil); errs[i] == nil {
			errs[i] = end
		}
		res.note(c, sample, errs[i])
	}
}

// note takes down what a cell has come to. Of one that comes to its limit, what
// it had measured before is kept.
func (r *results) note(c *cell, sample Sample, err error) {
	what := fmt.Sprintf("%s, run %d, %s", c.scenario, c.run+1, c.system)
	late := errors.Is(err, worker.ErrLate)
	if err == nil || late && sample != nil {
		if r.samples[c.system] == nil {
			r.samples[c.system] = make(map[int]Sample)
		}
		r.samples[c.system][c.run] = sample
	}
	told := fmt.Sprintf("%.3f s", c.took)
	switch {
	case late:
		c.took = c.cfg.Limit.Seconds()
		told = fmt.Sprintf("over %g s", c.took)
		r.notes[c.system] = told
	case err != nil:
		told = err.Error()
		r.notes[c.system] = "failed"
	}
	if err != nil && !(late && c.system.isPeer()) {
		r.errs = append(r.errs, fmt.Sprintf("%s: %v", what, err))
	}
	fmt.Fprintf(c.cfg.Progress, "%s: %s\n", what, told)
}

// series are the values of a metric by run.
func (r *results) series(s System, m Metric) map[int]float64 {
	out := make(map[int]float64)
	for run, sample := range r.samples[s] {
		if v, ok := sample[m]; ok {
			out[run] = v
		}
	}
	return out
}

func spread(series map[int]float64) *stat.Spread {
	var values []float64
	for _, v := range series {
		values = append(values, v)
	}
	return stat.Of(values)
}

// rows returns the rows of a scenario, in the order of its metrics.
func (r *results) rows(s Scenario) (rows []report.Row) {
	for _, m := range s.Metrics {
		ours := r.series(Ours, m)
		row := report.Row{Scenario: s.Name, Metric: m.Name, Unit: m.Unit, Ours: spread(ours), Runs: r.runs}
		for _, to := range []struct {
			system System
			spread **stat.Spread
			ratio  **float64
		}{{Peer, &row.Peer, &row.RatioPeer}, {PeerFast, &row.PeerFast, &row.RatioPeerFast}, {Limit, &row.Limit, &row.RatioLimit}} {
			series := r.series(to.system, m)
			*to.spread, *to.ratio = spread(series), stat.Ratio(ours, series)
		}
		for system, note := range r.notes {
			if row.Notes == nil {
				row.Notes = make(map[string]string)
			}
			row.Notes[system.column()] = note
		}
		rows = append(rows, row)
	}
	return rows
}
