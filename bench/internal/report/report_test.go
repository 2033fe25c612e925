package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/report"
	"github.com/rhizome-p2p/rhizome/bench/internal/stat"
)

var update = flag.Bool("update", false, "write the golden files anew")

func one(x float64) *stat.Spread { return &stat.Spread{Median: x, Min: x, Max: x} }

func some(median, least, most float64) *stat.Spread {
	return &stat.Spread{Median: median, Min: least, Max: most}
}

func number(x float64) *float64 { return &x }

// sample is a report with every kind of cell.
func sample() *report.Report {
	return &report.Report{
		Started: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), Seconds: 754, Command: "go -C bench run . -write",
		Machine: report.Machine{
			OS: "linux", Arch: "amd64", Kernel: "6.1", CPU: "Some CPU", CPUs: 2, MemoryMiB: 4096, FileSystem: "ext4",
			Go: "go1.26.0", LoadBefore: "0.10 0.20 0.30", LoadAfter: "1.10 1.20 1.30",
		},
		Modules: []report.Module{{Path: "example.org/peer", Version: "v1.2.3"}},
		Scenarios: []report.Scenario{
			{Name: "put-single", About: "puts by one writer", Durability: "one fsync a call"},
			{Name: "visible", About: "from put to sight", Durability: "at both ends"},
			{Name: "fresh-10000", About: "a fresh replica", Durability: "at the end"},
			{Name: "disk", About: "files", Durability: "one fsync a call"},
		},
		Rows: []report.Row{
			{
				Scenario: "put-single", Metric: "rate", Unit: "/s", Runs: 5,
				Ours: some(4123.4, 4000, 4200), Peer: some(3000, 2500, 3100), PeerFast: some(3100, 3000, 3200), Limit: some(5500, 5400, 5600),
				RatioPeer: number(1.374), RatioPeerFast: number(1.33), RatioLimit: number(0.7497),
			},
			{
				Scenario: "visible", Metric: "p50", Unit: "ms", Runs: 5,
				Ours: some(0.755, 0.7, 0.8), Peer: some(20.4, 20, 21), PeerFast: some(0.5, 0.4, 0.6),
				RatioPeer: number(0.037), RatioPeerFast: number(1.51),
			},
			{
				Scenario: "fresh-10000", Metric: "time", Unit: "s", Runs: 1,
				Ours: one(0.0834), PeerFast: one(123.4), Limit: one(0.0042), RatioPeerFast: number(0.000676), RatioLimit: number(19.9),
				Notes: map[string]string{"peer": "over 60 s"},
			},
			{
				Scenario: "fresh-10000", Metric: "wire_bytes", Unit: "B", Runs: 1, Ours: one(1_161_000), PeerFast: one(5_700_000),
				RatioPeerFast: number(0.2037), Notes: map[string]string{"peer": "over 60 s"},
			},
			{
				Scenario: "disk", Metric: "rows_left", Runs: 1, Ours: one(0), Peer: one(6001), PeerFast: one(6001), Limit: one(0),
				RatioPeer: number(0), RatioPeerFast: number(0),
			},
		},
		Errors: []string{"disk, run 1, peer: key/1 is missing"},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s\nwant:\n%s", name, got, want)
	}
}

// TestWriters: table, page and JSON are what the golden files hold.
func TestWriters(t *testing.T) {
	for name, write := range map[string]func(*report.Report, io.Writer) error{
		"table.txt": (*report.Report).WriteTable, "page.md": (*report.Report).WriteMarkdown, "report.json": (*report.Report).WriteJSON,
	} {
		var b bytes.Buffer
		if err := write(sample(), &b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

// TestCharts: charts are well-formed XML without scripts, in both colour schemes,
// and a chart without rows is not drawn.
func TestCharts(t *testing.T) {
	for _, c := range report.Charts() {
		var b bytes.Buffer
		drawn, err := sample().WriteSVG(&b, c)
		if err != nil || !drawn {
			t.Fatalf("%s: %v, %v", c.Name, drawn, err)
		}
		golden(t, c.Name+".svg", b.Bytes())
		wellFormed(t, b.Bytes())
		if !bytes.Contains(b.Bytes(), []byte("prefers-color-scheme: dark")) {
			t.Errorf("%s has one colour scheme", c.Name)
		}
		var none bytes.Buffer
		if drawn, err := new(report.Report).WriteSVG(&none, c); drawn || err != nil || none.Len() > 0 {
			t.Errorf("%s of no rows: %v, %v, %d bytes", c.Name, drawn, err, none.Len())
		}
	}
}

func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "script" {
			t.Error("a script")
		}
	}
}

// TestJSONNulls: what does not apply is there as null, not left out.
func TestJSONNulls(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var x struct {
		Rows []map[string]json.RawMessage `json:"rows"`
	}
	if err := json.Unmarshal(b.Bytes(), &x); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ours", "peer", "peer_fast", "limit", "ratio_peer", "ratio_peer_fast", "ratio_limit"} {
		if _, ok := x.Rows[1][name]; !ok {
			t.Errorf("no %s", name)
		}
	}
	if got := string(x.Rows[1]["limit"]); got != "null" {
		t.Errorf("a limit that does not apply is %s", got)
	}
}

// TestWriteDocs: page and charts land where the page looks for them.
func TestWriteDocs(t *testing.T) {
	dir := t.TempDir()
	if err := sample().WriteDocs(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"benchmarks.md", "benchmarks/writes.svg", "benchmarks/replication.svg", "benchmarks/bytes.svg"} {
		if i, err := os.Stat(filepath.Join(dir, name)); err != nil || i.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNew: a report knows what it was measured on.
func TestNew(t *testing.T) {
	r, err := report.New(t.TempDir(), "bench")
	if err != nil {
		t.Fatal(err)
	}
	r.Finish()
	m := r.Machine
	if m.CPUs == 0 || m.Kernel == "" || m.FileSystem == "" || m.LoadAfter == "" || m.Go == "" {
		t.Errorf("%+v", m)
	}
	if _, err := report.New(filepath.Join(t.TempDir(), "absent"), "bench"); err == nil {
		t.Error("a directory that is not there, and no error")
	}
}
