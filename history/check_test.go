package history

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// all are the models that a store of multi-value registers with one order of its
// writes keeps.
var all = []Model{ReadYourWrites, MonotonicReads, MonotonicWrites, WritesFollowReads, CC, CCv}

func w(session, key, value string) Op {
	return Op{Session: session, Kind: KindWrite, Key: key, Value: value}
}

func r(session, key string, values ...string) Op {
	return Op{Session: session, Kind: KindRead, Key: key, Values: values}
}

func rr(session, key string, values ...string) Op {
	return Op{Session: session, Kind: KindRead, Key: key, Values: values, Lossless: true}
}

// Histories that are known: those of the paper's figure 3, and one for each way
// in which a store goes wrong.
var known = []struct {
	name    string
	ops     []Op
	model   Model // that is broken, "" where all of passes hold
	pattern Pattern
	broken  []Model // guarantees
	passes  []Model
}{
	{
		name:  "a, CM but not CCv",
		ops:   []Op{w("a", "x", "1"), r("a", "x", "2"), w("b", "x", "2"), r("b", "x", "1")},
		model: CCv, pattern: CyclicCF, passes: []Model{CC, CM},
	},
	{
		name: "b, CCv but not CM",
		ops: []Op{
			w("a", "z", "1"), w("a", "x", "1"), w("a", "y", "1"),
			w("b", "x", "2"), r("b", "z"), r("b", "y", "1"), r("b", "x", "2"),
		},
		model: CM, pattern: WriteHBInitRead, passes: []Model{CC, CCv},
	},
	{
		name:  "c, CC but not CM nor CCv",
		ops:   []Op{w("a", "x", "1"), w("b", "x", "2"), r("b", "x", "1"), r("b", "x", "2")},
		model: CM, pattern: CyclicHB, passes: []Model{CC},
	},
	{
		name: "d, all of them",
		ops: []Op{
			w("a", "x", "1"), r("a", "y"), w("a", "y", "1"), r("a", "x", "1"),
			w("b", "x", "2"), r("b", "y", "1"), w("b", "y", "2"), r("b", "x", "2"),
		},
		passes: append([]Model{CM}, all...),
	},
	{
		name: "e, not CC",
		ops: []Op{
			w("a", "x", "1"), w("a", "y", "1"),
			r("b", "y", "1"), w("b", "x", "2"),
			r("c", "x", "2"), r("c", "x", "1"),
		},
		model: CC, pattern: WriteCORead, broken: []Model{MonotonicReads},
	},
	{
		name:  "a session reads nothing, then what happened before",
		ops:   []Op{w("a", "x", "1"), w("a", "y", "1"), r("b", "y", "1"), r("b", "x", "1"), r("b", "x")},
		model: CC, pattern: WriteCOInitRead, broken: []Model{MonotonicReads, MonotonicWrites},
	},
	{
		name:  "initial value, as one session must see it",
		ops:   []Op{w("a", "x", "1"), w("a", "y", "1"), w("a", "u", "1"), w("c", "y", "2"), r("b", "y", "2"), r("b", "x"), r("b", "u", "1"), r("b", "y", "2")},
		model: CM, pattern: WriteHBInitRead, passes: []Model{CC, CCv},
	},
	{
		name:  "stale read",
		ops:   []Op{w("a", "x", "1"), w("a", "x", "2"), w("a", "y", "1"), r("b", "y", "1"), r("b", "x", "1")},
		model: CC, pattern: WriteCORead, broken: []Model{MonotonicWrites},
	},
	{
		name:  "lost own write",
		ops:   []Op{w("a", "x", "1"), r("b", "x", "1"), w("b", "x", "2"), r("b", "x", "1")},
		model: ReadYourWrites, pattern: WriteCORead, broken: []Model{ReadYourWrites}, passes: []Model{MonotonicReads},
	},
	{
		name:  "lost own first write",
		ops:   []Op{w("a", "x", "1"), rr("a", "x")},
		model: ReadYourWrites, pattern: WriteCOInitRead, broken: []Model{ReadYourWrites},
	},
	{
		name:  "back in time",
		ops:   []Op{w("a", "x", "1"), w("a", "x", "2"), r("b", "x", "2"), r("b", "x", "1")},
		model: MonotonicReads, pattern: WriteCORead, broken: []Model{MonotonicReads}, passes: []Model{ReadYourWrites, MonotonicWrites, WritesFollowReads},
	},
	{
		name:  "effect before cause",
		ops:   []Op{w("a", "x", "1"), r("b", "x", "1"), w("b", "y", "1"), r("c", "y", "1"), r("c", "x")},
		model: WritesFollowReads, pattern: WriteCOInitRead, broken: []Model{WritesFollowReads}, passes: []Model{ReadYourWrites, MonotonicReads, MonotonicWrites},
	},
	{
		name:  "read before it was written",
		ops:   []Op{r("a", "x", "1"), w("a", "y", "1"), r("b", "y", "1"), w("b", "x", "1")},
		model: CC, pattern: CyclicCO,
	},
	{
		name:  "out of thin air",
		ops:   []Op{w("a", "x", "1"), rr("b", "x", "1", "7")},
		model: CC, pattern: ThinAirRead,
	},
	{
		name:  "overwritten value resurfaces",
		ops:   []Op{w("a", "x", "1"), w("a", "x", "2"), rr("b", "x", "1", "2")},
		model: CC, pattern: WriteCORead, broken: []Model{},
	},
	{
		name:  "lost sibling",
		ops:   []Op{w("a", "x", "1"), w("b", "x", "2"), rr("c", "x", "1", "2"), rr("c", "x", "1")},
		model: CC, pattern: LostSibling, broken: []Model{MonotonicReads},
	},
	{
		name:  "each has overwritten the other",
		ops:   []Op{w("a", "x", "1"), rr("a", "x", "1"), w("b", "x", "2"), rr("c", "x", "1"), rr("c", "x", "2"), rr("d", "x", "2"), rr("d", "x", "1")},
		model: CC, pattern: CyclicOW,
	},
	{
		name: "whatever was overwritten by whichever",
		// 1 is overwritten by 2 or by 3, and was read beside both.
		ops:   []Op{w("a", "x", "1"), w("b", "x", "2"), w("c", "x", "3"), rr("d", "x", "1", "2"), rr("e", "x", "1", "3"), r("f", "x", "1"), rr("f", "x", "2", "3")},
		model: CC, pattern: LostSibling,
	},
	{
		name:   "overwritten by whom nobody saw read it",
		ops:    []Op{w("a", "x", "1"), w("b", "x", "2"), w("c", "x", "3"), r("d", "x", "1"), rr("d", "x", "2", "3")},
		passes: all,
	},
	{
		name: "unknown writes", // the first took effect, the second did not
		ops: []Op{
			{Session: "a", Kind: KindWrite, Key: "x", Value: "1", Unknown: true},
			r("b", "x", "1"), rr("a", "x", "1"),
			{Session: "a", Kind: KindWrite, Key: "x", Value: "2", Unknown: true},
			rr("a", "x", "1"),
		},
		passes: all,
	},
	{
		name: "a read that ends an unknown write's doubt",
		ops: []Op{
			{Session: "a", Kind: KindWrite, Key: "x", Value: "1", Unknown: true}, r("b", "x", "1"), rr("a", "x"),
		},
		model: ReadYourWrites, pattern: WriteCOInitRead, broken: []Model{ReadYourWrites},
	},
}

