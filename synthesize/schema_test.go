package synthesize

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A testSchema wants /n and /deep/*/n to be integers, /tags to be a bag of
// texts, /o an object with "good" and nothing else, and no /closed. /n sums up,
// /first takes the first, and /old is read as /n. It needs /need where that is
// asked for.
type testSchema struct{ need bool }

func (testSchema) Rules() *merge.Rules {
	sum, _ := lookup("sum", nil)
	first, _ := lookup(firstWrite, nil)
	return &merge.Rules{
		Moves: []merge.Move{func(p delta.Path, x any) ([]merge.Moved, error) {
			switch {
			case p == "/old":
				return []merge.Moved{{Path: "/n", Value: x}}, nil
			case p == "/gone":
				return nil, nil
			case p == "/odd":
				return []merge.Moved{{Path: p, Value: struct{}{}}}, nil
			case p == "/unreadable":
				return nil, errors.New("it cannot be read any more")
			}
			return []merge.Moved{{Path: p, Value: x}}, nil
		}},
		Properties: []merge.Rule{
			{ID: "n", Path: "/n", Resolver: sum, Use: "sum"},
			{ID: "deep", Path: "/deep/*/n"},
			{ID: "first", Path: "/first", Resolver: first, Use: firstWrite},
			{ID: "plain", Path: "/plain"},
			{ID: "ref", Path: "/ref", Ref: &merge.RefRule{Dangling: merge.DanglingError}},
		},
	}
}

func (testSchema) Bag(p delta.Path) bool { return p == "/tags" }

func (s testSchema) Validate(doc any) error {
	var errs []error
	m, isObject := doc.(map[string]any)
	if !isObject {
		errs = append(errs, errors.New("document: is no object"))
	}
	integer := func(at string, x any) {
		if _, ok := x.(int64); x != nil && !ok {
			errs = append(errs, fmt.Errorf("%s: %v is no integer", at, x))
		}
	}
	integer("/n", m["n"])
	deep, _ := m["deep"].(map[string]any)
	for _, k := range sortedKeys(deep) {
		at, _ := deep[k].(map[string]any)
		integer("/deep/"+k+"/n", at["n"])
	}
	tags, _ := m["tags"].([]any)
	for i, x := range tags {
		if _, ok := x.(string); !ok {
			errs = append(errs, fmt.Errorf("/tags/%d: %v is no text", i, x))
		}
	}
	if x, ok := m["o"]; ok {
		o, isObject := x.(map[string]any)
		switch _, good := o["good"]; {
		case !isObject:
			errs = append(errs, errors.New("/o: no object"))
		case !good:
			errs = append(errs, errors.New("/o: good is missing"))
		}
	}
	if m["closed"] != nil {
		errs = append(errs, errors.New("/closed: is no property"))
	}
	if s.need && m["need"] == nil {
		errs = append(errs, errors.New("/need: is required"))
	}
	return errors.Join(errs...)
}

