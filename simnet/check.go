package simnet

import (
	"fmt"
	"maps"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/node"
)

// maxPending is how many entries of one author may wait for their causes
// (DESIGN, section 9).
const maxPending = 1024

// An Invariant is something that must hold whenever it is checked. It reads
// the world and changes nothing.
type Invariant func(*World) error

// A Host is what invariants and workloads see of a host.
type Host struct{ h *host }

// Name returns the host's name.
func (h Host) Name() string { return h.h.name }

// Replica returns the replica that runs on the host, nil while none does.
func (h Host) Replica() *node.Replica { return h.h.r }

// Now returns the virtual time.
func (w *World) Now() time.Duration { return w.now }

// Hosts returns the world's honest hosts; copies that faults made come last.
func (w *World) Hosts() []Host {
	out := make([]Host, 0, len(w.hosts))
	for _, h := range w.hosts {
		if h.hostile == "" {
			out = append(out, Host{h})
		}
	}
	return out
}

func (w *World) scheduleChecks() {
	w.after(w.opts.CheckEvery, evCheck, -1, func() {
		w.check()
		if w.now < w.healAt() {
			w.scheduleChecks()
		}
	})
}

// check holds every host to the built-in invariants, and the world to those
// that it was given.
func (w *World) check() {
	for _, h := range w.hosts {
		if !h.up() || h.hostile != "" || w.opts.unchecked {
			continue
		}
		if err := h.check(); err != nil {
			w.fail("host", "%s: %v", h.name, err)
			return
		}
		w.trace.note(w.now, evCheck, h.at, h.mark())
		if w.script == nil && w.chaos.IntN(4) == 0 {
			w.backUp(h)
		}
	}
	for _, inv := range w.opts.Invariants {
		if err := inv(w); err != nil {
			w.fail("workload", "%v", err)
			return
		}
	}
}

// backUp keeps a copy of a host's disk, for a StaleDisk to come.
func (w *World) backUp(h *host) {
	if len(h.out) > 0 {
		return
	}
	w.tape.add(Act{At: w.now, Fault: actBackup, Host: h.name})
	h.old, h.oldTo = h.disk.Copy(), maps.Clone(h.acked)
}

// mark returns a number for what the host holds.
func (h *host) mark() uint64 {
	root, state := h.r.Log().Root().Bytes(), h.r.Digest().Bytes()
	return mark(append(root[:], state[:]...))
}

func (h *host) check() error {
	log := h.r.Log()
	v := log.Vector()
	if n := log.Pending.Len(); n > maxPending*len(h.w.hosts) {
		return Broken("bounded queues", "%d entries are pending", n)
	}
	for l, s := range h.acked {
		if at, closed := log.ClosedAt(l); closed && s >= at {
			continue
		}
		if v.Seq(l) < s && !h.mayForsake(l) {
			return Broken("acknowledged writes survive", "acknowledged write %v:%d is lost: held up to %d", l, s, v.Seq(l))
		}
	}
	if h.last != nil {
		for _, lh := range h.last.Changes(v) {
			if _, closed := log.ClosedAt(lh.Lane); !closed && !h.mayForsake(lh.Lane) && v.Seq(lh.Lane) < lh.Head.Seq {
				return Broken("the vector never goes back", "the vector went back in lane %v from %d to %d", lh.Lane, lh.Head.Seq, v.Seq(lh.Lane))
			}
		}
	}
	for _, l := range log.ClosedLanes() {
		if !h.w.forks[l] {
			return Broken("no fork of its own", "lane %v is closed, and nobody forked it", l)
		}
	}
	h.last = v.Clone()
	return nil
}

// mayForsake reports whether a host may leave a lane without a proof: one that
// forked where the entries are dropped that would be the proof (docs/
// compaction.md). What it wrote there it writes again in another lane.
func (h *host) mayForsake(l clock.LaneID) bool { return h.w.archive != nil && h.w.forks[l] }

// mayDiffer reports whether hosts may end with one root and several states: some
// took over the state of one branch of a lane that forked, and others that of the
// other, before any two met that still held the entries to prove it. It is what
// compaction does not cover (docs/compaction.md), and an alarm must tell of it.
func (w *World) mayDiffer() bool {
	return w.archive != nil && len(w.forks) > 0 && w.alarms["digest"] > 0
}

// equal reports whether all hosts hold the same.
func (w *World) equal() bool {
	first := w.hosts[0].r
	if first == nil {
		return false
	}
	for _, h := range w.hosts {
		if h.hostile != "" {
			continue
		}
		if !h.up() || len(h.out) > 0 || h.r.Log().Root() != first.Log().Root() || h.r.Digest() != first.Digest() && !w.differ {
			return false
		}
	}
	return true
}

// differences describes how hosts that should be equal are not.
func (w *World) differences() string {
	groups := make(map[string]int)
	var order []string
	for _, h := range w.hosts {
		if h.hostile != "" {
			continue
		}
		k := "down"
		if h.up() {
			k = fmt.Sprintf("root %.8s state %.8s", h.r.Log().Root(), h.r.Digest())
		}
		if groups[k] == 0 {
			order = append(order, k+" first "+h.name)
		}
		groups[k]++
	}
	return fmt.Sprintf("%d groups: %v", len(groups), order)
}

// checkEnd holds the world to what must be true of its end.
func (w *World) checkEnd() {
	for _, inv := range w.opts.AtEnd {
		if err := inv(w); err != nil {
			w.fail("workload", "%v", err)
			return
		}
	}
}
