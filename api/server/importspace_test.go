package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A repo is a node over files, and a server of it.
type repo struct {
	*rhizome.Node
	t testing.TB
	s *Server
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	n, err := rhizome.Open(t.Context(), rhizome.Options{Dir: t.TempDir(), Create: true, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	s := New(Options{Node: n, Token: token})
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	return &repo{n, t, s}
}

func (r *repo) must(ops ...rhizome.Op) {
	r.t.Helper()
	if _, err := r.Commit(r.t.Context(), "", ops); err != nil {
		r.t.Fatal(err)
	}
}

// whole writes an object as one value.
func (r *repo) whole(entity string, p delta.Path, doc string) {
	r.t.Helper()
	x, err := delta.ParseJSON([]byte(doc))
	if err != nil {
		r.t.Fatal(err)
	}
	r.must(rhizome.Op{Kind: rhizome.OpPut, Entity: entity, Path: p, Value: x, Whole: true})
}

func (r *repo) export(t *testing.T, prefix string) string {
	t.Helper()
	w := do(t, r.s, "GET", "/v1/export?prefix="+prefix, "")
	if w.Code != 200 {
		t.Fatalf("export: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func (r *repo) imports(t *testing.T, text string) (p api.ImportProgress) {
	t.Helper()
	w := do(t, r.s, "POST", "/v1/import", text)
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &p); err != nil || w.Code != 200 {
		t.Fatalf("%d %v: %s", w.Code, err, w.Body)
	}
	return p
}

// What a space says of itself is exported and imported like all else: the other
// space then says the same, and to import it again writes nothing.
func TestImportOfTheSpacesOwn(t *testing.T) {
	a, b := newRepo(t), newRepo(t)
	module := bytes.Repeat([]byte("module"), 160<<10)
	hash, pieces := catalog.SplitModule(module)
	for i := range pieces {
		x, err := pieces[i].Any()
		if err != nil {
			t.Fatal(err)
		}
		a.must(rhizome.Op{Kind: rhizome.OpPut, Entity: catalog.ModulePrefix + hash, Path: delta.Path(fmt.Sprintf("/%d", i)), Value: x})
	}
	a.whole("$resolver/compiled", "/1", fmt.Sprintf(`{"kind": "wasm", "module": "%s", "size": %d}`, hash, len(module)))
	for v := 1; v <= 12; v++ { // 10 comes after 9
		a.whole("$resolver/sum-of", delta.Path(fmt.Sprintf("/%d", v)), fmt.Sprintf(`{"kind": "cel", "expression": "%d"}`, v))
	}
	a.whole("$resolver/ended", "/1", `{"kind": "cel", "expression": "1"}`)
	a.whole("$schema/order", "/1", `{"name": "order", "version": 1, "entities": ["order/*"], "properties": [
		{"id": "price", "path": "/cost", "type": {"type": "number"}, "resolver": "ended"},
		{"id": "total", "path": "/total", "computed": true, "resolver": "sum-of", "depends": ["price"]}]}`)
	a.whole("$resolver/ended", "/2", `{"kind": "retired"}`) // order@1 still names it
	a.whole("$schema/order", "/2", `{"name": "order", "version": 2, "entities": ["order/*"], "properties": [
		{"id": "price", "path": "/price"}], "migrate": [{"rename": {"from": "/cost", "to": "/price"}}]}`)
	a.whole("$view/dear", "", `{"entities": ["order/*"], "where": {"/price": {"gt": 10}}, "resolvers": {"/price": "max"}}`)
	if _, err := a.RequireSchema(t.Context(), true); err != nil {
		t.Fatal(err)
	}

	text := a.export(t, "$")
	p := b.imports(t, text)
	if !p.Done || p.Problem != nil || p.Docs != 7 || p.Lines != 7 || p.Bytes != uint64(len(text)) {
		t.Fatalf("%+v %+v", p, p.Problem)
	}
	if got := b.export(t, "$"); got != text {
		t.Errorf("the other space says\n%.2000s\nnot\n%.2000s", got, text)
	}
	for _, x := range []struct{ a, b any }{
		{a.Catalog().Problems(), b.Catalog().Problems()},
		{a.Catalog().RequireSchema, b.Catalog().RequireSchema},
		{api.SchemasOf(a.Catalog()), api.SchemasOf(b.Catalog())},
		{a.Catalog().NextVersion("sum-of"), b.Catalog().NextVersion("sum-of")},
		{a.Catalog().NextVersion("ended"), b.Catalog().NextVersion("ended")},
	} {
		if !reflect.DeepEqual(x.a, x.b) {
			t.Errorf("the catalogs differ: %+v and %+v", x.a, x.b)
		}
	}
	if p := b.imports(t, text); !p.Done || p.Written != 0 {
		t.Errorf("again: %+v", p)
	}
	for _, bad := range []string{
		`{"id":"$schema/order","3":{"name":"order"}}`, `{"id":"$space","$value":5}`, `{"id":"$schema/x","$bags":{"/1":[1]}}`, `{"id":"$nonsense","a":1}`,
	} {
		if p := b.imports(t, "{\"id\":\"$view/all\",\"entities\":[\"**\"]}\n"+bad); p.Done || p.Docs != 1 || p.Problem == nil || p.Problem.Line != 2 || p.Problem.Code != api.CodeValidation {
			t.Errorf("%s: %+v", bad, p)
		}
	}
}

// What a schema moved is exported where the newest version has it: it is imported
// where that version is, and into the same repo nothing is written; a ballot that
// is required is filled by the votes that follow.
func TestImportWhereTheSchemaIs(t *testing.T) {
	a, b := newRepo(t), newRepo(t)
	a.whole("$schema/order", "/1", `{"name": "order", "version": 1, "entities": ["order/*"], "properties": []}`)
	a.must(
		rhizome.Op{Kind: rhizome.OpPut, Entity: "order/1", Value: map[string]any{"cost": int64(5)}},
		rhizome.Op{Kind: rhizome.OpAdd, Entity: "order/1", Path: "/labels", Value: "new"},
		rhizome.Op{Kind: rhizome.OpInc, Entity: "order/1", Path: "/seen", N: 7},
		rhizome.Op{Kind: rhizome.OpVote, Entity: "order/1", Path: "/choice", Value: "yes"},
	)
	a.whole("$schema/order", "/2", `{"name": "order", "version": 2, "entities": ["order/*"], "additional": false, "properties": [
		{"id": "price", "path": "/price", "type": {"type": "integer"}, "required": true},
		{"id": "tags", "path": "/tags", "verb": "bag"}, {"id": "views", "path": "/views", "verb": "counter"},
		{"id": "state", "path": "/state", "verb": "ballot", "required": true}],
		"migrate": [{"rename": {"from": "/cost", "to": "/price"}}, {"rename": {"from": "/labels", "to": "/tags"}},
		{"rename": {"from": "/seen", "to": "/views"}}, {"rename": {"from": "/choice", "to": "/state"}}]}`)
	text := a.export(t, "order/")
	if p := a.imports(t, text); !p.Done || p.Written != 0 {
		t.Errorf("into the same repo: %+v %+v", p, p.Problem)
	}
	if p := b.imports(t, a.export(t, "$")+text); !p.Done {
		t.Fatalf("%+v %+v", p, p.Problem)
	}
	if got := b.export(t, "order/"); got != text {
		t.Errorf("%s is imported as %s", text, got)
	}
	r, err := b.Get(t.Context(), "order/1", "")
	if got := string(delta.AppendAnyJSON(nil, r.Value)); err != nil || got != `{"price":5,"state":"yes","tags":["new"],"views":7}` {
		t.Errorf("it reads %s, %v", got, err)
	}
}
