package compaction

import (
	"cmp"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/digest"
)

const (
	// fanoutBits is how much finer each level cuts than the one before: sixteen
	// sums of 8 bytes tell which sixteenth of a stretch differs.
	fanoutBits = 4

	// leafRows is how many survivors a stretch may hold to be listed rather
	// than cut: a listed survivor costs some 36 bytes, a sum some 12.
	leafRows = 32

	// firstStretches is about how many the first level has.
	firstStretches = 256
)

// A Stretch is the seqs of one lane from K<<Shift + 1 to (K+1)<<Shift. Lanes are
// numbered by their place in the vector that is served, in lane order.
type Stretch struct {
	Lane  int
	Shift uint8
	K     uint64
}

// StretchOf returns the stretch that a seq is in.
func StretchOf(lane int, shift uint8, seq uint64) Stretch {
	return Stretch{lane, shift, (seq - 1) >> shift}
}

// Bounds returns the seqs of a stretch: those above after and up to the second.
func (s Stretch) Bounds() (after, upTo uint64) {
	return s.K << s.Shift, (s.K + 1) << s.Shift
}

func compareStretches(a, b Stretch) int {
	return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.K, b.K))
}

// A Tally is the survivors of a stretch: how many, and the sum of their sums.
type Tally struct {
	Count uint64
	Sum   digest.Sum
}

// Short is the part of a sum that is told of a stretch: sums of disjoint
// stretches add up likewise, modulo 2^64.
func (t *Tally) Short() uint64 { return t.Sum[0] }

// A Table tallies survivors by stretches of one length.
type Table struct {
	Shift   uint8
	all     bool
	tallies map[Stretch]*Tally
}

// NewTable returns a table of the given stretches, all of one shift, or of all
// that there are where only is nil.
func NewTable(shift uint8, only []Stretch) *Table {
	t := &Table{Shift: shift, all: only == nil, tallies: make(map[Stretch]*Tally, len(only))}
	for _, s := range only {
		t.tallies[s] = new(Tally)
	}
	return t
}

// Add counts a survivor with its full sum.
func (t *Table) Add(lane int, seq uint64, sum func() digest.Sum) {
	s := StretchOf(lane, t.Shift, seq)
	x := t.tallies[s]
	if x == nil {
		if !t.all {
			return
		}
		x = new(Tally)
		t.tallies[s] = x
	}
	x.Count++
	x.Sum = x.Sum.Plus(sum())
}

// Sums lists the stretches that hold survivors, in order.
func (t *Table) Sums() []StretchSum {
	var out []StretchSum
	for s, x := range t.tallies {
		if x.Count > 0 {
			out = append(out, StretchSum{s.Lane, s.K, x.Count, x.Short()})
		}
	}
	slices.SortFunc(out, func(a, b StretchSum) int {
		return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.K, b.K))
	})
	return out
}

// A StretchSum is what is told of one stretch; its shift is the message's.
type StretchSum struct {
	Lane  int
	K     uint64
	Count uint64
	Sum   uint64
}

// FirstShift returns how long the stretches of the first level are for a vector.
func FirstShift(v *clock.Vector) uint8 {
	for shift := uint8(0); ; shift += fanoutBits {
		var n uint64
		for _, l := range v.Lanes() {
			n += (v.Seq(l) + 1<<shift - 1) >> shift
		}
		if n <= uint64(firstStretches+v.Len()) || shift > 56 {
			return shift
		}
	}
}

// Ranges is the search for the difference of one's own survivors, below a
// vector that is served, and those that are served. It goes level by level:
// Ask says which stretches to compare next, and Compare takes one's own tallies
// of them and those of the other side.
type Ranges struct {
	// above returns the seq above which one's own replica has applied nothing
	// of a lane.
	above func(lane int) uint64

	level []Stretch // nil at first: all
	shift uint8
	done  bool

	// Same is the sum of the survivors of stretches that are equal.
	Same digest.Sum

	// List are the stretches of which the other side is to list dots and sums,
	// Dead those of which it has nothing, and Want those, wholly above one's own
	// vector, of which one has nothing and needs the rows.
	List, Dead, Want []Stretch
	// rows says of List about how many survivors each holds.
	rows []uint64
}

// NewRanges begins a search below a vector.
func NewRanges(v *clock.Vector, above func(lane int) uint64) *Ranges {
	return &Ranges{above: above, shift: FirstShift(v)}
}

