package oplog

const (
	// MaxPendingEntries bounds what waits for its causes, for each author, so
	// that one cannot crowd out the others. What does not fit is dropped;
	// anti-entropy brings it again.
	MaxPendingEntries = 1024

	// MaxPendingBytes bounds the same, of all authors together.
	MaxPendingBytes = 16 << 20

	// pendingOverhead is what each entry that waits counts for besides its
	// body: the least that it takes in memory. Without it, empty entries of
	// made-up authors would be as good as unbounded.
	pendingOverhead = 512

	// MaxChain bounds the headers of one side of a fork proof. Between two
	// signatures stand at most 4 MiB of entries; a chain longer than this is
	// proved at a later seq instead.
	MaxChain = 4096

	// MaxTips is how many tips a replica may have before it joins them by
	// filler entries: what one entry can name.
	MaxTips = 256
)
