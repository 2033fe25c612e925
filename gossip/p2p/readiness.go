package p2p

import (
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// peerReadiness returns a peer's entry; the caller holds g.mu.
func (g *gossip) peerReadiness(id peer.ID) *readiness {
	r := g.ready[id]
	if r == nil {
		r = new(readiness)
		g.ready[id] = r
	}
	return r
}

// update changes a peer's readiness and wakes those who wait for it.
func (g *gossip) update(id peer.ID, change func(*readiness)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.peerReadiness(id)
	change(r)
	if r.ok() {
		for _, w := range r.waiters {
			close(w)
		}
		r.waiters = nil
	}
	if !r.outbound && r.joined == 0 && len(r.waiters) == 0 {
		delete(g.ready, id)
	}
}

// awaitSubscribed returns when what we publish reaches the peer, or when
// waiting any longer is not worth it.
func (g *gossip) awaitSubscribed(id peer.ID) {
	if len(g.topics) == 0 {
		return
	}
	ready := make(chan struct{})
	g.update(id, func(r *readiness) { r.waiters = append(r.waiters, ready) })
	timeout := time.NewTimer(subscribedWait)
	defer timeout.Stop()
	select {
	case <-ready:
		return
	case <-timeout.C:
	case <-g.h.ctx.Done():
	}
	g.update(id, func(r *readiness) {
		for i, w := range r.waiters {
			if w == ready {
				r.waiters = append(r.waiters[:i], r.waiters[i+1:]...)
				return
			}
		}
	})
}

func (g *gossip) onTopicEvent(e pubsub.PeerEvent) {
	switch e.Type {
	case pubsub.PeerJoin:
		g.update(e.Peer, func(r *readiness) { r.joined++ })
	case pubsub.PeerLeave:
		g.update(e.Peer, func(r *readiness) { r.joined = max(0, r.joined-1) })
		g.h.spawn(func() { g.healLost(e.Peer) })
	}
}

// healLost starts afresh with a peer that is connected and yet has left our
// topics. No host of ours ever leaves a topic; but pubsub keeps one stream each
// way per peer, and when one of two connections to a peer dies it forgets the
// peer's subscriptions, which the peer, whose own stream may live on the other
// connection, does not repeat.
func (g *gossip) healLost(id peer.ID) {
	before := g.h.sessionsOf(id)
	wait := time.NewTimer(subscribedWait)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-g.h.ctx.Done():
		return
	}
	g.mu.Lock()
	r := g.ready[id]
	back := r != nil && r.joined > 0
	g.mu.Unlock()
	if back {
		return
	}
	for _, s := range before {
		s.Close(errUnsubscribed)
	}
}

// Dropped counts gossip that was not sent or not delivered; anti-entropy must
// bring it.
type Dropped struct {
	Budget   uint64 // refused by Publish
	Outbound uint64 // a peer's queue was full
	Validate uint64 // the queue before the validators was full
	Inbox    uint64 // Handler.Gossiped was too slow
}

type drops struct {
	budget, outbound, validate, inbox atomic.Uint64
	warned                            atomic.Int64 // unix nanoseconds
}

// Dropped says how much gossip was dropped so far.
func (h *Host) Dropped() Dropped {
	d := &h.gossip.drops
	return Dropped{Budget: d.budget.Load(), Outbound: d.outbound.Load(), Validate: d.validate.Load(), Inbox: d.inbox.Load()}
}

// Carried counts what gossip brought and took.
type Carried struct {
	Delivered  uint64 // messages of others, each once
	Duplicates uint64 // copies beyond the first
	Copies     uint64 // messages sent, own and relayed, to each peer
	Bytes      uint64 // sent, control messages included
}

type carried struct {
	delivered, duplicates, copies, bytes atomic.Uint64
}

// Carried says what gossip has carried so far.
func (h *Host) Carried() Carried {
	c := &h.gossip.carried
	return Carried{Delivered: c.delivered.Load(), Duplicates: c.duplicates.Load(), Copies: c.copies.Load(), Bytes: c.bytes.Load()}
}

// dropped counts, and warns at most every ten seconds.
func (g *gossip) dropped(counter *atomic.Uint64) {
	counter.Add(1)
	now, last := time.Now().UnixNano(), g.drops.warned.Load()
	if now-last > int64(10*time.Second) && g.drops.warned.CompareAndSwap(last, now) {
		g.h.log.Warn("gossip is dropped, anti-entropy will repair it", "dropped", g.h.Dropped())
	}
}

// tracer listens to pubsub for what it tells nobody else. Its methods run in
// pubsub's event loop or validation workers.
type tracer struct{ g *gossip }

func (t *tracer) OnNewOutboundStream(id peer.ID, _ protocol.ID) {
	t.g.update(id, func(r *readiness) { r.outbound = true })
}

func (t *tracer) OnClosedOutboundStream(id peer.ID) {
	t.g.update(id, func(r *readiness) { r.outbound, r.backlog = false, 0 })
}

func (t *tracer) RejectMessage(_ *pubsub.Message, reason string) {
	if reason == pubsub.RejectValidationQueueFull || reason == pubsub.RejectValidationThrottled {
		t.g.dropped(&t.g.drops.validate)
	}
}

func (t *tracer) SendRPC(rpc *pubsub.RPC, id peer.ID) {
	n := 0
	for _, m := range rpc.GetPublish() {
		n += len(m.GetData())
	}
	t.g.queued(id, n)
	t.g.carried.copies.Add(uint64(len(rpc.GetPublish())))
}

func (t *tracer) DropRPC(rpc *pubsub.RPC, _ peer.ID) {
	if len(rpc.GetPublish()) > 0 {
		t.g.dropped(&t.g.drops.outbound)
	}
}

func (t *tracer) DeliverMessage(m *pubsub.Message) {
	if m.ReceivedFrom != t.g.h.id {
		t.g.carried.delivered.Add(1)
	}
}

func (t *tracer) DuplicateMessage(*pubsub.Message) { t.g.carried.duplicates.Add(1) }

func (t *tracer) Join(string)                          {}
func (t *tracer) Leave(string)                         {}
func (t *tracer) Graft(peer.ID, string)                {}
func (t *tracer) Prune(peer.ID, string)                {}
func (t *tracer) ValidateMessage(*pubsub.Message)      {}
func (t *tracer) ThrottlePeer(peer.ID)                 {}
func (t *tracer) RecvRPC(*pubsub.RPC)                  {}
func (t *tracer) UndeliverableMessage(*pubsub.Message) {}
