package simnet

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// branches are the entries of forked lanes that hosts were seen to hold. A
// closing takes some out of every log, and what they killed stays dead: who
// judges the state has to know them.
type branches struct {
	entries map[clock.Hash]*delta.Entry
}

// see notes an entry that a host holds.
func (b *branches) see(h *host, r *oplog.Record) error {
	e, err := r.Entry()
	if err != nil {
		return err
	}
	if h.branches == nil {
		h.branches = make(map[clock.Hash]bool)
	}
	h.branches[e.Hash] = true
	return b.add(r)
}

func (b *branches) add(r *oplog.Record) error {
	c := *r // what a record points to goes with the next one
	c.Raw, c.Sig = bytes.Clone(r.Raw), bytes.Clone(r.Sig)
	e, err := c.Entry()
	if err != nil || b.entries[e.Hash] != nil {
		return err
	}
	if b.entries == nil {
		b.entries = make(map[clock.Hash]*delta.Entry)
	}
	b.entries[e.Hash] = e
	return nil
}

// A Withdrawn is an entry that the closing of its lane took out of all logs.
type Withdrawn struct {
	*delta.Entry
	// Held says that some host has applied it for certain: what it killed is
	// dead there, and so everywhere. Else it may be that none has, or none that
	// remembers.
	Held bool
}

// Withdrawn returns, in a world whose hosts are equal, the entries that closings
// took out, in the order of their names.
func (w *World) Withdrawn() ([]Withdrawn, error) {
	for _, h := range w.Hosts() {
		if h.Replica() == nil {
			continue
		}
		log := h.Replica().Log()
		for _, l := range log.ClosedLanes() {
			for r, err := range log.KeptLane(log.DB(), l) {
				if err == nil {
					err = w.branches.add(&r)
				}
				if err != nil {
					return nil, fmt.Errorf("%s: %w", h.Name(), err)
				}
			}
		}
	}
	var out []Withdrawn
	for _, e := range w.branches.entries {
		at, closed := w.hosts[0].r.Log().ClosedAt(e.Lane)
		if !closed || e.Seq < at {
			continue
		}
		x := Withdrawn{Entry: e}
		for _, h := range w.hosts {
			x.Held = x.Held || h.hostile == "" && h.up() && h.branches[e.Hash]
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Withdrawn) int {
		return compareEntries(a.Entry, b.Entry)
	})
	return out, nil
}

func compareEntries(a, b *delta.Entry) int {
	if c := a.Lane.Compare(b.Lane); c != 0 {
		return c
	}
	if a.Seq != b.Seq {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	}
	return bytes.Compare(a.Hash[:], b.Hash[:])
}

// Forks returns the lanes that were made to fork, in order.
func (w *World) Forks() []clock.LaneID {
	return slices.SortedFunc(maps.Keys(w.forks), clock.LaneID.Compare)
}

// Lied reports whether a host lied about what it holds. At a fork hosts believe
// each other (docs/adr/0009-forks.md), and so values may be gone that nobody
// killed.
func (w *World) Lied() bool { return w.fired[Lie] > 0 }
