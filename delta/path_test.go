package delta

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A path is its segments, whatever characters they have, and its ancestors are
// the paths of its shorter prefixes, the root first.
func TestPathSegments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.OneOf(anyName(), rapid.Just(""), rapid.SampledFrom([]string{"~", "/", "~1", "~01", "~~//", "0", "1"})), 0, 5).Draw(t, "names")
		var p Path
		var up []Path
		for _, n := range names {
			up = append(up, p)
			p = p.Child(n)
		}
		if got := p.Segments(); !slices.Equal(got, names) {
			t.Fatalf("%q has segments %q, want %q", p, got, names)
		}
		if got := p.Ancestors(); !slices.Equal(got, up) {
			t.Fatalf("%q has ancestors %q, want %q", p, got, up)
		}
		if slices.ContainsFunc(names, reserved) {
			return
		}
		if got, err := ParsePath(string(p)); err != nil || got != p {
			t.Fatalf("ParsePath(%q) = %q, %v", p, got, err)
		}
		entity := anyName().Draw(t, "entity")
		if e, got, err := ParseKey(Key(entity, p)); err != nil || e != entity || got != p {
			t.Fatalf("ParseKey(%q) = %q, %q, %v", Key(entity, p), e, got, err)
		}
	})
}

// Texts that are no canonical pointer, and keys without an entity, are errors
// that say why.
func TestBadPaths(t *testing.T) {
	long := strings.Repeat("x", MaxPathBytes)
	for s, want := range map[string]string{
		"a": "begins with /", "a/b": "begins with /", "~1": "begins with /", "/~": "stands for itself", "/~2": "stands for itself", "/a~/b": "stands for itself",
		"/\xff": "not UTF-8", "/" + long: "at most 4096", "/$ref": "reserved", "/a/$bytes": "reserved", "/$ref/a": "reserved",
	} {
		if p, err := ParsePath(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParsePath(%.20q) = %q, %v", s, p, err)
		}
		if _, _, err := ParseKey("e#" + s); err == nil {
			t.Errorf("ParseKey takes %.20q", s)
		}
	}
	for _, s := range []string{"/$", "/$refs", "/a$ref", "/$re", "//$", "/" + long[1:], "/$byte/s"} {
		if _, err := ParsePath(s); err != nil {
			t.Error(err)
		}
	}
	for s, want := range map[string]string{
		"": "is empty", "#/a": "is empty", strings.Repeat("x", MaxEntityBytes+1): "at most 1024", "\xff": "not UTF-8",
	} {
		if _, _, err := ParseKey(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseKey(%.20q): %v", s, err)
		}
	}
	if err := CheckEntity("a#b"); err == nil {
		t.Error("an entity with # is accepted")
	}
	if e, p, err := ParseKey("e#"); err != nil || e != "e" || p != "" {
		t.Error(e, p, err)
	}
	if errors.Is(CheckEntity(""), ErrMalformed) {
		t.Error("a caller's mistake is charged to a peer")
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"", "/", "/a/b", "/a~0b/~1", "/~2", "/$ref"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			return
		}
		var again Path
		for _, name := range p.Segments() {
			again = again.Child(name)
		}
		if again != p || string(p) != s {
			t.Fatalf("%q has segments %q", s, p.Segments())
		}
		if up := p.Ancestors(); len(up) != len(p.Segments()) {
			t.Fatalf("%q has ancestors %q", s, up)
		}
	})
}
