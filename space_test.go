package rhizome

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

const orderSchema = `{"name": "order", "version": %d, "entities": ["order/*"], "properties": [
	{"id": "price", "path": "/price", "type": {"type": "number", "minimum": 0}, "required": true},
	{"id": "quantity", "path": "/quantity", "type": {"type": "integer"}, "default": 1},
	{"id": "discount", "path": "/discount", "type": {"type": "number"}},
	{"id": "tax", "path": "/tax", "type": {"type": "number"}, "default": 0},
	{"id": "net", "path": "/net", "computed": true, "type": {"type": "number"}, "resolver": "net",
	 "depends": ["price", "quantity", {"id": "discount", "optional": true}]},
	{"id": "total", "path": "/total", "computed": true, "type": {"type": "number"}, "resolver": "total",
	 "depends": ["net", "tax"]}
]}`

// three returns three nodes that are connected to the first.
func three(t *testing.T, o Options) []*Node {
	t.Helper()
	o.Dir, o.Create = t.TempDir(), true
	a := open(t, o)
	nodes := []*Node{a}
	for range 2 {
		o.Dir = t.TempDir()
		nodes = append(nodes, join(t, o, a))
	}
	return nodes
}

// A property that is computed of others, which are computed of others, reads the
// same on three nodes; and while its resolver is replaced on one of them, every
// read on any of them is by the old one or by the new one, and none fails.
func TestResolverReplacedWhileRead(t *testing.T) {
	ctx := t.Context()
	nodes := three(t, Options{})
	a, b := nodes[0], nodes[1]
	must2(a.AddCEL(ctx, "net", "", "double(deps.price) * double(deps.quantity) - ('discount' in deps ? double(deps.discount) : 0.0)"))
	must2(a.AddCEL(ctx, "total", "what is to be paid", "deps.net + double(deps.tax)"))
	if _, _, err := a.AddSchema(ctx, fmt.Appendf(nil, orderSchema, 1)); err != nil {
		t.Fatal(err)
	}
	const orders = 20
	for i := range orders {
		must(a.Apply(ctx, NewTxn().Entity(fmt.Sprintf("order/%d", i)).Put("", map[string]any{
			"price": int64(i), "quantity": int64(3), "tax": 0.5, "discount": int64(1),
		}).Txn()))
	}
	settled(t, 20*time.Second, nodes...)

	old := func(i int) float64 { return float64(3*i) - 1 + 0.5 }
	fresh := func(i int) float64 { return (float64(3*i) - 1) * 1.5 }
	var stop atomic.Bool
	var reads, changed atomic.Int64
	var readers sync.WaitGroup
	for n, node := range nodes {
		readers.Go(func() {
			seen := false // the new one, after which the old one may not come back
			for i := 0; !stop.Load(); i++ {
				k := i % orders
				r, err := node.Get(ctx, fmt.Sprintf("order/%d", k), "/total")
				if err != nil || len(r.Errors) > 0 {
					t.Errorf("node %d, order %d: %v %v", n, k, err, r.Errors)
					return
				}
				switch got := r.Value; {
				case got == fresh(k) && k > 0:
					if !seen {
						changed.Add(1)
					}
					seen = true
				case got != old(k) && got != fresh(k) || seen && got == old(k) && old(k) != fresh(k):
					t.Errorf("node %d, order %d: total %v, want %v or then %v", n, k, got, old(k), fresh(k))
					return
				}
				reads.Add(1)
			}
		})
	}
	eventually(t, 20*time.Second, "reads before", func() bool { return reads.Load() > 1000 })
	if version, _, err := b.AddCEL(ctx, "total", "", "deps.net * (1.0 + double(deps.tax))"); err != nil || version != 2 {
		t.Fatalf("version %d: %v", version, err)
	}
	eventually(t, 20*time.Second, "the new resolver on all nodes", func() bool { return changed.Load() == int64(len(nodes)) })
	after := reads.Load()
	eventually(t, 20*time.Second, "reads after", func() bool { return reads.Load() > after+1000 })
	stop.Store(true)
	readers.Wait()
	settled(t, 20*time.Second, nodes...)
}

func must2[T, U any](v T, u U, err error) (T, U) {
	if err != nil {
		panic(err)
	}
	return v, u
}

// padded returns a module with so many bytes more, which mean nothing.
func padded(module []byte, n int) []byte {
	r := rand.New(rand.NewPCG(5, 5))
	body := append([]byte{3}, "pad"...)
	for range n {
		body = append(body, byte(r.Uint32()))
	}
	out := append(slices.Clone(module), 0) // a custom section
	return append(binary.AppendUvarint(out, uint64(len(body))), body...)
}

