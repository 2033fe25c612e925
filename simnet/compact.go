package simnet

import (
	"errors"
	"fmt"
	"time"

	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/node"
)

// compactions count what became of dropped histories in a world.
type compactions struct {
	done           int    // compactions, of the fault and of the hosts' own policy
	redone         int    // of these, by the process after the one that began it
	served, joined uint64 // states
	most           uint64 // raw entries that a host held at once
}

// compacting says what a host has begun to drop, and how far its counts were
// taken over.
type compacting struct {
	undone         uint64 // the ordinal of a record whose entries are still there
	history        uint64 // at the last look
	served, joined uint64 // by this process
}

// maxUndone bounds how long a host waits between the record of a compaction and
// the dropping. Its next tick would do it too.
const maxUndone = 150 * time.Millisecond

// wholeHistory is By of a compaction that drops all.
const wholeHistory = 1000

// drawCompact draws how much of its history a host drops, in thousandths, and
// how much later than it records that.
func (w *World) drawCompact(a *Act) {
	a.By, a.For = wholeHistory, w.span(0, maxUndone)
	if w.chaos.IntN(3) > 0 {
		a.By = 1 + w.chaos.Int64N(wholeHistory)
	}
	if w.chaos.IntN(2) == 0 {
		a.By = -a.By // by force
	}
}

// compact lets a host record that it drops a part of its history, the oldest,
// and drop it a little later. Whatever happens in between finds the record.
func (w *World) compact(h *host, a Act) bool {
	if !h.up() || h.hostile != "" {
		return false
	}
	log, part := h.r.Log(), min(max(a.By, -a.By), wholeHistory)
	to := log.History() + (log.Ordinal()-log.History())*uint64(part)/wholeHistory
	if to == 0 {
		return false
	}
	if err := w.harvest(h); err != nil {
		w.fail("the log can be read", "%s: %v", h.name, err)
		return false
	}
	s, c, err := h.r.Checkpoint(h.millis(), node.CompactRequest{To: to, Force: a.By < 0})
	if c == nil || errors.Is(err, node.ErrBusy) {
		return false
	}
	h.compacting.undone = c.Ordinal
	gen := h.gen
	h.did(s, err)
	w.after(a.For, evFault, h.at, func() {
		if h.gen == gen && h.up() {
			h.did(h.r.Truncate(h.millis()))
		}
	})
	return true
}

// crashAmid kills some of the hosts that have recorded a compaction before they
// drop anything, where the world kills hosts at all: by chance alone that would
// hardly ever happen.
func (w *World) crashAmid(h *host, a Act) {
	if w.rates[Crash] == 0 || a.For < 2*quickSync || w.chaos.IntN(4) > 0 {
		return
	}
	wait := w.span(quickSync, a.For)
	crash := Act{Fault: Crash, Host: h.name, For: w.downtime()}
	w.after(wait, evDraw, -1, func() {
		crash.At = w.now
		w.perform(h, crash)
	})
}

// noteCompacting takes over what a call did to a host's history.
func (h *host) noteCompacting() {
	w, c, log := h.w, &h.compacting, h.r.Log()
	served, joined := h.r.States()
	w.compactions.served += served - c.served
	w.compactions.joined += joined - c.joined
	if past := log.History(); past > c.history {
		if joined == c.joined { // an adopted state moves it too
			w.compactions.done++
		}
		c.history = past
	}
	c.served, c.joined = served, joined
	if c.undone > 0 && log.History() >= c.undone {
		c.undone = 0
	}
	if h.hostile == "" {
		w.compactions.most = max(w.compactions.most, log.Entries())
	}
}

// openCompacting looks at what a new process finds of a history.
func (h *host) openCompacting() {
	c, past := &h.compacting, h.r.Log().History()
	if c.undone > 0 && past >= c.undone && c.history < c.undone {
		h.w.compactions.done++
		h.w.compactions.redone++
	}
	*c = compacting{history: past}
}

// retention is what hosts keep by themselves: all, where nothing is said.
func (o *Options) retention() compaction.Policy {
	if o.Retention.Mode == "" {
		return compaction.Policy{Mode: compaction.Archive}
	}
	return o.Retention
}

// ParseRetention reads what hosts keep: "archive", "minimal", or the length of a
// window in time.
func ParseRetention(s string) (p compaction.Policy, err error) {
	p.Mode = compaction.Mode(s)
	if p.Mode == compaction.Archive || p.Mode == compaction.Minimal {
		return p, nil
	}
	p.Mode = compaction.Window
	if p.Age, err = time.ParseDuration(s); err != nil || p.Age <= 0 {
		return p, fmt.Errorf("retention %q: want archive, minimal or a time", s)
	}
	return p, nil
}

// compacts reports whether some host may drop its history.
func (w *World) compacts() bool {
	if w.opts.retention().Mode != compaction.Archive || w.rates[Compact] > 0 {
		return true
	}
	if s := w.opts.Replay; s != nil {
		for i := range s.Acts {
			if s.Acts[i].Fault == Compact {
				return true
			}
		}
	}
	return false
}
