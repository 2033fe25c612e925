package rhizome

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/gossip/p2p"
)

// network joins a node to its transport: effects out, events in.
type network struct {
	n        *Node
	host     *p2p.Host
	topic    string
	instance [16]byte

	// ready is closed when host is set: the host calls its handler before New
	// has returned.
	ready chan struct{}

	// mu guards what follows.
	mu       sync.Mutex
	sessions map[gossip.SessionID]*p2p.Session
	book     peerBook

	outbox outbox
}

// peerBook is what is remembered of peers and of the own addresses.
type peerBook struct {
	// Listen are the addresses listened on, to be taken again.
	Listen []string `json:"listen,omitempty"`
	// Own are the full addresses that others may dial.
	Own []string `json:"own,omitempty"`
	// Peers are addresses that were given or learnt.
	Peers []string `json:"peers,omitempty"`
}

func (b *peerBook) clone() peerBook {
	return peerBook{Listen: slices.Clone(b.Listen), Own: slices.Clone(b.Own), Peers: slices.Clone(b.Peers)}
}

// maxBook bounds the addresses that are remembered.
const maxBook = 1024

func newNetwork(n *Node) *network {
	space := n.repo.genesis.id()
	w := &network{
		n: n, topic: "/rhizome/2/" + hex.EncodeToString(space[:]),
		ready: make(chan struct{}), sessions: make(map[gossip.SessionID]*p2p.Session),
	}
	w.outbox.send = func(messages [][]byte) {
		if err := w.host.Publish(w.topic, gossip.PackPublished(messages...)); err != nil {
			n.log.Debug("publish", "error", err)
		}
	}
	return w
}

func readPeers(dir string) (b peerBook, err error) {
	text, err := os.ReadFile(filepath.Join(dir, peersFile))
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, fmt.Errorf("read peers: %w", err)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("%s: %w", peersFile, err)
	}
	return b, nil
}

func (w *network) writeBook() error { return writePeers(w.n.opts.Dir, &w.book) }

func writePeers(dir string, b *peerBook) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("write peers: %w", err)
	}
	return writeFile(filepath.Join(dir, peersFile), append(text, '\n'))
}

// defaultListen is every interface: the network is private by its key.
var defaultListen = []string{"/ip4/0.0.0.0/tcp/0"}

// connect starts the transport.
func (n *Node) connect(inv *invite) error {
	w := n.net
	var err error
	if w.book, err = readPeers(n.opts.Dir); err != nil {
		return err
	}
	given := slices.Clone(n.opts.Bootstrap)
	if inv != nil {
		given = append(given, inv.addrs...)
	}
	for _, a := range given {
		if _, err := p2p.PeerOf(a); err != nil {
			return fmt.Errorf("%w: bootstrap: %w", ErrInvalid, err)
		}
		w.remember(a)
	}
	listen := n.opts.Listen
	if len(listen) == 0 {
		listen = w.book.Listen
	}
	if len(listen) == 0 {
		listen = defaultListen
	}
	w.host, err = p2p.New(p2p.Config{
		Key: n.repo.key, NetworkKey: n.repo.network, Instance: w.instance, Listen: listen, Topics: []string{w.topic},
		Handler: w, Logger: n.log, MaxMessageBytes: gossip.MaxMessageBytes, Peers: slices.Clone(w.book.Peers),
	})
	if err != nil {
		return fmt.Errorf("start network: %w", err)
	}
	close(w.ready)
	w.mu.Lock()
	defer w.mu.Unlock()
	if bound := w.host.ListenAddrs(); len(bound) > 0 && len(w.host.Displaced()) == 0 {
		w.book.Listen = bound // the ports that were chosen for us are asked for again
	}
	w.book.Own = w.host.Addrs()
	n.core.SetAddrs(w.book.Own)
	return w.writeBook()
}

func (w *network) close() error {
	w.outbox.drain()
	return w.host.Close()
}

// remember notes an address; false where it is known.
func (w *network) remember(addr string) bool {
	if slices.Contains(w.book.Peers, addr) || len(w.book.Peers) >= maxBook {
		return false
	}
	w.book.Peers = append(w.book.Peers, addr)
	return true
}

// Send implements node.Transport.
func (w *network) Send(to gossip.SessionID, message []byte) {
	if s := w.session(to); s != nil {
		s.Send(message)
	}
}

// Drop implements node.Transport.
func (w *network) Drop(id gossip.SessionID, reason error, _ bool) {
	if s := w.session(id); s != nil {
		s.Close(reason)
	}
}

func (w *network) session(id gossip.SessionID) *p2p.Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sessions[id]
}

// Publish implements node.Transport. What gossip does not carry, anti-entropy
// brings.
func (w *network) Publish(message []byte) {
	<-w.ready
	w.mu.Lock()
	peers := len(w.sessions)
	w.mu.Unlock()
	w.outbox.put(message, linger(peers))
}

// Learn implements node.Transport: it notes where peers listen.
func (w *network) Learn(addrs []string) {
	<-w.ready
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh := false
	for _, a := range addrs {
		if id, err := p2p.PeerOf(a); err != nil || id == w.host.ID() {
			continue
		}
		if w.remember(a) {
			fresh = true
			if err := w.host.AddPeer(a); err != nil {
				w.n.log.Debug("learn address", "addr", a, "error", err)
			}
		}
	}
	if fresh {
		if err := w.writeBook(); err != nil {
			w.n.log.Warn("remember peers", "error", err)
		}
	}
}

