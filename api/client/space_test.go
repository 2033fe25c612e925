package client

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

const orderSchema = `{"name": "order", "version": 1, "entities": ["order/*"], "properties": [
	{"id": "price", "path": "/price", "type": {"type": "number"}},
	{"id": "double", "path": "/double", "computed": true, "resolver": "twice", "depends": ["price"]}]}`

func check[T any](t *testing.T) func(T, error) T {
	return func(x T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

// isProblem wants an error of a class that says something.
func isProblem(t *testing.T, err error, code api.Code, text string) {
	t.Helper()
	p := api.ProblemOf(err)
	if err == nil || p.Code != code || !strings.Contains(p.Detail, text) {
		t.Errorf("%v, want %s with %q", err, code, text)
	}
}

// Schemas and resolvers go over HTTP and back: added, listed, shown, replaced,
// retired and dropped, and what is wrong with one is told in full.
func TestSchemasOverHTTP(t *testing.T) {
	ctx, c := t.Context(), local(t)
	_, err := c.AddSchema(ctx, []byte(orderSchema), false)
	isProblem(t, err, api.CodeValidation, `unknown resolver "twice"`)
	r := check[api.SchemaReceipt](t)(c.AddCEL(ctx, "twice", "two times", "deps.price * 2"))
	if r.Name != "twice" || r.Version != 1 || r.Txn == "" {
		t.Errorf("%+v", r)
	}
	_, err = c.AddCEL(ctx, "twice", "", "deps.price *")
	isProblem(t, err, api.CodeValidation, "yntax")
	if r := check[api.SchemaReceipt](t)(c.AddSchema(ctx, []byte(orderSchema), true)); !r.DryRun || r.Txn != "" {
		t.Errorf("%+v", r)
	}
	if s := check[api.Schemas](t)(c.Schemas(ctx)); len(s.Schemas) != 0 {
		t.Errorf("a dry run wrote %+v", s)
	}
	check[api.SchemaReceipt](t)(c.AddSchema(ctx, []byte(orderSchema), false))
	s := check[api.Schemas](t)(c.Schemas(ctx))
	if len(s.Schemas) != 1 || !s.Schemas[0].Active || s.Schemas[0].Properties != 2 || s.Require || len(s.Problems) != 0 {
		t.Errorf("%+v", s)
	}
	var doc map[string]any
	for _, version := range []int{0, 1} {
		if err := json.Unmarshal(check[json.RawMessage](t)(c.Schema(ctx, "order", version)), &doc); err != nil || doc["name"] != "order" {
			t.Errorf("version %d: %v %v", version, doc, err)
		}
	}
	_, err = c.Schema(ctx, "order", 2)
	isProblem(t, err, api.CodeNotFound, "of that version")

	put(t, c, "order/1", `{"price": 4}`)
	_, err = c.Commit(ctx, api.Op{Op: "put", Key: "order/1#/price", Value: json.RawMessage(`"dear"`)})
	isProblem(t, err, api.CodeValidation, `order/1#/price: property "price"`)
	v := check[Value](t)(c.Get(ctx, "order/1"))
	if string(v.JSON) != `{"double":8,"price":4}` || v.Errors != 0 {
		t.Errorf("%s with %d errors", v.JSON, v.Errors)
	}
	if v := check[Value](t)(c.GetWith(ctx, "order/1", rhizome.ReadOptions{Raw: true})); string(v.JSON) != `{"price":4}` {
		t.Errorf("raw: %s", v.JSON)
	}
	x := check[api.Explanation](t)(c.Explain(ctx, "order/1#/double", rhizome.ReadOptions{}))
	if x.Rules != "order@1" || len(x.Properties) != 1 || string(x.Properties[0].Inputs["price"]) != "4" || x.Properties[0].Resolver != "twice" {
		t.Errorf("%+v", x)
	}

	if r := check[api.SchemaReceipt](t)(c.RetireResolver(ctx, "twice")); r.Version != 2 {
		t.Errorf("%+v", r)
	}
	_, err = c.Get(ctx, "order/1#/double")
	isProblem(t, err, api.CodeResolver, "unknown-resolver")
	if v := check[Value](t)(c.Get(ctx, "order/1")); string(v.JSON) != `{"price":4}` || v.Errors != 1 {
		t.Errorf("%s with %d errors", v.JSON, v.Errors)
	}
	many := check[[]api.KeyValue](t)(c.GetMany(ctx, []string{"order/1", "none"}, rhizome.ReadOptions{}, false))
	if len(many) != 2 || len(many[0].Errors) != 1 || many[0].ETag == "" || many[1].Found {
		t.Errorf("%+v", many)
	}
	if many := check[[]api.KeyValue](t)(c.GetMany(ctx, []string{"order/1"}, rhizome.ReadOptions{}, true)); many[0].Reading == nil || many[0].Reading.Rules != "order@1" {
		t.Errorf("%+v", many)
	}
	_, err = c.GetMany(ctx, []string{"#"}, rhizome.ReadOptions{}, false)
	isProblem(t, err, api.CodeValidation, "empty")

	module, err := os.ReadFile("../../plugin/testdata/median.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if r := check[api.SchemaReceipt](t)(c.AddWASM(ctx, "median", "of integers", strings.NewReader(string(module)))); r.Version != 1 {
		t.Errorf("%+v", r)
	}
	_, err = c.AddWASM(ctx, "bad", "", strings.NewReader("no module"))
	isProblem(t, err, api.CodeValidation, "plugin")
	list := check[api.Resolvers](t)(c.Resolvers(ctx))
	if len(list.Resolvers) != 2 || list.Resolvers[1].Versions[1].State != "retired" || list.Resolvers[0].Versions[0].Size != len(module) || len(list.Builtin) == 0 {
		t.Errorf("%+v", list)
	}

	check[api.Receipt](t)(c.RequireSchema(ctx, true))
	_, err = c.Commit(ctx, api.Op{Op: "put", Key: "free", Value: json.RawMessage(`1`)})
	isProblem(t, err, api.CodeValidation, "requires one")
	var settings api.SpaceSettings
	if err := c.call(ctx, http.MethodGet, "/v1/space", nil, nil, &settings); err != nil || !settings.RequireSchema {
		t.Errorf("%+v %v", settings, err)
	}
	check[api.Receipt](t)(c.RemoveSchema(ctx, "order"))
	_, err = c.RemoveSchema(ctx, "order")
	isProblem(t, err, api.CodeNotFound, "schema order")
	_, err = c.RemoveSchema(ctx, "a b")
	isProblem(t, err, api.CodeValidation, "letters")
	for _, body := range []string{`{"require_schema": 1}`, `{"colour": true}`, `{} {}`, ``} {
		err := c.call(ctx, http.MethodPut, "/v1/space", nil, strings.NewReader(body), nil)
		isProblem(t, err, api.CodeValidation, "the body: ")
	}
}

// Views go over HTTP and back, page by page, and are watched.
func TestViewsOverHTTP(t *testing.T) {
	ctx, c := t.Context(), local(t)
	for _, k := range []string{"host/1", "host/2", "host/3"} {
		put(t, c, k, `{"os": "linux"}`)
	}
	check[api.Receipt](t)(c.PutView(ctx, "linux", []byte(`{"entities": ["host/*"], "where": {"/os": "linux"}}`)))
	_, err := c.PutView(ctx, "bad", []byte(`{"entities": []}`))
	isProblem(t, err, api.CodeValidation, "/entities")
	if v := check[api.Views](t)(c.Views(ctx)); len(v.Views) != 1 || v.Views[0].Name != "linux" || string(v.Views[0].Definition.Where["/os"]) != `"linux"` {
		t.Errorf("%+v", v)
	}
	page := check[api.ViewPage](t)(c.ShowView(ctx, "linux", "", 2, ""))
	if len(page.Items) != 2 || page.Next != "host/2" || string(page.Items[0].Value) != `{"os":"linux"}` {
		t.Errorf("%+v", page)
	}
	if page := check[api.ViewPage](t)(c.ShowView(ctx, "linux", page.Next, 2, "now")); len(page.Items) != 1 || page.Next != "" {
		t.Errorf("%+v", page)
	}

	read := check[api.KeyValues](t)(c.ReadRange(ctx, "host/", "host/1", 1, rhizome.ReadOptions{View: "linux"}, false))
	if len(read.Values) != 1 || read.Values[0].Key != "host/2" || read.Next != "host/2" || string(read.Values[0].Value) != `{"os":"linux"}` {
		t.Errorf("%+v", read)
	}
	if read := check[api.KeyValues](t)(c.ReadRange(ctx, "", "", 0, rhizome.ReadOptions{}, true)); len(read.Values) != 3 || read.Next != "" || read.Values[2].Reading == nil {
		t.Errorf("%+v", read)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var seen []string
	for e, err := range c.WatchView(ctx, "linux") {
		if err != nil {
			t.Fatal(err)
		}
		var i api.ViewItem
		if err := json.Unmarshal(e.Data, &i); err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Name == "ready":
			put(t, c, "host/2#/os", `"plan9"`)
		case i.Gone:
			seen = append(seen, "-"+i.ID)
			put(t, c, "host/9", `{"os": "linux"}`)
		default:
			seen = append(seen, i.ID)
		}
		if len(seen) == 5 {
			break
		}
	}
	if got := strings.Join(seen, " "); got != "host/1 host/2 host/3 -host/2 host/9" {
		t.Errorf("watched %s", got)
	}
	check[api.Receipt](t)(c.RemoveView(t.Context(), "linux"))
	_, err = c.ShowView(t.Context(), "linux", "", 0, "")
	isProblem(t, err, api.CodeNotFound, "view linux")
	for _, err := range c.WatchView(t.Context(), "linux") {
		isProblem(t, err, api.CodeNotFound, "view linux")
	}
}
