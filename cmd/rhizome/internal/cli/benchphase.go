package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

// measure runs a phase and notes what came of it, also where an error ended it.
func (b *bench) measure(p benchPhase, f func(p *benchPhase, w *stopwatch) error) error {
	var w stopwatch
	start := time.Now()
	err := f(&p, &w)
	b.add(p, time.Since(start), w.took)
	return err
}

// puts has writers put single values.
func (b *bench) puts(ctx context.Context, name string, writers []*client.Client) error {
	s, q := b.begin(name), b.quota(ctx)
	return b.measure(benchPhase{Phase: "put", Writers: len(writers)}, func(p *benchPhase, w *stopwatch) error {
		watches, errs := make([]stopwatch, len(writers)), make([]error, len(writers))
		var all sync.WaitGroup
		for i, c := range writers {
			all.Go(func() {
				for errs[i] == nil {
					first, last, ok := q.take(1)
					if !ok {
						return
					}
					errs[i] = watches[i].time(func() error { return b.commit(ctx, c, name, first, last) })
					if i == 0 {
						b.tell("put", first)
					}
				}
			})
		}
		all.Wait()
		s.n = q.next
		for i := range watches {
			w.took = append(w.took, watches[i].took...)
		}
		p.Values = len(w.took)
		return errors.Join(errs...)
	})
}

// batches puts many values in each transaction.
func (b *bench) batches(ctx context.Context) error {
	s, q := b.begin("batch"), b.quota(ctx)
	size := max(1, min(benchBatch, benchBatchBytes/b.flags.size))
	return b.measure(benchPhase{Phase: "batch", Writers: 1, Batch: size}, func(p *benchPhase, w *stopwatch) error {
		for {
			first, last, ok := q.take(size)
			if !ok {
				return nil
			}
			s.n = last
			if err := w.time(func() error { return b.commit(ctx, b.c, s.name, first, last) }); err != nil {
				return err
			}
			p.Values = last
			b.tell("batch", last)
		}
	})
}

