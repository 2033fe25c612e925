package bubble

import (
	"slices"
	"sync"

	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/gossip/p2p"
)

// A transport joins a node to its p2p host, as the root package does, but for
// the book of peers that is kept on disk there.
type transport struct {
	h *host

	// ready is closed when net and core are set.
	ready chan struct{}

	// mu guards sessions.
	mu       sync.Mutex
	sessions map[gossip.SessionID]*p2p.Session
}

func newTransport(h *host) *transport {
	return &transport{h: h, ready: make(chan struct{}), sessions: make(map[gossip.SessionID]*p2p.Session)}
}

func (t *transport) session(id gossip.SessionID) *p2p.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sessions[id]
}

// Send implements node.Transport.
func (t *transport) Send(to gossip.SessionID, message []byte) {
	if s := t.session(to); s != nil {
		s.Send(message)
	}
}

// Drop implements node.Transport.
func (t *transport) Drop(id gossip.SessionID, reason error, penalize bool) {
	if penalize {
		t.h.w.broken("%s drops a peer for a breach of protocol: %v", t.h.name, reason)
	}
	if s := t.session(id); s != nil {
		s.Close(reason)
	}
}

// Publish implements node.Transport.
func (t *transport) Publish(message []byte) {
	<-t.ready
	if t.h.w.opts.mute {
		return
	}
	_ = t.h.net.Publish(topic, message) // what gossip does not carry, sessions repair
}

// Learn implements node.Transport. Where the world wants all to know all, a
// host dials whom it hears of, as in production.
func (t *transport) Learn(addrs []string) {
	<-t.ready
	if t.h.w.opts.degree > 0 {
		return
	}
	for _, a := range addrs {
		if id, err := p2p.PeerOf(a); err == nil && id != t.h.name {
			_ = t.h.net.AddPeer(a) // too many peers: it does without
		}
	}
}

// Opened implements p2p.Handler.
func (t *transport) Opened(s *p2p.Session) {
	<-t.ready
	id := gossip.SessionID(s.ID())
	t.mu.Lock()
	t.sessions[id] = s
	t.mu.Unlock()
	t.h.core.Opened(id, s.Peer(), s.Addr(), s.Outbound())
}

// Received implements p2p.Handler.
func (t *transport) Received(s *p2p.Session, msg []byte) {
	t.h.core.Received(gossip.SessionID(s.ID()), msg)
}

// Closed implements p2p.Handler.
func (t *transport) Closed(s *p2p.Session, _ error) {
	id := gossip.SessionID(s.ID())
	t.h.core.Closed(id)
	t.mu.Lock()
	delete(t.sessions, id)
	t.mu.Unlock()
}

// Validate implements p2p.Handler.
func (t *transport) Validate(_, from string, data []byte) (any, p2p.Verdict) {
	entries, err := gossip.ParsePublished(space, data)
	if err != nil {
		t.h.w.broken("%s hears bad gossip: %v", t.h.name, err)
		return nil, p2p.Reject
	}
	if author, err := p2p.PeerID(entries[0].Key.Author[:]); err == nil && author == from && t.h.core.Covers(from) {
		return entries, p2p.Keep
	}
	return entries, p2p.Accept
}

// Gossiped implements p2p.Handler.
func (t *transport) Gossiped(_, _ string, decoded any) {
	entries, _ := decoded.([]gossip.Published)
	t.h.core.Published(slices.Clone(entries))
}

// Twin implements p2p.Handler.
func (t *transport) Twin(addr string) { t.h.w.broken("%s meets a twin at %s", t.h.name, addr) }
