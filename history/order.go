package history

import "slices"

// An edgeKind says why one operation is before another.
type edgeKind uint8

const (
	bySession edgeKind = iota
	byRead
	byOverwrite // a read that returns the later write without the earlier one has the earlier in its past
	byConflict  // the same, of a lossy read: the earlier loses to the later
	byMemory    // the same, as one session must see it
)

// String says what an edge means.
func (k edgeKind) String() string {
	return [...]string{"then, in its session,", "is read by", "is overwritten by", "loses to", "comes, for the session, before"}[k]
}

// An edge says that one operation is before another, and which read shows it.
type edge struct {
	from, to int32
	kind     edgeKind
	why      int32 // the read, for what was inferred
}

// An order is a partial order of the operations: session order, reads-from and
// edges on top. It is kept as vector clocks: how many operations of each session
// are before one, itself included.
type order struct {
	x     *index
	extra []edge
	into  [][]int32 // the places in extra of the edges into an operation
	vc    []int32
	k     int // sessions
	topo  []int32
}

func newOrder(x *index) *order {
	k := len(x.sessions)
	return &order{x: x, k: k, into: make([][]int32, len(x.ops)), vc: make([]int32, len(x.ops)*k)}
}

func (o *order) add(e edge) {
	o.into[e.to] = append(o.into[e.to], int32(len(o.extra)))
	o.extra = append(o.extra, e)
}

// cut takes back all edges but the first n.
func (o *order) cut(n int) {
	for len(o.extra) > n {
		to := o.extra[len(o.extra)-1].to
		o.into[to] = o.into[to][:len(o.into[to])-1]
		o.extra = o.extra[:len(o.extra)-1]
	}
}

// before reports whether a is before b.
func (o *order) before(a, b int32) bool {
	return a != b && o.vc[int(b)*o.k+int(o.x.session[a])] >= o.x.pos[a]
}

// seen returns how many operations of a session are before an operation.
func (o *order) seen(op, session int32) int32 { return o.vc[int(op)*o.k+int(session)] }

// predecessor returns the i-th edge into an operation.
func (o *order) predecessor(op int32, i int) (edge, bool) {
	x := o.x
	if p := x.pos[op]; p > 1 {
		if i == 0 {
			return edge{from: x.sessions[x.session[op]][p-2], to: op, kind: bySession}, true
		}
		i--
	}
	if i < len(x.returned[op]) {
		return edge{from: x.returned[op][i], to: op, kind: byRead}, true
	}
	i -= len(x.returned[op])
	if in := o.into[op]; i < len(in) {
		return o.extra[in[i]], true
	}
	return edge{}, false
}

// close works out the vector clocks anew. Where the edges have a cycle, it
// returns one that is short.
func (o *order) close() (cycle []edge) {
	if at := o.sort(); at >= 0 {
		return o.shortest(at, at)
	}
	clear(o.vc)
	for _, op := range o.topo {
		c := o.vc[int(op)*o.k : (int(op)+1)*o.k]
		for i := 0; ; i++ {
			e, ok := o.predecessor(op, i)
			if !ok {
				break
			}
			for s, n := range o.vc[int(e.from)*o.k:][:o.k] {
				c[s] = max(c[s], n)
			}
		}
		c[o.x.session[op]] = o.x.pos[op]
	}
	return nil
}

// sort puts the operations in an order that has all edges forwards. It returns
// an operation on a cycle where there is none, else -1.
func (o *order) sort() int32 {
	const (
		untouched = iota
		entered
		left
	)
	type frame struct {
		op   int32
		next int
	}
	state := make([]uint8, len(o.x.ops))
	o.topo = o.topo[:0]
	var stack []frame
	for i := range o.x.ops {
		if state[i] != untouched {
			continue
		}
		state[i] = entered
		stack = append(stack, frame{op: int32(i)})
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			e, ok := o.predecessor(f.op, f.next)
			f.next++
			switch {
			case !ok:
				state[f.op] = left
				o.topo = append(o.topo, f.op)
				stack = stack[:len(stack)-1]
			case state[e.from] == entered:
				return e.from
			case state[e.from] == untouched:
				state[e.from] = entered
				stack = append(stack, frame{op: e.from})
			}
		}
	}
	return -1
}

// shortest returns the edges of a way from one operation to another, or of a
// cycle where they are the same, with the fewest that are not session order.
func (o *order) shortest(from, to int32) []edge {
	n := len(o.x.ops)
	dist := make([]int32, n)
	by := make([]edge, n)
	for i := range dist {
		dist[i] = -1
	}
	// Backwards from to; a step of session order costs nothing. The cycle's
	// start is reached by an edge, not by being where the search begins.
	near, far := []int32{to}, []int32(nil)
	done := make([]bool, n)
	for d := int32(0); len(near) > 0; d++ {
		for len(near) > 0 {
			op := near[len(near)-1]
			near = near[:len(near)-1]
			if done[op] {
				continue
			}
			done[op] = true
			for i := 0; ; i++ {
				e, ok := o.predecessor(op, i)
				if !ok {
					break
				}
				cost := d
				if e.kind != bySession {
					cost++
				}
				if e.from == from && (dist[from] < 0 || cost < dist[from]) || dist[e.from] < 0 && e.from != to || dist[e.from] > cost {
					dist[e.from], by[e.from] = cost, e
				} else {
					continue
				}
				if e.from == to {
					continue
				}
				if cost == d {
					near = append(near, e.from)
				} else {
					far = append(far, e.from)
				}
			}
		}
		if dist[from] >= 0 && dist[from] <= d {
			break
		}
		near, far = far, nil
	}
	if dist[from] < 0 {
		return nil
	}
	path := []edge{by[from]}
	for path[len(path)-1].to != to {
		path = append(path, by[path[len(path)-1].to])
	}
	return join(path, from == to)
}

// join makes one edge of several of session order in a row.
func join(path []edge, cycle bool) []edge {
	var out []edge
	for _, e := range path {
		if n := len(out); n > 0 && e.kind == bySession && out[n-1].kind == bySession {
			out[n-1].to = e.to
			continue
		}
		out = append(out, e)
	}
	if n := len(out); cycle && n > 1 && out[0].kind == bySession && out[n-1].kind == bySession {
		out[0].from = out[n-1].from
		out = slices.Delete(out, n-1, n)
	}
	return out
}
