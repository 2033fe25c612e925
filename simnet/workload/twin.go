package workload

import (
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/simnet"
)

// twins holds every host to its twin. Of those with one digest, as all have but
// where a fork cannot be proved any more, the first stands for the others.
func twins(w *simnet.World) error {
	judged := make(map[string]bool)
	for _, h := range w.Hosts() {
		if r := h.Replica(); r != nil && !judged[r.Digest().String()] {
			judged[r.Digest().String()] = true
			if err := twin(w, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// tips holds a host to naming, in what it writes next, every head that no entry
// names yet: else what it writes is not behind all that it has applied.
func tips(h simnet.Host, applied []*delta.Entry) error {
	named, listed := make(map[clock.LaneID]uint64), make(map[clock.LaneID]bool)
	for _, e := range applied {
		for i := range e.Body.Deps {
			d := e.Body.Deps[i].EntryID
			named[d.Lane] = max(named[d.Lane], d.Seq)
		}
	}
	log := h.Replica().Log()
	for _, tip := range log.Tips() {
		listed[tip.Lane] = true
	}
	for _, l := range log.Vector().Lanes() {
		if seq := log.Vector().Seq(l); seq > named[l] && !listed[l] {
			return simnet.Broken("tips cover the log", "%s does not list the tip %v:%d", h.Name(), l, seq)
		}
	}
	return nil
}

// twin holds a host to the model of all entries up to its vector.
//
// In a world in which lanes forked and hosts dropped entries, branches may have
// met below the floor (docs/compaction.md), where nobody can prove the fork. Then
// two rows had one name, and which of them stayed, and what only the other killed,
// is not for the model to say. All other lanes are judged as ever, also those in
// which authors have written again what they took back.
func twin(w *simnet.World, h simnet.Host) error {
	applied, besides, err := w.Applied(h)
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	m := newModel()
	for _, e := range applied {
		m.read(e)
	}
	m.kill(m.kills, m.bury)
	if m.vague = w.Forks(); len(m.vague) == 0 {
		if err := tips(h, applied); err != nil {
			return err
		}
		return m.equals(h)
	}
	gone := make([]simnet.Withdrawn, len(besides))
	for i, e := range besides {
		gone[i].Entry = e
	}
	m.withdraw(gone)
	return m.judge(h, w.Lied())
}
