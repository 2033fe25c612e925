package gossip

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
)

// A publication goes from its author to all of the author's neighbours at once.
// One of them need pass it on only where it has a neighbour that the author has
// not: in a network where each is connected to each, nobody. So that all know, a
// replica tells those it has sessions with who they are. What it has told may be
// out of date; then a publication is passed on in vain, or what is missing comes
// with the next root.

const (
	// linkSize is how many bytes of the SHA-256 of a node's id stand for it. Who
	// makes two meet keeps its own publications from being passed on, no more.
	linkSize = 8

	// linksSoonMillis is how long after a change neighbours are told, so that many
	// changes at once are told together.
	linksSoonMillis = 100

	// coverMost is how many sessions a replica may have to still look at whom each
	// pair of them links: the work grows with the square, and the chance that all
	// are linked goes.
	coverMost = 64
)

type link [linkSize]byte

func linkOf(node string) link {
	sum := sha256.Sum256([]byte(node))
	return link(sum[:linkSize])
}

// relinked notes that sessions came or went.
func (m *Machine) relinked() {
	if m.linksDue == 0 {
		m.linksDue = max(m.now+linksSoonMillis, 1)
	}
	m.cover()
}

// tellLinks tells the peers who they are, where it is due. One peer alone has
// nobody that a publication of its could be passed on to.
func (m *Machine) tellLinks() {
	if m.linksDue == 0 || m.now < m.linksDue {
		return
	}
	m.linksDue = 0
	var b []byte
	n := 0
	for _, s := range m.ordered() {
		if s.greeted && n < maxLinks {
			b = append(b, s.link[:]...)
			n++
		}
	}
	if n < 2 && !m.linksTold {
		return
	}
	m.linksTold = true
	b = append(binary.AppendUvarint([]byte{byte(kindLinks)}, uint64(n)), b...)
	for _, s := range m.ordered() {
		if s.greeted {
			m.send(s, b)
		}
	}
}

func (m *Machine) onLinks(s *session, r *reader) error {
	s.links = make(map[link]bool)
	for n := r.count(linkSize, maxLinks); n > 0; n-- {
		s.links[link(r.take(linkSize))] = true
	}
	m.cover()
	return r.err
}

// cover works out anew which peers' publications reach all others by themselves.
func (m *Machine) cover() {
	covered := make(map[string]bool)
	if len(m.order) <= coverMost {
		for _, s := range m.order {
			if s.greeted && !s.dropped && m.reachesAll(s) {
				covered[s.node] = true
			}
		}
	}
	if !maps.Equal(covered, m.covered) {
		m.covered = covered
		m.covers++
	}
}

// reachesAll reports whether a peer is linked to all others.
func (m *Machine) reachesAll(s *session) bool {
	for _, o := range m.order {
		if o.greeted && !o.dropped && o.node != s.node && !s.links[o.link] {
			return false
		}
	}
	return true
}

// Covered returns the peers whose own publications reach every peer of this
// replica without being passed on. The map does not change any more: another one
// takes its place, with another version.
func (m *Machine) Covered() (peers map[string]bool, version uint64) { return m.covered, m.covers }
