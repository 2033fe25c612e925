package gossip

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

var labSpace = clock.Hash(sha256.Sum256([]byte("lab")))

// A lab is some machines with logs, the sessions between them, and one clock.
// The state of a replica is the set of its entries less those killed: enough
// for the protocol, which looks at marks alone.
type lab struct {
	t     testing.TB
	now   int64
	hosts []*labHost
	links []*labLink
	next  SessionID
	lanes map[clock.LaneID]string // their names in traces
	cut   map[[2]*labHost]bool
	mute  map[[2]*labHost]bool // from, to: messages vanish
	trace []string
	bytes int // sent
	rng   *rand.Rand
}

type labHost struct {
	lab      *lab
	name     string
	node     string // its transport's identity; clones share it
	key      ed25519.PrivateKey
	db       *storage.Memory
	log      *oplog.Log
	batch    storage.Batch
	m        *Machine
	signer   *delta.Signer
	lane     delta.LaneKey
	lanes    int // opened so far
	state    map[Mark]bool
	instance byte
	dropped  []Drop
}

type labLink struct {
	ends  [2]*labHost
	ids   [2]SessionID
	queue [2][][]byte
}

func newLab(t testing.TB) *lab {
	return &lab{t: t, now: 1000, rng: rand.New(rand.NewPCG(7, 7)), lanes: map[clock.LaneID]string{}, cut: map[[2]*labHost]bool{}, mute: map[[2]*labHost]bool{}}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) host(name string) *labHost {
	l.t.Helper()
	for _, h := range l.hosts {
		if h.name == name {
			return h
		}
	}
	l.t.Fatalf("no host %q", name)
	return nil
}

func (l *lab) add(name string) *labHost {
	seed := sha256.Sum256([]byte(name))
	h := &labHost{lab: l, name: name, node: name, key: ed25519.NewKeyFromSeed(seed[:]), db: storage.NewMemory(), state: map[Mark]bool{}}
	l.hosts = append(l.hosts, h)
	h.start()
	return h
}

// clone copies a host with its identity and goes on with its lane on both.
func (l *lab) clone(h *labHost, name string) *labHost {
	c := *h
	c.name, c.state = name, map[Mark]bool{}
	for m := range h.state {
		c.state[m] = true
	}
	for _, k := range slices.Clone(l.links) {
		if k.ends[0] == h || k.ends[1] == h {
			l.disconnect(k)
		}
	}
	l.must(h.db.Close())
	c.db, h.db = h.db.Crash(), h.db.Crash()
	h.start()
	c.start()
	l.hosts = append(l.hosts, &c)
	return &c
}

// start opens the host's log anew, as a new process.
func (h *labHost) start() {
	var err error
	h.log, err = oplog.Open(h.db, []byte("l"), labSpace)
	h.lab.must(err)
	h.batch = h.db.NewBatch()
	h.instance++
	instance := sha256.Sum256(fmt.Append(nil, h.name, h.instance))
	h.m = New(Config{Instance: [16]byte(instance[:16]), Node: h.node, Rand: rand.New(rand.NewPCG(1, 1))}, h.log, h)
	h.m.SetAddrs([]string{"@" + h.name})
}

// Digest implements Replica.
func (h *labHost) Digest() (d digest.Sum) {
	for m := range h.state {
		d = d.Plus(digest.Of(m[:]))
	}
	return d
}

// WantsEntries implements Replica.
func (h *labHost) WantsEntries() bool { return false }

// Wrote implements Replica.
func (h *labHost) Wrote(l clock.LaneID) bool {
	key, ok := h.log.Lanes.Key(l)
	return ok && key.Author == delta.Author(h.key.Public().(ed25519.PublicKey))
}

// Owns implements Replica.
func (h *labHost) Owns(l clock.LaneID) bool { return h.signer != nil && h.signer.Lane == l }

// Survivors implements Replica.
func (h *labHost) Survivors() uint64 { return uint64(len(h.state)) }

func (h *labHost) intersect(t Intersect) {
	theirs := map[Mark]bool{}
	listed := map[uint64]bool{}
	for _, b := range t.Theirs {
		listed[b.Index] = true
		for _, m := range b.Marks {
			theirs[m] = true
		}
	}
	changed := false
	for m := range h.state {
		if listed[MarkBucket(m, t.Count)] && !theirs[m] {
			delete(h.state, m)
			changed = true
		}
	}
	if changed {
		h.m.Joined()
	}
}

// Buckets implements Replica.
func (h *labHost) Buckets(n uint64) ([]uint64, error) {
	out := make([]uint64, n)
	for m := range h.state {
		out[MarkBucket(m, n)] += binary.BigEndian.Uint64(m[8:])
	}
	return out, nil
}

