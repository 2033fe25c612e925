package simnet

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
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
	evDraw                         // chance, or a script, decides whether something happens: no event in itself
	evJob                          // work beside a replica is done
	lastEvent = evJob
)

var eventNames = [...]string{"", "tick", "frame", "gossip", "durable", "work", "fault", "connect", "check", "broken", "draw", "job"}

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

// contextLines is how many events that two traces share are shown before the
// first that they do not.
const contextLines = 5

// CompareTraces compares two traces and returns nil where they are one, else an
// error that shows the first event that differs, with those before it.
func CompareTraces(first, second io.Reader) error {
	a, b := bufio.NewReader(first), bufio.NewReader(second)
	var shared []string
	for n := 1; ; n++ {
		x, errX := a.ReadString('\n')
		y, errY := b.ReadString('\n')
		switch {
		case errX == nil && errY == nil && x == y:
			shared = append(shared, "  both   "+x)
			if len(shared) > contextLines {
				shared = shared[1:]
			}
			continue
		case errX != nil && errX != io.EOF || errY != nil && errY != io.EOF:
			return errors.Join(errX, errY)
		case x == y:
			return nil
		}
		if errX != nil {
			x = "(end)"
		}
		if errY != nil {
			y = "(end)"
		}
		return fmt.Errorf("event %d differs:\n%s  first  %s\n  second %s",
			n, strings.Join(shared, ""), strings.TrimSpace(x), strings.TrimSpace(y))
	}
}
