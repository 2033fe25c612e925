package scenario

import (
	"context"
	"slices"

	"github.com/rhizome-p2p/rhizome/bench/internal/side"
	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

// warmUp is how many puts go before those that are measured.
const warmUp = 10

// visible measures single puts, each of which is waited for at another replica
// before the next is begun.
func visible(n int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		n := c.count(n)
		a, b, err := c.pair(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := c.do(ctx, b, worker.Request{Op: worker.Watch}); err != nil {
			return nil, err
		}
		var took []float64
		for i := range warmUp + n {
			put, err := c.measure(ctx, a, worker.Request{Op: worker.Put, First: i, Count: 1, Seed: 3})
			if err != nil {
				return nil, err
			}
			shown, err := c.measure(ctx, b, worker.Request{Op: worker.Shown, Key: side.Key(i)})
			if err != nil {
				return nil, err
			}
			if i >= warmUp {
				took = append(took, millis(shown.End-put.Begin))
			}
		}
		c.took = 0
		for _, t := range took {
			c.took += t / 1000
		}
		slices.Sort(took)
		most, err := c.peak()
		if err != nil {
			return nil, err
		}
		if _, err := c.verify(ctx, b, 0, warmUp+n, 3); err != nil {
			return nil, err
		}
		return Sample{p50: took[(n-1)/2], p99: took[(n-1)*99/100], rss: most}, nil
	}
}

// burst measures many puts at once until another replica has them all.
func burst(n, writers int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		n := c.count(n)
		a, b, err := c.pair(ctx)
		if err != nil {
			return nil, err
		}
		sent0, received0, err := c.wire(ctx, b)
		if err != nil {
			return nil, err
		}
		var replies [2]worker.Reply
		err = inParallel([]*worker.Client{a, b}, func(i int, w *worker.Client) (err error) {
			req := worker.Request{Op: worker.Put, Count: n, Writers: writers, Seed: 4}
			if i == 1 {
				req.Op = worker.Await
			}
			replies[i], err = c.within(ctx, w, req)
			return err
		})
		if err != nil {
			return nil, err
		}
		c.took = float64(replies[1].End-replies[0].Begin) / 1e9
		sent, received, err := c.wire(ctx, b)
		if err != nil {
			return nil, err
		}
		most, err := c.peak()
		if err != nil {
			return nil, err
		}
		if _, err := c.verify(ctx, b, 0, n, 4); err != nil {
			return nil, err
		}
		return Sample{elapsed: c.took, wireBytes: sent - sent0 + received - received0, rss: most}, nil
	}
}
