package merge

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
)

// amounts multiplies what it depends on; what is missing counts as one.
func product(in *Input) (Output, error) {
	n := int64(1)
	for _, id := range []string{"price", "quantity", "tax"} {
		if x, ok := in.Deps[id]; ok {
			k, isInt := x.(int64)
			if !isInt {
				return Output{}, Failf(ErrorFailed, "%s is no integer", id)
			}
			n *= k
		}
	}
	return Output{Value: n, Why: "the product"}, nil
}

func wantInt(x any) error {
	if _, ok := x.(int64); !ok {
		return fmt.Errorf("%s, want an integer", kindOf(x))
	}
	return nil
}

func small(x any) error {
	if n, ok := x.(int64); ok && n > 100 {
		return fmt.Errorf("%d is past 100", n)
	}
	return nil
}

func hosts(entity string) bool { return strings.HasPrefix(entity, "host/") }

// What reads by rules show, told as stories.
func TestReadWithStories(t *testing.T) {
	order := func() []Rule {
		return []Rule{
			{ID: "total", Path: "/total", Resolver: ResolverFunc(product), Use: "product", Deps: []Dep{{ID: "price"}, {ID: "quantity"}, {ID: "tax", Optional: true}}, Result: small},
			{ID: "price", Path: "/price", Check: wantInt},
			{ID: "quantity", Path: "/quantity", Default: int64(1), HasDefault: true},
			{ID: "tax", Path: "/tax"},
		}
	}
	rename := func(p delta.Path, x any) ([]Moved, error) {
		switch {
		case p == "/cost":
			return []Moved{{"/price", x}}, nil
		case p == "/both":
			return []Moved{{"/price", x}, {"/tax", x}}, nil
		case p == "/gone":
			return nil, nil
		case p == "/bad":
			return []Moved{{Path: "/price"}}, Failf(ErrorType, "cannot be read as a price")
		}
		return []Moved{{p, x}}, nil
	}
	for _, c := range []struct {
		name   string
		rules  []Rule
		moves  []Move
		keep   func(p delta.Path, s *Survivor) bool
		at     delta.Path
		story  func(ann, bob *pen)
		want   string   // the lossy document, as JSON; empty where nothing lives, "absent" where it has no value
		errors []string // path, kind and a part of the text
	}{
		{
			name: "a property is computed of others", rules: order(),
			story: func(ann, bob *pen) { ann.put("e", "/price", 5); bob.put("e", "/quantity", 3) },
			want:  `{"price":5,"quantity":3,"total":15}`,
		},
		{
			name: "and is there where only it is read", rules: order(), at: "/total",
			story: func(ann, bob *pen) { ann.put("e", "/price", 5); bob.put("e", "/tax", 2) },
			want:  `10`,
		},
		{
			name: "an entity without survivors is not there", rules: order(),
			story: func(ann, _ *pen) { ann.put("f", "/price", 5) },
		},
		{
			name: "what a failing property needs is not needed by others", rules: order(),
			story:  func(ann, _ *pen) { ann.put("e", "/price", "dear"); ann.put("e", "/quantity", 2) },
			want:   `{"quantity":2}`,
			errors: []string{"/price type a text, want an integer", "/total dependency price: type"},
		},
		{
			name: "a required dependency without a value", rules: order(),
			story:  func(ann, _ *pen) { ann.put("e", "/x", 1) },
			want:   `{"quantity":1,"x":1}`,
			errors: []string{"/total dependency price has no value"},
		},
		{
			name: "a result that breaks the type", rules: order(),
			story:  func(ann, _ *pen) { ann.put("e", "/price", 99); ann.put("e", "/quantity", 9) },
			want:   `{"price":99,"quantity":9}`,
			errors: []string{"/total type 891 is past 100"},
		},
		{
			name: "a resolver that says that it cannot", rules: order(),
			story:  func(ann, _ *pen) { ann.put("e", "/price", 9); ann.put("e", "/tax", 0.5) },
			want:   `{"price":9,"quantity":1,"tax":0.5}`,
			errors: []string{"/total failed tax is no integer"},
		},
		{
			name: "survivors that break the type are passed over", rules: order(),
			story: func(ann, bob *pen) { ann.put("e", "/price", 7); bob.put("e", "/price", "dear") },
			want:  `{"price":7,"quantity":1,"total":7}`,
		},
		{
			name:  "a resolver that panics stops nobody",
			rules: []Rule{{ID: "a", Path: "/a", Resolver: ResolverFunc(func(*Input) (Output, error) { panic("ouch") })}},
			story: func(ann, _ *pen) { ann.put("e", "/a", 1); ann.put("e", "/b", 2) },
			want:  `{"b":2}`, errors: []string{"/a failed the resolver panicked: ouch"},
		},
		{
			name:  "properties that wait for each other",
			rules: []Rule{{ID: "a", Path: "/a", Deps: []Dep{{ID: "b"}}}, {ID: "b", Path: "/b", Deps: []Dep{{ID: "a"}}}, {ID: "c", Path: "/c", Deps: []Dep{{ID: "a"}}}},
			story: func(ann, _ *pen) { ann.put("e", "/a", 1); ann.put("e", "/d", 2) },
			want:  `{"d":2}`, errors: []string{"/a dependency waits for itself", "/b dependency waits for itself", "/c dependency a: dependency: it waits for itself"},
		},
		{
			name: "a default, and one that is required", rules: []Rule{{ID: "a", Path: "/a/b", Default: "x", HasDefault: true}, {ID: "r", Path: "/r", Required: true}},
			story: func(ann, _ *pen) { ann.put("e", "/c", 1) },
			want:  `{"a":{"b":"x"},"c":1}`, errors: []string{"/r missing required"},
		},
		{
			name: "a default is there where only it is read", rules: []Rule{{ID: "a", Path: "/a/b", Default: "x", HasDefault: true}}, at: "/a",
			story: func(ann, _ *pen) { ann.put("e", "/c", 1) },
			want:  `{"b":"x"}`,
		},
		{
			name: "a wildcard is for each that it matches", rules: []Rule{{ID: "n", Path: "/n/*/v", Resolver: ResolverFunc(firstWrite)}, {ID: "x", Path: "/*"}},
			story: func(ann, bob *pen) {
				ann.put("e", "/n/a/v", 1)
				bob.put("e", "/n/a/v", 2)
				ann.put("e", "/n/b/v", 3)
				ann.put("e", "/n/c", 4)
			},
			want: `{"n":{"a":{"v":1},"b":{"v":3},"c":4}}`,
		},
		{
			name: "an object that a wildcard matches is checked whole", rules: []Rule{{ID: "n", Path: "/n/*", Check: func(x any) error {
				if len(x.(map[string]any)) != 2 {
					return errors.New("want two members")
				}
				return nil
			}}},
			story: func(ann, _ *pen) {
				ann.put("e", "/n/x/a", 1)
				ann.put("e", "/n/x/b", 2)
				ann.put("e", "/n/y/a", 1)
			},
			want: `{"n":{"x":{"a":1,"b":2}}}`, errors: []string{"/n/y type want two members"},
		},
		{
			name: "an object whose members all fail has its default", rules: []Rule{
				{ID: "cpu", Path: "/cpu", Default: map[string]any{"a": int64(1)}, HasDefault: true},
				{ID: "a", Path: "/cpu/a", Check: wantInt},
			},
			story: func(ann, _ *pen) { ann.put("e", "/cpu/a", "x") },
			want:  `{"cpu":{"a":1}}`, errors: []string{"/cpu/a type want an integer"},
		},
		{
			name: "or is missing", rules: []Rule{{ID: "cpu", Path: "/cpu", Required: true}, {ID: "a", Path: "/cpu/a", Check: wantInt}},
			story: func(ann, _ *pen) { ann.put("e", "/cpu/a", "x"); ann.put("e", "/x", 1) },
			want:  `{"x":1}`, errors: []string{"/cpu missing required", "/cpu/a type want an integer"},
		},
		{
			name: "a part of a default", rules: []Rule{{ID: "cfg", Path: "/cfg", Default: map[string]any{"a": map[string]any{"b": "x"}}, HasDefault: true}}, at: "/cfg/a/b",
			story: func(ann, _ *pen) { ann.put("e", "/x", 1) },
			want:  `"x"`,
		},
		{
			name: "no part of a default", rules: []Rule{{ID: "cfg", Path: "/cfg", Default: map[string]any{"a": map[string]any{"b": "x"}}, HasDefault: true}}, at: "/cfg/a/c",
			story: func(ann, _ *pen) { ann.put("e", "/x", 1) },
		},
		{
			name: "a part of what survivors that are read leave to a default", rules: []Rule{{ID: "a", Path: "/a", Default: int64(3), HasDefault: true}}, at: "/a",
			keep:  func(_ delta.Path, s *Survivor) bool { return s.Dot.Lane[0] == 'a' },
			story: func(ann, bob *pen) { ann.put("e", "/x", 1); bob.put("e", "/a", 4) },
			want:  `3`,
		},
		{
			name: "a part of what breaks its type", rules: []Rule{{ID: "cpu", Path: "/cpu", Check: func(any) error { return errors.New("no") }}}, at: "/cpu/a",
			story: func(ann, _ *pen) { ann.put("e", "/cpu/a", 1) },
			want:  "absent", errors: []string{"/cpu type no"},
		},
		{
			name:  "what was written to a computed property is passed over",
			rules: []Rule{{ID: "t", Path: "/t", Computed: true, Resolver: ResolverFunc(product), Deps: []Dep{{ID: "price"}}}, {ID: "price", Path: "/price"}},
			story: func(ann, _ *pen) { ann.put("e", "/price", 5); ann.put("e", "/t", 99) },
			want:  `{"price":5,"t":5}`,
		},
		{
			name:  "of two wildcards the more literal counts",
			rules: []Rule{{ID: "a", Path: "/*/*", Check: wantInt}, {ID: "b", Path: "/n/*"}, {ID: "c", Path: "/*/x", Check: wantInt}},
			story: func(ann, _ *pen) { ann.put("e", "/n/x", "text"); ann.put("e", "/m/x", "text"); ann.put("e", "/m/y", 1) },
			want:  `{"m":{"y":1},"n":{"x":"text"}}`, errors: []string{"/m/x type want an integer"},
		},
		{
			name: "what was renamed reads under its new name, the newest of both", rules: order(), moves: []Move{rename},
			story: func(ann, bob *pen) { ann.put("e", "/cost", 5); bob.put("e", "/price", 6); ann.put("e", "/gone", 1) },
			want:  `{"price":6,"quantity":1,"total":6}`,
		},
		{
			name: "what was split is there twice", rules: order(), moves: []Move{rename},
			story: func(ann, _ *pen) { ann.put("e", "/both", 5) },
			want:  `{"price":5,"quantity":1,"tax":5,"total":25}`,
		},
		{
			name: "what cannot be moved is an error where it would be", rules: order(), moves: []Move{rename},
			story: func(ann, _ *pen) { ann.put("e", "/bad", 5) },
			want:  `{"quantity":1}`, errors: []string{"/price type cannot be read as a price", "/total dependency price"},
		},
		{
			name: "a counter that is moved counts on", moves: []Move{rename},
			story: func(ann, bob *pen) { ann.inc("e", "/cost", 5); bob.inc("e", "/cost", 2); bob.inc("e", "/cost", 2) },
			want:  `{"price":9}`,
		},
		{
			name: "survivors that are not to be read", keep: func(_ delta.Path, s *Survivor) bool { return s.Dot.Lane[0] == 'b' },
			story: func(ann, bob *pen) { bob.put("e", "/a", 1); ann.put("e", "/a", 2); ann.put("e", "/b", 2) },
			want:  `{"a":1}`,
		},
		{
			name: "and none is left", keep: func(delta.Path, *Survivor) bool { return false }, rules: order(), at: "/total",
			story: func(ann, _ *pen) { ann.put("e", "/price", 1) },
		},
		{
			name: "an object that stands leaf by leaf is checked whole", rules: []Rule{{ID: "cpu", Path: "/cpu", Check: func(x any) error {
				if len(x.(map[string]any)) != 2 {
					return errors.New("want two members")
				}
				return nil
			}}, {ID: "of", Path: "/of", Resolver: ResolverFunc(func(in *Input) (Output, error) { return Output{Value: in.Deps["cpu"]}, nil }), Deps: []Dep{{ID: "cpu"}}}},
			story: func(ann, _ *pen) {
				ann.put("e", "/cpu/a", 1)
				ann.put("e", "/cpu/b", 2)
				ann.put("f", "/cpu/a", 2)
			},
			want: `{"cpu":{"a":1,"b":2},"of":{"a":1,"b":2}}`,
		},
		{
			name: "and reads as nothing where it breaks its type", rules: []Rule{{ID: "cpu", Path: "/cpu", Check: func(any) error { return errors.New("no") }}},
			story: func(ann, _ *pen) { ann.put("e", "/cpu/a", 1); ann.put("e", "/x", 1) },
			want:  `{"x":1}`, errors: []string{"/cpu type no"},
		},
		{
			name: "a dangling reference reads as the rule says", rules: []Rule{
				{ID: "n", Path: "/n", Ref: &RefRule{Dangling: DanglingNull}},
				{ID: "o", Path: "/o", Ref: &RefRule{Dangling: DanglingOmit}},
				{ID: "k", Path: "/k", Ref: &RefRule{Match: hosts}},
				{ID: "l", Path: "/l", Ref: &RefRule{Dangling: DanglingOmit}},
				{ID: "x", Path: "/x", Ref: &RefRule{Dangling: DanglingError}},
				{ID: "m", Path: "/m", Ref: &RefRule{Match: hosts}},
			},
			story: func(ann, _ *pen) {
				gone, there := map[string]any{"$ref": "host/gone"}, map[string]any{"$ref": "host/1"}
				for _, p := range []delta.Path{"/n", "/o", "/k", "/x"} {
					ann.put("e", p, gone)
				}
				ann.add("e", "/l", gone)
				ann.add("e", "/l", there)
				ann.put("e", "/m", map[string]any{"$ref": "disk/1"})
				ann.put("host/1", "", 1)
			},
			want:   `{"k":{"$ref":"host/gone"},"l":[{"$ref":"host/1"}],"n":null}`,
			errors: []string{`/m type {"$ref":"disk/1"} does not refer`, "/x dangling host/gone, which is not there"},
		},
		{
			name: "a value that no longer refers", rules: []Rule{{ID: "n", Path: "/n", Ref: &RefRule{}}}, at: "/n",
			story: func(ann, _ *pen) { ann.put("e", "/n", 1) },
			want:  "absent", errors: []string{"/n type does not refer to what it may: an integer"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ann, bob := newPen("ann"), newPen("bob")
			c.story(ann, bob)
			ann.take(bob)
			rules := &Rules{Name: "r@1", Properties: c.rules, Moves: c.moves, Keep: c.keep}
			r, found, err := ReadWith(ann.mem, "e", c.at, rules)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			switch {
			case found && r.Absent:
				got = "absent"
			case found:
				got = string(delta.AppendAnyJSON(nil, r.Value))
			}
			if got != c.want {
				t.Errorf("reads as %s, want %s", got, c.want)
			}
			if len(r.Errors) != len(c.errors) {
				t.Fatalf("errors %v, want %q", r.Errors, c.errors)
			}
			for i, want := range c.errors {
				f := strings.SplitN(want, " ", 3)
				e := r.Errors[i]
				if string(e.Path) != f[0] || string(e.Kind) != f[1] || !strings.Contains(e.Text, f[2]) || !strings.Contains(e.Error(), f[2]) {
					t.Errorf("error %d is %q %v, want %s", i, e.Path, e, want)
				}
			}
			// What is read of a part is what is read of the whole there.
			if c.at == "" && found {
				for _, p := range r.Properties {
					part, _, err := ReadWith(ann.mem, "e", p.Path, rules)
					if err != nil || len(part.Properties) == 0 || !reflect.DeepEqual(part.Properties[0], p) {
						t.Errorf("%s alone reads as %+v, in the whole as %+v (%v)", p.Path, part.Properties, p, err)
					}
				}
			}
		})
	}
}

