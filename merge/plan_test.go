package merge

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A drop costs one bound a lane, however many values go, and lists nothing
// where there is nothing.
func TestPlanDropIsSmall(t *testing.T) {
	ann, bob := newPen("ann"), newPen("bob")
	for i := range 100 {
		ann.put("e", delta.Path("").Child(fmt.Sprint(i)), i)
		bob.add("e", "/bag", i)
	}
	ann.take(bob)
	d, ok, err := PlanDrop(ann.mem, "e", "")
	if err != nil || !ok || len(d.Kills) != 1 || len(d.Kills[0].Bounds) != 2 || len(d.Kills[0].Dots) != 0 {
		t.Fatalf("drop of 200 values by two lanes: %v %v %v", d.Kills, ok, err)
	}
	ann.write("", d)
	if ann.mem.Len() != 0 {
		t.Errorf("%d rows are left", ann.mem.Len())
	}
	if _, ok, err := PlanDrop(ann.mem, "e", ""); ok || err != nil {
		t.Errorf("a drop of nothing is planned: %v %v", ok, err)
	}
}

// An assignment names only scopes in which something dies.
func TestPlanAssignKills(t *testing.T) {
	ann := newPen("ann")
	plan := func(p delta.Path) []delta.Kill {
		d, err := PlanAssign(ann.mem, "e", p, delta.Null)
		if err != nil {
			t.Fatal(err)
		}
		return d.Kills
	}
	if kills := plan("/a/b"); len(kills) != 0 {
		t.Errorf("the first assignment kills %v", kills)
	}
	ann.put("e", "/a/b", 1)
	ann.put("e", "/a/c", 1)
	ann.put("e", "/d", 1)
	for p, want := range map[delta.Path]string{
		"":         "[{1   [] [d3]}]",
		"/a":       "[{1   [] [d2]}]",
		"/a/b":     "[{1   [] [d1]}]",
		"/a/b/x/y": "[{2 /a/b  [] [d1]}]",
		"/x":       "[]",
	} {
		var got string
		for _, k := range plan(p) {
			got += fmt.Sprintf("{%d %s %s %v [d%d]}", k.Scope, k.Path, k.Tag, k.Dots, k.Bounds[0].Seq)
		}
		if got = "[" + got + "]"; got != want {
			t.Errorf("%q kills %s, want %s", p, got, want)
		}
	}
}

func TestPlanInc(t *testing.T) {
	ann := newPen("ann")
	ann.inc("e", "/n", math.MaxInt64)
	for _, c := range []struct {
		amount, total int64
		err           error
	}{
		{amount: 1, err: ErrOverflow},
		{amount: math.MaxInt64, err: ErrOverflow},
		{amount: 0, total: math.MaxInt64},
		{amount: -1, total: math.MaxInt64 - 1},
		{amount: math.MinInt64, total: -1},
	} {
		d, err := PlanInc(ann.mem, "e", "/n", ann.lane, c.amount)
		if !errors.Is(err, c.err) {
			t.Errorf("inc by %d: error %v, want %v", c.amount, err, c.err)
		}
		if inc, _ := d.Value.Inc(); err == nil && inc != (delta.IncValue{Amount: c.amount, Total: c.total}) {
			t.Errorf("inc by %d is %v", c.amount, inc)
		}
	}
	ann.inc("e", "/n", math.MinInt64)
	ann.inc("e", "/n", 1)
	ann.inc("e", "/low", math.MinInt64)
	ann.inc("e", "/low", 1)
	ann.inc("e", "/low", -1) // to the least again
	if _, err := PlanInc(ann.mem, "e", "/low", ann.lane, -1); !errors.Is(err, ErrOverflow) {
		t.Errorf("error %v below the least int64", err)
	}
	ann.wantJSON(t, "e", "/n", "0")

	// A row of incs that holds something else is no row.
	key := AppendKey(nil, "e", "/bad", delta.TagOf(ann.lane, "", &delta.Delta{Verb: delta.Inc}))
	if err := ann.fold.Insert(key, Survivor{Verb: delta.Inc, Value: delta.Null}); err != nil {
		t.Fatal(err)
	}
	if _, err := PlanInc(ann.mem, "e", "/bad", ann.lane, 1); !errors.Is(err, ErrRow) {
		t.Errorf("error %v, want ErrRow", err)
	}
}

