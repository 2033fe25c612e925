package simnet

import (
	"fmt"
	"time"
)

// A Report says what a run was and what became of it.
type Report struct {
	Peers    int     `json:"peers"`
	Seed     uint64  `json:"seed"`
	Writers  int     `json:"writers"`
	Degree   int     `json:"degree"`
	VirtualS float64 `json:"virtual_s"`
	WallS    float64 `json:"wall_s"`
	// Events are calls into replicas and the happenings between them: ticks,
	// messages, syncs, dials, faults.
	Events     uint64         `json:"events"`
	EventsPerS float64        `json:"events_per_s"`
	Rates      Rates          `json:"rates"`
	Faults     map[Fault]int  `json:"faults"`
	Alarms     map[string]int `json:"alarms"`
	Writes     uint64         `json:"writes"` // acknowledged transactions
	Entries    uint64         `json:"entries"`
	Rows       uint64         `json:"rows"`
	Rejected   uint64         `json:"rejected"` // publications refused by validation
	Heard      uint64         `json:"heard"`    // publications that reached a host
	Copies     uint64         `json:"copies"`   // of publications, sent from host to host
	CopyBytes  uint64         `json:"copy_bytes"`
	Converged  bool           `json:"converged"`
	// ConvergedAfterS is the virtual time from the healing until all hosts
	// were equal.
	ConvergedAfterS float64 `json:"converged_after_s"`
	BytesPerPeer    uint64  `json:"bytes_per_peer"`
	// Compactions are dropped histories, and Redone those of them that a crash
	// had left half done. States were served to peers and adopted from them.
	Compactions   int    `json:"compactions"`
	Redone        int    `json:"compactions_redone"`
	StatesServed  uint64 `json:"states_served"`
	StatesAdopted uint64 `json:"states_adopted"`
	// Differ says that hosts ended with one root and several states, since a fork
	// could not be proved any more.
	Differ bool `json:"states_differ"`
	// MostRaw is the most raw entries that a host held at once.
	MostRaw   uint64 `json:"most_raw_entries"`
	TraceHash string `json:"trace_hash"`
	Digest    string `json:"digest"`
	Error     string `json:"error,omitempty"`
	// Equal is the share of hosts that agreed with the most others, over
	// time.
	Equal []Point `json:"equal,omitempty"`
}

// A Point is one sample of a curve.
type Point struct {
	AtS   float64 `json:"at_s"`
	Share float64 `json:"share"`
}

// Run makes a world and runs it: the workload with its faults, the healing,
// and until all are equal. The error is that of a broken invariant, or of
// options that make no world; the report holds in either case what happened.
func Run(o Options) (Report, error) {
	w, err := New(o)
	if err != nil {
		return Report{}, err
	}
	return w.Run()
}

// Run runs the world to its end.
func (w *World) Run() (Report, error) {
	start := time.Now()
	var curve []Point
	for step := w.opts.Virtual / 60; w.now < w.healAt() && w.failure == nil; {
		w.runUntil(min(w.now+max(step, time.Second), w.healAt()))
		curve = append(curve, w.sample())
	}
	var after time.Duration
	converged := false
	if w.failure == nil {
		w.heal()
		for after = 0; w.failure == nil && after <= w.opts.Settle; after += 100 * time.Millisecond {
			if converged = w.equal(); converged {
				break
			}
			w.runUntil(w.now + 100*time.Millisecond)
			if after%time.Second == 0 {
				curve = append(curve, w.sample())
			}
		}
		if !converged && w.failure == nil && w.mayDiffer() {
			w.differ = true
			converged = w.equal()
		}
		curve = append(curve, w.sample())
		switch {
		case w.failure != nil:
		case !converged:
			w.fail("convergence", "not equal %v after healing: %s", w.opts.Settle, w.differences())
		default:
			w.check()
			w.checkRepair()
			w.checkEnd()
			w.checkRest()
		}
	}
	r := w.report(time.Since(start))
	r.Converged, r.ConvergedAfterS, r.Equal = converged, after.Seconds(), curve
	if w.failure != nil {
		r.Error = w.failure.Error()
		return r, fmt.Errorf("simnet: %w", w.failure)
	}
	return r, nil
}

// sample finds the largest group of equal hosts.
func (w *World) sample() Point {
	groups := make(map[string]int)
	most, all := 0, 0
	for _, h := range w.hosts {
		if h.hostile != "" {
			continue
		}
		all++
		if h.up() {
			root, digest := h.r.Log().Root().Bytes(), h.r.Digest().Bytes()
			k := string(root[:]) + string(digest[:])
			groups[k]++
			most = max(most, groups[k])
		}
	}
	return Point{w.now.Seconds(), float64(most) / float64(all)}
}

func (w *World) report(wall time.Duration) Report {
	r := Report{
		Peers: w.opts.Peers, Seed: w.opts.Seed, Writers: w.opts.Writers, Degree: w.opts.Degree,
		VirtualS: w.now.Seconds(), WallS: wall.Seconds(), Events: w.trace.n, EventsPerS: float64(w.trace.n) / wall.Seconds(),
		Rates: w.rates, Faults: w.fired, Alarms: w.alarms, Writes: w.acks, Rejected: w.rejected, Heard: w.heard, Copies: w.copies, CopyBytes: w.copyBytes,
		BytesPerPeer: w.bytes / uint64(len(w.hosts)), TraceHash: w.trace.hash(),
	}
	c := &w.compactions
	r.Differ = w.differ
	r.Compactions, r.Redone, r.StatesServed, r.StatesAdopted, r.MostRaw = c.done, c.redone, c.served, c.joined, c.most
	if h := w.hosts[0]; h.up() {
		r.Entries, r.Rows, r.Digest = h.r.Log().Entries(), h.r.Survivors(), h.r.Digest().String()
	}
	return r
}
