package p2p

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// gossip is a host's side of gossipsub.
//
// The way of a message is kept short: pubsub's validation worker calls Validate
// inline and puts what it accepts straight into the inbox, whose goroutine calls
// Gossiped. The topics are relayed, not subscribed to, so that nothing makes a
// second way through pubsub's event loop and a subscription's queue.
type gossip struct {
	h      *Host
	pubsub *pubsub.PubSub
	topics map[string]*pubsub.Topic
	inbox  chan gossiped

	inboxBytes atomic.Int64
	drops      drops
	carried    carried

	// mu guards the fields below.
	mu     sync.Mutex
	ready  map[peer.ID]*readiness
	budget budget
	bad    map[peer.ID]strikes
}

type gossiped struct {
	topic   string
	from    peer.ID
	decoded any
	bytes   int
}

// readiness says whether what we publish reaches a peer.
type readiness struct {
	outbound bool // our stream to it is open
	joined   int  // how many of our topics it has joined
	waiters  []chan struct{}

	// backlog estimates the bytes that pubsub holds for the peer, never above
	// what they are.
	backlog int
}

func (r *readiness) ok() bool { return r.outbound && r.joined > 0 }

func newGossip(h *Host) (*gossip, error) {
	g := &gossip{
		h:      h,
		topics: make(map[string]*pubsub.Topic),
		inbox:  make(chan gossiped, inboxMessages),
		ready:  make(map[peer.ID]*readiness),
		budget: budget{left: publishBurst, at: time.Now()},
		bad:    make(map[peer.ID]strikes),
	}
	params := pubsub.DefaultGossipSubParams()
	params.HeartbeatInterval = heartbeat
	params.HistoryLength = historyBeats
	params.HistoryGossip = gossipBeats
	var err error
	g.pubsub, err = pubsub.NewGossipSub(h.ctx, &meteredHost{Host: h.net, g: g},
		pubsub.WithGossipSubParams(params),
		pubsub.WithFloodPublish(true),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(h.cfg.Topics...)),
		pubsub.WithMaxMessageSize(h.cfg.MaxMessageBytes+rpcOverhead),
		pubsub.WithPeerOutboundQueueSize(outboundMessages),
		pubsub.WithValidateQueueSize(validateMessages),
		pubsub.WithSeenMessagesTTL(seenTTL),
		pubsub.WithRawTracer(&tracer{g: g}),
	)
	if err != nil {
		return nil, err
	}
	h.spawn(g.deliver)
	for _, name := range h.cfg.Topics {
		if err := g.join(name); err != nil {
			return nil, fmt.Errorf("join topic %q: %w", name, err)
		}
	}
	return g, nil
}

func (g *gossip) join(name string) error {
	t, err := g.pubsub.Join(name)
	if err != nil {
		return err
	}
	events, err := t.EventHandler()
	if err != nil {
		return err
	}
	if err := g.pubsub.RegisterTopicValidator(name, g.validate, pubsub.WithValidatorInline(true)); err != nil {
		return err
	}
	if _, err := t.Relay(); err != nil {
		return err
	}
	g.topics[name] = t
	g.h.spawn(func() {
		for {
			e, err := events.NextPeerEvent(g.h.ctx)
			if err != nil {
				return
			}
			g.onTopicEvent(e)
		}
	})
	return nil
}

// messageID identifies a message by its content.
func messageID(m *pb.Message) string {
	d := sha256.New()
	d.Write([]byte(m.GetTopic()))
	d.Write([]byte{0})
	d.Write(m.GetData())
	var sum [sha256.Size]byte
	return string(d.Sum(sum[:0])[:16])
}

// validate runs in pubsub's validation workers, one per processor.
func (g *gossip) validate(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == g.h.id {
		return pubsub.ValidationAccept // ours, being published
	}
	if !g.h.enter() {
		return pubsub.ValidationIgnore
	}
	defer g.h.tasks.Done()
	if !g.h.awaitStart() {
		return pubsub.ValidationIgnore
	}
	if len(m.Data) > g.h.cfg.MaxMessageBytes {
		g.strike(from)
		return pubsub.ValidationReject
	}
	decoded, v := g.h.handler.Validate(m.GetTopic(), from.String(), m.Data)
	switch v {
	case Accept:
		g.enqueue(gossiped{topic: m.GetTopic(), from: from, decoded: decoded, bytes: len(m.Data)})
		return pubsub.ValidationAccept
	case Keep:
		g.carried.delivered.Add(1)
		g.enqueue(gossiped{topic: m.GetTopic(), from: from, decoded: decoded, bytes: len(m.Data)})
		return pubsub.ValidationIgnore // which means to pubsub: tell nobody
	case Ignore:
		return pubsub.ValidationIgnore
	default:
		g.strike(from)
		return pubsub.ValidationReject
	}
}

// enqueue puts an accepted message into the inbox or drops it; it never blocks,
// so that a slow handler does not stop the relaying.
func (g *gossip) enqueue(m gossiped) {
	if g.inboxBytes.Add(int64(m.bytes)) <= inboxBytes {
		select {
		case g.inbox <- m:
			return
		default:
		}
	}
	g.inboxBytes.Add(-int64(m.bytes))
	g.dropped(&g.drops.inbox)
}

func (g *gossip) deliver() {
	for {
		select {
		case m := <-g.inbox:
			g.inboxBytes.Add(-int64(m.bytes))
			g.h.peers.seen(m.from)
			g.h.handler.Gossiped(m.topic, m.from.String(), m.decoded)
		case <-g.h.ctx.Done():
			return
		}
	}
}

// Publish sends data to all who joined the topic, and keeps a reference to it.
// The same data published again within half a minute is not sent again.
func (h *Host) Publish(topic string, data []byte) error {
	t, ok := h.gossip.topics[topic]
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknownTopic, topic)
	}
	if len(data) > h.cfg.MaxMessageBytes {
		return fmt.Errorf("%w: gossip of %d bytes, the limit is %d", ErrTooLarge, len(data), h.cfg.MaxMessageBytes)
	}
	if h.ctx.Err() != nil {
		return ErrClosed
	}
	if !h.gossip.spend(len(data)) {
		h.gossip.dropped(&h.gossip.drops.budget)
		return ErrCongested
	}
	if err := t.Publish(h.ctx, data); err != nil {
		if h.ctx.Err() != nil {
			return ErrClosed
		}
		return fmt.Errorf("publish on %q: %w", topic, err)
	}
	return nil
}

// budget is a token bucket of bytes.
type budget struct {
	left float64
	at   time.Time
}

func (g *gossip) spend(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	b := &g.budget
	b.left = min(publishBurst, b.left+publishRate*now.Sub(b.at).Seconds())
	b.at = now
	if b.left < float64(n) {
		return false
	}
	b.left -= float64(n)
	return true
}

// strikes counts a neighbour's rejected messages since a time.
type strikes struct {
	n     int
	since time.Time
}

// strike blames a neighbour for a rejected message.
func (g *gossip) strike(id peer.ID) {
	now := time.Now()
	g.mu.Lock()
	s := g.bad[id]
	if now.Sub(s.since) > strikesWindow {
		s = strikes{since: now}
	}
	s.n++
	out := s.n >= strikesMax
	if out || len(g.bad) >= maxPeers {
		delete(g.bad, id)
	} else {
		g.bad[id] = s
	}
	g.mu.Unlock()
	if !out {
		return
	}
	g.h.log.Warn("peer sent messages that must be rejected, keeping it out", "peer", id, "for", banned)
	g.h.gate.ban(id, now.Add(banned))
	g.h.spawn(func() { g.h.net.Network().ClosePeer(id) })
}
