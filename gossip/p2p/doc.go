// Package p2p moves bytes between nodes: it is the libp2p adapter, and the only
// importer of libp2p. It knows connections, streams, topics and addresses, and
// nothing of entries, vectors or convergence: what to say, to whom and when is
// decided by package gossip and carried out by package node, which hands this
// package frames and messages and implements [Handler].
//
// # The network
//
// A [Host] speaks TCP inside a libp2p pre-shared-key network, secured by Noise
// and multiplexed by Yamux. Whoever lacks the network key cannot finish the
// first handshake. Peer identities are Ed25519 keys; any other kind is refused
// when the handshake shows it. There is no NAT mapping, relay, hole punching,
// AutoNAT, mDNS or public bootstrap: a host listens where it is told and dials
// the addresses it was given or learnt from peers.
//
// # Sync streams
//
// On each new connection the side that dialled opens one bidirectional stream,
// protocol /rhizome/sync/1, on exactly that connection; the pair is a [Session].
// A session, not a peer id, is the unit of conversation: two processes that
// share an identity by accident (a copied repo) must not be conflated. Session
// and connection live and die together. Both directions carry frames:
//
//	uvarint length | length bytes
//
// A length over Config.MaxMessageBytes closes the session before anything is
// allocated for it. One goroutine reads and calls Handler.Received frame by
// frame, so a handler that blocks stops the stream (Yamux's window fills, then
// the sender's queue). One goroutine writes what Session.Send queued, many
// frames to a write. Send never blocks; a queue over 64 MiB closes the session,
// so a sender that streams much must watch Session.Queued.
//
// Opened is held back until the peer's topic subscriptions are known (for a
// peer that shares no topic: one second). What this node published before
// Opened is therefore part of the state that a sync begun in Opened compares,
// and what it publishes after is gossiped to that peer: nothing falls between.
//
// # Gossip
//
// Messages travel by gossipsub over a fixed list of topics, relayed only after
// Handler.Validate accepted them. Messages are neither signed nor attributed at
// this layer (StrictNoSign) and are identified by 16 bytes of the SHA-256 of
// topic and data. The content is signed by its authors and Validate checks that, so a
// second signature per message would buy nothing for some 15 µs to sign, 50 µs
// to verify on each hop, and a hundred bytes; and ids from content cannot be
// forged to shadow another's message, where (sender, sequence number) ids of
// unsigned messages could. The price: from is the neighbour that forwarded the
// message, not its origin, and the same bytes published twice within half a
// minute travel once.
//
// Gossip is best effort. Whatever exceeds a bound (the publishing budget, a
// peer's outbound queue, the queue to a slow handler) is dropped, counted and
// logged; anti-entropy over the sync streams brings it.
//
// # Dialling
//
// Known peers (given, or learnt by their connecting to us) are dialled until
// they are connected, and again after they are lost: within a second at first,
// backing off with jitter to 5 s while fewer than 8 peers are known, else to a
// minute. A peer that is connected is not dialled, nor is our own id.
//
// # Twins
//
// libp2p refuses to dial its own peer id, so a copied repo running beside its
// original would stay unnoticed. [Host.ProbeTwin] dials an address under a
// throw-away identity, expects our own identity there, and compares instance
// ids over /rhizome/twin/1:
//
//	far side:  instance (16)
//	prober:    instance (16) | Ed25519 signature over "rhizome twin 1" | far instance | own instance | throw-away peer id
//	far side:  1 when it believes it
//
// The signature keeps a member without the key from raising the alarm. Both
// sides then call Handler.Twin. The addresses that displaced us and those that
// carry our own id are probed at start and about every 30 s.
package p2p
