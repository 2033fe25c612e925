package schema

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// lookup knows a few resolvers, none of which resolves anything.
func lookup(use string, _ map[string]any) (merge.Resolver, error) {
	if _, ok := readings[use]; ok || use == "order-total" {
		return merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
			return merge.Output{Why: use, Value: in.Values}, nil
		}), nil
	}
	if use == "nil" {
		return nil, nil
	}
	return nil, fmt.Errorf("nobody here knows %s", use)
}

// compileOf compiles the versions of one schema.
func compileOf(t testing.TB, texts ...string) *Compiled {
	t.Helper()
	var all []*Schema
	for _, text := range texts {
		all = append(all, mustParse(t, text))
	}
	c := NewCatalog(all, lookup, nil)
	if len(c.Problems()) > 0 || len(c.Schemas()) != 1 {
		t.Fatalf("problems %v, schemas %v", c.Problems(), c.Schemas())
	}
	return c.Schemas()[0]
}

// TestRules: the rules say what the schema does.
func TestRules(t *testing.T) {
	author := func(clock.LaneID) string { return "ann" }
	c := NewCatalog([]*Schema{mustParse(t, orderText)}, lookup, author).For("order/1")
	r := c.Rules()
	if r.Name != "order@2" || r.Author(clock.LaneID{}) != "ann" || len(r.Moves) != 1 {
		t.Errorf("rules %+v", r)
	}
	var ids []string
	byID := map[string]merge.Rule{}
	for _, x := range r.Properties {
		ids = append(ids, x.ID)
		byID[x.ID] = x
	}
	if want := []string{"buyer", "notes", "paid", "price", "state", "tags", "tax", "total"}; !slices.Equal(ids, want) {
		t.Errorf("properties %v, want %v", ids, want)
	}
	price := byID["price"]
	if !price.Required || price.Use != "last-write-wins" || price.Check(int64(-1)) == nil || price.Check(5.5) != nil || price.Result != nil || price.Ref != nil {
		t.Errorf("price %+v", price)
	}
	total := byID["total"]
	if !total.Computed || total.Check != nil || total.Result(true) == nil || total.Result(5.5) != nil ||
		!slices.Equal(total.Deps, []merge.Dep{{ID: "price"}, {ID: "tax", Optional: true}}) {
		t.Errorf("total %+v", total)
	}
	if out, err := total.Resolver.Resolve(&merge.Input{}); err != nil || out.Why != "order-total" {
		t.Errorf("total resolves to %v, %v", out, err)
	}
	if state := byID["state"]; !state.HasDefault || state.Default != "open" {
		t.Errorf("state %+v", state)
	}
	buyer := byID["buyer"]
	if f := buyer.Ref; f.Dangling != merge.DanglingNull || !f.Match("person/ann") || f.Match("order/1") {
		t.Errorf("buyer %+v", buyer)
	}
	ref := func(entity string) any { return map[string]any{"$ref": entity} }
	for v, want := range map[any]bool{"x": false, nil: true} {
		if got := buyer.Check(v) == nil; got != want {
			t.Errorf("buyer takes %v: %v", v, got)
		}
	}
	if buyer.Check(ref("person/ann")) != nil || buyer.Check(ref("x")) == nil || buyer.Check(ref("")) == nil {
		t.Error("buyer takes other references than it says")
	}
	paid := byID["paid"]
	if paid.Check(map[string]any{"units": int64(5)}) != nil || paid.Check(map[string]any{"x": int64(5)}) == nil {
		t.Error("paid is no message")
	}
}

// TestCounterRules: the type of a counter is that of its total; a lane's part
// is any integer.
func TestCounterRules(t *testing.T) {
	r := compileOf(t, schemaOf(`{"id":"n","path":"/n","verb":"counter","type":{"minimum":0}},{"id":"m","path":"/m","ref":{}}`)).Rules()
	m, n := r.Properties[0], r.Properties[1]
	if n.Check(int64(-5)) != nil || n.Check("x") == nil || n.Result(int64(-5)) == nil || n.Result(int64(5)) != nil {
		t.Errorf("counter %+v", n)
	}
	if m.Ref.Match != nil || r.Moves != nil {
		t.Errorf("reference to anything %+v", m)
	}
}

// TestUnknownResolver: a resolver that nobody knows is an error of its property
// and a problem, and the schema is active all the same.
func TestUnknownResolver(t *testing.T) {
	s := mustParse(t, schemaOf(`{"id":"a","path":"/a","resolver":"cel:x"},{"id":"b","path":"/b","resolver":"nil"}`))
	c := NewCatalog([]*Schema{s}, lookup, nil)
	if p := c.Problems(); len(p) != 2 || p[0].Schema != "s" || p[0].Version != 1 || !strings.Contains(p[0].Text, `resolver "cel:x" of property "a": nobody here knows`) {
		t.Errorf("problems %v", p)
	}
	_, err := c.For("e/1").Rules().Properties[0].Resolver.Resolve(nil)
	var p *merge.PropertyError
	if !errors.As(err, &p) || p.Kind != merge.ErrorUnknown {
		t.Errorf("resolves with %v", err)
	}
	if c := NewCatalog([]*Schema{s}, nil, nil); len(c.Problems()) != 2 {
		t.Errorf("without a lookup: %v", c.Problems())
	}
}

