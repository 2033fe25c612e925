package history

// memory looks for CyclicHB and WriteHBInitRead. The happened-before of a
// session's last operation holds that of each before, and so it is enough.
func (x *index) memory() *Violation {
	for s := range x.sessions {
		if v := x.memoryOf(int32(s)); v != nil {
			return v
		}
	}
	return nil
}

// memoryOf adds to the order, for one session, which write must have come before
// which, until nothing is to be added.
func (x *index) memoryOf(session int32) *Violation {
	hb := newOrder(x)
	for _, e := range x.o.extra {
		hb.add(e)
	}
	copy(hb.vc, x.o.vc)
	for {
		before := len(hb.extra)
		for _, r := range x.sessions[session] {
			if x.ops[r].Kind != KindRead || x.ops[r].Lossless {
				continue
			}
			reg := x.reg[r]
			for _, s := range reg.by {
				w := x.latest(reg, s, hb.seen(r, s))
				switch {
				case w < 0:
				case x.shown[r] < 0:
					return x.violation(WriteHBInitRead, x.steps(hb.shortest(w, r)), "%s reads nothing, and %s happened before", x.ops[r].Session, x.ops[w].Value)
				case w != x.shown[r] && !hb.before(w, x.shown[r]):
					hb.add(edge{from: w, to: x.shown[r], kind: byMemory, why: r})
				}
			}
		}
		if len(hb.extra) == before {
			return nil
		}
		if cycle := hb.close(); cycle != nil {
			return x.violation(CyclicHB, x.steps(cycle), "no order of the writes explains what %s has read", x.ops[x.sessions[session][0]].Session)
		}
	}
}
