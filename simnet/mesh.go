package simnet

import (
	"cmp"
	"slices"
	"time"
)

// The mesh is the part of a host's sessions along which it passes on what it
// hears, as gossipsub v1.1 keeps it: what a host publishes itself goes to all.
// The numbers are those that package gossip/p2p runs gossipsub with.
const (
	meshWant  = 6  // how many links a host makes it when it has too few
	meshLeast = 5  // fewer are too few
	meshMost  = 12 // as many are too many

	// meshBeat is how long a host takes to see that it has too few or too many,
	// and meshBackoff how long two hosts leave each other alone after one has
	// dropped their link from its mesh.
	meshBeat    = 200 * time.Millisecond
	meshBackoff = time.Minute

	// meshChance is by how much, at most, a host takes one that is farther before
	// one that is nearer.
	meshChance = 40 * time.Millisecond
)

// meshed counts the host's links that are in its mesh.
func (h *host) meshed() (n int) {
	for _, e := range h.sessions {
		if e.mesh {
			n++
		}
	}
	return n
}

// tend lets the host look after its mesh at its next beat, where it has to.
func (w *World) tend(h *host) {
	n := h.meshed()
	if h.tending || n >= meshLeast && n < meshMost || n == len(h.sessions) && n < meshMost {
		return
	}
	h.tending = true
	gen := h.gen
	w.after(meshBeat, evDraw, h.at, func() {
		if h.gen == gen {
			h.tending = false
			w.beat(h)
		}
	})
}

// beat adds links to a mesh that has too few, or drops some where it has too
// many.
func (w *World) beat(h *host) {
	n := h.meshed()
	if n < meshLeast {
		for _, e := range h.byChoice() {
			if n < meshWant && !e.mesh && e.link.backoff <= w.now {
				e.mesh = true
				n++
				w.graft(e)
			}
		}
		w.tend(h) // all may be in, or some refuse
	}
	if n < meshMost {
		return
	}
	for _, e := range slices.Backward(h.byChoice()) {
		if n > meshWant && e.mesh {
			n--
			w.prune(e)
		}
	}
}

// graft asks the far end to take a link into its mesh too. One that has enough
// takes only those that it has dialled.
func (w *World) graft(e *end) {
	far := e.other()
	w.after(e.link.latency, evDraw, far.host.at, func() {
		switch {
		case !e.link.open:
		case far.side != 0 && far.host.meshed() >= meshMost && !far.mesh:
			w.prune(far)
		default:
			far.mesh = true
			w.tend(far.host)
		}
	})
}

// prune drops a link from the mesh, and tells the far end.
func (w *World) prune(e *end) {
	e.mesh, e.link.backoff = false, w.now+meshBackoff
	far := e.other()
	w.after(e.link.latency, evDraw, far.host.at, func() {
		if e.link.open {
			far.mesh = false
			w.tend(far.host)
		}
	})
}

// byChoice lists the host's sessions in the order in which it takes them into
// its mesh. A host takes those whose sessions stand first, which are with the
// near ones; beyond that it is chance, but of the two hosts' names alone, so
// that what befalls others does not change it.
func (h *host) byChoice() []*end {
	type choice struct {
		e     *end
		after time.Duration
	}
	choices := make([]choice, len(h.sessions))
	for i, e := range h.sessions {
		chance := mark([]byte(h.name + " likes " + e.other().host.name))
		choices[i] = choice{e, e.link.latency + time.Duration(chance%uint64(meshChance))}
	}
	slices.SortStableFunc(choices, func(a, b choice) int { return cmp.Compare(a.after, b.after) })
	ends := make([]*end, len(choices))
	for i := range choices {
		ends[i] = choices[i].e
	}
	return ends
}

const (
	// datagramBytes is what one datagram carries of a message.
	datagramBytes = 1200

	// ackDelay is how long a peer may wait before it acknowledges one.
	ackDelay = 25 * time.Millisecond

	// maxLostInARow bounds how often one is lost: past it a connection is given
	// up, which is another fault.
	maxLostInARow = 6
)

// resent returns how late a message of a publication or session comes because
// datagrams of it are lost and sent again. A loss is noticed after 9/8 of a
// round trip (RFC 9002, 6.1.2) and what the peer may wait. What is sent later
// along the same stream waits behind it.
func (w *World) resent(e *end, bytes int) (late time.Duration) {
	if w.script == nil && w.rates[DatagramLoss] == 0 {
		return 0
	}
	for range 1 + (bytes-1)/datagramBytes {
		if a, ok := w.hits(DatagramLoss, e.host, e.other().host); ok {
			late = max(late, time.Duration(a.By)*(e.link.latency*9/4+ackDelay))
		}
	}
	late = max(late, e.whole-w.now)
	e.whole = w.now + late
	return late
}
