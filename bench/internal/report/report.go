// Package report is what the benchmark hands out: rows of figures with what they
// were measured on, as JSON, a table, a page and charts.
package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/stat"
)

// A Report is one run of the benchmark.
type Report struct {
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Command string    `json:"command"`
	Machine Machine   `json:"machine"`
	// Modules are the versions of what was measured, by module path.
	Modules   []Module   `json:"modules"`
	Scenarios []Scenario `json:"scenarios"`
	Rows      []Row      `json:"rows"`
	// Errors are what went wrong; what it concerns has no figures.
	Errors []string `json:"errors"`
}

// A Machine is what was measured on.
type Machine struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Kernel     string `json:"kernel"`
	CPU        string `json:"cpu"`
	CPUs       int    `json:"cpus"`
	MemoryMiB  int64  `json:"memory_mib"`
	FileSystem string `json:"file_system"`
	Go         string `json:"go"`
	// LoadBefore and LoadAfter are the load averages of the last minute, and of 5
	// and 15: these machines are often shared.
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

// A Module is a version.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

// A Scenario says what the rows of its name mean.
type Scenario struct {
	Name       string `json:"name"`
	About      string `json:"about"`
	Durability string `json:"durability"`
}

// A Row is one metric of one scenario. What does not apply is null, and so is
// what has no figure, for which Notes have the reason. Ratios are ours divided by
// the other, pair by pair: of a rate more is better, of all else less is.
type Row struct {
	Scenario string       `json:"scenario"`
	Metric   string       `json:"metric"`
	Unit     string       `json:"unit"`
	Ours     *stat.Spread `json:"ours"`
	Peer     *stat.Spread `json:"peer"`
	PeerFast *stat.Spread `json:"peer_fast"`
	Limit    *stat.Spread `json:"limit"`

	RatioPeer     *float64 `json:"ratio_peer"`
	RatioPeerFast *float64 `json:"ratio_peer_fast"`
	RatioLimit    *float64 `json:"ratio_limit"`

	Runs int `json:"runs"`
	// Notes are by column: why a figure is not there, or what to know of it.
	Notes map[string]string `json:"notes,omitempty"`
}

// HigherIsBetter says which way a metric is good.
func (r Row) HigherIsBetter() bool { return r.Metric == "rate" }

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
