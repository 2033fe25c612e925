package synthesize

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/merge"
)

// The resolvers of the tests.
func lookup(use string, params map[string]any) (merge.Resolver, error) {
	switch use {
	case lastWrite:
		return merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
			return merge.Output{Value: in.Values[0]}, nil
		}), nil
	case firstWrite:
		return merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
			return merge.Output{Value: in.Values[len(in.Values)-1]}, nil
		}), nil
	case "all":
		return merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
			return merge.Output{Value: in.Values}, nil
		}), nil
	case "sum":
		return merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
			var total int64
			for _, x := range in.Values {
				n, ok := x.(int64)
				if !ok {
					return merge.Output{}, merge.Failf(merge.ErrorType, "%v is no number", x)
				}
				total += n
			}
			return merge.Output{Value: total, Alarm: "it is a sum"}, nil
		}), nil
	case "none":
		return merge.ResolverFunc(func(*merge.Input) (merge.Output, error) { return merge.Output{Absent: true}, nil }), nil
	case "odd":
		return merge.ResolverFunc(func(*merge.Input) (merge.Output, error) { return merge.Output{Value: struct{}{}}, nil }), nil
	case "author":
		return merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
			for i := range in.Values {
				if in.AuthorOf(i) == params["of"] {
					return merge.Output{Value: in.Values[i]}, nil
				}
			}
			return merge.Output{Absent: true}, nil
		}), nil
	}
	return nil, fmt.Errorf("no resolver %q", use)
}

// files reads texts as the files that a script names, one a line: name text.
func files(t testing.TB, script string) []Fragment {
	t.Helper()
	var out []Fragment
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		f, err := Parse(name, []byte(strings.ReplaceAll(text, "⏎", "\n")))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f...)
	}
	return out
}

func options(t testing.TB, policy string) *Options {
	t.Helper()
	p, err := ParsePolicy(policy, lookup)
	if err != nil {
		t.Fatal(err)
	}
	return &Options{Policy: p}
}

