package history

import (
	"fmt"
	"slices"
)

// A choice is open: a lossless read has a write before it that it does not
// return, and any of several returned values may have overwritten it.
type choice struct {
	read, missing int32
	by            []int32
}

// maxSearch bounds the search among open choices, counted in operations that are
// looked at: about a second. Choices of some dozen operations are all tried.
const maxSearch = 2_000_000

// firstBroken returns a violation of CC that holds whatever the open choices
// are, nil where there is none.
func (x *index) firstBroken() *Violation {
	if !x.solved {
		x.solved = true
		x.first = x.thinAir
		if x.first == nil {
			x.o = newOrder(x)
			x.first, x.open = x.saturate()
		}
	}
	return x.first
}

// saturate adds to the order what must have been overwritten, until nothing is
// to be added, or a bad pattern shows. What it returns open could be one or the
// other.
func (x *index) saturate() (*Violation, []choice) {
	o := x.o
	for {
		if cycle := o.close(); cycle != nil {
			return x.cyclic(cycle), nil
		}
		var open []choice
		x.work += len(x.ops)
		before := len(o.extra)
		for _, r := range x.reads { // for what is lost, the others are evidence
			if v := x.misread(r); v != nil {
				return v(), nil
			}
		}
		for _, r := range x.reads {
			for _, c := range x.missing(r) {
				switch len(c.by) {
				case 0:
					return x.lost(c), nil
				case 1:
					o.add(edge{from: c.missing, to: c.by[0], kind: byOverwrite, why: r})
				default:
					open = append(open, c)
				}
			}
		}
		if len(o.extra) == before {
			return nil, open
		}
	}
}

func (x *index) cyclic(cycle []edge) *Violation {
	p, text := CyclicCO, "an operation is before itself"
	for _, e := range cycle {
		if e.kind == byOverwrite {
			p, text = CyclicOW, "a write has overwritten itself"
		}
	}
	return x.violation(p, x.steps(cycle), "%s", text)
}

// bad returns, as a function that makes it, the violation that one read is.
func (x *index) bad(r int32) func() *Violation {
	if v := x.misread(r); v != nil {
		return v
	}
	for _, c := range x.missing(r) {
		if len(c.by) == 0 {
			return func() *Violation { return x.lost(c) }
		}
	}
	return nil
}

// misread returns, in the same way, that in which a read has something in its
// past that what it returned does not go with.
func (x *index) misread(r int32) func() *Violation {
	reg := x.reg[r]
	for _, s := range reg.by {
		w := x.latest(reg, s, x.o.seen(r, s))
		if w < 0 {
			continue
		}
		if len(x.returned[r]) == 0 {
			return func() *Violation { return x.missed(WriteCOInitRead, r, -1, w) }
		}
		for _, old := range x.returned[r] {
			if x.o.before(old, w) {
				return func() *Violation { return x.missed(WriteCORead, r, old, w) }
			}
		}
	}
	return nil
}

// missed makes the violation in which a read returns old, or nothing where that
// is -1, though w is before it.
func (x *index) missed(p Pattern, r, old, w int32) *Violation {
	path := x.o.shortest(w, r)
	text := fmt.Sprintf("the read returns nothing, and %s was written before it", x.ops[w].Value)
	if old >= 0 {
		path = append(x.o.shortest(old, w), path...)
		text = fmt.Sprintf("the read returns %s, which was overwritten by %s before it", x.ops[old].Value, x.ops[w].Value)
	}
	v := x.violation(p, x.steps(path), "%s", text)
	v.read = r
	v.Guarantees = x.guarantees(r)
	return v
}

// missing lists, of each session, the last write before a lossless read that it
// does not return, and that no returned one is known to have overwritten. Those
// that the session wrote before are then overwritten, too.
func (x *index) missing(r int32) (out []choice) {
	if !x.ops[r].Lossless {
		return nil
	}
	reg := x.reg[r]
next:
	for _, s := range reg.by {
		w := x.latest(reg, s, x.o.seen(r, s))
		if w < 0 || slices.Contains(x.returned[r], w) {
			continue
		}
		c := choice{read: r, missing: w}
		for _, by := range x.returned[r] {
			if x.o.before(w, by) {
				continue next
			}
			if x.apart(w, by) < 0 {
				c.by = append(c.by, by)
			}
		}
		out = append(out, c)
	}
	return out
}

// lost makes the violation in which a sibling is gone that nothing can have
// overwritten.
func (x *index) lost(c choice) *Violation {
	w := x.ops[c.missing].Value
	v := x.violation(LostSibling, x.steps(x.o.shortest(c.missing, c.read)), "%s was written before the read, which returns neither it nor what has overwritten it", w)
	for _, by := range x.returned[c.read] {
		if both := x.apart(c.missing, by); both >= 0 {
			v.Notes = append(v.Notes, fmt.Sprintf("%s has not overwritten %s: %v", x.ops[by].Value, w, x.ops[both]))
		}
	}
	v.read = c.read
	v.Guarantees = x.guarantees(c.read)
	return v
}

// decide settles the open choices, and sets proven where there is a way in which
// no pattern shows. It returns a violation where there is none.
func (x *index) decide() *Violation {
	if x.decided {
		return x.unsettled
	}
	x.decided = true
	base := len(x.o.extra)
	x.work = 0
	x.proven = x.guess()
	decided := x.proven
	if !x.proven {
		x.o.cut(base)
		x.proven, decided = x.search()
	}
	x.o.cut(base) // what was chosen is a guess
	x.o.close()
	if x.proven || !decided {
		return nil
	}
	v := x.lost(x.open[0])
	v.Notes = append(v.Notes, "however it is chosen which of the returned values has overwritten it, a pattern shows")
	x.unsettled = v
	return v
}

// guess settles all open choices at once, again and again, each by the likeliest.
func (x *index) guess() bool {
	open := x.open
	for len(open) > 0 {
		for _, c := range open {
			x.o.add(edge{from: c.missing, to: x.likeliest(c), kind: byOverwrite, why: c.read})
		}
		var v *Violation
		if v, open = x.saturate(); v != nil {
			return false
		}
	}
	return true
}

// likeliest returns of those that may have overwritten a write the one that had
// seen most of what is before it. In a history that is listed as it was recorded
// it comes after the write.
func (x *index) likeliest(c choice) int32 {
	best, least := c.by[0], int64(-1)
	for _, by := range c.by {
		cost := int64(0)
		for s := range x.sessions {
			cost += int64(max(0, x.o.seen(c.missing, int32(s))-x.o.seen(by, int32(s))))
		}
		if by < c.missing {
			cost += int64(len(x.ops))
		}
		if least < 0 || cost < least {
			best, least = by, cost
		}
	}
	return best
}

// search tries one choice after the other. decided is false where it gave up.
func (x *index) search() (found, decided bool) {
	v, open := x.saturate()
	if v != nil || len(open) == 0 {
		return v == nil, true
	}
	if x.work > maxSearch {
		return false, false
	}
	c, base := open[0], len(x.o.extra)
	for _, by := range c.by {
		x.o.add(edge{from: c.missing, to: by, kind: byOverwrite, why: c.read})
		if found, decided = x.search(); found || !decided {
			return found, decided
		}
		x.o.cut(base)
	}
	return false, true
}
