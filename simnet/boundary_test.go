package simnet_test

import (
	"testing"
	"time"

	. "github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

// A process may be killed at every boundary of a run: before the disk has
// synced, when it has, and behind each single effect. Whichever it is, no
// invariant breaks and all become equal.
func TestCrashEverywhere(t *testing.T) {
	o := Options{
		Peers: 4, Seed: 5, Virtual: 15 * time.Second, CheckEvery: time.Second,
		Faults: []Fault{Equivocate, Loss, CleanStop, StaleDisk}, Rates: Rates{Equivocate: 3, Loss: 0.1, CleanStop: 1, StaleDisk: 1},
		Workload: workload.Mixed{}, AtEnd: []Invariant{workload.Oracle},
	}
	var all uint64
	count := o
	count.AtEnd = []Invariant{func(w *World) error {
		all = w.Boundaries()
		return nil
	}}
	if _, err := Run(count); err != nil {
		t.Fatal(err)
	}
	step := uint64(5)
	switch {
	case raceEnabled || testing.Short():
		step = 40
	case *seedsFlag > 0:
		step = 1
	}
	for n := uint64(1); n <= all; n += step {
		o.CrashAt(n)
		if _, err := Run(o); err != nil {
			t.Fatalf("killed at boundary %d of %d: %v", n, all, err)
		}
	}
	t.Logf("%d boundaries, a run for each", all/step)
	if all < 100 {
		t.Errorf("only %d boundaries", all)
	}
}
