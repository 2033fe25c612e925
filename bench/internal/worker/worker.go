// Package worker runs a system in a process of its own, and has the client that
// tells it what to do.
//
// A worker reads requests from its standard input and writes replies to its
// standard output, one JSON object to a line, one request at a time. It
// measures what it does itself, so the protocol is no part of any figure; times
// that two workers are compared by are those of the machine's monotonic clock.
// It ends when its input does.
package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/meter"
	"github.com/rhizome-p2p/rhizome/bench/internal/side"
)

// An Op is what a worker is told to do.
type Op string

// The operations.
const (
	Open    Op = "open"    // Options
	Close   Op = "close"   // the store stays on disk
	Connect Op = "connect" // Address
	Ready   Op = "ready"   // Count peers
	Forget  Op = "forget"  // all peers

	Put       Op = "put"       // Count keys from First, by Writers
	Batch     Op = "batch"     // Count keys from First, Size to a batch
	Overwrite Op = "overwrite" // key First, Count times
	Remove    Op = "remove"    // Count keys from First
	Pairs     Op = "pairs"     // Count keys from First, each put and removed

	Watch Op = "watch" // before Shown
	Shown Op = "shown" // of Key
	Await Op = "await" // Count puts

	List    Op = "list"    // Count listings of a prefix that has Size keys, in a store of Keys keys
	Verify  Op = "verify"  // that exactly Count keys from First are there
	Compact Op = "compact" //
	Sizes   Op = "sizes"   // Disk and Rows
	Left    Op = "left"    // closes the store; Rows are all pairs of its database
	Wire    Op = "wire"    // Traffic
)

// A Request is a line to a worker.
type Request struct {
	Op      Op           `json:"op"`
	Options side.Options `json:"options,omitzero"`
	Address string       `json:"address,omitempty"`
	Key     string       `json:"key,omitempty"`
	First   int          `json:"first,omitempty"`
	Count   int          `json:"count,omitempty"`
	Writers int          `json:"writers,omitempty"`
	Size    int          `json:"size,omitempty"`
	Keys    int          `json:"keys,omitempty"`
	Seed    uint64       `json:"seed,omitempty"`
	// LimitMillis ends the request when it is over.
	LimitMillis int64 `json:"limit_millis,omitempty"`
}

// A Reply is a line from a worker.
type Reply struct {
	Error string `json:"error,omitempty"`
	// Late says that the request came to its limit.
	Late bool `json:"late,omitempty"`
	// Begin and End are times of the monotonic clock, in nanoseconds: of the
	// measured part alone.
	Begin int64 `json:"begin,omitempty"`
	End   int64 `json:"end,omitempty"`
	// P50 and P99 are nanoseconds of single calls.
	P50 int64 `json:"p50,omitempty"`
	P99 int64 `json:"p99,omitempty"`

	Address string        `json:"address,omitempty"`
	Dial    string        `json:"dial,omitempty"`
	Disk    int64         `json:"disk,omitempty"`
	Rows    int           `json:"rows,omitempty"`
	Traffic meter.Traffic `json:"traffic,omitzero"`
}

// Seconds is how long the measured part took.
func (r *Reply) Seconds() float64 { return float64(r.End-r.Begin) / 1e9 }

// An Opener opens a system; what it returns may be a side.Replica.
type Opener func(ctx context.Context, o side.Options) (side.Store, error)

// maxLine bounds a line of the protocol; requests and replies are small.
const maxLine = 1 << 20

// Serve runs a worker until its input ends.
func Serve(ctx context.Context, in io.Reader, out io.Writer, open Opener) error {
	w := &server{open: open, wire: meter.NewWire()}
	defer w.wire.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	enc := json.NewEncoder(out)
	for lines.Scan() {
		var req Request
		if err := json.Unmarshal(lines.Bytes(), &req); err != nil {
			return errors.Join(fmt.Errorf("request %q: %w", lines.Bytes(), err), w.close())
		}
		if err := enc.Encode(w.answer(ctx, req)); err != nil {
			return errors.Join(fmt.Errorf("reply: %w", err), w.close())
		}
	}
	return errors.Join(lines.Err(), w.close())
}

// server is a worker: at most one open store.
type server struct {
	open  Opener
	store side.Store
	wire  *meter.Wire
	laps  laps // of the open store
}

func (w *server) answer(ctx context.Context, req Request) Reply {
	if req.LimitMillis > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(req.LimitMillis)*time.Millisecond)
		defer cancel()
	}
	do, ok := operations[req.Op]
	if !ok {
		return Reply{Error: fmt.Sprintf("no operation %q", req.Op)}
	}
	if w.store == nil && req.Op != Open && req.Op != Wire {
		return Reply{Error: fmt.Sprintf("%s: no store is open", req.Op)}
	}
	var rep Reply
	if err := do(w, ctx, req, &rep); err != nil {
		return Reply{Error: fmt.Sprintf("%s: %v", req.Op, err), Late: errors.Is(ctx.Err(), context.DeadlineExceeded)}
	}
	return rep
}

func (w *server) close() error {
	if w.store == nil {
		return nil
	}
	err := w.store.Close()
	w.store = nil
	return err
}

// replica is the open store as one with peers.
func (w *server) replica() (side.Replica, error) {
	r, ok := w.store.(side.Replica)
	if !ok {
		return nil, errors.New("this system has no peers")
	}
	return r, nil
}

// clock runs what is measured and notes its times.
func (r *Reply) clock(f func() error) error {
	var err error
	if r.Begin, err = meter.Now(); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	r.End, err = meter.Now()
	return err
}
