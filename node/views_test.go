package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// system writes what the space says of itself.
func (b *bench) system(entity string, p delta.Path, doc string) {
	b.t.Helper()
	x, err := delta.ParseJSON([]byte(doc))
	if err != nil {
		b.t.Fatal(err)
	}
	b.must(Op{Kind: OpPut, Entity: entity, Path: p, Value: x, Whole: true})
}

// show returns a view as text, by entity.
func (b *bench) show(name, at string) map[string]string {
	b.t.Helper()
	out := make(map[string]string)
	after := ""
	for {
		items, more, err := b.ShowView(b.t.Context(), name, after, 7, at)
		if err != nil {
			b.t.Fatal(err)
		}
		for i := range items {
			after = items[i].Entity
			out[after] = itemText(&items[i])
		}
		if !more {
			return out
		}
	}
}

func itemText(i *ViewItem) string {
	s := string(i.Value)
	for _, e := range i.Errors {
		s += " " + e.Error()
	}
	return s
}

// scratch works out what a view shows from the state alone.
func (b *bench) scratch(name string) map[string]string {
	b.t.Helper()
	items, _, err := b.scanView(b.t.Context(), b.Catalog().View(name), &b.rows, "", 1<<30)
	if err != nil {
		b.t.Fatal(err)
	}
	out := make(map[string]string)
	for i := range items {
		out[items[i].Entity] = itemText(&items[i])
	}
	return out
}

