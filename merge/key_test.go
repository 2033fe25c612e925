package merge

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
)

// names draws names that are hard on the encoding.
var names = rapid.OneOf(
	rapid.SampledFrom([]string{"", "\x00", "\x00\x00", "\x00\x01", "\x01", "\x00\xff", "\xff", "~", "/", "~0", "~1", "a", "a\x00", "aa", "é"}),
	rapid.StringN(0, 4, 8),
)

var someTags = rapid.SampledFrom([]delta.Tag{"", "\x00\x00", "\x00\x01x", delta.BagTag(delta.Null), "v\xff\x00"})

func pathOf(segments []string) (p delta.Path) {
	for _, s := range segments {
		p = p.Child(s)
	}
	return p
}

// A key comes back as it was, and keys are in the order of entity, then
// segment by segment, then tag, so that a path stands before all below it.
func TestKeyRoundTripAndOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func() (entity string, segments []string, tag delta.Tag, key []byte) {
			entity, segments = names.Draw(t, "entity"), rapid.SliceOfN(names, 0, 4).Draw(t, "path")
			tag = someTags.Draw(t, "tag")
			key = AppendKey([]byte("head"), entity, pathOf(segments), tag)[len("head"):]
			e, p, g, err := ParseKey(key)
			if err != nil || e != entity || p != pathOf(segments) || g != tag {
				t.Fatalf("%q %q %q came back as %q %q %q (%v)", entity, segments, tag, e, p, g, err)
			}
			if e, n, err := EntityOf(key); err != nil || e != entity || !bytes.Equal(key[:n], AppendPrefix(nil, entity, "")) {
				t.Fatalf("entity %q came back as %q, %d bytes of %q (%v)", entity, e, n, key, err)
			}
			return entity, segments, tag, key
		}
		e1, p1, g1, k1 := draw()
		e2, p2, g2, k2 := draw()
		want := cmp.Or(strings.Compare(e1, e2), slices.Compare(p1, p2), cmp.Compare(g1, g2))
		if got := bytes.Compare(k1, k2); got != want {
			t.Fatalf("%q and %q compare as %d, want %d", k1, k2, got, want)
		}
	})
}

// The rows at and below a path have its prefix and no others do; likewise the
// rows exactly at it.
func TestKeyPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entity := names.Draw(t, "entity")
		at := rapid.SliceOfN(names, 0, 3).Draw(t, "at")
		other := names.Draw(t, "other entity")
		path := rapid.SliceOfN(names, 0, 4).Draw(t, "path")
		if rapid.Bool().Draw(t, "near") {
			other, path = entity, append(slices.Clone(at), path...)
		}
		key := AppendKey(nil, other, pathOf(path), someTags.Draw(t, "tag"))
		under := other == entity && len(path) >= len(at) && slices.Equal(path[:len(at)], at)
		if got := bytes.HasPrefix(key, AppendPrefix(nil, entity, pathOf(at))); got != under {
			t.Fatalf("%q#%q below %q#%q: %v", other, path, entity, at, got)
		}
		exactly := other == entity && slices.Equal(path, at)
		if got := bytes.HasPrefix(key, AppendExact(nil, entity, pathOf(at))); got != exactly {
			t.Fatalf("%q#%q exactly at %q#%q: %v", other, path, entity, at, got)
		}
	})
}

// The layout is on every disk: these bytes must never change.
func TestKeyLayout(t *testing.T) {
	for _, c := range []struct {
		entity, path string
		tag          delta.Tag
		want         string
	}{
		{"host", "", "", "host\x00\x01\x00\x00"},
		{"host", "/cpu/cores", "", "host\x00\x01cpu\x00\x01cores\x00\x01\x00\x00"},
		{"host", "/", "tag", "host\x00\x01\x00\x01\x00\x00tag"},
		{"host", "/a~1b~0", "", "host\x00\x01a/b~\x00\x01\x00\x00"},
		{"nul\x00", "/\x00", "\x00", "nul\x00\xff\x00\x01\x00\xff\x00\x01\x00\x00\x00"},
	} {
		if got := AppendKey(nil, c.entity, delta.Path(c.path), c.tag); string(got) != c.want {
			t.Errorf("%q#%q is %q, want %q", c.entity, c.path, got, c.want)
		}
	}
}

func TestParseKeyRejects(t *testing.T) {
	for _, k := range []string{"", "e", "e\x00", "e\x00\x00", "e\x00\x02\x00\x00", "e\x00\x01", "e\x00\x01a", "e\x00\x01a\x00\x01", "e\x00\x01\x00"} {
		if _, p, _, err := ParseKey([]byte(k)); !errors.Is(err, errKey) {
			t.Errorf("%q is taken for path %q", k, p)
		}
	}
	if _, _, err := EntityOf([]byte("e")); !errors.Is(err, errKey) {
		t.Errorf("an open name is taken: %v", err)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("host\x00\x01cpu\x00\x01\x00\x00tag"))
	f.Add([]byte("\x00\xff\x00\x01~\x00\x01/\x00\x01\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, key []byte) {
		entity, p, tag, err := ParseKey(key)
		if err != nil {
			return
		}
		if again := AppendKey(nil, entity, p, tag); !bytes.Equal(again, key) {
			t.Errorf("%q came back as %q", key, again)
		}
		if utf8.Valid(key) && len(p) < delta.MaxPathBytes {
			if _, err := delta.ParsePath(string(p)); err != nil {
				t.Errorf("%q has no path: %v", key, err)
			}
		}
	})
}

// Paths compare as the keys of their rows do.
func TestComparePaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', '/', '~', 0, '.', '0', 'é'}), 0, 3, -1)
		draw := func(what string) (p delta.Path) {
			for _, s := range rapid.SliceOfN(name, 0, 3).Draw(t, what) {
				p = p.Child(s)
			}
			return p
		}
		a, b := draw("a"), draw("b")
		if got, want := comparePaths(a, b), bytes.Compare(AppendExact(nil, "e", a), AppendExact(nil, "e", b)); got != want {
			t.Fatalf("%q and %q compare as %d, their keys as %d", a, b, got, want)
		}
	})
}