// A value that stands above nothing but defaults is no conflict: only survivors
// contradict each other.
func TestScalarOverDefaults(t *testing.T) {
	ann, bob := newPen("ann"), newPen("bob")
	ann.put("e", "", 5)
	rules := &Rules{Properties: []Rule{{ID: "a", Path: "/a", Default: int64(1), HasDefault: true}}}
	r, _, err := ReadWith(ann.mem, "e", "", rules)
	if err != nil || r.Value != int64(5) || len(r.Conflicts) != 0 {
		t.Errorf("reads as %v, conflicts %q (%v)", r.Value, r.Conflicts, err)
	}
	bob.put("e", "/b", 1)
	ann.take(bob)
	if r, _, _ := ReadWith(ann.mem, "e", "", rules); !slices.Equal(r.Conflicts, []delta.Path{""}) {
		t.Errorf("conflicts %q with a survivor below", r.Conflicts)
	}
}

// Who changes what it read changes no other's reading.
func TestDefaultIsNotShared(t *testing.T) {
	ann := newPen("ann")
	ann.put("e", "/x", 1)
	rules := &Rules{Properties: []Rule{{ID: "a", Path: "/a", HasDefault: true, Default: map[string]any{"l": []any{map[string]any{"b": []byte("x")}}}}}}
	want := `{"l":[{"b":{"$bytes":"eA=="}}]}`
	for range 2 {
		r, _, err := ReadWith(ann.mem, "e", "/a", rules)
		if got := string(delta.AppendAnyJSON(nil, r.Value)); err != nil || got != want {
			t.Errorf("reads as %s, want %s (%v)", got, want, err)
		}
		l := r.Value.(map[string]any)["l"].([]any)
		l[0].(map[string]any)["b"].([]byte)[0] = 'y'
		l[0] = nil
	}
}

