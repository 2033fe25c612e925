package clock

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/digest"
)

// headAt gives each (lane, seq) one hash, as in a world without forks.
func headAt(l LaneID, seq uint64) Head {
	return Head{seq, sha256.Sum256(append(l[:], byte(seq)))}
}

func anyVector() *rapid.Generator[*Vector] {
	return rapid.Custom(func(t *rapid.T) *Vector {
		v := new(Vector)
		for _, l := range rapid.SliceOfN(rapid.ByteRange(0, 5), 0, 6).Draw(t, "lanes") {
			v.Set(LaneID{l}, headAt(LaneID{l}, rapid.Uint64Range(0, 4).Draw(t, "seq")))
		}
		return v
	})
}

// model is a vector as the set of entries that it covers.
func model(v *Vector) map[EntryID]bool {
	m := map[EntryID]bool{}
	for l := range byte(6) {
		for s := uint64(1); s <= 5; s++ {
			if e := (EntryID{LaneID{l}, s}); v.Covers(e) {
				m[e] = true
			}
		}
	}
	return m
}

// headsOf is a vector as a map.
func headsOf(v *Vector) map[LaneID]Head {
	m := map[LaneID]Head{}
	for _, l := range v.Lanes() {
		m[l] = v.Head(l)
	}
	return m
}

func same(a, b *Vector) bool { return maps.Equal(headsOf(a), headsOf(b)) }

// checkRoot holds the root to a sum over all heads made afresh.
func checkRoot(t *rapid.T, v *Vector) {
	t.Helper()
	var want digest.Sum
	for l, h := range headsOf(v) {
		want = want.Plus(member(l, h))
	}
	if v.Root() != want {
		t.Fatalf("root of %v is %v, a fresh sum %v", v, v.Root(), want)
	}
}

func join(vs ...*Vector) *Vector {
	out := new(Vector)
	for _, v := range vs {
		out.Join(v)
	}
	return out
}

// Join is the union of what is covered: it commutes, associates and is
// idempotent, and leaves its argument alone.
func TestJoinLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyVector().Draw(t, "a"), anyVector().Draw(t, "b"), anyVector().Draw(t, "c")
		was := b.Clone()
		ab := join(a, b)
		if !same(b, was) {
			t.Fatal("Join changed its argument")
		}
		want := model(a)
		maps.Copy(want, model(b))
		if !maps.Equal(model(ab), want) {
			t.Fatalf("%v and %v join to %v", a, b, ab)
		}
		if !same(ab, join(b, a)) || !same(join(ab, c), join(a, join(b, c))) || !same(join(a, a), a) {
			t.Fatalf("laws do not hold for %v, %v, %v", a, b, c)
		}
		checkRoot(t, ab)
	})
}

// Compare and Missing agree with the sets of covered entries.
func TestCompareModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyVector().Draw(t, "a"), anyVector().Draw(t, "b")
		var onlyA, onlyB int
		for e := range model(a) {
			if !b.Covers(e) {
				onlyA++
			}
		}
		for e := range model(b) {
			if !a.Covers(e) {
				onlyB++
			}
		}
		want := [2][2]Order{{Equal, Before}, {After, Concurrent}}[min(onlyA, 1)][min(onlyB, 1)]
		if got := a.Compare(b); got != want {
			t.Fatalf("%v is %v %v, want %v", a, got, b, want)
		}
		if a.Missing(b) != uint64(onlyB) || b.Missing(a) != uint64(onlyA) {
			t.Fatalf("%v misses %d of %v", a, a.Missing(b), b)
		}
		if (a.Root() == b.Root()) != same(a, b) {
			t.Fatalf("roots of %v and %v", a, b)
		}
	})
	for o, want := range map[Order]string{Equal: "equal", Before: "before", After: "after", Concurrent: "concurrent"} {
		if o.String() != want {
			t.Errorf("%d is %q", o, o)
		}
	}
}

