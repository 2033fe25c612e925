package backup

const (
	// maxHeaderBytes holds a thousand peers' addresses with room to spare.
	maxHeaderBytes = 1 << 20

	// blockBytes is about how much a block holds before compression: enough for
	// zstd to find what repeats, and little to hold in memory.
	blockBytes = 1 << 20

	// maxPairBytes bounds one pair. An entry takes 1 MiB; a row holds all
	// concurrent values of a register, 256 KiB each.
	maxPairBytes = 256 << 20

	// maxRawBytes bounds what a block holds: a pair may stand behind others
	// that do not fill a block.
	maxRawBytes = maxPairBytes + blockBytes

	// maxBlockBytes bounds a block's payload: what does not compress grows a
	// little.
	maxBlockBytes = maxRawBytes + maxRawBytes>>8 + 1024

	// readBytes is how much is read of a section at once, so that a length that
	// lies costs no more memory than there are bytes.
	readBytes = 4 << 20
)
