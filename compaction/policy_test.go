package compaction

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/oplog"
)

const day = int64(24 * 60 * 60 * 1000)

// summaryOf has a mark a day, of a hundred entries and a MiB each, the newest now.
func summaryOf(days int) Summary {
	s := Summary{Now: 1000 * day}
	for i := range days {
		s.Marks = append(s.Marks, oplog.Mark{
			Ordinal: uint64(i+1) * 100, Time: s.Now - int64(days-1-i)*day, Bytes: uint64(i+1) << 20,
		})
	}
	s.Entries, s.Bytes = uint64(days)*100, uint64(days)<<20
	return s
}

// What a policy lets go, and what keeps it from it.
func TestPick(t *testing.T) {
	hold := func(s Summary, at uint64) Summary { s.Hold = at; return s }
	for _, c := range []struct {
		name   string
		s      Summary
		p      Policy
		want   uint64 // 0 for nothing
		isHeld bool
	}{
		{"nothing there", Summary{Now: day}, Policy{}, 0, false},
		{"archive", summaryOf(400), Policy{Mode: Archive}, 0, false},
		{"window not full", summaryOf(30), Policy{}, 0, false},
		{"window by age", summaryOf(40), Policy{}, 900, false},
		{"a slice of it has to be won", summaryOf(32), Policy{}, 0, false},
		{"now there is a slice", summaryOf(34), Policy{}, 300, false},
		{"window by bytes", summaryOf(20), Policy{Bytes: 16 << 20}, 500, false},
		{"bytes not reached", summaryOf(15), Policy{Bytes: 16 << 20}, 0, false},
		{"the smaller of both", summaryOf(40), Policy{Bytes: 16 << 20}, 2500, false},
		{"own entries are held", hold(summaryOf(40), 501), Policy{}, 500, true},
		{"all of it is held", hold(summaryOf(40), 1), Policy{}, 0, true},
		{"what is held is above", hold(summaryOf(40), 5000), Policy{}, 900, false},
		{"minimal", summaryOf(2), Policy{Mode: Minimal}, 200, false},
		{"minimal waits a moment", summaryOf(1), Policy{Mode: Minimal}, 0, false},
		{"minimal waits for no time where there is much", Summary{
			Entries: minimalEntries, Marks: []oplog.Mark{{Ordinal: minimalEntries, Time: 0}},
		}, Policy{Mode: Minimal}, minimalEntries, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Pick(c.s, c.p)
			if ok != (c.want > 0) || ok && (got.Ordinal != c.want || got.Held != c.isHeld) {
				t.Errorf("Pick = %+v, %v, want %d, held %v", got, ok, c.want, c.isHeld)
			}
		})
	}
}

// What is picked lies within what is held, above what is gone, and below what
// must stay; and what a window keeps is no older and no larger than it says, but
// for one mark and one slice.
func TestPickLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Summary{Now: rapid.Int64Range(0, 100*day).Draw(t, "now")}
		var m oplog.Mark
		for range rapid.IntRange(0, 40).Draw(t, "marks") {
			m.Ordinal += rapid.Uint64Range(1, 2000).Draw(t, "entries")
			m.Bytes += rapid.Uint64Range(1, 1<<21).Draw(t, "bytes")
			m.Time = min(s.Now, m.Time+rapid.Int64Range(0, 3*day).Draw(t, "time"))
			s.Marks = append(s.Marks, m)
		}
		s.Entries, s.Bytes = m.Ordinal, m.Bytes
		if rapid.Bool().Draw(t, "held") {
			s.Hold = rapid.Uint64Range(1, m.Ordinal+2).Draw(t, "hold")
		}
		p := Policy{
			Mode:  rapid.SampledFrom([]Mode{"", Archive, Window, Minimal}).Draw(t, "mode"),
			Age:   time.Duration(rapid.Int64Range(1, 60*day).Draw(t, "age")) * time.Millisecond,
			Bytes: rapid.Uint64Range(1, 1<<24).Draw(t, "limit"),
		}
		c, ok := Pick(s, p)
		if ok && (c.Ordinal == 0 || c.Ordinal > m.Ordinal || s.Hold > 0 && c.Ordinal >= s.Hold || p.Mode == Archive) {
			t.Fatalf("%+v of %+v by %+v", c, s, p)
		}
		if ok && p.Fill().Mode == Window && !c.Held {
			left := m.Bytes
			for _, x := range s.Marks {
				if x.Ordinal <= c.Ordinal {
					left = m.Bytes - x.Bytes
				} else if s.Now-x.Time > p.Age.Milliseconds() && s.Now-s.Marks[0].Time >= p.Age.Milliseconds()*17/16+1 {
					t.Fatalf("%+v leaves what is %d ms old, of %v", c, s.Now-x.Time, p.Age)
				}
			}
			if s.Bytes > p.Bytes && left > p.Bytes+1<<21 {
				t.Fatalf("%+v leaves %d bytes of %d", c, left, p.Bytes)
			}
		}
	})
}

// By hand everything goes, or all up to a place, whatever the policy says.
func TestPickAll(t *testing.T) {
	s := summaryOf(5)
	for _, c := range []struct{ to, hold, want uint64 }{
		{0, 0, 500}, {250, 0, 250}, {9999, 0, 500}, {0, 401, 400}, {250, 401, 250}, {0, 1, 0},
	} {
		s.Hold = c.hold
		if got, ok := PickAll(s, c.to); ok != (c.want > 0) || ok && got.Ordinal != c.want {
			t.Errorf("to %d, hold %d: %+v, %v, want %d", c.to, c.hold, got, ok, c.want)
		}
	}
	if _, ok := PickAll(Summary{}, 0); ok {
		t.Error("an empty log has something to drop")
	}
	s.Hold, s.History = 0, 500
	if _, ok := PickAll(s, 0); ok {
		t.Error("what is gone can go again")
	}
	// What is left of an adoption has its mark at the history's end.
	s.Marks = []oplog.Mark{{Ordinal: 500}}
	if c, ok := PickAll(s, 0); !ok || c.Ordinal != 500 {
		t.Errorf("entries below an adoption do not go: %+v, %v", c, ok)
	}
}

// A policy says what is wrong with it.
func TestPolicyValidate(t *testing.T) {
	for _, p := range []Policy{{}, {Mode: Archive}, {Mode: Minimal}, {Mode: Window, Age: time.Hour, Bytes: 1}} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []Policy{{Mode: "keep"}, {Age: -1}} {
		if p.Validate() == nil {
			t.Errorf("%+v is taken", p)
		}
	}
	if p := (Policy{}).Fill(); p.Mode != Window || p.Age != DefaultAge || p.Bytes != DefaultBytes {
		t.Errorf("defaults: %+v", p)
	}
}
