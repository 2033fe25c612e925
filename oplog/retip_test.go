package oplog

import (
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A lane is closed whose entry had named one that others of that one's lane
// follow, and that may be dropped. It becomes no tip: a peer that adopts the
// state knows the heads of lanes alone, and the hash of what is dropped is not
// known here either.
func TestCloseRestoresHeads(t *testing.T) {
	for _, dropped := range []bool{false, true} {
		a, b, c := writerNamed("a"), writerNamed("b"), writerNamed("c")
		head := func(e *delta.Entry) clock.Head { return clock.Head{Seq: e.Seq, Hash: e.Hash} }
		b1 := b.write(t, clock.Head{}, "1", nil)
		b2 := b.write(t, head(b1), "2", nil)
		b3 := b.write(t, head(b2), "3", nil)
		c1 := c.write(t, clock.Head{}, "c", []delta.Dep{depOn(b3)})
		x := a.write(t, clock.Head{}, "x", []delta.Dep{depOn(b1)})
		y := a.write(t, clock.Head{}, "y", nil)

		r := newReplica(t, storage.NewMemory(), a, b, c)
		for _, e := range []*delta.Entry{b1, b2, b3, c1} {
			r.receive(e)
		}
		r.mustFlush()
		if dropped {
			r.truncate(r.Ordinal())
			r.mustFlush()
		}
		r.receive(x)
		r.mustFlush()
		p, err := r.ProofAgainst(chainOf(y))
		if err != nil {
			t.Fatal(err)
		}
		if taken, _ := r.close(p); len(taken) != 1 {
			t.Fatalf("dropped %v: took %d entries", dropped, len(taken))
		}
		r.mustFlush()
		if tips := r.Tips(); !slices.Equal(tips, []clock.LaneHead{{Lane: c.signer.Lane, Head: head(c1)}}) {
			t.Errorf("dropped %v: tips %v, want c's head", dropped, tips)
		}
		if !dropped {
			r.check()
		}
	}
}
