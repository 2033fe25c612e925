package gossip

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A replica need not pass on what a peer publishes exactly where all of its other
// peers have said that they are linked to that one, and still are.
func TestCovered(t *testing.T) {
	l := newLab(t)
	a, b, c := l.add("a"), l.add("b"), l.add("c")
	want := func(when string, h *labHost, names ...string) {
		t.Helper()
		covered, _ := h.m.Covered()
		if got := slices.Sorted(maps.Keys(covered)); !slices.Equal(got, names) {
			t.Errorf("%s: %s need not pass on what %q publish, want %q", when, h.node, got, names)
		}
	}
	l.connect(a, b)
	l.drain()
	want("two alone", a, b.node)
	l.connect(b, c)
	l.drain()
	l.tick(linksSoonMillis + 1)
	l.drain()
	want("a chain", b)
	want("a chain, at its end", a, b.node)
	k := l.connect(a, c)
	l.drain()
	want("a triangle, before anybody has told", b)
	l.tick(linksSoonMillis + 1)
	l.drain()
	for _, h := range []*labHost{a, b, c} {
		others := slices.DeleteFunc([]string{a.node, b.node, c.node}, func(n string) bool { return n == h.node })
		want("a triangle", h, others...)
	}
	_, before := b.m.Covered()
	l.tick(1000)
	l.drain()
	if _, after := b.m.Covered(); after != before {
		t.Error("another version of what has not changed")
	}
	l.disconnect(k)
	l.tick(linksSoonMillis + 1)
	l.drain()
	want("a chain again", b)
	for i := range coverMost {
		l.connect(b, l.add("more"+strings.Repeat("x", i)))
	}
	l.drain()
	want("too many", b)
}

// Links that cannot be read cost the peer its session.
func TestBadLinks(t *testing.T) {
	for name, b := range map[string][]byte{
		"truncated":     append(binary.AppendUvarint([]byte{byte(kindLinks)}, 2), make([]byte, linkSize)...),
		"too many":      binary.AppendUvarint([]byte{byte(kindLinks)}, maxLinks+1),
		"something on":  append([]byte{byte(kindLinks), 0}, 1),
		"without count": {byte(kindLinks)},
	} {
		s := newStage(t)
		s.greet()
		if drops := s.says(b); len(drops) != 1 || !drops[0].Penalize {
			t.Errorf("%s: drops %+v", name, drops)
		}
	}
}
