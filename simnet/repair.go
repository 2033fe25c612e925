package simnet

import (
	"time"

	"github.com/rhizome-p2p/rhizome/gossip"
)

// A repair counts what a host says on its sessions from the healing on.
type repair struct {
	rounds int    // how often it asked a peer for entries
	bytes  uint64 // of all messages
}

const (
	// mostRounds bounds how often a host asks for entries from the healing until
	// all are equal. No more than a quarter of it was ever seen.
	mostRounds = 64

	// restFor is how long the world goes on when all are equal: as long as it
	// takes until each has compared roots with each peer once more.
	restFor = 13 * time.Second

	// smallTalk bounds what a session carries each way that is neither entries
	// nor vectors.
	smallTalk = 4 << 10
)

// count notes a message that a host sends.
func (w *World) count(e *end, message []byte) {
	if !w.healed || e.host.hostile != "" {
		return
	}
	r := &e.host.repair
	r.bytes += uint64(len(message))
	if gossip.MessageName(message) == "pull" {
		r.rounds++
	}
}

// checkRepair holds a world whose hosts are equal to having become so at a
// bounded price: each host asked for entries a bounded number of times, and all
// together said no more on their sessions than if each had been sent twice all
// that it holds, and the vector on each of its sessions.
func (w *World) checkRepair() {
	var said, most uint64
	for _, h := range w.hosts {
		if h.hostile != "" {
			continue
		}
		if h.repair.rounds > mostRounds {
			w.fail("bounded repair", "%s asked for entries %d times after the healing", h.name, h.repair.rounds)
			return
		}
		disk, err := h.disk.DiskBytes()
		if err != nil {
			w.fail("bounded repair", "%s: %v", h.name, err)
			return
		}
		said += h.repair.bytes
		most += 2 * (disk + uint64(len(h.sessions)+1)*(smallTalk+h.vectorBytes()))
	}
	if said > most {
		w.fail("bounded repair", "hosts said %d bytes after the healing, and need no more than %d", said, most)
	}
}

// vectorBytes is about what the host's vector takes in a message.
func (h *host) vectorBytes() uint64 {
	const head = 16 + 3 + 32
	return head * uint64(h.r.Log().Vector().Len())
}

// checkRest holds a world whose hosts are equal to staying so, and to saying
// little more than that: hosts that go on repairing what is whole never end.
func (w *World) checkRest() {
	if w.failure != nil {
		return
	}
	before := w.bytes
	w.runUntil(w.now + restFor)
	if w.failure != nil {
		return
	}
	if !w.equal() {
		w.fail("stays equal", "hosts that were equal are not: %s", w.differences())
		return
	}
	var most uint64
	for _, h := range w.hosts {
		if h.hostile == "" {
			most += uint64(len(h.sessions)) * (smallTalk + 2*h.vectorBytes())
		}
	}
	if said := w.bytes - before; said > most {
		w.fail("no livelock", "hosts that are equal said %d bytes in %v, and need no more than %d", said, restFor, most)
	}
}
