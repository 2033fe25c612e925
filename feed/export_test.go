package feed

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Every kind of value at every kind of path goes out as a delta with the dot as
// its id, comes into another space and goes out again as it was; into its own
// space it does not come at all, not even what was overwritten since.
func TestNative(t *testing.T) {
	h, other := newHost(t, t, "a"), newHost(t, t, "b")
	defer h.Close()
	defer other.Close()
	for path, x := range map[delta.Path]any{
		"/null": nil, "/bool": true, "/int": int64(1) << 62, "/float": 1.0, "/text": "[1]",
		"/ref": map[string]any{"$ref": "host/web-2"}, "/bytes": []byte{1, 2}, "/array": []any{int64(1), "x"},
		"/object": map[string]any{}, "/deep/er": "d", "/": "nameless", delta.Path("/" + strings.Repeat("~1", 2000)): "long",
	} {
		h.must(node.Op{Kind: node.OpPut, Entity: "host/web-1", Path: path, Value: x})
	}
	h.must(
		node.Op{Kind: node.OpAdd, Entity: "bag", Value: "x"}, node.Op{Kind: node.OpInc, Entity: "counter", N: 2},
		node.Op{Kind: node.OpInc, Entity: "counter", N: 3}, node.Op{Kind: node.OpPut, Entity: "$space", Path: "/require_schema", Value: false},
		node.Op{Kind: node.OpPut, Entity: "feed/by-hand", Path: "/note", Value: "kept"},
		node.Op{Kind: node.OpAdd, Entity: "mine", Path: "/best", Value: delta.Ref("feed/x")},
		node.Op{Kind: node.OpAdd, Entity: "mine", Path: "/gone", Value: delta.Ref("feed/none")},
	)
	h.take(edge("x", "alice", role), edge("n", "bob", negates("y")))
	if _, err := h.Commit(t.Context(), "carol", []node.Op{{Kind: node.OpVote, Entity: "ballot", Value: "v"}}); err != nil {
		t.Fatal(err)
	}
	out := h.out()
	all := strings.Join(out, "\n")
	for _, want := range []string{
		`"pointers":[{"role":"entity","target":{"id":"host/web-1","context":"int"}},{"role":"path","target":"/int"},{"role":"verb","target":"assign"},{"role":"value","target":4611686018427387904}]}`,
		`{"role":"path","target":"/null"},{"role":"verb","target":"assign"},{"role":"value","target":null}]`,
		`{"role":"path","target":"/float"},{"role":"verb","target":"assign"},{"role":"value","target":1.0}]`,
		`{"role":"path","target":"/text"},{"role":"verb","target":"assign"},{"role":"value","target":"[1]"}]`,
		`{"role":"path","target":"/ref"},{"role":"verb","target":"assign"},{"role":"value","target":{"id":"host/web-2"}}]`,
		`{"role":"path","target":"/bytes"},{"role":"verb","target":"assign"},{"role":"json","target":"{\"$bytes\":\"AQI=\"}"}]`,
		`{"role":"path","target":"/array"},{"role":"verb","target":"assign"},{"role":"json","target":"[1,\"x\"]"}]`,
		`{"role":"path","target":"/object"},{"role":"verb","target":"assign"},{"role":"json","target":"{}"}]`,
		`{"id":"host/web-1","context":"deep/er"}},{"role":"path","target":"/deep/er"}`,
		`[{"role":"entity","target":{"id":"host/web-1"}},{"role":"path","target":"/"}`,
		`[{"role":"entity","target":{"id":"host/web-1"}},{"role":"path","target":"/~1~1`,
		`[{"role":"entity","target":{"id":"bag"}},{"role":"path","target":""},{"role":"verb","target":"add"},{"role":"value","target":"x"}]`,
		`{"role":"verb","target":"inc"},{"role":"value","target":5}]`,
		`"creator":"carol","host":"`, `{"role":"verb","target":"vote"}`,
		`[{"role":"entity","target":{"id":"feed/by-hand","context":"note"}}`,
		`"context":"best"}},{"role":"path","target":"/best"},{"role":"verb","target":"add"},{"role":"value","target":{"id":"feed/x"}}]`,
		`{"role":"value","target":{"id":"feed/none"}}]`,
		edge("x", "alice", role), edge("n", "bob", negates("y")),
	} {
		if !strings.Contains(all, want) {
			t.Errorf("there is no %s in\n%s", want, all)
		}
	}
	if len(out) != 12+6+2 || strings.Contains(all, "$schema") {
		t.Errorf("%d deltas:\n%s", len(out), all)
	}

	if r := other.take(out...); int(r.Written) != len(out) || len(r.Problems) != 0 {
		t.Errorf("into another space: %+v", r)
	}
	again := other.out()
	slices.Sort(out)
	slices.Sort(again)
	if !slices.Equal(out, again) {
		t.Errorf("exported again:\n%s\nnot\n%s", strings.Join(again, "\n"), all)
	}
	h.must(node.Op{Kind: node.OpRm, Entity: "host/web-1"})
	if r := h.take(out...); r.Written != 0 || int(r.Skipped) != len(out) || len(r.Problems) != 0 {
		t.Errorf("into its own space: %+v", r)
	}
	h.want("host/web-1", "-")
	other.want("host/web-1#/int", `[{"$ref":"feed/`+dotOf(t, out, `"/int"`)+`"}]`)
}

