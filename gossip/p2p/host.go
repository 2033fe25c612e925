package p2p

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

// syncProtocol is the protocol of sync streams.
const syncProtocol = protocol.ID("/rhizome/sync/1")

// A Host is one libp2p endpoint with its sessions, topics and known peers. Its
// methods may be called from any goroutine.
type Host struct {
	cfg       Config
	log       *slog.Logger
	handler   Handler
	id        peer.ID
	net       host.Host
	gate      *gate
	gossip    *gossip
	peers     *peers
	twins     *twins
	displaced []multiaddr.Multiaddr

	started chan struct{}   // closed when nothing of New can fail any more
	ctx     context.Context // ends when Close begins
	cancel  context.CancelFunc

	// mu guards the fields below and orders tasks.Add before tasks.Wait.
	mu       sync.Mutex
	closed   bool
	sessions map[network.Conn]*Session // nil while the session is being opened
	lastID   uint64

	// tasks are all goroutines of ours and all calls into the handler.
	tasks sync.WaitGroup

	// done is closed when Close has finished with closeErr.
	done     chan struct{}
	closeErr error
}

// New starts a host: it joins the topics, listens, and begins to dial. The
// handler may be called before New returns, but not where New fails.
func New(cfg Config) (*Host, error) {
	addrs, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("p2p config: %w", err)
	}
	if cfg.Instance == ([16]byte{}) {
		rand.Read(cfg.Instance[:])
	}
	g := &gate{banned: make(map[peer.ID]time.Time)}
	n, err := newNetwork(&cfg, cfg.Key, g)
	if err != nil {
		return nil, fmt.Errorf("start network: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Host{
		cfg: cfg, log: cfg.Logger, handler: cfg.Handler,
		id: n.ID(), net: n, gate: g,
		started: make(chan struct{}), ctx: ctx, cancel: cancel,
		sessions: make(map[network.Conn]*Session),
		done:     make(chan struct{}),
	}
	h.peers = newPeers(h)
	h.twins = newTwins(h)
	if err := h.start(addrs); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// start wires everything up before the first connection can arrive.
func (h *Host) start(addrs []multiaddr.Multiaddr) error {
	var err error
	if h.gossip, err = newGossip(h); err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	if err := h.peers.watch(); err != nil {
		return fmt.Errorf("watch peers: %w", err)
	}
	h.net.Network().Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			h.peers.connected(c)
			if c.Stat().Direction == network.DirOutbound {
				h.spawn(func() { h.openSession(c) })
			}
		},
		DisconnectedF: func(_ network.Network, c network.Conn) { h.peers.disconnected(c) },
	})
	h.net.SetStreamHandler(syncProtocol, h.acceptSession)
	h.net.SetStreamHandler(twinProtocol, h.twins.accept)
	for _, s := range h.cfg.Peers {
		// A book of peers that has grown too long must not keep us from starting.
		if err := h.AddPeer(s); err != nil && !errors.Is(err, ErrSelf) {
			h.log.Warn("known peer is left out", "addr", s, "err", err)
		}
	}
	if h.displaced, err = listen(h.net.Network(), addrs); err != nil {
		return err
	}
	for _, a := range h.displaced {
		h.log.Warn("listen address is taken, using a free port", "addr", a, "now", h.Addrs())
	}
	h.twins.watch(h.displaced)
	close(h.started)
	h.spawn(h.peers.dialLoop)
	h.spawn(h.twins.probeLoop)
	return nil
}

// spawn runs f in a goroutine that Close waits for, unless Close has begun.
func (h *Host) spawn(f func()) bool {
	if !h.enter() {
		return false
	}
	go func() {
		defer h.tasks.Done()
		f()
	}()
	return true
}

// enter makes Close wait until tasks.Done; false once Close has begun.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.tasks.Add(1)
	return true
}

// awaitStart returns false if the host closes before it has started.
func (h *Host) awaitStart() bool {
	select {
	case <-h.started:
		return true
	case <-h.ctx.Done():
		return false
	}
}

// ID is the host's peer id.
func (h *Host) ID() string { return h.id.String() }

