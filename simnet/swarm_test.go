package simnet_test

import (
	"flag"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	. "github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run with this one seed")
	firstFlag = flag.Uint64("first", 1, "the first seed to run with")
	seedsFlag = flag.Int("seeds", 0, "how many seeds to run with; 0 is a number that takes a minute")
	traceFlag = flag.Bool("trace", false, "with -seed: print the trace")
)

// swarmOptions are those of one seed of the swarm: it draws their rates.
func swarmOptions(seed uint64) Options {
	return Options{
		Seed: seed, Peers: 3 + int(seed%20), Virtual: 30 * time.Second, Faults: AllFaults,
		Workload: workload.Mixed{}, Invariants: []Invariant{workload.OracleNow}, AtEnd: []Invariant{workload.Oracle},
	}
}

// What any mixture of faults leads to: at no time an invariant is broken, and
// when the faults end all hosts become equal. Over the set every fault fires.
func TestSwarm(t *testing.T) {
	first, n := *firstFlag, *seedsFlag
	switch {
	case *seedFlag > 0:
		first, n = *seedFlag, 1
	case n == 0 && raceEnabled:
		n = 25
	case n == 0 && testing.Short():
		n = 40
	case n == 0:
		n = 100
	}
	reports := make([]Report, n)
	errs := make([]error, n)
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				o := swarmOptions(first + uint64(i))
				if *traceFlag && n == 1 {
					o.Trace = os.Stderr
				}
				reports[i], errs[i] = Run(o)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()

	fired := make(map[Fault]int)
	var events, served, adopted uint64
	compacted, redone, differ := 0, 0, 0
	var slowest Report
	for i, r := range reports {
		if errs[i] != nil {
			t.Errorf("%v\nreplay: go test ./simnet -run '^TestSwarm$' -seed %d", errs[i], first+uint64(i))
		}
		for f, count := range r.Faults {
			fired[f] += count
		}
		events += r.Events
		served, adopted = served+r.StatesServed, adopted+r.StatesAdopted
		compacted, redone = compacted+r.Compactions, redone+r.Redone
		if r.Differ {
			differ++
		}
		if r.ConvergedAfterS > slowest.ConvergedAfterS {
			slowest = r
		}
	}
	t.Logf("%d seeds, %d events; slowest to become equal: seed %d, %.1f s; faults: %v",
		n, events, slowest.Seed, slowest.ConvergedAfterS, fired)
	t.Logf("%d compactions, %d of them done again after a crash; %d states served, %d adopted; %d seeds with a fork that nobody can prove", compacted, redone, served, adopted, differ)
	if n >= 60 && (redone == 0 || served == 0 || adopted == 0) {
		t.Errorf("%d compactions done again after a crash, %d states served, %d adopted: each must happen", redone, served, adopted)
	}
	for _, f := range AllFaults {
		if n >= 60 && fired[f] == 0 {
			t.Errorf("fault %s never fired", f)
		}
	}
}
