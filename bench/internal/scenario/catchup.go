package scenario

import (
	"context"
	"fmt"

	"github.com/rhizome-p2p/rhizome/bench/internal/side"
	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

// loadBatch is how many rows raw Pebble takes at once where it stands for the
// limit of a catch-up.
const loadBatch = 1000

// fresh measures a replica that begins with nothing beside one that has n keys,
// each of a put of its own, from its opening until it has all of them. Raw Pebble
// writes the same rows in large batches.
func fresh(n, writers int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		n := c.count(n)
		if c.system == Limit {
			return c.freshLimit(ctx, n)
		}
		dir, err := c.prepared(c.system.family(), func(dir string) error { return c.fill(ctx, dir, n, writers) })
		if err != nil {
			return nil, err
		}
		source, at, err := c.replica(ctx, dir, "")
		if err != nil {
			return nil, err
		}
		sink, err := c.start()
		if err != nil {
			return nil, err
		}
		opened, err := c.measure(ctx, sink, worker.Request{Op: worker.Open, Options: side.Options{
			Dir: c.path("sink"), Network: true, Join: at.Address,
		}})
		if err != nil {
			return nil, err
		}
		done, err := c.measure(ctx, sink, worker.Request{Op: worker.Await, Count: n})
		if err != nil {
			return nil, err
		}
		c.took = float64(done.End-opened.Begin) / 1e9
		sent, received, err := c.wire(ctx, sink)
		if err != nil {
			return nil, err
		}
		most, err := c.peak()
		if err != nil {
			return nil, err
		}
		if _, err := c.verify(ctx, sink, 0, n, 5); err != nil {
			return nil, err
		}
		_, err = c.do(ctx, source, worker.Request{Op: worker.Forget}) // the next run's is another peer
		bytes := sent + received
		return Sample{
			elapsed: c.took, openTime: opened.Seconds(), rate: float64(n) / c.took, rss: most,
			wireBytes: bytes, wirePayload: bytes / float64(n*side.ValueBytes),
		}, err
	}
}

func (c *cell) freshLimit(ctx context.Context, n int) (Sample, error) {
	w, err := c.alone(ctx, c.path("a"), false)
	if err != nil {
		return nil, err
	}
	rep, err := c.measure(ctx, w, worker.Request{Op: worker.Batch, Count: n, Size: loadBatch, Seed: 5})
	if err != nil {
		return nil, err
	}
	most, err := c.peak()
	if err != nil {
		return nil, err
	}
	_, err = c.verify(ctx, w, 0, n, 5)
	return Sample{elapsed: rep.Seconds(), rate: float64(n) / rep.Seconds(), rss: most}, err
}

// fill makes a store that holds n keys of a put each. It is not measured, so
// sides that can do without an fsync for each put do without.
func (c *cell) fill(ctx context.Context, dir string, n, writers int) error {
	w, err := c.helper(ctx, dir)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, w, worker.Request{Op: worker.Put, Count: n, Writers: writers, Seed: 5})
	return ended(w, err)
}

// apartPuts is how much each of two replicas writes while they are apart.
const apartPuts = 100

// resync measures two replicas that hold the same n keys, have each written more
// while apart, and are connected: until both have all, and what that takes on the
// wire.
func resync(n int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		n, more := c.count(n), c.count(apartPuts)
		if err := c.shared(ctx, n); err != nil {
			return nil, err
		}
		// Each on an address of its own, and neither knows the other.
		a, at, err := c.replica(ctx, c.path("a"), "")
		if err != nil {
			return nil, err
		}
		b, _, err := c.replica(ctx, c.path("b"), "")
		if err != nil {
			return nil, err
		}
		for i, w := range []*worker.Client{a, b} {
			if _, err := c.do(ctx, w, worker.Request{Op: worker.Put, First: n + i*more, Count: more, Seed: 5}); err != nil {
				return nil, err
			}
		}
		if sent, _, err := c.wire(ctx, b); err != nil || sent != 0 {
			return nil, fmt.Errorf("%v bytes went out before they were connected: %w", sent, err)
		}
		return c.reconnect(ctx, a, b, at.Dial, n, more)
	}
}

func (c *cell) reconnect(ctx context.Context, a, b *worker.Client, dial string, n, more int) (Sample, error) {
	// In the order of the workers below.
	var replies [2]worker.Reply
	var connected worker.Reply
	err := inParallel([]*worker.Client{a, b}, func(i int, w *worker.Client) (err error) {
		if i == 1 {
			if connected, err = c.within(ctx, w, worker.Request{Op: worker.Connect, Address: dial}); err != nil {
				return err
			}
		}
		replies[i], err = c.within(ctx, w, worker.Request{Op: worker.Await, Count: 2 * more})
		return err
	})
	if err != nil {
		return nil, err
	}
	c.took = float64(max(replies[0].End, replies[1].End)-connected.Begin) / 1e9
	sent, received, err := c.wire(ctx, b)
	if err != nil {
		return nil, err
	}
	most, err := c.peak()
	if err != nil {
		return nil, err
	}
	for _, w := range []*worker.Client{a, b} {
		if _, err := c.verify(ctx, w, 0, n+2*more, 5); err != nil {
			return nil, err
		}
	}
	return Sample{elapsed: c.took, wireBytes: sent + received, wireOneWay: max(sent, received), rss: most}, nil
}

