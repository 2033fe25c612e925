package rhizome

import (
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"
)

// BenchmarkViewOnDisk brings a view over 1,000,000 rows of a repo up to date after
// a write to one of them, and reads the item. The write itself is not measured.
// VIEW_ROWS sets another number of rows.
func BenchmarkViewOnDisk(b *testing.B) {
	ctx, dir := b.Context(), b.TempDir()
	rows := sizeFrom(b, "VIEW_ROWS", 1_000_000)
	if err := Init(dir, "bench"); err != nil {
		b.Fatal(err)
	}
	write(b, dir, rows, func(i int, _ *mathrand.Rand) Op {
		return Op{Kind: OpPut, Entity: fmt.Sprintf("host/%07d", i), Path: "/load", Value: int64(i)}
	})
	n := open(b, Options{Dir: dir, Offline: true})
	if _, err := n.AddView(ctx, "v", []byte(`{"entities": ["host/*"], "where": {"/load": {"ge": 0}}}`)); err != nil {
		b.Fatal(err)
	}
	show := func(i int) string {
		items, _, err := n.ShowView(ctx, "v", fmt.Sprintf("host/%07d", i-1), 1, "")
		if err != nil || len(items) != 1 {
			b.Fatal(items, err)
		}
		return string(items[0].Value)
	}
	show(1)
	start := time.Now()
	show(1)
	build := time.Since(start).Seconds()
	r := mathrand.New(mathrand.NewPCG(3, 3))
	var took []time.Duration
	for b.Loop() {
		i, x := 1+r.IntN(rows-1), r.IntN(1<<30)
		must(n.PutAt(ctx, fmt.Sprintf("host/%07d", i), "/load", int64(x)))
		start := time.Now()
		got := show(i)
		took = append(took, time.Since(start))
		if want := fmt.Sprintf(`{"load":%d}`, x); got != want {
			b.Fatalf("the view shows %s, want %s", got, want)
		}
	}
	slices.Sort(took)
	b.ReportMetric(build, "build-s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
