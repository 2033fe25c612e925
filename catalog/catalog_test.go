package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/merge/schema"
)

// A pen writes a state, each call one entry of one of two lanes.
type pen struct {
	t    testing.TB
	mem  *merge.MemState
	fold merge.Fold
	lane clock.LaneID
	seq  map[clock.LaneID]uint64
	time clock.Timestamp
	// creator is that of what is written next.
	creator string
}

func newPen(t testing.TB) *pen {
	p := &pen{t: t, mem: new(merge.MemState), seq: make(map[clock.LaneID]uint64), lane: clock.LaneID{1}}
	p.fold.State = p.mem
	return p
}

func (p *pen) apply(deltas ...delta.Delta) {
	p.t.Helper()
	p.seq[p.lane]++
	p.time += 1 << 16
	e := &delta.Entry{Header: delta.Header{Lane: p.lane, Seq: p.seq[p.lane], Time: p.time}}
	e.Body.Txns = []delta.Txn{{Creator: p.creator, Deltas: deltas}}
	if err := p.fold.Apply(e); err != nil {
		p.t.Fatal(err)
	}
}

func value(t testing.TB, text string) delta.Value {
	t.Helper()
	x, err := delta.ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v, err := delta.ValueOf(x)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// plan returns an assignment of a JSON value.
func (p *pen) plan(entity string, path delta.Path, text string) delta.Delta {
	p.t.Helper()
	d, err := merge.PlanAssign(p.mem, entity, path, value(p.t, text))
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *pen) put(entity string, path delta.Path, text string) {
	p.t.Helper()
	p.apply(p.plan(entity, path, text))
}

func (p *pen) drop(entity string) {
	p.t.Helper()
	d, _, err := merge.PlanDrop(p.mem, entity, "")
	if err != nil {
		p.t.Fatal(err)
	}
	p.apply(d)
}

// words compiles an expression that is a word to a resolver that returns it.
type words struct{}

func (words) CEL(x string) (merge.Resolver, error) {
	if strings.Contains(x, " ") {
		return nil, errors.New("more than a word")
	}
	return merge.ResolverFunc(func(*merge.Input) (merge.Output, error) { return merge.Output{Value: x}, nil }), nil
}

func (w words) WASM(module []byte) (merge.Resolver, error) { return w.CEL(string(module[:1])) }

func author(l clock.LaneID) string { return fmt.Sprintf("author-%d", l[0]) }

func (p *pen) load() *Catalog {
	p.t.Helper()
	c, err := Load(p.mem, Options{Author: author, Compile: words{}})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// reads returns what an entity reads as.
func (p *pen) reads(c *Catalog, entity string) string {
	p.t.Helper()
	r, found, err := merge.ReadWith(p.mem, entity, "", c.Rules(entity))
	if err != nil {
		p.t.Fatal(err)
	}
	if !found {
		return ""
	}
	out := string(delta.AppendAnyJSON(nil, r.Value))
	for _, e := range r.Errors {
		out += " " + string(e.Kind)
	}
	return out
}

const hostSchema = `{"name": "host", "version": %d, "entities": ["host/*"], "properties": [
	{"id": "os", "path": "/os", "type": {"type": "string"}, "required": true},
	{"id": "say", "path": "/say", "computed": true, "resolver": "say", "depends": ["os"]}]%s}`

// A resolver goes through its states: the newest version that can be used is
// active, what can not is told, and a retired one is none.
func TestResolverLifecycle(t *testing.T) {
	p := newPen(t)
	p.put("$schema/host", "/1", fmt.Sprintf(hostSchema, 1, ""))
	p.put("host/1", "/os", `"linux"`)
	steps := []struct {
		path   delta.Path
		text   string
		reads  string
		states []State
	}{
		{"", "", `{"os":"linux"} unknown-resolver`, nil},
		{"/1", `{"kind": "cel", "expression": "one"}`, `{"os":"linux","say":"one"}`, []State{Active}},
		{"/2", `{"kind": "cel", "expression": "no good"}`, `{"os":"linux","say":"one"}`, []State{Active, Broken}},
		{"/3", `{"kind": "wasm", "module": "` + strings.Repeat("0", 64) + `", "size": 5}`, `{"os":"linux","say":"one"}`, []State{Active, Broken, Loading}},
		{"/4", `{"kind": "cel", "expression": "four"}`, `{"os":"linux","say":"four"}`, []State{Replaced, Replaced, Replaced, Active}},
		{"/5", `{"kind": "dream"}`, `{"os":"linux","say":"four"}`, []State{Replaced, Replaced, Replaced, Active, Broken}},
		{"/6", `{"kind": "retired"}`, `{"os":"linux"} unknown-resolver`, []State{Replaced, Replaced, Replaced, Replaced, Broken, Gone}},
		{"/7", `{"kind": "cel", "expression": "seven"}`, `{"os":"linux","say":"seven"}`, []State{Replaced, Replaced, Replaced, Replaced, Broken, Replaced, Active}},
	}
	for _, s := range steps {
		if s.path != "" {
			p.put("$resolver/say", s.path, s.text)
		}
		c := p.load()
		if got := p.reads(c, "host/1"); got != s.reads {
			t.Errorf("after %s: reads %s, want %s", s.path, got, s.reads)
		}
		var states []State
		for _, r := range c.Resolvers {
			for _, v := range r.Versions {
				states = append(states, v.State)
			}
		}
		if !slices.Equal(states, s.states) {
			t.Errorf("after %s: states %q, want %q", s.path, states, s.states)
		}
	}
}

// A module is put together of its pieces, whatever their order; until all are
// there it is loading, and pieces that make another one are no module.
func TestModule(t *testing.T) {
	module := make([]byte, 2*PieceBytes+5)
	for i := range module {
		module[i] = 'a' + byte(i/PieceBytes)
	}
	hash, pieces := SplitModule(module)
	p := newPen(t)
	p.put("$schema/host", "/1", fmt.Sprintf(hostSchema, 1, ""))
	p.put("host/1", "/os", `"linux"`)
	p.put("$resolver/say", "/1", fmt.Sprintf(`{"kind": "wasm", "module": %q, "size": %d}`, hash, len(module)))
	state := func() State { return p.load().Resolvers[0].Versions[0].State }
	for _, i := range []int{2, 0, 1} {
		if got := state(); got != Loading {
			t.Errorf("with a piece missing it is %s", got)
		}
		d, err := merge.PlanAssign(p.mem, ModulePrefix+hash, delta.Path(fmt.Sprintf("/%d", i)), pieces[i])
		if err != nil {
			t.Fatal(err)
		}
		p.apply(d)
	}
	if got := p.reads(p.load(), "host/1"); got != `{"os":"linux","say":"a"}` {
		t.Errorf("reads %s", got)
	}
	p.put(ModulePrefix+hash, "/1", `{"$bytes": "aGk="}`)
	if got := state(); got != Loading {
		t.Errorf("with a short piece it is %s", got)
	}
	p.put(ModulePrefix+hash, "/3", `{"$bytes": "`+strings.Repeat("AAAA", PieceBytes/3)+`"}`)
	if c := p.load(); c.Resolvers[0].Versions[0].State != Broken || len(c.Problems()) == 0 {
		t.Errorf("with wrong pieces it is %v", c.Resolvers[0].Versions[0])
	}
	p.put(ModulePrefix+hash, "/x", `1`)
	if got := state(); got != Broken {
		t.Errorf("with what is no piece it is %s", got)
	}
}

// A module that has lost a piece is loading for all, also for who has compiled it
// before.
func TestModuleLosesPiece(t *testing.T) {
	hash, pieces := SplitModule([]byte("a module"))
	p := newPen(t)
	p.put("$resolver/say", "/1", fmt.Sprintf(`{"kind": "wasm", "module": %q, "size": 8}`, hash))
	d, err := merge.PlanAssign(p.mem, ModulePrefix+hash, "/0", pieces[0])
	if err != nil {
		t.Fatal(err)
	}
	p.apply(d)
	before := p.load()
	p.drop(ModulePrefix + hash)
	after, err := Load(p.mem, Options{Author: author, Compile: words{}, Before: before})
	if err != nil {
		t.Fatal(err)
	}
	for c, want := range map[*Catalog]State{before: Active, p.load(): Loading, after: Loading} {
		if got := c.Resolvers[0].Versions[0].State; got != want {
			t.Errorf("it is %s, want %s", got, want)
		}
	}
}

// A failing view of the state is an error of loading, not a broken resolver.
func TestLoadFails(t *testing.T) {
	p := newPen(t)
	p.put("$resolver/say", "/1", `{"kind": "wasm", "module": "`+strings.Repeat("0", 64)+`", "size": 5}`)
	p.put("$schema/host", "/1", fmt.Sprintf(hostSchema, 1, ""))
	p.put("$view/v", "", `{"entities": ["**"]}`)
	p.put("$space", "/require_schema", `true`)
	for _, prefix := range []string{"$schema", "$schema/host\x00", "$resolver", "$resolver/say\x00", "$module", "$view", "$view/v\x00", "$space"} {
		if _, err := Load(brokenView{p.mem, prefix}, Options{Compile: words{}}); !errors.Is(err, errBroken) {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

var errBroken = errors.New("disk on fire")

type brokenView struct {
	merge.View
	prefix string
}

func (b brokenView) Rows(prefix []byte, f func([]byte, []merge.Survivor) error) error {
	if strings.HasPrefix(string(prefix), b.prefix) {
		return errBroken
	}
	return b.View.Rows(prefix, f)
}

// What the state holds and cannot be used is told, and the rest is used.
func TestProblems(t *testing.T) {
	p := newPen(t)
	p.put("$schema/host", "/1", fmt.Sprintf(hostSchema, 1, ""))
	p.put("$schema/host", "/2", `{"name": "other", "version": 2, "entities": ["x"], "properties": []}`)
	p.put("$schema/host", "/x", `1`)
	p.put("$schema/host", "/3", `"no object"`)
	p.put("$resolver/bad", "/1", `{"kind": "cel"}`)
	p.put("$view/bad", "", `{"entities": []}`)
	p.put("$view/worse", "", `{"entities": ["*"], "resolvers": {"/a": "none"}}`)
	p.put("$space", "/require_schema", `"yes"`)
	other := newPen(t)
	other.lane, other.time = clock.LaneID{2}, 1<<40
	other.put("$schema/twice", "/1", `{"name": "twice", "version": 1, "entities": ["new/*"], "properties": []}`)
	p.put("$schema/twice", "/1", `{"name": "twice", "version": 1, "entities": ["old/*"], "properties": []}`)
	if err := merge.Join(&p.fold, func(e clock.EntryID) bool { return e.Lane == p.lane }, other.mem, func(e clock.EntryID) bool { return e.Lane == other.lane }); err != nil {
		t.Fatal(err)
	}
	c := p.load()
	want := []string{
		"$resolver/bad#/1: expression", "$schema/host#/1: resolver \"say\"", "$schema/host#/2: the schema says that it is other@2",
		"$schema/host#/3: ", "$schema/host#/x: \"/x\" is not the path of a version", "$schema/twice#/1: another document of this version counts",
		"$schema/twice#/1: version 1 was written on 2 nodes at once",
		"$space#/require_schema: want true or false", "$view/bad: /entities", "$view/worse: /resolvers/~1a: unknown resolver",
	}
	got := c.Problems()
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if line := got[i].Key + ": " + got[i].Text; !strings.HasPrefix(line, want[i]) {
			t.Errorf("problem %q, want %q", line, want[i])
		}
	}
	if c.For("host/1") == nil || c.For("new/1") == nil || c.For("old/1") != nil || c.RequireSchema {
		t.Error("what can be used is not, or what cannot is")
	}
}

// The boundary refuses what would not be understood, with the place, and takes
// the rest; of several entities in one transaction each is judged.
func TestAdmit(t *testing.T) {
	p := newPen(t)
	p.put("$resolver/say", "/1", `{"kind": "cel", "expression": "one"}`)
	p.put("$schema/host", "/1", fmt.Sprintf(hostSchema, 1, ""))
	hash := strings.Repeat("0", 64)
	for _, c := range []struct {
		entity string
		path   delta.Path
		text   string
		want   string // a part of the error; empty where it may be written
	}{
		{"host/1", "/os", `"linux"`, ""},
		{"host/1", "/os", `1`, `host/1#/os: property "os"`},
		{"free", "", `1`, ""},
		{"$schema/host", "/2", fmt.Sprintf(hostSchema, 2, ""), ""},
		{"$schema/host", "/3", fmt.Sprintf(hostSchema, 3, ""), "not the next one"},
		{"$schema/host", "/2", fmt.Sprintf(hostSchema, 1, ""), "says that it is host@1"},
		{"$schema/host", "/2", `{"name": 1}`, "name"},
		{"$schema/host", "/two", fmt.Sprintf(hostSchema, 2, ""), "not the path of a version"},
		{"$schema/host", "/2", `"text"`, "want one object"},
		{"$schema/a b", "/1", fmt.Sprintf(hostSchema, 1, ""), "letters, digits"},
		{"$resolver/say", "/2", `{"kind": "cel", "expression": "two"}`, ""},
		{"$resolver/say", "/2", `{"kind": "retired"}`, ""},
		{"$resolver/say", "/3", `{"kind": "cel", "expression": "two"}`, "the next version of say is 2"},
		{"$resolver/say", "/2", `{"kind": "cel", "expression": "two words"}`, "more than a word"},
		{"$resolver/say", "/2", `{"kind": "cel", "expression": "x", "module": "y"}`, "a resolver of kind wasm has both"},
		{"$resolver/say", "/2", `{"kind": "wasm", "module": "xx", "size": 1}`, "want a SHA-256"},
		{"$resolver/say", "/2", `{"kind": "wasm", "module": "` + hash + `", "size": 9000000}`, "at most"},
		{"$resolver/say", "/2", `{"kind": "cel", "expression": "` + strings.Repeat("x", MaxDefinitionBytes) + `"}`, "at most"},
		{"$resolver/say", "/2", `{"kind": "cel", "expression": "x", "colour": 1}`, "unknown field"},
		{"$resolver/say", "/2", `7`, "want one object"},
		{"$resolver/say", "/zwei", `{}`, "not the path of a version"},
		{"$resolver/sum", "/1", `{"kind": "cel", "expression": "x"}`, "sum is built in"},
		{"$module/" + hash, "/0", `{"$bytes": "aGk="}`, ""},
		{"$module/" + hash, "/7", `{"$bytes": "aGk="}`, ""},
		{"$module/" + hash, "/x", `{"$bytes": "aGk="}`, "not the path of a version"},
		{"$module/" + hash, "/0", `"hi"`, "want a byte string"},
		{"$view/v", "", `{"entities": ["*"]}`, ""},
		{"$view/v", "/x", `{"entities": ["*"]}`, "a view is written whole"},
		{"$view/v", "", `{"entities": ["*"], "resolvers": {"/a": "none"}}`, "unknown resolver"},
		{"$view/v", "", `{"entities": ["*"], "resolvers": {"/a": "go:another"}}`, ""},
		{"$view/v", "", `{"entities": ["*"], "where": 1}`, "where"},
		{"$view/v", "", `null`, "want one object"},
		{"$space", "/require_schema", `true`, ""},
		{"$space", "/require_schema", `1`, "none of them"},
		{"$space", "/other", `true`, "none of them"},
		{"$mine", "", `1`, "none of them"},
	} {
		d := p.plan(c.entity, c.path, c.text)
		check := func(deltas ...delta.Delta) {
			t.Helper()
			err := p.load().Admit(p.mem, deltas)
			var v *schema.Violation
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%s%s %s: %v", c.entity, c.path, c.text, err)
			case c.want != "" && (!errors.As(err, &v) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), c.entity)):
				t.Errorf("%s%s %s: error %v, want %q", c.entity, c.path, c.text, err, c.want)
			}
		}
		check(d)
		a, b := p.plan("x", "/a", "1"), p.plan("x", "/b", "1")
		check(a, d, b)
		check(a, b, d)
	}
	add := merge.PlanAdd("$view/v", "", delta.Int(1))
	if err := p.load().Admit(p.mem, []delta.Delta{add}); err == nil || !strings.Contains(err.Error(), "add is not for them") {
		t.Errorf("an add: %v", err)
	}
	p.put("$space", "/require_schema", `true`)
	if err := p.load().Admit(p.mem, []delta.Delta{p.plan("free", "", "1")}); err == nil || !strings.Contains(err.Error(), "requires one") {
		t.Errorf("without a schema: %v", err)
	}
	p.put("free", "", "1")
	d, _, err := merge.PlanDrop(p.mem, "free", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.load().Admit(p.mem, []delta.Delta{d}); err != nil {
		t.Errorf("dropping what has no schema: %v", err)
	}
	p.drop("$schema/host")
	if p.load().For("host/1") != nil {
		t.Error("a dropped schema is there")
	}
}

// What one transaction adds is judged in its order: a schema may name a resolver
// that stands before it, and a version follows the one before it.
func TestAdmitInOrder(t *testing.T) {
	p := newPen(t)
	r1 := p.plan("$resolver/say", "/1", `{"kind": "cel", "expression": "one"}`)
	r2 := p.plan("$resolver/say", "/2", `{"kind": "cel", "expression": "two"}`)
	s1 := p.plan("$schema/host", "/1", fmt.Sprintf(hostSchema, 1, ""))
	s2 := p.plan("$schema/host", "/2", fmt.Sprintf(hostSchema, 2, ""))
	view := p.plan("$view/v", "", `{"entities": ["*"], "resolvers": {"/x": "say"}}`)
	c := p.load()
	if err := c.Admit(p.mem, []delta.Delta{r1, r2, s1, view, s2}); err != nil {
		t.Error(err)
	}
	end := p.plan("$resolver/say", "/2", `{"kind": "retired"}`)
	for _, bad := range [][]delta.Delta{{s1}, {s2, s1}, {r1, s2}, {r2, r1}, {view}, {r1, r1}, {r1, end, s1}, {r1, end, view}} {
		if err := c.Admit(p.mem, bad); err == nil {
			t.Errorf("%v may be written", bad)
		}
	}
}

// Garbage among the versions leaves a next one.
func TestVersionsOfGarbage(t *testing.T) {
	p := newPen(t)
	for _, path := range []delta.Path{"/9223372036854775807", "/1048577", "/01", "/-1", "", "/1/x"} {
		p.put("$resolver/say", path, `1`)
	}
	if got := p.load().NextVersion("say"); got != 1 {
		t.Errorf("the next version is %d", got)
	}
	p.put("$resolver/say", "/1048576", `1`)
	if got := p.load().NextVersion("say"); got != MaxVersion+1 {
		t.Errorf("the next version is %d", got)
	}
}

// Without a compiler there are no resolvers, but names of the program's own and
// those that are built in; none but the latter takes parameters.
func TestLookup(t *testing.T) {
	p := newPen(t)
	p.put("$resolver/say", "/1", `{"kind": "cel", "expression": "one"}`)
	bare, err := Load(p.mem, Options{Go: map[string]Own{"mine": {Version: 2, Resolver: merge.ResolverFunc(badly)}, "old": {Version: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	full := p.load()
	for _, c := range []struct {
		c      *Catalog
		use    string
		params map[string]any
		want   string
	}{
		{full, "say", nil, ""},
		{full, "sum", nil, ""},
		{full, "concat", map[string]any{"separator": ","}, ""},
		{full, "concat", map[string]any{"glue": ","}, "no parameter"},
		{full, "say", map[string]any{"x": 1}, "takes no parameters"},
		{full, "none", nil, "unknown resolver"},
		{full, "go:mine", nil, "brings none of that name"},
		{bare, "go:mine", nil, ""},
		{bare, "go:old", nil, "no version of it is active"},
		{bare, "say", nil, "no version of it is active"},
	} {
		if _, err := c.c.Lookup(c.use, c.params); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %v: %v, want %q", c.use, c.params, err, c.want)
		}
	}
	var listed []string
	for _, r := range bare.Resolvers {
		listed = append(listed, fmt.Sprintf("%s@%d %s %s", r.Name, r.Version(), r.Versions[0].Kind, r.Versions[0].State))
	}
	if want := []string{"go:mine@2 go active", "go:old@0 go retired", "say@0 cel broken"}; !slices.Equal(listed, want) {
		t.Errorf("%q, want %q", listed, want)
	}
	// What a program's resolver returns is looked at.
	r, err := bare.Lookup("go:mine", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []*merge.Input{{Values: []any{1}}, {Values: []any{2}, Survivors: make([]merge.Survivor, 2)}} {
		var e *merge.PropertyError
		if _, err := r.Resolve(in); !errors.As(err, &e) || e.Kind != merge.ErrorOutput {
			t.Errorf("a bad output: %v", err)
		}
	}
	if out, err := r.Resolve(&merge.Input{Values: []any{3}}); err != nil || out.Value != "ok" {
		t.Errorf("a good output: %v %v", out, err)
	}
	if _, err := r.Resolve(&merge.Input{Values: []any{4}}); err == nil {
		t.Error("its error is lost")
	}
}

// badly returns, for a test, what is no value, or says of other survivors than
// there are that they are shown.
func badly(in *merge.Input) (merge.Output, error) {
	switch in.Values[0] {
	case 1:
		return merge.Output{Value: make(chan int)}, nil
	case 2:
		return merge.Output{Value: "x", Shown: []bool{true}}, nil
	case 3:
		return merge.Output{Value: "ok"}, nil
	}
	return merge.Output{}, errors.New("no")
}
