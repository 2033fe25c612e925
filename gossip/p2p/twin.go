package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

// twinProtocol is the protocol of the probes; see the package doc.
const (
	twinProtocol = protocol.ID("/rhizome/twin/1")
	twinContext  = "rhizome twin 1"
	instanceSize = 16
)

// twins looks for other processes that have our identity.
type twins struct {
	h *Host

	mu    sync.Mutex
	addrs []multiaddr.Multiaddr // to probe, without /p2p/
}

func newTwins(h *Host) *twins { return &twins{h: h} }

// watch adds addresses at which our identity may be met.
func (t *twins) watch(addrs []multiaddr.Multiaddr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range addrs {
		a = onLoopback(a)
		if len(t.addrs) < maxTwinAddrs && !slices.ContainsFunc(t.addrs, a.Equal) {
			t.addrs = append(t.addrs, a)
		}
	}
}

// probeLoop probes all watched addresses at start and every half minute or so.
func (t *twins) probeLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-t.h.ctx.Done():
			return
		}
		t.mu.Lock()
		addrs := slices.Clone(t.addrs)
		t.mu.Unlock()
		ours, err := t.h.net.Network().InterfaceListenAddresses()
		if err != nil {
			ours = t.h.net.Network().ListenAddresses()
		}
		for _, a := range addrs {
			if slices.ContainsFunc(ours, a.Equal) {
				continue
			}
			if _, err := t.probe(t.h.ctx, a); err != nil && t.h.ctx.Err() == nil {
				t.h.log.Debug("probe for a twin", "addr", a, "err", err)
			}
		}
		timer.Reset(twinInterval/2 + mathrand.N(twinInterval))
	}
}

// ProbeTwin says whether another process with our identity answers at addr,
// with or without a /p2p/ that is ours. Both then hear of it by Handler.Twin.
// An error means that nobody with our identity in our network answered.
func (h *Host) ProbeTwin(ctx context.Context, addr string) (bool, error) {
	a, err := multiaddr.NewMultiaddr(addr)
	if err != nil {
		return false, fmt.Errorf("address %q: %w", addr, err)
	}
	where, id := peer.SplitAddr(a)
	if where == nil {
		return false, fmt.Errorf("address %q says who but not where", addr)
	}
	if id != "" && id != h.id {
		return false, fmt.Errorf("address %q is not under our own id", addr)
	}
	if !h.enter() {
		return false, ErrClosed
	}
	defer h.tasks.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	return h.twins.probe(ctx, onLoopback(where))
}

// probe asks who is at addr; the caller is one of the host's tasks.
func (t *twins) probe(ctx context.Context, addr multiaddr.Multiaddr) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return false, fmt.Errorf("throw-away identity: %w", err)
	}
	n, err := newNetwork(&t.h.cfg, key, &gate{banned: make(map[peer.ID]time.Time)})
	if err != nil {
		return false, fmt.Errorf("throw-away network: %w", err)
	}
	defer n.Close()
	n.Peerstore().AddAddrs(t.h.id, []multiaddr.Multiaddr{addr}, peerstore.TempAddrTTL)
	c, err := n.Network().DialPeer(ctx, t.h.id)
	if err != nil {
		return false, err
	}
	s, err := c.NewStream(ctx)
	if err != nil {
		return false, fmt.Errorf("new stream: %w", err)
	}
	defer s.Reset()
	deadline, _ := ctx.Deadline()
	if err := s.SetDeadline(deadline); err != nil {
		return false, fmt.Errorf("set deadline: %w", err)
	}
	// A caller who gives up should not wait for the deadline.
	defer context.AfterFunc(ctx, func() { s.Reset() })()
	if err := multistream.SelectProtoOrFail(twinProtocol, s); err != nil {
		return false, fmt.Errorf("negotiate %s: %w", twinProtocol, err)
	}
	var far [instanceSize]byte
	if _, err := io.ReadFull(s, far[:]); err != nil {
		return false, fmt.Errorf("read instance: %w", err)
	}
	if far == t.h.cfg.Instance {
		return false, nil // ourselves
	}
	own := t.h.cfg.Instance
	answer := append(own[:], ed25519.Sign(t.h.cfg.Key, twinProof(far, t.h.cfg.Instance, n.ID()))...)
	if _, err := s.Write(answer); err != nil {
		return false, fmt.Errorf("write instance: %w", err)
	}
	var ok [1]byte
	if _, err := io.ReadFull(s, ok[:]); err != nil || ok[0] != 1 {
		return false, errors.Join(errors.New("the far side did not acknowledge"), err)
	}
	t.h.handler.Twin(fullAddr(t.h.id, addr))
	return true, nil
}

// accept answers a probe.
func (t *twins) accept(s network.Stream) {
	defer s.Reset()
	if !t.h.enter() {
		return
	}
	defer t.h.tasks.Done()
	if !t.h.awaitStart() {
		return
	}
	if err := s.SetDeadline(time.Now().Add(openTimeout)); err != nil {
		return
	}
	if _, err := s.Write(t.h.cfg.Instance[:]); err != nil {
		return
	}
	var answer [instanceSize + ed25519.SignatureSize]byte
	if _, err := io.ReadFull(s, answer[:]); err != nil {
		return // also the way of one who met himself
	}
	far := [instanceSize]byte(answer[:instanceSize])
	prober := s.Conn().RemotePeer()
	pub := t.h.cfg.Key.Public().(ed25519.PublicKey)
	if far == t.h.cfg.Instance || !ed25519.Verify(pub, twinProof(t.h.cfg.Instance, far, prober), answer[instanceSize:]) {
		t.h.log.Debug("bad twin probe", "peer", prober, "addr", s.Conn().RemoteMultiaddr())
		return
	}
	if _, err := s.Write([]byte{1}); err != nil {
		return
	}
	s.CloseWrite()
	t.h.handler.Twin(fullAddr(t.h.id, s.Conn().RemoteMultiaddr()))
}

// twinProof is what a prober signs: the instance it probes, its own, and the
// identity under which it asks, so that a proof cannot be used by another.
func twinProof(probed, prober [instanceSize]byte, as peer.ID) []byte {
	proof := append([]byte(twinContext), probed[:]...)
	proof = append(proof, prober[:]...)
	return append(proof, as...)
}
