package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A Request is one transaction that a caller wants committed.
type Request struct {
	Creator string
	Ops     []Op
}

// A Result is what became of a request.
type Result struct {
	Receipt Receipt
	Err     error
}

// Write commits transactions, together in as few entries as they fit. Each
// sees those before it, and one that fails leaves the others alone. The
// results are true once the step's commit is durable.
func (r *Replica) Write(nowMillis int64, reqs []Request) (Step, error) {
	r.begin(nowMillis)
	w := r.newWriter()
	results := make([]Result, len(reqs))
	for i := range reqs {
		rec, err := w.request(&reqs[i])
		if err != nil && !refusal(err) {
			return Step{}, err
		}
		results[i] = Result{rec, err}
	}
	r.settle()
	if err := w.finish(); err != nil {
		r.tally() // leaves no goroutine behind
		return Step{}, err
	}
	for _, at := range w.receipts {
		results[at.request].Receipt.CID = w.cids[at.entry]
	}
	step, err := r.end()
	step.Results = results
	return step, err
}

// refusal reports an error that is the caller's.
func refusal(err error) bool {
	return errors.Is(err, ErrInvalid) || errors.Is(err, ErrPrecondition) || errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) ||
		errors.Is(err, ErrGone) || errors.Is(err, ErrHorizon)
}

// A writer fills entries of the current lane with transactions.
type writer struct {
	r    *Replica
	open *openEntry
	// cids are those of the finished entries; publish is the message in the making.
	cids    []string
	publish []byte
	// receipts say which request went into which entry.
	receipts []receiptAt
	requests int
}

type receiptAt struct{ request, entry int }

// openEntry is the entry that transactions are being added to.
type openEntry struct {
	origin merge.Origin
	txns   []delta.Txn
	index  uint32 // of the next delta
	bytes  int    // an upper bound of the body's size
	lanes  int    // an upper bound of the lanes it names
}

func (r *Replica) newWriter() *writer { return &writer{r: r} }

// entryRoom is how large an upper bound of an entry's transactions may be:
// what is left of the largest entry beside header, deps and table heads.
const entryRoom = delta.MaxEntryBytes - 32<<10

// laneRoom is how many lanes an entry's kills may name, beside its deps.
const laneRoom = delta.MaxLanes - delta.MaxDeps

// begin opens an entry where none is open, and a lane where there is none.
func (w *writer) begin() error {
	if w.open != nil {
		return nil
	}
	r := w.r
	if r.signer == nil {
		if err := r.openLane(); err != nil {
			return err
		}
	}
	// More tips than one entry can name are joined by fillers first.
	for {
		deps := r.log.Deps(r.signer.Lane)
		if len(deps) <= delta.MaxDeps {
			break
		}
		if err := w.emit(delta.Body{Deps: deps[:delta.MaxDeps]}, r.hlc.Now(r.now)); err != nil {
			return err
		}
	}
	w.open = &openEntry{origin: merge.Origin{
		Lane: r.signer.Lane,
		Seq:  r.log.Vector().Seq(r.signer.Lane) + 1,
		Time: r.hlc.Now(r.now),
	}}
	return nil
}

// openLane begins a new incarnation.
func (r *Replica) openLane() error {
	r.lane = delta.LaneKey{Author: r.author}
	if _, err := readFull(r.cfg.Random, r.lane.Incarnation[:]); err != nil {
		return fmt.Errorf("open lane: %w", err)
	}
	id := r.log.AddLane(r.lane)
	r.began[id] = 1
	r.signer = &delta.Signer{Space: r.cfg.Space, Lane: id, Key: r.cfg.Key}
	return nil
}

// finish signs the open entry, if any, and hands out what is to be published.
func (w *writer) finish() error {
	if o := w.open; o != nil {
		w.open = nil
		if len(o.txns) > 0 {
			body := delta.Body{Deps: w.r.log.Deps(w.r.signer.Lane), Txns: o.txns}
			if err := w.emit(body, o.origin.Time); err != nil {
				return err
			}
		}
	}
	w.flushPublish()
	return nil
}

// emit builds an entry whose deltas are folded already and appends it.
func (w *writer) emit(body delta.Body, t clock.Timestamp) error {
	r := w.r
	e, err := r.signer.Build(r.log.Vector().Head(r.signer.Lane), t, body)
	if err != nil {
		return fmt.Errorf("build entry: %w", err)
	}
	e.Local = true
	if err := r.log.Append(r.batch, e); err != nil {
		return err
	}
	if len(w.publish) > 0 && len(w.publish)+len(e.Raw) > gossip.MaxPublishBytes {
		w.flushPublish()
	}
	w.publish = gossip.AppendPublished(w.publish, r.lane, e)
	if len(body.Txns) > 0 {
		w.cids = append(w.cids, delta.CID(e.Hash).String())
	}
	return nil
}

