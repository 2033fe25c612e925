package simnet_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	. "github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

// BenchmarkRun is how fast worlds run: of few hosts that write much, of a
// thousand, and of ten thousand.
func BenchmarkRun(b *testing.B) {
	for _, c := range []struct {
		peers   int
		virtual time.Duration
		work    Workload
	}{
		{20, time.Minute, workload.Mixed{}},
		{200, time.Minute, workload.Quiet{}},
		{1000, 10 * time.Minute, workload.Quiet{}},
		{10_000, time.Minute, workload.Quiet{}},
	} {
		b.Run(fmt.Sprintf("peers=%d", c.peers), func(b *testing.B) {
			var events, seconds float64
			for i := range b.N {
				r, err := Run(Options{
					Peers: c.peers, Seed: uint64(i + 1), Virtual: c.virtual, Writers: 64, Faults: AllFaults, Workload: c.work,
				})
				if err != nil {
					b.Fatal(err)
				}
				events += float64(r.Events)
				seconds += r.WallS
				b.Logf("seed %d: %d events in %.1f s, %d entries, converged after %.1f s, %d bytes per peer",
					r.Seed, r.Events, r.WallS, r.Entries, r.ConvergedAfterS, r.BytesPerPeer)
			}
			b.ReportMetric(events/seconds, "events/s")
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.Sys)/(1<<20), "MiB")
		})
	}
}
