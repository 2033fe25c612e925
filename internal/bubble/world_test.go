package bubble

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/node"
)

var space = sha256.Sum256([]byte("a space in a bubble"))

const topic = "/rhizome/bubble"

// options say what world to make.
type options struct {
	hosts int
	seed  uint64
	// degree is to how many others a host keeps sessions: a ring and chords, as
	// in package simnet. Zero means that all know all, and dial whom they hear of.
	degree int
	// syncTakes is how long a sync of the log takes.
	syncTakes time.Duration
	// mute keeps all from publishing.
	mute bool
}

// A world is some hosts and the network between them.
type world struct {
	t      *testing.T
	opts   options
	router *router
	hosts  []*host
	dials  [][]int
	acks   atomic.Int64
}

// newWorld makes a world in the bubble that the test runs in, and starts its
// hosts.
func newWorld(t *testing.T, o options) *world {
	t.Helper()
	if o.syncTakes == 0 {
		o.syncTakes = 2 * time.Millisecond
	}
	w := &world{t: t, opts: o}
	w.router = newRouter(o.seed, w.latency)
	for i := range o.hosts {
		w.hosts = append(w.hosts, w.newHost(i))
	}
	w.wire()
	for _, h := range w.hosts {
		h.start()
	}
	t.Cleanup(w.close) // inside of the bubble
	return w
}

// close ends all processes, then the network. No host says goodbye to another:
// there is nothing left to learn from it.
func (w *world) close() {
	for _, h := range w.hosts {
		if h.up() {
			w.router.remove(h.at)
			_, _ = h.end()
		}
	}
	w.router.close()
}

// wire draws who dials whom: a ring, so that all are connected, and chords.
func (w *world) wire() {
	rng := rand.New(rand.NewPCG(w.opts.seed, 2))
	n := len(w.hosts)
	for i := range n {
		to := []int{(i + 1) % n}
		for range max(w.opts.degree, 4)/2 - 1 {
			if x := rng.IntN(n); x != i && !slices.Contains(to, x) {
				to = append(to, x)
			}
		}
		w.dials = append(w.dials, to)
	}
}

func (w *world) peersOf(h *host) (addrs []string) {
	for _, to := range w.dials[h.at] {
		if to != h.at {
			addrs = append(addrs, w.hosts[to].addr())
		}
	}
	return addrs
}

const (
	leastLatency = 500 * time.Microsecond
	mostLatency  = 80 * time.Millisecond
)

// latency is that of the way between two hosts, as package simnet draws it.
func (w *world) latency(a, b int) time.Duration {
	rng := rand.New(rand.NewPCG(w.opts.seed, uint64(min(a, b))<<32|uint64(max(a, b))))
	return leastLatency + time.Duration(rng.Int64N(int64(mostLatency-leastLatency)))
}

// say prints what became of the world.
func (w *world) say(format string, args ...any) {
	w.t.Helper()
	sent, lost := w.router.counts()
	w.t.Logf("%d hosts, %d writes; %s; %d datagrams, %d of them lost", len(w.hosts), w.acks.Load(), fmt.Sprintf(format, args...), sent, lost)
}

// broken notes a broken invariant, from any goroutine.
func (w *world) broken(format string, args ...any) { w.t.Errorf(format, args...) }

// check holds every host that is up to what must always hold.
func (w *world) check() {
	w.t.Helper()
	for _, h := range w.hosts {
		if !h.up() {
			continue
		}
		h.mu.Lock()
		acked := make(map[string]uint64, len(h.acked))
		v := h.core.Vector()
		for l, s := range h.acked {
			if v.Seq(l) < s {
				acked[l.String()] = s
			}
		}
		h.mu.Unlock()
		for l, s := range acked {
			w.broken("host %d lost its acknowledged write %s:%d", h.at, l, s)
		}
		if h.last != nil {
			for _, l := range h.last.Lanes() {
				if v.Seq(l) < h.last.Seq(l) {
					w.broken("host %d: the vector went back in lane %v from %d to %d", h.at, l, h.last.Seq(l), v.Seq(l))
				}
			}
		}
		h.last = v
		if err := h.core.Err(); err != nil {
			w.broken("host %d stopped: %v", h.at, err)
		}
		for _, a := range h.core.Alarms() {
			w.broken("host %d: alarm %s: %s", h.at, a.Kind, a.Text)
		}
	}
}

