package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A fake keeps one value a key and a list of changes. It is what the server's
// own manners are tested with; what a node does is tested with a node.
type fake struct {
	api.Node // what is not its own is not called

	mu      sync.Mutex
	values  map[string]any // by key
	changes []rhizome.Change
	grown   chan struct{} // closed and renewed with each change

	// fail, where set, is what every call returns.
	fail error
	// refuse, where set, is asked before each commit.
	refuse func(ops []rhizome.Op) error
	// commits counts transactions, docs the most operations in one of them.
	commits, widest int
	start           string // of the log
	done            chan struct{}
}

func newFake() *fake {
	return &fake{values: map[string]any{}, grown: make(chan struct{}), done: make(chan struct{})}
}

var testLane = clock.LaneID{1, 2, 3}

func (f *fake) Commit(_ context.Context, creator string, ops []rhizome.Op) (r rhizome.Receipt, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return r, f.fail
	}
	if f.refuse != nil {
		if err := f.refuse(ops); err != nil {
			return r, err
		}
	}
	f.commits++
	f.widest = max(f.widest, len(ops))
	r.Txn = clock.Dot{Lane: testLane, Seq: uint64(len(f.changes) + 1)}
	c := rhizome.Change{Cursor: fmt.Sprint(len(f.changes) + 1), Txn: r.Txn, Creator: creator}
	for i := range ops {
		op := &ops[i]
		key := delta.Key(op.Entity, op.Path)
		old, has := f.values[key]
		switch {
		case op.IfMatch == rhizome.AbsentETag && has, op.IfMatch == "*" && !has,
			op.IfMatch != "" && op.IfMatch != rhizome.AbsentETag && op.IfMatch != "*" && op.IfMatch != etagOf(old):
			return r, fmt.Errorf("put %s: %w", key, rhizome.ErrPrecondition)
		}
		switch op.Kind {
		case rhizome.OpPut:
			f.values[key] = op.Value
			r.ETags = append(r.ETags, wanted(op, etagOf(op.Value)))
		case rhizome.OpRm:
			if !has {
				return r, fmt.Errorf("rm %s: %w", key, rhizome.ErrNotFound)
			}
			delete(f.values, key)
			r.ETags = append(r.ETags, wanted(op, rhizome.AbsentETag))
		default:
			return r, fmt.Errorf("%s: %w", op.Kind, rhizome.ErrInvalid)
		}
		value, err := delta.ValueOf(op.Value)
		if err != nil {
			return r, fmt.Errorf("%w: %w", rhizome.ErrInvalid, err)
		}
		c.Deltas = append(c.Deltas, rhizome.ChangeDelta{Entity: op.Entity, Path: op.Path, Verb: delta.Assign, Value: value})
		r.Deltas++
	}
	f.changes = append(f.changes, c)
	close(f.grown)
	f.grown = make(chan struct{})
	return r, nil
}

func wanted(op *rhizome.Op, tag string) string {
	if !op.WantETag {
		return ""
	}
	return tag
}

func etagOf(x any) string { return fmt.Sprintf("%x", delta.AppendAnyJSON(nil, x)) }

func (f *fake) Get(_ context.Context, entity string, p delta.Path) (r rhizome.Reading, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return r, f.fail
	}
	value, ok := f.values[delta.Key(entity, p)]
	if !ok {
		return r, fmt.Errorf("%s: %w", delta.Key(entity, p), rhizome.ErrNotFound)
	}
	v, err := delta.ValueOf(value)
	s := rhizome.Survivor{Path: p, Verb: delta.Assign, Value: v, Dot: clock.Dot{Lane: testLane, Seq: 1}, Shown: true}
	return rhizome.Reading{Entity: entity, Path: p, Value: value, ETag: etagOf(value), Survivors: []rhizome.Survivor{s}}, err
}

