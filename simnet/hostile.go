package simnet

import (
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A hostile host runs the same replica as all others, and what it says is
// twisted on its way out: so it speaks the protocol well enough to do harm.
// It writes nothing, no invariant is about it, and it leaves when the faults
// end. Honest hosts must bear it.

// besiegers is how many hosts surround one.
const besiegers = 4

// maxFlood bounds what a host repeats: answers to it are answered.
const maxFlood = 5000

// intrude lets hostile hosts join, as peers of a host and some others.
func (w *World) intrude(h *host, a Act) bool {
	if w.healed || w.host(a.To) != nil || h.hostile != "" {
		return false
	}
	n := 1
	if a.Fault == Eclipse {
		n = besiegers
	}
	for i := range n {
		name := a.To
		if i > 0 {
			name = fmt.Sprintf("%s.%d", a.To, i)
		}
		c := w.newHost(name, name, storage.NewMemory())
		c.hostile = a.Fault
		c.dials = []int{h.at}
		for range 2 {
			if to := c.net.IntN(w.opts.Peers); a.Fault != Eclipse && to != h.at {
				c.dials = append(c.dials, to)
			}
		}
		c.start(nil)
	}
	if a.Fault == Eclipse { // the others have to come back past these
		for len(h.sessions) > 0 {
			w.sever(h.sessions[0].link)
		}
	}
	return true
}

// expel ends a hostile host for good.
func (w *World) expel(h *host) {
	h.down = false // whatever was to start it again does not
	if h.up() {
		h.stop(0)
	}
}

// twist returns what a hostile host sends in place of a message.
func (h *host) twist(message []byte) [][]byte {
	kind := gossip.MessageName(message)
	switch h.hostile {
	case Lie:
		if kind != "hello" && len(message) > 1 && h.net.IntN(3) == 0 {
			return [][]byte{h.lie(message)}
		}
	case Flood:
		if kind != "hello" && h.flooded < maxFlood {
			h.flooded += 10
			return slices.Repeat([][]byte{message}, 10)
		}
	case Withhold, Eclipse:
		if kind != "hello" && kind != "root" && kind != "have" {
			return nil
		}
	case OtherVersion:
		if kind == "hello" {
			other := slices.Clone(message)
			other[1]++ // the protocol's number
			return [][]byte{other}
		}
	}
	return [][]byte{message}
}

// lie changes one bit behind the kind of a message.
func (h *host) lie(message []byte) []byte {
	m := slices.Clone(message)
	m[1+h.net.IntN(len(m)-1)] ^= 1 << h.net.IntN(8)
	return m
}

// keeps reports whether a host passes no publication on.
func (h *host) keeps() bool { return h.hostile == Withhold || h.hostile == Eclipse }
