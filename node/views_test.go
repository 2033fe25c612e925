package node

import (
	"testing"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
)

func (b *bench) view(name, doc string) {
	b.t.Helper()
	x, err := delta.ParseJSON([]byte(doc))
	if err != nil {
		b.t.Fatal(err)
	}
	b.must(Op{Kind: OpPut, Entity: catalog.ViewPrefix + name, Value: x, Whole: true})
}

func (b *bench) show(name string) (ids []string) {
	b.t.Helper()
	items, _, err := b.ShowView(b.t.Context(), name, "", 0, "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, i := range items {
		ids = append(ids, i.Entity)
	}
	return ids
}

func TestViewStale(t *testing.T) {
	b := newBench(t)
	b.must(Op{Kind: OpPut, Entity: "host/1", Value: map[string]any{"os": "linux", "n": int64(8)}})
	b.must(Op{Kind: OpPut, Entity: "host/3", Value: map[string]any{"os": "linux", "n": int64(2)}})
	b.view("v", `{"entities": ["host/*"], "where": {"/os": "linux", "/n": {"ge": 8}}, "expand": 1}`)
	b.show("v")
	b.show("v")
	b.must(Op{Kind: OpPut, Entity: "host/3", Path: "/n", Value: int64(16)})
	if got := b.show("v"); len(got) != 2 {
		t.Fatal(got)
	}
}
