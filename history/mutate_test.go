package history

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A mutation makes a history wrong in one way, where it finds the place for it.
type mutation struct {
	name    string
	pattern Pattern
	broken  Model // "" for none that is sure
	mutate  func(ops []Op) ([]Op, bool)
}

// overwritten finds a write that its session has overwritten.
func overwritten(ops []Op) (older, newer Op, ok bool) {
	for i, a := range ops {
		for _, b := range ops[i+1:] {
			if a.Kind == KindWrite && b.Kind == KindWrite && a.Session == b.Session && a.Key == b.Key {
				return a, b, true
			}
		}
	}
	return Op{}, Op{}, false
}

var mutations = []mutation{
	{"stale read", WriteCORead, "", func(ops []Op) ([]Op, bool) {
		older, newer, ok := overwritten(ops)
		return append(ops, w(newer.Session, "after", "1"), r("new", "after", "1"), r("new", older.Key, older.Value)), ok
	}},
	{"lost own write", WriteCOInitRead, ReadYourWrites, func(ops []Op) ([]Op, bool) {
		i := slices.IndexFunc(ops, func(o Op) bool { return o.Kind == KindWrite })
		if i < 0 {
			return nil, false
		}
		return append(ops, rr(ops[i].Session, ops[i].Key)), true
	}},
	{"back in time", WriteCORead, MonotonicReads, func(ops []Op) ([]Op, bool) {
		older, newer, ok := overwritten(ops)
		return append(ops, r("new", newer.Key, newer.Value), r("new", older.Key, older.Value)), ok
	}},
	{"effect before cause", WriteCOInitRead, WritesFollowReads, func(ops []Op) ([]Op, bool) {
		i := slices.IndexFunc(ops, func(o Op) bool { return o.Kind == KindRead && len(o.Values) > 0 })
		if i < 0 {
			return nil, false
		}
		o := ops[i]
		return append(ops, w(o.Session, "after", "1"), r("new", "after", "1"), r("new", o.Key)), true
	}},
	{"thin air", ThinAirRead, "", func(ops []Op) ([]Op, bool) {
		i := slices.IndexFunc(ops, func(o Op) bool { return o.Kind == KindRead })
		if i < 0 {
			return nil, false
		}
		ops[i].Values, ops[i].Shown = []string{"never"}, ""
		return ops, true
	}},
	{"overwritten value resurfaces", WriteCORead, "", func(ops []Op) ([]Op, bool) {
		older, newer, ok := overwritten(ops)
		return append(ops, rr("new", newer.Key, newer.Value, older.Value)), ok
	}},
	{"lost sibling", LostSibling, MonotonicReads, func(ops []Op) ([]Op, bool) {
		i := slices.IndexFunc(ops, func(o Op) bool { return len(o.Values) > 1 })
		if i < 0 {
			return nil, false
		}
		o := ops[i]
		return slices.Insert(ops, i+1, rr(o.Session, o.Key, o.Values[0])), true
	}},
	{"read before the write", CyclicCO, "", func(ops []Op) ([]Op, bool) {
		i := slices.IndexFunc(ops, func(o Op) bool { return o.Kind == KindWrite })
		if i < 0 {
			return nil, false
		}
		return slices.Insert(ops, 0, r(ops[i].Session, ops[i].Key, ops[i].Value)), true
	}},
}

// A correct store's history that is made wrong in one way is rejected, by the
// pattern of that way.
func TestRejectsMutations(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			tried := 0
			rapid.Check(t, func(t *rapid.T) {
				s := newStore(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2)), rapid.IntRange(2, 5).Draw(t, "nodes"), rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "lossy"))
				s.run(rapid.IntRange(20, 200).Draw(t, "operations"), 2, rapid.IntRange(1, 4).Draw(t, "keys"))
				ops, ok := m.mutate(slices.Clone(s.ops))
				if !ok {
					return
				}
				tried++
				var v *Violation
				if err := Check(ops, CC); !errors.As(err, &v) || v.Pattern != m.pattern {
					t.Fatalf("want %s, got %v", m.pattern, err)
				}
				if m.broken != "" && !slices.Contains(v.Guarantees, m.broken) {
					t.Errorf("%s should be broken: %v", m.broken, v)
				}
				if m.broken != "" && !errors.As(Check(ops, m.broken), &v) {
					t.Errorf("%s should be broken, and is not", m.broken)
				}
			})
			if tried == 0 {
				t.Error("it never came to it")
			}
		})
	}
}

// A history of 100,000 operations is judged within seconds, and so is one that
// goes wrong at its end.
func TestLarge(t *testing.T) {
	ops := large(100_000)
	if err := Check(ops, all...); err != nil {
		t.Fatal(err)
	}
	ops, _ = mutations[3].mutate(ops)
	var v *Violation
	if err := Check(ops, CC); !errors.As(err, &v) || len(v.Steps) > 6 {
		t.Errorf("no short witness: %v", err)
	}
}

func large(n int) []Op {
	s := newStore(rand.New(rand.NewPCG(7, 7)), 3, 50)
	s.run(n, 3, 2000)
	return s.ops
}

func BenchmarkCheck(b *testing.B) {
	ops := large(100_000)
	for _, m := range []Model{CC, CCv, CM} {
		b.Run(string(m), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = Check(ops, m)
			}
			b.ReportMetric(float64(len(ops))*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

// What Write writes Read reads.
func TestReadWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := drawTiny(t, 8, true)
		ops[0].At = rapid.String().Draw(t, "at")
		var b bytes.Buffer
		if err := Write(&b, ops); err != nil {
			t.Fatal(err)
		}
		back, err := Read(&b)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(back) != fmt.Sprint(ops) {
			t.Errorf("%v came back as %v", ops, back)
		}
	})
}

// What is no history is refused, with the place and the reason.
func TestRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"session":"a","op":"write","key":"x"}`:                                           "history: malformed: line 1: a write of no value",
		`{"session":"a","op":"read"}`:                                                      "history: malformed: line 1: no key",
		"\n{\"op\":\"read\",\"key\":\"x\"}":                                                "history: malformed: line 2: no session",
		`{"session":"a","op":"read","key":"x","values":["1","2"]}`:                         "history: malformed: line 1: a lossy read that returns 2 values",
		`{"session":"a","op":"read","key":"x","values":["1"],"lossless":true,"shown":"2"}`: `history: malformed: line 1: a read that shows "2" and does not return it`,
		`{"session":"a","op":"cas","key":"x"}`:                                             `history: malformed: line 1: kind "cas" is neither write nor read`,
	} {
		if _, err := Read(bytes.NewReader([]byte(text))); err == nil || err.Error() != want || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
	if err := Check([]Op{w("a", "x", "1"), w("b", "x", "1")}, CC); !errors.Is(err, ErrMalformed) {
		t.Errorf("two writes of one value: %v", err)
	}
}

// What is read is a history, or is refused; it comes back as it was written, and
// can be checked.
func FuzzRead(f *testing.F) {
	for _, k := range known {
		var b bytes.Buffer
		if err := Write(&b, k.ops); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ops, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := Write(&b, ops); err != nil {
			t.Fatal(err)
		}
		if back, err := Read(&b); err != nil || fmt.Sprint(back) != fmt.Sprint(ops) {
			t.Errorf("%v came back as %v: %v", ops, back, err)
		}
		_ = Check(ops, CC, CCv, CM)
	})
}
