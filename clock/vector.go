package clock

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/digest"
)

// A Head is the newest entry held of a lane.
type Head struct {
	Seq  uint64
	Hash Hash
}

// A Vector says for each lane the head up to which every entry is held. Its
// zero value is empty and ready to use. A Vector has one owner; Clone copies. Root
// and Clone, too, write to it.
//
// Its heads lie in lane order in blocks that copies share until one of them
// writes. So a copy costs next to nothing, and to compare two that came from
// one costs as much as they differ: a node holds two for each peer, which are
// mostly its own.
type Vector struct {
	// parts are the blocks in lane order, none of them empty.
	parts []part
	n     int

	// root is the sum over the members of all heads, with counted, if anything,
	// for the head of the lane that was set last: one that moves on entry by entry
	// is summed when somebody asks.
	root    digest.Sum
	moving  bool
	last    LaneID
	counted Head
}

// A part is a block and its first lane.
type part struct {
	first LaneID
	*block
}

// maxBlock is how many heads a block holds before it is split: enough that few
// blocks are compared, few enough that a write copies little.
const maxBlock = 32

// A block is some heads in lane order. Where it is shared it never changes, and
// what is shared once stays so.
type block struct {
	shared bool
	heads  []LaneHead
}

// place returns the part that holds a lane, or would, and its index there.
func (v *Vector) place(l LaneID) (i, j int, ok bool) {
	lo, hi := 0, len(v.parts) // the first part behind the lane
	for lo < hi {
		if mid := (lo + hi) / 2; l.less(&v.parts[mid].first) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo == 0 {
		return 0, 0, false
	}
	heads := v.parts[lo-1].heads
	j, hi = 0, len(heads) // the first head not before the lane
	for j < hi {
		if mid := (j + hi) / 2; heads[mid].Lane.less(&l) {
			j = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1, j, j < len(heads) && heads[j].Lane == l
}

// Len returns the number of lanes.
func (v *Vector) Len() int { return v.n }

// Head returns the head of a lane; its Seq is 0 where nothing is held.
func (v *Vector) Head(l LaneID) Head {
	if i, j, ok := v.place(l); ok {
		return v.parts[i].heads[j].Head
	}
	return Head{}
}

// Seq returns the seq up to which the lane is held.
func (v *Vector) Seq(l LaneID) uint64 {
	if i, j, ok := v.place(l); ok {
		return v.parts[i].heads[j].Head.Seq
	}
	return 0
}

// Covers reports whether the entry is held.
func (v *Vector) Covers(e EntryID) bool { return e.Seq <= v.Seq(e.Lane) }

// Advance moves a lane to the entry right after its head. Any other seq is a
// gap, and reported as false.
func (v *Vector) Advance(l LaneID, h Head) bool {
	if h.Seq == 0 || h.Seq-1 != v.Seq(l) {
		return false
	}
	v.Set(l, h)
	return true
}

// Set replaces the head of a lane; seq 0 removes the lane. Only the closing of
// a forked lane, a joined state and decoders move a head other than by Advance.
func (v *Vector) Set(l LaneID, h Head) {
	i, j, ok := v.place(l)
	if !v.moving || v.last != l {
		v.settle()
		v.moving, v.last, v.counted = true, l, Head{}
		if ok {
			v.counted = v.parts[i].heads[j].Head
		}
	}
	switch {
	case h.Seq == 0 && !ok:
	case h.Seq == 0:
		v.remove(i, j)
	case ok:
		v.own(i).heads[j].Head = h
	default:
		v.insert(i, j, LaneHead{l, h})
	}
}

// settle brings the root up to date.
func (v *Vector) settle() {
	if !v.moving {
		return
	}
	v.moving = false
	if v.counted.Seq > 0 {
		v.root = v.root.Minus(member(v.last, v.counted))
	}
	if h := v.Head(v.last); h.Seq > 0 {
		v.root = v.root.Plus(member(v.last, h))
	}
}

// own makes a block one that no other vector shares.
func (v *Vector) own(i int) *block {
	if b := v.parts[i].block; b.shared {
		v.parts[i].block = &block{heads: slices.Clone(b.heads)}
	}
	return v.parts[i].block
}

func (v *Vector) insert(i, j int, lh LaneHead) {
	v.n++
	if len(v.parts) == 0 {
		v.parts = []part{{lh.Lane, &block{heads: []LaneHead{lh}}}}
		return
	}
	b := v.own(i)
	b.heads = slices.Insert(b.heads, j, lh)
	v.parts[i].first = b.heads[0].Lane
	if len(b.heads) > maxBlock {
		rest := &block{heads: slices.Clone(b.heads[maxBlock/2:])}
		b.heads = b.heads[:maxBlock/2]
		v.parts = slices.Insert(v.parts, i+1, part{rest.heads[0].Lane, rest})
	}
}

func (v *Vector) remove(i, j int) {
	v.n--
	if len(v.parts[i].heads) == 1 {
		v.parts = slices.Delete(v.parts, i, i+1)
		return
	}
	b := v.own(i)
	b.heads = slices.Delete(b.heads, j, j+1)
	v.parts[i].first = b.heads[0].Lane
}

func member(l LaneID, h Head) digest.Sum {
	var b [56]byte
	copy(b[:], l[:])
	binary.BigEndian.PutUint64(b[16:], h.Seq)
	copy(b[24:], h.Hash[:])
	return digest.Of(b[:])
}

// Member returns a lane's part of the root of a vector that has this head of it.
func Member(l LaneID, h Head) digest.Sum { return member(l, h) }

// Root returns a digest of all (lane, seq, hash): equal vectors have equal
// roots. It costs next to nothing: it is kept up to date, but for one lane.
func (v *Vector) Root() digest.Sum {
	v.settle()
	return v.root
}

// Lanes returns the lanes in order.
func (v *Vector) Lanes() []LaneID {
	out := make([]LaneID, 0, v.n)
	for _, p := range v.parts {
		for i := range p.heads {
			out = append(out, p.heads[i].Lane)
		}
	}
	return out
}

// Clone returns a copy.
func (v *Vector) Clone() *Vector {
	v.settle()
	for _, p := range v.parts {
		if !p.shared { // written at most once, before anybody else sees it
			p.shared = true
		}
	}
	return &Vector{parts: slices.Clone(v.parts), n: v.n, root: v.root}
}

// differ calls f with each lane whose heads in v and o are not the same, in
// lane order, until f returns false. A lane that one lacks has seq 0 there.
// Blocks that both share are passed over.
func (v *Vector) differ(o *Vector, f func(l LaneID, mine, theirs Head) bool) {
	var i, j, x, y int // the parts, and how far they are read
	for i < len(v.parts) || j < len(o.parts) {
		if x == 0 && y == 0 && i < len(v.parts) && j < len(o.parts) && v.parts[i].block == o.parts[j].block {
			i, j = i+1, j+1
			continue
		}
		var a, b *LaneHead
		if i < len(v.parts) {
			a = &v.parts[i].heads[x]
		}
		if j < len(o.parts) {
			b = &o.parts[j].heads[y]
		}
		switch {
		case b == nil || a != nil && a.Lane.less(&b.Lane):
			b = nil
		case a == nil || b.Lane.less(&a.Lane):
			a = nil
		}
		goOn := true
		switch {
		case b == nil:
			goOn = f(a.Lane, a.Head, Head{})
		case a == nil:
			goOn = f(b.Lane, Head{}, b.Head)
		case a.Head != b.Head:
			goOn = f(a.Lane, a.Head, b.Head)
		}
		if !goOn {
			return
		}
		if a != nil {
			if x++; x == len(v.parts[i].heads) {
				i, x = i+1, 0
			}
		}
		if b != nil {
			if y++; y == len(o.parts[j].heads) {
				j, y = j+1, 0
			}
		}
	}
}

// Join raises each lane to the higher of the two heads. Of two heads with one
// seq v keeps its own: unequal ones are a fork, which a vector cannot settle.
func (v *Vector) Join(o *Vector) {
	for _, lh := range o.Changes(v) {
		if lh.Head.Seq > v.Seq(lh.Lane) {
			v.Set(lh.Lane, lh.Head)
		}
	}
}

// An Order is how two vectors stand to each other.
type Order int

// The four ways two vectors can stand to each other.
const (
	Equal Order = iota
	Before
	After
	Concurrent
)

// String returns the order in words.
func (o Order) String() string {
	return [...]string{"equal", "before", "after", "concurrent"}[o]
}

// Compare compares the seqs of two vectors; hashes do not count.
func (v *Vector) Compare(o *Vector) Order {
	return orderOf(o.below(v), v.below(o))
}

func orderOf(after, before bool) Order {
	switch {
	case after && before:
		return Concurrent
	case after:
		return After
	case before:
		return Before
	}
	return Equal
}

// below reports whether some lane of v is lower than in o.
func (v *Vector) below(o *Vector) (lower bool) {
	v.differ(o, func(_ LaneID, mine, theirs Head) bool {
		lower = theirs.Seq > mine.Seq
		return !lower
	})
	return lower
}

// Missing counts the entries that o covers and v does not. More than a uint64
// holds, which only a made-up vector claims, counts as the most it holds.
func (v *Vector) Missing(o *Vector) (n uint64) {
	v.differ(o, func(_ LaneID, mine, theirs Head) bool {
		if theirs.Seq > mine.Seq {
			var carry uint64
			if n, carry = bits.Add64(n, theirs.Seq-mine.Seq, 0); carry > 0 {
				n = math.MaxUint64
				return false
			}
		}
		return true
	})
	return n
}

// String returns {lane:seq …} in lane order, lanes shortened to 8 digits.
func (v *Vector) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, l := range v.Lanes() {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.8s:%d", l, v.Seq(l))
	}
	b.WriteByte('}')
	return b.String()
}

// A LaneHead is one lane of a vector.
type LaneHead struct {
	Lane LaneID
	Head Head
}

// Changes returns, in lane order, the lanes whose heads in v differ from those
// in base, a lane that only base has with seq 0. Replaying them on base by Set
// gives v.
func (v *Vector) Changes(base *Vector) []LaneHead {
	var out []LaneHead
	v.differ(base, func(l LaneID, mine, _ Head) bool {
		out = append(out, LaneHead{l, mine})
		return true
	})
	return out
}
