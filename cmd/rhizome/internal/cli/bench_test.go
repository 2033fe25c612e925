package cli

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

// newTestBench returns a bench over a node in this process.
func newTestBench(t *testing.T, f benchFlags) *bench {
	t.Helper()
	n, err := rhizome.Open(t.Context(), rhizome.Options{Dir: t.TempDir(), Create: true, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	c := client.InProcess(n)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	f.prefix, f.size = "p/", max(f.size, 1)
	b, err := newBench(t.Context(), []*client.Client{c, c, c}, f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A value that comes back otherwise than it was written, or not at all, is found
// by whatever reads it, and ends with the exit code of a failed verification.
func TestBenchComparison(t *testing.T) {
	const ops = 30
	for name, read := range map[string]func(*bench, context.Context) error{"scan": (*bench).scan, "get": (*bench).gets} {
		b := newTestBench(t, benchFlags{ops: ops, size: 40})
		if err := b.puts(t.Context(), "put", b.clients); err != nil {
			t.Fatal(err)
		}
		if err := read(b, t.Context()); err != nil || b.report.Wrong != 0 || b.report.Compared != ops || b.verdict(t.Context(), nil) != nil {
			t.Fatalf("%s: %v, %+v", name, err, b.report)
		}
		var all []api.Op
		for i := range ops {
			all = append(all, api.Op{Op: rhizome.OpPut, Key: b.key("put", i), Value: []byte(`"another"`)})
		}
		all[7] = api.Op{Op: rhizome.OpRm, Key: b.key("put", 7)}
		if _, err := b.c.Commit(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		if err := read(b, t.Context()); err != nil || b.report.Wrong != ops || b.report.Compared != 2*ops {
			t.Errorf("%s: %v, %+v", name, err, b.report)
		}
		p := api.ProblemOf(b.verdict(t.Context(), nil))
		if p.Code.Exit() != 1 || !strings.HasPrefix(p.Detail, "30 values are not what was written, the first at p/put/") {
			t.Errorf("%s: exit code %d: %s", name, p.Code.Exit(), p.Detail)
		}
	}
}

// What is removed at the end is all that was written and nothing else; what
// stands there still is told.
func TestBenchRemoval(t *testing.T) {
	b := newTestBench(t, benchFlags{ops: removeBatch + 10})
	if err := b.batches(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := api.Op{Op: rhizome.OpPut, Key: "p/other", Value: []byte("1")}
	if _, err := b.c.Commit(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	b.remove(t.Context())
	there, err := b.c.List(t.Context(), "", "", 0)
	if err != nil || len(there.Keys) != 1 || there.Keys[0] != "p/other" {
		t.Errorf("%d keys are there (%v), want p/other alone", len(there.Keys), err)
	}
	if r := &b.report; r.Removed != removeBatch+10 || r.Left != 1 {
		t.Errorf("%+v", r)
	}
	if err := b.verdict(t.Context(), nil); err == nil || err.Error() != "1 keys are left below p/" {
		t.Errorf("%v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.remove(ctx)
	if r := &b.report; r.Left != removeBatch+10 || r.why == nil {
		t.Errorf("a removal that failed: %+v", r)
	}
}

// Below a prefix where something stands nothing is measured.
func TestBenchPrefixInUse(t *testing.T) {
	b := newTestBench(t, benchFlags{ops: 1})
	if err := b.puts(t.Context(), "put", b.clients); err != nil {
		t.Fatal(err)
	}
	if _, err := newBench(t.Context(), b.clients, b.flags); api.ProblemOf(err).Code != api.CodeConflict {
		t.Errorf("%v", err)
	}
}

// A quota hands out each number once, whoever asks, up to its bound; one that is
// over, by time or by its context, hands out none.
func TestBenchQuota(t *testing.T) {
	b := &bench{flags: benchFlags{ops: 1000, size: 1}}
	q := b.quota(t.Context())
	var mu sync.Mutex
	seen := make(map[int]int)
	var all sync.WaitGroup
	for n := 1; n <= 4; n++ {
		all.Go(func() {
			for {
				first, last, ok := q.take(n)
				if !ok {
					return
				}
				mu.Lock()
				for i := first; i < last; i++ {
					seen[i]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for i := range 1000 {
		if seen[i] != 1 {
			t.Fatalf("%d was handed out %d times", i, seen[i])
		}
	}
	if len(seen) != 1000 {
		t.Errorf("%d numbers", len(seen))
	}

	b.flags.ops = 10
	q = b.quota(t.Context())
	for _, want := range [][2]int{{0, 4}, {4, 8}, {8, 10}} {
		if first, last, ok := q.take(4); !ok || first != want[0] || last != want[1] {
			t.Errorf("from %d to %d, %v, want %v", first, last, ok, want)
		}
	}
	if _, _, ok := q.take(4); ok {
		t.Error("a number past the bound")
	}

	b.flags = benchFlags{duration: time.Hour, size: maxBenchSize}
	if q := b.quota(t.Context()); q.max*maxBenchSize != maxBenchBytes {
		t.Errorf("%d values of %d bytes", q.max, maxBenchSize)
	}
	q = b.quota(t.Context())
	q.end = time.Now()
	for _, want := range []bool{true, false} { // the first is for the asking
		if _, _, ok := q.take(1); ok != want {
			t.Errorf("after the end: %v, want %v", ok, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, ok := b.quota(ctx).take(1); ok {
		t.Error("a number after the interrupt")
	}
}

// A quantile is the least that so many of a hundred do not exceed.
func TestBenchQuantile(t *testing.T) {
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(i+1))
	}
	for _, c := range []struct {
		of            []time.Duration
		percent, want int
	}{{took, 50, 100}, {took, 99, 198}, {took[:1], 50, 1}, {took[:1], 99, 1}, {took[:3], 50, 2}, {took[:3], 99, 3}} {
		if got := quantile(c.of, c.percent); got != time.Duration(c.want) {
			t.Errorf("p%d of %d is %d, want %d", c.percent, len(c.of), got, c.want)
		}
	}
}
