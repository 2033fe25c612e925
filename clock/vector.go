package clock

import (
	"encoding/binary"
	"fmt"
	"maps"
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
// zero value is empty and ready to use. A Vector has one owner; Clone copies.
type Vector struct {
	heads map[LaneID]Head

	// root is the sum over the members of heads.
	root digest.Sum
}

// Len returns the number of lanes.
func (v *Vector) Len() int { return len(v.heads) }

// Head returns the head of a lane; its Seq is 0 where nothing is held.
func (v *Vector) Head(l LaneID) Head { return v.heads[l] }

// Seq returns the seq up to which the lane is held.
func (v *Vector) Seq(l LaneID) uint64 { return v.heads[l].Seq }

// Covers reports whether the entry is held.
func (v *Vector) Covers(e EntryID) bool { return e.Seq <= v.heads[e.Lane].Seq }

// Advance moves a lane to the entry right after its head. Any other seq is a
// gap, and reported as false.
func (v *Vector) Advance(l LaneID, h Head) bool {
	if h.Seq == 0 || h.Seq-1 != v.heads[l].Seq {
		return false
	}
	v.Set(l, h)
	return true
}

// Set replaces the head of a lane; seq 0 removes the lane. Only the closing of
// a forked lane, a joined state and decoders move a head other than by Advance.
func (v *Vector) Set(l LaneID, h Head) {
	if old, ok := v.heads[l]; ok {
		v.root = v.root.Minus(member(l, old))
	}
	if h.Seq == 0 {
		delete(v.heads, l)
		return
	}
	if v.heads == nil {
		v.heads = make(map[LaneID]Head)
	}
	v.heads[l] = h
	v.root = v.root.Plus(member(l, h))
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
// roots. It costs nothing: it is kept up to date.
func (v *Vector) Root() digest.Sum { return v.root }

// Lanes returns the lanes in order.
func (v *Vector) Lanes() []LaneID {
	return slices.SortedFunc(maps.Keys(v.heads), LaneID.Compare)
}

// Clone returns a copy.
func (v *Vector) Clone() *Vector {
	return &Vector{heads: maps.Clone(v.heads), root: v.root}
}

// Join raises each lane to the higher of the two heads. Of two heads with one
// seq v keeps its own: unequal ones are a fork, which a vector cannot settle.
func (v *Vector) Join(o *Vector) {
	for l, h := range o.heads {
		if h.Seq > v.heads[l].Seq {
			v.Set(l, h)
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
func (v *Vector) below(o *Vector) bool {
	for l, h := range o.heads {
		if h.Seq > v.heads[l].Seq {
			return true
		}
	}
	return false
}

// Missing counts the entries that o covers and v does not. More than a uint64
// holds, which only a made-up vector claims, counts as the most it holds.
func (v *Vector) Missing(o *Vector) (n uint64) {
	for l, h := range o.heads {
		if mine := v.heads[l].Seq; h.Seq > mine {
			var carry uint64
			if n, carry = bits.Add64(n, h.Seq-mine, 0); carry > 0 {
				return math.MaxUint64
			}
		}
	}
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
		fmt.Fprintf(&b, "%.8s:%d", l, v.heads[l].Seq)
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
	for l, h := range v.heads {
		if base.heads[l] != h {
			out = append(out, LaneHead{l, h})
		}
	}
	for l := range base.heads {
		if _, ok := v.heads[l]; !ok {
			out = append(out, LaneHead{Lane: l})
		}
	}
	slices.SortFunc(out, func(a, b LaneHead) int { return a.Lane.Compare(b.Lane) })
	return out
}
