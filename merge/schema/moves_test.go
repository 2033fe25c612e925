package schema

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// moverOf compiles migrations, each a version of its own.
func moverOf(t testing.TB, versions ...string) *mover {
	t.Helper()
	var all []step
	for i, g := range versions {
		s := mustParse(t, fmt.Sprintf(`{"name":"s","version":%d,"entities":["e"],"migrate":[%s]}`, i+1, g))
		all = append(all, steps(s)...)
	}
	return newMover(all)
}

// showMoved writes what a move makes of a survivor, as path=value.
func showMoved(moved []merge.Moved, err error) string {
	var out []string
	for _, m := range moved {
		if err != nil {
			out = append(out, string(m.Path))
		} else {
			out = append(out, fmt.Sprintf("%s=%s", m.Path, delta.AppendAnyJSON(nil, m.Value)))
		}
	}
	slices.Sort(out)
	text := strings.Join(out, " ")
	if err != nil {
		var p *merge.PropertyError
		if !errors.As(err, &p) || p.Kind != merge.ErrorType {
			return "no typed error: " + err.Error()
		}
		text += " ! " + p.Text
	}
	return text
}

const (
	renameCost  = `{"rename":{"from":"/cost","to":"/price"}}`
	renamePrice = `{"rename":{"from":"/price","to":"/amount/net"}}`
	renameNotes = `{"rename":{"from":"/notes/*/text","to":"/remarks/*/body"}}`
	splitName   = `{"split":{"from":"/name","to":["/first","/last"],"separator":" "}}`
	splitNames  = `{"split":{"from":"/people/*/name","to":["/people/*/first","/people/*/last"],"separator":" "}}`
)

func retype(path, to string) string {
	return fmt.Sprintf(`{"retype":{"path":%q,"to":%q}}`, path, to)
}

