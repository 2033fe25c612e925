package server

import "time"

const (
	// maxBodyBytes bounds the body of a request that is read whole: an entry
	// takes 1 MiB, and JSON with escapes can be several times its size.
	maxBodyBytes = 8 << 20

	// maxLineBytes bounds one line of an import: a WebAssembly module in base64
	// takes most, and any other line is one transaction.
	maxLineBytes = 12 << 20

	// maxBatchDocs and maxBatchBytes bound what an import commits at once: far
	// under the entry limit, and enough to share an fsync.
	maxBatchDocs  = 500
	maxBatchBytes = 256 << 10

	// maxPage bounds the items of one page of keys or of the log.
	maxPage = 10_000

	// maxStreams bounds the streams that are open at once.
	maxStreams = 256

	maxHeaderBytes = 64 << 10
	headerTimeout  = 10 * time.Second
	requestTimeout = 30 * time.Second
	idleTimeout    = 2 * time.Minute

	// stallTimeout is how long a stream waits for its reader to take
	// something.
	stallTimeout = 30 * time.Second

	// lingerTimeout is how long an import that failed waits for its client to
	// stop sending.
	lingerTimeout = 5 * time.Second

	// progressInterval is how often an import or verify tells how far it got.
	progressInterval = 200 * time.Millisecond
)
