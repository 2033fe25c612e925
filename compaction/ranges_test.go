package compaction

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/digest"
)

type place struct {
	lane int
	seq  uint64
}

func sumOf(p place, variant byte) digest.Sum {
	b := binary.BigEndian.AppendUint64([]byte{byte(p.lane), variant}, p.seq)
	return digest.FromBytes(sha256.Sum256(b))
}

// sums of a state, as one side has it: a place may hold one of two variants.
type side map[place]byte

func (s side) tally(t *Table) {
	for p, v := range s {
		t.Add(p.lane, p.seq, func() digest.Sum { return sumOf(p, v) })
	}
}

func (s side) digest() (d digest.Sum) {
	for p, v := range s {
		d = d.Plus(sumOf(p, v))
	}
	return d
}

// search runs a whole comparison and returns what one side has to list, drop and
// want, with what was asked on the way.
func search(v *clock.Vector, above func(int) uint64, mine, theirs side) (r *Ranges, asked int) {
	r = NewRanges(v, above)
	for {
		shift, stretches, ok := r.Ask()
		if !ok {
			return r, asked
		}
		asked += max(len(stretches), 1)
		own, other := NewTable(shift, stretches), NewTable(shift, stretches)
		mine.tally(own)
		theirs.tally(other)
		r.Compare(own, other.Sums())
	}
}

// Whatever two states are: every survivor that differs is in a stretch that is
// listed, dead or wanted, none that is equal and not in such a stretch is lost
// from the sum, and wanted stretches lie above one's own vector.
func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v clock.Vector
		var heads, applied []uint64
		for i := range rapid.IntRange(1, 4).Draw(t, "lanes") {
			n := rapid.Uint64Range(1, 1<<uint(rapid.IntRange(1, 20).Draw(t, "bits"))).Draw(t, "head")
			heads = append(heads, n)
			applied = append(applied, rapid.Uint64Range(0, n).Draw(t, "applied"))
			v.Set(clock.LaneID{byte(i)}, clock.Head{Seq: n})
		}
		mine, theirs := side{}, side{}
		for range rapid.IntRange(0, 300).Draw(t, "survivors") {
			p := place{lane: rapid.IntRange(0, len(heads)-1).Draw(t, "lane")}
			p.seq = rapid.Uint64Range(1, heads[p.lane]).Draw(t, "seq")
			switch rapid.IntRange(0, 9).Draw(t, "where") {
			case 0:
				theirs[p] = 0
			case 1:
				if p.seq <= applied[p.lane] {
					mine[p] = 0
				}
			case 2:
				if p.seq <= applied[p.lane] {
					mine[p], theirs[p] = 0, 1
				}
			default:
				theirs[p] = 0
				if p.seq <= applied[p.lane] {
					mine[p] = 0
				}
			}
		}
		r, _ := search(&v, func(l int) uint64 { return applied[l] }, mine, theirs)
		list, dead, want := SetOf(r.List), SetOf(r.Dead), SetOf(r.Want)
		sum := r.Same
		for p, variant := range theirs {
			in := list.Has(p.lane, p.seq) || want.Has(p.lane, p.seq)
			if have, ok := mine[p]; !in && (!ok || have != variant) {
				t.Fatalf("%v differs and is not found", p)
			}
			if in {
				sum = sum.Plus(sumOf(p, variant))
			}
			if want.Has(p.lane, p.seq) && p.seq <= applied[p.lane] || dead.Has(p.lane, p.seq) {
				t.Fatalf("%v is wanted below %d, or dead", p, applied[p.lane])
			}
		}
		for p := range mine {
			if _, ok := theirs[p]; !ok && !list.Has(p.lane, p.seq) && !dead.Has(p.lane, p.seq) {
				t.Fatalf("%v is not there and not found", p)
			}
		}
		if sum != theirs.digest() {
			t.Fatal("what is equal, listed and wanted is not the other state")
		}
	})
}

// A few differences among many survivors cost little.
func TestRangesCost(t *testing.T) {
	var v clock.Vector
	const head = 1 << 18
	v.Set(clock.LaneID{1}, clock.Head{Seq: head})
	mine, theirs := side{}, side{}
	for seq := uint64(1); seq <= head; seq += 2 {
		mine[place{0, seq}], theirs[place{0, seq}] = 0, 0
	}
	for i := range uint64(10) {
		delete(theirs, place{0, 1 + i*20_000})
	}
	r, asked := search(&v, func(int) uint64 { return head }, mine, theirs)
	listed := 0
	for p := range theirs {
		if SetOf(r.List).Has(p.lane, p.seq) {
			listed++
		}
	}
	if asked > 1000 || listed > 10*leafRows {
		t.Errorf("%d stretches asked for, %d survivors listed for 10 differences of %d", asked, listed, len(mine))
	}
	t.Logf("%d stretches asked for, %d survivors listed", asked, listed)
}

// A search that is cut short lists what is left.
func TestRangesListAll(t *testing.T) {
	var v clock.Vector
	v.Set(clock.LaneID{1}, clock.Head{Seq: 1 << 16})
	mine, theirs := side{}, side{}
	for seq := uint64(1); seq < 1<<16; seq += 3 {
		mine[place{0, seq}], theirs[place{0, seq}] = 0, 1
	}
	r := NewRanges(&v, func(int) uint64 { return 1 << 16 })
	shift, stretches, _ := r.Ask()
	own, other := NewTable(shift, stretches), NewTable(shift, stretches)
	mine.tally(own)
	theirs.tally(other)
	r.Compare(own, other.Sums())
	r.ListAll()
	if _, _, more := r.Ask(); more {
		t.Error("it goes on")
	}
	for p := range theirs {
		if !SetOf(r.List).Has(p.lane, p.seq) {
			t.Fatalf("%v is not listed", p)
		}
	}
}

// A set has what its intervals have.
func TestSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []Interval
		for range rapid.IntRange(0, 12).Draw(t, "intervals") {
			x := Interval{Lane: rapid.IntRange(0, 2).Draw(t, "lane"), After: rapid.Uint64Range(0, 30).Draw(t, "after")}
			x.UpTo = x.After + rapid.Uint64Range(1, 9).Draw(t, "size")
			in = append(in, x)
		}
		s := NewSet(in)
		for lane := range 3 {
			for seq := uint64(1); seq < 45; seq++ {
				want := slices.ContainsFunc(in, func(x Interval) bool { return x.Lane == lane && x.After < seq && seq <= x.UpTo })
				if s.Has(lane, seq) != want {
					t.Fatalf("%d:%d in %v is %v", lane, seq, in, !want)
				}
			}
		}
		back, err := ParseAskRows(AppendAskRows(s)[1:], 3)
		if err != nil || !slices.Equal(back.Intervals(), s.Intervals()) {
			t.Fatalf("%v comes back as %v: %v", s, back, err)
		}
	})
}