// peers waits until all connected peers hold what this node does.
func (b *bench) peers(ctx context.Context) error {
	start := time.Now()
	for {
		s, err := b.c.Status(ctx, true)
		if err != nil {
			return err
		}
		connected := 0
		for _, p := range s.Peers {
			if p.Connected {
				connected++
			}
		}
		switch {
		case connected == 0:
			return nil
		case s.Converged:
			b.add(benchPhase{Phase: "peers", Values: b.written(), Peers: connected}, time.Since(start), nil)
			return nil
		case time.Since(start) > behindWithin:
			b.add(benchPhase{Phase: "peers", Peers: connected, Note: fmt.Sprintf("not within %v", behindWithin)}, time.Since(start), nil)
			return nil
		}
		b.tell("peers", b.written())
		select {
		case <-time.After(pollPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gets reads single values, at random.
func (b *bench) gets(ctx context.Context) error {
	q := b.quota(ctx)
	r := mathrand.New(mathrand.NewChaCha8(b.seed))
	return b.measure(benchPhase{Phase: "get"}, func(p *benchPhase, w *stopwatch) error {
		for {
			first, last, ok := q.take(1)
			if !ok {
				return nil
			}
			key := b.pick(r.IntN(b.written()))
			var v client.Value
			err := w.time(func() (err error) {
				if v, err = b.c.Get(ctx, key); err != nil && api.ProblemOf(err).Code == api.CodeNotFound {
					err = nil // which is no value that was written
				}
				return err
			})
			if err != nil {
				return err
			}
			b.compare(key, v.JSON)
			p.Values = last
			b.tell("get", first)
		}
	})
}

// pick returns the key of a number over all that was written.
func (b *bench) pick(i int) string {
	for _, s := range b.series {
		if i < s.n {
			return b.key(s.name, i)
		}
		i -= s.n
	}
	return ""
}

// list lists all keys.
func (b *bench) list(ctx context.Context) error {
	return b.measure(benchPhase{Phase: "list"}, func(p *benchPhase, w *stopwatch) error {
		for after, more := "", true; more; {
			err := w.time(func() error {
				page, err := b.c.List(ctx, b.flags.prefix, after, benchPage)
				p.Values += len(page.Keys)
				after, more = page.Next, page.Next != ""
				return err
			})
			if err != nil {
				return err
			}
			b.tell("list", p.Values)
		}
		return nil
	})
}

// scan reads all values, and holds each to what was written.
func (b *bench) scan(ctx context.Context) error {
	want := b.keys()
	return b.measure(benchPhase{Phase: "scan"}, func(p *benchPhase, w *stopwatch) error {
		for after, more := "", true; more; {
			var page api.KeyValues
			err := w.time(func() (err error) {
				page, err = b.c.ReadRange(ctx, b.flags.prefix, after, benchPage, rhizome.ReadOptions{}, false)
				return err
			})
			if err != nil {
				return err
			}
			for i := range page.Values {
				if v := &page.Values[i]; want[v.Key] {
					b.compare(v.Key, v.Value)
					delete(want, v.Key)
					p.Values++
				}
			}
			after, more = page.Next, page.Next != ""
			b.tell("scan", p.Values)
		}
		b.missing(want)
		return nil
	})
}

// keys are all that were written.
func (b *bench) keys() map[string]bool {
	keys := make(map[string]bool, b.written())
	for i := range b.written() {
		keys[b.pick(i)] = true
	}
	return keys
}

// missing notes keys that ought to have come back.
func (b *bench) missing(keys map[string]bool) {
	if len(keys) == 0 {
		return
	}
	names := make([]string, 0, len(keys))
	for k := range keys {
		names = append(names, k)
	}
	b.compare(slices.Min(names), nil)
	b.report.Wrong += len(keys) - 1
	b.report.Compared += len(keys) - 1
}

// watch puts single values and times each until a watcher has it.
func (b *bench) watch(ctx context.Context) error {
	s, q := b.begin("watch"), b.quota(ctx)
	streaming, stop := context.WithCancel(ctx)
	defer stop()
	events := make(chan client.Event)
	ended := make(chan error, 1)
	go func() {
		ended <- b.forward(streaming, events)
	}()
	defer func() {
		stop()
		<-ended
	}()
	if _, err := b.next(ctx, events, ended, ""); err != nil {
		return err
	}
	return b.measure(benchPhase{Phase: "watch"}, func(p *benchPhase, w *stopwatch) error {
		for {
			first, last, ok := q.take(1)
			if !ok {
				return nil
			}
			s.n = last
			key := b.key(s.name, first)
			var got json.RawMessage
			err := w.time(func() (err error) {
				if err = b.commit(ctx, b.c, s.name, first, last); err == nil {
					got, err = b.next(ctx, events, ended, key)
				}
				return err
			})
			if err != nil {
				return err
			}
			b.compare(key, got)
			p.Values = last
			b.tell("watch", last)
		}
	})
}

// forward passes on the changes below the prefix from now on.
func (b *bench) forward(ctx context.Context, to chan<- client.Event) error {
	for e, err := range b.c.Changes(ctx, b.flags.prefix, "") {
		if err != nil {
			return err
		}
		select {
		case to <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// next waits for the change of a key and returns its value; for that of no key it
// waits until the stream is ready.
func (b *bench) next(ctx context.Context, events <-chan client.Event, ended chan error, key string) (json.RawMessage, error) {
	late := time.NewTimer(seenWithin)
	defer late.Stop()
	for {
		select {
		case e := <-events:
			if e.Name == "ready" {
				if key == "" {
					return nil, nil
				}
				continue
			}
			if got, ok := changed(e, key); ok {
				return got, nil
			}
		case err := <-ended:
			ended <- err // for who waits for the end
			return nil, err
		case <-late.C:
			return nil, api.Problemf(api.CodeTimeout, "a watcher has not seen %s within %v", key, seenWithin)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// changed returns what a change wrote at a key.
func changed(e client.Event, key string) (json.RawMessage, bool) {
	var c api.Change
	if json.Unmarshal(e.Data, &c) != nil {
		return nil, false
	}
	for i := range c.Deltas {
		if c.Deltas[i].Key == key {
			return c.Deltas[i].Value, true
		}
	}
	return nil, false
}

// catchUp reads all that was written back from the cursor before it.
func (b *bench) catchUp(ctx context.Context) error {
	want := b.keys()
	ctx, cancel := context.WithTimeout(ctx, behindWithin)
	defer cancel()
	return b.measure(benchPhase{Phase: "catch-up"}, func(p *benchPhase, _ *stopwatch) error {
		for e, err := range b.c.Changes(ctx, b.flags.prefix, b.cursor) {
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				b.missing(want)
				return nil
			case err != nil && api.ProblemOf(err).Code == api.CodeGone:
				p.Note = "the node has compacted it away meanwhile"
				return nil
			case err != nil:
				return err
			}
			var c api.Change
			if e.Name != "change" || json.Unmarshal(e.Data, &c) != nil {
				continue
			}
			for i := range c.Deltas {
				if d := &c.Deltas[i]; want[d.Key] {
					b.compare(d.Key, d.Value)
					delete(want, d.Key)
					p.Values++
				}
			}
			b.tell("catch-up", p.Values)
			if len(want) == 0 {
				break
			}
		}
		return nil
	})
}
