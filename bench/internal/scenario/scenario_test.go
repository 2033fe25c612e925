package scenario

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/pebbleside"
	"github.com/rhizome-p2p/rhizome/bench/internal/report"
	"github.com/rhizome-p2p/rhizome/bench/internal/side"
	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

// losing is raw Pebble that loses one put.
type losing struct{ *pebbleside.Store }

func (l losing) Put(ctx context.Context, key string, value []byte) error {
	if key == side.Key(3) {
		return nil
	}
	return l.Store.Put(ctx, key, value)
}

// TestMain makes the test a worker where a test says so.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		err := worker.Serve(context.Background(), os.Stdin, os.Stdout, func(_ context.Context, o side.Options) (side.Store, error) {
			s, err := pebbleside.Open(o)
			if os.Args[2] == "loses" {
				return losing{s}, err
			}
			return s, err
		})
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// config runs scenarios with workers of raw Pebble under all names, of which one
// has a fault.
func config(t *testing.T, fault map[System]string, progress io.Writer, scenarios ...Scenario) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Scenarios: scenarios, Limit: time.Minute, Scale: 0.005, Dir: t.TempDir(), Progress: progress,
		Command: func(s System) *exec.Cmd { return exec.Command(self, "worker", fault[s]) },
	}
}

func mustSelect(t *testing.T, names string) []Scenario {
	t.Helper()
	s, err := Select(names)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLostValue: a system that loses a value has no figures, and the report says
// which value and of whom; the others have theirs.
func TestLostValue(t *testing.T) {
	cfg := config(t, map[System]string{Peer: "loses"}, io.Discard, mustSelect(t, "put-single")...)
	cfg.Runs = 2
	var rep report.Report
	if err := Run(t.Context(), cfg, &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Errors) != 1 || !strings.Contains(rep.Errors[0], "put-single, run 1, peer") || !strings.Contains(rep.Errors[0], side.Key(3)+" is missing") {
		t.Errorf("errors %q", rep.Errors)
	}
	for _, row := range rep.Rows {
		if row.Peer != nil || row.Notes["peer"] != "failed" || row.Ours == nil || row.PeerFast == nil || row.Limit == nil || row.RatioLimit == nil {
			t.Errorf("%+v", row)
		}
	}
	left, err := os.ReadDir(cfg.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// fixed returns a scenario whose cells take what a function says and write down
// the order in which they ran.
func fixed(order *[]string, took func(System, int) (float64, error)) Scenario {
	runs := make(map[System]int)
	return Scenario{
		Name: "fixed", Metrics: []Metric{elapsed}, Systems: everyone,
		run: func(_ context.Context, c *cell) (Sample, error) {
			*order = append(*order, string(c.system))
			x, err := took(c.system, runs[c.system])
			runs[c.system]++
			c.took = x
			return Sample{elapsed: x}, err
		},
	}
}

// TestRatiosArePairwise: ratios are taken run by run, and each run begins with
// another system.
func TestRatiosArePairwise(t *testing.T) {
	figures := map[System][]float64{
		Ours: {1, 8, 3}, Peer: {2, 1, 3}, PeerFast: {1, 8, 3}, Limit: {4, 4, 4}, // ratios to the peer: 0.5, 8, 1
	}
	var order []string
	cfg := config(t, nil, io.Discard, fixed(&order, func(s System, run int) (float64, error) { return figures[s][run], nil }))
	cfg.Runs = 3
	var rep report.Report
	if err := Run(t.Context(), cfg, &rep); err != nil {
		t.Fatal(err)
	}
	row := rep.Rows[0]
	// Of the medians it would be 3/2.
	if *row.RatioPeer != 1 || *row.RatioPeerFast != 1 || *row.RatioLimit != 0.75 || row.Runs != 3 {
		t.Errorf("%v, %v, %v of %d runs", *row.RatioPeer, *row.RatioPeerFast, *row.RatioLimit, row.Runs)
	}
	if row.Ours.Median != 3 || row.Ours.Min != 1 || row.Ours.Max != 8 {
		t.Errorf("%+v", *row.Ours)
	}
	firsts := []string{order[0], order[4], order[8]}
	if !slices.Equal(firsts, []string{string(Ours), string(Peer), string(PeerFast)}) {
		t.Errorf("runs began with %v", firsts)
	}
}

// TestSlices: cells of a scenario in slices run side by side, each slice in another
// order, and one that fails does not stop the others.
func TestSlices(t *testing.T) {
	var order []System
	s := Scenario{Name: "sliced", Metrics: []Metric{elapsed}, Systems: everyone, sliced: &sliced{
		slice: func(_ context.Context, c *cell, _ *worker.Client, i int) (worker.Reply, error) {
			order = append(order, c.system)
			if c.system == Peer && i == 1 {
				return worker.Reply{}, errors.New("no more")
			}
			return worker.Reply{}, nil
		},
		finish: func(context.Context, *cell, *worker.Client) (Sample, error) { return Sample{elapsed: 1}, nil },
	}}
	cfg := config(t, nil, io.Discard, s)
	cfg.Runs = 1
	var rep report.Report
	if err := Run(t.Context(), cfg, &rep); err != nil {
		t.Fatal(err)
	}
	want := []System{Ours, Peer, PeerFast, Limit, Peer, PeerFast, Limit, Ours, PeerFast, Limit, Ours}
	if len(order) != 4+4+3*(sliceCount-2) || !slices.Equal(order[:len(want)], want) {
		t.Errorf("%v", order)
	}
	if row := rep.Rows[0]; row.Ours == nil || row.Limit == nil || row.Peer != nil || len(rep.Errors) != 1 || !strings.Contains(rep.Errors[0], "no more") {
		t.Errorf("%+v, errors %q", row, rep.Errors)
	}
}

// TestRuns: there are five runs, one where a peer takes over ten seconds, and as
// many as were asked for where that was said.
func TestRuns(t *testing.T) {
	for _, tt := range []struct {
		peer float64
		runs int
		want int
	}{{1, 0, 5}, {11, 0, 1}, {11, 3, 3}} {
		var order []string
		cfg := config(t, nil, io.Discard, fixed(&order, func(s System, _ int) (float64, error) {
			if s == Peer {
				return tt.peer, nil
			}
			return 1, nil
		}))
		cfg.Runs = tt.runs
		var rep report.Report
		if err := Run(t.Context(), cfg, &rep); err != nil {
			t.Fatal(err)
		}
		if rep.Rows[0].Runs != tt.want || len(order) != 4*tt.want {
			t.Errorf("peer of %v s, runs %d: %d runs, %d cells", tt.peer, tt.runs, rep.Rows[0].Runs, len(order))
		}
	}
}

// TestLatePeer: a peer that comes to its limit is recorded as that, is not run
// again, and is no error; ours is one.
func TestLatePeer(t *testing.T) {
	for _, late := range []System{PeerFast, Ours} {
		var order []string
		var progress strings.Builder
		cfg := config(t, nil, &progress, fixed(&order, func(s System, _ int) (float64, error) {
			if s == late {
				return 0, worker.ErrLate
			}
			return 1, nil
		}))
		cfg.Runs = 2
		var rep report.Report
		if err := Run(t.Context(), cfg, &rep); err != nil {
			t.Fatal(err)
		}
		row := rep.Rows[0]
		if row.Notes[late.column()] != "over 60 s" || len(order) != 7 || !strings.Contains(progress.String(), "over 60 s") {
			t.Errorf("%s: %v, %d cells", late, row.Notes, len(order))
		}
		if wrong := len(rep.Errors) > 0; wrong != (late == Ours) {
			t.Errorf("%s: errors %q", late, rep.Errors)
		}
	}
}

// TestLateRest: what was measured before a limit was reached stands, and the rest
// says that it was.
func TestLateRest(t *testing.T) {
	s := Scenario{Name: "partly", Metrics: []Metric{rate, elapsed}, Systems: replicas, run: func(_ context.Context, c *cell) (Sample, error) {
		if c.system == Peer {
			return Sample{rate: 5}, worker.ErrLate
		}
		return Sample{rate: 10, elapsed: 1}, nil
	}}
	var rep report.Report
	if err := Run(t.Context(), config(t, nil, io.Discard, s), &rep); err != nil {
		t.Fatal(err)
	}
	if rep.Rows[0].RatioPeer == nil || *rep.Rows[0].RatioPeer != 2 || rep.Rows[1].Peer != nil || rep.Rows[1].Notes["peer"] != "over 60 s" {
		t.Errorf("%+v", rep.Rows)
	}
}

// TestSelect: names are taken in any order, and an unknown one is refused with
// the list.
func TestSelect(t *testing.T) {
	if got := mustSelect(t, "burst,put-single"); len(got) != 2 || got[0].Name != "put-single" || got[1].Name != "burst" {
		t.Errorf("%v", got)
	}
	want := []string{
		"put-single", "put-64", "batch-100", "batch-1000", "visible", "burst", "fresh-1000", "fresh-10000", "fresh-50000",
		"fresh-1000000", "resync", "ten", "overwrite-remove", "put-remove", "disk", "list", "memory",
	}
	var all []string
	for _, s := range mustSelect(t, "all") {
		all = append(all, s.Name)
	}
	if !slices.Equal(all, want) {
		t.Errorf("%v", all)
	}
	_, err := Select("put-single,nonsense")
	if err == nil || !strings.Contains(err.Error(), `"nonsense"`) || !strings.Contains(err.Error(), "fresh-1000000") {
		t.Errorf("%v", err)
	}
}

// TestScale: a scale that makes no sense is refused.
func TestScale(t *testing.T) {
	for _, scale := range []float64{0, -1, 1.5} {
		if err := Run(t.Context(), Config{Scale: scale}, new(report.Report)); err == nil {
			t.Errorf("scale %v, and no error", scale)
		}
	}
}

// TestColumns: each system has a column of its own.
func TestColumns(t *testing.T) {
	columns := make(map[string]bool)
	for _, s := range everyone {
		columns[s.column()] = true
	}
	if got := slices.Sorted(maps.Keys(columns)); !slices.Equal(got, []string{"limit", "ours", "peer", "peer_fast"}) {
		t.Errorf("%v", got)
	}
}
