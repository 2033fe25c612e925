package history

// convergent looks for CyclicCF: whether no total order of the writes explains
// what lossy reads have shown, and what lossless ones say that they would.
func (x *index) convergent() *Violation {
	c := newOrder(x)
	for _, e := range x.o.extra {
		c.add(e)
	}
	for _, r := range x.reads {
		won := x.shown[r]
		if won < 0 {
			continue
		}
		reg := x.reg[r]
		for _, s := range reg.by {
			// The writes before it in its session are before it anyway.
			w := x.latest(reg, s, x.o.seen(r, s))
			if w >= 0 && w != won && !x.o.before(w, won) {
				c.add(edge{from: w, to: won, kind: byConflict, why: r})
			}
		}
	}
	at := c.sort()
	if at < 0 {
		return nil
	}
	return x.violation(CyclicCF, x.steps(c.shortest(at, at)), "no order of the writes explains which of them reads show")
}
