package catalog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// What views show of a few hosts and sites, as their definitions say.
func TestRender(t *testing.T) {
	p := newPen(t)
	p.put("$schema/host", "/1", `{"name": "host", "version": 1, "entities": ["host/*"], "properties": [
		{"id": "os", "path": "/os", "type": {"type": "string"}}, {"id": "n", "path": "/n", "default": 0}]}`)
	p.creator = "ann"
	p.put("host/1", "/os", `"linux"`)
	p.put("host/1", "/n", `4`)
	p.put("host/1", "/site", `{"$ref": "site/a"}`)
	p.put("host/1", "/cpu/cores", `8`)
	p.put("site/a", "/town", `"Bergen"`)
	p.put("site/a", "/hosts", `[{"$ref": "host/1"}, {"$ref": "host/2"}, {"$ref": "gone"}]`)
	p.creator, p.lane = "", clock.LaneID{2}
	p.put("host/2", "/os", `"plan9"`)
	p.put("host/2", "/tags", `["x", 1.0]`)
	p.apply(delta.Delta{Entity: "host/1", Path: "/os", Verb: delta.Assign, Value: value(t, `"bsd"`)}) // knows of no other
	late := clock.Timestamp(19 << 16)
	p.time = late
	p.put("host/3", "/os", `"linux"`)
	at := func(ms int64) string {
		return clock.Timestamp(ms << 16).Time().UTC().Format("2006-01-02T15:04:05.000Z")
	}
	for _, c := range []struct {
		name, view string
		want       map[string]string
	}{
		{"everything", `{"entities": ["**"], "project": ["/os"]}`, map[string]string{
			"host/1": `{"os":"bsd"}`, "host/2": `{"os":"plan9"}`, "host/3": `{"os":"linux"}`, "site/a": `{}`,
		}},
		{"equal", `{"entities": ["host/*"], "where": {"/os": "plan9"}, "project": ["/tags", "/n"]}`, map[string]string{"host/2": `{"n":0,"tags":["x",1.0]}`}},
		{"not equal", `{"entities": ["host/*"], "where": {"/os": {"ne": "plan9"}, "/n": {"gt": 3.5}}, "project": ["/n"]}`, map[string]string{"host/1": `{"n":4}`}},
		{"ranges", `{"entities": ["host/*"], "where": {"/n": {"ge": 0, "le": 0, "lt": 1}}, "project": ["/n"]}`, map[string]string{"host/2": `{"n":0}`, "host/3": `{"n":0}`}},
		{"has", `{"entities": ["host/*"], "where": {"/tags": {"has": 1}}, "project": ["/os"]}`, map[string]string{"host/2": `{"os":"plan9"}`}},
		{"in", `{"entities": ["host/*"], "where": {"/os": {"in": ["linux", "x"]}}, "project": ["/os"]}`, map[string]string{"host/3": `{"os":"linux"}`}},
		{"a reference", `{"entities": ["host/*"], "where": {"/site": {"$ref": "site/a"}}, "project": ["/os"]}`, map[string]string{"host/1": `{"os":"bsd"}`}},
		{"exists", `{"entities": ["host/*"], "where": {"/cpu": {"exists": true}}, "project": ["/cpu/cores", "/cpu", "/none/x"]}`, map[string]string{"host/1": `{"cpu":{"cores":8}}`}},
		{"exists not", `{"entities": ["**"], "where": {"/os": {"exists": false}}, "project": ["/town"]}`, map[string]string{"site/a": `{"town":"Bergen"}`}},
		{"one author", `{"entities": ["host/*"], "authors": ["author-1"], "project": ["/os"]}`, map[string]string{"host/1": `{"os":"linux"}`}},
		{"a creator, else the author", `{"entities": ["host/*"], "creators": ["author-2"], "project": ["/os"]}`, map[string]string{
			"host/1": `{"os":"bsd"}`, "host/2": `{"os":"plan9"}`, "host/3": `{"os":"linux"}`,
		}},
		{"a claim", `{"entities": ["host/*"], "creators": ["ann"], "project": ["/os"]}`, map[string]string{"host/1": `{"os":"linux"}`}},
		{"since", `{"entities": ["host/*"], "since": "` + at(20) + `"}`, map[string]string{"host/3": `{"n":0,"os":"linux"}`}},
		{"until", `{"entities": ["host/*"], "until": "` + at(4) + `"}`, map[string]string{"host/1": `{"n":4,"os":"linux"}`}},
		{
			"another resolver, by path and by id", `{"entities": ["host/1"], "resolvers": {"os": "first-write-wins", "/n": {"use": "all"}, "/cpu/cores": "all"}, "project": ["/os", "/n", "/cpu"]}`,
			map[string]string{"host/1": `{"cpu":{"cores":[8]},"n":[4],"os":"linux"}`},
		},
		{"the whole", `{"entities": ["host/3"], "project": ["", "/os"]}`, map[string]string{"host/3": `{"n":0,"os":"linux"}`}},
		{
			"references followed once", `{"entities": ["host/1"], "project": ["/site"], "expand": 1}`,
			map[string]string{"host/1": `{"site":{"$ref":"site/a","$value":{"hosts":[{"$ref":"host/1"},{"$ref":"host/2"},{"$ref":"gone"}],"town":"Bergen"}}}`},
		},
		{
			"and twice, but not around", `{"entities": ["host/1"], "project": ["/site"], "expand": 2}`,
			map[string]string{"host/1": `{"site":{"$ref":"site/a","$value":{"hosts":[{"$ref":"host/1"},{"$ref":"host/2","$value":{"n":0,"os":"plan9","tags":["x",1.0]}},{"$ref":"gone"}],"town":"Bergen"}}}`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := &pen{t: t, mem: p.mem.Clone(), seq: map[clock.LaneID]uint64{}, lane: clock.LaneID{7}}
			q.fold.State = q.mem
			q.put("$view/v", "", c.view)
			cat := q.load()
			v := cat.View("v")
			if v == nil || len(cat.Views()) != 1 {
				t.Fatal(cat.Problems())
			}
			for _, entity := range []string{"host/1", "host/2", "host/3", "site/a", "$view/v", "none"} {
				item, ok, err := v.Render(q.mem, entity)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				if ok {
					got = string(delta.AppendAnyJSON(nil, item.Value))
				}
				if got != c.want[entity] {
					t.Errorf("%s shows %s, want %s", entity, got, c.want[entity])
				}
			}
		})
	}
}

