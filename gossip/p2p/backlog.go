package p2p

import (
	"context"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Pubsub bounds what it queues for a peer by the number of messages, not by
// their size: eight thousand small ones must fit, as many of a megabyte must
// not. So the bytes are counted here: in where pubsub queues them, out where it
// writes them to the peer's stream. What is written beside messages (control,
// framing) is counted too, so the estimate errs on the low side.

// queued notes n bytes that pubsub queued for a peer, and ends the connections
// to a peer that takes them too slowly.
func (g *gossip) queued(id peer.ID, n int) {
	if n == 0 {
		return
	}
	g.mu.Lock()
	r := g.peerReadiness(id)
	before := r.backlog
	r.backlog += n
	over := before <= maxBacklogBytes && r.backlog > maxBacklogBytes
	g.mu.Unlock()
	if over {
		g.h.log.Warn("peer takes gossip too slowly, reconnecting", "peer", id, "bytes", maxBacklogBytes)
		g.dropped(&g.drops.outbound)
		g.h.spawn(func() { g.h.net.Network().ClosePeer(id) })
	}
}

// written notes n bytes that left for a peer.
func (g *gossip) written(id peer.ID, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.ready[id]; r != nil {
		r.backlog = max(0, r.backlog-n)
	}
}

// meteredHost is the host as pubsub sees it.
type meteredHost struct {
	host.Host
	g *gossip
}

// NewStream opens the stream on which pubsub writes to a peer.
func (m *meteredHost) NewStream(ctx context.Context, id peer.ID, protos ...protocol.ID) (network.Stream, error) {
	s, err := m.Host.NewStream(ctx, id, protos...)
	if err != nil {
		return nil, err
	}
	return &meteredStream{Stream: s, id: id, g: m.g}, nil
}

type meteredStream struct {
	network.Stream
	id peer.ID
	g  *gossip
}

func (m *meteredStream) Write(b []byte) (int, error) {
	n, err := m.Stream.Write(b)
	m.g.carried.bytes.Add(uint64(n))
	m.g.written(m.id, n)
	return n, err
}
