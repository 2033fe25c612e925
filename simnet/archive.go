package simnet

import (
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// An archive holds the entries of a world whose hosts drop theirs: what one
// would hold that never compacts and misses nothing. An entry is taken over when
// its author publishes it, when a host whose delivery is checked applies it, and
// before one drops it: so none that any host has applied is missing.
//
// It is nil where nobody drops anything, for there each log says it all.
type archive struct {
	entries map[clock.Hash]*delta.Entry
	// upTo is the ordinal up to which a host's log was looked through.
	upTo map[*host]uint64
}

func newArchive() *archive {
	return &archive{entries: make(map[clock.Hash]*delta.Entry), upTo: make(map[*host]uint64)}
}

func (a *archive) add(e *delta.Entry) {
	if a != nil && a.entries[e.Hash] == nil {
		a.entries[e.Hash] = e
	}
}

// keep adds an entry that a log yielded, whose bytes go with the next one.
func (a *archive) keep(r *oplog.Record) error {
	if a == nil || a.entries[delta.HashHeader(&r.Header)] != nil {
		return nil
	}
	c := *r
	c.Raw, c.Sig = slices.Clone(r.Raw), slices.Clone(r.Sig)
	e, err := c.Entry()
	if err == nil {
		a.entries[e.Hash] = e
	}
	return err
}

// harvest takes over what a host holds.
func (w *World) harvest(h *host) error {
	if w.archive == nil {
		return nil
	}
	log := h.r.Log()
	for r, err := range log.InOrder(log.DB(), max(log.History(), w.archive.upTo[h])+1) {
		if err != nil {
			return err
		}
		if err := w.archive.keep(&r); err != nil {
			return err
		}
	}
	w.archive.upTo[h] = log.Ordinal()
	return nil
}

// Archived reports whether hosts of this world drop entries, so that no log need
// say all that was written. Applied does.
func (w *World) Archived() bool { return w.archive != nil }

// Applied returns the entries that a host has applied, whether it holds them or
// came by their state: for each lane of its vector, the chain that ends in the
// lane's head. It is for worlds that are Archived.
//
// Besides that are the entries of forked lanes that are on no such chain. Some
// host may have applied them, and so what they killed may be dead.
func (w *World) Applied(h Host) (applied, besides []*delta.Entry, err error) {
	if err := w.harvest(h.h); err != nil {
		return nil, nil, err
	}
	v, on := h.h.r.Log().Vector(), make(map[clock.Hash]bool)
	for _, l := range v.Lanes() {
		head := v.Head(l)
		for seq := head.Seq; seq > 0; seq-- {
			e := w.archive.entries[head.Hash]
			if e == nil && w.forks[l] {
				break // of a branch that a closing or a state left nothing else of
			}
			if e == nil || e.Lane != l || e.Seq != seq {
				return nil, nil, Broken("the vector is what was applied", "%s has applied %v:%d with hash %.8v, which nobody wrote", h.Name(), l, seq, head.Hash)
			}
			applied, on[e.Hash] = append(applied, e), true
			head = clock.Head{Seq: seq - 1, Hash: e.Prev}
		}
	}
	for _, e := range w.archive.entries {
		if w.forks[e.Lane] && !on[e.Hash] {
			besides = append(besides, e)
		}
	}
	slices.SortFunc(besides, compareEntries)
	return applied, besides, nil
}
