package delta

// Every limit of an entry, with its reason. All are checked before anything
// of the size concerned is allocated.
const (
	// MaxEntryBytes bounds header and body together: what one gossip message
	// can carry, and what a node must hold to check one signature.
	MaxEntryBytes = 1 << 20

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

	// MaxLanes bounds the lane table of one entry: what MaxEntryBytes holds
	// at 16 bytes each is far more than any drop meets.
	MaxLanes = 16 << 10

	// MaxDepth bounds the nesting of a value, so that no walk runs out of
	// stack.
	MaxDepth = 64
)
