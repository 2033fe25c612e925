package simnet_test

import (
	"flag"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/compaction"
	. "github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

var awayFlag = flag.Int("away-hosts", 60, "how many hosts the world of TestAwayAndCompacting has")

// awayWorld is a world of which a tenth is away at any time, for 25 s or so each,
// and edits meanwhile. The rate is for each host and minute, of at most 16.
func awayWorld(hosts int, keep compaction.Policy) Options {
	return Options{
		Peers: hosts, Seed: 1, Writers: 25, Virtual: 12 * time.Minute, CheckEvery: 30 * time.Second,
		Faults: []Fault{Away}, Rates: Rates{Away: float64(hosts) * 0.1 * 60 / 25 / 16},
		Workload: workload.Edits{}, Retention: keep,
		Invariants: []Invariant{workload.OracleNow}, AtEnd: []Invariant{workload.Oracle},
	}
}

// Each host drops its history by itself, and a tenth of all are away at any time:
// no log grows beyond what is written between two compactions, and in the end all
// hold every edit, as their twin does that keeps everything.
func TestAwayAndCompacting(t *testing.T) {
	hosts := *awayFlag
	if raceEnabled || testing.Short() {
		hosts = min(hosts, 20)
	}
	var most []uint64
	for _, mode := range []compaction.Mode{compaction.Archive, compaction.Minimal} {
		r, err := Run(awayWorld(hosts, compaction.Policy{Mode: mode}))
		if err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		t.Logf("%s: %d hosts, %d times one was away, %d edits; raw entries at one host at most %d; %d compactions, %d states adopted; all equal after %.1f s; %.0f s wall",
			mode, hosts, r.Faults[Away], r.Writes, r.MostRaw, r.Compactions, r.StatesAdopted, r.ConvergedAfterS, r.WallS)
		most = append(most, r.MostRaw)
		if mode == compaction.Archive {
			if r.MostRaw < r.Writes*9/10 {
				t.Errorf("without compaction a host holds %d entries of %d", r.MostRaw, r.Writes)
			}
			continue
		}
		if r.Compactions < hosts || r.StatesAdopted == 0 {
			t.Errorf("%d compactions, %d states adopted", r.Compactions, r.StatesAdopted)
		}
	}
	if most[1] > most[0]/2 {
		t.Errorf("with compaction a host held %d entries, without %d", most[1], most[0])
	}
}