// TestFor: the schema of an entity is that of the longest pattern, then of the
// smaller name.
func TestFor(t *testing.T) {
	named := func(name, entities string) *Schema {
		return mustParse(t, fmt.Sprintf(`{"name":%q,"version":1,"entities":[%s]}`, name, entities))
	}
	c := NewCatalog([]*Schema{named("any", `"**"`), named("b", `"host/*","x/*/z"`), named("a", `"x/y/*","host/*"`), named("web", `"host/web"`)}, nil, nil)
	for entity, want := range map[string]string{"host/web": "web", "host/db": "a", "host": "any", "x/y/z": "a", "x/q/z": "b", "host/a/b": "any"} {
		if got := c.For(entity).Schema.Name; got != want {
			t.Errorf("%s has the schema %s, want %s", entity, got, want)
		}
	}
	if got := NewCatalog([]*Schema{named("a", `"a"`)}, nil, nil).For("b"); got != nil {
		t.Errorf("b has the schema %v", got.Schema)
	}
	var names []string
	for _, x := range c.Schemas() {
		names = append(names, x.Schema.Name)
	}
	if !slices.Equal(names, []string{"a", "any", "b", "web"}) {
		t.Errorf("schemas %v", names)
	}
}

// TestActive: the highest valid version is active; what is not valid is a
// problem, and so is a second document of one version.
func TestActive(t *testing.T) {
	v1 := mustParse(t, `{"name":"s","version":1,"entities":["e"],"properties":[{"id":"cost","path":"/cost"}]}`)
	v2 := mustParse(t, `{"name":"s","version":2,"entities":["e"],"properties":[{"id":"p","path":"/price"}],"migrate":[`+renameCost+`]}`)
	other2 := mustParse(t, `{"name":"s","version":2,"entities":["e"],"properties":[{"id":"q","path":"/price"}],"migrate":[`+renameCost+`]}`)
	back3 := mustParse(t, `{"name":"s","version":3,"entities":["e"],"properties":[{"id":"c","path":"/cost/net"}]}`)
	bad4 := &Schema{Name: "s", Version: 4}
	made := &Schema{Name: "t", Version: 1, Entities: []string{"t"}, Properties: []Property{{ID: "a", Path: "/a", Verb: Register}}}
	badA := &Schema{Name: "a", Version: 1, Properties: []Property{}}
	c := NewCatalog([]*Schema{bad4, other2, v1, back3, v2, v2, made, badA}, nil, nil)
	if len(c.Schemas()) != 2 || c.For("e").Schema != v2 || c.For("t").Schema != made {
		t.Errorf("active are %v", c.Schemas())
	}
	var got []string
	for _, p := range c.Problems() {
		got = append(got, fmt.Sprintf("%s@%d %s", p.Schema, p.Version, p.Text))
	}
	want := []string{
		"a@1 schema: /entities: names no entities",
		"s@2 another document of this version counts",
		`s@3 schema: /properties/0/path: path "/cost/net" of property "c" is renamed away by version 2`,
		"s@4 schema: /entities: names no entities",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems\n%s", strings.Join(got, "\n"))
	}
	if got := NewCatalog([]*Schema{bad4}, nil, nil); len(got.Schemas()) != 0 || len(got.Problems()) != 1 {
		t.Errorf("a name without a valid version: %v, %v", got.Schemas(), got.Problems())
	}
}

