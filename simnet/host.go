package simnet

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A host is one machine: a disk, a clock, and the process that runs on it.
type host struct {
	w    *World
	at   int
	name string // unique
	node string // the identity, which a copy shares
	key  ed25519.PrivateKey

	disk *disk
	r    *node.Replica // nil while the process is down
	gen  uint64        // counts processes; what older ones began is void
	rnd  *rand.ChaCha8
	net  *rand.Rand // how long it waits

	sessions []*end
	dials    []int // hosts that it keeps a session to
	tending  bool  // it is going to look after its mesh

	// out are the steps that wait for the disk, in order. syncing says that a
	// sync of the first is under way, or that their effects are being let out.
	out     []node.Step
	syncing bool

	skew                  time.Duration
	drift                 float64
	frozenAt              time.Duration
	frozenUntil           time.Duration
	pausedUntil, slowDisk time.Duration

	work    *rand.Rand // the workload's, nil on hosts that do not write
	acts    int
	acked   map[clock.LaneID]uint64 // newest acknowledged seq of each own lane
	applied delivery                // what was checked of the log
	// branches are the entries of forked lanes that this process was seen to
	// hold, some of which a closing may have taken out since.
	branches map[clock.Hash]bool
	last     *clock.Vector           // at the last check, nil after a start
	old      *storage.Memory         // an old copy of the disk
	oldTo    map[clock.LaneID]uint64 // acked at that copy
	down     bool                    // by a fault, to be brought back

	hostile Fault // what the host does to its peers; empty for an honest one
	flooded int   // how many messages it repeated

	repair repair

	// fullFor is how long the process stays away once its full disk ended it.
	fullFor time.Duration

	compacting compacting

	// fuse counts the boundaries until the process is killed, 0 for never, and
	// fuseFor is how long it then stays away.
	fuse    int64
	fuseFor time.Duration

	durability durability
}

func (h *host) up() bool { return h.r != nil }

// disk is a model of one: batches are visible at once and durable when synced;
// a crash loses the others, all or from some point on.
type disk struct {
	*storage.Memory
	full bool
}

// Apply fails on a full disk.
func (d *disk) Apply(b storage.Batch) (storage.Commit, error) {
	if d.full {
		return nil, fmt.Errorf("%w: no space left", storage.ErrFailed)
	}
	return d.Memory.Apply(b)
}

func (w *World) newHost(name, identity string, d *storage.Memory) *host {
	seed := sha256.Sum256(fmt.Appendf(nil, "%d %s", w.opts.Seed, identity))
	h := &host{
		w: w, at: len(w.hosts), name: name, node: identity, key: ed25519.NewKeyFromSeed(seed[:]),
		disk: &disk{Memory: d}, acked: make(map[clock.LaneID]uint64),
		rnd: rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "random %d %s", w.opts.Seed, name))),
	}
	h.net = fork(w.opts.Seed, seedOf("waits of "+name))
	w.hosts = append(w.hosts, h)
	return h
}

// start runs a new process on the host.
func (h *host) start(resume *node.Resume) {
	w := h.w
	var instance [16]byte
	_, _ = h.rnd.Read(instance[:]) // never fails
	h.gen++
	r, err := node.OpenReplica(node.ReplicaConfig{
		DB: h.disk, Prefix: []byte{1}, Space: w.space, Key: h.key, Random: h.rnd,
		Spread: fork(h.rnd.Uint64(), 1), Resume: resume, Node: h.node, Instance: instance,
		Retention: w.opts.retention(),
		Verify:    w.good.verify,
	})
	if err != nil {
		w.fail("opens again", "%s does not open again: %v", h.name, err)
		return
	}
	r.Machine().SetAddrs([]string{"/sim/" + h.name})
	h.r, h.last, h.out, h.syncing, h.down = r, nil, nil, false, false
	h.tending = false
	h.fuse = 0
	h.applied, h.branches = delivery{}, nil // it may be another disk
	h.openCompacting()
	if w.archive != nil {
		delete(w.archive.upTo, h)
		if err := w.harvest(h); err != nil {
			w.fail("the log can be read", "%s: %v", h.name, err)
			return
		}
	}
	w.tick(h, time.Duration(h.net.Int64N(int64(tickEvery))))
	for _, to := range h.dials {
		w.dial(h, to, h.span(0, 50*time.Millisecond))
	}
}