// Each history that is known is judged as is known, by the right name.
func TestKnown(t *testing.T) {
	for _, k := range known {
		t.Run(k.name, func(t *testing.T) {
			if err := Check(k.ops, k.passes...); err != nil {
				t.Errorf("it should pass: %v", err)
			}
			if k.model == "" {
				return
			}
			var v *Violation
			if err := Check(k.ops, k.model); !errors.As(err, &v) {
				t.Fatalf("it should not pass %s: %v", k.model, err)
			}
			if v.Model != k.model || v.Pattern != k.pattern {
				t.Errorf("it breaks %s by %s, want %s by %s", v.Model, v.Pattern, k.model, k.pattern)
			}
			if k.broken != nil && !slices.Equal(v.Guarantees, k.broken) {
				t.Errorf("it breaks %q, want %q\n%v", v.Guarantees, k.broken, v)
			}
			if len(v.Steps) == 0 || !strings.Contains(v.Error(), v.Steps[0].Session+": ") {
				t.Errorf("no witness: %v", v)
			}
			t.Log(v)
		})
	}
}

// Where either of two values may have overwritten a third, the one is found that
// explains all; and where neither does, the third is lost.
func TestChoices(t *testing.T) {
	ops := []Op{
		w("a", "y", "1"), w("a", "x", "1"), w("b", "x", "2"), w("c", "x", "3"),
		r("d", "x", "2"), r("d", "y"), // 2 does not come after what a wrote
		r("f", "x", "1"), rr("f", "x", "2", "3"),
	}
	report, err := Examine(ops, CC)
	if err != nil || report.Open != 1 || !report.Proven {
		t.Errorf("3 may have overwritten 1: %+v %v", report, err)
	}
	var v *Violation
	ops = append(ops, r("e", "x", "3"), r("e", "y")) // nor does 3
	if report, err = Examine(ops, CC); !errors.As(err, &v) || v.Pattern != LostSibling || report.Proven {
		t.Errorf("neither can have: %+v %v", report, err)
	}
}

// A correct store's history is accepted, whatever the store does.
func TestAcceptsCorrectStore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStore(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), rapid.IntRange(1, 6).Draw(t, "nodes"), rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "lossy"))
		s.run(rapid.IntRange(1, 400).Draw(t, "operations"), rapid.IntRange(1, 3).Draw(t, "clients"), rapid.IntRange(1, 6).Draw(t, "keys"))
		if err := Check(s.ops, all...); err != nil {
			t.Fatal(err)
		}
	})
}
