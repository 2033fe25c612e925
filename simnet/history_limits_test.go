package simnet_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/history"
	. "github.com/rhizome-p2p/rhizome/simnet"
)

// firstBreaking runs worlds until one's history breaks a model.
func firstBreaking(t *testing.T, most uint64, m history.Model, change func(*Options, *recorder)) *history.Violation {
	t.Helper()
	for seed := uint64(1); seed <= most; seed++ {
		o, c, _ := recorded(seed)
		change(&o, c)
		if _, err := Run(o); err != nil {
			t.Fatal(err)
		}
		var v *history.Violation
		if _, err := c.judge([]history.Model{m}); errors.As(err, &v) {
			t.Logf("seed %d: %v", seed, v)
			return v
		}
	}
	t.Errorf("no history of %d breaks %s", most, m)
	return nil
}

// A read does not wait for the disk: one that a client is given at once may show
// what a crash takes back, and then a later one goes back in time. It is why
// recorders keep a read only when it is durable.
func TestReadsDoNotWaitForTheDisk(t *testing.T) {
	firstBreaking(t, 100, history.MonotonicReads, func(o *Options, c *recorder) {
		c.dirty, c.every = true, 10*time.Millisecond
		o.Virtual, o.Faults, o.Rates = 5*time.Second, []Fault{Crash, SlowDisk}, Rates{Crash: 20, SlowDisk: 20}
	})
}

// Lossy reads show the newest by the writers' clocks. Where those are off by more
// than what nodes bear, no one order of the writes explains what they show; all
// else holds (TestHistories).
func TestWrongClocksBreakConvergence(t *testing.T) {
	v := firstBreaking(t, 100, history.CCv, func(o *Options, _ *recorder) {
		o.Faults, o.Rates = []Fault{ClockJump, Partition}, Rates{ClockJump: 4, Partition: 2}
	})
	if v != nil && v.Pattern != history.CyclicCF {
		t.Errorf("it breaks by %s", v.Pattern)
	}
}

// No session sees all writes in one order, as causal memory would have it: a value
// that comes later may be older by the clock.
func TestNoCausalMemory(t *testing.T) {
	firstBreaking(t, 20, history.CM, func(o *Options, _ *recorder) {
		o.Faults = slices.DeleteFunc(o.Faults, func(f Fault) bool { return slices.Contains(clocks, f) })
	})
}
