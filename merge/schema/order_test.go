package schema

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestOrder: each property comes after those that it depends on, in one order
// whatever that of the document; and cycles are found where there are some, and
// are cycles.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "properties")
		ids, deps := make([]string, n), make([][]int, n)
		for i := range n {
			ids[i] = fmt.Sprintf("p%d", (i*7)%13)
			for range rapid.IntRange(0, 2).Draw(t, "deps") {
				if d := rapid.IntRange(0, n-1).Draw(t, "dep"); !slices.Contains(deps[i], d) {
					deps[i] = append(deps[i], d)
				}
			}
		}
		order, cycles := sortByDependency(ids, deps)
		for _, c := range cycles {
			for k, i := range c {
				if !slices.Contains(deps[i], c[(k+1)%len(c)]) {
					t.Fatalf("%v is no cycle of %v", c, deps)
				}
				if ids[i] < ids[c[0]] {
					t.Fatalf("%v does not begin with its smallest id, of %v", c, ids)
				}
			}
		}
		if len(cycles) == 0 {
			at := make([]int, n)
			for k, i := range order {
				at[i] = k
			}
			for i := range deps {
				for _, d := range deps[i] {
					if at[d] >= at[i] {
						t.Fatalf("%v: %d is before %d, which it depends on: %v", order, i, d, deps)
					}
				}
			}
		} else if !isCyclic(deps) {
			t.Fatalf("cycles %v in %v", cycles, deps)
		}
		// The same properties in another order of the document.
		to := rapid.Permutation(slices.Collect(seq(n))).Draw(t, "permutation")
		ids2, deps2 := make([]string, n), make([][]int, n)
		for i := range n {
			ids2[to[i]] = ids[i]
			for _, d := range deps[i] {
				deps2[to[i]] = append(deps2[to[i]], to[d])
			}
		}
		order2, cycles2 := sortByDependency(ids2, deps2)
		if len(cycles) != len(cycles2) {
			t.Fatalf("cycles %v and %v", cycles, cycles2)
		}
		for k := range order {
			if ids[order[k]] != ids2[order2[k]] && len(cycles) == 0 {
				t.Fatalf("orders %v and %v", order, order2)
			}
		}
	})
}

func seq(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

// isCyclic takes away what depends on nothing that is left, until nothing goes.
func isCyclic(deps [][]int) bool {
	gone := make([]bool, len(deps))
	for again := true; again; {
		again = false
		for i := range deps {
			if !gone[i] && !slices.ContainsFunc(deps[i], func(d int) bool { return !gone[d] }) {
				gone[i], again = true, true
			}
		}
	}
	return slices.Contains(gone, false)
}

// TestOrderByID: properties that do not depend on each other stand by id.
func TestOrderByID(t *testing.T) {
	s := mustParse(t, schemaOf(`{"id":"z","path":"/z"},{"id":"a","path":"/a","resolver":"r","depends":["z"]},{"id":"m","path":"/m"}`))
	var got []string
	for _, i := range s.built.order {
		got = append(got, s.Properties[i].ID)
	}
	if want := []string{"m", "z", "a"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}
