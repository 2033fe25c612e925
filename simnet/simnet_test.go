package simnet_test

import (
	"flag"
	"os"
	"testing"
	"time"

	. "github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run with this one seed")
	seedsFlag = flag.Int("seeds", 60, "how many seeds to run")
	traceFlag = flag.Bool("trace", false, "print the trace")
)

// Any mixture of faults, and when they end all hosts are equal and nothing
// acknowledged is lost.
func TestSwarm(t *testing.T) {
	first, last := uint64(1), uint64(*seedsFlag)
	if *seedFlag > 0 {
		first, last = *seedFlag, *seedFlag
	}
	fired := make(map[Fault]int)
	for seed := first; seed <= last; seed++ {
		o := Options{Seed: seed, Peers: 3 + int(seed%20), Virtual: 30 * time.Second, Faults: AllFaults,
			Workload: workload.Mixed{}, AtEnd: []Invariant{workload.Oracle}}
		if *traceFlag {
			o.Trace = os.Stderr
		}
		r, err := Run(o)
		if err != nil {
			t.Fatalf("%v\nreplay: go test ./simnet -run '^TestSwarm$' -seed %d", err, seed)
		}
		for f, n := range r.Faults {
			fired[f] += n
		}
		t.Logf("seed %d peers %d events %d (%.0f/s) writes %d entries %d alarms %v converged after %.1fs", seed, r.Peers, r.Events, r.EventsPerS, r.Writes, r.Entries, r.Alarms, r.ConvergedAfterS)
	}
	t.Log(fired)
}