// Ask returns the stretches to compare next, nil at the first level for all;
// ok is false when the search is over.
func (r *Ranges) Ask() (shift uint8, stretches []Stretch, ok bool) {
	return r.shift, r.level, !r.done
}

// Compare compares one level.
func (r *Ranges) Compare(own *Table, theirs []StretchSum) {
	told := make(map[Stretch]StretchSum, len(theirs))
	all := make([]Stretch, 0, len(own.tallies)+len(theirs))
	for s, x := range own.tallies {
		if x.Count > 0 {
			all = append(all, s)
		}
	}
	for _, x := range theirs {
		s := Stretch{x.Lane, r.shift, x.K}
		told[s] = x
		all = append(all, s)
	}
	slices.SortFunc(all, compareStretches)
	all = slices.Compact(all)
	var next []Stretch
	for _, s := range all {
		mine, x := own.tallies[s], told[s]
		if mine == nil {
			mine = new(Tally)
		}
		after, _ := s.Bounds()
		switch {
		case mine.Count == x.Count && mine.Short() == x.Sum:
			r.Same = r.Same.Plus(mine.Sum)
		case x.Count == 0:
			r.Dead = append(r.Dead, s)
		case mine.Count == 0 && after >= r.above(s.Lane):
			r.Want = append(r.Want, s)
		case s.Shift == 0 || max(mine.Count, x.Count) <= leafRows:
			r.List, r.rows = append(r.List, s), append(r.rows, max(mine.Count, x.Count))
		default:
			next = append(next, s)
		}
	}
	r.cut(next)
}

// ListAll ends the search: what was to be compared next is listed instead.
func (r *Ranges) ListAll() {
	for _, s := range r.level {
		r.List, r.rows = append(r.List, s), append(r.rows, leafRows)
	}
	r.done = true
}

// AskList returns the questions for the lists, each for about as many survivors
// as one answer should hold. They are to be asked one after the other.
func (r *Ranges) AskList() (messages [][]byte) {
	for from := 0; from < len(r.List); {
		to, rows := from, uint64(0)
		for to < len(r.List) && to-from < maxAsked && r.List[to].Shift == r.List[from].Shift && rows < maxAnswer {
			rows += r.rows[to]
			to++
		}
		messages = append(messages, AppendAsk(MsgAskList, r.List[from].Shift, r.List[from:to]))
		from = to
	}
	return messages
}

// cut goes on to the next level with the parts of some stretches.
func (r *Ranges) cut(stretches []Stretch) {
	if len(stretches) == 0 {
		r.done = true
		return
	}
	bits := min(r.shift, fanoutBits)
	r.shift -= bits
	r.level = make([]Stretch, 0, len(stretches)<<bits)
	for _, s := range stretches {
		for i := range uint64(1) << bits {
			r.level = append(r.level, Stretch{s.Lane, r.shift, s.K<<bits + i})
		}
	}
}

// An Interval is the seqs of a lane above After and up to UpTo.
type Interval struct {
	Lane        int
	After, UpTo uint64
}

// A Set is a set of seqs of lanes.
type Set struct{ in []Interval }

// NewSet returns the union of intervals.
func NewSet(in []Interval) *Set {
	in = slices.Clone(in)
	slices.SortFunc(in, func(a, b Interval) int { return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.After, b.After)) })
	out := in[:0]
	for _, x := range in {
		if n := len(out); n > 0 && out[n-1].Lane == x.Lane && out[n-1].UpTo >= x.After {
			out[n-1].UpTo = max(out[n-1].UpTo, x.UpTo)
			continue
		}
		out = append(out, x)
	}
	return &Set{out}
}

// SetOf returns the union of stretches.
func SetOf(stretches ...[]Stretch) *Set {
	var in []Interval
	for _, list := range stretches {
		for _, s := range list {
			after, upTo := s.Bounds()
			in = append(in, Interval{s.Lane, after, upTo})
		}
	}
	return NewSet(in)
}

// Intervals returns the set as disjoint intervals in order.
func (s *Set) Intervals() []Interval { return s.in }

// Has reports whether a seq is in the set.
func (s *Set) Has(lane int, seq uint64) bool {
	i, _ := slices.BinarySearchFunc(s.in, Interval{Lane: lane, UpTo: seq}, func(a, b Interval) int {
		return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.UpTo, b.UpTo))
	})
	return i < len(s.in) && s.in[i].Lane == lane && s.in[i].After < seq
}