// Marks implements Replica.
func (h *labHost) Marks(n uint64, wanted []uint64) ([]Bucket, error) {
	var out []Bucket
	for _, i := range wanted {
		b := Bucket{Index: i}
		for m := range h.state {
			if MarkBucket(m, n) == i {
				b.Marks = append(b.Marks, m)
			}
		}
		slices.SortFunc(b.Marks, func(a, b Mark) int { return bytes.Compare(a[:], b[:]) })
		out = append(out, b)
	}
	return out, nil
}

// write makes and admits n entries of the host's lane; the first kills the named
// ones. They are durable; where told, they are published.
func (h *labHost) write(n, size int, publish bool, kills ...clock.EntryID) {
	h.lab.t.Helper()
	if h.signer == nil {
		h.lanes++
		h.lane = delta.LaneKey{Author: delta.Author(h.key.Public().(ed25519.PublicKey))}
		sum := sha256.Sum256(fmt.Append(nil, h.name, h.lanes))
		copy(h.lane.Incarnation[:], sum[:])
		h.signer = &delta.Signer{Space: labSpace, Lane: h.log.AddLane(h.lane), Key: h.key}
		h.lab.lanes[h.signer.Lane] = fmt.Sprintf("%s%d", h.name, h.lanes)
	}
	for i := range n {
		text := make([]byte, size)
		for j := range text {
			text[j] = 'a' + byte(h.lab.rng.IntN(26))
		}
		d := delta.Delta{Entity: "e", Verb: delta.Assign, Value: delta.String(h.name + string(text))}
		if i == 0 && len(kills) > 0 {
			k := delta.Kill{Scope: delta.ScopePrefix}
			for _, id := range kills {
				k.Dots = append(k.Dots, clock.Dot{Lane: id.Lane, Seq: id.Seq})
			}
			d.Kills = []delta.Kill{k}
		}
		body := delta.Body{Deps: h.log.Deps(h.signer.Lane), Txns: []delta.Txn{{Deltas: []delta.Delta{d}}}}
		e, err := h.signer.Build(h.log.Vector().Head(h.signer.Lane), clock.Timestamp(h.lab.now)<<16, body)
		h.lab.must(err)
		h.take(e)
		if publish {
			h.lab.publish(h, AppendPublished(nil, h.lane, e))
		}
	}
	h.flush()
}

// take appends an entry and changes the state by it.
func (h *labHost) take(e *delta.Entry) {
	h.lab.t.Helper()
	for i := range e.Body.Txns {
		for _, d := range e.Body.Txns[i].Deltas {
			for _, k := range d.Kills {
				for _, dot := range k.Dots {
					hash, err := h.log.HashAt(dot.Entry())
					h.lab.must(err)
					delete(h.state, Mark(hash[:16]))
				}
			}
		}
	}
	h.lab.must(h.log.Append(h.batch, e))
	h.state[Mark(e.Hash[:16])] = true
}

func (h *labHost) flush() {
	h.log.Flush(h.batch, 0)
	h.lab.must(storage.ApplySync(h.db, h.batch))
	h.batch = h.db.NewBatch()
}

// admit takes in an entry as a replica does.
func (h *labHost) admit(e *delta.Entry) {
	h.lab.t.Helper()
	for queue := []*delta.Entry{e}; len(queue) > 0; queue = queue[1:] {
		e := queue[0]
		v, missing, err := h.log.Check(e)
		h.lab.must(err)
		switch v {
		case oplog.Ready:
			h.take(e)
			queue = append(queue, h.log.Pending.Release(e.ID())...)
		case oplog.Gap:
			key, _ := h.log.Lanes.Key(e.Lane)
			h.log.Pending.Add(e, key.Author, missing)
		case oplog.Closed:
			h.log.Keep(h.batch, e)
		case oplog.Forked:
			h.m.ProbeAll(h.lab.now)
		}
	}
}

func (h *labHost) prepare(id SessionID, b []byte) Message { return h.m.Prepare(id, b) }

// receive hands a message to the machine and does what it asks for.
func (h *labHost) receive(id SessionID, b []byte) {
	h.lab.t.Helper()
	for _, t := range h.m.Receive(h.lab.now, id, h.prepare(id, b)) {
		h.do(t)
	}
	h.effects()
}

func (h *labHost) do(t Task) {
	h.lab.t.Helper()
	switch t := t.(type) {
	case Admit:
		entries, err := t.Chunk.Open(h.log)
		if err == nil {
			for i := range t.Chunk.Lanes {
				h.log.AddLane(t.Chunk.Lanes[i].Key)
			}
		}
		for _, e := range entries {
			h.admit(e)
		}
		h.flush()
		h.m.Admitted(t.From, len(entries), err)
	case CloseLane:
		h.close(t)
	case Retire:
		h.signer = nil
		h.lab.printf("%s retires lane %s", h.name, h.lab.lane(t.Lane))
	case Intersect:
		h.intersect(t)
	}
}

