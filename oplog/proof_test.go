package oplog

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// branchesAt returns two branches of n entries of one lane that part after seq
// at − 1, only the last of each signed.
func branchesAt(t fataler, w *writer, at uint64, n int) (a, b []*delta.Entry) {
	t.Helper()
	head := clock.Head{}
	grow := func(head clock.Head, note string, n int) (es []*delta.Entry) {
		for i := range n {
			e := w.write(t, head, note, nil)
			head = clock.Head{Seq: e.Seq, Hash: e.Hash}
			if i < n-1 {
				e = unsigned(e)
			}
			es = append(es, e)
		}
		return es
	}
	if at > 1 {
		trunk := grow(head, "trunk", int(at)-1)
		head = clock.Head{Seq: at - 1, Hash: trunk[at-2].Hash}
	}
	return grow(head, "left", n), grow(head, "right", n)
}

// A proof that holds, and each way of not holding.
func TestProofVerify(t *testing.T) {
	w, v := writerNamed("a"), writerNamed("b")
	a, b := branchesAt(t, w, 3, 3)
	good := func() *Proof { return &Proof{w.LaneKey, chainOf(a...), chainOf(b...)} }
	if err := good().Verify(testSpace); err != nil {
		t.Fatal(err)
	}
	if p := good(); p.Seq() != 3 || p.Lane() != w.signer.Lane {
		t.Errorf("proof against %v at %d", p.Lane(), p.Seq())
	}
	elsewhere := *w
	elsewhere.signer.Space = clock.Hash{1}
	elsewhere.signer.Lane = w.ID(clock.Hash{1})
	x, y := branchesAt(t, &elsewhere, 3, 1)
	other, _ := branchesAt(t, v, 3, 1)
	leap := w.write(t, clock.Head{Seq: 6, Hash: a[0].Hash}, "leap", nil)
	for name, change := range map[string]func(p *Proof){
		"a seq left out":        func(p *Proof) { p.A = chainOf(unsigned(a[0]), leap) },
		"no chain":              func(p *Proof) { p.A = Chain{} },
		"no second chain":       func(p *Proof) { p.B = Chain{} },
		"the same twice":        func(p *Proof) { p.B = p.A },
		"one entry, two chains": func(p *Proof) { p.A, p.B = chainOf(a[0], a[1], a[2]), Chain{chainOf(a...).Headers, a[2].Sig} },
		"another seq":           func(p *Proof) { p.B = chainOf(b[1:]...) },
		"another lane":          func(p *Proof) { p.B = chainOf(other...) },
		"another author":        func(p *Proof) { p.Key = v.LaneKey },
		"another space":         func(p *Proof) { p.A, p.B = chainOf(x...), chainOf(y...) },
		"one in another space":  func(p *Proof) { p.B = chainOf(y...) },
		"no signature":          func(p *Proof) { p.A.Sig = nil },
		"a signature too short": func(p *Proof) { p.A.Sig = p.A.Sig[1:] },
		"the other's signature": func(p *Proof) { p.B.Sig = p.A.Sig },
		"a gap":                 func(p *Proof) { p.A.Headers = []delta.Header{a[0].Header, a[2].Header} },
		"a broken link":         func(p *Proof) { p.A.Headers = []delta.Header{b[0].Header, a[1].Header, a[2].Header} },
		"a header changed":      func(p *Proof) { p.A.Headers[0].Time++ },
		"backwards":             func(p *Proof) { slices.Reverse(p.A.Headers) },
		"too long":              func(p *Proof) { p.A.Headers = make([]delta.Header, MaxChain+1) },
	} {
		p := good()
		change(p)
		if err := p.Verify(testSpace); !errors.Is(err, delta.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A chain may have MaxChain headers and no more, also where the log makes it;
// a longer stretch without signatures cannot be proved from its start.
func TestLongChains(t *testing.T) {
	w := writerNamed("a")
	a, b := branchesAt(t, w, 2, MaxChain+1)
	trunk := w.write(t, clock.Head{}, "trunk", nil)
	r := newReplica(t, storage.NewMemory(), w)
	r.receive(trunk)
	for i, e := range a {
		if r.receive(e); i%1000 == 0 {
			r.mustFlush()
		}
	}
	r.mustFlush()
	if _, err := r.ProofAgainst(chainOf(b...)); !errors.Is(err, ErrNotFound) {
		t.Errorf("too long: %v", err)
	}
	c, err := r.ChainFrom(a[1].ID())
	if err != nil || len(c.Headers) != MaxChain {
		t.Fatalf("%d headers, %v", len(c.Headers), err)
	}
	if err := c.verify(w.LaneKey); err != nil {
		t.Error(err)
	}
	if got, rest, err := ParseChain(c.Append(nil)); err != nil || len(rest) > 0 || len(got.Headers) != MaxChain {
		t.Errorf("%d headers, %v", len(got.Headers), err)
	}
	long := chainOf(a...)
	if err := long.verify(w.LaneKey); !errors.Is(err, delta.ErrMalformed) {
		t.Errorf("too long: %v", err)
	}
	c.Headers = append(c.Headers, c.Headers[0])
	if _, _, err := ParseChain(c.Append(nil)); !errors.Is(err, delta.ErrMalformed) {
		t.Errorf("too long: %v", err)
	}
}

// The log makes one proof of a fork, whichever branch it holds.
func TestProofAgainstIsOne(t *testing.T) {
	w := writerNamed("a")
	a, b := branchesAt(t, w, 2, 2)
	trunk := w.write(t, clock.Head{}, "trunk", nil)
	var proofs [][]byte
	for _, branch := range [][]*delta.Entry{a, b} {
		r := newReplica(t, storage.NewMemory(), w)
		r.receive(trunk)
		r.receive(branch[0])
		r.receive(branch[1]) // not flushed: it is found all the same
		for _, theirs := range [][]*delta.Entry{a, b} {
			if p, err := r.ProofAgainst(chainOf(theirs...)); err == nil {
				proofs = append(proofs, p.Append(nil))
			} else if !errors.Is(err, delta.ErrMalformed) {
				t.Error(err)
			}
		}
	}
	if len(proofs) != 2 || !bytes.Equal(proofs[0], proofs[1]) {
		t.Errorf("%d proofs", len(proofs))
	}
}

// Every proof has one encoding: a truncated or longer one is refused, and a
// changed one is refused or does not hold.
func TestProofStrict(t *testing.T) {
	w := writerNamed("a")
	a, b := branchesAt(t, w, 3, 2)
	enc := (&Proof{w.LaneKey, chainOf(a...), chainOf(b...)}).Append(nil)
	checkProof(t, enc)
	if p, err := ParseProof(enc); err != nil || p.Verify(testSpace) != nil {
		t.Fatalf("%v", err)
	}
	for i := range enc {
		if _, err := ParseProof(enc[:i]); !errors.Is(err, delta.ErrMalformed) {
			t.Fatalf("%d of %d bytes: %v", i, len(enc), err)
		}
		bad := bytes.Clone(enc)
		bad[i] ^= 1
		checkProof(t, bad)
		if p, err := ParseProof(bad); err == nil && p.Verify(testSpace) == nil {
			t.Fatalf("byte %d changed, and the proof holds", i)
		}
	}
	at := len(w.Author) + len(w.Incarnation)
	for name, enc := range map[string][]byte{
		"a byte too many": append(bytes.Clone(enc), 0),
		"a long count":    slices.Concat(enc[:at], []byte{0x82, 0}, enc[at+1:]),
		"no chains":       slices.Concat(enc[:at], []byte{0, 0, 0, 0}),
		"unsigned chains": slices.Concat(enc[:at], unsignedChain(a), unsignedChain(b)),
		"a signed nought": slices.Concat(enc[:at], []byte{0, 64}, make([]byte, 64), []byte{0, 0}),
		"endless count":   slices.Concat(enc[:at], bytes.Repeat([]byte{0xff}, 12)),
	} {
		if _, err := ParseProof(enc); !errors.Is(err, delta.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The result is not the input's memory.
	p, _ := ParseProof(enc)
	clear(enc)
	if err := p.Verify(testSpace); err != nil {
		t.Error(err)
	}
}

func unsignedChain(es []*delta.Entry) []byte {
	c := chainOf(es...)
	c.Sig = nil
	return c.Append(nil)
}

func checkProof(t fataler, b []byte) {
	t.Helper()
	p, err := ParseProof(b)
	if err != nil {
		if !errors.Is(err, delta.ErrMalformed) {
			t.Fatalf("%v", err)
		}
		return
	}
	if again := p.Append(nil); !bytes.Equal(again, b) {
		t.Fatalf("%x is read and written as %x", b, again)
	}
	_ = p.Verify(testSpace)
}

// FuzzProof: no panic, and what is accepted is what Append writes.
func FuzzProof(f *testing.F) {
	a, b := branchesAt(f, writerNamed("a"), 2, 2)
	enc := (&Proof{writerNamed("a").LaneKey, chainOf(a...), chainOf(b...)}).Append(nil)
	f.Add(enc)
	f.Add(enc[:100])
	f.Fuzz(func(t *testing.T, b []byte) { checkProof(t, b) })
}

// FuzzChain: the same for chains, with what follows them.
func FuzzChain(f *testing.F) {
	a, _ := branchesAt(f, writerNamed("a"), 1, 2)
	c := chainOf(a...)
	f.Add(append(c.Append(nil), "rest"...))
	f.Add((&Chain{}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, rest, err := ParseChain(b)
		if err != nil {
			if !errors.Is(err, delta.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if again := append(c.Append(nil), rest...); !bytes.Equal(again, b) {
			t.Fatalf("%x is read and written as %x", b, again)
		}
		_ = c.verify(writerNamed("a").LaneKey)
	})
}

// A chain in the log is cut short by an entry that is not there.
func TestChainWithAHole(t *testing.T) {
	w := writerNamed("a")
	a, _ := branchesAt(t, w, 1, 4)
	r := newReplica(t, storage.NewMemory(), w)
	for _, e := range a {
		r.receive(e)
	}
	r.mustFlush()
	b := r.db.NewBatch()
	key, _ := r.numbered(kindEntry, a[2].ID())
	b.Delete(key)
	if err := storage.ApplySync(r.db, b); err != nil {
		t.Fatal(err)
	}
	for _, e := range a[:3] {
		if _, err := r.ChainFrom(e.ID()); !errors.Is(err, ErrNotFound) {
			t.Errorf("from %d: %v", e.Seq, err)
		}
	}
	// Reading in order passes over it.
	if es := r.admitted(); len(es) != 3 {
		t.Errorf("%d entries", len(es))
	}
}
