package synthesize

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
)

var jsonSeeds = []string{
	`{"a": [1, 2.5, null, true, "x"], "b": {"c": {}}}`, `{"data": {"a": 1}, "time": 5, "source": "x"}`, `"\ud83d\ude00"`, `"\ud800"`,
	`1e20`, `100000000000000000000`, `{"$ref": "a"}`, `{"$bytes": "AA=="}`, "[1,\n2", `{"a":1,"a":2}`, "\xff", `-0.0`, `{"a/b": {"~": 1}}`, ` 1 2`,
}

// JSON is taken as delta.ParseJSON takes it, but for whole numbers that are the
// canonical text of a float.
func FuzzJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		x, at, err := parseAny(text)
		want, wantErr := delta.ParseJSON(text)
		if err == nil && wantErr != nil && strings.Contains(wantErr.Error(), "past int64") {
			wantErr = nil // it may be a float's
			if want, _, err = parseAny(canonical(x)); err != nil {
				t.Fatalf("%q reads as %s, which does not", text, canonical(x))
			}
		}
		// This parser leaves the exact limit of the depth to Flatten.
		if deep := wantErr != nil && strings.Contains(wantErr.Error(), "nested deeper"); (err == nil) != (wantErr == nil) && !deep {
			t.Fatalf("%q: %v, and for package delta %v", text, err, wantErr)
		}
		checkLine(t, text, err)
		if err == nil && wantErr == nil {
			if !bytes.Equal(canonical(x), canonical(want)) {
				t.Errorf("%q: %s and %s", text, canonical(x), canonical(want))
			}
			checkPlaces(t, x, at, 1+bytes.Count(text, newline))
		}
		checkFragments(t, "a.json", text)
	})
}

// TOML never breaks the parser, and comes to fragments that can be read again.
func FuzzTOML(f *testing.F) {
	for _, s := range []string{
		"a = 1\n[b]\nc = [1, 2.5, \"x\", true]\n[[d]]\ne.f = {g = 1, h.i = 2}", "a = 1979-05-27 07:32:00Z\nb = 07:32:00\nc = 1979-05-27", "a = inf", "a = 1\na = 2",
		"[a]\n[a]", "a = {b = 1,\nb = 2}", "\"\" = '''\nx'''", "a = \"\\ud800\"", "[[a.b]]\n[a.b.c]\n[[a.b]]\nd=1", "a = 0x10\nb = 1e20", "\"$ref\" = 'x'",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		docs, err := parseTOML(text)
		checkLine(t, text, err)
		for _, d := range docs {
			checkPlaces(t, d.value, d.at, 1+bytes.Count(text, newline))
		}
		checkFragments(t, "a.toml", text)
	})
}

// YAML never breaks the parser, and comes to fragments that can be read again.
func FuzzYAML(f *testing.F) {
	for _, s := range append(jsonSeeds,
		"a: 1\nb:\n  - x\n  - {c: 2}\n---\nd: |\n  text\n", "a: &a {b: 1}\nc: {<<: *a, d: 2}\n<<: [*a]", "a: &a [*a]", "a: 0x10\nb: .inf\nc: 2001-01-01\nd: !!binary aGk=",
		"? [a]\n: 1", "a:\n\tb", "!!set {a}", "%YAML 1.2\n---\na: 1", "a: 'x", "# only", "---\n---\n~", "a: 1_000\nb: 0o17\nc: 017\nd: +1\ne: 1.\n",
	) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		docs, err := parseYAML(text)
		checkLine(t, text, err)
		for _, d := range docs {
			checkPlaces(t, d.value, d.at, 1+bytes.Count(text, newline)+bytes.Count(text, []byte{'\r'})+bytes.Count(text, []byte("\u2028"))+bytes.Count(text, []byte("\u2029"))+bytes.Count(text, []byte("\u0085")))
		}
		checkFragments(t, "a.yaml", text)
	})
}

// checkLine holds the line of a mistake against the text.
func checkLine(t *testing.T, text []byte, err error) {
	t.Helper()
	var l *lineError
	if err == nil {
		return
	}
	if !errors.As(err, &l) || l.line < 0 || l.line > 1+bytes.Count(text, newline) && !bytes.ContainsAny(text, "\r\u0085\u2028\u2029") {
		t.Fatalf("%q: %v at %+v", text, err, l)
	}
}

// checkPlaces holds the places of a document against its values: each has one,
// with a line of the text.
func checkPlaces(t *testing.T, x any, at *place, lines int) {
	t.Helper()
	if at.line < 1 || at.line > lines {
		t.Fatalf("line %d of %d", at.line, lines)
	}
	switch x := x.(type) {
	case map[string]any:
		for k, e := range x {
			if at.members[k] == nil {
				if k == bytesMember && len(x) == 1 {
					continue // of !!binary
				}
				t.Fatalf("no place of %q", k)
			}
			checkPlaces(t, e, at.members[k], lines)
		}
	case []any:
		for i, e := range x {
			if i >= len(at.items) {
				t.Fatalf("no place of item %d", i)
			}
			checkPlaces(t, e, at.items[i], lines)
		}
	}
}

// checkFragments folds what a file holds, each document alone, and reads the
// state again.
func checkFragments(t *testing.T, name string, text []byte) {
	t.Helper()
	fragments, err := Parse(name, text)
	var e *FragmentError
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%q: %v", text, err)
	}
	for i := range fragments {
		r, err := Fold(fragments[i:i+1], new(Options))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, err := Parse("a.json", []byte(`{"data":`+string(r.State)+`}`))
		if err != nil {
			t.Fatalf("%q came to %s: %v", text, r.State, err)
		}
		if s, err := Fold(again, new(Options)); err != nil || !bytes.Equal(s.State, r.State) {
			t.Fatalf("%q came to %s, and that to %s, %v", text, r.State, s.State, err)
		}
	}
}
