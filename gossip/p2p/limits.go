package p2p

import "time"

const (
	// defaultMessageBytes bounds a frame and a gossip message: the largest
	// entry (1 MiB) or bulk run (4 MiB between two signatures) and its envelope.
	defaultMessageBytes = 5 << 20

	// maxQueueBytes bounds what one session holds for a peer that does not
	// read. A reader that is this far behind will not catch up by waiting.
	maxQueueBytes = 64 << 20

	// frameOverhead is what a queued frame costs beside its bytes, so that a
	// flood of tiny frames is bounded too.
	frameOverhead = 64

	// writeBufferBytes is how many small frames go into one write, and
	// readBufferBytes the same on the way in. Yamux sends at most 64 KiB a piece.
	writeBufferBytes = 32 << 10
	readBufferBytes  = 16 << 10

	// firstReadBytes is allocated on the word of a length prefix alone; beyond
	// it a frame's buffer grows with what has arrived.
	firstReadBytes = 64 << 10

	// openTimeout bounds the negotiation of a stream on a live connection.
	openTimeout = 10 * time.Second

	// subscribedWait is how long Opened waits for the peer's subscriptions.
	subscribedWait = time.Second

	// maxConns bounds connections, in both directions together. A frame buffer,
	// a Yamux window and a Noise state hang on each.
	maxConns = 512

	// maxConnsPerPeer leaves room for simultaneous dials and for a twin.
	maxConnsPerPeer = 8

	// maxPeers bounds the known peers and maxAddrsPerPeer what is kept of each:
	// all of it is learnt from others.
	maxPeers        = 1024
	maxAddrsPerPeer = 16

	// maxTwinAddrs bounds the addresses under our own id that are probed.
	maxTwinAddrs = 16

	// maxDials bounds concurrent dials.
	maxDials = 16

	// fewPeers, the caps of the back-off and its start: see the package doc.
	fewPeers     = 8
	backoffFirst = 500 * time.Millisecond
	backoffFew   = 5 * time.Second
	backoffMany  = time.Minute

	// dialTimeout bounds one attempt over all addresses of a peer.
	dialTimeout = 10 * time.Second

	// settled is how long a connection must have lived to count as a success
	// that resets the back-off, so that a peer with which every session ends
	// at once is not dialled in a tight loop.
	settled = 10 * time.Second

	// twinInterval is the mean time between two rounds of twin probes.
	twinInterval = 30 * time.Second

	// Gossip. outboundMessages is each peer's queue and validateMessages the
	// queue before the validators: a burst of 5,000 messages must fit.
	outboundMessages = 8192
	validateMessages = 8192

	// maxBacklogBytes of gossip wait for one peer; it is enforced by ending the
	// connection, after which the peer catches up over the sync stream.
	maxBacklogBytes = 64 << 20

	// inboxMessages and inboxBytes bound what waits for Handler.Gossiped.
	inboxMessages = 16384
	inboxBytes    = 64 << 20

	// publishBurst and publishRate are the budget of Publish in bytes and
	// bytes per second. Gossipsub keeps published messages for some seconds
	// and queues them per peer by count, not size; bulk belongs on the sync
	// streams, which have back-pressure.
	publishBurst = 32 << 20
	publishRate  = 16 << 20

	// heartbeat is gossipsub's. Shorter than the default second, because a new
	// peer is grafted into the mesh, and so gets what we relay, at a heartbeat.
	heartbeat = 200 * time.Millisecond

	// historyBeats is for how many heartbeats a message is kept for peers that
	// ask for it, and gossipBeats for how many it is advertised to them.
	historyBeats = 15
	gossipBeats  = 10

	// seenTTL is how long a message id is remembered. It must exceed the time
	// a message may circulate (history included); each id costs some 200 bytes.
	seenTTL = 30 * time.Second

	// rpcOverhead is what a gossipsub RPC adds to the message it carries.
	rpcOverhead = 64 << 10

	// strikesMax rejected messages within strikesWindow from one neighbour,
	// who should have validated them, close its connections and keep it out
	// for banned.
	strikesMax    = 16
	strikesWindow = time.Minute
	banned        = time.Minute
)