// Fragments come to the state that the package says, whatever they are written
// in.
func TestFold(t *testing.T) {
	for _, tt := range []struct{ name, files, policy, want string }{
		{"one", `a.json {"b": 1.0, "a": {"x": [1, 2.50]}}`, "", `{"a":{"x":[1,2.5]},"b":1}`},
		{"objects merge", "a.json {\"a\": {\"x\": 1}}\nb.toml a.y = 2\nc.yaml a: {z: 3}", "", `{"a":{"x":1,"y":2,"z":3}}`},
		{"equal values agree", "a.json {\"a\": 1}\nb.toml a = 1.0\nc.yaml a: 1", "", `{"a":1}`},
		{"numbers agree as they print", "a.json {\"a\": 1, \"b\": 1}\nb.toml a = 1.0\nc.yaml {a: 1e0, c: [1.0]}\nd.json {\"c\": [1], \"d\": 1}", "", `{"a":1,"b":1,"c":[1],"d":1}`},
		{"a scalar", `a.json 5`, "", `5`},
		{"an array is one value", "a.json [1]\nb.yaml [1]", "", `[1]`},
		{"nothing", `a.json {}`, "", `{}`},
		{"an empty table", "a.toml \nb.json {\"a\": 1}", "", `{"a":1}`},
		{"an empty object below", "a.json {\"a\": {}}\nb.json {\"a\": {\"b\": 1}}", "", `{"a":{"b":1}}`},
		{"many documents", "a.yaml a: 1⏎---⏎b: 2⏎---⏎# nothing⏎---⏎", "", `{"a":1,"b":2}`},
		{"a null document", "a.yaml ~", "", `null`},
		{"an envelope", `a.json {"source": "x", "time": 5, "data": {"a": 1}}`, "", `{"a":1}`},
		{"no envelope", `a.json {"source": "x", "time": 5, "data": {"a": 1}, "more": 1}`, "", `{"data":{"a":1},"more":1,"source":"x","time":5}`},
		{"no envelope either", `a.json {"source": "x", "time": 5}`, "", `{"source":"x","time":5}`},
		{"the time decides", "a.json {\"time\": 2, \"data\": {\"a\": 1}}\nb.json {\"time\": \"1970-01-01T00:00:00.001Z\", \"data\": {\"a\": 2}}", lastWrite, `{"a":1}`},
		{"the first", "a.json {\"time\": 2, \"data\": {\"a\": 1}}\nb.json {\"time\": 1, \"data\": {\"a\": 2}}", firstWrite, `{"a":2}`},
		{"parts of a millisecond", "a.json {\"time\": \"2024-01-01T00:00:00.0002Z\", \"data\": {\"a\": 1}}\nb.json {\"time\": \"2024-01-01T01:00:00.0001+01:00\", \"data\": {\"a\": 2}}", lastWrite, `{"a":1}`},
		{"without a time the oldest", "a.json {\"a\": 9}\nb.json {\"time\": 1, \"data\": {\"a\": 2}}", lastWrite, `{"a":2}`},
		{"ties go by canonical bytes", "a.json {\"a\": 10}\nb.json {\"a\": 9}", lastWrite, `{"a":9}`},
		{"the source is of those bytes", "a.json {\"source\": \"y\", \"data\": {\"b\": 1, \"a\": 1}}\nb.json {\"source\": \"x\", \"data\": {\"a\": 1, \"b\": 1}}", "all", `{"a":1,"b":1}`},
		{"one fragment, many files", "a.json {\"a\": 1}\nb.toml a = 1\nc.json {\"a\": 2}", "all", `{"a":[2,1]}`},
		{"sources count", "a.json {\"source\": \"x\", \"data\": {\"a\": 1}}\nb.json {\"source\": \"y\", \"data\": {\"a\": 1}}\nc.json {\"a\": 2}", "sum", `{"a":4}`},
		{"who says it", "a.json {\"source\": \"x\", \"data\": {\"a\": 1}}\nb.json {\"source\": \"y\", \"data\": {\"a\": 2}}", "author:of=x", `{"a":1}`},
		{"none", "a.json {\"a\": 1, \"b\": 1}\nb.json {\"a\": 2}", "none", `{"b":1}`},
		{"kept", "a.json {\"a\": 2}\nb.json {\"a\": 10}\nc.json {\"a\": \"x\"}", "keep", `{"a":{"$conflict":["x",10,2]}}`},
		{"a side kept", "a.json {\"a\": 2}\nb.json {\"a\": {\"x\": 1}}\nc.json {\"a\": {\"y\": 1}}\nd.json {\"a\": {}}", "keep", `{"a":{"$conflict":[2,{"x":1,"y":1}]}}`},
		{
			"sides within sides", "a.json 1\nb.json {\"a\": {\"b\": 1}}\nc.json {\"a\": {\"b\": {\"c\": 1}}}\nd.json {\"a\": {\"b\": {\"c\": 2}}}", "keep",
			`{"$conflict":[1,{"a":{"b":{"$conflict":[1,{"c":{"$conflict":[1,2]}}]}}}]}`,
		},
		{"the newest side", "a.json {\"a\": 2}\nb.json {\"time\": 1, \"data\": {\"a\": {\"x\": 1}}}\nc.json {\"a\": {\"x\": 2, \"y\": 3}}", lastWrite, `{"a":{"x":1,"y":3}}`},
		{"the newest value", "a.json {\"time\": 2, \"data\": {\"a\": 2}}\nb.json {\"time\": 1, \"data\": {\"a\": {\"x\": 1}}}\nc.json {\"a\": 3}", lastWrite, `{"a":2}`},
		{"the oldest side", "a.json {\"time\": 2, \"data\": {\"a\": 2}}\nb.json {\"time\": 1, \"data\": {\"a\": {\"x\": 1}}}", firstWrite, `{"a":{"x":1}}`},
		{"an empty object makes a side new", "a.json {\"time\": 2, \"data\": {\"a\": 2}}\nb.json {\"a\": {\"x\": 1}}\nc.json {\"time\": 3, \"data\": {\"a\": {}}}", lastWrite, `{"a":{"x":1}}`},
		{"an empty object and a value", "a.json {\"a\": {}}\nb.json {\"a\": 1}", "keep", `{"a":{"$conflict":[1,{}]}}`},
		{
			"dates", "a.toml a = 1979-05-27 07:32:00.50-07:00⏎b = 1979-05-27⏎c = 07:32:00⏎d = 1979-05-27T07:32:00\nb.yaml e: 2001-12-14", "",
			`{"a":"1979-05-27T07:32:00.5-07:00","b":"1979-05-27","c":"07:32:00","d":"1979-05-27T07:32:00","e":"2001-12-14"}`,
		},
		{"numbers", "a.yaml [0x10, 0o17, -9223372036854775808, 1e3, 1.5, -0.0, 1e21, !!float 3, 123456789012345680000]", "", `[16,15,-9223372036854775808,1000,1.5,0,1e+21,3,123456789012345680000]`},
		{"floats that print as integers", "a.json {\"a\": 1e20}\nb.json {\"a\": 100000000000000000000}\nc.toml a = 1e20", "", `{"a":100000000000000000000}`},
		{"texts", "a.yaml [yes, ~, true, '1', \"\\t\", 2001-01-01, !!binary aGk=, !!str 5]", "", `["yes",null,true,"1","\t","2001-01-01",{"$bytes":"aGk="},"5"]`},
		{
			"aliases", "a.yaml x: &x {a: 1, b: 2}⏎y: {<<: *x, b: 3}⏎z: *x⏎? &k k⏎: 1⏎w: {<<: [{c: 1}, *x, {c: 2}], *k : 4}", "",
			`{"k":1,"w":{"a":1,"b":2,"c":1,"k":4},"x":{"a":1,"b":2},"y":{"a":1,"b":3},"z":{"a":1,"b":2}}`,
		},
		{"references and bytes", `a.json {"a": {"$ref": "host/a"}, "b": {"$bytes": "aGk="}}`, "", `{"a":{"$ref":"host/a"},"b":{"$bytes":"aGk="}}`},
		{"a name like a pattern", "a.json {\"*\": 1, \"a\": 1}\nb.json {\"*\": 2}", "all", `{"*":[2,1],"a":1}`},
		{"names that need escapes", `a.json {"a/b": {"~": 1}, "": 2, "*": 3}`, "", `{"":2,"*":3,"a/b":{"~":1}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Fold(files(t, tt.files), options(t, tt.policy))
			if err != nil {
				t.Fatal(err)
			}
			if string(r.State) != tt.want {
				t.Errorf("got  %s\nwant %s", r.State, tt.want)
			}
		})
	}
}

// A conflict that nothing decides is an error with path, values and sources of
// it and of all others.
func TestConflicts(t *testing.T) {
	for _, tt := range []struct {
		name, files, policy string
		want                []string
	}{
		{
			"values", "a.json {\"b\": {\"c\": 1}, \"a\": 1}\nb.toml #⏎b.c = 2\nc.json {\"data\": {\"b\": {\"c\": 1}}, \"source\": \"x\", \"time\": 7}\nd.json {\"b\": {\"c\": 1}, \"a\": 1}", "fail",
			[]string{"/b/c: 1 in a.json:1, c.json:1 (x), d.json:1; 2 in b.toml:2"},
		},
		{"sides", "a.json {\"a\": 1}\nb.yaml x: 1⏎a:⏎  b: 1\nc.json {\"a\": {\"b\": 2}}\nd.json {\"a\": {}}", "", []string{
			"/a: 1 in a.json:1; {\"b\":1} in b.yaml:2; {\"b\":2} in c.json:1; {} in d.json:1", "/a/b: 1 in b.yaml:3; 2 in c.json:1",
		}},
		{"the root", "a.json 1\nb.json \"x\"", "fail", []string{`the root: "x" in b.json:1; 1 in a.json:1`}},
		{"a resolver cannot", "a.json {\"a\": 1}\nb.json {\"a\": \"x\"}", "sum", []string{`/a: "x" in b.json:1; 1 in a.json:1 (sum: property /a: type: x is no number)`}},
		{"nor what it returns be a value", "a.json {\"a\": 1}\nb.json {\"a\": 2}", "odd", []string{`/a: 1 in a.json:1; 2 in b.json:1 (odd: property /a: output: no value can be made of a struct {})`}},
		{"nor pick a side", "a.json {\"a\": 1}\nb.json {\"a\": {\"b\": 1}}", "sum", []string{`/a: 1 in a.json:1; {"b":1} in b.json:1 (sum: ` + errNotWhole.Error() + `)`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Fold(files(t, tt.files), options(t, tt.policy))
			var c *ConflictError
			if !errors.As(err, &c) {
				t.Fatal(err)
			}
			var got []string
			for i := range c.Conflicts {
				if c.Conflicts[i].Status == Open {
					got = append(got, c.Conflicts[i].String())
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if !strings.HasSuffix(err.Error(), "\n"+strings.Join(tt.want, "\n")) {
				t.Error(err)
			}
		})
	}
}

// Of conflicts that are decided or kept, the report tells as much.
func TestReport(t *testing.T) {
	set := files(t, "a.json {\"a\": 1, \"b\": 1}\nb.json {\"a\": 2, \"b\": {\"c\": 1}}\nb.json {\"a\": 2, \"b\": {\"c\": 1}}\nc.json {\"source\": \"x\", \"time\": 7, \"data\": {\"a\": 3}}")
	r, err := Fold(set, options(t, lastWrite))
	if err != nil {
		t.Fatal(err)
	}
	if r.Fragments != 4 || r.Distinct != 3 {
		t.Errorf("%d fragments, %d of them distinct", r.Fragments, r.Distinct)
	}
	text, err := NewReport(r, nil).JSON()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"fragments": 4, "distinct": 3, "conflicts": [
		{"path": "/a", "status": "resolved", "rule": "last-write-wins", "values": [
			{"value": 1, "sources": [{"file": "a.json", "line": 1}]},
			{"value": 2, "sources": [{"file": "b.json", "line": 1}]},
			{"value": 3, "sources": [{"source": "x", "time": "1970-01-01T00:00:00.007Z", "file": "c.json", "line": 1}]}]},
		{"path": "/b", "status": "resolved", "rule": "last-write-wins", "values": [
			{"value": 1, "sources": [{"file": "a.json", "line": 1}]},
			{"value": {"c": 1}, "sources": [{"file": "b.json", "line": 1}]}]}], "mistakes": []}`
	sameJSON(t, text, want)

	if r, err = Fold(set, options(t, "keep")); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Conflicts {
		if c.Status != Kept || c.Rule != "" {
			t.Errorf("%v", c)
		}
	}
	if r, err = Fold(files(t, "a.json {\"a\": 1}\nb.json {\"a\": 2}"), options(t, "sum")); err != nil || !slices.Equal(r.Alarms, []string{"it is a sum"}) {
		t.Errorf("%v, alarms %v", err, r.Alarms)
	}

	_, conflict := Fold(set, new(Options))
	_, mistake := Parse("d.json", []byte("{\"a\": 1,\n\"a\": 2}"))
	text, err = NewReport(nil, Errors{mistake, &StateError{errors.New("bad")}, conflict}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"mistakes":[{"file":"d.json","line":2,"path":"/a","text":"json: the key stands twice in one object"},{"text":"merged state: bad"}]`,
		`"path":"/b","status":"open"`,
	} {
		if got := compact(t, text); !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func compact(t *testing.T, text []byte) string {
	t.Helper()
	return strings.NewReplacer("\n", "", "  ", "", `": `, `":`).Replace(string(text))
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	g, _, err := parseAny(got)
	if err != nil {
		t.Fatal(err)
	}
	w, _, err := parseAny([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func parseAny(text []byte) (any, *place, error) {
	docs, err := parseJSON(text)
	if err != nil {
		return nil, nil, err
	}
	return docs[0].value, docs[0].at, nil
}

// No fragments are no state.
func TestNoFragments(t *testing.T) {
	if _, err := Fold(nil, new(Options)); !errors.Is(err, ErrNoFragments) {
		t.Error(err)
	}
}
