package history

import "slices"

// A database is what a session must find where it reads next, by each of the
// guarantees.
type database struct {
	x    *index
	read map[int32]bool // the writes that the session has read
	// Of each session, the place of the last of its writes that this session has
	// read; followed is what had been read before those.
	seen     []int32
	followed map[int32]bool
}

func (x *index) newDatabase() *database {
	return &database{x: x, read: make(map[int32]bool), seen: make([]int32, len(x.sessions)), followed: make(map[int32]bool)}
}

// sees takes in what a read shows of other sessions.
func (d *database) sees(r int32) {
	x := d.x
	for _, w := range x.returned[r] {
		s := x.session[w]
		if x.pos[w] <= d.seen[s] {
			continue
		}
		for _, op := range x.sessions[s][d.seen[s] : x.pos[w]-1] {
			for _, v := range x.returned[op] {
				d.followed[v] = true
			}
		}
		d.seen[s] = x.pos[w]
	}
}

// reads takes in what a read has returned.
func (d *database) reads(r int32) {
	for _, w := range d.x.returned[r] {
		d.read[w] = true
	}
}

// broken lists the guarantees that a read breaks: those that put a write there
// that it misses.
func (d *database) broken(r int32) (out []Model) {
	x := d.x
	var broken [4]bool
	reg := x.reg[r]
	for _, s := range reg.by {
		for _, w := range reg.writes[s] {
			if x.pos[w] > x.o.seen(r, s) {
				break
			}
			if !x.misses(r, w) {
				continue
			}
			broken[0] = broken[0] || s == x.session[r]
			broken[1] = broken[1] || d.read[w]
			broken[2] = broken[2] || x.pos[w] < d.seen[s]
			broken[3] = broken[3] || d.followed[w]
		}
	}
	for i, g := range Guarantees {
		if broken[i] {
			out = append(out, g)
		}
	}
	return out
}

// guarantees lists those that one read breaks.
func (x *index) guarantees(r int32) []Model {
	d := x.newDatabase()
	for _, op := range x.sessions[x.session[r]][:x.pos[r]-1] {
		d.sees(op)
		d.reads(op)
	}
	d.sees(r)
	return d.broken(r)
}

// misses reports whether a read shows the absence of a write before it.
func (x *index) misses(r, w int32) bool {
	back := x.returned[r]
	switch {
	case slices.Contains(back, w):
		return false
	case len(back) == 0:
		return true
	case slices.ContainsFunc(back, func(old int32) bool { return x.o.before(old, w) }):
		return true
	case !x.ops[r].Lossless:
		return false
	}
	return !slices.ContainsFunc(back, func(by int32) bool {
		return x.o.before(w, by) || x.apart(w, by) < 0
	})
}

// broken returns a violation of CC that breaks a guarantee of sessions, too. The
// first one that was found stands for it where nothing can be said of what is in
// whose past.
func (x *index) broken(m Model, first *Violation) *Violation {
	if first.read < 0 {
		return first
	}
	for _, ops := range x.sessions {
		d := x.newDatabase()
		for _, r := range ops {
			if x.ops[r].Kind != KindRead {
				continue
			}
			d.sees(r)
			if v := x.bad(r); v != nil && slices.Contains(d.broken(r), m) {
				return v()
			}
			d.reads(r)
		}
	}
	return nil
}