// A module of several entries reaches other nodes in pieces, and resolves there
// as here: the median of a bag. A node that is told of it before its pieces are
// there shows an error, and no wrong value.
func TestModuleReplicates(t *testing.T) {
	ctx := t.Context()
	module, err := os.ReadFile("plugin/testdata/median.wasm")
	if err != nil {
		t.Fatal(err)
	}
	nodes := three(t, Options{})
	a, c := nodes[0], nodes[2]
	if version, _, err := a.AddWASM(ctx, "median", "of integers", padded(module, 2<<20)); err != nil || version != 1 {
		t.Fatalf("version %d: %v", version, err)
	}
	schema := `{"name": "sample", "version": 1, "entities": ["sample/*"], "properties": [
		{"id": "ms", "path": "/ms", "type": {"type": "integer"}, "verb": "bag", "resolver": "median"}]}`
	if _, _, err := a.AddSchema(ctx, []byte(schema)); err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		must(n.Apply(ctx, NewTxn().Entity("sample/1").Add("/ms", int64(10*i)).Add("/ms", int64(10*i+1)).Txn()))
	}
	settled(t, 30*time.Second, nodes...)
	want := must(a.Get(ctx, "sample/1", "/ms")).Value
	if want != int64(10) && want != int64(11) && want != 10.5 {
		t.Errorf("median %v", want)
	}
	eventually(t, 20*time.Second, "the median on the other nodes", func() bool {
		return must(c.Get(ctx, "sample/1", "/ms")).Value == want
	})
	for _, r := range c.Catalog().Resolvers {
		if r.Name == "median" && (r.Version() != 1 || len(r.Versions) != 1) {
			t.Errorf("%+v", r)
		}
	}

	// The same module again writes its name alone.
	before := status(t, a, false).Rows
	must3(t)(a.AddWASM(ctx, "median", "", padded(module, 2<<20)))
	if got := status(t, a, false).Rows - before; got != 1 {
		t.Errorf("%d rows more", got)
	}

	// One that imports anything is refused, and so is what is no module.
	clock, err := os.ReadFile("plugin/testdata/wasi_clock.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{clock, []byte("no module"), nil} {
		if _, _, err := a.AddWASM(ctx, "bad", "", bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("a bad module: %v", err)
		}
	}
}

func must3(t *testing.T) func(int, Receipt, error) {
	return func(_ int, _ Receipt, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A resolver of the program is called by the schema that names it; on a node of
// a program without it the property has an error, and all else reads.
func TestResolverOfTheProgram(t *testing.T) {
	ctx := t.Context()
	shout := merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
		if s, ok := in.Values[0].(string); ok {
			return merge.Output{Value: s + "!"}, nil
		}
		panic("no text")
	})
	a := open(t, Options{Dir: t.TempDir(), Create: true, Resolvers: map[string]merge.Resolver{"shout": shout}})
	b := join(t, Options{}, a)
	schema := `{"name": "word", "version": 1, "entities": ["word/*"], "properties": [{"id": "w", "path": "/w", "resolver": "go:shout"}]}`
	if _, _, err := a.AddSchema(ctx, []byte(schema)); err != nil {
		t.Fatal(err)
	}
	must(a.Put(ctx, "word/1", map[string]any{"w": "hi", "x": int64(1)}))
	must(a.Put(ctx, "word/2", map[string]any{"w": int64(2), "x": int64(1)}))
	settled(t, 20*time.Second, a, b)
	for _, c := range []struct {
		n          *Node
		key, want  string
		kind, text string
	}{
		{a, "word/1", `{"w":"hi!","x":1}`, "", ""},
		{a, "word/2", `{"x":1}`, "failed", "panicked"},
		{b, "word/1", `{"x":1}`, "unknown-resolver", "go:shout"},
	} {
		r := must(c.n.Get(ctx, c.key, ""))
		if got := string(delta.AppendAnyJSON(nil, r.Value)); got != c.want {
			t.Errorf("%s reads %s, want %s", c.key, got, c.want)
		}
		if c.kind != "" && (len(r.Errors) != 1 || string(r.Errors[0].Kind) != c.kind) {
			t.Errorf("%s: errors %v, want %s", c.key, r.Errors, c.kind)
		}
	}
}

