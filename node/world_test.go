package node

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run the simulations with this one seed")
	traceFlag = flag.Bool("trace", false, "print the messages of the simulations")
	seedsFlag = flag.Int("seeds", 0, "how many seeds each simulation runs with")
)

// eachSeed runs a simulation with many seeds, and says of one that fails how
// to run it again.
func eachSeed(t *testing.T, usual int, f func(t *testing.T, w *world)) {
	if raceEnabled {
		usual = max(usual/10, 4)
	}
	if *seedsFlag > 0 {
		usual = *seedsFlag
	}
	first, last := uint64(1), uint64(usual)
	if *seedFlag > 0 {
		first, last = *seedFlag, *seedFlag
	}
	for seed := first; seed <= last; seed++ {
		w := newWorld(t, seed)
		w.replay = fmt.Sprintf("go test ./node -run '^%s$' -seed %d", t.Name(), seed)
		if f(t, w); t.Failed() {
			return
		}
	}
}

var worldSpace = clock.Hash(sha256.Sum256([]byte("world")))

// A world is some replicas, the links between them and one clock. All that
// happens in it follows from its seed.
type world struct {
	t      testing.TB
	replay string
	rng    *rand.Rand
	now    int64
	hosts  []*host
	links  []*link
	nextID gossip.SessionID
	topic  []publication

	calm  bool // no host crashes
	lossy bool // the topic loses, doubles and reorders
	// cut says which pairs of hosts cannot reach each other.
	cut map[[2]int]bool
	// honest worlds know no breach of protocol: a peer dropped for one fails.
	honest bool
	// heard, if not nil, is told of all messages as they are sent.
	heard func(from, to *host, message []byte)
	// tamper, if not nil, returns what arrives in the place of a message.
	tamper func(from, to *host, message []byte) [][]byte
	bytes  int // sent so far
	// seen counts the cases that a schedule came upon.
	seen map[string]int
}

// A host is a replica and what it stands on.
type host struct {
	w    *world
	at   int
	name string
	key  ed25519.PrivateKey
	mem  *storage.Memory
	// faulty, where not nil, stands over mem; failed says that it has struck.
	faulty *storage.Faulty
	failed bool
	r      *Replica
	skew   int64 // of its clock
	rnd    *rand.ChaCha8
	// out are the steps on their way to durability, in order.
	out   []pendingStep
	jobs  []func(int64) (Step, error) // what jobs have come to
	acked []Receipt
	// adopted counts the states adopted since the start, and cases are what the
	// one that is under way came upon.
	adopted uint64
	cases   map[string]bool
	// alarms are the kinds raised.
	alarms []string
	learnt []string
	drops  []gossip.Drop
}

type pendingStep struct {
	Step
	acks bool
}

// A link is a session between two hosts, with a queue each way.
type link struct {
	ends  [2]*host
	ids   [2]gossip.SessionID
	queue [2][][]byte // to ends[i]
	open  bool
}

type publication struct {
	to      *host
	message []byte
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{
		t: t, replay: fmt.Sprintf("seed %d", seed), rng: rand.New(rand.NewPCG(seed, 20)),
		now: 1_700_000_000_000, cut: make(map[[2]int]bool), honest: true,
	}
	if *traceFlag {
		w.heard = func(from, to *host, m []byte) {
			t.Logf("%d %s -> %s %s %d bytes", w.now%1_000_000, from.name, to.name, gossip.MessageName(m), len(m))
		}
	}
	return w
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nreplay: %s", fmt.Sprintf(format, args...), w.replay)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.fatalf("%v", err)
	}
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

// add starts one more host.
func (w *world) add(name string) *host {
	seed := sha256.Sum256([]byte("author " + name))
	return w.addKey(name, ed25519.NewKeyFromSeed(seed[:]), storage.NewMemory(), nil)
}

func (w *world) addKey(name string, key ed25519.PrivateKey, mem *storage.Memory, resume *Resume) *host {
	h := &host{w: w, at: len(w.hosts), name: name, key: key, mem: mem}
	h.rnd = rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, name, w.rng.Uint64())))
	w.hosts = append(w.hosts, h)
	h.start(resume)
	return h
}

// start opens the host's replica anew, as a new process.
func (h *host) start(resume *Resume) {
	h.w.t.Helper()
	var instance [16]byte
	_, _ = h.rnd.Read(instance[:]) // never fails
	var db storage.DB = h.mem
	if h.faulty != nil {
		db = h.faulty
	}
	r, err := OpenReplica(ReplicaConfig{
		DB: db, Prefix: []byte("w"), Space: worldSpace, Key: h.key, Random: h.rnd,
		Spread: rand.New(rand.NewPCG(h.w.rng.Uint64(), 1)), Resume: resume, Node: h.name, Instance: instance,
	})
	h.w.must(err)
	r.Machine().SetAddrs([]string{"/addr/" + h.name})
	if h.w.seen != nil {
		r.pageBytes = 100 // states come in many pages
	}
	h.r, h.out, h.jobs, h.adopted, h.cases = r, nil, nil, 0, nil
}

