package oplog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// truncate drops all up to an ordinal and makes it durable.
func (r *replica) truncate(ordinal uint64) (dropped uint64) {
	r.t.Helper()
	cut, err := r.CutAt(ordinal)
	if err != nil {
		r.t.Fatalf("cut at %d: %v", ordinal, err)
	}
	if dropped, err = r.Truncate(r.batch, cut, ordinal); err != nil {
		r.t.Fatalf("truncate: %v", err)
	}
	return dropped
}

// adopt takes over the vector of another log, as one does with its state.
func (r *replica) adopt(o *replica) {
	r.t.Helper()
	var jumps []Jump
	for _, c := range o.vector.Changes(&r.vector) {
		if c.Head.Seq <= r.vector.Seq(c.Lane) {
			continue
		}
		j := Jump{Key: o.keys[c.Lane], Head: c.Head}
		j.Signed, _ = o.SignedHead(c.Lane)
		if _, err := r.CheckJump(&j); err != nil {
			r.t.Fatalf("check: %v", err)
		}
		jumps = append(jumps, j)
	}
	if err := r.Adopt(r.batch, jumps, o.Tips(), o.vector.Covers, 5); err != nil {
		r.t.Fatalf("adopt: %v", err)
	}
}

// floors is what a log says of its floors, for comparing it with itself.
func floors(l *Log) string {
	return fmt.Sprint(summary(l), l.Floors(), l.Horizon(), l.History(), l.RawBytes(), l.bytes, l.marks)
}

// Whatever is dropped and adopted and when: the log holds exactly the entries
// above its floors, in the order in which they came, says what it would of the
// rest, and opens to the same again.
func TestFloors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ws := []*writer{writerNamed("a"), writerNamed("b"), writerNamed("c")}
		rs := []*replica{newReplica(t, storage.NewMemory(), ws...), newReplica(t, storage.NewMemory(), ws...)}
		type applied struct {
			*delta.Entry
			ordinal uint64
		}
		orders := make([][]applied, len(rs)) // what each applied as an entry
		take := func(i int, e *delta.Entry) {
			if rs[i].receive(e) == 1 {
				orders[i] = append(orders[i], applied{e, rs[i].Ordinal()})
			}
		}
		flush := func(i int) { rs[i].Flush(rs[i].batch, int64(len(orders[i]))); mustApply(t, rs[i]) }
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			i := rapid.IntRange(0, 1).Draw(t, "replica")
			r := rs[i]
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1, 2:
				w := ws[rapid.IntRange(0, 2).Draw(t, "writer")]
				if rs[1-i].vector.Seq(w.signer.Lane) > r.vector.Seq(w.signer.Lane) {
					continue // or the lane would fork
				}
				e := w.write(t, r.vector.Head(w.signer.Lane), fmt.Sprint(len(orders[i])), r.Deps(w.signer.Lane))
				take(i, e)
				if rapid.Bool().Draw(t, "flush") {
					flush(i)
				}
			case 3:
				flush(i)
				lo := r.History()
				r.truncate(rapid.Uint64Range(lo, r.Ordinal()).Draw(t, "ordinal"))
				flush(i)
			case 4:
				flush(0)
				flush(1)
				r.adopt(rs[1-i])
				flush(i)
			case 5:
				flush(i)
				r.reopen()
			}
		}
		for i, r := range rs {
			flush(i)
			var want []applied
			for _, x := range orders[i] {
				if x.Seq > r.Floor(x.Lane) {
					want = append(want, x)
				}
			}
			got := r.admitted()
			if len(got) != len(want) || r.Entries() != uint64(len(want)) {
				t.Fatalf("%d entries in the order, the log counts %d, %d are above the floors", len(got), r.Entries(), len(want))
			}
			for k := range got {
				if got[k].Hash != want[k].Hash {
					t.Fatalf("entry %d of the order is %v, want %v", k, got[k].ID(), want[k].ID())
				}
			}
			checkCuts(t, r, slices.Clone(want), func(x applied) (*delta.Entry, uint64) { return x.Entry, x.ordinal })
			for _, l := range r.vector.Lanes() {
				if _, err := r.HashAt(clock.EntryID{Lane: l, Seq: r.Floor(l)}); err != nil {
					t.Fatalf("the hash at the floor: %v", err)
				}
				if _, err := r.ChainFrom(clock.EntryID{Lane: l, Seq: r.vector.Seq(l)}); err != nil {
					t.Fatalf("the head is not vouched for: %v", err)
				}
			}
			before := floors(r.Log)
			r.reopen()
			if after := floors(r.Log); after != before {
				t.Fatalf("before reopening:\n%s\nafter:\n%s", before, after)
			}
		}
		if a, b := rs[0], rs[1]; a.Below(&b.vector) != isBelow(a, b) {
			t.Fatalf("below: %v", a.Below(&b.vector))
		}
	})
}

