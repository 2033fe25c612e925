package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/meter"
	"github.com/rhizome-p2p/rhizome/bench/internal/pebbleside"
	"github.com/rhizome-p2p/rhizome/bench/internal/side"
)

type operation func(w *server, ctx context.Context, req Request, rep *Reply) error

var operations = map[Op]operation{
	Open:      (*server).doOpen,
	Close:     func(w *server, _ context.Context, _ Request, _ *Reply) error { return w.close() },
	Connect:   (*server).doConnect,
	Ready:     (*server).doReady,
	Forget:    (*server).doForget,
	Put:       (*server).doPut,
	Batch:     (*server).doBatch,
	Overwrite: (*server).doOverwrite,
	Remove:    (*server).doRemove,
	Pairs:     (*server).doPairs,
	Watch:     (*server).doWatch,
	Shown:     (*server).doShown,
	Await:     (*server).doAwait,
	List:      (*server).doList,
	Verify:    (*server).doVerify,
	Compact:   (*server).doCompact,
	Sizes:     (*server).doSizes,
	Left:      (*server).doLeft,
	Wire:      (*server).doWire,
}

func (w *server) doOpen(ctx context.Context, req Request, rep *Reply) error {
	if w.store != nil {
		return errors.New("a store is open already")
	}
	w.laps.took = nil
	err := rep.clock(func() (err error) {
		w.store, err = w.open(ctx, req.Options)
		return err
	})
	if err != nil || !req.Options.Network {
		return err
	}
	r, err := w.replica()
	if err != nil {
		return err
	}
	rep.Dial = r.Dial()
	rep.Address, err = r.Address(ctx)
	return err
}

func (w *server) doConnect(ctx context.Context, req Request, rep *Reply) error {
	r, err := w.replica()
	if err != nil {
		return err
	}
	return rep.clock(func() error { return r.Connect(ctx, req.Address) })
}

func (w *server) doReady(ctx context.Context, req Request, _ *Reply) error {
	r, err := w.replica()
	if err != nil {
		return err
	}
	return r.Ready(ctx, req.Count)
}

func (w *server) doForget(ctx context.Context, _ Request, _ *Reply) error {
	r, err := w.replica()
	if err != nil {
		return err
	}
	return r.Forget(ctx)
}

// laps are how long single calls took.
type laps struct {
	mu   sync.Mutex
	took []time.Duration
}

func (l *laps) add(took []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took...)
}

func (l *laps) tell(rep *Reply) {
	if len(l.took) == 0 {
		return
	}
	slices.Sort(l.took)
	rep.P50 = int64(l.took[(len(l.took)-1)/2])
	rep.P99 = int64(l.took[(len(l.took)-1)*99/100])
}