func TestPlanVoteNeedsCreator(t *testing.T) {
	if _, err := PlanVote(new(MemState), "e", "/v", "", delta.Null); !errors.Is(err, ErrCreator) {
		t.Errorf("error %v, want ErrCreator", err)
	}
}

// Two values whose tags meet share a row. A removal takes only the one that it
// names, and lists nothing where there is only the other.
func TestPlanRemoveFromSharedRow(t *testing.T) {
	ann := newPen("ann")
	key := AppendKey(nil, "e", "/bag", delta.BagTag(delta.Int(1)))
	for i, v := range []delta.Value{delta.Int(1), delta.Int(2)} {
		s := Survivor{Dot: clock.Dot{Lane: ann.lane, Seq: uint64(i + 1)}, Verb: delta.Add, Value: v}
		if err := ann.fold.Insert(key, s); err != nil {
			t.Fatal(err)
		}
	}
	ann.vec[ann.lane] = 2
	ann.remove("e", "/bag", 1)
	ann.wantJSON(t, "e", "", `{"bag":[2]}`)
	if _, ok, err := PlanRemove(ann.mem, "e", "/bag", delta.Int(1)); ok || err != nil {
		t.Errorf("a removal of nothing is planned: %v %v", ok, err)
	}
}

// A negation kills the named dots alone, of one row or of a bag.
func TestPlanNegate(t *testing.T) {
	ann, bob := newPen("ann"), newPen("bob")
	ann.put("e", "/x", "ann's")
	bob.put("e", "/x", "bob's")
	ann.add("e", "/bag", 1)
	bob.add("e", "/bag", 1)
	ann.take(bob)
	dot := func(p *pen, seq uint64) clock.Dot { return clock.Dot{Lane: p.lane, Seq: seq} }

	ann.write("", PlanNegate("e", "/x", "", []clock.Dot{dot(bob, 1)}))
	ann.wantJSON(t, "e", "/x", `"ann's"`)
	tag := delta.BagTag(delta.Int(1))
	ann.write("", PlanNegate("e", "/bag", tag, []clock.Dot{dot(ann, 2)}))
	ann.wantJSON(t, "e", "/bag", `[1]`)
	// Dots in any order, one twice, and one that is dead already.
	d := PlanNegate("e", "/bag", tag, []clock.Dot{dot(bob, 2), dot(ann, 2), dot(bob, 2)})
	if k := d.Kills[0]; len(k.Dots) != 2 || k.Dots[0] != dot(ann, 2) {
		t.Errorf("negates %v", k.Dots)
	}
	ann.write("", d)
	ann.wantJSON(t, "e", "/bag", ``)

	// A kill is for ever: negating the negation revives nothing.
	ann.write("", PlanNegate("e", "/x", "", []clock.Dot{dot(ann, 3)}))
	ann.wantJSON(t, "e", "", `{"x":"ann's"}`)
}