// randomRules draws rules for some paths, with and without wildcards.
func randomRules(t *rapid.T) *Rules {
	rules := &Rules{}
	n := rapid.IntRange(0, 4).Draw(t, "rules")
	taken := map[delta.Path]bool{}
	for i := range n {
		r := Rule{ID: fmt.Sprintf("p%d", i), Path: rapid.SampledFrom([]delta.Path{"", "/a", "/b", "/*", "/a/a", "/a/b", "/a/*", "/b/*", "/*/a", "/a/a/b"}).Draw(t, "path")}
		if taken[r.Path] {
			continue
		}
		taken[r.Path] = true
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			r.Check = func(x any) error {
				if m, ok := x.(map[string]any); ok && len(m) > 1 {
					return errors.New("want one member")
				}
				return nil
			}
		case 1:
			r.Default, r.HasDefault = randomValue(t, 2), true
		case 2:
			r.Check = wantInt
			r.Default, r.HasDefault = map[string]any{"a": int64(1), "b": map[string]any{"a": "x"}}, true
		case 3:
			if !strings.Contains(string(r.Path), "*") {
				r.Resolver = ResolverFunc(func(in *Input) (Output, error) { return Output{Value: map[string]any{"a": in.Deps["p0"]}}, nil })
				r.Deps, r.Computed = []Dep{{ID: "p0", Optional: true}}, rapid.Bool().Draw(t, "computed")
			}
		case 4:
			r.Required = true
		}
		rules.Properties = append(rules.Properties, r)
	}
	return rules
}

