package worker_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/pebbleside"
	"github.com/rhizome-p2p/rhizome/bench/internal/side"
	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

// faulty is raw Pebble with a fault, or none.
type faulty struct {
	*pebbleside.Store
	fault string
}

func (f *faulty) Put(ctx context.Context, key string, value []byte) error {
	if key != side.Key(3) {
		return f.Store.Put(ctx, key, value)
	}
	switch f.fault {
	case "loses":
		return nil
	case "changes":
		return f.Store.Put(ctx, key, append([]byte{value[0] + 1}, value[1:]...))
	case "invents":
		return errors.Join(f.Store.Put(ctx, key, value), f.Store.Put(ctx, side.Key(1_000_000), value))
	case "refuses":
		return errors.New("the disk is full")
	case "hangs":
		<-ctx.Done()
		return ctx.Err()
	case "dies":
		println("no more of this")
		os.Exit(3)
	case "stops answering":
		select {}
	}
	return f.Store.Put(ctx, key, value)
}

func (f *faulty) List(ctx context.Context, prefix string, each func(side.Item) error) error {
	return f.Store.List(ctx, prefix, func(it side.Item) error {
		if err := each(it); err != nil || f.fault != "repeats" {
			return err
		}
		return each(it)
	})
}

// TestMain makes the test a worker where a test says so.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		err := worker.Serve(context.Background(), os.Stdin, os.Stdout, func(_ context.Context, o side.Options) (side.Store, error) {
			s, err := pebbleside.Open(o)
			return &faulty{s, os.Args[2]}, err
		})
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// start starts a worker with a fault and opens its store.
func start(t *testing.T, fault string) *worker.Client {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := worker.Start("faulty", exec.Command(self, "worker", fault))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Kill() })
	must(t, c, worker.Request{Op: worker.Open, Options: side.Options{Dir: t.TempDir()}})
	return c
}

func must(t *testing.T, c *worker.Client, req worker.Request) worker.Reply {
	t.Helper()
	rep, err := c.Do(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestFaults: a value that is lost, changed, invented or shown twice is reported with its key,
// and so is a worker that ends, with what it said.
func TestFaults(t *testing.T) {
	for _, tt := range []struct{ fault, want string }{
		{"none", ""},
		{"loses", side.Key(3) + " is missing"},
		{"changes", side.Key(3) + " has another value"},
		{"invents", side.Key(1_000_000) + " is there and should not be"},
		{"repeats", side.Key(0) + " is there and should not be"},
		{"refuses", "the disk is full"},
		{"dies", "no more of this"},
	} {
		c := start(t, tt.fault)
		_, err := c.Do(t.Context(), worker.Request{Op: worker.Put, Count: 10, Seed: 1, Writers: 2})
		if err == nil {
			_, err = c.Do(t.Context(), worker.Request{Op: worker.Verify, Count: 10, Seed: 1})
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.fault, err, tt.want)
		}
		if tt.want == "" {
			if err := c.Close(); err != nil {
				t.Errorf("%s: %v", tt.fault, err)
			}
		}
	}
}

// TestLimit: a request that takes too long ends as ErrLate, also where the worker
// does not answer any more.
func TestLimit(t *testing.T) {
	for _, fault := range []string{"hangs", "stops answering"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c := start(t, fault)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := c.Do(ctx, worker.Request{Op: worker.Put, Count: 10, Seed: 1}); !errors.Is(err, worker.ErrLate) {
				t.Errorf("%v, want ErrLate", err)
			}
		})
	}
}

// TestOperations: what a worker does to a store can be read back and is timed.
func TestOperations(t *testing.T) {
	c := start(t, "none")
	rep := must(t, c, worker.Request{Op: worker.Batch, Count: 2500, Size: 1000, Seed: 2})
	if rep.Seconds() <= 0 {
		t.Errorf("a batch took %v s", rep.Seconds())
	}
	must(t, c, worker.Request{Op: worker.Verify, Count: 2500, Seed: 2})
	if rep := must(t, c, worker.Request{Op: worker.List, Count: 5, Size: 1000, Keys: 2500, Seed: 2}); rep.P50 <= 0 || rep.P99 < rep.P50 {
		t.Errorf("listings took %d and %d ns", rep.P50, rep.P99)
	}
	must(t, c, worker.Request{Op: worker.Remove, First: 1, Count: 2499})
	must(t, c, worker.Request{Op: worker.Verify, Count: 1, Seed: 2})
	must(t, c, worker.Request{Op: worker.Overwrite, Count: 20, Seed: 3})
	must(t, c, worker.Request{Op: worker.Verify, Count: 1, Seed: 22})
	must(t, c, worker.Request{Op: worker.Pairs, First: 10, Count: 10, Seed: 4})
	must(t, c, worker.Request{Op: worker.Compact})
	if rep := must(t, c, worker.Request{Op: worker.Sizes}); rep.Rows != 1 || rep.Disk == 0 {
		t.Errorf("%d rows in %d bytes", rep.Rows, rep.Disk)
	}
	if rep := must(t, c, worker.Request{Op: worker.Left}); rep.Rows != 1 {
		t.Errorf("%d pairs left", rep.Rows)
	}
	if n, err := c.PeakRSS(); err != nil || n == 0 {
		t.Errorf("peak of %d bytes, %v", n, err)
	}
}

// TestRefusals: what a worker cannot do it says, and goes on.
func TestRefusals(t *testing.T) {
	c := start(t, "none")
	for _, tt := range []struct {
		req  worker.Request
		want string
	}{
		{worker.Request{Op: "dance"}, `no operation "dance"`},
		{worker.Request{Op: worker.Open}, "a store is open already"},
		{worker.Request{Op: worker.Await, Count: 1}, "this system has no peers"},
	} {
		if _, err := c.Do(t.Context(), tt.req); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.req.Op, err, tt.want)
		}
	}
	must(t, c, worker.Request{Op: worker.Close})
	if _, err := c.Do(t.Context(), worker.Request{Op: worker.Put, Count: 1}); err == nil || !strings.Contains(err.Error(), "no store is open") {
		t.Errorf("put without a store: %v", err)
	}
}

// TestKeys: an index is read back from its key, and no two values are equal.
func TestKeys(t *testing.T) {
	seen := make(map[string]bool)
	for _, i := range []int{0, 1, 999, 1000, 999_999, 1_234_567} {
		if got, err := side.Index(side.Key(i)); err != nil || got != i {
			t.Errorf("%d: %d, %v", i, got, err)
		}
		v := string(side.Value(1, i))
		if len(v) != side.ValueBytes || seen[v] {
			t.Errorf("value of %d: %d bytes, seen %v", i, len(v), seen[v])
		}
		seen[v] = true
	}
	if _, err := side.Index("key/x"); err == nil {
		t.Error("a key that was not written, and no error")
	}
}