// TestMoves: what migrations make of survivors.
func TestMoves(t *testing.T) {
	for _, c := range []struct {
		name       string
		migrations []string
		path       delta.Path
		value      string
		want       string
	}{
		{"elsewhere", []string{renameCost}, "/size", `5`, `/size=5`},
		{"a name that begins alike", []string{renameCost}, "/costs", `5`, `/costs=5`},
		{"rename", []string{renameCost}, "/cost", `5`, `/price=5`},
		{"rename of a subtree", []string{renameCost}, "/cost/net/x", `5`, `/price/net/x=5`},
		{"rename of what is new already", []string{renameCost}, "/price", `5`, `/price=5`},
		{"renames in a chain", []string{renameCost, renamePrice}, "/cost/x", `5`, `/amount/net/x=5`},
		{"renames in a chain, from the middle", []string{renameCost, renamePrice}, "/price", `5`, `/amount/net=5`},
		{"renames in a chain, at its end", []string{renameCost, renamePrice}, "/amount/net", `5`, `/amount/net=5`},
		{"rename with a star", []string{renameNotes}, "/notes/a~1b/text/x", `5`, `/remarks/a~1b/body/x=5`},
		{"rename with a star, elsewhere", []string{renameNotes}, "/notes/a/date", `5`, `/notes/a/date=5`},
		{"rename inside a document", []string{renameCost}, "", `{"cost":5,"size":1}`, `={"price":5,"size":1}`},
		{"rename inside a document, which has both", []string{renameCost}, "", `{"cost":5,"price":1}`, `={"price":1}`},
		{"rename out of a document", []string{`{"rename":{"from":"/a/b","to":"/c"}}`}, "/a", `{"b":5,"x":1}`, `/a={"x":1} /c=5`},
		{"rename all of a document", []string{`{"rename":{"from":"/a/b","to":"/c"}}`}, "/a", `{"b":5}`, `/c=5`},
		{"rename inside, deeper", []string{`{"rename":{"from":"/a/b/c","to":"/a/d/e"}}`}, "", `{"a":{"b":{"c":5}},"x":{}}`, `={"a":{"d":{"e":5}},"x":{}}`},
		{"rename where a value is in the way", []string{`{"rename":{"from":"/a/b","to":"/a/d/e"}}`}, "/a", `{"b":5,"d":1}`, `/a/d/e=5 /a={"d":1}`},
		{
			"rename with a star inside a document",
			[]string{renameNotes},
			"", `{"notes":{"x":{"text":"a"},"y":{"date":1,"text":"b"}}}`,
			`={"notes":{"y":{"date":1}},"remarks":{"x":{"body":"a"},"y":{"body":"b"}}}`,
		},
		{"a document without it", []string{renameCost}, "", `{"size":1}`, `={"size":1}`},
		{"a reference is no document", []string{`{"rename":{"from":"/a/*","to":"/b/*"}}`}, "/a", `{"$ref":"x"}`, `/a={"$ref":"x"}`},
		{"a scalar above", []string{`{"rename":{"from":"/a/b","to":"/c"}}`}, "/a", `5`, `/a=5`},

		{"split", []string{splitName}, "/name", `"Ada Lovelace"`, `/first="Ada" /last="Lovelace"`},
		{"split of too much", []string{splitName}, "/name", `"Ada King Lovelace"`, `/first="Ada" /last="King Lovelace"`},
		{"split of too little", []string{splitName}, "/name", `"Ada"`, `/first="Ada"`},
		{"split of null", []string{splitName}, "/name", `null`, `/first=null /last=null`},
		{"split of a number", []string{splitName}, "/name", `5`, `/first /last ! /name is an integer, which cannot be split`},
		{"split of an object", []string{splitName}, "/name/x", `"a b"`, `/first /last ! /name is an object, which cannot be split`},
		{"split with a star", []string{splitNames}, "/people/1/name", `"a b"`, `/people/1/first="a" /people/1/last="b"`},
		{"split inside a document", []string{splitNames}, "/people", `{"1":{"name":"a b"}}`, `/people={"1":{"first":"a","last":"b"}}`},
		{"split inside a document fails", []string{splitNames}, "/people", `{"1":{"name":5}}`, `/people /people/1/first /people/1/last ! /people/1/name is an integer, which cannot be split`},

		{"retype", []string{retype("/a", "number")}, "/a", `"1.5"`, `/a=1.5`},
		{"retype fails", []string{retype("/a", "number")}, "/a", `"x"`, `/a ! a string is no number: "x"`},
		{"retype of an object", []string{retype("/a", "number")}, "/a/b", `1`, `/a ! an object is no number`},
		{"retype with a star", []string{retype("/a/*", "string")}, "/a/b", `1`, `/a/b="1"`},
		{"retype inside a document", []string{retype("/a/*", "string")}, "", `{"a":{"x":1,"y":true}}`, `={"a":{"x":"1","y":"true"}}`},
		{"an error moves on", []string{retype("/cost", "number"), renameCost, renamePrice}, "/cost", `"x"`, `/amount/net ! a string is no number: "x"`},
		{"an error is split", []string{retype("/name", "string"), splitName}, "/name", `[]`, `/first /last ! an array is no string: []`},
		{"retype after a rename", []string{renameCost, retype("/price", "string")}, "/cost", `1`, `/price="1"`},
		{"a long value is cut", []string{retype("/a", "integer")}, "/a", `"` + strings.Repeat("å", 100) + `"`, `/a ! a string is no integer: "` + strings.Repeat("å", 31) + `…`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := moverOf(t, c.migrations...)
			value := mustJSON(t, c.value)
			if got := showMoved(m.move(c.path, value)); got != c.want {
				t.Errorf("%s=%s becomes %s, want %s", c.path, c.value, got, c.want)
			}
			if got := string(delta.AppendAnyJSON(nil, value)); got != c.value {
				t.Errorf("the survivor was changed to %s", got)
			}
		})
	}
}

// TestConvert: a value becomes another type only where it says the same there.
func TestConvert(t *testing.T) {
	for _, c := range []struct{ value, to, want string }{
		{`null`, "string", `null`},
		{`"a"`, "string", `"a"`},
		{`5`, "string", `"5"`},
		{`5.0`, "string", `"5"`},
		{`0.25`, "string", `"0.25"`},
		{`true`, "string", `"true"`},
		{`{"$ref":"a"}`, "string", ``},
		{`[]`, "string", ``},
		{`5`, "integer", `5`},
		{`5.0`, "integer", `5`},
		{`5.5`, "integer", ``},
		{`1e19`, "integer", ``},
		{`"5"`, "integer", `5`},
		{`"5.0"`, "integer", `5`},
		{`"x"`, "integer", ``},
		{`"true"`, "integer", ``},
		{`true`, "integer", `1`},
		{`false`, "integer", `0`},
		{`[]`, "integer", ``},
		{`5`, "number", `5`},
		{`5.5`, "number", `5.5`},
		{`"1e3"`, "number", `1000.0`},
		{`"9007199254740993"`, "number", `9007199254740993`},
		{`{}`, "number", ``},
		{`true`, "boolean", `true`},
		{`"false"`, "boolean", `false`},
		{`1`, "boolean", `true`},
		{`0.0`, "boolean", `false`},
		{`2`, "boolean", ``},
		{`[]`, "boolean", ``},
		{`[1]`, "array", `[1]`},
		{`1`, "array", `[1]`},
		{`{"a":1}`, "array", `[{"a":1}]`},
		{`1`, "date", ``},
	} {
		got, ok := convert(mustJSON(t, c.value), c.to)
		text := ""
		if ok {
			text = string(delta.AppendAnyJSON(nil, got))
		}
		if text != c.want {
			t.Errorf("%s as %s: %s, want %s", c.value, c.to, text, c.want)
		}
	}
}

