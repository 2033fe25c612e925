package feed

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
)

// Each spelling of a delta reads as the same delta.
func TestParseSpellings(t *testing.T) {
	const head = `"id":"x","timestamp":1700000000000,"creator":"a"`
	for text, want := range map[string]string{
		`{` + head + `,"pointers":[]}`:                                                             `[]`,
		`{"id":"x","timeCreated":1.7e12,"author":"a","pointers":[]}`:                               `[]`,
		`{"id":"x","timestamp":"2023-11-14T23:13:20+01:00","creator":"a","pointers":{}}`:           `[]`,
		`{` + head + `,"pointers":[{"role":"r","target":"s"}]}`:                                    `[{"role":"r","target":"s"}]`,
		`{` + head + `,"pointers":[{"localContext":"r","target":1}]}`:                              `[{"role":"r","target":1}]`,
		`{` + head + `,"pointers":[{"role":"r","target":{"id":"e","context":"c"}}]}`:               `[{"role":"r","target":{"id":"e","context":"c"}}]`,
		`{` + head + `,"pointers":[{"role":"r","target":"e","targetContext":"c"}]}`:                `[{"role":"r","target":{"id":"e","context":"c"}}]`,
		`{` + head + `,"pointers":[{"role":"r","target":{"id":"e"},"targetContext":"c"}]}`:         `[{"role":"r","target":{"id":"e","context":"c"}}]`,
		`{` + head + `,"pointers":[{"role":"r","target":{"id":"e"}}]}`:                             `[{"role":"r","target":{"id":"e"}}]`,
		`{` + head + `,"pointers":{"s":null,"r":[true,{"id":"e"},{"e":"c"}]}}`:                     `[{"role":"r","target":true},{"role":"r","target":{"id":"e"}},{"role":"r","target":{"id":"e","context":"c"}},{"role":"s","target":null}]`,
		`{` + head + `,"pointers":[{"role":"negates","target":"y"}]}`:                              `[{"role":"negates","target":{"id":"y"}}]`,
		`{` + head + `,"pointers":{"negates":"y"}}`:                                                `[{"role":"negates","target":{"id":"y"}}]`,
		`{` + head + `,"pointers":[{"role":"negates","target":"y","targetContext":"negated_by"}]}`: `[{"role":"negates","target":{"id":"y","context":"negated_by"}}]`,
	} {
		d, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := string(d.AppendJSON(nil)); got != `{"id":"x","timestamp":1700000000000,"creator":"a","pointers":`+want+`}` {
			t.Errorf("%s reads as %s", text, got)
		}
	}
}

// What has another shape is refused with the place at fault and, where it is
// known, the id.
func TestParseRefuses(t *testing.T) {
	with := func(pointers string) string {
		return `{"id":"x","timestamp":1,"creator":"a","pointers":` + pointers + `}`
	}
	for _, tt := range []struct{ text, id, at, reason string }{
		{`{`, "", "", "json: unexpected EOF"},
		{`[]`, "", "", "not an object"},
		{`{"id":"x","id":"x"}`, "", "", "stands twice"},
		{`{"timestamp":1,"creator":"a","pointers":[]}`, "", "", "has no id"},
		{`{"id":5,"timestamp":1,"creator":"a","pointers":[]}`, "", "/id", "is not a string"},
		{`{"id":"x","creator":"a","pointers":[]}`, "x", "", "has no timestamp"},
		{`{"id":"x","timestamp":1.5,"creator":"a","pointers":[]}`, "x", "/timestamp", "whole milliseconds"},
		{`{"id":"x","timestamp":1e17,"creator":"a","pointers":[]}`, "x", "/timestamp", "whole milliseconds"},
		{`{"id":"x","timestamp":"yesterday","creator":"a","pointers":[]}`, "x", "/timestamp", "RFC 3339"},
		{`{"id":"x","timestamp":"2026-05-01T12:00:00.1234567891Z","creator":"a","pointers":[]}`, "x", "/timestamp", "nanoseconds"},
		{`{"id":"x","timestamp":1,"timeCreated":1,"creator":"a","pointers":[]}`, "x", "/timeCreated", "says again what /timestamp says"},
		{`{"id":"x","timestamp":1,"pointers":[]}`, "x", "", "has no creator or author"},
		{`{"id":"x","timestamp":1,"creator":"a","author":"a","pointers":[]}`, "x", "/author", "says again"},
		{`{"id":"x","timestamp":1,"creator":"","pointers":[]}`, "x", "/creator", "at least one character"},
		{`{"id":"x","timestamp":1,"creator":"a","host":1,"pointers":[]}`, "x", "/host", "is not a string"},
		{`{"id":"x","timestamp":1,"creator":"a"}`, "x", "", "has no pointers"},
		{`{"id":"x","timestamp":1,"creator":"a","pointers":[],"sig":"s","claims":{}}`, "x", "/claims", "is not known"},
		{with(`5`), "x", "/pointers", "neither an array nor an object"},
		{with(`["r"]`), "x", "/pointers/0", "is not an object"},
		{with(`[{"target":1}]`), "x", "/pointers/0", "has no role or localContext"},
		{with(`[{"role":"r"}]`), "x", "/pointers/0", "has no target"},
		{with(`[{"role":"r","localContext":"r","target":1}]`), "x", "/pointers/0/localContext", "says again"},
		{with(`[{"role":"r","target":1,"weight":2}]`), "x", "/pointers/0/weight", "is not known"},
		{with(`[{"role":"ok","target":1},{"role":"r","target":[1]}]`), "x", "/pointers/1/target", "neither an entity"},
		{with(`[{"role":"r","target":{"delta":"1e20"}}]`), "x", "/pointers/0/target", "has no id"},
		{with(`[{"role":"r","target":{"id":5}}]`), "x", "/pointers/0/target/id", "is not a string"},
		{with(`[{"role":"r","target":{"id":"e","context":""}}]`), "x", "/pointers/0/target/context", "at least one character"},
		{with(`[{"role":"r","target":{"id":"e","context":"$ref"}}]`), "x", "/pointers/0/target/context", "reserved"},
		{with(`[{"role":"r","target":{"id":"e","kind":"k"}}]`), "x", "/pointers/0/target/kind", "is not known"},
		{with(`[{"role":"r","target":{"id":"e","context":"c"},"targetContext":"c"}]`), "x", "/pointers/0/targetContext", "says again what /pointers/0/target/context says"},
		{with(`[{"role":"r","target":5,"targetContext":"c"}]`), "x", "/pointers/0/target", "a context is for an entity alone"},
		{with(`[{"role":"negates","target":5}]`), "x", "/pointers/0/target", "no delta's id"},
		{with(`{"negates":null}`), "x", "/pointers/negates", "no delta's id"},
		{with(`{"a/b":[1,[2]]}`), "x", "/pointers/a~1b/1", "neither an entity"},
		{with(`{"r":[]}`), "x", "/pointers/r", "has no target"},
		{with(`{"r":{"e":"c","f":"c"}}`), "x", "/pointers/r", "has no id"},
		{with(`{"":1}`), "x", "/pointers//role", "is empty"},
	} {
		_, err := Parse([]byte(tt.text))
		var e *ShapeError
		if !errors.As(err, &e) || e.ID != tt.id || e.At != delta.Path(tt.at) || !strings.Contains(e.Reason, tt.reason) {
			t.Errorf("%s: %v", tt.text, err)
		}
	}
}

