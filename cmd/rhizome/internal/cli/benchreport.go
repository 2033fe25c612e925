package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// A benchReport is what bench measured, as it prints it as JSON.
type benchReport struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	Prefix  string `json:"prefix"`
	Size    int    `json:"size"`
	Writers int    `json:"writers"`

	Phases []benchPhase `json:"phases"`

	// Compared counts the values that came back, and Wrong those of them that were
	// not what was written, or never came.
	Compared   int    `json:"compared"`
	Wrong      int    `json:"wrong"`
	FirstWrong string `json:"first_wrong,omitempty"`

	// Removed and Left count the keys that were written: those that are gone again,
	// and those that are there still though they should not be.
	Removed int  `json:"removed"`
	Left    int  `json:"left"`
	Kept    bool `json:"kept"`

	Interrupted bool `json:"interrupted"`

	why error // why some are left
}

// A benchPhase is one row of it. What it does not measure is left out.
type benchPhase struct {
	Phase   string `json:"phase"`
	Writers int    `json:"writers,omitempty"`
	Batch   int    `json:"batch,omitempty"` // values of a transaction
	Peers   int    `json:"peers,omitempty"`
	Values  int    `json:"values"`

	Seconds float64 `json:"seconds"`
	// Rate is in values a second; of peers there is none, which had most of them
	// before the clock was started.
	Rate float64 `json:"rate,omitempty"`
	// P50 and P99 are of single operations: a transaction, a read, a page.
	P50 *float64 `json:"p50_ms,omitempty"`
	P99 *float64 `json:"p99_ms,omitempty"`
	// Note says why there is nothing measured.
	Note string `json:"note,omitempty"`
}

// add notes a phase. Where nothing came of it there is no row.
func (b *bench) add(p benchPhase, spent time.Duration, took []time.Duration) {
	if p.Values == 0 && p.Note == "" {
		return
	}
	p.Seconds = round(spent.Seconds())
	if p.Note == "" && p.Peers == 0 {
		p.Rate = round(float64(p.Values) / max(spent.Seconds(), 1e-9))
	}
	if len(took) > 0 {
		slices.Sort(took)
		p.P50, p.P99 = millis(quantile(took, 50)), millis(quantile(took, 99))
	}
	b.report.Phases = append(b.report.Phases, p)
}

// quantile returns the least of sorted durations that so many per cent do not
// exceed.
func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}

func millis(d time.Duration) *float64 {
	ms := round(float64(d) / float64(time.Millisecond))
	return &ms
}

// round keeps what a measurement is good for: three places.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// leftText says what is left, and why.
func (r *benchReport) leftText() string {
	text := fmt.Sprintf("%d keys are left below %s", r.Left, r.Prefix)
	if r.why != nil {
		text += ": " + r.why.Error()
	}
	return text
}

func (a *app) printBench(r *benchReport) {
	switch {
	case a.out.json():
		a.out.value(r)
		return
	case a.out.form == "raw":
		for i := range r.Phases {
			p := &r.Phases[i]
			x := p.Rate
			if p.Peers > 0 {
				x = p.Seconds
			}
			a.out.printf("%s %g\n", p.name(), x)
		}
		return
	}
	rows := make([][]string, 0, len(r.Phases))
	for i := range r.Phases {
		p := &r.Phases[i]
		if p.Note != "" {
			a.note("%s: %s", p.name(), p.Note)
			continue
		}
		rate := "-"
		if p.Peers == 0 {
			rate = strconv.FormatFloat(p.Rate, 'f', 0, 64) + "/s"
		}
		rows = append(rows, []string{
			p.name(), strconv.Itoa(p.Values), strconv.FormatFloat(p.Seconds, 'f', 2, 64) + " s", rate, millisText(p.P50), millisText(p.P99),
		})
	}
	a.out.table([]string{"PHASE", "VALUES", "TIME", "RATE", "P50", "P99"}, rows)
	if r.Wrong > 0 || r.Left > 0 || r.Interrupted {
		return // the error says it
	}
	end := "removed"
	if r.Kept {
		end = "kept below " + plainKey(r.Prefix)
	}
	a.out.printf("ok  %d values came back as they were written; all is %s\n", r.Compared, end)
}

// name tells a phase from others of its kind.
func (p *benchPhase) name() string {
	switch {
	case p.Batch > 0:
		return fmt.Sprintf("%s-%d", p.Phase, p.Batch)
	case p.Writers > 0:
		return fmt.Sprintf("%s-%d", p.Phase, p.Writers)
	case p.Peers > 0:
		return fmt.Sprintf("%s-%d", p.Phase, p.Peers)
	}
	return p.Phase
}

func millisText(ms *float64) string {
	if ms == nil {
		return "-"
	}
	return strconv.FormatFloat(*ms, 'f', 2, 64) + " ms"
}
