package simnet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"time"
)

type eventKind uint8

// The kinds of events.
const (
	evTick    eventKind = 1 + iota // a replica's timer
	evFrame                        // a session message arrives
	evGossip                       // a published message arrives
	evDurable                      // a commit reaches the disk
	evWork                         // the workload acts
	evFault                        // a fault begins or ends
	evConnect                      // a dial
	evCheck                        // invariants are checked
	evBroken                       // a session's end is noticed
	lastEvent = evBroken
)

var eventNames = [...]string{"", "tick", "frame", "gossip", "durable", "work", "fault", "connect", "check", "broken"}

func (k eventKind) String() string { return eventNames[k] }

// A tracer hashes all that happens, and writes it down where wanted. Equal
// hashes mean equal runs.
type tracer struct {
	sum hash.Hash
	buf []byte
	out io.Writer // nil unless a trace was asked for
	n   uint64    // events so far
}

func newTracer(out io.Writer) *tracer {
	return &tracer{sum: sha256.New(), out: out}
}

// note adds an event: when, what, at which host, and a number that says more
// (a message's hash, a count).
func (t *tracer) note(at time.Duration, k eventKind, host int, detail uint64) {
	t.buf = binary.AppendUvarint(t.buf, uint64(at))
	t.buf = append(t.buf, byte(k))
	t.buf = binary.AppendVarint(t.buf, int64(host))
	t.buf = binary.AppendUvarint(t.buf, detail)
	if len(t.buf) >= 1<<15 {
		t.flush()
	}
	if t.out != nil {
		fmt.Fprintf(t.out, "%12.6f %-8v %5d %016x\n", at.Seconds(), k, host, detail)
	}
}

// say writes a line of words into the trace, and its bytes into the hash.
func (t *tracer) say(at time.Duration, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	t.buf = append(t.buf, line...)
	if t.out != nil {
		fmt.Fprintf(t.out, "%12.6f %s\n", at.Seconds(), line)
	}
}

func (t *tracer) flush() {
	t.sum.Write(t.buf)
	t.buf = t.buf[:0]
}

func (t *tracer) hash() string {
	t.flush()
	return hex.EncodeToString(t.sum.Sum(nil))
}