func (h *labHost) close(t CloseLane) {
	h.lab.t.Helper()
	if err := t.Proof.Verify(labSpace); err != nil {
		h.m.ProofTaken(h.lab.now, t.From, t.Proof, false, err)
		return
	}
	taken, changed, err := h.log.Close(h.batch, t.Proof)
	h.lab.must(err)
	for _, e := range taken {
		delete(h.state, Mark(e.Hash[:16]))
	}
	if h.Owns(t.Proof.Lane()) {
		h.signer = nil
	}
	for _, e := range h.log.Pending.ReleaseLane(t.Proof.Lane()) {
		h.admit(e)
	}
	h.flush()
	h.m.ProofTaken(h.lab.now, t.From, t.Proof, changed, nil)
}

// effects carries out what the machine wants done.
func (h *labHost) effects() {
	l := h.lab
	for _, e := range h.m.Effects() {
		switch e := e.(type) {
		case Send:
			if k, side := l.linkOf(h, e.To); k != nil {
				to := k.ends[1-side]
				l.bytes += len(e.Message)
				l.printf("%s -> %s  %s", h.name, to.name, l.describe(e.Message))
				if !l.mute[[2]*labHost{h, to}] {
					k.queue[1-side] = append(k.queue[1-side], e.Message)
				}
			}
		case Drop:
			h.dropped = append(h.dropped, e)
			verb := "drops"
			if e.Penalize {
				verb = "drops and blames"
			}
			k, side := l.linkOf(h, e.Session)
			l.printf("%s %s %s: %v", h.name, verb, k.ends[1-side].name, e.Reason)
			l.disconnect(k)
		case Raise:
			l.printf("%s alarm %s", h.name, e.Kind)
		case Learn:
			l.printf("%s learns %v", h.name, e.Addrs)
		}
	}
}

func (l *lab) linkOf(h *labHost, id SessionID) (*labLink, int) {
	for _, k := range l.links {
		for i := range k.ends {
			if k.ends[i] == h && k.ids[i] == id {
				return k, i
			}
		}
	}
	return nil, 0
}

func (l *lab) connect(a, b *labHost) *labLink {
	k := &labLink{ends: [2]*labHost{a, b}, ids: [2]SessionID{l.next + 1, l.next + 2}}
	l.next += 2
	l.links = append(l.links, k)
	for i, h := range k.ends {
		o := k.ends[1-i]
		h.m.Opened(l.now, k.ids[i], o.node, "@"+o.name, i == 0)
		h.effects()
	}
	return k
}

func (l *lab) disconnect(k *labLink) {
	if !slices.Contains(l.links, k) {
		return
	}
	l.links = slices.DeleteFunc(l.links, func(o *labLink) bool { return o == k })
	for i, h := range k.ends {
		h.m.Closed(l.now, k.ids[i])
		h.effects()
	}
}

func (l *lab) split(a, b *labHost) {
	l.cut[[2]*labHost{a, b}], l.cut[[2]*labHost{b, a}] = true, true
	for _, k := range slices.Clone(l.links) {
		if k.ends == [2]*labHost{a, b} || k.ends == [2]*labHost{b, a} {
			l.disconnect(k)
		}
	}
}

func (l *lab) publish(from *labHost, message []byte) {
	for _, to := range l.hosts {
		if to == from || l.cut[[2]*labHost{from, to}] {
			continue
		}
		ps, err := ParsePublished(labSpace, message)
		l.must(err)
		for _, p := range ps {
			to.log.AddLane(p.Key)
			to.admit(p.Entry)
		}
		to.flush()
		to.effects()
	}
}

// drain delivers all there is.
func (l *lab) drain() {
	l.t.Helper()
	for rounds := 0; l.round(); rounds++ {
		if rounds > 10_000 {
			l.t.Fatal("messages go on for ever")
		}
	}
}

// round delivers one message a link and direction. It reports whether there was
// any.
func (l *lab) round() (busy bool) {
	for _, k := range slices.Clone(l.links) {
		for side := range k.queue {
			if slices.Contains(l.links, k) && len(k.queue[side]) > 0 {
				b := k.queue[side][0]
				k.queue[side] = k.queue[side][1:]
				k.ends[side].receive(k.ids[side], b)
				busy = true
			}
		}
	}
	return busy
}

func (l *lab) tick(millis int64) {
	for end := l.now + millis; l.now < end; {
		l.now += 50
		for _, h := range l.hosts {
			h.m.Tick(l.now)
			h.effects()
		}
		l.drain()
	}
}

// settle lets time pass until all agree. It reports how long that took.
func (l *lab) settle(limit int64) (millis int64, ok bool) {
	start := l.now
	for l.drain(); !l.agreed(); l.tick(50) {
		if l.now-start >= limit {
			return l.now - start, false
		}
	}
	return l.now - start, true
}

// agreed reports whether all that are linked, whatever the cuts between them,
// hold the same.
func (l *lab) agreed() bool {
	for _, k := range l.links {
		if a, b := k.ends[0], k.ends[1]; a.log.Root() != b.log.Root() || a.Digest() != b.Digest() {
			return false
		}
	}
	return true
}
