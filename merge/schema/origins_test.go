package schema

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// TestOriginsAreEnough: whatever is read at or below a path is found at its
// origins, so that its ETag is the one that a look at the whole entity gives, and
// the one that a reading shows.
func TestOriginsAreEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []step
		for range rapid.IntRange(1, 3).Draw(t, "versions") {
			all = append(all, steps(&Schema{Migrate: drawMigrations(t)})...)
		}
		m := newMover(all)
		if m == nil {
			return
		}
		state := &merge.MemState{}
		fold := merge.Fold{State: state}
		values := []any{
			"x", "x-y", int64(1), nil,
			map[string]any{"a": "x-y", "b": map[string]any{"c": "z"}},
			map[string]any{"a": map[string]any{"a": int64(1), "b": "x"}, "c": "7"},
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "survivors") {
			p := delta.Path("")
			if rapid.Bool().Draw(t, "inside") {
				p = drawPath(t, false)
			}
			value, err := delta.ValueOf(rapid.SampledFrom(values).Draw(t, "value"))
			if err != nil {
				t.Fatal(err)
			}
			s := merge.Survivor{Verb: delta.Assign, Value: value, Dot: clock.Dot{Seq: uint64(i) + 1}, Time: clock.Timestamp(i)}
			if err := fold.Insert(merge.AppendKey(nil, "e", p, ""), s); err != nil {
				t.Fatal(err)
			}
		}
		p := delta.Path("")
		if rapid.Bool().Draw(t, "below") {
			p = drawPath(t, false)
		}
		rules := &merge.Rules{Moves: []merge.Move{m.move}, Origins: m.elsewhere}
		got, found, err := merge.ETag(state, "e", p, rules)
		want, wantFound, err2 := merge.ETag(state, "e", p, &merge.Rules{Moves: rules.Moves})
		if err != nil || err2 != nil || got != want || found != wantFound {
			t.Fatalf("%q has origins %q: etag %v %v, in all of the entity %v %v", p, m.elsewhere(p), got, found, want, wantFound)
		}
		r, shown, err := merge.ReadWith(state, "e", p, rules)
		if err != nil || shown != found || r.ETag != got {
			t.Fatalf("%q is shown: %v, with etag %v, %v; the writer is held to %v %v", p, shown, r.ETag, err, got, found)
		}
	})
}
