// Package bubble runs whole nodes in a testing/synctest bubble: node.Node with
// Pebble on a disk in memory, and libp2p with gossipsub over QUIC between
// sockets of a simulated network. Time is the bubble's, and passes only when
// all wait; a minute of twenty hosts takes a few seconds.
//
// It is the second stage of simulation. The first, package simnet, replays
// replicas from a seed, byte for byte, and knows no libp2p and no Pebble. Here
// goroutines run as they like, so a run claims invariants and not a trace: a
// seed fixes keys, links and which datagrams chance loses, no more. And here the
// first stage's model of gossip is measured against gossipsub.
//
// Only the edges are not production's: the UDP socket, the file system, the
// root package's files, and the pre-shared key, which QUIC does not know.
package bubble

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

var hosts = flag.Int("hosts", 24, "how many hosts the large world has")

// TestMain lets package gossip make its compressors, of which a process has one
// each, before the first bubble: a channel that is made in a bubble belongs to
// it. So a small world, in which no publication arrives, sends chunks.
func TestMain(m *testing.M) {
	r, err := simnet.Run(simnet.Options{
		Peers: 2, Seed: 1, Virtual: 10 * time.Second, Workload: workload.Puts{}, Rates: simnet.Rates{simnet.Loss: 1},
	})
	if err != nil || r.Entries == 0 {
		panic(fmt.Sprintf("the small world: %d entries, %v", r.Entries, err))
	}
	goleak.VerifyTestMain(m)
}

// inBubble runs a test in a bubble and says how long that really took.
func inBubble(t *testing.T, f func(t *testing.T)) {
	began := time.Now()
	synctest.Test(t, f)
	t.Logf("took %.1f s of wall time", time.Since(began).Seconds())
}

// TestManyHosts: hosts of which several write all come to hold the same.
func TestManyHosts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, options{hosts: *hosts, seed: 1, degree: 6})
		w.connected(30 * time.Second)
		enough := w.writing(time.Second, 0, 3, 5, 8, 13)
		pass(20 * time.Second)
		enough()
		after := w.settle(time.Minute)
		w.complete()
		w.say("equal after %v", after)
	})
}

// TestPartition: two halves that are cut off from each other for longer than
// any session bears go on by themselves, and afterwards no edit of either is
// lost.
func TestPartition(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, options{hosts: 20, seed: 2, degree: 6})
		w.connected(30 * time.Second)
		enough := w.writing(time.Second, 1, 4, 11, 17)
		pass(5 * time.Second)
		w.router.partition(func(from, to int) bool { return from < 10 != (to < 10) })
		pass(time.Minute)
		enough()
		here, there := w.hosts[1].holds(), w.hosts[17].holds()
		if here.vector.Missing(there.vector) == 0 || there.vector.Missing(here.vector) == 0 {
			t.Error("an edit got through the cut")
		}
		w.router.partition(nil)
		after := w.settle(2 * time.Minute)
		w.complete()
		w.say("%d and %d entries of the other side: equal %v after the cut healed",
			here.vector.Missing(there.vector), there.vector.Missing(here.vector), after)
	})
}

// TestLoss: a fifth of all datagrams vanishes, and everything arrives.
func TestLoss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, options{hosts: 20, seed: 3, degree: 6})
		w.connected(30 * time.Second)
		w.router.lose(0.2)
		enough := w.writing(500*time.Millisecond, 0, 6, 12)
		pass(30 * time.Second)
		enough()
		after := w.settle(time.Minute) // and the loss goes on
		w.complete()
		if sent, lost := w.router.counts(); float64(lost) < 0.15*float64(sent) {
			t.Errorf("%d of %d datagrams were lost, which is no fifth", lost, sent)
		}
		w.say("equal after %v", after)
	})
}

// TestCrash: hosts lose their power while they write. What they had
// acknowledged is held by all, they go on in a lane of a new incarnation, and
// what they had not synced is nobody's.
func TestCrash(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, options{hosts: 12, seed: 4, syncTakes: 10 * time.Millisecond})
		w.connected(30 * time.Second)
		quit := make(chan struct{})
		victims := []*host{w.hosts[2], w.hosts[5], w.hosts[9]}
		forgotten := uint64(0)
		for round := range 3 {
			for _, h := range victims {
				for range 3 {
					h.writes(25*time.Millisecond, quit)
				}
			}
			pass(time.Duration(1000+137*round) * time.Millisecond)
			for _, h := range victims {
				h.crash()
			}
			pass(5 * time.Second)
			w.check()
			for _, h := range victims {
				h.start()
				forgotten += h.forgot()
				before := len(h.acked)
				if dot, ok := h.put(fmt.Sprintf("own/%d/after/%d", h.at, round), int64(round)); !ok || len(h.acked) != before+1 {
					t.Errorf("host %d goes on in lane %v, which it wrote before its crash", h.at, dot.Lane)
				}
			}
		}
		close(quit)
		if forgotten == 0 {
			t.Error("no crash met an entry that was not yet synced")
		}
		after := w.settle(time.Minute)
		w.complete()
		w.say("9 crashes, %d entries forgotten: equal after %v", forgotten, after)
	})
}

// forgot returns how many entries of its own a host that starts again after a
// crash had applied and has no more. Nobody else may have seen one of them.
func (h *host) forgot() (n uint64) {
	h.w.t.Helper()
	has := h.core.Vector()
	for l := range h.acked {
		n += h.applied.Seq(l) - has.Seq(l)
		for _, x := range h.w.hosts {
			if x.up() && x.core.Vector().Seq(l) > has.Seq(l) {
				h.w.broken("host %d has seen what host %d had not synced: %v:%d, synced was %d", x.at, h.at, l, x.core.Vector().Seq(l), has.Seq(l))
			}
		}
	}
	return n
}

// TestSilence: where nobody publishes, sessions alone bring everything.
func TestSilence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, options{hosts: 20, seed: 6, degree: 6, mute: true})
		w.connected(30 * time.Second)
		enough := w.writing(time.Second, 0, 7, 14)
		pass(10 * time.Second)
		enough()
		after := w.settle(2 * time.Minute)
		w.complete()
		w.say("equal after %v", after)
	})
}

// TestCleanStop: a process that ended in order goes on with its lane.
func TestCleanStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, options{hosts: 3, seed: 5})
		h := w.hosts[1]
		h.put("own/1", 1)
		h.stop()
		w.hosts[0].put("own/2", 2)
		pass(10 * time.Minute)
		h.start()
		h.put("own/3", 3)
		if len(h.acked) != 1 {
			t.Errorf("the host wrote %d lanes, want 1", len(h.acked))
		}
		after := w.settle(time.Minute)
		w.complete()
		w.say("equal after %v", after)
	})
}