// A schema's resolvers decide what they are for, the policy all else; what
// moved is read where it went.
func TestSchemaDecides(t *testing.T) {
	for _, tt := range []struct{ name, files, policy, want string }{
		{"its resolver, always", "a.json {\"n\": 1}\nb.json {\"source\": \"x\", \"data\": {\"n\": 1}}", "fail", `{"n":2}`},
		{"and not the policy's", "a.json {\"n\": 1, \"x\": 1}\nb.json {\"n\": 2, \"x\": 2}", "all", `{"n":3,"x":[2,1]}`},
		{"a side", "a.json {\"first\": 1}\nb.json {\"time\": 1, \"data\": {\"first\": {\"x\": 2}}}", "fail", `{"first":1}`},
		{"the policy where the rule has none", "a.json {\"plain\": 1}\nb.json {\"plain\": 2}", "all", `{"plain":[2,1]}`},
		{"a pattern without a resolver", "a.json {\"deep\": {\"a\": {\"n\": 1}, \"b\": {\"n\": 1}}}\nb.json {\"deep\": {\"a\": {\"n\": 2}}}", "sum", `{"deep":{"a":{"n":3},"b":{"n":1}}}`},
		{"moved", "a.json {\"old\": 1, \"gone\": 1}\nb.json {\"n\": 2}", "fail", `{"n":3}`},
		{"bags unite", "a.json {\"tags\": [\"y\", \"x\"]}\nb.json {\"tags\": [\"z\", \"x\"]}\nc.json {\"tags\": []}", "fail", `{"tags":["x","y","z"]}`},
		{"what is referred to is not looked for", `a.json {"ref": {"$ref": "x"}}`, "fail", `{"ref":{"$ref":"x"}}`},
		{"nothing left", `a.json {"gone": 1}`, "fail", `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t, tt.policy)
			o.Schema = testSchema{}
			r, err := Fold(files(t, tt.files), o)
			if err != nil {
				t.Fatal(err)
			}
			if string(r.State) != tt.want {
				t.Errorf("got %s, want %s", r.State, tt.want)
			}
		})
	}
}

// A fragment that breaks the schema is refused with all its files, the line and
// the path of the value; a state that does, with what is wrong.
func TestSchemaRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, files string
		want        []string
	}{
		{"a type", `a.json {"x": 1,⏎"n": "1"}`, []string{"a.json:2: /n: 1 is no integer"}},
		{"in every file", "a.json {\"n\": \"1\"}\nb.toml #⏎n = \"1\"\nc.yaml #⏎---⏎n: x", []string{"a.json:1: /n: 1 is no integer", "b.toml:2: /n: 1 is no integer", "c.yaml:3: /n: x is no integer"}},
		{"two at once", `a.json {"closed": 1,⏎"n": "1"}`, []string{"a.json:2: /n: 1 is no integer", "a.json:1: /closed: is no property"}},
		{"a pattern", "a.yaml deep:⏎  a:⏎    n: 1⏎  b:⏎    n: 1.5", []string{"a.yaml:5: /deep/b/n: 1.5 is no integer"}},
		{"in an envelope", `a.json {"data": {⏎"n": "1"}}`, []string{"a.json:2: /data/n: 1 is no integer"}},
		{"a member of a bag", `a.json {⏎"tags": ["x", 1]}`, []string{"a.json:2: /tags/1: 1 is no text"}},
		{"a part of an object", "a.toml #⏎[o]⏎bad = 1\nb.json {\"need\": 1}", []string{"a.toml:2: /o: good is missing"}},
		{"an object that is mended", "a.toml #⏎[o]⏎bad = 1\nb.json {\"need\": 1, \"o\": {\"good\": 1}}", nil},
		{"members of what is no property", "a.json {\"need\": 1,⏎\"closed\": {\"x\": 1}}\nb.json {\"closed\": {\"y\": 1}}", []string{"a.json:2: /closed: is no property", "b.json:1: /closed: is no property"}},
		{"no object at all", "a.json 5", []string{"a.json:1: the root: document: is no object"}},
		{"a scalar in place of one", "a.toml x = 1⏎o = 2", []string{"a.toml:2: /o: no object"}},
		{"where it stands, not where it is read", `a.json {⏎"old": "1"}`, []string{"a.json:2: /old: 1 is no integer"}},
		{"what cannot be moved", `a.json {⏎"unreadable": "1"}`, []string{"a.json:2: /unreadable: it cannot be read any more"}},
		{"what is moved to no value", `a.json {⏎"odd": "1"}`, []string{"a.json:2: /odd: no value can be made of a struct {}"}},
		{"the state", "a.json {\"n\": 1}", []string{"merged state: /need: is required"}},
		{"a resolver without a conflict", "a.json {\"n\": 1, \"need\": 1}\nb.json {\"n\": 2}", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Fold(files(t, tt.files), &Options{Schema: testSchema{need: true}})
			var errs Errors
			if !errors.As(err, &errs) && tt.want != nil {
				t.Fatal(err)
			}
			if err != nil && err.Error() != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%v\nwant\n%s", err, strings.Join(tt.want, "\n"))
			}
		})
	}
}

// A resolver that fails where nothing is in conflict makes an error of the
// state.
func TestSchemaResolverFails(t *testing.T) {
	_, err := Fold(files(t, `a.json {"x": 1}`), &Options{Schema: failing{}})
	var e *StateError
	var p *merge.PropertyError
	if !errors.As(err, &e) || !errors.As(err, &p) || p.Kind != merge.ErrorFailed || err.Error() != "merged state: /x: property x: failed: out of luck" {
		t.Error(err)
	}
}

type failing struct{}

func (failing) Rules() *merge.Rules {
	return &merge.Rules{Properties: []merge.Rule{{ID: "x", Path: "/x", Resolver: merge.ResolverFunc(func(*merge.Input) (merge.Output, error) {
		return merge.Output{}, errors.New("out of luck")
	})}}}
}

func (failing) Validate(any) error { return nil }

func (failing) Bag(delta.Path) bool { return false }