// A resolver of the program is replaced and retired while the node runs, as those
// that the log carries are.
func TestRegister(t *testing.T) {
	ctx := t.Context()
	n := open(t, Options{Dir: t.TempDir(), Create: true, Offline: true})
	constant := func(x any) merge.Resolver {
		return merge.ResolverFunc(func(*merge.Input) (merge.Output, error) { return merge.Output{Value: x}, nil })
	}
	schema := `{"name": "s", "version": 1, "entities": ["s/*"], "properties": [{"id": "w", "path": "/w", "resolver": "go:w"}]}`
	if _, _, err := n.AddSchema(ctx, []byte(schema)); err != nil {
		t.Fatal(err)
	}
	must(n.Put(ctx, "s/1", map[string]any{"w": "x"}))
	for i, step := range []struct {
		r    merge.Resolver
		want any
	}{{constant("one"), "one"}, {constant("two"), "two"}, {nil, nil}, {constant(make(chan int)), nil}, {constant("three"), "three"}} {
		if err := n.Register("w", step.r); err != nil {
			t.Fatal(err)
		}
		r := must(n.Get(ctx, "s/1", "/w"))
		if r.Value != step.want || (step.want == nil) != (len(r.Errors) == 1) {
			t.Errorf("step %d: %v with %v, want %v", i, r.Value, r.Errors, step.want)
		}
	}
	if all := n.Catalog().Resolvers; len(all) != 1 || all[0].Name != "go:w" || all[0].Version() != 5 {
		t.Errorf("%+v", all)
	}
	if err := n.Register("a b", nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a name that is none: %v", err)
	}
	if _, err := Open(ctx, Options{Dir: t.TempDir(), Create: true, Offline: true, Resolvers: map[string]merge.Resolver{"a b": nil}}); err == nil {
		t.Error("a name that is none is opened with")
	}
}

// What was written apart by two versions of a schema has one digest, and reads
// the same on both nodes once they hold the same schemas.
func TestVersionsApart(t *testing.T) {
	ctx := t.Context()
	dirs := [2]string{t.TempDir(), t.TempDir()}
	a := open(t, Options{Dir: dirs[0], Create: true})
	b := join(t, Options{Dir: dirs[1]}, a)
	one := `{"name": "person", "version": 1, "entities": ["person/*"], "properties": [{"id": "name", "path": "/name", "type": {"type": "string"}}]}`
	two := `{"name": "person", "version": 2, "entities": ["person/*"], "properties": [
		{"id": "first", "path": "/first", "type": {"type": "string"}}, {"id": "last", "path": "/last", "type": {"type": "string"}, "default": "?"}],
		"migrate": [{"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}}]}`
	if _, _, err := a.AddSchema(ctx, []byte(one)); err != nil {
		t.Fatal(err)
	}
	must(a.Put(ctx, "person/1", map[string]any{"name": "Ada Lovelace"}))
	settled(t, 20*time.Second, a, b)
	mustClose(t, b)
	mustClose(t, a)
	edit := func(dir string, f func(n *Node)) {
		n := must(Open(ctx, Options{Dir: dir, Offline: true}))
		f(n)
		mustClose(t, n)
	}
	edit(dirs[0], func(n *Node) {
		if _, _, err := n.AddSchema(ctx, []byte(two)); err != nil {
			t.Fatal(err)
		}
		must(n.Put(ctx, "person/1", map[string]any{"last": "King"}))
		must(n.Put(ctx, "person/3", map[string]any{"first": "Emmy"}))
		if _, err := n.Put(ctx, "person/1", map[string]any{"name": "x"}); !errors.Is(err, ErrInvalid) {
			t.Errorf("what was split away may be written: %v", err)
		}
	})
	edit(dirs[1], func(n *Node) {
		must(n.Put(ctx, "person/2", map[string]any{"name": "Alan Turing"}))
		must(n.Put(ctx, "person/1", map[string]any{"name": "Ada Byron"}))
	})
	a = open(t, Options{Dir: dirs[0]})
	b = join(t, Options{Dir: dirs[1]}, a)
	settled(t, 20*time.Second, a, b)
	for key, want := range map[string]string{
		"person/1": `{"first":"Ada","last":"Byron"}`,
		"person/2": `{"first":"Alan","last":"Turing"}`,
		"person/3": `{"first":"Emmy","last":"?"}`,
	} {
		for i, n := range []*Node{a, b} {
			eventually(t, 10*time.Second, "the schema on both", func() bool { return len(n.Catalog().Versions()) == 2 })
			if got := string(delta.AppendAnyJSON(nil, must(n.Get(ctx, key, "")).Value)); got != want {
				t.Errorf("node %d reads %s as %s, want %s", i, key, got, want)
			}
		}
	}
}

// Many keys are read as of one moment, in their order, those that hold nothing
// among them.
func TestGetMany(t *testing.T) {
	ctx := t.Context()
	n := open(t, Options{Dir: t.TempDir(), Create: true, Offline: true})
	must(n.Put(ctx, "a", map[string]any{"x": int64(1)}))
	keys := []Key{{Entity: "a"}, {Entity: "none"}, {Entity: "a", Path: "/x"}}
	got := must(n.GetMany(ctx, keys, ReadOptions{}))
	if len(got) != 3 || !got[0].Found || got[1].Found || got[2].Reading.Value != int64(1) {
		t.Errorf("%+v", got)
	}
	then := n.Cursor()
	must(n.Put(ctx, "none", int64(1)))
	if got := must(n.GetMany(ctx, keys, ReadOptions{At: then})); got[1].Found {
		t.Error("what was written later is there")
	}
	if _, err := n.GetMany(ctx, []Key{{}}, ReadOptions{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an empty key: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := n.GetMany(ended, keys, ReadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
