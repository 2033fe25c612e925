package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
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

// TestRefusals: what makes no sense is refused before anything is measured.
func TestRefusals(t *testing.T) {
	for want, args := range map[string][]string{
		"no scenario":            {"-scenario", "nonsense"},
		"no output":              {"-o", "xml"},
		`what is "now"?`:         {"now"},
		"all scenarios":          {"-write", "-scenario", "burst"},
		"at full scale":          {"-write", "-scale", "0.5"},
		`no system "other"`:      {"worker", "-system", "other"},
		"at most 1":              {"-scale", "2", "-scenario", "burst"},
		"file system of /absent": {"-dir", "/absent"},
	} {
		err := run(context.Background(), args, nil, new(bytes.Buffer), new(bytes.Buffer))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
