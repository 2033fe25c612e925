package delta

import (
	"bytes"
	"crypto/ed25519"
	"math"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
)

// testSigner is a fixed author with a fixed lane.
func testSigner() (Signer, LaneKey) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	k := LaneKey{Author: Author(key.Public().(ed25519.PublicKey)), Incarnation: [16]byte{2}}
	s := Signer{Space: clock.Hash{3}, Key: key}
	s.Lane = k.ID(s.Space)
	return s, k
}

func anyName() *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringMatching(`[a-z~/]{1,6}`), rapid.String().Filter(func(s string) bool {
		return CheckEntity(s) == nil
	}))
}

func anyPath() *rapid.Generator[Path] {
	return rapid.Custom(func(t *rapid.T) Path {
		var p Path
		for _, s := range rapid.SliceOfN(rapid.OneOf(anyName(), rapid.Just("")), 0, 3).Draw(t, "segments") {
			if !reserved(s) {
				p = p.Child(s)
			}
		}
		return p
	})
}

func anyFloat() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Float64().Filter(func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 1e21, 1e-7, 5e-324, math.MaxFloat64, 1 << 53, 0.1}),
	)
}

func anyInt() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{
		0, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, math.MaxInt64, -1, -24, -25, math.MinInt64,
	}))
}

// anyTree draws what Value.Any returns.
func anyTree(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), anyInt().AsAny(), anyFloat().AsAny(), rapid.String().AsAny(),
		rapid.SliceOf(rapid.Byte()).AsAny(),
		rapid.Map(anyName(), func(s string) any { return map[string]any{refKey: s} }),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	child := anyTree(depth - 1)
	key := rapid.OneOf(rapid.StringMatching(`[a-z]{0,3}`), rapid.String(), rapid.SampledFrom([]string{refKey, bytesKey}))
	object := rapid.MapOfN(key, child, 0, 4).Filter(func(m map[string]any) bool {
		_, err := reservedObject(m)
		return err == nil && (len(m) != 1 || m[bytesKey] == nil)
	})
	return rapid.OneOf(append(leaves, rapid.SliceOfN(child, 0, 4).AsAny(), object.AsAny())...)
}

func anyValue() *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		v, err := ValueOf(anyTree(2).Draw(t, "tree"))
		if err != nil {
			t.Fatalf("ValueOf: %v", err)
		}
		return v
	})
}

func anyLane() *rapid.Generator[clock.LaneID] {
	return rapid.Custom(func(t *rapid.T) clock.LaneID {
		return clock.LaneID{rapid.ByteRange(0, 5).Draw(t, "lane")}
	})
}

// A bodyGen draws bodies of the entry id that a reader accepts once they are
// in canonical form.
type bodyGen struct {
	id    clock.EntryID
	index uint32
}

func anyBody(id clock.EntryID) *rapid.Generator[Body] {
	return rapid.Custom(func(t *rapid.T) Body {
		g := bodyGen{id: id}
		var b Body
		for _, l := range rapid.SliceOfDistinct(anyLane(), rapid.ID[clock.LaneID]).Draw(t, "deps") {
			if l != id.Lane {
				b.Deps = append(b.Deps, Dep{
					EntryID: clock.EntryID{Lane: l, Seq: rapid.Uint64Range(1, clock.MaxSeq).Draw(t, "dep")},
					Hash:    [16]byte{rapid.Byte().Draw(t, "hash")},
				})
			}
		}
		for range rapid.IntRange(0, 3).Draw(t, "txns") {
			x := Txn{Creator: rapid.StringN(0, 9, MaxCreatorBytes).Draw(t, "creator")}
			for range rapid.IntRange(1, 3).Draw(t, "deltas") {
				x.Deltas = append(x.Deltas, g.delta(t))
				g.index++
			}
			b.Txns = append(b.Txns, x)
		}
		b.Canonicalize()
		return b
	})
}

func (g *bodyGen) delta(t *rapid.T) Delta {
	d := Delta{
		Entity: anyName().Draw(t, "entity"),
		Path:   anyPath().Draw(t, "path"),
		Verb:   Verb(rapid.IntRange(1, int(lastVerb)).Draw(t, "verb")),
	}
	switch {
	case d.Verb == Inc:
		d.Value = IncValue{anyInt().Draw(t, "amount"), anyInt().Draw(t, "total")}.Value()
	case d.Verb.Survives():
		d.Value = anyValue().Draw(t, "value")
	}
	if d.Verb == Add {
		return d
	}
	for range rapid.IntRange(0, 3).Draw(t, "kills") {
		k := Kill{Dots: g.dots(t, "dots")}
		if sweeps := d.Verb == Assign || d.Verb == Drop; sweeps {
			k.Scope = Scope(rapid.IntRange(0, int(ScopeTag)).Draw(t, "scope"))
			k.Bounds = g.dots(t, "bounds")
		} else if rapid.Bool().Draw(t, "tagged") {
			k.Scope = ScopeTag
		}
		switch k.Scope {
		case ScopePath:
			k.Path = anyPath().Draw(t, "kill path")
		case ScopeTag:
			k.Tag = BagTag(Int(rapid.Int64Range(0, 2).Draw(t, "tag")))
		}
		d.Kills = append(d.Kills, k)
	}
	return d
}

func (g *bodyGen) dots(t *rapid.T, what string) []clock.Dot {
	var out []clock.Dot
	for range rapid.IntRange(0, 4).Draw(t, what) {
		d := clock.Dot{Lane: anyLane().Draw(t, "lane"), Index: rapid.Uint32Range(0, 300).Draw(t, "index")}
		switch {
		case d.Lane != g.id.Lane:
			d.Seq = rapid.Uint64Range(1, clock.MaxSeq).Draw(t, "seq")
		case g.index > 0 && rapid.Bool().Draw(t, "own entry"):
			d.Seq, d.Index = g.id.Seq, rapid.Uint32Range(0, g.index-1).Draw(t, "own index")
		case g.id.Seq > 1:
			d.Seq = rapid.Uint64Range(1, g.id.Seq-1).Draw(t, "own seq")
		default:
			continue
		}
		out = append(out, d)
	}
	return out
}

func anyHeader() *rapid.Generator[Header] {
	return rapid.Custom(func(t *rapid.T) Header {
		h := Header{
			Space: clock.Hash{rapid.Byte().Draw(t, "space")},
			Lane:  anyLane().Draw(t, "lane"),
			Seq:   rapid.OneOf(rapid.Uint64Range(1, 3), rapid.Uint64Range(1, clock.MaxSeq)).Draw(t, "seq"),
			Time:  clock.Timestamp(rapid.Uint64Range(0, uint64(clock.MaxTimestamp)).Draw(t, "time")),
			Body:  clock.Hash{rapid.Byte().Draw(t, "body")},
		}
		if h.Seq > 1 {
			h.Prev = clock.Hash{rapid.Byte().Draw(t, "prev")}
		}
		return h
	})
}