func mustApply(t fataler, r *replica) {
	t.Helper()
	b := r.batch
	r.batch = r.db.NewBatch()
	if err := storage.ApplySync(r.db, b); err != nil {
		t.Fatalf("%v", err)
	}
}

func isBelow(a, b *replica) bool {
	for _, l := range a.vector.Lanes() {
		if have := b.vector.Seq(l); have < a.vector.Seq(l) && have < a.Floor(l) {
			return true
		}
	}
	return false
}

// checkCuts compares cuts and look-ups by ordinal with what a scan finds.
func checkCuts[E any](t fataler, r *replica, order []E, of func(E) (*delta.Entry, uint64)) {
	t.Helper()
	var last uint64
	for o := r.History(); o <= r.Ordinal(); o++ {
		want := map[clock.LaneID]uint64{}
		for _, x := range order {
			if e, at := of(x); at <= o {
				want[e.Lane] = max(want[e.Lane], e.Seq)
			}
		}
		cut, err := r.CutAt(o)
		if err != nil {
			t.Fatalf("cut at %d: %v", o, err)
		}
		got := map[clock.LaneID]uint64{}
		for _, c := range cut {
			got[c.Lane] = c.Head.Seq
		}
		if !maps.Equal(got, want) {
			t.Fatalf("cut at %d: %v, want %v", o, got, want)
		}
		if n := r.BytesAt(o); n < last || n > r.bytes {
			t.Fatalf("%d bytes at %d, %d before, %d in all", n, o, last, r.bytes)
		} else {
			last = n
		}
		for _, l := range r.vector.Lanes() {
			var first uint64
			for _, x := range order {
				if e, at := of(x); e.Lane == l && at > o && first == 0 {
					first = at
				}
			}
			if got, err := r.FirstAfter(l, 0, o); err != nil || got != first {
				t.Fatalf("first of %v after %d: %d, want %d; %v", l, o, got, first, err)
			}
		}
	}
}

// A write that fails in a truncation or an adoption leaves all of it or nothing.
func TestFloorFaults(t *testing.T) {
	ws, _ := faultWork(t)
	a := ws[0]
	other := newReplica(t, storage.NewMemory(), ws...)
	var es []*delta.Entry
	for i := range 6 {
		var head clock.Head
		if i > 0 {
			head = clock.Head{Seq: es[i-1].Seq, Hash: es[i-1].Hash}
		}
		es = append(es, a.write(t, head, fmt.Sprint(i), nil))
		other.receive(es[i])
	}
	other.mustFlush()
	steps := []func(r *replica){
		func(r *replica) { r.receive(es[0]); r.receive(es[1]); r.receive(es[2]) },
		func(r *replica) { r.truncate(2) },
		func(r *replica) { r.adopt(other) },
		func(r *replica) { r.truncate(r.Ordinal()) },
	}
	var states []string
	r := newReplica(t, storage.NewMemory(), ws...)
	states = append(states, floors(r.Log))
	for _, step := range steps {
		step(r)
		r.mustFlush()
		states = append(states, floors(r.Log))
	}
	for _, at := range []storage.FaultPoint{storage.FaultApply, storage.FaultWait} {
		for _, persist := range []bool{false, true} {
			for n := 1; n <= len(steps); n++ {
				t.Run(fmt.Sprintf("at=%d/persist=%v/n=%d", at, persist, n), func(t *testing.T) {
					inner := storage.NewMemory()
					r := newReplica(t, storage.NewFaulty(inner, storage.Fault{At: at, N: n, Persist: persist}), ws...)
					for _, step := range steps[:n] {
						step(r)
						if err := r.flush(); err != nil && !errors.Is(err, storage.ErrFailed) {
							t.Fatal(err)
						}
					}
					r = newReplica(t, inner.Crash(), ws...)
					want := states[n-1]
					if persist {
						want = states[n]
					}
					if got := floors(r.Log); got != want {
						t.Fatalf("reopened:\n%s\nwant:\n%s", got, want)
					}
					for _, step := range steps[n-1:] {
						if step(r); r.flush() != nil {
							t.Fatal("it does not go on")
						}
					}
					if want := states[len(states)-1]; !persist && floors(r.Log) != want {
						t.Fatalf("went on to:\n%s\nwant:\n%s", floors(r.Log), want)
					}
				})
			}
		}
	}
}

