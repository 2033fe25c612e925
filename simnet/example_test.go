package simnet_test

import (
	"fmt"
	"time"

	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/simnet"
)

// A till is an application of its own: every host counts what it sells.
type till struct {
	sold *int64
}

// Act sells between one and three things, and waits a few seconds.
func (t till) Act(w simnet.Writer) ([][]node.Op, time.Duration) {
	n := 1 + w.Rand.Int64N(3)
	*t.sold += n
	return [][]node.Op{{{Kind: node.OpInc, Entity: "sold", N: n}}}, time.Duration(1+w.Rand.IntN(5)) * time.Second
}

// neverMore is an invariant of the application: no host counts more than was
// sold, whatever was doubled, replayed or merged twice.
func (t till) neverMore(w *simnet.World) error {
	for _, h := range w.Hosts() {
		if h.Replica() == nil {
			continue // the process is down
		}
		reading, found, err := merge.Read(h.Replica().View(), "sold", "")
		if err != nil || !found {
			return err
		}
		if n := reading.Value.(int64); n > *t.sold {
			return simnet.Broken("never more than sold", "%s counts %d, %d were sold", h.Name(), n, *t.sold)
		}
	}
	return nil
}

// A world for an application of one's own: its workload, its invariant, and the
// faults that it is to bear.
func Example() {
	t := till{sold: new(int64)}
	r, err := simnet.Run(simnet.Options{
		Peers: 8, Seed: 42, Virtual: 30 * time.Second,
		Workload:   t,
		Invariants: []simnet.Invariant{t.neverMore},
		Faults:     []simnet.Fault{simnet.Loss, simnet.Partition, simnet.Crash, simnet.Duplicate},
		Rates:      simnet.Rates{simnet.Loss: 0.1, simnet.Duplicate: 0.1, simnet.Crash: 1, simnet.Partition: 0.5},
	})
	fmt.Println(err, r.Converged, r.Faults[simnet.Loss] > 0, r.Faults[simnet.Crash] > 0)
	// Output: <nil> true true true
}
