package node

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// viewRows is how many rows the views of the benchmarks are over.
const viewRows = 1_000_000

// bigBench is a node in memory, where nothing waits for a disk, with a view over
// all of its rows that is kept.
func bigBench(b *testing.B) *bench {
	b.Helper()
	n := benchOver(b, storage.NewMemory())
	if err := n.Register("double", merge.ResolverFunc(double)); err != nil {
		b.Fatal(err)
	}
	n.system("$schema/host", "/1", fmt.Sprintf(hostSchema, 1, "keep", "go:double"))
	for i := 0; i < viewRows; i += 1000 {
		ops := make([]Op, 1000)
		for j := range ops {
			ops[j] = Op{Kind: OpPut, Entity: fmt.Sprintf("host/%07d", i+j), Path: "/load", Value: int64(j)}
		}
		n.must(ops...)
	}
	n.system(catalog.ViewPrefix+"v", "", `{"entities": ["host/*"], "where": {"/load": {"ge": 0}}, "project": ["/load"]}`)
	for range keepAfter {
		if _, _, err := n.ShowView(b.Context(), "v", "", 1, ""); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

// BenchmarkViewUpdate measures what it takes to bring a view over 1,000,000 rows
// up to date after an entry that touched one of them.
func BenchmarkViewUpdate(b *testing.B) {
	n := bigBench(b)
	k := n.views.kept["v"]
	r := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		entity := fmt.Sprintf("host/%07d", r.IntN(viewRows))
		n.put(entity, "/load", int64(r.IntN(1<<30)))
		if _, err := k.current(b.Context()); err != nil {
			b.Fatal(err)
		}
		// The same item once more, as if it had not been looked at.
		batch := k.items.NewBatch()
		batch.Set([]byte(entity), []byte("{}\n"))
		if err := storage.ApplySync(k.items, batch); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		changed, err := k.pass(map[string]bool{entity: true}, nil)
		if err != nil || len(changed) != 1 {
			b.Fatal(changed, err)
		}
	}
}

// BenchmarkWriteToView measures a local write and the read of a view over
// 1,000,000 rows that shows it; nothing waits for a disk.
func BenchmarkWriteToView(b *testing.B) {
	n := bigBench(b)
	r := rand.New(rand.NewPCG(2, 2))
	var took []time.Duration
	for b.Loop() {
		i, x := 1+r.IntN(viewRows-1), int64(r.IntN(1<<30))
		start := time.Now()
		n.put(fmt.Sprintf("host/%07d", i), "/load", x)
		items, _, err := n.ShowView(b.Context(), "v", fmt.Sprintf("host/%07d", i-1), 1, "")
		took = append(took, time.Since(start))
		want := string(delta.AppendAnyJSON(nil, map[string]any{"load": x}))
		if err != nil || len(items) != 1 || string(items[0].Value) != want {
			b.Fatalf("%v %v, want %s", items, err, want)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
