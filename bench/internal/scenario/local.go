package scenario

import (
	"context"

	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

// millis makes milliseconds of nanoseconds.
func millis(ns int64) float64 { return float64(ns) / 1e6 }

// puts measures single durable puts.
func puts(n, writers int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		n := c.count(n)
		w, err := c.alone(ctx, c.path("a"), true)
		if err != nil {
			return nil, err
		}
		rep, err := c.measure(ctx, w, worker.Request{Op: worker.Put, Count: n, Writers: writers, Seed: 1})
		if err != nil {
			return nil, err
		}
		most, err := c.peak()
		if err != nil {
			return nil, err
		}
		_, err = c.verify(ctx, w, 0, n, 1)
		return Sample{rate: float64(n) / rep.Seconds(), p50: millis(rep.P50), p99: millis(rep.P99), rss: most}, err
	}
}

// batches measures durable batches by one writer.
func batches(n, size int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		n := c.count(n)
		w, err := c.alone(ctx, c.path("a"), true)
		if err != nil {
			return nil, err
		}
		rep, err := c.measure(ctx, w, worker.Request{Op: worker.Batch, Count: n, Size: size, Seed: 2})
		if err != nil {
			return nil, err
		}
		most, err := c.peak()
		if err != nil {
			return nil, err
		}
		_, err = c.verify(ctx, w, 0, n, 2)
		return Sample{rate: float64(n) / rep.Seconds(), rss: most}, err
	}
}