// settle waits until all hosts hold the same, and every acknowledged write of
// all, and says how long that took.
func (w *world) settle(within time.Duration) time.Duration {
	w.t.Helper()
	began := time.Now()
	for {
		w.check()
		if w.t.Failed() {
			w.t.FailNow()
		}
		why := w.differ()
		if why == "" {
			return time.Since(began)
		}
		if time.Since(began) > within {
			w.t.Fatalf("not equal after %v: %s", within, why)
		}
		pass(100 * time.Millisecond)
	}
}

// differ says how hosts differ, empty where they do not.
func (w *world) differ() string {
	first := w.hosts[0].holds()
	for _, h := range w.hosts {
		for l, s := range h.acked {
			if first.vector.Seq(l) < s {
				return fmt.Sprintf("host 0 lacks the acknowledged write %v:%d of host %d", l, s, h.at)
			}
		}
		x := h.holds()
		if x.vector.Root() != first.vector.Root() {
			return fmt.Sprintf("host 0 and host %d: %d and %d entries are missing", h.at, first.vector.Missing(x.vector), x.vector.Missing(first.vector))
		}
		if x.digest != first.digest {
			return fmt.Sprintf("host 0 and host %d hold the same entries and another state", h.at)
		}
	}
	return ""
}

// connected waits until every host has a session with each that it dials.
func (w *world) connected(within time.Duration) {
	w.t.Helper()
	for began := time.Now(); ; pass(100 * time.Millisecond) {
		missing := 0
		for _, h := range w.hosts {
			var s node.Status
			if err := h.core.Fill(w.t.Context(), &s, false); err != nil {
				w.t.Fatal(err)
			}
			for _, to := range w.dials[h.at] {
				if !slices.ContainsFunc(s.Peers, func(p node.PeerStatus) bool { return p.ID == w.hosts[to].name }) {
					missing++
				}
			}
		}
		if missing == 0 {
			return
		}
		if time.Since(began) > within {
			w.t.Fatalf("%d sessions are missing after %v", missing, within)
		}
	}
}

// writing lets hosts write, each about every so often, until the returned
// function is called, which waits for them.
func (w *world) writing(every time.Duration, hosts ...int) (enough func()) {
	quit := make(chan struct{})
	for _, i := range hosts {
		w.hosts[i].writes(every, quit)
	}
	return func() {
		close(quit)
		for _, i := range hosts {
			w.hosts[i].writers.Wait()
		}
	}
}

// writes lets a host write until quit is closed or its process ends: keys of
// its own, and some that are everybody's.
func (h *host) writes(every time.Duration, quit <-chan struct{}) {
	rng := rand.New(rand.NewPCG(h.rnd.Uint64(), 1))
	life := len(h.kept)
	h.writers.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			case <-time.After(time.Duration(rng.ExpFloat64() * float64(every))):
			}
			entity := fmt.Sprintf("own/%d/%d/%d", h.at, life, n)
			if n%3 == 0 {
				entity = fmt.Sprintf("shared/%d", rng.IntN(4))
			}
			if _, ok := h.put(entity, int64(n)); !ok {
				return
			}
		}
	})
}

// complete holds every host to every value that was written and that nobody
// else has overwritten since.
func (w *world) complete() {
	w.t.Helper()
	for _, h := range w.hosts {
		for _, by := range w.hosts {
			for entity, n := range by.kept {
				h.reads(entity, n)
			}
		}
	}
}