// The normal form of a delta, and each of its spellings, reads as what it is of.
func TestNormalForm(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := anyDelta(anyName()).Draw(rt, "delta")
		text := d.AppendJSON(nil)
		back, err := Parse(text)
		if err != nil || !back.Same(&d) || !bytes.Equal(back.AppendJSON(nil), text) {
			rt.Fatalf("%s reads as %s: %v", text, back.AppendJSON(nil), err)
		}
		stored, err := delta.ValueOf(d.value())
		if err != nil {
			rt.Fatal(err)
		}
		x, err := stored.Any()
		if err != nil {
			rt.Fatal(err)
		}
		if held, err := deltaOf(x); err != nil || !reflect.DeepEqual(held, back) {
			rt.Fatalf("%s is held as %v: %v", text, held, err)
		}
		other, err := Parse([]byte(spell(rt, &d)))
		if err != nil || !other.Same(&d) {
			rt.Fatalf("%s reads as %s: %v", spell(rt, &d), other.AppendJSON(nil), err)
		}
	})
}

// Deltas that differ in any one thing are not the same.
func TestSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := anyDelta(anyName()).Draw(rt, "a")
		b := a
		switch rapid.IntRange(0, 4).Draw(rt, "change") {
		case 0:
			b.ID += "'"
		case 1:
			b.Time = b.Time.Add(1)
		case 2:
			b.Creator += "'"
		case 3:
			b.Host += "'"
		case 4:
			b.Pointers = append([]Pointer{{Role: "new"}}, b.Pointers...)
		}
		if a.Same(&b) || !a.Same(&a) {
			rt.Fatalf("%s and %s", a.AppendJSON(nil), b.AppendJSON(nil))
		}
	})
}

// Whatever is taken has a normal form that reads as the same delta.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		edge("x", "alice", role), edge("n", "bob", negates("x")), `{}`, `[`,
		`{"id":"x","timeCreated":"2026-05-01T12:00:00.5Z","author":"a","system":"s","pointers":{"r":["s",null,1.5,{"e":"c"}]}}`,
		`{"id":"x","timestamp":-1,"creator":"a","pointers":[{"localContext":"r","target":"e","targetContext":"c"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if err != nil {
			if !errors.As(err, new(*ShapeError)) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		normal := d.AppendJSON(nil)
		back, err := Parse(normal)
		if err != nil || !back.Same(&d) || !bytes.Equal(back.AppendJSON(nil), normal) {
			t.Fatalf("%s: %v", normal, err)
		}
		if err := delta.CheckEntity(edgeOf(d.ID)); err != nil {
			t.Fatal(err)
		}
		for _, at := range append(d.members(), d.marks()...) {
			if _, _, err := delta.ParseKey(delta.Key(at.entity, at.path)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