// shared makes two stores, a and b, that hold the same n keys. Rhizome's get
// there by replication, since each has an identity; go-ds-crdt's have none, so
// that one is the copy of the other.
func (c *cell) shared(ctx context.Context, n int) error {
	if c.system.isPeer() {
		dir, err := c.prepared(c.system.family(), func(dir string) error { return c.fill(ctx, dir, n, 1) })
		for _, name := range []string{"a", "b"} {
			if err == nil {
				err = copyDir(c.path(name), dir)
			}
		}
		return err
	}
	a, b, err := c.pair(ctx)
	if err != nil {
		return err
	}
	if _, err := c.do(ctx, a, worker.Request{Op: worker.Put, Count: n, Writers: 64, Seed: 5}); err != nil {
		return err
	}
	if _, err := c.do(ctx, b, worker.Request{Op: worker.Await, Count: n}); err != nil {
		return err
	}
	return c.part(ctx, a, b)
}

// part closes replicas and makes each forget the others.
func (c *cell) part(ctx context.Context, workers ...*worker.Client) error {
	for _, op := range []worker.Op{worker.Close, worker.Open, worker.Forget, worker.Close} {
		for i, w := range workers {
			dir := c.path(string(rune('a' + i)))
			if _, err := c.do(ctx, w, worker.Request{Op: op, Options: side.Options{Dir: dir}}); err != nil {
				return err
			}
		}
	}
	c.workers = c.workers[:0]
	for _, w := range workers {
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}

// tenReplicas is how many replicas the scenario ten has.
const tenReplicas = 10

// ten measures ten replicas, each of which writes its share of n keys, until all
// have all.
func ten(n int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		share := c.count(n) / tenReplicas
		n := share * tenReplicas
		if err := c.meet(ctx); err != nil {
			return nil, err
		}
		before, err := c.allSent(ctx)
		if err != nil {
			return nil, err
		}
		puts, awaits := make([]worker.Reply, tenReplicas), make([]worker.Reply, tenReplicas)
		err = inParallel(c.workers, func(i int, w *worker.Client) (err error) {
			if puts[i], err = c.within(ctx, w, worker.Request{Op: worker.Put, First: i * share, Count: share, Seed: 6}); err != nil {
				return err
			}
			awaits[i], err = c.within(ctx, w, worker.Request{Op: worker.Await, Count: n})
			return err
		})
		if err != nil {
			return nil, err
		}
		begin, end := puts[0].Begin, awaits[0].End
		for i := range tenReplicas {
			begin, end = min(begin, puts[i].Begin), max(end, awaits[i].End)
		}
		c.took = float64(end-begin) / 1e9
		after, err := c.allSent(ctx)
		if err != nil {
			return nil, err
		}
		most, err := c.peak()
		if err != nil {
			return nil, err
		}
		for _, w := range c.workers {
			if _, err := c.verify(ctx, w, 0, n, 6); err != nil {
				return nil, err
			}
		}
		return Sample{elapsed: c.took, wireBytes: after - before, rss: most}, nil
	}
}

// meet opens ten replicas that know each other: Rhizome's learn of each other
// from the first, go-ds-crdt's are connected one by one.
func (c *cell) meet(ctx context.Context) error {
	var addresses []worker.Reply
	for i := range tenReplicas {
		join := ""
		if i > 0 {
			join = addresses[0].Address
		}
		w, at, err := c.replica(ctx, c.path(fmt.Sprint(i)), join)
		if err != nil {
			return err
		}
		addresses = append(addresses, at)
		for j := 1; j < i && c.system.isPeer(); j++ {
			if _, err := c.do(ctx, w, worker.Request{Op: worker.Connect, Address: addresses[j].Dial}); err != nil {
				return err
			}
		}
	}
	return inParallel(c.workers, func(_ int, w *worker.Client) error {
		_, err := c.do(ctx, w, worker.Request{Op: worker.Ready, Count: tenReplicas - 1})
		return err
	})
}

// allSent is what all workers together have sent.
func (c *cell) allSent(ctx context.Context) (total float64, err error) {
	for _, w := range c.workers {
		sent, _, err := c.wire(ctx, w)
		if err != nil {
			return 0, err
		}
		total += sent
	}
	return total, nil
}