func randomValue(t *rapid.T, depth int) any {
	if depth == 0 || rapid.Bool().Draw(t, "scalar") {
		return rapid.SampledFrom([]any{int64(1), "x", map[string]any{}, map[string]any{"$ref": "e"}}).Draw(t, "value")
	}
	m := map[string]any{}
	for _, k := range []string{"a", "b"} {
		if rapid.Bool().Draw(t, k) {
			m[k] = randomValue(t, depth-1)
		}
	}
	return m
}

// What is read of a part is what is read of the whole there: of any document,
// by any rules, at any path above which nothing stands but what a rule is about.
func TestPartIsOfWhole(t *testing.T) {
	all := []delta.Path{"/a", "/b"}
	for i := 0; i < 6; i++ {
		all = append(all, all[i]+"/a", all[i]+"/b")
	}
	rapid.Check(t, func(t *rapid.T) {
		ann, bob := newPen("ann"), newPen("bob")
		written := map[delta.Path]bool{}
		for range rapid.IntRange(1, 5).Draw(t, "writes") {
			p := rapid.SampledFrom(append(all, "")).Draw(t, "at")
			written[p] = true
			rapid.SampledFrom([]*pen{ann, bob}).Draw(t, "who").put("e", p, randomValue(t, 2))
		}
		ann.take(bob)
		rules := randomRules(t)
		if rapid.Bool().Draw(t, "filtered") {
			rules.Keep = func(_ delta.Path, s *Survivor) bool { return s.Dot.Lane == ann.lane }
		}
		whole, found, err := ReadWith(ann.mem, "e", "", rules)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if slices.ContainsFunc(rules.indexed().rootOf(p).Ancestors(), func(up delta.Path) bool { return written[up] }) {
				continue // what no rule is about stands by itself, hidden or not
			}
			want := "-"
			if x, ok := partOf(whole.Value, p); found && !whole.Absent && ok {
				want = string(delta.AppendAnyJSON(nil, x))
			}
			part, there, err := ReadWith(ann.mem, "e", p, rules)
			if err != nil {
				t.Fatal(err)
			}
			got := "-"
			if there && !part.Absent {
				got = string(delta.AppendAnyJSON(nil, part.Value))
			}
			if got != want {
				t.Fatalf("%s reads as %s, and in the whole, %s, as %s; by %+v", p, got, delta.AppendAnyJSON(nil, whole.Value), want, rules.Properties)
			}
		}
	})
}

