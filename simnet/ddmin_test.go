package simnet

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Where a failure needs certain items and no others, ddmin finds just them, in
// order; and whatever a failure needs, nothing can be left out of what it finds.
func TestDdmin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		items := make([]int, n)
		for i := range items {
			items[i] = i
		}
		needed := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, -1, rapid.ID).Draw(t, "needed")
		slices.Sort(needed)
		got := ddmin(items, func(part []int) bool {
			return !slices.ContainsFunc(needed, func(x int) bool { return !slices.Contains(part, x) })
		})
		if !slices.Equal(got, needed) {
			t.Errorf("found %v, needed %v", got, needed)
		}

		sum := rapid.IntRange(0, 60).Draw(t, "sum")
		heavy := func(part []int) bool {
			s := 0
			for _, x := range part {
				s += x
			}
			return s >= sum
		}
		if !heavy(items) {
			return
		}
		got = ddmin(items, heavy)
		for i := range got {
			if rest := slices.Delete(slices.Clone(got), i, i+1); len(got) > 1 && heavy(rest) {
				t.Errorf("found %v, though %v is enough for %d", got, rest, sum)
			}
		}
	})
}