func same(got, want map[string]string) error {
	if maps.Equal(got, want) {
		return nil
	}
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			lines = append(lines, fmt.Sprintf("%s is %s, want %s", k, got[k], want[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			lines = append(lines, fmt.Sprintf("%s is %s, want nothing", k, got[k]))
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}

const hostSchema = `{"name": "host", "version": %d, "entities": ["host/*"], "properties": [
	{"id": "load", "path": "/load", "type": {"type": "integer"}, "default": 0},
	{"id": "tags", "path": "/tags", "type": {"type": "string"}, "verb": "bag"},
	{"id": "boots", "path": "/boots", "verb": "counter"},
	{"id": "site", "path": "/site", "ref": {"to": ["site/*"], "dangling": "%s"}},
	{"id": "home", "path": "/home", "default": {"$ref": "site/a"}},
	{"id": "double", "path": "/double", "computed": true, "resolver": "%s", "depends": ["load"]}
]}`

// views under test: one of each thing that a view can ask for.
var testViews = map[string]string{
	"all":     `{"entities": ["**"]}`,
	"hosts":   `{"entities": ["host/*", "host/1*"], "project": ["/load", "/site"], "expand": 1}`,
	"busy":    `{"entities": ["host/*"], "where": {"/load": {"ge": 5}, "/tags": {"has": "x"}}}`,
	"deep":    `{"entities": ["*/*"], "expand": 3}`,
	"ann":     `{"entities": ["host/*"], "creators": ["ann"], "resolvers": {"/load": "first-write-wins", "tags": {"use": "concat", "separator": "+"}}}`,
	"unload":  `{"entities": ["host/*"], "where": {"/load": {"exists": false}}}`,
	"present": `{"entities": ["host/*"], "since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z", "where": {"/load": {"in": [1, 2, 3.0]}}}`,
}

// double is a resolver of the program.
func double(in *merge.Input) (merge.Output, error) {
	n, ok := in.Deps["load"].(int64)
	if !ok || n == 7 {
		return merge.Output{}, merge.Failf(merge.ErrorFailed, "load is %v", in.Deps["load"])
	}
	return merge.Output{Value: 2 * n}, nil
}

func triple(in *merge.Input) (merge.Output, error) {
	out, err := double(in)
	if n, ok := out.Value.(int64); ok {
		out.Value = n / 2 * 3
	}
	return out, err
}

// viewBench is a node with a schema, views and resolvers of its own.
func viewBench(t *testing.T, viewBytes uint64) *bench {
	t.Helper()
	b := &bench{t: t}
	cfg := configOver(newBench(t).db, "v")
	cfg.Resolvers = map[string]merge.Resolver{"double": merge.ResolverFunc(double), "triple": merge.ResolverFunc(triple)}
	cfg.ViewBytes = viewBytes
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	b.Node = n
	b.system("$schema/host", "/1", fmt.Sprintf(hostSchema, 1, "keep", "go:double"))
	for _, name := range slices.Sorted(maps.Keys(testViews)) {
		b.system(catalog.ViewPrefix+name, "", testViews[name])
	}
	return b
}

// scribble writes something at random that the schema may refuse.
func (b *bench) scribble(r *rand.Rand) {
	entity := func() string {
		return []string{"host/1", "host/2", "host/12", "site/a", "site/b", "disk/1", "x"}[r.IntN(7)]
	}
	ref := map[string]any{"$ref": entity()}
	at := entity()
	ops := []Op{
		{Kind: OpPut, Entity: at, Path: "/load", Value: int64(r.IntN(9))},
		{Kind: OpPut, Entity: at, Path: "/site", Value: ref},
		{Kind: OpAdd, Entity: at, Path: "/tags", Value: []any{"x", "y"}[r.IntN(2)]},
		{Kind: OpRemove, Entity: at, Path: "/tags", Value: "x"},
		{Kind: OpInc, Entity: at, Path: "/boots", N: 1},
		{Kind: OpPut, Entity: at, Path: "/note/deep", Value: ref},
		{Kind: OpPut, Entity: at, Path: "/list", Value: []any{ref, int64(1), map[string]any{"of": ref, "n": int64(1)}}},
		{Kind: OpPut, Entity: at, Path: "/object", Value: map[string]any{"in": ref, "n": int64(1)}, Whole: true},
		{Kind: OpRm, Entity: at},
		{Kind: OpRm, Entity: at, Path: "/load"},
	}
	op := ops[r.IntN(len(ops))]
	_, err := b.Commit(b.t.Context(), []string{"", "ann", "bob"}[r.IntN(3)], []Op{op})
	if err != nil && !errors.Is(err, ErrInvalid) {
		b.t.Fatal(err)
	}
}

// What a view keeps is what it would be worked out to be from scratch, after
// whatever was written, and while schemas and views change; and so is what those
// who watch it were told.
func TestViewsAreAsFromScratch(t *testing.T) {
	// 300 is too small to keep any, and also the links of those that follow
	// references; 6000 now and then.
	for _, viewBytes := range []uint64{0, 300, 6000} {
		t.Run(fmt.Sprint(viewBytes), func(t *testing.T) {
			b := viewBench(t, viewBytes)
			r := rand.New(rand.NewPCG(1, viewBytes))
			watched := make(map[string]*watched)
			for name := range testViews {
				watched[name] = watch(t, b, name)
			}
			for i := range 600 {
				b.scribble(r)
				switch i {
				case 150:
					b.system("$schema/host", "/2", fmt.Sprintf(hostSchema, 2, "omit", "go:triple"))
				case 300:
					b.system("$schema/host", "/3", fmt.Sprintf(hostSchema, 3, "error", "go:none"))
				case 450:
					b.system("$view/busy", "", `{"entities": ["host/*"], "where": {"/load": {"lt": 5}}}`)
				}
				if i%10 > 0 && i < 590 {
					continue
				}
				for name := range testViews {
					if err := same(b.show(name, ""), b.scratch(name)); err != nil {
						t.Fatalf("after %d writes, view %s: %v", i, name, err)
					}
				}
			}
			for name, w := range watched {
				w.until(t, b.scratch(name))
			}
		})
	}
}

// watched is what somebody was told of a view.
type watched struct {
	told chan map[string]string // the newest, whenever it changes
}

func watch(t *testing.T, b *bench, name string) *watched {
	w := &watched{told: make(chan map[string]string, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		seen := make(map[string]string)
		for item, err := range b.WatchView(ctx, name) {
			switch {
			case err != nil:
				t.Error(err)
			case item.Ready:
				close(ready)
			case item.Gone:
				delete(seen, item.Entity)
			default:
				seen[item.Entity] = itemText(&item)
			}
			select {
			case <-w.told:
			default:
			}
			w.told <- maps.Clone(seen)
		}
	}()
	<-ready
	return w
}

// until waits for what was told to be what is wanted.
func (w *watched) until(t *testing.T, want map[string]string) {
	t.Helper()
	for {
		select {
		case got := <-w.told:
			if maps.Equal(got, want) {
				return
			}
		case <-t.Context().Done():
			t.Fatal("never told")
		}
	}
}

// A page of a view ends where it has become large, kept or not.
func TestViewPagesAreBounded(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat("x", 200<<10)
	for i := range 60 {
		b.put(fmt.Sprintf("host/%02d", i), "", long)
	}
	b.system("$view/v", "", `{"entities": ["host/*"]}`)
	for range keepAfter + 1 {
		items, more, err := b.ShowView(t.Context(), "v", "", 0, "")
		if err != nil || !more || len(items) < 40 || len(items) > 50 {
			t.Errorf("%d items, more %v: %v", len(items), more, err)
		}
	}
}

// A view as of a cut is what it was then, by the rules of now.
func TestViewOfThePast(t *testing.T) {
	b := viewBench(t, 0)
	r := rand.New(rand.NewPCG(2, 2))
	for range 100 {
		b.scribble(r)
	}
	then, at := b.scratch("deep"), b.Cursor()
	for range 100 {
		b.scribble(r)
	}
	if err := same(b.show("deep", at), then); err != nil {
		t.Error(err)
	}
	if _, _, err := b.ShowView(t.Context(), "deep", "", 0, "nonsense"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a cut that is none: %v", err)
	}
}

// Who watches a view that is removed is told, and one that is not there cannot be
// asked for.
func TestViewRemoved(t *testing.T) {
	b := viewBench(t, 0)
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		var last error
		for item, err := range b.WatchView(t.Context(), "all") {
			if last = err; item.Ready {
				close(ready)
			}
		}
		ended <- last
	}()
	<-ready
	b.must(Op{Kind: OpRm, Entity: "$view/all"})
	if err := <-ended; !errors.Is(err, ErrNotFound) {
		t.Errorf("the watch ended with %v", err)
	}
	if _, _, err := b.ShowView(t.Context(), "all", "", 0, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("showing it: %v", err)
	}
	for _, err := range b.WatchView(t.Context(), "all") {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("watching it: %v", err)
		}
	}
	b.views.rest() // what runs beside has done it, or is about to
	b.query(func() {
		if b.replica.state.touched != nil {
			t.Error("steps still tell what they touch")
		}
	})
}

// A gatekeeper is a resolver that waits, once it is armed, until it is let go.
type gatekeeper struct {
	armed, waiting, release chan struct{}
}

func newGatekeeper() *gatekeeper {
	return &gatekeeper{make(chan struct{}, 1), make(chan struct{}), make(chan struct{})}
}

func (g *gatekeeper) Resolve(in *merge.Input) (merge.Output, error) {
	select {
	case <-g.armed:
		g.waiting <- struct{}{}
		<-g.release
	default:
	}
	return merge.Output{Value: in.Values[0]}, nil
}

// gatedBench is a node with a view of which every item passes a gatekeeper.
func gatedBench(t *testing.T) (*bench, *gatekeeper) {
	t.Helper()
	b, g := newBench(t), newGatekeeper()
	if err := b.Register("gate", g); err != nil {
		t.Fatal(err)
	}
	b.system("$schema/host", "/1", `{"name": "host", "version": 1, "entities": ["host/*"], "properties": [{"id": "load", "path": "/load", "resolver": "go:gate"}]}`)
	b.system("$view/v", "", `{"entities": ["host/*"]}`)
	for i := range 3 {
		b.put(fmt.Sprintf("host/%d", i), "/load", int64(i))
	}
	return b, g
}

// Who asks for a view that is being built, and gives up, waits no longer; the
// others get it, and who watches is told of what changes in it.
func TestViewBuiltForOthers(t *testing.T) {
	b, g := gatedBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.armed <- struct{}{}
	first := make(chan error, 1)
	go func() {
		var last error
		for _, last = range b.WatchView(ctx, "v") {
			break
		}
		first <- last
	}()
	<-g.waiting
	other := make(chan map[string]string, 1)
	go func() {
		w := watch(t, b, "v")
		w.until(t, map[string]string{"host/0": `{"load":0}`, "host/1": `{"load":1}`, "host/2": `{"load":2}`})
		b.put("host/1", "/load", int64(9))
		w.until(t, map[string]string{"host/0": `{"load":0}`, "host/1": `{"load":9}`, "host/2": `{"load":2}`})
		other <- nil
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	close(g.release)
	<-other
}

// A node that is closed does not finish the views that are being built.
func TestViewsEndWithTheNode(t *testing.T) {
	b, g := gatedBench(t)
	g.armed <- struct{}{}
	shown := make(chan error, 1)
	go func() {
		var last error
		for _, last = range b.WatchView(t.Context(), "v") {
			break
		}
		shown <- last
	}()
	<-g.waiting
	b.views.end() // what Close begins with
	if err := <-shown; !errors.Is(err, ErrClosed) {
		t.Errorf("who waited got %v", err)
	}
	close(g.release)
	b.Close()
	if _, _, err := b.ShowView(t.Context(), "v", "", 0, ""); err == nil {
		t.Error("a closed node shows a view")
	}
}

// A view is not worked out anew for a change that does not bear on it, nor for a
// write that is refused.
func TestViewsOutlastCatalogs(t *testing.T) {
	b := viewBench(t, 0)
	b.put("host/1", "/load", int64(1))
	for range keepAfter {
		b.show("all", "")
	}
	k := b.views.kept["all"]
	items := k.items
	b.system("$view/another", "", `{"entities": ["x"]}`)
	b.must(Op{Kind: OpPut, Entity: "$module/" + strings.Repeat("0", 64), Path: "/0", Value: []byte("x")})
	if _, err := b.Commit(t.Context(), "", []Op{{Kind: OpPut, Entity: "$view/bad", Value: int64(1)}}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	b.show("all", "")
	if k.items != items {
		t.Error("it was worked out anew")
	}
	if err := b.Register("triple", merge.ResolverFunc(double)); err != nil {
		t.Fatal(err)
	}
	b.show("all", "")
	if k.items == items {
		t.Error("another resolver did not bear on it")
	}
}

// The links of a view that follows references count as what it takes, with its
// items or without; where they find no room, they go too, and who watches it is
// told of changes all the same.
func TestViewLinksCount(t *testing.T) {
	const hosts = 50
	for name, c := range map[string]struct {
		bytes        uint64
		items, links bool
	}{
		"all fits":       {1 << 20, true, true},
		"the links fit":  {(2*hosts + 10) * linkBytes, false, true}, // each host has two: of site and of home
		"nothing fits":   {hosts * linkBytes / 2, false, false},
		"almost nothing": {1, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := viewBench(t, c.bytes)
			b.system("$view/far", "", `{"entities": ["host/*"], "expand": 1}`)
			b.put("site/s", "/name", "one")
			for i := range hosts {
				b.put(fmt.Sprintf("host/%02d", i), "/site", map[string]any{"$ref": "site/s"})
			}
			w := watch(t, b, "far")
			check := func() {
				t.Helper()
				w.until(t, b.scratch("far"))
				b.show("far", "") // what was touched is done
				b.views.mu.Lock()
				defer b.views.mu.Unlock()
				k := b.views.kept["far"]
				k.mu.Lock()
				defer k.mu.Unlock()
				if (k.items != nil) != c.items || k.links.kept() != c.links || c.links && k.links.n < hosts {
					t.Errorf("items are kept: %v, %d links are: %v", k.items != nil, k.links.n, k.links.kept())
				}
				if want := k.size + k.links.bytes(); k.accounted != want || b.views.size != want || want > c.bytes {
					t.Errorf("%d bytes are accounted, %d of the view, want %d of at most %d", b.views.size, k.accounted, want, c.bytes)
				}
			}
			check()
			b.put("site/s", "/name", "two")
			check()
			b.must(Op{Kind: OpRm, Entity: "host/07"})
			b.must(Op{Kind: OpRm, Entity: "site/s"})
			b.put("site/s", "/name", "three")
			check()
		})
	}
}

// Of many views the one that was asked for least recently is let go.
func TestViewsKept(t *testing.T) {
	b := newBench(t)
	b.must(Op{Kind: OpPut, Entity: "host/1", Value: int64(1)})
	for i := range maxKeptViews + 3 {
		name := fmt.Sprintf("v%03d", i)
		b.system(catalog.ViewPrefix+name, "", `{"entities": ["host/*"]}`)
		for range keepAfter {
			b.show(name, "")
		}
	}
	b.views.mu.Lock()
	defer b.views.mu.Unlock()
	if len(b.views.kept) != maxKeptViews || b.views.kept["v000"] != nil || b.views.kept["v005"] == nil {
		t.Errorf("%d views are kept", len(b.views.kept))
	}
}