// The ETag is that of the survivors at and below the path, whatever the rules.
func TestReadWithETag(t *testing.T) {
	ann := newPen("ann")
	ann.put("e", "/a", 1)
	ann.put("e", "/b", 2)
	moved := &Rules{Moves: []Move{func(p delta.Path, x any) ([]Moved, error) { return []Moved{{p, x}}, nil }}}
	for _, rules := range []*Rules{{}, moved, everywhere(ResolverFunc(firstWrite), "")} {
		for _, p := range []delta.Path{"", "/a", "/b"} {
			plain, _, _ := Read(ann.mem, "e", p)
			r, _, err := ReadWith(ann.mem, "e", p, rules)
			if err != nil || r.ETag != plain.ETag {
				t.Errorf("%s: etag %v, want %v (%v)", p, r.ETag, plain.ETag, err)
			}
		}
	}
}

// An alarm of a resolver is handed on, and a conflict names itself.
func TestReadWithAlarm(t *testing.T) {
	ann, bob := newPen("ann"), newPen("bob")
	ann.put("e", "/a", 1)
	bob.put("e", "/a", 2)
	ann.take(bob)
	r, _, err := ReadWith(ann.mem, "e", "", everywhere(ResolverFunc(conflict), Conflict))
	if err != nil || len(r.Alarms) != 1 || !strings.Contains(r.Alarms[0], "e#/a has 2 values") {
		t.Errorf("alarms %q (%v)", r.Alarms, err)
	}
	if !slices.Equal(r.Conflicts, []delta.Path{"/a"}) || string(delta.AppendAnyJSON(nil, r.Value)) != `{"a":null}` {
		t.Errorf("reads as %v, conflicts %q", r.Value, r.Conflicts)
	}
}