func (f *fake) List(_ context.Context, prefix, after string, limit int) (out []string, more bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.values {
		if strings.HasPrefix(k, prefix) && k > after {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	if limit == 0 {
		limit = 1000
	}
	if len(out) > limit {
		return out[:limit], true, f.fail
	}
	return out, false, f.fail
}

func (f *fake) Export(ctx context.Context, prefix string) iter.Seq2[rhizome.Reading, error] {
	return func(yield func(rhizome.Reading, error) bool) {
		keys, _, err := f.List(ctx, prefix, "", 1<<30)
		if err != nil {
			yield(rhizome.Reading{}, err)
			return
		}
		for _, k := range keys {
			if r, err := f.Get(ctx, k, ""); !yield(r, err) {
				return
			}
		}
	}
}

func (f *fake) Read(ctx context.Context, entity string, p delta.Path, o rhizome.ReadOptions) (rhizome.Reading, error) {
	if o.At == "early" {
		return rhizome.Reading{}, &rhizome.HorizonError{What: o.At, Cursor: "7", Time: time.UnixMilli(5)}
	}
	return f.Get(ctx, entity, p)
}

func (f *fake) ExportAt(ctx context.Context, prefix, at string) iter.Seq2[rhizome.Reading, error] {
	if at == "early" {
		return func(yield func(rhizome.Reading, error) bool) {
			_, err := f.Read(ctx, "", "", rhizome.ReadOptions{At: at})
			yield(rhizome.Reading{}, err)
		}
	}
	return f.Export(ctx, prefix)
}

func (f *fake) Compact(_ context.Context, o rhizome.CompactOptions) (rhizome.CompactReport, error) {
	if o.To == "nonsense" {
		return rhizome.CompactReport{}, rhizome.ErrInvalid
	}
	if f.fail == nil && !o.DryRun {
		o.Progress(1, 2)
	}
	return rhizome.CompactReport{
		DryRun: o.DryRun, Held: !o.Force, Dropped: 3, Freed: 7, UnseenBy: []string{"peer"}, Floor: []clock.EntryID{{Lane: testLane, Seq: 3}},
	}, f.fail
}

func (f *fake) Diff(_ context.Context, peer string) (rhizome.DiffReport, error) {
	if peer != "peer" {
		return rhizome.DiffReport{}, rhizome.ErrNotFound
	}
	return rhizome.DiffReport{Peer: peer, Here: 1, Rows: []rhizome.DiffRow{{Entity: "e", Path: "/p", Value: delta.Int(7), Here: true}}}, f.fail
}

func (f *fake) DiffBackup(_ context.Context, in io.Reader) (rhizome.DiffReport, error) {
	b, err := io.ReadAll(in)
	if err != nil || string(b) != "a backup" {
		return rhizome.DiffReport{}, errors.Join(rhizome.ErrInvalid, err)
	}
	return rhizome.DiffReport{Peer: "backup", Equal: true, SameLog: true}, f.fail
}

func (f *fake) Checkpoints(context.Context) ([]rhizome.Checkpoint, error) {
	return []rhizome.Checkpoint{{Number: 4, Done: true, Entries: 3, Cut: []clock.LaneHead{{Lane: testLane, Head: clock.Head{Seq: 3}}}}}, f.fail
}

func (f *fake) LogStart() string { return f.start }

func (f *fake) Changes(ctx context.Context, prefix, since string) iter.Seq2[rhizome.Change, error] {
	return func(yield func(rhizome.Change, error) bool) {
		var at int
		if _, err := fmt.Sscan(since, &at); err != nil {
			yield(rhizome.Change{}, fmt.Errorf("since %q: %w", since, rhizome.ErrCursor))
			return
		}
		for {
			f.mu.Lock()
			news, grown := slices.Clone(f.changes[at:]), f.grown
			f.mu.Unlock()
			at += len(news)
			for _, c := range news {
				if strings.HasPrefix(c.Deltas[0].Entity, prefix) && !yield(c, nil) {
					return
				}
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (f *fake) Cursor() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(len(f.changes))
}

func (f *fake) Log(_ context.Context, lane, since string, limit int) (out []rhizome.LogEntry, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := 0
	if since == "gone" {
		return nil, &rhizome.GoneError{What: "it", Cursor: "7"}
	}
	if since != "" {
		if _, err := fmt.Sscan(since, &at); err != nil {
			return nil, rhizome.ErrCursor
		}
	}
	for _, c := range f.changes[at:] {
		if len(out) == limit {
			break
		}
		if lane == "" || lane == testLane.String() {
			out = append(out, rhizome.LogEntry{Cursor: c.Cursor, ID: c.Txn.Entry(), Txns: []rhizome.Change{c}})
		}
	}
	return out, f.fail
}

func (f *fake) Show(_ context.Context, ref string) (e rhizome.LogEntry, err error) {
	d, err := clock.ParseDot(ref)
	if err != nil {
		return e, fmt.Errorf("%w: %w", rhizome.ErrInvalid, err)
	}
	if d.Seq > uint64(len(f.changes)) {
		return e, rhizome.ErrNotFound
	}
	return rhizome.LogEntry{ID: d.Entry(), Past: []clock.EntryID{d.Entry()}}, nil
}

func (f *fake) Status(context.Context, bool) (rhizome.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	peers, _ := f.Peers(context.Background())
	return rhizome.Status{
		Node: "node", Space: "space", Entries: uint64(len(f.changes)), Rows: uint64(len(f.values)), DiskBytes: 7,
		Peers: peers, Alarms: []rhizome.Alarm{{Kind: "twin", Text: "two nodes share one identity"}},
		Forks: []rhizome.Fork{{Lane: testLane, Seq: 3}},
	}, f.fail
}

func (f *fake) Peers(context.Context) ([]rhizome.PeerStatus, error) {
	return []rhizome.PeerStatus{{ID: "peer", Addr: "/ip4/127.0.0.1/tcp/1", MissingHere: 3}}, nil
}

func (f *fake) AddPeer(_ context.Context, addr string) error {
	if !strings.HasPrefix(addr, "/") {
		return fmt.Errorf("peer %q: %w", addr, rhizome.ErrInvalid)
	}
	return nil
}

func (f *fake) RemovePeer(_ context.Context, who string) error {
	if who != "peer" && who != "/ip4/127.0.0.1/tcp/1" {
		return fmt.Errorf("peer %s: %w", who, rhizome.ErrNotFound)
	}
	return nil
}

func (f *fake) Invite(context.Context) (string, error) { return "rhizome1invite", f.fail }

func (f *fake) Verify(_ context.Context, progress func(done, total uint64)) (rhizome.VerifyReport, error) {
	progress(1, 2)
	return rhizome.VerifyReport{Entries: 2, Problems: []string{"row 7 is odd"}}, f.fail
}

// Backup writes some bytes, and fails behind them where it is to fail.
func (f *fake) Backup(_ context.Context, w io.Writer, o rhizome.BackupOptions) (sum rhizome.BackupSummary, err error) {
	f.mu.Lock()
	fail := f.fail
	f.mu.Unlock()
	if errors.Is(fail, rhizome.ErrClosed) {
		return sum, fail
	}
	if _, err := fmt.Fprintf(w, "a backup, identity %v", !o.WithoutIdentity); err != nil {
		return sum, err
	}
	return sum, fail
}

func (f *fake) ID() string            { return "node" }
func (f *fake) Addrs() []string       { return []string{"/ip4/127.0.0.1/tcp/1/p2p/node"} }
func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Err() error            { return errors.New("the disk is gone") }
func (f *fake) Close() error          { return nil }

var _ api.Node = (*fake)(nil)
