package merge

import (
	"fmt"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

var value100 = delta.String(string(make([]byte, 98)))

func entry(lane clock.LaneID, seq uint64, d delta.Delta) *delta.Entry {
	e := &delta.Entry{Header: delta.Header{Lane: lane, Seq: seq, Time: clock.Timestamp(seq)}}
	e.Body.Txns = []delta.Txn{{Deltas: []delta.Delta{d}}}
	return e
}

func BenchmarkApplyFresh(b *testing.B) {
	b.ReportAllocs()
	var names []string
	for i := range 1 << 14 {
		names = append(names, fmt.Sprintf("host/%08d", i))
	}
	f := Fold{State: new(MemState)}
	for i := 0; b.Loop(); i++ {
		if i%len(names) == 0 {
			f = Fold{State: new(MemState)}
		}
		d, err := PlanAssign(f.State, names[i%len(names)], "/status", value100)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Apply(entry(laneOf(0), uint64(i+1), d)); err != nil {
			b.Fatal(err)
		}
	}
}

// forgetful keeps no dead and no kills, as storage past its horizon does.
type forgetful struct{ *MemState }

func (forgetful) Bury([]byte, Survivor, clock.Dot)          {}
func (forgetful) Kill([]byte, bool, *delta.Kill, clock.Dot) {}

func BenchmarkApplyOverwrite(b *testing.B) {
	b.ReportAllocs()
	f := Fold{State: forgetful{new(MemState)}}
	for seq := uint64(1); b.Loop(); seq++ {
		d, err := PlanAssign(f.State, "host/1", "/cpu/load", value100)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Apply(entry(laneOf(0), seq, d)); err != nil {
			b.Fatal(err)
		}
	}
}

func fill(b *testing.B, n int, plan func(v View, i int) (delta.Delta, error)) *Fold {
	f := &Fold{State: forgetful{new(MemState)}}
	for i := range n {
		d, err := plan(f.State, i)
		if err != nil {
			b.Fatal(err)
		}
		lane := clock.LaneID{byte(i), byte(i >> 8), byte(i >> 16)}
		if err := f.Apply(entry(lane, 1, d)); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

func benchRead(b *testing.B, f *Fold) {
	b.ReportAllocs()
	for b.Loop() {
		if _, found, err := Read(f.State, "e", ""); err != nil || !found {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkRead100Properties(b *testing.B) {
	benchRead(b, fill(b, 100, func(v View, i int) (delta.Delta, error) {
		return PlanAssign(v, "e", delta.Path(fmt.Sprintf("/group%d/field%d", i%10, i)), delta.Int(int64(i)))
	}))
}

func BenchmarkReadBagOf100000(b *testing.B) {
	benchRead(b, fill(b, 100_000, func(_ View, i int) (delta.Delta, error) {
		return PlanAdd("e", "/bag", delta.Int(int64(i))), nil
	}))
}

// Ten thousand voters with as many opinions.
func BenchmarkReadBallot(b *testing.B) {
	benchRead(b, fill(b, 10_000, func(_ View, i int) (delta.Delta, error) {
		return delta.Delta{Entity: "e", Path: "/v", Verb: delta.Vote, Value: delta.Int(int64(i))}, nil
	}))
}

// Four thousand concurrent values of one register, all references: planning
// the assignment that settles them, and applying it.
func BenchmarkSettleSiblings(b *testing.B) {
	b.ReportAllocs()
	filled := fill(b, 4096, func(_ View, i int) (delta.Delta, error) {
		return delta.Delta{Entity: "e", Path: "/x", Verb: delta.Assign, Value: delta.Ref(fmt.Sprint("f", i))}, nil
	})
	for b.Loop() {
		f := Fold{State: forgetful{filled.State.(forgetful).Clone()}, Tally: filled.Tally}
		d, err := PlanAssign(f.State, "e", "", delta.Null)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Apply(entry(laneOf(0), 2, d)); err != nil {
			b.Fatal(err)
		}
		if f.Tally.Rows != 1 {
			b.Fatal(f.Tally.Rows)
		}
	}
}

// A drop of twenty thousand properties by four thousand lanes.
func BenchmarkDropWide(b *testing.B) {
	b.ReportAllocs()
	f := &Fold{State: forgetful{new(MemState)}}
	for i := range 20_000 {
		d := delta.Delta{Entity: "e", Path: delta.Path(fmt.Sprintf("/%06d", i)), Verb: delta.Assign, Value: delta.Null}
		n := i % 4096
		if err := f.Apply(entry(clock.LaneID{byte(n), byte(n >> 8)}, uint64(i/4096+1), d)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		d, ok, err := PlanDrop(f.State, "e", "")
		if err != nil || !ok {
			b.Fatal(ok, err)
		}
		n := 0
		err = f.State.Rows(AppendPrefix(nil, "e", ""), func(_ []byte, row []Survivor) error {
			if d.Kills[0].Hits(row[0].Dot) {
				n++
			}
			return nil
		})
		if err != nil || n != 20_000 {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkReadRules reads an entity of 100 properties and 1,000 survivors by
// rules that check a type and resolve each property.
func BenchmarkReadRules(b *testing.B) {
	b.ReportAllocs()
	f := Fold{State: new(MemState)}
	rules := new(Rules)
	for p := range 100 {
		path := delta.Path(fmt.Sprintf("/property/%02d", p))
		r, err := Builtin(Builtins()[p%len(Builtins())], map[string]any{"authors": []any{"x"}})
		if err != nil {
			r = ResolverFunc(lastWrite)
		}
		rules.Properties = append(rules.Properties, Rule{ID: string(path), Path: path, Resolver: r, Check: wantInt})
		for lane := range 10 {
			d := delta.Delta{Entity: "host/1", Path: path, Verb: delta.Assign, Value: delta.Int(int64(p * lane))}
			e := entry(laneOf(lane), uint64(p+1), d)
			if err := f.Apply(e); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		r, _, err := ReadWith(f.State, "host/1", "", rules)
		if err != nil || len(r.Properties) != 100 {
			b.Fatal(err, len(r.Properties))
		}
	}
}