// Opened implements p2p.Handler.
func (w *network) Opened(s *p2p.Session) {
	<-w.ready
	id := gossip.SessionID(s.ID())
	w.mu.Lock()
	w.sessions[id] = s
	w.mu.Unlock()
	w.n.core.Opened(id, s.Peer(), s.Addr(), s.Outbound())
}

// Received implements p2p.Handler.
func (w *network) Received(s *p2p.Session, msg []byte) {
	w.n.core.Received(gossip.SessionID(s.ID()), msg)
}

// Closed implements p2p.Handler.
func (w *network) Closed(s *p2p.Session, err error) {
	id := gossip.SessionID(s.ID())
	w.n.log.Debug("session closed", "peer", s.Peer(), "reason", err)
	w.n.core.Closed(id)
	w.mu.Lock()
	delete(w.sessions, id)
	w.mu.Unlock()
}

// Validate implements p2p.Handler: nothing is relayed or stored that its author
// did not sign for this space.
func (w *network) Validate(_, from string, data []byte) (any, p2p.Verdict) {
	entries, err := gossip.ParsePublished(w.n.repo.genesis.id(), data)
	if err != nil {
		w.n.log.Warn("bad gossip", "from", from, "error", err)
		return nil, p2p.Reject
	}
	// From its author, where the author reaches all of our peers: nobody needs it.
	if author, err := p2p.PeerID(entries[0].Key.Author[:]); err == nil && author == from && w.n.core.Covers(from) {
		return entries, p2p.Keep
	}
	return entries, p2p.Accept
}

// Gossiped implements p2p.Handler.
func (w *network) Gossiped(_, _ string, decoded any) {
	if entries, ok := decoded.([]gossip.Published); ok {
		w.n.core.Published(entries)
	}
}

// Twin implements p2p.Handler.
func (w *network) Twin(addr string) { w.n.core.Twin(addr) }

// Peers returns the known peers, connected or not.
func (n *Node) Peers(ctx context.Context) ([]PeerStatus, error) {
	s, err := n.Status(ctx, false)
	return s.Peers, err
}

// addKnown adds to a status the peers that are known and not connected. A node
// that knows peers and has none is not converged.
func (n *Node) addKnown(s *Status) error {
	connected := make(map[string]bool)
	for _, p := range s.Peers {
		connected[p.ID] = true
	}
	known := false
	add := func(p PeerStatus) {
		known = true
		if !connected[p.ID] {
			connected[p.ID] = true
			s.Peers = append(s.Peers, p)
		}
	}
	any := len(connected) > 0
	if n.net != nil {
		for _, p := range n.net.host.Peers() {
			st := PeerStatus{ID: p.ID, LastSeen: p.LastSeen}
			if len(p.Addrs) > 0 {
				st.Addr = p.Addrs[0]
			}
			add(st)
		}
	} else {
		book, err := readPeers(n.opts.Dir)
		if err != nil {
			return err
		}
		for _, a := range book.Peers {
			if id, err := p2p.PeerOf(a); err == nil {
				add(PeerStatus{ID: id, Addr: a})
			}
		}
	}
	if known && !any {
		s.Converged = false
	}
	slices.SortFunc(s.Peers, func(a, b PeerStatus) int { return compare(a.ID, b.ID) })
	return nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// AddPeer remembers an address and, on a node with a network, dials it.
func (n *Node) AddPeer(_ context.Context, addr string) error {
	id, err := p2p.PeerOf(addr)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if id == n.repo.id {
		return fmt.Errorf("%w: %s is this node's own address", ErrInvalid, addr)
	}
	n.core.KnowPeers()
	return n.editBook(func(w *network) error {
		w.remember(addr)
		if w.host == nil {
			return nil
		}
		return w.host.AddPeer(addr)
	})
}

// knownPeers returns the ids of the peers in the book, connected or not.
func (n *Node) knownPeers() ([]string, error) {
	book, err := readPeers(n.opts.Dir)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, a := range book.Peers {
		if id, err := p2p.PeerOf(a); err == nil && id != n.repo.id && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// RemovePeer forgets a peer, by its id or one of its addresses.
func (n *Node) RemovePeer(_ context.Context, idOrAddr string) error {
	return n.editBook(func(w *network) error {
		before := len(w.book.Peers)
		w.book.Peers = slices.DeleteFunc(w.book.Peers, func(a string) bool {
			id, err := p2p.PeerOf(a)
			return a == idOrAddr || err == nil && id == idOrAddr
		})
		if w.host != nil {
			if err := w.host.RemovePeer(idOrAddr); err == nil {
				return nil
			}
		}
		if len(w.book.Peers) == before {
			return fmt.Errorf("%w: peer %s", ErrNotFound, idOrAddr)
		}
		return nil
	})
}

// editBook changes the peer book and writes it.
func (n *Node) editBook(f func(w *network) error) error {
	w := n.net
	if w == nil {
		w = newNetwork(n)
		var err error
		if w.book, err = readPeers(n.opts.Dir); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := f(w); err != nil {
		return err
	}
	return w.writeBook()
}
