package datastore

import (
	"context"
	"fmt"
	"iter"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/rhizome-p2p/rhizome"
)

// Query returns the entries that a query asks for, as they were at one moment,
// in the order of their keys where it does not ask for another. They stream:
// only an order other than that of keys holds those that the filters let through
// in memory. Filters and orders see values also where only keys are wanted. The
// results end with an error when ctx does, or with Close of the datastore; who
// does not take them all has to close them.
func (d *Datastore) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &results{d: d, release: context.AfterFunc(d.ctx, cancel), cancel: cancel}
	r.next, r.stop = iter.Pull2(d.choose(ctx, q))
	d.mu.Lock()
	d.open[r] = struct{}{}
	d.mu.Unlock()
	if d.ctx.Err() != nil { // Close may not have seen it
		r.end(rhizome.ErrClosed)
	}
	return query.ResultsFromIterator(q, query.Iterator{Next: r.take, Close: func() error { r.end(nil); return nil }}), nil
}

// results are those of a query that has not ended.
type results struct {
	d       *Datastore
	cancel  context.CancelFunc
	release func() bool

	// mu lets Close of the datastore end them while they are taken.
	mu    sync.Mutex
	ended bool
	cut   error // what is told once of results that Close has ended
	next  func() (query.Entry, error, bool)
	stop  func()
}

// take returns the next result.
func (r *results) take() (query.Result, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		err := r.cut
		r.cut = nil
		return query.Result{Error: err}, err != nil
	}
	e, err, ok := r.next()
	if err != nil {
		return query.Result{Error: err}, true
	}
	return query.Result{Entry: e}, ok
}

// end gives up what the query holds. It may be called again. Who takes more
// results gets the error, if there is one.
func (r *results) end(cut error) {
	r.cancel()
	r.release()
	r.mu.Lock()
	if !r.ended {
		r.ended, r.cut = true, cut
		r.stop()
	}
	r.mu.Unlock()
	r.d.mu.Lock()
	delete(r.d.open, r)
	r.d.mu.Unlock()
}

// choose yields what a query asks for.
func (d *Datastore) choose(ctx context.Context, q query.Query) iter.Seq2[query.Entry, error] {
	return func(yield func(query.Entry, error) bool) {
		skip, left := q.Offset, q.Limit
		// give yields an entry where it is its turn, and reports whether to go on.
		give := func(e query.Entry) bool {
			if skip > 0 {
				skip--
				return true
			}
			if q.KeysOnly {
				e.Value = nil
			}
			if !yield(e, nil) {
				return false
			}
			left--
			return left != 0
		}
		var sorted []query.Entry
		for e, err := range d.filtered(ctx, &q) {
			switch {
			case err != nil:
				yield(query.Entry{}, err)
				return
			case !inOrder(q.Orders):
				sorted = append(sorted, e)
			case !give(e):
				return
			}
		}
		query.Sort(q.Orders, sorted)
		for _, e := range sorted {
			if !give(e) {
				return
			}
		}
	}
}

// inOrder reports whether the order of keys is that of a query. Keys are unique:
// what is ordered by key needs no further order.
func inOrder(orders []query.Order) bool {
	if len(orders) == 0 {
		return true
	}
	switch orders[0].(type) {
	case query.OrderByKey, *query.OrderByKey:
		return true
	}
	return false
}

// filtered yields the entries below a query's prefix that its filters let
// through, by key.
func (d *Datastore) filtered(ctx context.Context, q *query.Query) iter.Seq2[query.Entry, error] {
	return func(yield func(query.Entry, error) bool) {
	entries:
		for e, err := range d.entries(ctx, q.Prefix, "") {
			if err != nil {
				yield(query.Entry{}, err)
				return
			}
			for _, f := range q.Filters {
				if !f.Filter(e.Entry) {
					continue entries
				}
			}
			if !yield(e.Entry, nil) {
				return
			}
		}
	}
}

// An entry is what a key shows, and by which write.
type entry struct {
	query.Entry
	survivor *rhizome.Survivor
}

// entries yields what stands below a prefix as of a cut, "" being now, by key.
func (d *Datastore) entries(ctx context.Context, prefix, at string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for r, err := range d.node.Scan(ctx, d.space.start(below(prefix)), "", rhizome.ReadOptions{Raw: true, NoCIDs: true, At: at}) {
			if err != nil {
				yield(entry{}, fmt.Errorf("datastore: query: %w", err))
				return
			}
			key, ok := d.space.key(r.Entity)
			if !ok {
				continue
			}
			f, ok, err := pick(r.Survivors)
			if err != nil {
				yield(entry{}, fmt.Errorf("datastore: query %s: %w", key, err))
				return
			}
			if ok && !yield(entry{query.Entry{Key: key.String(), Value: f.value, Size: len(f.value)}, f.survivor}, nil) {
				return
			}
		}
	}
}

// below returns how the keys begin that lie below a query's prefix.
func below(prefix string) string {
	if clean := ds.NewKey(prefix).String(); clean != "/" {
		return clean + "/"
	}
	return "/"
}
