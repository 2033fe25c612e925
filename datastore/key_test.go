package datastore

import (
	"cmp"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
)

// keys draws keys of all bytes, those that names escape above all.
func keys(t *rapid.T, label string) ds.Key {
	hard := []byte("\"#\x00\x01\x1f!$/:~\x7f\x80\xbf\xc0\xc2\xc3\xff0aé")
	text := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(hard), rapid.Byte()), 0, 12).Draw(t, label)
	return ds.NewKey(string(text))
}

var namespaces = rapid.SampledFrom([]string{"/", "/app", "/a/b", "/ü#\""})

// Two keys have two names, in the order of the keys; a name is an entity's id and
// gives its key back; and names begin as keys do.
func TestNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := newSpace(ds.NewKey(namespaces.Draw(t, "namespace")))
		if err != nil {
			t.Fatal(err)
		}
		a, b := keys(t, "a"), keys(t, "b")
		x, err := s.name(a)
		if err != nil {
			t.Fatal(err)
		}
		y, err := s.name(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := delta.CheckEntity(x); err != nil {
			t.Error(err)
		}
		if got, ok := s.key(x); !ok || got != a {
			t.Errorf("%q is called %q, which is the name of %q, %v", a, x, got, ok)
		}
		if cmp.Compare(a.String(), b.String()) != cmp.Compare(x, y) {
			t.Errorf("%q and %q are called %q and %q, which are ordered otherwise", a, b, x, y)
		}
		if cut := s.start(a.String()); strings.HasPrefix(y, cut) != strings.HasPrefix(b.String(), a.String()) {
			t.Errorf("names of keys with prefix %q begin with %q: wrong for %q, called %q", a, cut, b, y)
		}
	})
}

// A text is the name of a key only if that key is called so.
func TestForeignNames(t *testing.T) {
	s, err := newSpace(ds.NewKey("/app"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "app", "apple", "app/a/", "app//", `app/"`, `app/"2`, "app/é\u0100", "app/\u20ac", "other/a", "app/\xc3"} {
		if k, ok := s.key(name); ok {
			t.Errorf("%q is the name of %q", name, k)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := "app/" + rapid.StringOf(rapid.SampledFrom([]rune("\"01#aé\u00ff\u0100€/"))).Draw(t, "name")
		if k, ok := s.key(name); ok {
			if back := s.start(k.String()); back != name {
				t.Errorf("%q is taken for the name of %q, which is %q", name, k, back)
			}
		}
	})
}

// A namespace that a space keeps for itself, or that leaves no room for keys, is
// refused.
func TestNamespaces(t *testing.T) {
	for _, bad := range []string{"/$schema", "/$", "/" + strings.Repeat("x", 600)} {
		if _, err := newSpace(ds.NewKey(bad)); err == nil {
			t.Errorf("namespace %.20q is taken", bad)
		}
	}
}