// Every plan and every change reports what its state reports.
func TestStateErrors(t *testing.T) {
	broken := errors.New("broken")
	build := func() *pen {
		ann := newPen("ann")
		ann.put("e", "/a", 1)
		ann.add("e", "/bag", 1)
		ann.inc("e", "/n", 1)
		ann.vote("ann", "e", "/v", 1)
		return ann
	}
	key := AppendKey(nil, "e", "/a", "")
	for name, op := range map[string]func(p *pen, s State) error{
		"assign": func(p *pen, s State) error {
			d, err := PlanAssign(s, "e", "/a/b", delta.Null)
			return errors.Join(err, p.fold.ApplyDelta(&Origin{Lane: p.lane, Seq: 9}, 0, &d))
		},
		"add":  func(p *pen, s State) error { return applyOne(p, PlanAdd("e", "/bag", delta.Null), nil) },
		"drop": func(p *pen, s State) error { d, _, err := PlanDrop(s, "e", ""); return applyOne(p, d, err) },
		"vote": func(p *pen, s State) error {
			d, err := PlanVote(s, "e", "/v", "ann", delta.Null)
			return applyOne(p, d, err)
		},
		"inc": func(p *pen, s State) error { d, err := PlanInc(s, "e", "/n", p.lane, 1); return applyOne(p, d, err) },
		"remove": func(p *pen, s State) error {
			d, _, err := PlanRemove(s, "e", "/bag", delta.Int(1))
			return applyOne(p, d, err)
		},
		"read": func(p *pen, s State) error { _, _, err := Read(s, "e", ""); return err },
		"etag": func(p *pen, s State) error {
			// The row of /b/c, and the value above it.
			_, _, err := ETag(s, "e", "/b/c", &Rules{Moves: []Move{toB}, Origins: func(delta.Path) []delta.Path { return []delta.Path{"/a/c"} }})
			return err
		},
		"alone": func(p *pen, s State) error {
			d, err := PlanAssignAlone(s, "e", "/a", delta.Null)
			return applyOne(p, d, err)
		},
		"insert": func(p *pen, s State) error { return p.fold.Insert(key, Survivor{Dot: clock.Dot{Seq: 9}}) },
		"own":    func(p *pen, s State) error { return p.fold.Remove(key, func(clock.Dot) bool { return true }) },
		"close":  func(p *pen, s State) error { return CloseLane(p.fold, p.lane, 1) },
		"join into": func(p *pen, s State) error {
			bob := newPen("bob")
			bob.put("e", "/a", 2)
			bob.put("e", "/z", 2)
			return Join(p.fold, p.vec.covers, bob.mem, bob.vec.covers)
		},
		"join from": func(p *pen, s State) error {
			bob := newPen("bob")
			bob.put("e", "/a", 2)
			bob.put("e", "/z", 2)
			return Join(bob.fold, bob.vec.covers, s, p.vec.covers)
		},
	} {
		calls := 0
		for n := 0; ; n++ {
			p := build()
			s := &brokenState{State: p.mem, left: n, err: broken}
			p.fold.State = s
			err := op(p, s)
			if s.left >= 0 {
				if err != nil {
					t.Errorf("%s: %v, though all went well", name, err)
				}
				break
			}
			calls++
			if !errors.Is(err, broken) {
				t.Errorf("%s: error %v where call %d fails", name, err, n+1)
			}
		}
		if calls == 0 {
			t.Errorf("%s calls nothing that can fail", name)
		}
	}
}

func applyOne(p *pen, d delta.Delta, err error) error {
	if err != nil {
		return err
	}
	e := delta.Entry{Header: delta.Header{Lane: p.lane, Seq: 9}}
	e.Body.Txns = []delta.Txn{{Creator: "ann", Deltas: []delta.Delta{d}}}
	return p.fold.Apply(&e)
}

// brokenState fails after some calls.
type brokenState struct {
	State
	left int
	err  error
}

func (s *brokenState) fails() bool {
	s.left--
	return s.left < 0
}

func (s *brokenState) Row(key []byte) ([]Survivor, error) {
	if s.fails() {
		return nil, s.err
	}
	return s.State.Row(key)
}

func (s *brokenState) Rows(prefix []byte, f func([]byte, []Survivor) error) error {
	if s.fails() {
		return s.err
	}
	return s.State.Rows(prefix, f)
}

func (s *brokenState) SetRow(key []byte, row []Survivor) error {
	if s.fails() {
		return s.err
	}
	return s.State.SetRow(key, row)
}
