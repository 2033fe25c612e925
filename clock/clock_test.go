package clock

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func anyLane() *rapid.Generator[LaneID] {
	return rapid.Custom(func(t *rapid.T) (l LaneID) {
		l[0] = rapid.Byte().Draw(t, "first")
		l[15] = rapid.Byte().Draw(t, "last")
		return l
	})
}

func anyDot() *rapid.Generator[Dot] {
	return rapid.Custom(func(t *rapid.T) Dot {
		return Dot{
			Lane:  anyLane().Draw(t, "lane"),
			Seq:   rapid.Uint64Range(1, MaxSeq).Draw(t, "seq"),
			Index: rapid.Uint32().Draw(t, "index"),
		}
	})
}

// A dot and its parts come back from text and from JSON as they were.
func TestDotText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDot().Draw(t, "dot")
		got, err := ParseDot(d.String())
		if err != nil || got != d {
			t.Fatalf("ParseDot(%v) = %v, %v", d, got, err)
		}
		e, err := ParseEntryID(d.Entry().String())
		if err != nil || e != d.Entry() {
			t.Fatalf("ParseEntryID(%v) = %v, %v", d.Entry(), e, err)
		}
		type both struct {
			Dot  Dot
			Lane LaneID
		}
		in := both{d, d.Lane}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out both
		if err := json.Unmarshal(text, &out); err != nil || out != in {
			t.Fatalf("%s came back as %v, %v", text, out, err)
		}
	})
}

// Names have one spelling; every other text is an error that shows it.
func TestBadNames(t *testing.T) {
	lane := strings.Repeat("ab", 16)
	for _, s := range []string{
		"", ":", "::", lane, lane + ":1", lane + ":1:", lane + "::1", lane + ":0:1", lane + ":01:1", lane + ":1:01",
		lane + ":+1:1", lane + ":1:-1", lane + ":1:4294967296", lane + ":9223372036854775808:0", lane + ":1_0:1",
		strings.ToUpper(lane) + ":1:1", lane[1:] + ":1:1", lane + "00:1:1", "zz" + lane[2:] + ":1:1", lane + ":1:1 ",
		strings.Repeat(lane, 9) + ":1:1",
	} {
		if d, err := ParseDot(s); err == nil {
			t.Errorf("ParseDot(%q) = %v", s, d)
		}
		var d Dot
		if d.UnmarshalText([]byte(s)) == nil {
			t.Errorf("UnmarshalText(%q) = %v", s, d)
		}
	}
	for _, s := range []string{"", lane, "xx:1", lane + ":", lane + ":0", lane + ":x"} {
		if e, err := ParseEntryID(s); err == nil {
			t.Errorf("ParseEntryID(%q) = %v", s, e)
		}
	}
	var l LaneID
	if l.UnmarshalText([]byte("ab")) == nil {
		t.Error("half a lane is accepted")
	}
}

// Compare is a total order by lane, seq and index; AtMost is its restriction to
// one lane.
func TestDotOrder(t *testing.T) {
	small := rapid.Custom(func(t *rapid.T) Dot {
		return Dot{LaneID{rapid.ByteRange(0, 1).Draw(t, "l")}, rapid.Uint64Range(1, 2).Draw(t, "s"), rapid.Uint32Range(0, 2).Draw(t, "i")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := small.Draw(t, "a"), small.Draw(t, "b"), small.Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v: %d, %d", a, b, a.Compare(b), b.Compare(a))
		}
		if a.Compare(b) < 0 && b.Compare(c) < 0 && a.Compare(c) >= 0 {
			t.Fatalf("%v < %v < %v", a, b, c)
		}
		if want := a.Lane == b.Lane && a.Compare(b) <= 0; a.AtMost(b) != want {
			t.Fatalf("%v.AtMost(%v) = %v", a, b, !want)
		}
	})
	if got := (Hash{0xab}).String(); !strings.HasPrefix(got, "ab00") || len(got) != 64 {
		t.Errorf("Hash.String() = %s", got)
	}
}

// FuzzParseDot: what is accepted is what String writes.
func FuzzParseDot(f *testing.F) {
	f.Add(Dot{LaneID{1}, 1, 0}.String())
	f.Add(Dot{LaneID{0xff}, MaxSeq, 1<<32 - 1}.String())
	f.Add(strings.Repeat("AB", 16) + ":01:1")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDot(s); err == nil && d.String() != s {
			t.Fatalf("ParseDot(%q) = %v", s, d)
		}
		if e, err := ParseEntryID(s); err == nil && e.String() != s {
			t.Fatalf("ParseEntryID(%q) = %v", s, e)
		}
	})
}

// Readings rise strictly, stand at or after the wall and after all that was
// observed, and never follow a clock that is more than the skew ahead.
func TestHLC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c HLC
		wall := rapid.Int64Range(0, 1<<44).Draw(t, "start")
		var last Timestamp
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 2), 1, 60).Draw(t, "steps") {
			// The wall clock may also jump back.
			wall = max(0, wall+rapid.Int64Range(-5000, 5000).Draw(t, "tick"))
			if step == 0 {
				far := wall + rapid.Int64Range(-2*MaxSkewMillis, 2*MaxSkewMillis).Draw(t, "ahead")
				seen := TimestampAt(far) + Timestamp(rapid.Uint16().Draw(t, "counter"))
				before := c.Last()
				if ok := c.Observe(seen, wall); ok != (far <= wall+MaxSkewMillis) {
					t.Fatalf("Observe(%v) at %d = %v", seen.Millis(), wall, ok)
				} else if want := max(before, seen); ok && c.Last() != want || !ok && c.Last() != before {
					t.Fatalf("after Observe: %v", c.Last())
				}
				last = max(last, c.Last())
				continue
			}
			now := c.Now(wall)
			if now <= last || now.Millis() < wall || now != c.Last() {
				t.Fatalf("Now(%d) = %v after %v", wall, now, last)
			}
			last = now
		}
	})
}

// At its ends the clock neither wraps nor runs backwards, and a full counter
// carries.
func TestHLCEnds(t *testing.T) {
	c := HLC{last: TimestampAt(5) | (1<<counterBits - 1)}
	if got := c.Now(5); got.Millis() != 6 || got.Counter() != 0 {
		t.Errorf("after a full counter: %d.%d", got.Millis(), got.Counter())
	}
	c = HLC{last: MaxTimestamp - 1}
	for range 3 {
		if got := c.Now(1 << 62); got != MaxTimestamp {
			t.Errorf("at the end: %d", got)
		}
	}
	if c.Observe(MaxTimestamp+1, 1<<62) || c.Last() != MaxTimestamp {
		t.Error("a reading past the last one is taken in")
	}
	if !c.Observe(1, 1<<63-1) || c.Observe(MaxTimestamp, -1<<63) {
		t.Error("the skew rule wraps")
	}
	if TimestampAt(-1) != 0 || TimestampAt(1<<62).Millis() != MaxTimestampMillis {
		t.Error("TimestampAt does not clamp")
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC); !TimestampAt(want.UnixMilli()).Time().Equal(want) {
		t.Errorf("Time() = %v", TimestampAt(want.UnixMilli()).Time())
	}
	if c := Timestamp(0x1234_5678); c.Counter() != 0x5678 || c.Millis() != 0x1234 {
		t.Error("parts of a timestamp")
	}
	if !slices.IsSorted([]Timestamp{TimestampAt(1), TimestampAt(1) + 1, TimestampAt(2)}) {
		t.Error("order")
	}
}