// failingView has no rows to give of one entity.
type failingView struct {
	View
	prefix string
}

func (v failingView) Rows(prefix []byte, f func([]byte, []Survivor) error) error {
	if strings.HasPrefix(string(prefix), v.prefix) {
		return errors.New("disk on fire")
	}
	return v.View.Rows(prefix, f)
}

// A state that cannot be read fails the read, and is no property's error.
func TestReadWithBrokenState(t *testing.T) {
	ann := newPen("ann")
	ann.put("e", "/n", map[string]any{"$ref": "host/1"})
	rules := &Rules{Properties: []Rule{{ID: "n", Path: "/n", Ref: &RefRule{}}}}
	for _, broken := range []string{"host", "e"} {
		if _, _, err := ReadWith(failingView{ann.mem, broken}, "e", "", rules); err == nil || !strings.Contains(err.Error(), "disk on fire") {
			t.Errorf("error %v", err)
		}
	}
}

// A survivor counts for its creator, else for its author.
func TestInputAuthors(t *testing.T) {
	in := Input{Survivors: []Survivor{{Creator: "ann"}, {Dot: clock.Dot{Lane: laneOf(1)}}}}
	if in.AuthorOf(1) != "" || in.CreatorOf(0) != "ann" || in.CreatorOf(1) != "" {
		t.Error("an author out of nowhere")
	}
	in.Author = authorOf
	if in.CreatorOf(1) != authorOf(laneOf(1)) {
		t.Errorf("creator %q", in.CreatorOf(1))
	}
}
