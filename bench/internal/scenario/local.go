package scenario

import (
	"context"

	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

// millis makes milliseconds of nanoseconds.
func millis(ns int64) float64 { return float64(ns) / 1e6 }

// perSlice is how much of n one slice has, at least one.
func (c *cell) perSlice(n int) int { return max(c.count(n)/sliceCount, 1) }

// puts measures single durable puts.
func puts(n, writers int) *sliced {
	return &sliced{
		slice: func(ctx context.Context, c *cell, w *worker.Client, i int) (worker.Reply, error) {
			per := c.perSlice(n)
			return c.measure(ctx, w, worker.Request{Op: worker.Put, First: i * per, Count: per, Writers: writers, Seed: 1})
		},
		finish: func(ctx context.Context, c *cell, w *worker.Client) (Sample, error) {
			n := c.perSlice(n) * sliceCount
			most, err := c.peak()
			if err != nil {
				return nil, err
			}
			_, err = c.verify(ctx, w, 0, n, 1)
			return Sample{rate: float64(n) / c.took, p50: millis(c.last.P50), p99: millis(c.last.P99), rss: most}, err
		},
	}
}

// batches measures durable batches by one writer.
func batches(n, size int) *sliced {
	return &sliced{
		slice: func(ctx context.Context, c *cell, w *worker.Client, i int) (worker.Reply, error) {
			per := c.perSlice(n)
			return c.measure(ctx, w, worker.Request{Op: worker.Batch, First: i * per, Count: per, Size: size, Seed: 2})
		},
		finish: func(ctx context.Context, c *cell, w *worker.Client) (Sample, error) {
			n := c.perSlice(n) * sliceCount
			most, err := c.peak()
			if err != nil {
				return nil, err
			}
			_, err = c.verify(ctx, w, 0, n, 2)
			return Sample{rate: float64(n) / c.took, rss: most}, err
		},
	}
}

// overwriteRemove measures one key that is overwritten n times and then removed.
func overwriteRemove(n int) *sliced {
	return &sliced{
		slice: func(ctx context.Context, c *cell, w *worker.Client, i int) (worker.Reply, error) {
			per := c.perSlice(n)
			return c.measure(ctx, w, worker.Request{Op: worker.Overwrite, Count: per, Seed: 7 + uint64(i*per)})
		},
		finish: func(ctx context.Context, c *cell, w *worker.Client) (Sample, error) {
			n := c.perSlice(n) * sliceCount
			// The last value is what reads now.
			if _, err := c.verify(ctx, w, 0, 1, 7+uint64(n)-1); err != nil {
				return nil, err
			}
			// The rate stands also where the removal comes to its limit.
			sample := Sample{rate: float64(n) / c.took}
			removed, err := c.measure(ctx, w, worker.Request{Op: worker.Remove, Count: 1})
			if err != nil {
				return sample, err
			}
			if sample[rss], err = c.peak(); err != nil {
				return nil, err
			}
			if _, err := c.verify(ctx, w, 0, 0, 7); err != nil {
				return nil, err
			}
			left, err := c.do(ctx, w, worker.Request{Op: worker.Sizes})
			sample[elapsed], sample[rowsLeft] = removed.Seconds(), float64(left.Rows)
			return sample, err
		},
	}
}

// putRemove measures n keys, each put and removed, and what is left of them.
func putRemove(n int) *sliced {
	return &sliced{
		slice: func(ctx context.Context, c *cell, w *worker.Client, i int) (worker.Reply, error) {
			per := c.perSlice(n)
			return c.measure(ctx, w, worker.Request{Op: worker.Pairs, First: i * per, Count: per, Seed: 8})
		},
		finish: func(ctx context.Context, c *cell, w *worker.Client) (Sample, error) {
			n := c.perSlice(n) * sliceCount
			most, err := c.peak()
			if err != nil {
				return nil, err
			}
			if _, err := c.verify(ctx, w, 0, 0, 8); err != nil {
				return nil, err
			}
			rows, err := c.do(ctx, w, worker.Request{Op: worker.Sizes})
			if err != nil {
				return nil, err
			}
			if _, err := c.do(ctx, w, worker.Request{Op: worker.Compact}); err != nil {
				return nil, err
			}
			pairs, err := c.do(ctx, w, worker.Request{Op: worker.Left})
			return Sample{
				rate: float64(n) / c.took, rowsLeft: float64(rows.Rows), pairsLeft: float64(pairs.Rows), rss: most,
			}, err
		},
	}
}

// disk measures what n keys of a put each take, before and after compaction.
func disk(n, writers int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		n := c.count(n)
		w, err := c.alone(ctx, c.path("a"), true)
		if err != nil {
			return nil, err
		}
		if _, err := c.measure(ctx, w, worker.Request{Op: worker.Put, Count: n, Writers: writers, Seed: 9}); err != nil {
			return nil, err
		}
		before, err := c.do(ctx, w, worker.Request{Op: worker.Sizes})
		if err != nil {
			return nil, err
		}
		compacted, err := c.measure(ctx, w, worker.Request{Op: worker.Compact})
		if err != nil {
			return nil, err
		}
		after, err := c.do(ctx, w, worker.Request{Op: worker.Sizes})
		if err != nil {
			return nil, err
		}
		most, err := c.peak()
		if err != nil {
			return nil, err
		}
		_, err = c.verify(ctx, w, 0, n, 9)
		return Sample{
			diskBefore: float64(before.Disk), diskBytes: float64(after.Disk), elapsed: compacted.Seconds(), rss: most,
		}, err
	}
}

// list measures listings of keys and values: 1,000 under a prefix out of n, and
// all of them.
func list(n, listings int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		n, listings := c.count(n), c.count(listings)
		dir, err := c.prepared(c.system.family(), func(dir string) error {
			w, err := c.helper(ctx, dir)
			if err != nil {
				return err
			}
			_, err = c.do(ctx, w, worker.Request{Op: worker.Batch, Count: n, Size: loadBatch, Seed: 10})
			return ended(w, err)
		})
		if err != nil {
			return nil, err
		}
		w, err := c.alone(ctx, dir, false)
		if err != nil {
			return nil, err
		}
		rep, err := c.measure(ctx, w, worker.Request{Op: worker.List, Count: listings, Size: loadBatch, Keys: n, Seed: 10})
		if err != nil {
			return nil, err
		}
		sample := Sample{p50: millis(rep.P50), p99: millis(rep.P99)}
		all, err := c.measure(ctx, w, worker.Request{Op: worker.Verify, Count: n, Seed: 10})
		if err != nil {
			return sample, err // which stands also where the whole listing comes to its limit
		}
		sample[elapsedAll] = all.Seconds()
		sample[rss], err = c.peak()
		return sample, err
	}
}

// memory measures the peak of a process that writes n keys, overwrites none of
// them, and reads them in listings.
func memory(n, writers int) func(context.Context, *cell) (Sample, error) {
	return func(ctx context.Context, c *cell) (Sample, error) {
		n := c.count(n)
		w, err := c.alone(ctx, c.path("a"), true)
		if err != nil {
			return nil, err
		}
		if _, err := c.measure(ctx, w, worker.Request{Op: worker.Put, Count: n, Writers: writers, Seed: 11}); err != nil {
			return nil, err
		}
		if _, err := c.verify(ctx, w, 0, n, 11); err != nil {
			return nil, err
		}
		most, err := c.peak()
		return Sample{rss: most}, err
	}
}
