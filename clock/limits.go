package clock

import "math"

const (
	// MaxSeq bounds the number of an entry in its lane. Formats that know only
	// signed integers can hold it, and sums of two do not wrap. At a billion
	// entries a second a lane reaches it in three centuries.
	MaxSeq = math.MaxInt64

	// MaxHeads bounds one encoded page of a vector, so that a peer cannot make
	// us hold more than a page before we look at it.
	MaxHeads = 4096

	// MaxSkewMillis is how far ahead of ours another clock may be and still
	// move ours. Five minutes is what Kerberos tolerates, and far above what
	// hosts with any time service show.
	MaxSkewMillis = 5 * 60 * 1000
)
