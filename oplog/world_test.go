package oplog

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

var (
	testSpace  = clock.Hash(sha256.Sum256([]byte("test space")))
	testPrefix = []byte("log\xff")
)

// fataler is what testing and rapid have in common.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// A writer is the author of one lane.
type writer struct {
	delta.LaneKey
	signer delta.Signer
}

// writerNamed makes the same writer from the same name, always.
func writerNamed(name string) *writer {
	seed := sha256.Sum256([]byte("author " + name))
	w := new(writer)
	w.signer.Key = ed25519.NewKeyFromSeed(seed[:])
	copy(w.Author[:], w.signer.Key.Public().(ed25519.PublicKey))
	copy(w.Incarnation[:], name)
	w.signer.Space, w.signer.Lane = testSpace, w.ID(testSpace)
	return w
}

// write makes the entry after head. The note tells branches apart; the kills
// name entries.
func (w *writer) write(t fataler, head clock.Head, note string, deps []delta.Dep, kills ...clock.EntryID) *delta.Entry {
	t.Helper()
	d := delta.Delta{Entity: "e", Path: "/p", Verb: delta.Assign, Value: delta.String(note)}
	var k delta.Kill
	for i, id := range kills {
		if dot := (clock.Dot{Lane: id.Lane, Seq: id.Seq}); i%2 == 0 {
			k.Dots = append(k.Dots, dot)
		} else {
			k.Bounds = append(k.Bounds, dot)
		}
	}
	if len(kills) > 0 {
		d.Kills = []delta.Kill{k}
	}
	e, err := w.signer.Build(head, clock.Timestamp(head.Seq+1)<<16, delta.Body{Deps: deps, Txns: []delta.Txn{{Deltas: []delta.Delta{d}}}})
	if err != nil {
		t.Fatalf("build after %v: %v", head.Seq, err)
	}
	return e
}

// unsigned is an entry that a later signature of its lane vouches for.
func unsigned(e *delta.Entry) *delta.Entry {
	u := *e
	u.Sig = nil
	return &u
}

func depOn(e *delta.Entry) delta.Dep {
	d := delta.Dep{EntryID: e.ID()}
	copy(d.Hash[:], e.Hash[:])
	return d
}

// chainOf is the chain of the entries up to the first that is signed.
func chainOf(es ...*delta.Entry) (c Chain) {
	for _, e := range es {
		c.Headers = append(c.Headers, e.Header)
		if len(e.Sig) > 0 {
			c.Sig = e.Sig
			break
		}
	}
	return c
}

// A replica drives a log as package node does, less the state: what is received
// is checked, appended or left waiting, and what it releases follows.
type replica struct {
	*Log
	t     fataler
	db    storage.DB
	batch storage.Batch
	keys  map[clock.LaneID]delta.LaneKey // of all writers
	// told hears what happened to each entry.
	told func(e *delta.Entry, v Verdict, missing clock.EntryID)
}

func newReplica(t fataler, db storage.DB, ws ...*writer) *replica {
	t.Helper()
	r := &replica{t: t, db: db, keys: map[clock.LaneID]delta.LaneKey{}}
	for _, w := range ws {
		r.keys[w.signer.Lane] = w.LaneKey
	}
	r.reopen()
	return r
}

// reopen forgets all but what the store holds.
func (r *replica) reopen() {
	r.t.Helper()
	l, err := Open(r.db, testPrefix, testSpace)
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	r.Log, r.batch = l, r.db.NewBatch()
}

// receive takes an entry in and returns how many were admitted.
func (r *replica) receive(e *delta.Entry) (admitted int) {
	r.t.Helper()
	for queue := []*delta.Entry{e}; len(queue) > 0; {
		e, queue = queue[0], queue[1:]
		v, missing, err := r.Check(e)
		if err != nil {
			r.t.Fatalf("check %v: %v", e.ID(), err)
		}
		switch v {
		case Ready:
			r.AddLane(r.keys[e.Lane])
			if err := r.Append(r.batch, e); err != nil {
				r.t.Fatalf("%v", err)
			}
			admitted++
			queue = append(queue, r.Pending.Release(e.ID())...)
		case Gap:
			r.Pending.Add(e, r.keys[e.Lane].Author, missing)
		}
		if r.told != nil {
			r.told(e, v, missing)
		}
	}
	return admitted
}

// close closes a lane and takes in what the closing releases.
func (r *replica) close(p *Proof) (taken []*delta.Entry, changed bool) {
	r.t.Helper()
	if err := p.Verify(testSpace); err != nil {
		r.t.Fatalf("%v", err)
	}
	taken, changed, err := r.Close(r.batch, p)
	if err != nil {
		r.t.Fatalf("close: %v", err)
	}
	for _, e := range taken {
		if hashOf(e.Raw) != e.Header.Body || len(e.Sig) > 0 && delta.Verify(p.Key, &e.Header, e.Sig) != nil {
			r.t.Fatalf("taken %v is not what was signed", e.ID())
		}
	}
	for _, e := range r.Pending.ReleaseLane(p.Lane()) {
		r.receive(e)
	}
	return taken, changed
}

// flush makes durable what was taken in.
func (r *replica) flush() error {
	r.Flush(r.batch, 0)
	b := r.batch
	r.batch = r.db.NewBatch()
	return storage.ApplySync(r.db, b)
}

func (r *replica) mustFlush() {
	r.t.Helper()
	if err := r.flush(); err != nil {
		r.t.Fatalf("flush: %v", err)
	}
}