func (h *host) now() int64 { return h.w.now + h.skew }

// did takes what a call led to.
func (h *host) did(s Step, err error) Step {
	h.w.t.Helper()
	if h.failed || h.faulty != nil && errors.Is(err, storage.ErrFailed) {
		h.failed = true
		return s
	}
	if err != nil {
		h.w.fatalf("%s: %v", h.name, err)
	}
	if s.Commit != nil || len(s.Effects) > 0 || len(s.Publish) > 0 || len(s.Results) > 0 {
		h.out = append(h.out, pendingStep{s, len(s.Results) > 0})
	}
	for _, j := range s.Jobs {
		h.jobs = append(h.jobs, j())
	}
	h.noteState()
	return s
}

// finish takes in what the oldest job has come to.
func (h *host) finish() {
	f := h.jobs[0]
	h.jobs = h.jobs[1:]
	h.did(f(h.now()))
}

// sync makes the oldest step durable and lets its effects out.
func (h *host) sync() {
	s := h.out[0]
	h.out = h.out[1:]
	if s.Commit != nil && !h.failed {
		err := s.Commit.Wait()
		if h.faulty != nil && errors.Is(err, storage.ErrFailed) {
			h.failed = true
		} else {
			h.w.must(err)
		}
	}
	if h.failed {
		return
	}
	for _, res := range s.Results {
		if res.Err == nil && res.Receipt.Deltas > 0 {
			h.acked = append(h.acked, res.Receipt)
		}
	}
	for _, p := range s.Publish {
		h.w.publish(h, p)
	}
	for _, e := range s.Effects {
		h.perform(e)
	}
}

func (h *host) perform(e gossip.Effect) {
	switch e := e.(type) {
	case gossip.Send:
		if l, side := h.w.linkOf(h, e.To); l != nil {
			to := l.ends[1-side]
			h.w.bytes += len(e.Message)
			if h.w.heard != nil {
				h.w.heard(h, to, e.Message)
			}
			sent := [][]byte{e.Message}
			if h.w.tamper != nil {
				sent = h.w.tamper(h, to, e.Message)
			}
			for _, m := range sent {
				l.queue[1-side] = append(l.queue[1-side], bytes.Clone(m))
			}
		}
	case gossip.Drop:
		h.drops = append(h.drops, e)
		if h.w.honest && e.Penalize {
			h.w.fatalf("%s drops an honest peer: %v", h.name, e.Reason)
		}
		if l, _ := h.w.linkOf(h, e.Session); l != nil {
			h.w.disconnect(l)
		}
	case gossip.Raise:
		h.alarms = append(h.alarms, e.Kind)
	case gossip.Learn:
		h.learnt = append(h.learnt, e.Addrs...)
	}
}

// flush makes all steps durable.
func (h *host) flush() {
	for len(h.out) > 0 {
		h.sync()
	}
}

// write commits transactions; they are acknowledged by a later sync.
func (h *host) write(reqs ...Request) []Result {
	h.w.t.Helper()
	s := h.did(h.r.Write(h.now(), reqs))
	for _, res := range s.Results {
		if res.Err != nil && !refusal(res.Err) {
			h.w.fatalf("%s: write: %v", h.name, res.Err)
		}
	}
	return s.Results
}

// put assigns a text and makes it durable.
func (h *host) put(entity string, path delta.Path, v any) Receipt {
	h.w.t.Helper()
	return h.do(Op{Kind: OpPut, Entity: entity, Path: path, Value: v})
}

// do commits operations that must succeed and makes them durable.
func (h *host) do(ops ...Op) Receipt {
	h.w.t.Helper()
	res := h.write(Request{Ops: ops})
	h.w.must(res[0].Err)
	h.flush()
	return res[0].Receipt
}

func (w *world) publish(from *host, message []byte) {
	for _, to := range w.hosts {
		if to == from || w.isCut(from, to) || w.lossy && w.chance(40) {
			continue
		}
		w.topic = append(w.topic, publication{to, message})
		if w.lossy && w.chance(10) {
			w.topic = append(w.topic, publication{to, message})
		}
	}
}

// deliverTopic hands out one published message.
func (w *world) deliverTopic() {
	i := 0
	if w.lossy {
		i = w.rng.IntN(len(w.topic))
	}
	p := w.topic[i]
	w.topic = slices.Delete(w.topic, i, i+1)
	entries, err := gossip.ParsePublished(worldSpace, p.message)
	w.must(err)
	p.to.did(p.to.r.Published(p.to.now(), entries))
}