// What a schema renamed or split goes out as it stands, once, under the dot that
// named it before; what follows from an imported delta still does not.
func TestExportOfMoved(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	h.take(edge("x", "alice", role))
	h.must(node.Op{Kind: node.OpPut, Entity: "host/web-1", Path: "/name", Value: "a b"})
	before := h.out()
	doc, err := delta.ParseJSON([]byte(`{"name": "all", "version": 1, "entities": ["**"], "migrate": [
		{"rename": {"from": "/cast", "to": "/actors"}}, {"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	h.must(node.Op{Kind: node.OpPut, Entity: "$schema/all", Path: "/1", Value: doc, Whole: true})
	if h.read("host/web-1#/last") != `"b"` {
		t.Fatalf("it reads %s", h.read("host/web-1"))
	}
	if after := h.out(); !slices.Equal(after, before) {
		t.Errorf("exported\n%s\nbefore the schema\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
}

// dotOf returns the id of the line that has a text.
func dotOf(t *testing.T, lines []string, text string) string {
	t.Helper()
	for _, s := range lines {
		if strings.Contains(s, text) {
			return parsed(t, []string{s})[0].ID
		}
	}
	t.Fatalf("no line has %s", text)
	return ""
}

// A prefix is that of entities: those of a feed stand under feed/.
func TestExportPrefix(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	h.must(node.Op{Kind: node.OpPut, Entity: "host/web-1", Value: int64(1)})
	h.take(edge("x", "alice", `{"role":"r","target":{"id":"host/web-1","context":"c"}}`))
	for prefix, want := range map[string]int{"": 2, "host/": 1, "feed/": 1, "feed/y": 0} {
		n := 0
		if err := Export(t.Context(), h, prefix, func(Delta) error { n++; return nil }); err != nil || n != want {
			t.Errorf("prefix %q: %d deltas, want %d: %v", prefix, n, want, err)
		}
	}
}

// An error of the source, or of who takes the deltas, ends the export.
func TestExportErrors(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	h.take(edge("x", "alice", role))
	nothing := func(Delta) error { return nil }
	for _, fail := range []string{"export", "get feed/x"} {
		if err := Export(t.Context(), &meddler{host: h, fail: fail}, "", nothing); !errors.Is(err, errTest) {
			t.Errorf("%s fails: %v", fail, err)
		}
	}
	h.must(node.Op{Kind: node.OpPut, Entity: "native", Value: int64(1)})
	for _, prefix := range []string{"feed/", "native"} {
		if err := Export(t.Context(), h, prefix, func(Delta) error { return errTest }); !errors.Is(err, errTest) {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}

// Different ids have different edges and marks, all of them valid and none where
// another kind stands, and a mark leads to the edge that it is about.
func TestNames(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		long := rapid.Map(rapid.IntRange(990, 1030), func(n int) string { return strings.Repeat("x", n) })
		id := rapid.OneOf(anyName(), rapid.String().Filter(func(s string) bool { return s != "" }), long)
		a, b := id.Draw(rt, "a"), id.Draw(rt, "b")
		for _, name := range []string{edgeOf(a), markOf(a), entityOf(a)} {
			if err := delta.CheckEntity(name); err != nil {
				rt.Fatal(err)
			}
		}
		if (a == b) != (edgeOf(a) == edgeOf(b)) || (a == b) != (markOf(a) == markOf(b)) || (a == b) != (entityOf(a) == entityOf(b)) {
			rt.Fatalf("%q and %q share a name", a, b)
		}
		if edgeOf(a) == markOf(b) || edgeOf(a) == entityOf(b) || markOf(a) == entityOf(b) || strings.HasPrefix(entityOf(a), "$") {
			rt.Fatalf("%q and %q meet", a, b)
		}
		if markedBy(markOf(a)) != edgeOf(a) {
			rt.Fatalf("%q is marked under %q", a, markOf(a))
		}
	})
}

// The sample feed goes in with the problems that it was made for, and comes out
// in normal form.
func TestSample(t *testing.T) {
	in, err := os.Open(filepath.Join("testdata", "sample.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	h := newHost(t, t, "a")
	defer h.Close()
	r, err := Import(t.Context(), h, in)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, line := range h.out() {
		b.WriteString(line + "\n")
	}
	for _, p := range r.Problems {
		b.WriteString(p.String() + "\n")
	}
	for _, s := range h.shows() {
		b.WriteString(s + "\n")
	}
	golden := filepath.Join("testdata", "sample.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