// Any sequence of sets leaves the root equal to a fresh sum, and what Changes
// says, sent over the wire and replayed, makes one vector of another.
func TestChangesReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, v := anyVector().Draw(t, "base"), anyVector().Draw(t, "v")
		// A forked head: the same seq and another hash.
		if h := v.Head(LaneID{1}); h.Seq > 0 && rapid.Bool().Draw(t, "fork") {
			h.Hash[0]++
			v.Set(LaneID{1}, h)
		}
		changes := v.Changes(base)
		heads, rest, err := ParseHeads(append(AppendHeads(nil, changes), "rest"...))
		if err != nil || string(rest) != "rest" || !slices.Equal(heads, changes) {
			t.Fatalf("%v came back as %v, %q, %v", changes, heads, rest, err)
		}
		got := base.Clone()
		for _, c := range heads {
			got.Set(c.Lane, c.Head)
		}
		if !same(got, v) || got.Root() != v.Root() {
			t.Fatalf("%v with %v gives %v, want %v", base, changes, got, v)
		}
		checkRoot(t, got)
		if len(v.Changes(v.Clone())) != 0 {
			t.Fatal("a vector differs from its clone")
		}
	})
}

// The root is that of a fresh sum whenever it is asked for: after one lane moved on
// by many entries, was removed, or went back to where it was, also in a copy.
func TestRootWhenAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyVector().Draw(t, "v")
		for range rapid.IntRange(1, 20).Draw(t, "sets") {
			l := LaneID{byte(rapid.IntRange(1, 3).Draw(t, "lane"))}
			for range rapid.IntRange(1, 3).Draw(t, "of one lane") {
				v.Set(l, headAt(l, uint64(rapid.IntRange(0, 3).Draw(t, "seq"))))
			}
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				checkRoot(t, v)
			case 1:
				was := v
				v = v.Clone()
				defer func() { checkRoot(t, was) }()
			}
		}
		checkRoot(t, v)
	})
}

// Advance takes the next entry of a lane and nothing else.
func TestAdvance(t *testing.T) {
	var v Vector
	l := LaneID{1}
	for _, c := range []struct {
		seq uint64
		ok  bool
	}{{0, false}, {2, false}, {1, true}, {1, false}, {2, true}, {4, false}, {3, true}} {
		if got := v.Advance(l, headAt(l, c.seq)); got != c.ok {
			t.Errorf("Advance to %d from %d = %v", c.seq, v.Seq(l), got)
		}
	}
	if v.Head(l) != headAt(l, 3) || v.Len() != 1 || v.String() != "{01000000:3}" {
		t.Errorf("at the end: %v", &v)
	}
	v.Set(l, Head{Seq: math.MaxUint64})
	if v.Advance(l, Head{}) || v.Len() != 1 {
		t.Error("Advance wraps to seq 0")
	}
	v.Set(LaneID{2}, Head{Seq: math.MaxUint64})
	if got := new(Vector).Missing(&v); got != math.MaxUint64 {
		t.Errorf("Missing wraps to %d", got)
	}
	v.Set(l, Head{})
	v.Set(LaneID{2}, Head{})
	if v.Len() != 0 || v.Root() != (digest.Sum{}) || v.String() != "{}" {
		t.Errorf("emptied: %v", &v)
	}
	v.Set(l, Head{Seq: 1})
	v.Set(LaneID{0}, Head{Seq: 2})
	if v.String() != "{00000000:2 01000000:1}" {
		t.Errorf("order: %v", &v)
	}
	var empty Vector
	empty.Set(l, Head{})
	if empty.Len() != 0 || len(empty.Clone().Lanes()) != 0 {
		t.Error("taking a lane from nothing")
	}
}

// Two heads at one seq are a fork; Join leaves it to others.
func TestJoinKeepsFork(t *testing.T) {
	var a, b Vector
	a.Set(LaneID{1}, Head{3, Hash{1}})
	b.Set(LaneID{1}, Head{3, Hash{2}})
	c := join(&a, &b)
	if c.Head(LaneID{1}).Hash != (Hash{1}) || a.Compare(&b) != Equal || a.Root() == b.Root() {
		t.Error("a fork is settled, or does not show in the root")
	}
}

