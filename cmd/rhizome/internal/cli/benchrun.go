package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

const (
	// benchBatch is how many values a transaction of the batch phase writes, where
	// they are not too large for one entry.
	benchBatch      = 100
	benchBatchBytes = 256 << 10

	// removeBatch is how many keys one transaction removes. Each costs the entry a
	// key and a bound.
	removeBatch = 500

	// benchPage is how many keys or values one page has.
	benchPage = 1000

	// seenWithin is how long a watcher may take to see a write, and behindWithin
	// how long peers and a cursor may take to get all. After that something
	// is wrong that no measurement mends.
	seenWithin   = 10 * time.Second
	behindWithin = time.Minute

	// removeWithin bounds the removal, which nobody interrupts by accident.
	removeWithin = time.Minute
)

// A series is some keys of one phase: those with the numbers below n.
type series struct {
	name string
	n    int
}

// A bench is one measurement of a node.
type bench struct {
	flags   benchFlags
	clients []*client.Client // one a writer
	c       *client.Client   // the first of them
	seed    [32]byte         // what values follow from
	bar     *progress
	told    time.Time // when tell last drew it

	// series are what was written so far, also what is still on its way.
	series []*series
	// cursor is where the node stood before the first write.
	cursor string

	mu     sync.Mutex // guards what of report check writes
	report benchReport
}

// newBench readies a measurement, below a prefix where nothing stands.
func newBench(ctx context.Context, clients []*client.Client, f benchFlags) (*bench, error) {
	b := &bench{flags: f, clients: clients, c: clients[0], bar: new(progress)}
	if _, err := rand.Read(b.seed[:]); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	there, err := b.c.List(ctx, f.prefix, "", 1)
	if err != nil {
		return nil, err
	}
	if len(there.Keys) > 0 {
		return nil, api.NewProblem(api.CodeConflict, fmt.Sprintf("there is something below %s, such as %s", f.prefix, there.Keys[0]),
			"name another --prefix, or leave it out")
	}
	s, err := b.c.Status(ctx, false)
	if err != nil {
		return nil, err
	}
	b.report = benchReport{
		Node: s.Node, Version: s.Version, Prefix: f.prefix, Size: f.size, Writers: f.writers, Kept: f.keep, Phases: []benchPhase{},
	}
	b.cursor, err = b.now(ctx)
	return b, err
}

// now returns the cursor at which the node stands.
func (b *bench) now(ctx context.Context) (string, error) {
	for e, err := range b.c.Changes(ctx, b.flags.prefix, "") {
		if err != nil {
			return "", err
		}
		if e.Name == "ready" {
			return e.ID, nil
		}
	}
	return "", errors.New("the stream of changes ended before it began")
}

// run goes through the phases.
func (b *bench) run(ctx context.Context) error {
	for _, phase := range []func(context.Context) error{
		func(ctx context.Context) error { return b.puts(ctx, "put", b.clients[:1]) },
		func(ctx context.Context) error {
			if len(b.clients) == 1 {
				return nil
			}
			return b.puts(ctx, "puts", b.clients)
		},
		b.batches, b.peers, b.gets, b.list, b.scan, b.watch, b.catchUp,
	} {
		if err := phase(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// key names the value of a number.
func (b *bench) key(name string, i int) string {
	return fmt.Sprintf("%s%s/%08d", b.flags.prefix, name, i)
}

// value is the text at a key, as JSON: it follows from the seed and the key, so
// that any of them can be compared without being kept.
func (b *bench) value(key string) json.RawMessage {
	h := sha256.New()
	h.Write(b.seed[:])
	h.Write([]byte(key))
	raw := make([]byte, b.flags.size*3/4+1)
	_, _ = mathrand.NewChaCha8([32]byte(h.Sum(nil))).Read(raw) // never fails
	return json.RawMessage(strconv.Quote(base64.RawURLEncoding.EncodeToString(raw)[:b.flags.size]))
}

// compare holds what came back to what was written.
func (b *bench) compare(key string, got json.RawMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.report.Compared++
	if string(got) == string(b.value(key)) {
		return
	}
	if b.report.Wrong++; b.report.Wrong == 1 {
		b.report.FirstWrong = key
	}
}

// begin adds the keys of a phase.
func (b *bench) begin(name string) *series {
	s := &series{name: name}
	b.series = append(b.series, s)
	return s
}

// written counts the keys of all phases.
func (b *bench) written() (n int) {
	for _, s := range b.series {
		n += s.n
	}
	return n
}

// A quota hands out the numbers of a phase's operations until the phase is over.
type quota struct {
	ctx context.Context
	end time.Time // zero: by number alone
	max int

	mu   sync.Mutex
	next int
}

// quota returns that of a phase in which each operation moves one value.
func (b *bench) quota(ctx context.Context) *quota {
	q := &quota{ctx: ctx, max: b.flags.ops}
	if q.max == 0 {
		q.max, q.end = maxBenchValues, time.Now().Add(b.flags.duration)
	}
	q.max = min(q.max, max(1, maxBenchBytes/b.flags.size))
	return q
}

// take returns up to n numbers, those from first to before last; ok is false when
// the phase is over. However short the phase, it has one operation.
func (q *quota) take(n int) (first, last int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	late := q.next > 0 && !q.end.IsZero() && !time.Now().Before(q.end)
	if late || q.next >= q.max || q.ctx.Err() != nil {
		return 0, 0, false
	}
	first = q.next
	q.next = min(q.next+n, q.max)
	return first, q.next, true
}

// A stopwatch times the operations of a phase, of one goroutine.
type stopwatch struct{ took []time.Duration }

func (w *stopwatch) time(f func() error) error {
	start := time.Now()
	err := f()
	if err == nil {
		w.took = append(w.took, time.Since(start))
	}
	return err
}

// commit writes the values of some keys in one transaction. An interrupt does not
// break it off: then nobody could tell whether it is there.
func (b *bench) commit(ctx context.Context, c *client.Client, name string, first, last int) error {
	ops := make([]api.Op, 0, last-first)
	for i := first; i < last; i++ {
		key := b.key(name, i)
		ops = append(ops, api.Op{Op: rhizome.OpPut, Key: key, Value: b.value(key)})
	}
	_, err := c.Commit(context.WithoutCancel(ctx), ops...)
	return err
}

// remove drops every key that was written, or may have been.
func (b *bench) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, removeWithin)
	defer cancel()
	total := b.written()
	for from := 0; from < total; from += removeBatch {
		to := min(from+removeBatch, total)
		ops := make([]api.Op, 0, to-from)
		for i := from; i < to; i++ {
			ops = append(ops, api.Op{Op: rhizome.OpRm, Key: b.pick(i)})
		}
		if _, err := b.c.Commit(ctx, ops...); err != nil {
			b.report.Left, b.report.why = total-from, err
			return
		}
		b.report.Removed = to
		b.tell("remove", to)
	}
	// What stands there now was not removed, or is somebody else's.
	if page, err := b.c.List(ctx, b.flags.prefix, "", benchPage); err == nil {
		b.report.Left = len(page.Keys)
	}
}

// tellPause is how often progress is shown: seldom enough to cost nothing.
const tellPause = 100 * time.Millisecond

// tell shows how far a phase is. One goroutine at a time calls it.
func (b *bench) tell(phase string, n int) {
	if now := time.Now(); now.Sub(b.told) >= tellPause {
		b.told = now
		b.bar.draw(fmt.Sprintf("bench  %s  %d values", phase, n))
	}
}
