package crdtside

import (
	"context"
	"errors"
	"fmt"

	crdt "github.com/ipfs/go-ds-crdt"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	libp2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const (
	topic = "bench"
	// queueLength lets gossipsub hold a burst; by default it drops what exceeds 32
	// messages.
	queueLength = 8192
)

// network is the libp2p host with gossipsub: TCP, Noise and Yamux as Rhizome
// has them, without the private network's second encryption and without limits.
type network struct {
	host        host.Host
	pubsub      *pubsub.PubSub
	broadcaster *crdt.PubSubBroadcaster
}

func newNetwork(ctx context.Context, listen string) (*network, error) {
	if listen == "" {
		listen = "127.0.0.1"
	}
	h, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/"+listen+"/tcp/0"),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(&libp2pnet.NullResourceManager{}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ForceReachabilityPrivate(),
		libp2p.Ping(false),
	)
	if err != nil {
		return nil, fmt.Errorf("start libp2p: %w", err)
	}
	ps, err := pubsub.NewGossipSub(ctx, h,
		pubsub.WithPeerOutboundQueueSize(queueLength), pubsub.WithValidateQueueSize(queueLength))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start gossipsub: %w", err), h.Close())
	}
	b, err := crdt.NewPubSubBroadcaster(ctx, ps, topic)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("join the topic: %w", err), h.Close())
	}
	return &network{host: h, pubsub: ps, broadcaster: b}, nil
}

func (n *network) address() string {
	return fmt.Sprintf("%s/p2p/%s", n.host.Addrs()[0], n.host.ID())
}

func (n *network) connect(ctx context.Context, address string) error {
	info, err := peer.AddrInfoFromString(address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return n.host.Connect(ctx, *info)
}

// subscribers is how many peers have the topic.
func (n *network) subscribers() int { return len(n.pubsub.ListPeers(topic)) }

func (n *network) close() error { return n.host.Close() }