// All that is wrong with a definition is told, with its place.
func TestParseView(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{}`, "/entities: names no entities"},
		{`{"entities": ["a***"]}`, "/entities: "},
		{`{"entities": ["*"], "colour": 1}`, "unknown field"},
		{`{"entities": ["*"]} x`, "more text"},
		{`{"entities": ["*"], "project": ["os"]}`, "/project: path \"os\""},
		{`{"entities": ["*"], "where": {"os": 1}}`, "/where/os: "},
		{`{"entities": ["*"], "where": {"/os": {"near": 1}}}`, `/where/~1os: "near" is none of eq, exists, ge`},
		{`{"entities": ["*"], "where": {"/os": {}}}`, "it asks nothing"},
		{`{"entities": ["*"], "where": {"/os": {"exists": 1}}}`, "want true or false"},
		{`{"entities": ["*"], "where": {"/os": {"lt": true}}}`, "a number or a text"},
		{`{"entities": ["*"], "where": {"/os": {"in": 1}}}`, "in: want an array"},
		{`{"entities": ["*"], "where": {"/os": 1e999}}`, "where"},
		{`{"entities": ["*"], "resolvers": {"/os": 1}}`, "/resolvers/~1os: want the name of a resolver"},
		{`{"entities": ["*"], "resolvers": {"/~": "sum"}}`, "/resolvers/"},
		{`{"entities": ["*"], "expand": 9}`, "/expand: 9: want 0 to 8"},
		{`{"entities": ["*"], "since": "yesterday"}`, "yesterday"},
		{`{"entities": ["*"], "description": "` + strings.Repeat("x", MaxDefinitionBytes) + `"}`, "at most"},
		{`{"entities": ["*"], "where": {` + many(MaxConditions+1) + `}}`, "at most 64"},
	} {
		_, err := ParseView("v", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80s: error %v, want %q", c.text, err, c.want)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `"/p%d": 1`, i)
	}
	return b.String()
}

// A view follows others where it expands, or where a schema's references read
// otherwise when what they refer to is gone.
func TestFollows(t *testing.T) {
	p := newPen(t)
	p.put("$view/plain", "", `{"entities": ["*"]}`)
	p.put("$view/deep", "", `{"entities": ["a/*", "b"], "expand": 1}`)
	c := p.load()
	if c.View("plain").Follows() || !c.View("deep").Follows() || c.View("none") != nil {
		t.Error("who follows is told wrongly")
	}
	p.put("$schema/s", "/1", `{"name": "s", "version": 1, "entities": ["s/*"], "properties": [{"id": "r", "path": "/r", "ref": {"dangling": "null"}}]}`)
	if !p.load().View("plain").Follows() {
		t.Error("a reference that may dangle is not followed")
	}
	if got := fmt.Sprint(c.View("deep").Prefixes()); got != "[a/ b]" {
		t.Errorf("prefixes %s", got)
	}
}

// Following references ends, however many there are.
func TestExpansionIsBounded(t *testing.T) {
	p := newPen(t)
	var refs []string
	for i := range 60 {
		refs = append(refs, fmt.Sprintf(`{"$ref": "n/%d"}`, i))
	}
	all := "[" + strings.Join(refs, ",") + "]"
	for i := range 60 {
		p.put(fmt.Sprintf("n/%d", i), "/r", all)
	}
	x := Expansion{View: p.mem, Rules: func(string) *merge.Rules { return nil }}
	value, err := x.Value(map[string]any{"$ref": "n/0"}, MaxExpand)
	if err != nil || x.read != MaxExpanded {
		t.Errorf("%d entities were read: %v", x.read, err)
	}
	if n := strings.Count(string(delta.AppendAnyJSON(nil, value)), `"$value"`); n != MaxExpanded {
		t.Errorf("%d values", n)
	}
}

// A view that names a resolver which is not known shows the rest, and an error.
func TestViewWithoutResolver(t *testing.T) {
	p := newPen(t)
	p.put("a", "/x", `1`)
	p.put("a", "/y", `2`)
	p.put("$view/v", "", `{"entities": ["*"], "resolvers": {"/x": "go:gone"}}`)
	c := p.load()
	item, ok, err := c.View("v").Render(p.mem, "a")
	if err != nil || !ok || string(delta.AppendAnyJSON(nil, item.Value)) != `{"y":2}` {
		t.Errorf("%+v %v %v", item, ok, err)
	}
	if len(item.Errors) != 1 || item.Errors[0].Kind != merge.ErrorUnknown || len(c.Problems()) != 1 {
		t.Errorf("errors %v, problems %v", item.Errors, c.Problems())
	}
}