// Each bit of each row of a log with floors, flipped, each row cut or lost: an
// error, or no difference that matters.
func TestCorruptFloors(t *testing.T) {
	ws, steps := faultWork(t)
	db := storage.NewMemory()
	r := newReplica(t, db, ws...)
	for _, step := range steps[:3] {
		step(r)
		r.mustFlush()
	}
	r.truncate(2)
	r.mustFlush()
	rows := map[string][]byte{}
	for kv, err := range db.Scan(nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		rows[string(kv.Key)] = bytes.Clone(kv.Value)
	}
	want := floors(logIn(t, rows))
	for key, value := range rows {
		kind := key[len(testPrefix)]
		if kind == kindOrder || kind == kindEntry {
			continue // the chain holds them, and TestCorruptRows
		}
		try := func(what string, v []byte) {
			changed := maps.Clone(rows)
			if changed[key] = v; v == nil {
				delete(changed, key)
			}
			l, err := Open(storeOf(t, changed), testPrefix, testSpace)
			if err != nil && !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("%q, %s: %v", kind, what, err)
			}
			if err == nil && kind != kindMark && floors(l) != want {
				t.Errorf("%q of %d bytes, %s: opened", kind, len(value), what)
			}
		}
		for i := range value {
			for bit := range 8 {
				v := bytes.Clone(value)
				v[i] ^= 1 << bit
				try(fmt.Sprintf("bit %d of byte %d", bit, i), v)
			}
			try(fmt.Sprintf("cut at %d", i), value[:i])
		}
		try("lost", nil)
	}
}

