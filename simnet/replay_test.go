package simnet_test

import (
	"testing"

	. "github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

// A recorded schedule, written down and read again, runs to the same trace as
// the run that it was recorded from.
func TestReplay(t *testing.T) {
	n := uint64(40)
	if testing.Short() || raceEnabled {
		n = 10
	}
	for seed := uint64(1); seed <= n; seed++ {
		o := quick(seed)
		if seed%4 == 0 {
			o.Workload = workload.Schemas{}
		}
		s, first, err := Record(o)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		text := s.String()
		parsed, err := ParseSchedule(text)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if again := parsed.String(); again != text {
			t.Fatalf("seed %d: written, read and written again, the schedule is another:\n%s\nfirst\n%s", seed, again, text)
		}
		second, err := Run(Options{Replay: parsed, AtEnd: []Invariant{workload.Oracle}})
		if err != nil {
			t.Fatalf("seed %d, replayed: %v", seed, err)
		}
		if first.TraceHash != second.TraceHash || first.Digest != second.Digest {
			t.Errorf("seed %d: replaying %d acts leads to another run: %d events, not %d", seed, len(s.Acts), second.Events, first.Events)
		}
	}
}