// admitted lists the log's entries in the order of application.
func (r *replica) admitted() (out []*delta.Entry) {
	r.t.Helper()
	for rec, err := range r.InOrder(r.db, 0) {
		if err != nil {
			r.t.Fatalf("in order: %v", err)
		}
		rec.Raw, rec.Sig = slices.Clone(rec.Raw), slices.Clone(rec.Sig)
		e, err := rec.Entry()
		if err != nil {
			r.t.Fatalf("%v", err)
		}
		out = append(out, e)
	}
	return out
}

// check holds a flushed log to what must always be true of it:
//
//   - the order lists each entry under the vector exactly once, after its causes,
//     with rising ordinals, and the chain of each lane ends at its head;
//   - every entry is in the past of a tip, and a tip is an entry;
//   - opened anew, the log is the same;
//   - what waits is within bounds and accounted for.
func (r *replica) check() {
	r.t.Helper()
	seen := map[clock.EntryID]*delta.Entry{}
	heads := map[clock.LaneID]clock.Head{}
	clamp := func(id clock.EntryID) clock.EntryID {
		if at, ok := r.ClosedAt(id.Lane); ok && id.Seq >= at {
			id.Seq = at - 1
		}
		return id
	}
	need := func(e *delta.Entry, id clock.EntryID) {
		if id = clamp(id); id.Seq > 0 && seen[id] == nil {
			r.t.Fatalf("%v stands in the order before its cause %v", e.ID(), id)
		}
	}
	for _, e := range r.admitted() {
		if head := heads[e.Lane]; e.Seq != head.Seq+1 || e.Prev != head.Hash {
			r.t.Fatalf("%v follows %v in the order", e.ID(), head)
		}
		for _, d := range e.Body.Deps {
			need(e, d.EntryID)
		}
		for _, x := range e.Body.Txns {
			for _, d := range x.Deltas {
				for _, k := range d.Kills {
					for _, dot := range slices.Concat(k.Dots, k.Bounds) {
						need(e, dot.Entry())
					}
				}
			}
		}
		seen[e.ID()] = e
		heads[e.Lane] = clock.Head{Seq: e.Seq, Hash: e.Hash}
	}
	for _, l := range r.vector.Lanes() {
		if r.vector.Head(l) != heads[l] {
			r.t.Fatalf("lane %v: vector %v, order %v", l, r.vector.Head(l), heads[l])
		}
	}
	if len(heads) != r.vector.Len() || r.Entries() != uint64(len(seen)) {
		r.t.Fatalf("%d lanes and %d entries in the order, the log says %d and %d", len(heads), len(seen), r.vector.Len(), r.Entries())
	}
	r.checkTips(seen, clamp)
	r.checkPending()
	r.checkReopened()
}

func (r *replica) checkTips(entries map[clock.EntryID]*delta.Entry, clamp func(clock.EntryID) clock.EntryID) {
	r.t.Helper()
	past := map[clock.EntryID]bool{}
	var todo []clock.EntryID
	for _, tip := range r.Tips() {
		id := clock.EntryID{Lane: tip.Lane, Seq: tip.Head.Seq}
		if e := entries[id]; e == nil || e.Hash != tip.Head.Hash {
			r.t.Fatalf("tip %v is no entry", id)
		}
		if r.vector.Head(tip.Lane) != tip.Head {
			r.t.Fatalf("tip %v is not the head of its lane", id)
		}
		todo = append(todo, id)
	}
	for len(todo) > 0 {
		id := clamp(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		if id.Seq == 0 || past[id] {
			continue
		}
		past[id] = true
		todo = append(todo, clock.EntryID{Lane: id.Lane, Seq: id.Seq - 1})
		for _, d := range entries[id].Body.Deps {
			todo = append(todo, d.EntryID)
		}
	}
	if len(past) != len(entries) {
		r.t.Fatalf("%d entries in the past of the tips, of %d", len(past), len(entries))
	}
}

func (r *replica) checkPending() {
	r.t.Helper()
	p, listed, size, authors := &r.Pending, 0, 0, map[delta.Author]int{}
	for _, ws := range p.waiting {
		listed += len(ws)
		if len(ws) == 0 {
			r.t.Fatalf("nothing waits, and is listed")
		}
	}
	for _, w := range p.held {
		size += pendingBytes(w.entry)
		authors[w.author]++
	}
	if listed != len(p.held) || size != p.bytes || size > MaxPendingBytes || len(authors) != len(p.authors) {
		r.t.Fatalf("%d wait, %d are listed; %d bytes, %d counted", len(p.held), listed, size, p.bytes)
	}
	for a, n := range authors {
		if p.authors[a] != n || n > MaxPendingEntries {
			r.t.Fatalf("%d wait of one author, %d counted", n, p.authors[a])
		}
	}
}

func (r *replica) checkReopened() {
	r.t.Helper()
	l, err := Open(r.db, testPrefix, testSpace)
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	if a, b := summary(r.Log), summary(l); a != b {
		r.t.Fatalf("before reopening:\n%s\nafter:\n%s", a, b)
	}
}

// summary is all that a log keeps across reopening.
func summary(l *Log) string {
	var b strings.Builder
	fmt.Fprintln(&b, l.Root(), l.Ordinal(), l.Entries(), l.Tips(), l.ClosedLanes())
	for n := uint32(1); ; n++ {
		id, ok := l.Lanes.Lane(n)
		if !ok {
			return b.String()
		}
		key, _ := l.Lanes.Key(id)
		signed, _ := l.SignedHead(id)
		at, _ := l.ClosedAt(id)
		fmt.Fprintln(&b, n, key, l.vector.Head(id), at, l.lanes[id].closedBy, signed)
	}
}

func byID(a, b *delta.Entry) int {
	return cmp.Or(compareIDs(a.ID(), b.ID()), slices.Compare(a.Hash[:], b.Hash[:]))
}
