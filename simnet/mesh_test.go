package simnet

import (
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/node"
)

// everySecond is a workload.
type everySecond struct{}

func (everySecond) Act(w Writer) ([][]node.Op, time.Duration) {
	return [][]node.Op{{{Kind: node.OpPut, Entity: w.Name(), Value: int64(w.Acts)}}}, time.Second
}

// A host with many sessions keeps a mesh of a bounded size, both ends agree on
// what is in it, and publications that travel along it reach everybody.
func TestMesh(t *testing.T) {
	deliveries := 0
	w, err := New(Options{
		Peers: 30, Degree: 60, Seed: 3, Virtual: 20 * time.Second, Workload: everySecond{}, Writers: 4,
		Faults: []Fault{Break}, Rates: Rates{Break: 2},
		Heard: func(int, time.Duration) { deliveries++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.Run()
	if err != nil {
		t.Fatal(err)
	}
	w.runUntil(w.now + time.Minute) // a beat, and an answer
	for _, h := range w.hosts {
		if n := h.meshed(); n < meshLeast || n >= meshMost || len(h.sessions) < 2*meshWant {
			t.Errorf("%s has %d of its %d links in its mesh, want %d to %d", h.name, n, len(h.sessions), meshLeast, meshMost)
		}
		for _, e := range h.sessions {
			if e.mesh != e.other().mesh {
				t.Errorf("%s and %s do not agree on their link", h.name, e.other().host.name)
			}
		}
	}
	if share := float64(deliveries) / float64(r.Writes*29); share < 0.98 {
		t.Errorf("%.3f of all publications arrived, though only sessions broke", share)
	}
	if copies := float64(r.Copies) / float64(deliveries); copies > 10 {
		t.Errorf("%.1f copies for each publication that arrived: the mesh is not used", copies)
	}
}

// A stream's lost datagrams make what it carries late, never lost, and never
// out of order.
func TestDatagramLoss(t *testing.T) {
	run := func(loss float64) (late time.Duration, r Report) {
		w, err := New(Options{
			Peers: 8, Seed: 5, Virtual: 30 * time.Second, Workload: everySecond{}, Writers: 2,
			Rates: Rates{DatagramLoss: loss},
			Heard: func(_ int, after time.Duration) { late = max(late, after) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if r, err = w.Run(); err != nil {
			t.Fatal(err)
		}
		return late, r
	}
	clean, all := run(0)
	late, lossy := run(0.3)
	if late <= clean+ackDelay {
		t.Errorf("the latest publication took %v with loss and %v without", late, clean)
	}
	if lossy.Faults[DatagramLoss] == 0 || lossy.Heard != all.Heard {
		t.Errorf("%d publications arrived with %d losses, %d without", lossy.Heard, lossy.Faults[DatagramLoss], all.Heard)
	}
}
