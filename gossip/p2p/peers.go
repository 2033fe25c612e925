package p2p

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"
)

// peers is whom a host knows, and the loop that keeps it connected to them.
type peers struct {
	h    *Host
	wake chan struct{} // cap 1: a peer may be due

	// mu guards the fields below; nothing blocks while it is held.
	mu sync.Mutex
	// known holds every peer that has an address or a connection.
	known map[peer.ID]*known
	// removed peers are not learnt again until they are added.
	removed map[peer.ID]struct{}
	dials   int // under way
}

// known is one peer. It is dialled when it has addresses and no connection.
type known struct {
	addrs    []multiaddr.Multiaddr // the one that last worked first
	added    bool                  // by the caller, not learnt
	seen     time.Time
	conns    map[network.Conn]time.Time // since when
	dialling bool
	attempts int // since the last connection that settled
	next     time.Time
}

func newPeers(h *Host) *peers {
	return &peers{
		h:       h,
		wake:    make(chan struct{}, 1),
		known:   make(map[peer.ID]*known),
		removed: make(map[peer.ID]struct{}),
	}
}

// AddPeer adds an address (/…/tcp/…/p2p/…) to dial, at once if the peer is not
// connected. An address under our own id is ErrSelf, and from then on probed
// for a twin.
func (h *Host) AddPeer(addr string) error {
	info, err := parseAddr(addr)
	if err != nil {
		return err
	}
	if info.ID == h.id {
		h.twins.watch(info.Addrs)
		return ErrSelf
	}
	p := h.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.get(info.ID)
	if k == nil {
		return fmt.Errorf("more than %d peers are known", maxPeers)
	}
	delete(p.removed, info.ID)
	k.added = true
	for _, a := range info.Addrs {
		k.add(a)
	}
	k.attempts, k.next = 0, time.Time{}
	p.signal()
	return nil
}

// RemovePeer forgets a peer, given its id, or one address of it. A peer without
// addresses is not dialled, nor is its address learnt again until AddPeer. It
// may stay connected as long as it wishes.
func (h *Host) RemovePeer(idOrAddr string) error {
	var id peer.ID
	var addr multiaddr.Multiaddr
	if strings.HasPrefix(idOrAddr, "/") {
		info, err := parseAddr(idOrAddr)
		if err != nil {
			return err
		}
		id, addr = info.ID, info.Addrs[0]
	} else {
		var err error
		if id, err = peer.Decode(idOrAddr); err != nil {
			return fmt.Errorf("peer id %q: %w", idOrAddr, err)
		}
	}
	p := h.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.known[id]
	if k == nil {
		return fmt.Errorf("%w: %s", ErrUnknownPeer, id)
	}
	keep := slices.DeleteFunc(slices.Clone(k.addrs), func(a multiaddr.Multiaddr) bool { return addr == nil || a.Equal(addr) })
	if addr != nil && len(keep) == len(k.addrs) {
		return fmt.Errorf("%w: %s", ErrUnknownPeer, idOrAddr)
	}
	k.addrs = keep
	// What libp2p remembers would be dialled along with what we do.
	h.net.Peerstore().ClearAddrs(id)
	if len(keep) == 0 {
		k.added = false
		if len(p.removed) >= maxPeers {
			clear(p.removed)
		}
		p.removed[id] = struct{}{}
		p.forget(id, k)
	}
	return nil
}

