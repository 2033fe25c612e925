package oplog

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// An error of the store comes out of whatever reads, as it is: never a wrong
// answer, never "not held".
func TestReadErrors(t *testing.T) {
	ws, steps := faultWork(t)
	db := storage.NewMemory()
	r := newReplica(t, db, ws...)
	for _, step := range steps[:3] {
		step(r)
		r.mustFlush()
	}
	a, b := ws[0].signer.Lane, ws[1].signer.Lane
	before := r.admitted()
	forged := ws[0].write(t, clock.Head{Seq: 1, Hash: before[0].Hash}, "another a2", nil)
	other3 := ws[0].write(t, clock.Head{Seq: 2, Hash: before[1].Hash}, "another a3", nil)
	closeA := &Proof{ws[0].LaneKey, chainOf(before[3]), chainOf(other3)}
	collect := func(run func(func(error) bool)) (err error) {
		run(func(e error) bool { err = errors.Join(err, e); return true })
		return err
	}
	for name, c := range map[string]struct {
		kind byte
		run  func(l *Log, db storage.DB) error
	}{
		"open lanes":   {kindLane, func(_ *Log, db storage.DB) error { _, err := Open(db, testPrefix, testSpace); return err }},
		"open tips":    {kindTips, func(_ *Log, db storage.DB) error { _, err := Open(db, testPrefix, testSpace); return err }},
		"open order":   {kindOrder, func(_ *Log, db storage.DB) error { _, err := Open(db, testPrefix, testSpace); return err }},
		"open proofs":  {kindProof, func(_ *Log, db storage.DB) error { _, err := Open(db, testPrefix, testSpace); return err }},
		"open entries": {kindEntry, func(_ *Log, db storage.DB) error { _, err := Open(db, testPrefix, testSpace); return err }},
		"hash":         {kindEntry, func(l *Log, _ storage.DB) error { _, err := l.HashAt(clock.EntryID{Lane: a, Seq: 1}); return err }},
		"check":        {kindEntry, func(l *Log, _ storage.DB) error { _, _, err := l.Check(forged); return err }},
		"proof":        {kindProof, func(l *Log, _ storage.DB) error { _, err := l.Proof(a); return err }},
		"chain":        {kindEntry, func(l *Log, _ storage.DB) error { _, err := l.ChainFrom(clock.EntryID{Lane: a, Seq: 1}); return err }},
		"accuse":       {kindEntry, func(l *Log, _ storage.DB) error { _, err := l.ProofAgainst(chainOf(forged)); return err }},
		"record":       {kindEntry, func(l *Log, db storage.DB) error { _, err := l.Record(db, clock.EntryID{Lane: b, Seq: 1}); return err }},
		"close":        {kindEntry, func(l *Log, db storage.DB) error { _, _, err := l.Close(db.NewBatch(), closeA); return err }},
		"order": {kindOrder, func(l *Log, db storage.DB) error {
			return collect(func(f func(error) bool) { l.Order(db, 2)(func(_ Run, err error) bool { return f(err) }) })
		}},
		"in order": {kindOrder, func(l *Log, db storage.DB) error {
			return collect(func(f func(error) bool) { l.InOrder(db, 2)(func(_ Record, err error) bool { return f(err) }) })
		}},
		"entries in order": {kindEntry, func(l *Log, db storage.DB) error {
			return collect(func(f func(error) bool) { l.InOrder(db, 0)(func(_ Record, err error) bool { return f(err) }) })
		}},
	} {
		l, err := Open(db, testPrefix, testSpace)
		if err != nil {
			t.Fatal(err)
		}
		bad := failing{db, c.kind}
		l.db = bad
		if err := c.run(l, bad); !errors.Is(err, errRead) || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A closing reads the prev of what it takes, and looks for a signed head.
	for n := range 4 {
		l, err := Open(db, testPrefix, testSpace)
		if err != nil {
			t.Fatal(err)
		}
		l.db = &countdown{DB: db, left: n}
		if _, _, err := l.Close(db.NewBatch(), closeA); errors.Is(err, errRead) != (n < 3) {
			t.Errorf("close, read %d: %v", n+1, err)
		}
	}
}

// countdown is a store whose point reads fail after some.
type countdown struct {
	storage.DB
	left int
}

func (c *countdown) Get(key []byte) ([]byte, error) {
	if c.left == 0 {
		return nil, errRead
	}
	c.left--
	return c.DB.Get(key)
}

// What is not held is ErrNotFound, for unknown lanes too.
func TestNotHeld(t *testing.T) {
	ws, steps := faultWork(t)
	r := newReplica(t, storage.NewMemory(), ws...)
	for _, step := range steps[:2] {
		step(r)
		r.mustFlush()
	}
	a := ws[0].signer.Lane
	unknown := writerNamed("unknown")
	u1 := unknown.write(t, clock.Head{}, "u1", nil)
	for name, err := range map[string]error{
		"record":        second(r.Record(r.db, clock.EntryID{Lane: a, Seq: 3})),
		"unknown lane":  second(r.Record(r.db, u1.ID())),
		"kept":          second(r.Kept(r.db, clock.EntryID{Lane: a, Seq: 1})),
		"hash":          second(r.HashAt(clock.EntryID{Lane: a, Seq: 3})),
		"proof":         second(r.Proof(a)),
		"unknown proof": second(r.Proof(u1.Lane)),
		"chain":         second(r.ChainFrom(clock.EntryID{Lane: a, Seq: 3})),
		"chain at 0":    second(r.ChainFrom(clock.EntryID{Lane: a})),
		"unknown chain": second(r.ChainFrom(u1.ID())),
		"accuse":        second(r.ProofAgainst(chainOf(u1))),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if h, err := r.HashAt(clock.EntryID{Lane: a}); err != nil || h != (clock.Hash{}) {
		t.Errorf("what precedes a lane: %v, %v", h, err)
	}
	if _, err := r.ProofAgainst(Chain{}); !errors.Is(err, delta.ErrMalformed) {
		t.Errorf("proof against nothing: %v", err)
	}
	for range r.Lane(r.db, u1.Lane, 0) {
		t.Error("an unknown lane has entries")
	}
	if _, ok := r.SignedHead(u1.Lane); ok || r.Lanes.Number(u1.Lane) != 0 {
		t.Error("an unknown lane has a head or a number")
	}
	if _, ok := r.Lanes.Key(u1.Lane); ok {
		t.Error("an unknown lane has a key")
	}
	for _, n := range []uint32{0, 3, math.MaxUint32} {
		if l, ok := r.Lanes.Lane(n); ok {
			t.Errorf("lane %d is %v", n, l)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// An entry that is out of turn is an error of the caller's, and changes nothing.
func TestAppendOutOfTurn(t *testing.T) {
	ws, steps := faultWork(t)
	r := newReplica(t, storage.NewMemory(), ws...)
	for _, step := range steps[:4] {
		step(r)
		r.mustFlush()
	}
	a, head := ws[0], r.vector.Head(ws[0].signer.Lane)
	c1 := writerNamed("c").write(t, clock.Head{}, "c1", nil)
	d := writerNamed("d")
	r.AddLane(d.LaneKey)
	r.mustFlush()
	was := summary(r.Log)
	d1 := *d.write(t, clock.Head{}, "d1", nil)
	d1.Sig = d1.Sig[1:]
	for want, e := range map[string]*delta.Entry{
		"unknown":         c1,
		"does not follow": a.write(t, clock.Head{Seq: head.Seq + 1}, "gap", nil),
		"not follow 2":    a.write(t, clock.Head{Seq: head.Seq}, "another prev", nil),
		"closed from 3":   a.write(t, head, "closed", nil),
		"63 bytes":        &d1,
	} {
		err := r.Append(r.batch, e)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	r.mustFlush()
	if got := summary(r.Log); got != was {
		t.Errorf("it was\n%s\nand is\n%s", was, got)
	}
	r.check()
}

// The last entry below a closing is vouched for by the proof, and no other.
func TestVouched(t *testing.T) {
	ws, steps := faultWork(t)
	r := newReplica(t, storage.NewMemory(), ws...)
	id := clock.EntryID{Lane: ws[0].signer.Lane, Seq: 2}
	for i, step := range steps[:4] {
		step(r)
		r.mustFlush()
		h, _ := r.HashAt(id)
		if got := r.Vouched(id, h); got != (i == 3) {
			t.Errorf("after step %d: %v", i+1, got)
		}
	}
	h, _ := r.HashAt(id)
	if r.Vouched(clock.EntryID{Lane: id.Lane, Seq: 1}, h) || r.Vouched(id, clock.Hash{1}) {
		t.Error("another entry is vouched for")
	}
	if r.Vector().Head(id.Lane).Hash != h {
		t.Error("the head is not what HashAt says")
	}
}

// A signed head that was handed out stays as it was.
func TestSignedHeadIsACopy(t *testing.T) {
	ws, steps := faultWork(t)
	r := newReplica(t, storage.NewMemory(), ws...)
	steps[0](r)
	h, _ := r.SignedHead(ws[0].signer.Lane)
	for _, step := range steps[1:3] {
		step(r)
		r.mustFlush()
	}
	if err := delta.Verify(ws[0].LaneKey, &h.Header, h.Sig); err != nil || h.Seq != 1 {
		t.Errorf("head %d: %v", h.Seq, err)
	}
	h, _ = r.SignedHead(ws[0].signer.Lane)
	if err := delta.Verify(ws[0].LaneKey, &h.Header, h.Sig); err != nil || h.Seq != 3 {
		t.Errorf("head %d: %v", h.Seq, err)
	}
}
