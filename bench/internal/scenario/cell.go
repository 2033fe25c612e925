package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/side"
	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

// minCount is the least that a count is scaled down to.
const minCount = 10

// prepareWithin bounds what is not measured: filling stores and reading back.
const prepareWithin = 15 * time.Minute

// A cell is one run of one system in one scenario.
type cell struct {
	*suite
	scenario string
	run      int
	system   System
	dir      string // of this cell alone
	workers  []*worker.Client
	took     float64 // seconds of what was measured
	// last is the reply to the last slice, of a scenario in slices.
	last worker.Reply
}

// count scales a number of keys or calls.
func (c *cell) count(n int) int {
	return min(n, max(minCount, int(math.Round(float64(n)*c.cfg.Scale))))
}

// start starts a worker of the cell's system.
func (c *cell) start() (*worker.Client, error) {
	name := fmt.Sprintf("%s/%d", c.system, len(c.workers))
	w, err := worker.Start(name, c.cfg.Command(c.system))
	if err != nil {
		return nil, err
	}
	c.workers = append(c.workers, w)
	return w, nil
}

// do asks for what is not measured.
func (c *cell) do(ctx context.Context, w *worker.Client, req worker.Request) (worker.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareWithin)
	defer cancel()
	return w.Do(ctx, req)
}

// measure asks for what is measured, one thing after another.
func (c *cell) measure(ctx context.Context, w *worker.Client, req worker.Request) (worker.Reply, error) {
	rep, err := c.within(ctx, w, req)
	c.took += rep.Seconds()
	return rep, err
}

// within asks for what is measured, within what is left of the cell's limit.
// Unlike measure it may be called for several workers at once; who calls it says
// how long all took.
func (c *cell) within(ctx context.Context, w *worker.Client, req worker.Request) (worker.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Limit-time.Duration(c.took*float64(time.Second)))
	defer cancel()
	return w.Do(ctx, req)
}

// alone starts a worker and opens a store without peers.
func (c *cell) alone(ctx context.Context, dir string, sync bool) (*worker.Client, error) {
	w, err := c.start()
	if err != nil {
		return nil, err
	}
	_, err = c.do(ctx, w, worker.Request{Op: worker.Open, Options: side.Options{Dir: dir, Sync: sync}})
	return w, err
}

// replica starts a worker and opens a store with peers.
func (c *cell) replica(ctx context.Context, dir, join string) (*worker.Client, worker.Reply, error) {
	w, err := c.start()
	if err != nil {
		return nil, worker.Reply{}, err
	}
	rep, err := c.do(ctx, w, worker.Request{Op: worker.Open, Options: side.Options{Dir: dir, Network: true, Join: join, Sync: true}})
	return w, rep, err
}

// pair opens two replicas that know each other and are ready.
func (c *cell) pair(ctx context.Context) (a, b *worker.Client, err error) {
	a, at, err := c.replica(ctx, c.path("a"), "")
	if err != nil {
		return nil, nil, err
	}
	b, _, err = c.replica(ctx, c.path("b"), at.Address)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range []*worker.Client{a, b} {
		if _, err := c.do(ctx, w, worker.Request{Op: worker.Ready, Count: 1}); err != nil {
			return nil, nil, err
		}
	}
	return a, b, nil
}

func (c *cell) path(name string) string { return filepath.Join(c.dir, name) }

// verify reads back all that a store holds.
func (c *cell) verify(ctx context.Context, w *worker.Client, first, count int, seed uint64) (worker.Reply, error) {
	return c.do(ctx, w, worker.Request{Op: worker.Verify, First: first, Count: count, Seed: seed})
}

// peak is the most memory that one of the cell's processes has had.
func (c *cell) peak() (float64, error) {
	var most int64
	for _, w := range c.workers {
		n, err := w.PeakRSS()
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return float64(most), nil
}

// wire is what went over the connections of a worker.
func (c *cell) wire(ctx context.Context, w *worker.Client) (sent, received float64, err error) {
	rep, err := c.do(ctx, w, worker.Request{Op: worker.Wire})
	return float64(rep.Traffic.Sent), float64(rep.Traffic.Received), err
}

// end ends all workers, at once where the cell has failed, and removes what they
// left.
func (c *cell) end(failed bool) error {
	var errs []error
	for _, w := range c.workers {
		if failed {
			errs = append(errs, w.Kill())
		} else {
			errs = append(errs, w.Close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// inParallel runs a function for each worker and waits for all.
func inParallel(workers []*worker.Client, f func(i int, w *worker.Client) error) error {
	errs := make(chan error)
	for i, w := range workers {
		go func() { errs <- f(i, w) }()
	}
	var all []error
	for range workers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
