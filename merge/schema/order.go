package schema

import (
	"cmp"
	"slices"
	"strings"
)

// sortByDependency returns the properties in an order in which each comes after
// those that it depends on: by the length of the longest chain of dependencies,
// then by id. Where there are cycles it returns them instead, each beginning
// with its smallest id. deps are indices; ids are all different.
func sortByDependency(ids []string, deps [][]int) (order []int, cycles [][]int) {
	left := make(map[int]bool, len(ids)) // not yet settled
	users := make([][]int, len(ids))
	open := make([]int, len(ids)) // dependencies that are not settled
	depth := make([]int, len(ids))
	for i := range ids {
		left[i] = true
		open[i] = len(deps[i])
		for _, d := range deps[i] {
			users[d] = append(users[d], i)
		}
	}
	settle := func(ready []int) {
		for len(ready) > 0 {
			i := ready[0]
			ready = ready[1:]
			if !left[i] {
				continue
			}
			delete(left, i)
			order = append(order, i)
			for _, u := range users[i] {
				depth[u] = max(depth[u], depth[i]+1)
				if open[u]--; open[u] == 0 {
					ready = append(ready, u)
				}
			}
		}
	}
	var ready []int
	for i := range ids {
		if open[i] == 0 {
			ready = append(ready, i)
		}
	}
	settle(ready)
	byID := func(a, b int) int { return strings.Compare(ids[a], ids[b]) }
	for len(left) > 0 {
		c := findCycle(ids, deps, left)
		cycles = append(cycles, c)
		settle(c) // taken out, so that the next one is another
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(depth[a], depth[b]), byID(a, b)) })
	slices.SortFunc(cycles, func(a, b []int) int { return byID(a[0], b[0]) })
	return order, cycles
}

// findCycle follows the smallest dependency of each, from the smallest id on.
// All that are left depend on one that is left.
func findCycle(ids []string, deps [][]int, left map[int]bool) []int {
	smallest := func(l []int) int {
		found := -1
		for _, i := range l {
			if left[i] && (found < 0 || ids[i] < ids[found]) {
				found = i
			}
		}
		return found
	}
	at := -1
	for i := range left {
		if at < 0 || ids[i] < ids[at] {
			at = i
		}
	}
	var walk []int
	seen := map[int]int{} // where each stands in walk
	for {
		if from, ok := seen[at]; ok {
			walk = walk[from:]
			break
		}
		seen[at] = len(walk)
		walk = append(walk, at)
		at = smallest(deps[at])
	}
	first := 0
	for i := range walk {
		if ids[walk[i]] < ids[walk[first]] {
			first = i
		}
	}
	return slices.Concat(walk[first:], walk[:first])
}
