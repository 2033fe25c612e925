package workload

import (
	"fmt"

	"github.com/rhizome-p2p/rhizome/simnet"
)

// twins holds every host to its twin. Where all have one digest and one vector
// at the end, as they must, the first stands for the others.
func twins(w *simnet.World) error {
	for _, h := range w.Hosts() {
		if h.Replica() != nil {
			return twin(w, h)
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
		return m.equals(h)
	}
	gone := make([]simnet.Withdrawn, len(besides))
	for i, e := range besides {
		gone[i].Entry = e
	}
	m.withdraw(gone)
	return m.judge(h, w.Lied())
}
