package simnet_test

import (
	"testing"
	"time"

	. "github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

// Hosts that hold different versions of a schema, and write by them while they
// are apart, have equal digests whenever they have applied the same; and they
// read the same once they hold the same versions, whatever faults there were.
func TestSchemas(t *testing.T) {
	first, n := *firstFlag, *seedsFlag
	switch {
	case *seedFlag > 0:
		first, n = *seedFlag, 1
	case n == 0 && (raceEnabled || testing.Short()):
		n = 10
	case n == 0:
		n = 40
	}
	differed := 0
	for seed := first; seed < first+uint64(n); seed++ {
		r, err := Run(Options{
			Seed: seed, Peers: 3 + int(seed%5), Virtual: 40 * time.Second, Faults: AllFaults, Workload: workload.Schemas{},
			Invariants: []Invariant{workload.OracleNow}, AtEnd: []Invariant{workload.Oracle, sameReads},
		})
		if err != nil {
			t.Errorf("%v\nreplay: go test ./simnet -run '^TestSchemas$' -seed %d", err, seed)
		}
		if r.Differ {
			differed++ // after forks whose branches nobody holds any more
		}
	}
	if differed > n/10 {
		t.Errorf("in %d of %d worlds the hosts ended apart", differed, n)
	}
}

func sameReads(w *World) error { return workload.SameReads(w) }