// TestCarriedDefaults: a default that a migration gave stays with its property
// when later versions move it, until the property has one of its own.
func TestCarriedDefaults(t *testing.T) {
	v := func(n int, properties, migrate string) string {
		return fmt.Sprintf(`{"name":"s","version":%d,"entities":["e"],"properties":[%s],"migrate":[%s]}`, n, properties, migrate)
	}
	v1 := v(1, `{"id":"state","path":"/state"},{"id":"name","path":"/name"}`, `{"default":{"path":"/state","value":1}},{"default":{"path":"/name","value":"A B"}},{"default":{"path":"/state","value":"open"}}`)
	v2 := v(2, `{"id":"state","path":"/status","required":true},{"id":"first","path":"/first"},{"id":"last","path":"/last"}`, `{"rename":{"from":"/state","to":"/status"}},`+splitName)
	c := compileOf(t, v1, v2)
	got := map[string]any{}
	for _, r := range c.Rules().Properties {
		got[r.ID] = r.Default
	}
	if want := map[string]any{"state": "open", "first": "A", "last": "B"}; !reflect.DeepEqual(got, want) {
		t.Errorf("defaults %v, want %v", got, want)
	}
	if len(c.required) != 0 {
		t.Error("a property with a default is demanded of writers")
	}
	v3 := v(3, `{"id":"state","path":"/status","default":"own"},{"id":"first","path":"/first","type":{"type":"integer"}}`, ``)
	all := []*Schema{mustParse(t, v1), mustParse(t, v2), mustParse(t, v3)}
	cat := NewCatalog(all, nil, nil)
	if r := cat.Schemas()[0].Rules().Properties; r[0].ID != "first" || r[0].HasDefault || r[1].Default != "own" {
		t.Errorf("rules %+v", r)
	}
	if p := cat.Problems(); len(p) != 1 || !strings.Contains(p[0].Text, `property "first" does not fit it: is a string`) {
		t.Errorf("problems %v", p)
	}
	if err := Check(all[:2], all[2], nil); err == nil || !strings.Contains(err.Error(), `property "first" does not fit`) {
		t.Errorf("check: %v", err)
	}
	// A default that cannot be moved is lost.
	lost := compileOf(t, v(1, `{"id":"name","path":"/name"}`, `{"default":{"path":"/name","value":5}}`), v(2, `{"id":"first","path":"/first"}`, splitName))
	if lost.Rules().Properties[0].HasDefault {
		t.Error("a number was split")
	}
}

// TestCheck: what may be added, and what is in the way.
func TestCheck(t *testing.T) {
	v1 := mustParse(t, `{"name":"s","version":1,"entities":["e"],"properties":[{"id":"cost","path":"/cost"}]}`)
	v2 := mustParse(t, `{"name":"s","version":2,"entities":["e"],"properties":[{"id":"p","path":"/price"}],"migrate":[`+renameCost+`]}`)
	other := mustParse(t, `{"name":"other","version":7,"entities":["e"]}`)
	for _, c := range []struct {
		name string
		all  []*Schema
		next *Schema
		want string
	}{
		{"the first", []*Schema{other}, v1, ""},
		{"the next", []*Schema{other, v1}, v2, ""},
		{"the same again", []*Schema{v1}, v1, `version 1 of "s" is not the next one, which is 2`},
		{"a gap", nil, v2, `version 2 of "s" is not the next one, which is 1`},
		{"renamed away", []*Schema{v2, v1}, mustParse(t, `{"name":"s","version":3,"entities":["e"],"properties":[{"id":"c","path":"/cost"}]}`), `"/cost" of property "c" is renamed away by version 2`},
		{"made by hand", nil, &Schema{Name: "t", Version: 1, Entities: []string{"t"}}, ""},
		{"made badly", nil, &Schema{Name: "t", Version: 1, Entities: []string{"t"}, Properties: []Property{{}}, Migrate: []Migration{{}}}, "/properties/0/id: is missing"},
		{"unknown resolver", nil, mustParse(t, schemaOf(`{"id":"a","path":"/a","resolver":"x"}`)), `/properties/0/resolver: resolver "x" of property "a": nobody here knows x`},
		{"a function of Go", nil, mustParse(t, schemaOf(`{"id":"a","path":"/a","resolver":"go:x"}`)), ""},
		{"known resolver", nil, mustParse(t, schemaOf(`{"id":"a","path":"/a","resolver":"sum"}`)), ""},
	} {
		err := Check(c.all, c.next, lookup)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for want, s := range map[string]*Schema{
		"has 65 patterns":      {Entities: slices.Repeat([]string{"t"}, MaxPatterns+1)},
		"has 4097 properties":  {Properties: make([]Property, MaxProperties+1)},
		"depends on 65 others": {Properties: []Property{{ID: "a", Resolver: &Resolver{Use: "sum"}, Depends: make([]merge.Dep, MaxDepends+1)}}},
		"has 257 migrations":   {Migrate: make([]Migration, MaxMigrations+1)},
		"names 17 paths":       {Migrate: []Migration{{Split: &Split{To: make([]delta.Path, MaxParts+1)}}}},
	} {
		if err := Check(nil, s, lookup); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q", want)
		}
	}
}

// A world is the versions of a schema in which properties move.
type world struct {
	versions []*Schema
	// paths are those of each property in each version.
	paths map[string][]delta.Path
}