func (w *world) pair(a, b *host) [2]int { return [2]int{min(a.at, b.at), max(a.at, b.at)} }

func (w *world) isCut(a, b *host) bool { return w.cut[w.pair(a, b)] }

func (w *world) linkOf(h *host, id gossip.SessionID) (*link, int) {
	for _, l := range w.links {
		for i := range l.ends {
			if l.ends[i] == h && l.ids[i] == id {
				return l, i
			}
		}
	}
	return nil, 0
}

func (w *world) linked(a, b *host) *link {
	for _, l := range w.links {
		if l.ends[0] == a && l.ends[1] == b || l.ends[0] == b && l.ends[1] == a {
			return l
		}
	}
	return nil
}

// connect opens a session between two hosts.
func (w *world) connect(a, b *host) *link {
	if w.linked(a, b) != nil || a == b {
		return nil
	}
	l := &link{ends: [2]*host{a, b}, open: true}
	for i := range l.ids {
		w.nextID++
		l.ids[i] = w.nextID
	}
	w.links = append(w.links, l)
	for i, h := range l.ends {
		o := l.ends[1-i]
		h.did(h.r.Opened(h.now(), l.ids[i], o.name, "/addr/"+o.name, i == 0))
	}
	return l
}

// disconnect ends a session; what is on its way is lost.
func (w *world) disconnect(l *link) {
	if !l.open {
		return
	}
	l.open = false
	w.links = slices.DeleteFunc(w.links, func(o *link) bool { return o == l })
	for i, h := range l.ends {
		h.did(h.r.Closed(h.now(), l.ids[i]))
	}
}

// split lets two hosts no longer reach each other.
func (w *world) split(a, b *host) {
	w.cut[w.pair(a, b)] = true
	if l := w.linked(a, b); l != nil {
		w.disconnect(l)
	}
}

// deliver hands one message of a link to one of its ends.
func (w *world) deliver(l *link, side int) {
	m := l.queue[side][0]
	l.queue[side] = l.queue[side][1:]
	h := l.ends[side]
	h.did(h.r.Receive(h.now(), l.ids[side], m))
}

func (w *world) tick() {
	w.now += 50
	for _, h := range w.hosts {
		h.did(h.r.Tick(h.now()))
	}
}

// dropLinks ends all sessions of a host without telling it.
func (w *world) dropLinks(h *host) {
	for _, l := range slices.Clone(w.links) {
		for i := range l.ends {
			if l.ends[i] == h {
				l.open = false
				w.links = slices.DeleteFunc(w.links, func(o *link) bool { return o == l })
				o := l.ends[1-i]
				o.did(o.r.Closed(o.now(), l.ids[1-i]))
			}
		}
	}
}

// crash ends a host as a power failure does and starts it again.
func (w *world) crash(h *host) {
	w.dropLinks(h)
	h.mem = h.mem.Crash()
	recorded := h.r.undone != nil
	h.start(nil)
	if recorded && w.seen != nil && h.r.log.Floors() != nil {
		w.seen["crash between checkpoint and truncation"]++
	}
}

// restart closes a host cleanly and goes on with its lane.
func (w *world) restart(h *host) {
	resume := h.stop()
	h.mem = h.mem.Crash() // of a closed store: reopens it
	h.start(resume)
}

// stop closes a host's store cleanly.
func (h *host) stop() *Resume {
	h.flush()
	h.w.dropLinks(h)
	resume := h.r.Resumable()
	h.w.must(h.mem.Close())
	return resume
}

// drain delivers and makes durable all there is, without time passing.
func (w *world) drain() {
	w.t.Helper()
	for rounds := 0; ; rounds++ {
		busy := false
		for _, h := range w.hosts {
			busy = busy || len(h.out) > 0 || len(h.jobs) > 0
			for len(h.jobs) > 0 {
				h.finish()
			}
			h.flush()
		}
		for len(w.topic) > 0 {
			w.deliverTopic()
			busy = true
		}
		for _, l := range slices.Clone(w.links) {
			for side := range l.queue {
				for l.open && len(l.queue[side]) > 0 {
					w.deliver(l, side)
					busy = true
				}
			}
		}
		if !busy {
			return
		}
		if rounds > 20_000 {
			w.fatalf("messages go on for ever")
		}
	}
}

// settle lets time pass until all hosts agree, for as long as they may need.
func (w *world) settle(limitMillis int64) {
	w.t.Helper()
	for end := w.now + limitMillis; ; {
		w.drain()
		if w.agreed() {
			return
		}
		if w.now >= end {
			w.fatalf("no agreement after %d ms:\n%s", limitMillis, w.describe())
		}
		w.tick()
	}
}

