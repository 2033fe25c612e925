package simnet_test

import (
	"testing"

	. "github.com/rhizome-p2p/rhizome/simnet"
)

// Worlds in which lanes fork end as the oracle says, and there is something for
// it to say: closings that withdraw what hosts had applied.
func TestForkedWorlds(t *testing.T) {
	n := uint64(24)
	if raceEnabled || testing.Short() {
		n = 6
	}
	closed, withdrawn, held := 0, 0, 0
	for seed := uint64(1); seed <= n; seed++ {
		o := quick(seed)
		o.Rates = Rates{Equivocate: 3, Loss: 0.05, Partition: 1}
		o.AtEnd = append(o.AtEnd, func(w *World) error {
			gone, err := w.Withdrawn()
			if err != nil {
				return err
			}
			for _, x := range gone {
				withdrawn++
				if x.Held {
					held++
				}
			}
			closed += len(w.Hosts()[0].Replica().Log().ClosedLanes())
			return nil
		})
		if _, err := Run(o); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d closed lanes, %d entries withdrawn, %d of them surely applied before", closed, withdrawn, held)
	if closed == 0 || held == 0 {
		t.Errorf("%d closed lanes, %d entries withdrawn, %d of them surely applied: nothing was judged", closed, withdrawn, held)
	}
}