func drawWorld(t *rapid.T) world {
	w := world{paths: map[string][]delta.Path{}}
	ids := []string{"p", "q", "r"}
	at := map[string]delta.Path{}
	n := rapid.IntRange(1, 5).Draw(t, "versions")
	for v := 1; v <= n; v++ {
		s := &Schema{Name: "s", Version: v, Entities: []string{"e/*"}}
		for i, id := range ids {
			switch {
			case v == 1:
				at[id] = delta.Path(fmt.Sprintf("/%s1", id))
			case rapid.Bool().Draw(t, "rename"):
				to := delta.Path(fmt.Sprintf("/%s%d", id, v))
				if rapid.Bool().Draw(t, "deeper") {
					to = delta.Path("/in") + to
				}
				s.Migrate = append(s.Migrate, Migration{Rename: &Rename{at[id], to}})
				at[id] = to
			case rapid.IntRange(0, 4).Draw(t, "retype") == 0:
				s.Migrate = append(s.Migrate, Migration{Retype: &Retype{at[id], "string"}})
			}
			p := Property{ID: id, Path: at[id], Verb: Register, Type: drawPlain(t, 0)}
			if i > 0 && rapid.Bool().Draw(t, "depends") {
				p.Resolver, p.Depends = &Resolver{Use: "sum"}, []merge.Dep{{ID: ids[i-1]}}
			}
			if rapid.IntRange(0, 9).Draw(t, "broken") == 0 {
				p.Verb = "none"
			}
			s.Properties = append(s.Properties, p)
			w.paths[id] = append(w.paths[id], at[id])
		}
		w.versions = append(w.versions, s)
		if rapid.IntRange(0, 3).Draw(t, "twin") == 0 {
			twin := *s
			twin.Description = "written at the same time"
			w.versions = append(w.versions, &twin)
		}
	}
	return w
}

// behave writes down all that can be seen of a catalog.
func behave(c *Catalog, w *world) string {
	var b strings.Builder
	for _, p := range c.Problems() {
		fmt.Fprintln(&b, p)
	}
	x := c.For("e/1")
	if x == nil {
		return b.String()
	}
	r := x.Rules()
	fmt.Fprintf(&b, "%s %s\n", r.Name, x.Schema.Canonical())
	values := []any{nil, true, "x", int64(1), 1.5, []any{}, map[string]any{"a": "x"}}
	for _, p := range r.Properties {
		fmt.Fprintf(&b, "%s %s %s %v %v", p.ID, p.Path, p.Use, p.Deps, p.Required)
		for _, v := range values {
			if p.Check != nil {
				fmt.Fprintf(&b, " %v", p.Check(v))
			}
		}
		fmt.Fprintln(&b)
	}
	for _, id := range []string{"p", "q", "r"} {
		for _, at := range w.paths[id] {
			for _, v := range values {
				if len(r.Moves) > 0 {
					moved, err := r.Moves[0](at, v)
					fmt.Fprintf(&b, "%s %v: %s\n", at, v, showMoved(moved, err))
				}
			}
		}
	}
	b.Write(GenTypeScript(c.Schemas()))
	b.Write(GenJSONSchema(x))
	return b.String()
}

// TestOrderOfVersions: the same set of versions behaves the same, in whatever
// order and however often its members came.
func TestOrderOfVersions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		want := behave(NewCatalog(w.versions, lookup, nil), &w)
		mixed := rapid.Permutation(append(slices.Clone(w.versions), w.versions[0])).Draw(t, "order")
		if got := behave(NewCatalog(mixed, lookup, nil), &w); got != want {
			t.Fatalf("in one order\n%s\nin another\n%s", want, got)
		}
		// And parsed from their canonical forms, where they are valid.
		var parsed []*Schema
		for _, s := range mixed {
			if p, err := Parse(s.Canonical()); err == nil {
				parsed = append(parsed, p)
			}
		}
		c := NewCatalog(parsed, lookup, nil)
		if a, b := c.For("e/1"), NewCatalog(mixed, lookup, nil).For("e/1"); (a == nil) != (b == nil) || a != nil && a.Schema.String() != b.Schema.String() {
			t.Fatalf("parsed %v, made %v", a, b)
		}
	})
}

// TestMixedVersions: what was written with any version that counts reads at the
// property's present path.
func TestMixedVersions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for _, s := range w.versions {
			for i := range s.Properties {
				s.Properties[i].Verb = Register // all versions are valid
			}
		}
		c := NewCatalog(w.versions, lookup, nil).For("e/1")
		for _, id := range []string{"p", "q", "r"} {
			last := w.paths[id][len(w.paths[id])-1]
			for _, at := range w.paths[id] {
				moved := []merge.Moved{{Path: at}}
				if len(c.Rules().Moves) > 0 {
					var err error
					if moved, err = c.Rules().Moves[0](at+"/x", "value"); err != nil {
						continue // an object was retyped
					}
				}
				if p := moved[0].Path; p != last && p != last+"/x" {
					t.Fatalf("%s was at %s, is at %s, reads at %s", id, at, last, p)
				}
			}
		}
	})
}
