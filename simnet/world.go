// Package simnet is a deterministic world for replicas: virtual time, a
// network, disks and clocks that go wrong as real ones do, all drawn from one
// seed. The replicas in it are the production ones, with their real codec,
// signatures, admission, merge and protocol.
//
// # What is simulated
//
// A World is a queue of events ordered by (time, sequence). An event calls a
// replica; what that leads to goes out when the host's disk has synced what it
// rests on, as in production. Sessions are ordered streams with latency, cuts
// and breaks. Publications spread hop by hop along sessions, may be lost,
// doubled, delayed, replayed or corrupted on each. Disks lose what was not
// synced, all of it or from some point on. Clocks are skewed, drift, jump and
// freeze. A signature is verified once for the world, not by each host: the outcome
// depends on its bytes alone.
//
// The same Options give the same trace, byte for byte; Report.TraceHash is its
// hash.
//
// # A world of your own
//
// Give Run a Workload of your own, and Invariants that must hold whenever they
// are checked; see the example.
package simnet

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/storage"
)

const (
	// epoch is the wall time at which every world begins, in milliseconds.
	epoch = 1_767_225_600_000 // 2026-01-01

	// crashedFor is how long a process stays away that Options.crashAt kills.
	crashedFor = 300 * time.Millisecond

	// tickEvery is how often a host's driver ticks its replica.
	tickEvery = 100 * time.Millisecond
)

// A World is one simulated network of hosts.
type World struct {
	opts  Options
	space clock.Hash
	rates Rates
	hosts []*host

	now   time.Duration
	queue queue
	trace *tracer

	// Randomness is forked by purpose.
	chaos, net, luck *rand.Rand
	tape             *tape   // notes what happens, nil unless it is wanted
	script           *player // what happens, where chance does not decide

	sessions gossip.SessionID
	cuts     []*cut
	healed   bool
	forks    map[clock.LaneID]bool // the lanes that were made to fork
	branches branches
	archive  *archive // nil where no host compacts

	compactions compactions

	differ bool // states do, and must not any more be equal; see mayDiffer

	good     signatures
	names    map[clock.EntryID]clock.Hash // of all entries that were seen
	fired    map[Fault]int
	alarms   map[string]int
	bytes    uint64
	acks     uint64
	rejected uint64
	heard    uint64 // publications that reached a host

	copies, copyBytes uint64 // of publications, on their way from host to host
	failure           error

	boundaries uint64 // that processes have passed
}

// New makes a world and starts its hosts.
func New(o Options) (*World, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	w := &World{
		opts: o, space: sha256.Sum256(fmt.Appendf(nil, "simulated space %d", o.Seed)),
		trace: newTracer(o.Trace), fired: make(map[Fault]int), names: make(map[clock.EntryID]clock.Hash), forks: make(map[clock.LaneID]bool), alarms: make(map[string]int),
		chaos: fork(o.Seed, 1), net: fork(o.Seed, 2), luck: fork(o.Seed, 4),
	}
	w.rates = DrawRates(fork(o.Seed, 3), o.Faults)
	for f, r := range o.Rates {
		w.rates[f] = r
	}
	if w.compacts() {
		w.archive = newArchive()
	}
	for i := range o.Peers {
		name := o.hostName(i)
		h := w.newHost(name, name, storage.NewMemory())
		if i < o.Writers && o.Replay == nil {
			h.work = fork(o.Seed, uint64(1000+i))
		}
	}
	if o.Record != nil {
		w.tape = newTape(w, o.Record)
	}
	w.wire()
	for _, h := range w.hosts[:o.Peers] {
		h.start(nil)
		w.startWork(h)
	}
	if o.Replay != nil {
		w.play(o.Replay)
	} else {
		w.scheduleFaults()
	}
	w.scheduleChecks()
	return w, nil
}

// wire draws who dials whom: a ring, so that all are connected, and chords.
func (w *World) wire() {
	n := len(w.hosts)
	for i, h := range w.hosts {
		if n > 1 {
			h.dials = append(h.dials, (i+1)%n)
		}
		for range w.opts.Degree/2 - 1 {
			if to := w.net.IntN(n); to != i {
				h.dials = append(h.dials, to)
			}
		}
	}
}

func (w *World) at(t time.Duration, k eventKind, host int, do func()) {
	w.queue.push(event{at: max(t, w.now), kind: k, host: int32(host), do: do})
}

func (w *World) after(d time.Duration, k eventKind, host int, do func()) {
	w.at(w.now+d, k, host, do)
}

// fail notes the first broken invariant; the run ends with it.
func (w *World) fail(invariant, format string, args ...any) {
	if w.failure == nil {
		w.failure = newFailure(w.now, invariant, format, args)
		w.trace.say(w.now, "FAILED %v", w.failure)
	}
}

// tick lets the host's driver run its timer for as long as its process lives.
func (w *World) tick(h *host, wait time.Duration) {
	gen := h.gen
	var tick func() // one for all ticks of the process
	tick = func() {
		if h.gen != gen || !h.up() {
			return
		}
		if h.pausedUntil <= w.now {
			h.did(h.r.Tick(h.millis()))
		}
		if h.gen == gen && h.up() {
			w.after(tickEvery, evTick, h.at, tick)
		}
	}
	w.after(wait, evTick, h.at, tick)
}

// healAt is when the faults end.
func (w *World) healAt() time.Duration { return w.opts.Virtual }

// heal ends all faults and brings everything back.
func (w *World) heal() {
	w.healed = true
	w.cuts = nil
	for _, h := range w.hosts {
		if h.hostile != "" {
			w.expel(h)
			continue
		}
		h.disk.full = false
		h.fuse, h.slowDisk, h.frozenUntil, h.drift, h.skew = 0, 0, 0, 0, 0 // a pause ends by itself
		for _, e := range h.sessions {
			e.link.slowUntil, e.link.cloggedUntil = 0, 0
		}
		if !h.up() {
			h.start(nil)
		}
	}
}

// happen notes an event.
func (w *World) happen(k eventKind, host int) {
	w.trace.n++
	w.trace.note(w.now, k, host, 0)
}

// step runs the next event.
func (w *World) step() {
	e := w.queue.pop()
	w.now = e.at
	switch e.kind {
	case evDraw: // what happens is noted
	case evFrame, evGossip: // noted with their bytes
		w.trace.n++
	default:
		w.happen(e.kind, int(e.host))
	}
	e.do()
}

// runUntil runs events up to a moment of virtual time.
func (w *World) runUntil(t time.Duration) {
	for w.failure == nil && w.queue.Len() > 0 {
		if e, _ := w.queue.next(); e.at > t {
			break
		}
		w.step()
	}
	if w.failure == nil {
		w.now = t
		if w.opts.Watch != nil {
			w.failure = w.opts.Watch(w.now, w.trace.n)
		}
	}
}