// millis is what the host's clock says.
func (h *host) millis() int64 { return epoch + h.wall().Milliseconds() }

func (h *host) wall() time.Duration {
	if h.frozenUntil > h.w.now {
		return h.frozenAt
	}
	return h.w.now + h.skew + time.Duration(h.drift*float64(h.w.now))
}

func (h *host) end(id gossip.SessionID) *end {
	for _, e := range h.sessions {
		if e.id == id {
			return e
		}
	}
	return nil
}

func (h *host) linkTo(peer *host) *link {
	for _, e := range h.sessions {
		if e.peer == peer {
			return e.link
		}
	}
	return nil
}

// did takes what a call of the replica led to.
func (h *host) did(s node.Step, err error) {
	if err != nil {
		if errors.Is(err, storage.ErrFailed) {
			h.w.diskFailed(h)
			return
		}
		h.w.fail("runs on", "%s: %v", h.name, err)
		return
	}
	if err := h.checkDelivery(); err != nil {
		h.w.fail("delivery", "%s: %v", h.name, err)
		return
	}
	h.noteCompacting()
	h.runJobs(&s)
	if s.Commit == nil && len(h.out) == 0 && !h.syncing {
		h.perform(&s) // it rests on nothing that is not durable
		return
	}
	if !h.boundary() {
		return
	}
	h.out = append(h.out, s)
	h.durability.written++
	h.sync()
}

// jobTakes is how long the work of a job lasts.
const jobTakes = time.Millisecond

// runJobs does the work of jobs and takes in what they come to a little later.
func (h *host) runJobs(s *node.Step) {
	gen := h.gen
	for _, j := range s.Jobs {
		finish := j()
		h.w.after(jobTakes, evJob, h.at, func() {
			if h.gen == gen && h.up() {
				h.did(finish(h.millis()))
			}
		})
	}
}

const (
	quickSync = 300 * time.Microsecond
	slowSync  = 100 * quickSync
)

// sync makes durable what waits now, and lets it out when it is.
func (h *host) sync() {
	if h.syncing || len(h.out) == 0 {
		return
	}
	h.syncing = true
	gen, n := h.gen, len(h.out)
	takes := quickSync
	if h.slowDisk > h.w.now {
		takes = slowSync
		h.w.fired[SlowDisk]++
	}
	h.w.after(takes, evDurable, h.at, func() {
		if h.gen != gen || !h.up() {
			return
		}
		steps := h.out[:n:n]
		h.out = slices.Clone(h.out[n:])
		for i := n - 1; i >= 0; i-- {
			if steps[i].Commit != nil {
				if err := steps[i].Commit.Wait(); err != nil {
					h.w.fail("syncs", "%s: sync: %v", h.name, err)
				}
				break // it stands for all before it
			}
		}
		for i := range steps {
			if h.gen == gen && h.up() {
				h.perform(&steps[i])
			}
			if h.gen == gen {
				h.durability.done()
			}
		}
		if h.gen == gen {
			h.syncing = false
			h.sync()
		}
	})
}

// perform lets the effects of a durable step out.
func (h *host) perform(s *node.Step) {
	w, gen := h.w, h.gen
	if len(s.Results)+len(s.Publish)+len(s.Effects) > 0 && !h.boundary() {
		return
	}
	for _, res := range s.Results {
		if res.Err == nil && res.Receipt.Deltas > 0 {
			d := res.Receipt.Txn
			h.acked[d.Lane] = max(h.acked[d.Lane], d.Seq)
			w.acks++
		}
	}
	h.answered(s)
	for _, p := range s.Publish {
		pub := w.newPublication(h, p)
		for i := range pub.entries {
			w.archive.add(pub.entries[i].Entry)
		}
		pub.first(h)
		w.spread(h, pub, nil)
		if !h.boundary() {
			return
		}
	}
	for i, e := range s.Effects {
		if h.gen != gen || i > 0 && !h.boundary() {
			return
		}
		switch e := e.(type) {
		case gossip.Send:
			w.send(h, e.To, e.Message)
		case gossip.Drop:
			if x := h.end(e.Session); x != nil {
				if e.Penalize && h.hostile == "" && x.other().host.hostile == "" {
					w.fail("speaks the protocol", "%s drops %s for a breach of protocol: %v", h.name, x.other().host.name, e.Reason)
				}
				w.sever(x.link)
			}
		case gossip.Raise:
			w.alarms[e.Kind]++
			w.trace.say(w.now, "alarm at %s: %s", h.name, e.Text)
		}
	}
}