func (w *writer) flushPublish() {
	if len(w.publish) > 0 {
		w.r.step.Publish = append(w.r.step.Publish, w.publish)
		w.publish = nil
	}
}

// request commits one request's transaction.
func (w *writer) request(q *Request) (Receipt, error) {
	var rec Receipt
	n := w.requests
	w.requests++
	creator, err := w.r.creatorOf(q)
	if err != nil {
		return rec, err
	}
	first, err := w.txn(creator, func(t *txnWriter) error {
		rec = Receipt{}
		t.deltas, rec.ETags = make([]delta.Delta, 0, len(q.Ops)), make([]string, 0, len(q.Ops))
		if err := t.r.before(); err != nil {
			return err
		}
		for i := range q.Ops {
			if err := t.op(&q.Ops[i], &rec); err != nil {
				if len(q.Ops) > 1 {
					err = fmt.Errorf("operation %d: %w", i+1, err)
				}
				return err
			}
		}
		rec.Deltas = len(t.deltas)
		if restores(q.Ops) {
			return nil
		}
		return t.r.admitLocal(t.deltas)
	})
	if err != nil {
		return Receipt{}, err
	}
	if rec.Deltas > 0 {
		rec.Txn = first
		w.receipts = append(w.receipts, receiptAt{n, len(w.cids)})
	}
	return rec, nil
}

// restores reports whether operations do no more than take back what was done.
func restores(ops []Op) bool {
	return !slices.ContainsFunc(ops, func(o Op) bool { return o.Kind != OpUndo && o.Kind != OpNegate })
}

// creatorOf returns a request's creator. One who votes must have a name, so
// that votes of different authors are told apart: the author's own where the
// caller gives none.
func (r *Replica) creatorOf(q *Request) (string, error) {
	if len(q.Creator) > delta.MaxCreatorBytes || !validText(q.Creator) {
		return "", fmt.Errorf("%w: creator of %d bytes: at most %d bytes of UTF-8 are allowed", ErrInvalid, len(q.Creator), delta.MaxCreatorBytes)
	}
	if len(q.Ops) == 0 {
		return "", fmt.Errorf("%w: transaction without operations", ErrInvalid)
	}
	if q.Creator == "" {
		for i := range q.Ops {
			if q.Ops[i].Kind == OpVote || q.Ops[i].Kind == OpUndo {
				return r.author.String(), nil
			}
		}
	}
	return q.Creator, nil
}

// A txnWriter adds deltas to one transaction.
type txnWriter struct {
	r      *Replica
	origin merge.Origin
	index  uint32
	deltas []delta.Delta
	bytes  int
	lanes  int
}

// errFull says that a transaction does not fit what is left of the open entry.
var errFull = errors.New("entry is full")

// txn runs fill in a transaction of its own: all of it is kept or, on an
// error, nothing. Where the open entry has no room left it is run again in a
// new one.
func (w *writer) txn(creator string, fill func(*txnWriter) error) (first clock.Dot, err error) {
	for {
		if err := w.begin(); err != nil {
			return first, err
		}
		o := w.open
		t := &txnWriter{r: w.r, origin: o.origin, index: o.index, bytes: o.bytes, lanes: o.lanes}
		t.origin.Creator, t.origin.Txn = creator, o.index
		state, tally := w.r.state.mark(), w.r.fold.Mark()
		err = fill(t)
		if err == nil && len(t.deltas) > 0 {
			first = clock.Dot{Lane: o.origin.Lane, Seq: o.origin.Seq, Index: o.index}
			o.txns = append(o.txns, delta.Txn{Creator: creator, Deltas: t.deltas})
			o.index, o.bytes, o.lanes = t.index, t.bytes+len(creator)+16, t.lanes
			return first, nil
		}
		w.r.state.rollback(state)
		w.r.fold.Rollback(tally)
		if !errors.Is(err, errFull) {
			return first, err
		}
		if len(o.txns) == 0 {
			return first, fmt.Errorf("%w: of more than %d bytes, or over values of more than %d lanes: split it",
				ErrTooLarge, entryRoom, laneRoom)
		}
		if err := w.finish(); err != nil {
			return first, err
		}
	}
}

// put adds a planned delta and folds it, so that the next one sees it.
func (t *txnWriter) put(d delta.Delta) error {
	t.bytes += d.SizeBound()
	for i := range d.Kills {
		t.lanes += len(d.Kills[i].Dots) + len(d.Kills[i].Bounds)
	}
	if t.bytes > entryRoom || t.lanes > laneRoom {
		return errFull
	}
	if err := t.r.fold.ApplyDelta(&t.origin, t.index, &d); err != nil {
		return err
	}
	t.deltas = append(t.deltas, d)
	t.index++
	return nil
}

func (t *txnWriter) inc(entity string, p delta.Path, amount int64) error {
	d, err := merge.PlanInc(t.r.state, entity, p, t.origin.Lane, amount)
	if errors.Is(err, merge.ErrOverflow) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err != nil {
		return err
	}
	return t.put(d)
}
