package merge

import (
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
)

// A kill matches where key and dot match: one that names a dot of another row
// does nothing, however it came about.
func TestKillOfAnotherRow(t *testing.T) {
	bag := func(x any) delta.Tag { return delta.BagTag(valueOf(x)) }
	for name, k := range map[string]delta.Delta{
		"row": PlanNegate("e", "/x", "", nil),
		"tag": PlanNegate("e", "/x", bag("other"), nil),
		"path": {
			Entity: "e", Path: "/x/y", Verb: delta.Drop, Value: delta.Null,
			Kills: []delta.Kill{{Scope: delta.ScopePath, Path: ""}},
		},
		"prefix": {
			Entity: "e", Path: "/x/y", Verb: delta.Drop, Value: delta.Null,
			Kills: []delta.Kill{{Scope: delta.ScopePrefix}},
		},
		"entity": {
			Entity: "f", Path: "", Verb: delta.Drop, Value: delta.Null,
			Kills: []delta.Kill{{Scope: delta.ScopePrefix}},
		},
	} {
		ann := newPen("ann")
		ann.add("e", "/x", "mine")
		k.Kills[0].Dots = []clock.Dot{{Lane: ann.lane, Seq: 1}}
		before := ann.fold.Tally
		ann.write("", k)
		if ann.fold.Tally != before {
			t.Errorf("%s: a kill of a dot in another row did something", name)
		}
	}
	// In its own row it does.
	ann := newPen("ann")
	ann.add("e", "/x", "mine")
	ann.write("", PlanNegate("e", "/x", bag("mine"), []clock.Dot{{Lane: ann.lane, Seq: 1}}))
	if ann.fold.Tally != (Tally{}) {
		t.Error("a kill of a dot in its row did nothing")
	}
}

// The dots of an entry run over all its transactions, each survivor knows the
// first delta of its own, and each delta sees those before it.
func TestApplyTransactions(t *testing.T) {
	add := func(x any) delta.Delta { return PlanAdd("e", "/bag", valueOf(x)) }
	lane := clock.LaneID{1}
	e := delta.Entry{Header: delta.Header{Lane: lane, Seq: 7, Time: 3}}
	e.Body.Txns = []delta.Txn{
		{Creator: "ann", Deltas: []delta.Delta{add(1), add(2)}},
		{Creator: "bob", Deltas: []delta.Delta{
			add(3),
			PlanNegate("e", "/bag", delta.BagTag(valueOf(1)), []clock.Dot{{Lane: lane, Seq: 7, Index: 0}}),
			add(4),
		}},
	}
	f := Fold{State: new(MemState)}
	if err := f.Apply(&e); err != nil {
		t.Fatal(err)
	}
	r, _, err := Read(f.State, "e", "")
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint32]Survivor{}
	for _, s := range r.Properties[0].Survivors {
		got[s.Dot.Index] = s
	}
	want := map[uint32]struct {
		txn     uint32
		creator string
	}{1: {0, "ann"}, 2: {2, "bob"}, 4: {2, "bob"}}
	if len(got) != len(want) {
		t.Errorf("survivors %v", got)
	}
	for i, w := range want {
		if s := got[i]; s.Txn != w.txn || s.Creator != w.creator || s.Time != 3 || s.Dot.Seq != 7 {
			t.Errorf("delta %d survives as %+v", i, s)
		}
	}
}

// Every part of a survivor, and its row, counts in the digest.
func TestSumCoversAll(t *testing.T) {
	base := Survivor{
		Dot: clock.Dot{Lane: laneOf(1), Seq: 2, Index: 3}, Txn: 4, Time: 5,
		Verb: delta.Assign, Creator: "ann", Value: delta.Int(6),
	}
	seen := map[digest.Sum]string{base.Sum([]byte("key")): "base", base.Sum([]byte("kez")): "key"}
	for name, change := range map[string]func(s *Survivor){
		"lane":              func(s *Survivor) { s.Dot.Lane = laneOf(2) },
		"seq":               func(s *Survivor) { s.Dot.Seq++ },
		"index":             func(s *Survivor) { s.Dot.Index++ },
		"txn":               func(s *Survivor) { s.Txn++ },
		"time":              func(s *Survivor) { s.Time++ },
		"verb":              func(s *Survivor) { s.Verb = delta.Vote },
		"creator":           func(s *Survivor) { s.Creator = "bob" },
		"value":             func(s *Survivor) { s.Value = delta.Int(7) },
		"creator and value": func(s *Survivor) { s.Creator += string(s.Value); s.Value = nil },
	} {
		s := base
		change(&s)
		sum := s.Sum([]byte("key"))
		if other, ok := seen[sum]; ok {
			t.Errorf("%s and %s have one sum", name, other)
		}
		seen[sum] = name
	}
}