// drawPath draws a path of a small world, in which migrations often meet.
func drawPath(t *rapid.T, stars bool) delta.Path {
	names := []string{"a", "b", "c"}
	if stars {
		names = append(names, star)
	}
	var p delta.Path
	for range rapid.IntRange(1, 3).Draw(t, "segments") {
		p = p.Child(rapid.SampledFrom(names).Draw(t, "name"))
	}
	return p
}

// drawMigrations draws those of a version; some are wrong, and are left out. An
// object becomes an array as one value only, so that is left out too.
func drawMigrations(t *rapid.T) []Migration {
	var out []Migration
	for range rapid.IntRange(0, 3).Draw(t, "migrations") {
		var g Migration
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0, 1:
			g.Rename = &Rename{drawPath(t, true), drawPath(t, true)}
		case 2:
			g.Split = &Split{drawPath(t, false), []delta.Path{drawPath(t, false), drawPath(t, false)}, "-"}
		case 3:
			g.Retype = &Retype{drawPath(t, true), rapid.SampledFrom(retypes[:4]).Draw(t, "to")}
		}
		s := &Schema{Name: "s", Version: 1, Entities: []string{"e"}, Migrate: append(slices.Clone(out), g)}
		var m mistakes
		if build(s, &m); len(m.list) == 0 {
			out = append(out, g)
		}
	}
	return out
}

// TestMovesAgree: a document that was written as one value is read as its
// leaves are, wherever migrations take them; and each place that something is
// read at knows where it came from.
func TestMovesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []step
		for range rapid.IntRange(1, 3).Draw(t, "versions") {
			all = append(all, steps(&Schema{Migrate: drawMigrations(t)})...)
		}
		m := newMover(all)
		if m == nil {
			return
		}
		p := drawPath(t, false)
		value := rapid.SampledFrom([]any{"x", "x-y", int64(1), true, nil, "7"}).Draw(t, "value")
		moved, err := m.move(p, value)
		for _, x := range moved {
			found := slices.ContainsFunc(m.origins(x.Path), func(o delta.Path) bool { return covers(o, p) })
			if !found {
				t.Fatalf("%s came from %s, but its origins are %v", x.Path, p, m.origins(x.Path))
			}
		}
		for _, q := range m.where(p, 0) {
			if !slices.ContainsFunc(moved, func(x merge.Moved) bool { return x.Path == q }) && err == nil && value != nil && !hasSplit(all) {
				t.Fatalf("%s is read at %v, not at %s", p, moved, q)
			}
		}
		// The same survivor inside an object at the root.
		doc := value
		names := p.Segments()
		for _, name := range slices.Backward(names) {
			doc = map[string]any{name: doc}
		}
		whole, err2 := m.move("", doc)
		if (err == nil) != (err2 == nil) && !hasSplit(all) { // the parts of a split may collide
			t.Fatalf("%s: %v, in a document %v", p, err, err2)
		}
		if err == nil && err2 == nil && !collide(moved) && !maps.Equal(leaves(moved), leaves(whole)) {
			t.Fatalf("%s=%v becomes %v, in a document %v", p, value, leaves(moved), leaves(whole))
		}
	})
}

// collide reports whether two of several paths are the same or one lies inside
// the other, where a document can have one of them only.
func collide(moved []merge.Moved) bool {
	for i, x := range moved {
		for _, y := range moved[:i] {
			if overlap(x.Path, y.Path) {
				return true
			}
		}
	}
	return false
}

func hasSplit(all []step) bool {
	return slices.ContainsFunc(all, func(s step) bool { return len(s.goes) > 1 })
}

// leaves returns the leaves of what stands at several paths.
func leaves(moved []merge.Moved) map[string]string {
	out := map[string]string{}
	for _, m := range moved {
		l, err := delta.Flatten(m.Path, m.Value)
		if err != nil {
			panic(err)
		}
		for _, x := range l {
			text, _ := x.Value.MarshalJSON()
			out[string(x.Path)] = string(text)
		}
	}
	return out
}

func BenchmarkMove(b *testing.B) {
	m := moverOf(b, renameCost, renamePrice, renameNotes, splitName, retype("/size", "number"))
	for _, p := range []delta.Path{"/elsewhere/deep", "/cost"} {
		b.Run(string(p), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.move(p, int64(5)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
