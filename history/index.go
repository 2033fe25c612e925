package history

import (
	"fmt"
	"slices"
)

// maxCells bounds the table of vector clocks, one number for each operation and
// session: 256 MiB, which is 100,000 operations of 670 sessions.
const maxCells = 1 << 26

// A register is all that was written to one key.
type register struct {
	writes [][]int32 // by session, in its order; nil where it wrote nothing
	by     []int32   // the sessions that wrote, in the order of their first write
	value  map[string]int32
}

// An index is a history made ready for checking. Operations are numbers in it:
// places in ops.
type index struct {
	ops      []Op
	sessions [][]int32 // the operations of each, in order
	session  []int32   // of each operation
	pos      []int32   // of each operation in its session, from 1
	reg      []*register
	returned [][]int32 // for each read, the writes whose values it returned
	reads    []int32
	shown    []int32 // for each read, the write that it shows, or -1

	// Of each write, those that a read has returned beside it, and that read:
	// neither has overwritten the other.
	beside map[int32][]sibling

	thinAir *Violation

	o      *order // session order, reads-from and what must have been overwritten
	solved bool   // o and first are what they will be
	first  *Violation
	open   []choice

	work            int // operations that were looked at, of a search
	decided, proven bool
	unsettled       *Violation
}

// newIndex numbers the operations, and leaves out the unknown writes that nobody
// has read.
func newIndex(ops []Op) (*index, error) {
	x := &index{beside: make(map[int32][]sibling)}
	type cell struct{ key, value string }
	seen := make(map[cell]bool)
	for i := range ops {
		if err := ops[i].validate(); err != nil {
			return nil, fmt.Errorf("%w: operation %d: %w", ErrMalformed, i+1, err)
		}
		for _, v := range ops[i].Values {
			seen[cell{ops[i].Key, v}] = true
		}
	}
	names := make(map[string]int32)
	regs := make(map[string]*register)
	for i := range ops {
		o := &ops[i]
		if o.Unknown && !seen[cell{o.Key, o.Value}] {
			continue
		}
		s, ok := names[o.Session]
		if !ok {
			s = int32(len(names))
			names[o.Session] = s
			x.sessions = append(x.sessions, nil)
		}
		r := regs[o.Key]
		if r == nil {
			r = &register{value: make(map[string]int32)}
			regs[o.Key] = r
		}
		at := int32(len(x.ops))
		x.ops = append(x.ops, *o)
		x.sessions[s] = append(x.sessions[s], at)
		x.session = append(x.session, s)
		x.pos = append(x.pos, int32(len(x.sessions[s])))
		x.reg = append(x.reg, r)
		if o.Kind == KindWrite {
			if w, twice := r.value[o.Value]; twice {
				return nil, fmt.Errorf("%w: two writes of one value: %v, and %v", ErrMalformed, x.ops[w], *o)
			}
			r.value[o.Value] = at
		}
	}
	if len(x.ops)*len(x.sessions) > maxCells {
		return nil, fmt.Errorf("%w: %d operations of %d sessions are too many to check", ErrMalformed, len(x.ops), len(x.sessions))
	}
	x.resolve()
	return x, nil
}

// resolve finds the writes that reads have read.
func (x *index) resolve() {
	x.returned, x.shown = make([][]int32, len(x.ops)), make([]int32, len(x.ops))
	for i := range x.ops {
		at, o, r := int32(i), &x.ops[i], x.reg[i]
		if o.Kind == KindWrite {
			if r.writes == nil {
				r.writes = make([][]int32, len(x.sessions))
			}
			s := x.session[i]
			if r.writes[s] == nil {
				r.by = append(r.by, s)
			}
			r.writes[s] = append(r.writes[s], at)
			continue
		}
		x.reads = append(x.reads, at)
		x.shown[i] = -1
		for _, v := range o.Values {
			w, ok := r.value[v]
			if !ok {
				if x.thinAir == nil {
					x.thinAir = x.violation(ThinAirRead, []Step{{Op: *o}}, "nobody wrote %s = %s", o.Key, v)
				}
				continue
			}
			for _, u := range x.returned[i] {
				x.pair(u, w, at)
			}
			x.returned[i] = append(x.returned[i], w)
			if v == o.Shown || !o.Lossless {
				x.shown[i] = w
			}
		}
	}
}

// A sibling is a write that a read has returned beside another.
type sibling struct{ write, read int32 }

func (x *index) pair(a, b, read int32) {
	if slices.ContainsFunc(x.beside[a], func(s sibling) bool { return s.write == b }) {
		return
	}
	x.beside[a] = append(x.beside[a], sibling{b, read})
	x.beside[b] = append(x.beside[b], sibling{a, read})
}

// apart returns a read that shows that one write has not overwritten another, or
// -1: it returned the one, or what has overwritten it, beside the other, or beside
// what the other has overwritten.
func (x *index) apart(w, by int32) int32 {
	for _, s := range x.beside[by] {
		if s.write == w || x.o.before(s.write, w) {
			return s.read
		}
	}
	for _, s := range x.beside[w] {
		if x.o.before(by, s.write) {
			return s.read
		}
	}
	return -1
}

// latest returns the last write of a session to a register at or before a place
// in the session, or -1.
func (x *index) latest(r *register, s, pos int32) int32 {
	w := r.writes[s]
	lo, hi := 0, len(w)
	for lo < hi {
		if mid := (lo + hi) / 2; x.pos[w[mid]] <= pos {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return -1
	}
	return w[lo-1]
}
