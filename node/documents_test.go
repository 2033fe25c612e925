package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A scan and a list show each entity with a prefix once, in byte order, as a read
// of it alone does: whatever the names, however many rows an entity has, and from
// wherever one goes on.
func TestScanIsReads(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		defer b.Close()
		name := rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 'b', '/', 0xff}), 1, 4, -1)
		names := rapid.SliceOfNDistinct(name, 1, 8, rapid.ID).Draw(rt, "names")
		for _, entity := range names {
			rows := rapid.SampledFrom([]int{1, 2, stepsInEntity, 3*stepsInEntity + 1}).Draw(rt, "rows")
			ops := make([]Op, rows)
			for i := range ops {
				ops[i] = Op{Kind: OpPut, Entity: entity, Path: delta.Path(fmt.Sprintf("/%d", i)), Value: int64(i)}
			}
			b.must(ops...)
		}
		slices.Sort(names)
		prefix := rapid.StringOfN(rapid.SampledFrom([]rune{0, 'a', 'b'}), 0, 2, -1).Draw(rt, "prefix")
		after := rapid.SampledFrom(append([]string{""}, names...)).Draw(rt, "after")
		var want []string
		for _, entity := range names {
			if strings.HasPrefix(entity, prefix) && entity > after {
				want = append(want, entity)
			}
		}
		ids, _, err := b.List(t.Context(), prefix, after, 0)
		if err != nil || !slices.Equal(ids, want) {
			rt.Fatalf("list %q after %q: %q, %v; want %q", prefix, after, ids, err, want)
		}
		var scanned []string
		for r, err := range b.Scan(t.Context(), prefix, after, ReadOptions{}) {
			if err != nil {
				rt.Fatal(err)
			}
			scanned = append(scanned, r.Entity)
			one, err := b.Get(t.Context(), r.Entity, "")
			if err != nil || one.ETag != r.ETag || len(one.Survivors) != len(r.Survivors) {
				rt.Fatalf("%q: scanned %+v, read %+v, %v", r.Entity, r, one, err)
			}
		}
		if !slices.Equal(scanned, want) {
			rt.Fatalf("scan %q after %q: %q, want %q", prefix, after, scanned, want)
		}
	})
}