// Addrs are the addresses that we listen on, one for each interface where the
// listener has them all, with /p2p/.
func (h *Host) Addrs() []string {
	addrs, err := h.net.Network().InterfaceListenAddresses()
	if err != nil {
		addrs = h.net.Network().ListenAddresses()
	}
	return fullAddrs(h.id, addrs)
}

// Displaced lists the addresses of Config.Listen that were taken, so that a
// free port of the same address had to do.
func (h *Host) Displaced() []string {
	out := make([]string, len(h.displaced))
	for i, a := range h.displaced {
		out[i] = a.String()
	}
	return out
}

// Close ends all sessions, waits for every call into the handler and for all
// goroutines, and frees the ports. It may be called more than once.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		<-h.done
		return h.closeErr
	}
	h.closed = true
	open := make([]*Session, 0, len(h.sessions))
	for _, s := range h.sessions {
		if s != nil {
			open = append(open, s)
		}
	}
	h.mu.Unlock()

	h.cancel()
	for _, s := range open {
		s.Close(ErrClosed)
	}
	h.closeErr = h.net.Close()
	h.tasks.Wait()
	close(h.done)
	return h.closeErr
}

// openSession opens the sync stream on a connection that we dialled.
func (h *Host) openSession(c network.Conn) {
	stream, err := h.openStream(c, syncProtocol)
	if err != nil {
		if h.ctx.Err() == nil {
			h.log.Debug("open sync stream", "peer", c.RemotePeer(), "addr", c.RemoteMultiaddr(), "err", err)
		}
		c.Close()
		return
	}
	h.runSession(stream)
}

// openStream opens a stream on exactly this connection, where host.NewStream
// would take any connection to the peer.
func (h *Host) openStream(c network.Conn, proto protocol.ID) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(h.ctx, openTimeout)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("new stream: %w", err)
	}
	if err := s.SetDeadline(time.Now().Add(openTimeout)); err != nil {
		s.Reset()
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	if err := multistream.SelectProtoOrFail(proto, s); err != nil {
		s.Reset()
		return nil, fmt.Errorf("negotiate %s: %w", proto, err)
	}
	if err := errors.Join(s.SetProtocol(proto), s.SetDeadline(time.Time{})); err != nil {
		s.Reset()
		return nil, fmt.Errorf("set up stream: %w", err)
	}
	return s, nil
}

// acceptSession takes the one sync stream of a connection that was dialled by
// the far side.
func (h *Host) acceptSession(stream network.Stream) {
	if stream.Conn().Stat().Direction != network.DirInbound || !h.enter() {
		stream.Reset()
		return
	}
	defer h.tasks.Done()
	h.runSession(stream)
}

// runSession owns a stream until it and its connection are gone.
func (h *Host) runSession(stream network.Stream) {
	c := stream.Conn()
	defer c.Close()
	defer stream.Reset()

	h.mu.Lock()
	if _, twice := h.sessions[c]; twice || h.closed {
		h.mu.Unlock()
		return
	}
	h.lastID++
	s := &Session{
		id:       h.lastID,
		peer:     c.RemotePeer(),
		name:     c.RemotePeer().String(),
		addr:     fullAddr(c.RemotePeer(), c.RemoteMultiaddr()),
		outbound: c.Stat().Direction == network.DirOutbound,
		maxFrame: h.cfg.MaxMessageBytes,
		conn:     c,
		stream:   stream,
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	h.sessions[c] = nil
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.sessions, c)
	}()

	if !h.awaitStart() {
		return
	}
	h.gossip.awaitSubscribed(s.peer)

	h.mu.Lock()
	if h.closed || c.IsClosed() {
		h.mu.Unlock()
		return
	}
	h.sessions[c] = s
	h.mu.Unlock()

	h.log.Debug("session opened", "peer", s.name, "addr", s.addr, "outbound", s.outbound)
	s.run(h.handler, func() { h.peers.seen(s.peer) })
	h.peers.seen(s.peer)
	h.log.Debug("session closed", "peer", s.name, "addr", s.addr, "reason", s.reason)
}

// sessionsOf lists the open sessions with a peer.
func (h *Host) sessionsOf(id peer.ID) []*Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*Session
	for _, s := range h.sessions {
		if s != nil && s.peer == id {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *Session) int { return int(a.id) - int(b.id) })
	return out
}
