package oplog

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// waiting is an entry of a size, good for nothing but to wait.
func waiting(lane byte, seq uint64, size int) *delta.Entry {
	return &delta.Entry{Header: delta.Header{Lane: clock.LaneID{lane}, Seq: seq}, Raw: make([]byte, size)}
}

// Pending holds what a plain list with the same bounds holds, whatever happens
// to it, and its counts are true.
func TestPendingModel(t *testing.T) {
	type item struct {
		e       *delta.Entry
		author  delta.Author
		missing clock.EntryID
	}
	rapid.Check(t, func(t *rapid.T) {
		r := &replica{t: t, Log: new(Log)}
		p := &r.Pending
		var model []item
		// take removes what is to go from the model.
		take := func(gone func(item) bool) (out []*delta.Entry) {
			model = slices.DeleteFunc(model, func(x item) bool {
				if gone(x) {
					out = append(out, x.e)
				}
				return gone(x)
			})
			return out
		}
		anyID := rapid.Custom(func(t *rapid.T) clock.EntryID {
			return clock.EntryID{Lane: clock.LaneID{rapid.ByteRange(0, 3).Draw(t, "lane")}, Seq: rapid.Uint64Range(1, 6).Draw(t, "seq")}
		})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := anyID.Draw(t, "id")
			switch rapid.IntRange(0, 7).Draw(t, "do") {
			case 0:
				got := p.Release(id)
				if want := take(func(x item) bool { return x.missing == id }); !slices.Equal(got, want) {
					t.Fatalf("released %v, want %v", got, want)
				}
			case 1:
				got := p.ReleaseLane(id.Lane)
				want := take(func(x item) bool { return x.missing.Lane == id.Lane })
				if len(got) != len(want) || slices.ContainsFunc(got, func(e *delta.Entry) bool { return !slices.Contains(want, e) }) {
					t.Fatalf("released %v, want %v", got, want)
				}
			case 2:
				covered := func(x clock.EntryID) bool { return x.Lane == id.Lane && x.Seq <= id.Seq }
				p.Sweep(covered)
				take(func(x item) bool { return covered(x.e.ID()) })
			default:
				x := item{waiting(id.Lane[0], id.Seq, rapid.SampledFrom([]int{0, 1000, 4 << 20}).Draw(t, "size")), delta.Author{id.Lane[0]}, anyID.Draw(t, "missing")}
				fits := !slices.ContainsFunc(model, func(y item) bool { return y.e.ID() == id })
				size := pendingBytes(x.e)
				for _, y := range model {
					size += pendingBytes(y.e)
				}
				fits = fits && size <= MaxPendingBytes
				if got := p.Add(x.e, x.author, x.missing); got != fits {
					t.Fatalf("Add = %v", got)
				}
				if fits {
					model = append(model, x)
				}
			}
			r.checkPending()
			if p.Len() != len(model) {
				t.Fatalf("%d wait, want %d", p.Len(), len(model))
			}
		}
	})
}

// One author's entries do not crowd out another's, and empty ones count too.
func TestPendingBounds(t *testing.T) {
	r := &replica{t: t, Log: new(Log)}
	missing := clock.EntryID{Seq: 1}
	for seq := range uint64(MaxPendingEntries + 2) {
		if got := r.Pending.Add(waiting(1, seq+1, 0), delta.Author{1}, missing); got != (seq < MaxPendingEntries) {
			t.Fatalf("Add number %d = %v", seq+1, got)
		}
	}
	if !r.Pending.Add(waiting(2, 1, 0), delta.Author{2}, missing) {
		t.Error("one author fills it for another")
	}
	r.checkPending()
	for lane := byte(3); lane > 0; lane++ {
		for seq := range uint64(MaxPendingEntries) {
			r.Pending.Add(waiting(lane, seq+1, 0), delta.Author{lane}, missing)
		}
	}
	r.checkPending()
	if n := r.Pending.Len(); n != MaxPendingBytes/pendingOverhead {
		t.Errorf("%d empty entries wait", n)
	}
	if got := len(r.Pending.Release(missing)); got != MaxPendingBytes/pendingOverhead || r.Pending.bytes != 0 || len(r.Pending.authors) != 0 {
		t.Errorf("%d released, %d bytes left", got, r.Pending.bytes)
	}
}

// ReleaseLane gives in one order, whatever the map's.
func TestReleaseLaneOrder(t *testing.T) {
	for range 20 {
		var p Pending
		for seq := uint64(9); seq > 0; seq-- {
			p.Add(waiting(1, seq, 0), delta.Author{}, clock.EntryID{Lane: clock.LaneID{2}, Seq: seq})
		}
		for i, e := range p.ReleaseLane(clock.LaneID{2}) {
			if e.Seq != uint64(i+1) {
				t.Fatalf("number %d is %d", i, e.Seq)
			}
		}
	}
}
