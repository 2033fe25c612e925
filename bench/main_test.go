package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/bench/internal/scenario"
)

// TestMain makes the test program a worker where it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		main()
		return
	}
	os.Exit(m.Run())
}

type spread struct {
	Median *float64 `json:"median"`
	Min    *float64 `json:"min"`
	Max    *float64 `json:"max"`
}

// output is the form of the JSON output, as other programs rely on it.
type output struct {
	Started   string            `json:"started"`
	Seconds   float64           `json:"seconds"`
	Command   string            `json:"command"`
	Machine   map[string]any    `json:"machine"`
	Modules   []map[string]any  `json:"modules"`
	Scenarios []json.RawMessage `json:"scenarios"`
	Rows      []struct {
		Scenario      string            `json:"scenario"`
		Metric        string            `json:"metric"`
		Unit          string            `json:"unit"`
		Ours          *spread           `json:"ours"`
		Peer          *spread           `json:"peer"`
		PeerFast      *spread           `json:"peer_fast"`
		Limit         *spread           `json:"limit"`
		RatioPeer     *float64          `json:"ratio_peer"`
		RatioPeerFast *float64          `json:"ratio_peer_fast"`
		RatioLimit    *float64          `json:"ratio_limit"`
		Runs          int               `json:"runs"`
		Notes         map[string]string `json:"notes"`
	} `json:"rows"`
	Errors []string `json:"errors"`
}

// TestScenarios: every scenario runs with real processes of every system, on few
// keys, reads back all that it wrote, and prints JSON alone, of the form that is
// promised.
func TestScenarios(t *testing.T) {
	for _, s := range scenario.All() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			var out, progress bytes.Buffer
			args := []string{"-scenario", s.Name, "-runs", "1", "-scale", "0.001", "-o", "json", "-dir", t.TempDir()}
			if err := run(t.Context(), args, nil, &out, &progress); err != nil {
				t.Fatal(err)
			}
			var x output
			d := json.NewDecoder(&out)
			d.DisallowUnknownFields()
			if err := d.Decode(&x); err != nil || d.More() {
				t.Fatalf("%v, more: %v", err, d.More())
			}
			checkOutput(t, s, x)
			if cells := strings.Count(progress.String(), s.Name+", run 1, "); cells != len(s.Systems) {
				t.Errorf("progress of %d cells:\n%s", cells, &progress)
			}
		})
	}
}

func checkOutput(t *testing.T, s scenario.Scenario, x output) {
	t.Helper()
	if len(x.Rows) != len(s.Metrics) || len(x.Errors) > 0 || len(x.Notes()) > 0 {
		t.Fatalf("%d rows of %d metrics, errors %q, notes %v", len(x.Rows), len(s.Metrics), x.Errors, x.Notes())
	}
	for _, row := range x.Rows {
		if row.Scenario != s.Name || row.Runs != 1 {
			t.Errorf("%+v", row)
		}
		for system, figures := range map[scenario.System]*spread{
			scenario.Ours: row.Ours, scenario.Peer: row.Peer, scenario.PeerFast: row.PeerFast, scenario.Limit: row.Limit,
		} {
			// Raw Pebble has no wire, and joins nothing.
			alone := strings.HasPrefix(row.Metric, "wire") || row.Metric == "time_open"
			wanted := hasSystem(s, system) && (system != scenario.Limit || !alone)
			if (figures != nil) != wanted {
				t.Errorf("%s, %s: %v", row.Metric, system, figures)
			}
		}
		if row.Ours == nil || *row.Ours.Median < 0 || *row.Ours.Min > *row.Ours.Max {
			t.Errorf("%s: ours %+v", row.Metric, row.Ours)
		}
		if row.Metric == "rss" && *row.Ours.Median < 1<<20 {
			t.Errorf("a peak of %v bytes", *row.Ours.Median)
		}
	}
}

// Notes are those of all rows.
func (x output) Notes() (out []string) {
	for _, row := range x.Rows {
		for column, note := range row.Notes {
			out = append(out, column+": "+note)
		}
	}
	return out
}

func hasSystem(s scenario.Scenario, system scenario.System) bool {
	for _, x := range s.Systems {
		if x == system {
			return true
		}
	}
	return false
}

// TestRefusals: what makes no sense is refused before anything is measured, with
// exit code 2 and a hint; what only cannot be done here, with 1.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"no scenario", 2, []string{"-scenario", "nonsense"}},
		{"no output", 2, []string{"-o", "xml"}},
		{`what is "now"?`, 2, []string{"now"}},
		{"not defined: -bogus", 2, []string{"-bogus"}},
		{`invalid value "many" for flag -runs`, 2, []string{"-runs", "many"}},
		{"-1 runs", 2, []string{"-runs", "-1"}},
		{"limit 0s", 2, []string{"-limit", "0"}},
		{"all scenarios", 2, []string{"-write", "-scenario", "burst"}},
		{"at full scale", 2, []string{"-write", "-scale", "0.5"}},
		{`no system "other"`, 2, []string{"worker", "-system", "other"}},
		{"not defined: -bogus", 2, []string{"worker", "-bogus"}},
		{"at most 1", 2, []string{"-scale", "2", "-scenario", "burst"}},
		{"scale NaN", 2, []string{"-scale", "NaN", "-scenario", "burst"}},
		{"file system of /absent", 1, []string{"-dir", "/absent"}},
	} {
		var out, progress, told bytes.Buffer
		err := run(context.Background(), c.args, nil, &out, &progress)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
		if code := exit(&told, err); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.args, code, c.code)
		}
		text, hint, hinted := strings.Cut(told.String(), "\nhint: ")
		if !strings.HasPrefix(text, "error: ") || hinted != (c.code == 2) || hinted && len(hint) < 2 {
			t.Errorf("%v: a person is told %q", c.args, &told)
		}
		if out.Len()+progress.Len() > 0 {
			t.Errorf("%v: printed %q and %q", c.args, &out, &progress)
		}
	}
}

// TestExitCode: a process ends with the code, and one that is asked for help with
// 0.
func TestExitCode(t *testing.T) {
	for want, args := range map[int][]string{2: {"worker", "-system", "other"}, 0: {"worker", "-help"}} {
		c := exec.CommandContext(t.Context(), os.Args[0], args...)
		text, _ := c.CombinedOutput() // the code says it, too
		if got := c.ProcessState.ExitCode(); got != want {
			t.Errorf("%v: exit code %d, want %d: %s", args, got, want, text)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-help"}, nil, &out, new(bytes.Buffer)); err != nil || !strings.Contains(out.String(), "-scenario") {
		t.Errorf("help is %q, %v", &out, err)
	}
	var told bytes.Buffer
	if code := exit(&told, errors.New("a\nb")); code != 1 || told.String() != "error: a\n       b\n" {
		t.Errorf("exit code %d, told %q", code, &told)
	}
}
