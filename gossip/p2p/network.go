package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
)

// newNetwork builds a libp2p host that does not listen yet.
func newNetwork(cfg *Config, key ed25519.PrivateKey, gate connmgr.ConnectionGater) (host.Host, error) {
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	limiter, err := newLimiter()
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(priv),
		libp2p.UserAgent("rhizome"),
		libp2p.NoListenAddrs,
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(limiter),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.ConnectionGater(gate),
		libp2p.DisableRelay(),
		libp2p.Ping(false),
		libp2p.DisableIdentifyAddressDiscovery(),
		// A fixed answer to "are we reachable" keeps AutoNAT's prober from starting.
		libp2p.ForceReachabilityPrivate(),
		libp2p.SwarmOpts(
			swarm.WithDialRanker(swarm.NoDelayDialRanker),
			swarm.WithDialTimeout(dialTimeout),
		),
		// Disabled metrics still register the event bus's with the global
		// registry unless another is set, which must come first.
		libp2p.PrometheusRegisterer(prometheus.NewRegistry()),
		libp2p.DisableMetrics(),
	}
	if len(cfg.Options) > 0 {
		opts = append(opts, cfg.Options...)
	} else {
		opts = append(opts,
			libp2p.PrivateNetwork(cfg.NetworkKey[:]),
			// With SO_REUSEPORT a second process would share the port in
			// silence instead of learning that it is taken.
			libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		)
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		limiter.Close()
		return nil, err
	}
	return h, nil
}

// newLimiter bounds connections and streams. It starts from libp2p's defaults,
// which scale with the machine's memory, and fixes what must not depend on it.
func newLimiter() (network.ResourceManager, error) {
	defaults := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&defaults)
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: maxConns, ConnsInbound: maxConns * 3 / 4, ConnsOutbound: maxConns, FD: maxConns,
			Streams: 16 * maxConns, StreamsInbound: 8 * maxConns, StreamsOutbound: 8 * maxConns,
			Memory: 512 << 20,
		},
		Transient: rcmgr.ResourceLimits{
			Conns: maxConns / 4, ConnsInbound: maxConns / 8, ConnsOutbound: maxConns / 8, FD: maxConns / 4,
			Streams: maxConns, StreamsInbound: maxConns / 2, StreamsOutbound: maxConns / 2,
			Memory: 64 << 20,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: maxConnsPerPeer, ConnsInbound: maxConnsPerPeer, ConnsOutbound: maxConnsPerPeer, FD: maxConnsPerPeer,
			Streams: 16 * maxConnsPerPeer, StreamsInbound: 8 * maxConnsPerPeer, StreamsOutbound: 8 * maxConnsPerPeer,
			Memory: 128 << 20,
		},
	}.Build(defaults.AutoScale())
	m, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		// libp2p's own limit is 8 per address, too few for a site behind one NAT.
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: maxConns / 4}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: maxConns / 4}, {PrefixLength: 48, ConnCount: maxConns / 2}},
		),
	)
	if err != nil {
		return nil, fmt.Errorf("resource manager: %w", err)
	}
	return m, nil
}

// listen opens one listener per address and returns the addresses that were
// taken and had to be replaced by a free port.
func listen(n network.Network, addrs []multiaddr.Multiaddr) (displaced []multiaddr.Multiaddr, err error) {
	for _, a := range addrs {
		err := n.Listen(a)
		if err == nil {
			continue
		}
		free, ok := anyPort(a)
		if !ok || !portTaken(err) {
			return displaced, fmt.Errorf("listen on %s: %w", a, err)
		}
		if err := n.Listen(free); err != nil {
			return displaced, fmt.Errorf("listen on %s: %w", free, err)
		}
		displaced = append(displaced, a)
	}
	return displaced, nil
}

// portTaken tells a taken port from other failures. Swarm.Listen flattens its
// errors into text, so their chain is lost.
func portTaken(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), syscall.EADDRINUSE.Error())
}

// anyPort returns a with its TCP or UDP port replaced by 0; ok is false if it
// has none or has 0 already.
func anyPort(a multiaddr.Multiaddr) (free multiaddr.Multiaddr, ok bool) {
	for _, c := range a {
		switch code := c.Protocol().Code; {
		case (code == multiaddr.P_TCP || code == multiaddr.P_UDP) && !ok:
			zero, err := multiaddr.NewComponent(c.Protocol().Name, "0")
			if err != nil || c.Value() == "0" {
				return nil, false
			}
			free, ok = append(free, *zero), true
		default:
			free = append(free, c)
		}
	}
	return free, ok
}

// A gate refuses identities that are not Ed25519 keys, and for a while peers
// that sent what must be rejected.
type gate struct {
	mu     sync.Mutex
	banned map[peer.ID]time.Time // until when

	beforeDial func() // for tests; nil does nothing
}

func (g *gate) ban(id peer.ID, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.banned) >= maxPeers {
		clear(g.banned) // a thousand liars at once: forgive rather than grow
	}
	g.banned[id] = until
}

func (g *gate) allowed(id peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, ok := g.banned[id]
	if ok && !time.Now().Before(until) {
		delete(g.banned, id)
		ok = false
	}
	return !ok
}

// isEd25519 holds for ids that embed an Ed25519 key. The ids of larger keys are
// hashes, from which no key can be extracted.
func isEd25519(id peer.ID) bool {
	k, err := id.ExtractPublicKey()
	return err == nil && k.Type() == pb.KeyType_Ed25519
}

func (g *gate) InterceptPeerDial(id peer.ID) bool { return isEd25519(id) && g.allowed(id) }

func (g *gate) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool {
	if g.beforeDial != nil {
		g.beforeDial()
	}
	return true
}

func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

func (g *gate) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return isEd25519(id) && g.allowed(id)
}

func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