// What is said of a lane's head is held to what its author signed.
func TestCheckJump(t *testing.T) {
	a, b := writerNamed("a"), writerNamed("b")
	r := newReplica(t, storage.NewMemory(), a, b)
	e := a.write(t, clock.Head{}, "1", nil)
	good := Jump{Key: a.LaneKey, Head: clock.Head{Seq: 1, Hash: e.Hash}, Signed: delta.SignedHead{Header: e.Header, Sig: e.Sig}}
	if vouched, err := r.CheckJump(&good); vouched || err != nil {
		t.Errorf("%v, %v", vouched, err)
	}
	for name, spoil := range map[string]func(j *Jump){
		"a higher seq":   func(j *Jump) { j.Head.Seq = 2 },
		"another hash":   func(j *Jump) { j.Head.Hash[0]++ },
		"another author": func(j *Jump) { j.Key = b.LaneKey },
		"another space":  func(j *Jump) { j.Signed.Space[0]++ },
		"no header":      func(j *Jump) { j.Signed = delta.SignedHead{} },
	} {
		j := good
		spoil(&j)
		if _, err := r.CheckJump(&j); !errors.Is(err, delta.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.receive(e)
	r.mustFlush()
	if err := r.Adopt(r.batch, []Jump{good}, nil, r.vector.Covers, 0); err == nil {
		t.Error("a lane jumps to where it stands")
	}
}

// A closing below the floor takes floor, head and tips back; what it can still
// prove is proved, and logs that disagree below a closing have one root once
// nobody can find out more.
func TestCloseBelowFloor(t *testing.T) {
	a, b := writerNamed("a"), writerNamed("b")
	head := func(e *delta.Entry) clock.Head { return clock.Head{Seq: e.Seq, Hash: e.Hash} }
	e1 := a.write(t, clock.Head{}, "1", nil)
	branch := func(note string) []*delta.Entry {
		e2 := a.write(t, head(e1), note, nil)
		e3 := a.write(t, head(e2), note, nil)
		return []*delta.Entry{e2, e3, a.write(t, head(e3), note, nil)}
	}
	x, y := branch("x"), branch("y")
	seen := b.write(t, clock.Head{}, "b", []delta.Dep{depOn(x[2])})
	rs := map[string]*replica{}
	for name, es := range map[string][]*delta.Entry{"x": x, "y": y} {
		r := newReplica(t, storage.NewMemory(), a, b)
		r.receive(e1)
		for _, e := range es {
			r.receive(e)
		}
		if name == "x" {
			r.receive(seen)
		}
		r.mustFlush()
		r.truncate(r.Ordinal())
		r.mustFlush()
		rs[name] = r
	}
	// Of each side nothing is left but the head: the proof is of the last entry,
	// though the lane forked at 2.
	c, err := rs["x"].ChainFrom(clock.EntryID{Lane: a.signer.Lane, Seq: 4})
	if err != nil || len(c.Headers) != 1 {
		t.Fatalf("chain of a dropped head: %v, %v", c, err)
	}
	p, err := rs["y"].ProofAgainst(c)
	if err != nil || p.Seq() != 4 || !p.Split() {
		t.Fatalf("proof: %v", err)
	}
	for name, r := range rs {
		taken, changed := r.close(p)
		r.mustFlush()
		if len(taken) > 0 || !changed || r.vector.Seq(a.signer.Lane) != 3 || r.Floor(a.signer.Lane) != 3 {
			t.Errorf("%s: took %d, vector %v, floor %d", name, len(taken), &r.vector, r.Floor(a.signer.Lane))
		}
		if tips := r.Tips(); len(tips) == 0 || slices.ContainsFunc(tips, func(l clock.LaneHead) bool { return l.Lane == a.signer.Lane && l.Head.Seq > 3 }) {
			t.Errorf("%s: tips %v", name, tips)
		}
		if !r.Settled(a.signer.Lane) {
			t.Errorf("%s does not know that it cannot know", name)
		}
		before := floors(r.Log)
		if r.reopen(); floors(r.Log) != before {
			t.Errorf("%s opens to\n%s\nnot to\n%s", name, floors(r.Log), before)
		}
	}
	hx, hy := rs["x"].vector.Head(a.signer.Lane), rs["y"].vector.Head(a.signer.Lane)
	if hx == hy {
		t.Fatal("both sides have one head")
	}
	rs["y"].receive(b.write(t, clock.Head{}, "b", []delta.Dep{depOn(x[2])}))
	rs["y"].mustFlush()
	if rs["x"].Root() != rs["y"].Root() {
		t.Errorf("roots %v and %v", rs["x"].Root(), rs["y"].Root())
	}
	// One that dropped nothing may find out more, and so its root may be another:
	// until it hears that one with its own branch knows that it cannot be found out.
	others := 0
	for name, es := range map[string][]*delta.Entry{"x": x, "y": y} {
		o := newReplica(t, storage.NewMemory(), a, b)
		for _, e := range slices.Concat([]*delta.Entry{e1}, es, []*delta.Entry{seen}) {
			o.receive(e)
		}
		o.mustFlush()
		o.close(p)
		o.mustFlush()
		if o.receive(seen); o.vector.Root() != rs[name].vector.Root() {
			t.Fatalf("%s: vectors %v and %v", name, &o.vector, &rs[name].vector)
		}
		if o.Settled(a.signer.Lane) {
			t.Errorf("%s is settled with nothing dropped", name)
		}
		if o.Root() != rs[name].Root() {
			others++
		}
		o.SettleAs(&o.vector, o.Root().Plus(o.Root()))
		if o.Settled(a.signer.Lane) {
			t.Errorf("%s is settled by the root of no log", name)
		}
		if o.SettleAs(&rs[name].vector, rs[name].Root()); o.Root() != rs[name].Root() {
			t.Errorf("%s: with one vector the roots are %v and %v", name, o.Root(), rs[name].Root())
		}
	}
	if others != 1 {
		t.Errorf("%d of two branches had another root, want one", others)
	}
	// One who knows of the closing and has nothing of the lane takes either.
	z := newReplica(t, storage.NewMemory(), a, b)
	z.close(p)
	if !z.HasRoot(&rs["x"].vector, rs["x"].Root()) || z.HasRoot(&z.vector, rs["x"].Root()) {
		t.Error("the root of a settled log is not known for one")
	}
	z.Settle(a.signer.Lane)
	if z.RootOf(&rs["x"].vector) != rs["x"].Root() {
		t.Error("once settled here, the root is another")
	}
}

// An author takes back what it wrote to a lane that somebody else went on with,
// and goes on from what the other has.
func TestForsake(t *testing.T) {
	a := writerNamed("a")
	head := func(e *delta.Entry) clock.Head { return clock.Head{Seq: e.Seq, Hash: e.Hash} }
	e1 := a.write(t, clock.Head{}, "1", nil)
	mine2 := a.write(t, head(e1), "mine", nil)
	theirs2 := a.write(t, head(e1), "theirs", nil)
	theirs3 := a.write(t, head(theirs2), "theirs", nil)
	mine, theirs := newReplica(t, storage.NewMemory(), a), newReplica(t, storage.NewMemory(), a)
	for _, e := range []*delta.Entry{e1, theirs2, theirs3} {
		theirs.receive(e)
	}
	theirs.mustFlush()
	mine.receive(e1)
	mine.receive(mine2)
	mine.mustFlush()
	if err := mine.Forsake(mine.batch, a.signer.Lane, 5); err == nil {
		t.Error("what was never written is taken back")
	}
	if err := mine.Forsake(mine.batch, a.signer.Lane, 2); err != nil {
		t.Fatal(err)
	}
	mine.adopt(theirs)
	mine.mustFlush()
	if mine.vector.Head(a.signer.Lane) != head(theirs3) || mine.Entries() != 0 {
		t.Errorf("vector %v, %d entries", &mine.vector, mine.Entries())
	}
	before := floors(mine.Log)
	if mine.reopen(); floors(mine.Log) != before {
		t.Errorf("opens to\n%s\nnot to\n%s", floors(mine.Log), before)
	}
}

// What a closing set aside goes when nothing of the lane is left above the
// floor, and the entries of a closed lane can be dropped by themselves.
func TestDropKept(t *testing.T) {
	ws, steps := faultWork(t)
	r := newReplica(t, storage.NewMemory(), ws...)
	for _, step := range steps[:4] {
		step(r)
		r.mustFlush()
	}
	lane := ws[0].signer.Lane
	kept := func() (n int) {
		for _, err := range r.KeptLane(r.db, lane) {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	if kept() == 0 {
		t.Fatal("nothing was set aside")
	}
	r.truncate(1)
	r.mustFlush()
	if kept() == 0 {
		t.Error("it went before the entries of its lane")
	}
	r.truncate(r.Ordinal())
	r.mustFlush()
	if kept() != 0 {
		t.Errorf("%d entries are still set aside", kept())
	}
	r = newReplica(t, storage.NewMemory(), ws...)
	for _, step := range steps[:4] {
		step(r)
		r.mustFlush()
	}
	r.DropLane(r.batch, lane)
	r.mustFlush()
	if r.Floor(lane) != r.vector.Seq(lane) || !r.Below(new(clock.Vector)) {
		t.Errorf("floor %d of %v", r.Floor(lane), &r.vector)
	}
	before := floors(r.Log)
	if r.reopen(); floors(r.Log) != before {
		t.Errorf("opens to\n%s\nnot to\n%s", floors(r.Log), before)
	}
}

// A policy finds marks where it needs them, and not many.
func TestMarks(t *testing.T) {
	a := writerNamed("a")
	r := newReplica(t, storage.NewMemory(), a)
	var head clock.Head
	for i := range 3000 {
		e := a.write(t, head, "", nil)
		head = clock.Head{Seq: e.Seq, Hash: e.Hash}
		r.receive(e)
		r.Flush(r.batch, int64(i))
		mustApply(t, r)
	}
	marks := r.Marks()
	if n := len(marks); n < 3 || n > 6 || marks[n-1].Ordinal != 3000 || marks[n-1].Bytes != r.RawBytes() || marks[n-1].Time != 2999 {
		t.Errorf("marks %v", marks)
	}
	r.Flush(r.batch, 0)
	r.receive(a.write(t, head, "", nil))
	r.Flush(r.batch, markMillis*2)
	mustApply(t, r)
	if again := r.Marks(); len(again) != len(marks) || again[len(again)-1].Ordinal != 3001 {
		t.Errorf("after a quiet time: %v", again)
	}
	for range maxMarks + 10 {
		r.marks = append(r.marks, Mark{Ordinal: r.ordinal})
	}
	r.ordinal += markEntries
	r.mark(r.batch, 1)
	if len(r.marks) > maxMarks {
		t.Errorf("%d marks are held", len(r.marks))
	}
}