// each calls f for each of the request's keys, from so many goroutines at once,
// and times each call. What it tells of single calls is of all requests since the
// store was opened: a scenario may come in slices.
func (w *server) each(req Request, rep *Reply, f func(i int) error) error {
	writers := max(req.Writers, 1)
	l := &w.laps
	err := rep.clock(func() error {
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for n := range writers {
			wg.Go(func() {
				var took []time.Duration
				for i := n; i < req.Count && errs[n] == nil; i += writers {
					start := time.Now()
					errs[n] = f(req.First + i)
					took = append(took, time.Since(start))
				}
				l.add(took)
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	l.tell(rep)
	return err
}

func (w *server) doPut(ctx context.Context, req Request, rep *Reply) error {
	return w.each(req, rep, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return w.store.Put(ctx, side.Key(i), side.Value(req.Seed, i))
	})
}

// doBatch times the calls alone: making the items would count for much beside a
// batch of raw Pebble.
func (w *server) doBatch(ctx context.Context, req Request, rep *Reply) error {
	var total time.Duration
	timed := func(f func() error) error {
		start := time.Now()
		err := f()
		total += time.Since(start)
		return err
	}
	for i := 0; i < req.Count; i += req.Size {
		items := make([]side.Item, min(req.Size, req.Count-i))
		for j := range items {
			items[j] = side.Item{Key: side.Key(req.First + i + j), Value: side.Value(req.Seed, req.First+i+j)}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := timed(func() error { return w.store.PutBatch(ctx, items) }); err != nil {
			return err
		}
	}
	// Where batches are not synced each, all are synced together.
	if s, ok := w.store.(interface{ Sync() error }); ok {
		if err := timed(s.Sync); err != nil {
			return err
		}
	}
	rep.End = rep.Begin + int64(total)
	return nil
}

func (w *server) doOverwrite(ctx context.Context, req Request, rep *Reply) error {
	return w.each(req, rep, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return w.store.Put(ctx, side.Key(req.First), side.Value(req.Seed+uint64(i-req.First), req.First))
	})
}

func (w *server) doRemove(ctx context.Context, req Request, rep *Reply) error {
	return w.each(req, rep, func(i int) error { return w.store.Remove(ctx, side.Key(i)) })
}

func (w *server) doPairs(ctx context.Context, req Request, rep *Reply) error {
	return w.each(req, rep, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.store.Put(ctx, side.Key(i), side.Value(req.Seed, i)); err != nil {
			return err
		}
		return w.store.Remove(ctx, side.Key(i))
	})
}

func (w *server) doWatch(ctx context.Context, _ Request, _ *Reply) error {
	r, err := w.replica()
	if err != nil {
		return err
	}
	return r.Watch(ctx)
}

func (w *server) doShown(ctx context.Context, req Request, rep *Reply) error {
	r, err := w.replica()
	if err != nil {
		return err
	}
	var key string
	err = rep.clock(func() (err error) {
		key, err = r.Shown(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if key != req.Key {
		return fmt.Errorf("%q was shown, %q had been put", key, req.Key)
	}
	return nil
}

func (w *server) doAwait(ctx context.Context, req Request, rep *Reply) error {
	r, err := w.replica()
	if err != nil {
		return err
	}
	return rep.clock(func() error { return r.Await(ctx, req.Count) })
}

// doList lists random prefixes and compares what they hold.
func (w *server) doList(ctx context.Context, req Request, rep *Reply) error {
	r := rand.New(rand.NewPCG(req.Seed, 1))
	groups := max(req.Keys/req.Size, 1)
	var l laps
	for range req.Count {
		g := r.IntN(groups)
		items := make([]side.Item, 0, req.Size)
		start := time.Now()
		err := w.store.List(ctx, side.GroupPrefix(g), func(it side.Item) error {
			items = append(items, it)
			return nil
		})
		l.add([]time.Duration{time.Since(start)})
		if err != nil {
			return err
		}
		if err := compare(items, g*req.Size, min(req.Size, req.Keys), req.Seed); err != nil {
			return err
		}
	}
	l.tell(rep)
	return nil
}

// compare compares items with the keys that were written, in any order.
func compare(items []side.Item, first, count int, seed uint64) error {
	seen := make([]bool, count)
	for _, it := range items {
		if err := check(it, first, seed, seen); err != nil {
			return err
		}
	}
	return missing(seen, first)
}

func check(it side.Item, first int, seed uint64, seen []bool) error {
	i, err := side.Index(it.Key)
	if err != nil {
		return err
	}
	if i < first || i-first >= len(seen) || seen[i-first] {
		return fmt.Errorf("%s is there and should not be", it.Key)
	}
	seen[i-first] = true
	if !bytes.Equal(it.Value, side.Value(seed, i)) {
		return fmt.Errorf("%s has another value than was written", it.Key)
	}
	return nil
}

func missing(seen []bool, first int) error {
	for i, ok := range seen {
		if !ok {
			return fmt.Errorf("%s is missing", side.Key(first+i))
		}
	}
	return nil
}

// doVerify reads all that is there and compares it; it is timed as a listing of
// the whole store.
func (w *server) doVerify(ctx context.Context, req Request, rep *Reply) error {
	seen := make([]bool, req.Count)
	err := rep.clock(func() error {
		return w.store.List(ctx, side.Prefix, func(it side.Item) error { return check(it, req.First, req.Seed, seen) })
	})
	if err != nil {
		return err
	}
	if err := missing(seen, req.First); err != nil {
		return err
	}
	if req.Count == 0 {
		return nil
	}
	// One of them by its name, as most readers read.
	v, err := w.store.Get(ctx, side.Key(req.First))
	if err == nil && !bytes.Equal(v, side.Value(req.Seed, req.First)) {
		err = errors.New("has another value than was written")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", side.Key(req.First), err)
	}
	return nil
}

func (w *server) doCompact(ctx context.Context, _ Request, rep *Reply) error {
	return rep.clock(func() error { return w.store.Compact(ctx) })
}

func (w *server) doSizes(ctx context.Context, _ Request, rep *Reply) (err error) {
	if rep.Rows, err = w.store.Rows(ctx); err != nil {
		return err
	}
	rep.Disk, err = meter.DiskBytes(w.store.Database())
	return err
}

func (w *server) doLeft(_ context.Context, _ Request, rep *Reply) error {
	dir := w.store.Database()
	if err := w.close(); err != nil {
		return err
	}
	var err error
	rep.Rows, err = pebbleside.Pairs(dir)
	return err
}

func (w *server) doWire(_ context.Context, _ Request, rep *Reply) (err error) {
	rep.Traffic, err = w.wire.Traffic()
	return err
}
