package clock

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Vectors of many lanes, and copies of them that go on by themselves, hold what
// maps do: no write to one shows in another.
func TestVectorModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vectors := []*Vector{new(Vector)}
		models := []map[LaneID]Head{{}}
		lane := rapid.Custom(func(t *rapid.T) LaneID {
			// Lanes that differ in the first byte, and in the last alone.
			return LaneID{0: byte(rapid.IntRange(0, 9).Draw(t, "a")), 15: byte(rapid.IntRange(0, 19).Draw(t, "b"))}
		})
		for range rapid.IntRange(1, 40).Draw(t, "rounds") {
			i := rapid.IntRange(0, len(vectors)-1).Draw(t, "of")
			if rapid.Bool().Draw(t, "copy") {
				vectors, models = append(vectors, vectors[i].Clone()), append(models, maps.Clone(models[i]))
				i = len(vectors) - 1
			}
			for range rapid.IntRange(0, 60).Draw(t, "writes") {
				l, h := lane.Draw(t, "lane"), Head{Seq: rapid.Uint64Range(0, 3).Draw(t, "seq")}
				vectors[i].Set(l, h)
				if models[i][l] = h; h.Seq == 0 {
					delete(models[i], l)
				}
			}
		}
		for i, v := range vectors {
			if !maps.Equal(headsOf(v), models[i]) || v.Len() != len(models[i]) || !slices.IsSortedFunc(v.Lanes(), LaneID.Compare) {
				t.Fatalf("%v holds other than %v", v, models[i])
			}
			checkRoot(t, v)
			for j, o := range vectors {
				compareModels(t, v, o, models[i], models[j])
			}
		}
	})
}

// compareModels holds what is said of two vectors to what their maps say.
func compareModels(t *rapid.T, v, o *Vector, mine, theirs map[LaneID]Head) {
	t.Helper()
	replayed := o.Clone()
	changes := v.Changes(o)
	for _, c := range changes {
		if mine[c.Lane] != c.Head || theirs[c.Lane] == c.Head {
			t.Fatalf("%v is no change from %v to %v", c, o, v)
		}
		replayed.Set(c.Lane, c.Head)
	}
	if !same(replayed, v) || !slices.IsSortedFunc(changes, func(a, b LaneHead) int { return a.Lane.Compare(b.Lane) }) {
		t.Fatalf("%v does not lead from %v to %v", changes, o, v)
	}
	var missing uint64
	for l, h := range theirs {
		missing += h.Seq - min(h.Seq, mine[l].Seq)
	}
	if v.Missing(o) != missing {
		t.Fatalf("%v misses %d of %v, not %d", v, missing, o, v.Missing(o))
	}
}