// Every list of heads has one encoding: each truncation and each changed byte
// is refused or means something else.
func TestHeadsStrict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyVector().Draw(t, "v")
		v.Set(LaneID{7}, Head{rapid.Uint64Range(1, MaxSeq).Draw(t, "seq"), Hash{1}})
		heads := v.Changes(anyVector().Draw(t, "base"))
		b := AppendHeads(nil, heads)
		for i := range b {
			if got, _, err := ParseHeads(b[:i]); err == nil {
				t.Fatalf("%d of %d bytes read as %v", i, len(b), got)
			} else if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
		}
		i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[i] ^= rapid.ByteRange(1, 255).Draw(t, "flip")
		checkHeads(t, b)
	})
}

func checkHeads(t interface{ Fatalf(string, ...any) }, b []byte) {
	heads, rest, err := ParseHeads(b)
	if err != nil {
		return
	}
	if again := append(AppendHeads(nil, heads), rest...); !bytes.Equal(again, b) {
		t.Fatalf("%x reads as %v and is written as %x", b, heads, again)
	}
}

// Hostile heads: each rule, broken once.
func TestBadHeads(t *testing.T) {
	lanes := func(ls ...byte) []LaneHead {
		var out []LaneHead
		for _, l := range ls {
			out = append(out, LaneHead{LaneID{l}, Head{1, Hash{l}}})
		}
		return out
	}
	good := AppendHeads(nil, lanes(1, 2))
	if _, _, err := ParseHeads(good); err != nil {
		t.Fatal(err)
	}
	gone := AppendHeads(nil, []LaneHead{{LaneID{1}, Head{0, Hash{1}}}})
	if heads, _, err := ParseHeads(gone); err != nil || heads[0].Head.Hash != (Hash{}) {
		t.Errorf("a lane that goes: %v, %v", heads, err)
	}
	gone[len(gone)-1] = 1
	many := make([]LaneHead, MaxHeads+1)
	for i := range many {
		many[i].Lane = LaneID{byte(i >> 8), byte(i)}
	}
	if _, _, err := ParseHeads(AppendHeads(nil, many[:MaxHeads])); err != nil {
		t.Errorf("a full page: %v", err)
	}
	seqAt := 1 + 16
	for name, b := range map[string][]byte{
		"empty":            nil,
		"long count":       append([]byte{0x82, 0x00}, good[1:]...),
		"too many":         AppendHeads(nil, many),
		"endless count":    bytes.Repeat([]byte{0xff}, 11),
		"count past input": {0xff, 0x1f, 1, 2, 3},
		"equal lanes":      AppendHeads(nil, lanes(1, 1)),
		"falling lanes":    AppendHeads(nil, lanes(2, 1)),
		"seq past int64":   AppendHeads(nil, []LaneHead{{LaneID{1}, Head{MaxSeq + 1, Hash{}}}}),
		"long seq":         slices.Concat(AppendHeads(nil, lanes(1))[:seqAt], []byte{0x81, 0x00}, make([]byte, 32)),
		"endless seq":      slices.Concat(AppendHeads(nil, lanes(1))[:seqAt], bytes.Repeat([]byte{0xff}, 40)),
		"hash of no entry": gone,
		"short hashes":     slices.Concat(AppendHeads(nil, lanes(1))[:seqAt], []byte{0x81, 0x01}, make([]byte, 31)),
	} {
		if heads, _, err := ParseHeads(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, heads, err)
		}
	}
}

// FuzzHeads: no panic, and what is accepted is what AppendHeads writes.
func FuzzHeads(f *testing.F) {
	f.Add(AppendHeads(nil, nil))
	f.Add(AppendHeads(nil, []LaneHead{{LaneID{1}, Head{300, Hash{1}}}, {LaneID{2}, Head{}}}))
	f.Add([]byte{0x80, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) { checkHeads(t, b) })
}
