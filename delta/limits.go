package delta

// Every limit of an entry, with its reason. All are checked before anything
// of the size concerned is allocated. The limit of seqs is clock.MaxSeq, that
// of times clock.MaxTimestamp.
const (
	// MaxEntryBytes bounds header and body together: what one gossip message
	// can carry, and what a node must hold to check one signature.
	MaxEntryBytes = 1 << 20

	// MaxBodyBytes is what a header leaves of an entry.
	MaxBodyBytes = MaxEntryBytes - headerBytes

	// headerBytes is no less than the longest header block, of 153 bytes.
	headerBytes = 160

	// MaxValueBytes bounds one encoded value. Larger things belong in a blob
	// store, with a reference here.
	MaxValueBytes = 256 << 10

	// MaxEntityBytes and MaxPathBytes bound the key of a row, which every index
	// repeats.
	MaxEntityBytes = 1 << 10
	MaxPathBytes   = 4 << 10

	// MaxCreatorBytes bounds the creator's name.
	MaxCreatorBytes = 256

	// MaxDeps bounds the tips named by one entry; a node with more merges them
	// with filler entries first.
	MaxDeps = 256

	// MaxLanes bounds the lane table of one entry. A drop names each lane that
	// has survivors under its path; this many in one place is far beyond the
	// fleets that Rhizome is for, and takes a quarter of an entry.
	MaxLanes = 16 << 10

	// MaxDepth bounds the nesting of a value, so that no walk runs out of
	// stack.
	MaxDepth = 64
)
