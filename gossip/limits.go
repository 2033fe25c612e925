package gossip

import (
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/oplog"
)

const (
	// MaxMessageBytes bounds one message of the sync protocol: a chunk of the
	// largest size with one entry of the largest size on top.
	MaxMessageBytes = 6 << 20

	// chunkTargetBytes is where a chunk ends if it may: enough to spread the
	// cost of a commit, little enough to stay far below memory limits.
	chunkTargetBytes = 512 << 10

	// chunkMaxBytes bounds the entries between two signatures of a lane.
	chunkMaxBytes = 4 << 20

	// maxChunkEntries bounds the entries of one chunk whatever their size, and
	// so those between two signatures of a lane: a fork proof must reach from
	// any entry to the next signature.
	maxChunkEntries = oplog.MaxChain

	// chunkWindow is how many chunks may be on their way to one peer.
	chunkWindow = 4

	// maxAddrs and maxAddrBytes bound the addresses in one message.
	maxAddrs     = 256
	maxAddrBytes = 512

	// maxBuckets and maxMarks bound the join of two states: a bucket holds some
	// 4,096 survivors, more than 2^16 buckets are never made, and one message
	// lists no more marks than fit it. What is left over, the next comparison
	// finds.
	maxBuckets      = 1 << 16
	bucketSurvivors = 4096
	maxMarks        = 1 << 18

	// maxRemembered bounds the ended sessions that are remembered, at two
	// vectors each.
	maxRemembered = 64

	// maxForeignLanes bounds the lanes that a peer's vector may have beyond
	// ours: what is made up costs memory here.
	maxForeignLanes = 1 << 17

	// headsPerPage is how many lanes one page of a vector carries.
	headsPerPage = 4096

	// manyEntries is from how many entries on a fresh peer is served the state
	// where that is less.
	manyEntries = 1024

	// maxLinks bounds the neighbours that a peer tells of: more than it may have
	// connections.
	maxLinks = 1024

	// MaxPublishBytes is the size up to which entries are put together in one
	// gossip message.
	MaxPublishBytes = 256 << 10

	// maxPublishedPlain bounds a message's decompressed size: what was put together
	// up to that size, and one entry of the largest more, with its head.
	maxPublishedPlain = MaxPublishBytes + delta.MaxEntryBytes + 1<<10
)

// Times of the protocol, in milliseconds of the caller's clock.
const (
	// rootSoonMillis is how long after a change a peer is told the new root.
	// Gossip spreads the change itself at once; this finds what it lost.
	rootSoonMillis = 500

	// rootIdleMillis is how often a peer is asked when nothing changes.
	rootIdleMillis = 10_000

	// gapMillis is how long an entry may wait for its causes before peers are
	// asked for them.
	gapMillis = 200

	// lackMillis is how long a small lack may be gossip still on its way.
	lackMillis = 150

	// fewEntries is what lackMillis is granted for; more is a gap for sure.
	fewEntries = 64

	// stallMillis is how long a pull may bring nothing before another peer is
	// asked, and a search for a fork before it is given up.
	stallMillis = 10_000

	// stateStallMillis is the same for a pull that is answered with a state:
	// both sides read all of theirs between two messages.
	stateStallMillis = 60_000

	// retryMillis is how long a peer is left alone after a pull from it came
	// to nothing; it doubles each time, up to rootIdleMillis.
	retryMillis = 250

	// probeAllMillis is how often at most all peers are compared with anew
	// because of what came by publication.
	probeAllMillis = 1_000
)
