package schema

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// scan is For as the order of patterns has it: the first that matches.
func (c *Catalog) scan(entity string) *Compiled {
	for i := range c.patterns {
		if c.patterns[i].match(entity) {
			return c.patterns[i].schema
		}
	}
	return nil
}

// TestForAgrees: the schema of an entity is the one whose pattern a scan of all
// patterns comes upon first.
func TestForAgrees(t *testing.T) {
	text := rapid.StringMatching(`[ab/*]{1,8}`).Filter(func(s string) bool {
		_, err := parsePattern(s)
		return err == nil
	})
	rapid.Check(t, func(t *rapid.T) {
		var all []*Schema
		for i := range rapid.IntRange(0, 12).Draw(t, "schemas") {
			entities := rapid.SliceOfNDistinct(text, 1, 4, rapid.ID[string]).Draw(t, "patterns")
			all = append(all, &Schema{Name: fmt.Sprintf("s%02d", i), Version: 1, Entities: entities, Properties: []Property{}})
		}
		c := NewCatalog(all, nil, nil)
		if len(c.Problems()) > 0 {
			t.Fatal(c.Problems())
		}
		for _, entity := range rapid.SliceOfN(rapid.StringMatching(`[ab/]{1,9}`), 1, 20).Draw(t, "entities") {
			if got, want := c.For(entity), c.scan(entity); got != want {
				t.Fatalf("%q has the schema %v, want %v", entity, got, want)
			}
		}
	})
}

// BenchmarkFor measures how long it takes to find the schema of an entity, by how
// many there are: each with a kind of entities of its own, and one for all others.
func BenchmarkFor(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		all := []*Schema{{Name: "any", Version: 1, Entities: []string{"**"}, Properties: []Property{}}}
		for i := range n - 1 {
			all = append(all, &Schema{Name: fmt.Sprintf("s%d", i), Version: 1, Entities: []string{fmt.Sprintf("kind%d/*", i), fmt.Sprintf("kind%d/*/log", i)}, Properties: []Property{}})
		}
		c := NewCatalog(all, nil, nil)
		entities := []string{fmt.Sprintf("kind%d/web-1", n/2), fmt.Sprintf("kind%d/web-1/log", n/3), "other/1"}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if c.For(entities[i%len(entities)]) == nil {
					b.Fatal("no schema")
				}
			}
		})
	}
}

// BenchmarkNewCatalog measures how long it takes to compile many schemas.
func BenchmarkNewCatalog(b *testing.B) {
	var all []*Schema
	for i := range 10_000 {
		all = append(all, &Schema{Name: fmt.Sprintf("s%d", i), Version: 1, Entities: []string{fmt.Sprintf("kind%d/*", i)}, Properties: []Property{}})
	}
	slices.Reverse(all)
	for b.Loop() {
		NewCatalog(all, nil, nil)
	}
}
