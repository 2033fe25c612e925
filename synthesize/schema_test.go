package synthesize

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A testSchema wants /n and /deep/*/n to be integers and /o an object without
// "bad"; /n sums up, /first takes the first, and /old is read as /n. It needs
// /need where that is asked for.
type testSchema struct{ need bool }

func (testSchema) Rules() *merge.Rules {
	integer := func(x any) error {
		if _, ok := x.(int64); !ok {
			return fmt.Errorf("%v is no integer", x)
		}
		return nil
	}
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
			{ID: "n", Path: "/n", Check: integer, Resolver: sum, Use: "sum"},
			{ID: "deep", Path: "/deep/*/n", Check: integer},
			{ID: "first", Path: "/first", Resolver: first, Use: firstWrite},
			{ID: "plain", Path: "/plain"},
			{ID: "o", Path: "/o", Check: func(x any) error {
				if m, ok := x.(map[string]any); ok && m["bad"] == nil {
					return nil
				}
				return errors.New("no object without bad")
			}},
		},
	}
}

func (s testSchema) Validate(doc any) error {
	if m, ok := doc.(map[string]any); s.need && (!ok || m["need"] == nil) {
		return errors.New("/need: it is required")
	}
	return nil
}

// A schema's resolvers decide what they are for, the policy all else; what
// moved is read where it went.
func TestSchemaDecides(t *testing.T) {
	for _, tt := range []struct{ name, files, policy, want string }{
		{"its resolver, always", "a.json {\"n\": 1}\nb.json {\"source\": \"x\", \"data\": {\"n\": 1}}", "fail", `{"n":2}`},
		{"and not the policy's", "a.json {\"n\": 1, \"x\": 1}\nb.json {\"n\": 2, \"x\": 2}", "all", `{"n":3,"x":[2,1]}`},
		{"a side", "a.json {\"first\": 1}\nb.json {\"time\": 1, \"data\": {\"first\": {\"x\": 2}}}", "fail", `{"first":1}`},
		{"the policy where the rule has none", "a.json {\"plain\": 1}\nb.json {\"plain\": 2}", "all", `{"plain":[2,1]}`},
		{"a pattern without a resolver", "a.json {\"deep\": {\"a\": {\"n\": 1}, \"b\": {\"n\": 1}}}\nb.json {\"deep\": {\"a\": {\"n\": 2}}}", "all", `{"deep":{"a":{"n":[2,1]},"b":{"n":1}}}`},
		{"moved", "a.json {\"old\": 1, \"gone\": 1}\nb.json {\"n\": 2}", "fail", `{"n":3}`},
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
		{"a pattern", "a.yaml deep:⏎  a:⏎    n: 1⏎  b:⏎    n: 1.5", []string{"a.yaml:5: /deep/b/n: 1.5 is no integer"}},
		{"in an envelope", `a.json {"data": {⏎"n": "1"}}`, []string{"a.json:2: /data/n: 1 is no integer"}},
		{"an object", "a.toml [o]⏎bad = 1", []string{"a.toml:1: /o: no object without bad"}},
		{"a scalar in place of one", "a.toml x = 1⏎o = 2", []string{"a.toml:2: /o: no object without bad"}},
		{"where it stands, not where it is read", `a.json {⏎"old": "1"}`, []string{"a.json:2: /old: 1 is no integer"}},
		{"what cannot be moved", `a.json {⏎"unreadable": "1"}`, []string{"a.json:2: /unreadable: it cannot be read any more"}},
		{"what is moved to no value", `a.json {⏎"odd": "1"}`, []string{"a.json:2: /odd: no value can be made of a struct {}"}},
		{"the state", "a.json {\"n\": 1}", []string{"merged state: /need: it is required"}},
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
	if !errors.As(err, &e) || !errors.As(err, &p) || p.Path != "/x" || p.Kind != merge.ErrorFailed {
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