// stop ends the process. keep says how many of the steps that wait for the
// disk are durable after all.
func (h *host) stop(keep int) {
	for i := min(keep, len(h.out)) - 1; i >= 0; i-- {
		if c := h.out[i].Commit; c != nil {
			if err := c.Wait(); err != nil {
				h.w.fail("syncs", "%s: sync: %v", h.name, err)
			}
			break
		}
	}
	h.r = nil
	h.gen++
	h.out, h.syncing = nil, false
	h.killed()
	for len(h.sessions) > 0 {
		h.w.sever(h.sessions[0].link)
	}
	h.disk = &disk{Memory: h.disk.Crash()}
}

// diskFailed ends a process whose write failed; it is started again when
// there is space.
func (w *World) diskFailed(h *host) {
	w.fired[DiskFull]++
	h.stop(0)
	w.restartLater(h, nil, h.fullFor)
}

func (w *World) restartLater(h *host, resume *node.Resume, wait time.Duration) {
	h.down = true
	gen := h.gen
	w.after(wait, evFault, h.at, func() {
		if h.gen == gen && h.down {
			h.start(resume)
		}
	})
}

// takeDown ends a process in one of several ways.
func (w *World) takeDown(h *host, a Act) bool {
	if !h.up() {
		return false
	}
	switch a.Fault {
	case Crash:
		h.stop(0)
	case TornCrash:
		h.stop(int(a.By))
	case CleanStop:
		resume := h.r.Resumable()
		h.stop(len(h.out))
		w.restartLater(h, resume, a.For)
		return true
	case DiskFull:
		h.disk.full, h.fullFor = true, a.For
		return true
	case EffectCrash:
		h.fuse, h.fuseFor = a.By, a.For
		return true
	case Away:
		w.sendAway(h, a.For)
		return true
	case StaleDisk:
		if h.old == nil {
			return false
		}
		h.stop(0)
		h.disk = &disk{Memory: h.old.Copy()}
		h.compacting = compacting{}
		clear(h.acked)
		for l, s := range h.oldTo {
			h.acked[l] = s
		}
	}
	w.restartLater(h, nil, a.For)
	return true
}

// months is how far back a host's clock stands that was away.
const months = 60 * 24 * time.Hour

// sendAway cuts a host off; what it writes meanwhile is dated months ago.
func (w *World) sendAway(h *host, lasts time.Duration) {
	w.addCut(&cut{between: func(a, b *host) bool { return (a == h) != (b == h) }}, lasts)
	h.skew -= months
	w.after(lasts, evFault, h.at, func() {
		if !w.healed { // then clocks are right again
			h.skew += months
		}
	})
}

// clone starts a copy of a host beside it. A copied repo opens a lane of its
// own, unless it goes on with the original's: then the lane forks.
func (w *World) clone(h *host, a Act) bool {
	if !h.up() || len(h.out) > 0 || h.hostile != "" || w.host(a.To) != nil {
		return false
	}
	resume := h.r.Resumable()
	if a.Fault == Equivocate && resume == nil {
		return false
	}
	c := w.newHost(a.To, h.node, h.disk.Copy())
	c.dials = slices.Clone(h.dials)
	if len(c.dials) == 0 { // the original is alone
		c.dials = []int{h.at}
	}
	c.work = fork(w.opts.Seed, uint64(1000+c.at))
	if a.Fault == Clone {
		resume = nil
	} else {
		w.forks[resume.Key.ID(w.space)] = true
	}
	c.start(resume)
	w.startWork(c)
	return true
}