// heal ends all cuts and losses and links the hosts in a random tree.
func (w *world) heal() {
	w.lossy = false
	clear(w.cut)
	for i := 1; i < len(w.hosts); i++ {
		w.connect(w.hosts[i], w.hosts[w.rng.IntN(i)])
	}
}

func (w *world) agreed() bool {
	a := w.hosts[0].r
	for _, h := range w.hosts {
		if h.r.log.Root() != a.log.Root() || h.r.Digest() != a.Digest() || h.r.log.Pending.Len() > 0 {
			return false
		}
	}
	return true
}

func (w *world) describe() string {
	var b bytes.Buffer
	for _, h := range w.hosts {
		fmt.Fprintf(&b, "%s: vector %v root %.8s digest %.8s rows %d pending %d closed %v links %d\n", h.name, h.r.log.Vector(),
			h.r.log.Root(), h.r.Digest(), h.r.Survivors(), h.r.log.Pending.Len(), h.r.log.ClosedLanes(), len(h.sessions()))
		for _, l := range h.r.log.ClosedLanes() {
			at, _ := h.r.log.ClosedAt(l)
			fmt.Fprintf(&b, "  closed %v at %d, head %v\n", l, at, h.r.log.Vector().Head(l))
		}
	}
	return b.String()
}

func (h *host) sessions() (out []*link) {
	for _, l := range h.w.links {
		if l.ends[0] == h || l.ends[1] == h {
			out = append(out, l)
		}
	}
	return out
}

// entries returns what the host has applied, in its order.
func (h *host) entries() (out []*delta.Entry) {
	h.w.t.Helper()
	for rec, err := range h.r.log.InOrder(h.r.db, 0) {
		h.w.must(err)
		rec.Raw, rec.Sig = bytes.Clone(rec.Raw), bytes.Clone(rec.Sig)
		e, err := rec.Entry()
		h.w.must(err)
		out = append(out, e)
	}
	return out
}

// rowsOf returns the rows of a view, printed.
func rowsOf(t testing.TB, v merge.View) (out []string) {
	t.Helper()
	err := v.Rows(nil, func(key []byte, row []merge.Survivor) error {
		for i := range row {
			s := &row[i]
			out = append(out, fmt.Sprintf("%q %v %d %v %v %q %x", key, s.Dot, s.Txn, s.Time, s.Verb, s.Creator, []byte(s.Value)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// check holds a flushed host's state to what must always be true of it: the
// tally is that of its rows and the index of references theirs.
func (h *host) check() {
	h.w.t.Helper()
	var tally merge.Tally
	refs := map[string]bool{}
	h.w.must(h.r.state.rows.Rows(nil, func(key []byte, row []merge.Survivor) error {
		for i := range row {
			tally.Digest = tally.Digest.Plus(row[i].Sum(key))
			tally.Rows++
			if target, ok := row[i].Value.Ref(); ok {
				refs[string(append(merge.AppendPrefix(nil, target, ""), key...))] = true
			}
		}
		return nil
	}))
	if tally != h.r.tally() {
		h.w.fatalf("%s keeps the tally %v, its rows have %v", h.name, h.r.tally(), tally)
	}
	lo := h.r.state.key(kindRef, nil)
	n := 0
	for kv, err := range h.r.db.Scan(lo, storage.PrefixEnd(lo)) {
		h.w.must(err)
		n++
		if !refs[string(kv.Key[len(lo):])] {
			h.w.fatalf("%s: a reference without a row", h.name)
		}
	}
	if n != len(refs) {
		h.w.fatalf("%s: %d references in the index, %d in rows", h.name, n, len(refs))
	}
}

// value reads a key as JSON, "-" where there is nothing.
func (h *host) value(entity string, p delta.Path) string {
	h.w.t.Helper()
	r, found, err := merge.Read(h.r.state, entity, p)
	h.w.must(err)
	if !found {
		return "-"
	}
	return string(delta.AppendAnyJSON(nil, r.Value))
}

// holds reports whether a host has an entry, in its log or set aside.
func (h *host) holds(d clock.Dot) bool {
	if h.r.log.Vector().Covers(d.Entry()) {
		return true
	}
	_, err := h.r.log.Kept(h.r.db, d.Entry())
	if err != nil && !errors.Is(err, errNotHeld) {
		h.w.fatalf("%v", err)
	}
	return err == nil
}

// published returns the last entry of a lane as its author would publish it.
func published(t testing.TB, h *host, lane delta.LaneKey) []byte {
	t.Helper()
	id := lane.ID(worldSpace)
	rec, err := h.r.log.Record(h.r.db, clock.EntryID{Lane: id, Seq: h.r.log.Vector().Seq(id)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := rec.Entry()
	if err != nil {
		t.Fatal(err)
	}
	return gossip.AppendPublished(nil, lane, e)
}