// Peers lists the known peers by id.
func (h *Host) Peers() []PeerInfo {
	p := h.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]PeerInfo, 0, len(p.known))
	for id, k := range p.known {
		out = append(out, PeerInfo{ID: id.String(), Addrs: fullAddrs(id, k.addrs), Connected: len(k.conns) > 0, LastSeen: k.seen})
	}
	slices.SortFunc(out, func(a, b PeerInfo) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// get returns a peer's entry, making room for a new one by dropping the learnt
// peer that has been gone longest; nil if all are connected or were added.
// The caller holds p.mu.
func (p *peers) get(id peer.ID) *known {
	if k := p.known[id]; k != nil {
		return k
	}
	if len(p.known) >= maxPeers {
		var oldest peer.ID
		for id, k := range p.known {
			if len(k.conns) == 0 && !k.added && !k.dialling && (oldest == "" || k.seen.Before(p.known[oldest].seen)) {
				oldest = id
			}
		}
		if oldest == "" {
			return nil
		}
		delete(p.known, oldest)
	}
	k := &known{conns: make(map[network.Conn]time.Time)}
	p.known[id] = k
	return k
}

// forget drops a peer that has neither address nor connection.
func (p *peers) forget(id peer.ID, k *known) {
	if len(k.addrs) == 0 && len(k.conns) == 0 && !k.dialling {
		delete(p.known, id)
	}
}

func (k *known) add(a multiaddr.Multiaddr) {
	if len(k.addrs) < maxAddrsPerPeer && !slices.ContainsFunc(k.addrs, a.Equal) {
		k.addrs = append(k.addrs, a)
	}
}

// worked moves an address to the front.
func (k *known) worked(a multiaddr.Multiaddr) {
	if i := slices.IndexFunc(k.addrs, a.Equal); i > 0 {
		k.addrs = slices.Insert(slices.Delete(k.addrs, i, i+1), 0, a)
	}
}

func (p *peers) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// seen notes that a peer was heard.
func (p *peers) seen(id peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.known[id]; k != nil {
		k.seen = time.Now()
	}
}

func (p *peers) connected(c network.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.get(c.RemotePeer())
	if k == nil {
		return
	}
	now := time.Now()
	k.conns[c], k.seen = now, now
	if c.Stat().Direction == network.DirOutbound {
		if _, gone := p.removed[c.RemotePeer()]; !gone {
			k.add(c.RemoteMultiaddr())
			k.worked(c.RemoteMultiaddr())
		}
	}
}

func (p *peers) disconnected(c network.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.known[c.RemotePeer()]
	if k == nil {
		return
	}
	since, ok := k.conns[c]
	if !ok {
		return
	}
	delete(k.conns, c)
	now := time.Now()
	k.seen = now
	if now.Sub(since) >= settled {
		k.attempts = 0
	}
	if len(k.conns) == 0 {
		k.next = now.Add(backoff(k.attempts, len(p.known)))
		p.signal()
	}
	p.forget(c.RemotePeer(), k)
}

// watch learns where peers listen, from identify.
func (p *peers) watch() error {
	sub, err := p.h.net.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	p.h.spawn(func() {
		defer sub.Close()
		for {
			select {
			case e := <-sub.Out():
				if e, ok := e.(event.EvtPeerIdentificationCompleted); ok {
					p.learn(e)
				}
			case <-p.h.ctx.Done():
				return
			}
		}
	})
	return nil
}

func (p *peers) learn(e event.EvtPeerIdentificationCompleted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.known[e.Peer]
	if _, removed := p.removed[e.Peer]; removed || k == nil {
		return
	}
	for _, a := range learnable(e.ListenAddrs, e.Conn.RemoteMultiaddr()) {
		k.add(a)
	}
}

// backoff is the wait after the given number of attempts since the peer was
// last connected for good.
func backoff(attempts, known int) time.Duration {
	limit := backoffMany
	if known < fewPeers {
		limit = backoffFew
	}
	d := backoffFirst
	for i := 1; i < attempts && d < limit; i++ {
		d *= 2
	}
	d = min(d, limit)
	return d/2 + rand.N(d/2)
}

// dialLoop dials who is due and sleeps until the next is.
func (p *peers) dialLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.h.ctx.Done():
			return
		}
		timer.Reset(p.dialDue())
	}
}

// dialDue starts the dials that are due and returns the time to the next one.
func (p *peers) dialDue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, wait := time.Now(), backoffMany
	for id, k := range p.known {
		if len(k.addrs) == 0 || len(k.conns) > 0 || k.dialling {
			continue
		}
		if d := k.next.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		if p.dials >= maxDials {
			continue // the end of a dial wakes the loop
		}
		p.dials++
		k.dialling = true
		k.attempts++
		p.h.net.Peerstore().AddAddrs(id, k.addrs, peerstore.TempAddrTTL)
		if !p.h.spawn(func() { p.dial(id, k) }) {
			return wait
		}
	}
	return wait
}

func (p *peers) dial(id peer.ID, k *known) {
	if s, ok := p.h.net.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(id) // the back-off is ours
	}
	ctx, cancel := context.WithTimeout(network.WithDialPeerTimeout(p.h.ctx, dialTimeout), dialTimeout)
	defer cancel()
	_, err := p.h.net.Network().DialPeer(ctx, id)
	if err != nil && p.h.ctx.Err() == nil {
		p.h.log.Debug("dial", "peer", id, "err", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials--
	k.dialling = false
	k.next = time.Now().Add(backoff(k.attempts, len(p.known)))
	p.forget(id, k)
	p.signal()
}
