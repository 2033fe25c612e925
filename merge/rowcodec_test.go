package merge

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A lanes numbers lanes in the order in which they are met.
type lanes struct{ of []clock.LaneID }

func (l *lanes) Number(id clock.LaneID) uint32 {
	for i := range l.of {
		if l.of[i] == id {
			return uint32(i)
		}
	}
	l.of = append(l.of, id)
	return uint32(len(l.of) - 1)
}

func (l *lanes) Lane(n uint32) (clock.LaneID, bool) {
	if int(n) >= len(l.of) {
		return clock.LaneID{}, false
	}
	return l.of[n], true
}

func TestRowRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var row []Survivor
		for range rapid.IntRange(0, 4).Draw(t, "survivors") {
			row = append(row, Survivor{
				Dot: clock.Dot{
					Lane:  laneOf(rapid.IntRange(0, 3).Draw(t, "lane")),
					Seq:   rapid.Uint64().Draw(t, "seq"),
					Index: rapid.Uint32().Draw(t, "index"),
				},
				Txn:     rapid.Uint32().Draw(t, "txn"),
				Time:    clock.Timestamp(rapid.Uint64().Draw(t, "time")),
				Verb:    rapid.SampledFrom([]delta.Verb{delta.Assign, delta.Add, delta.Vote, delta.Inc}).Draw(t, "verb"),
				Creator: rapid.String().Draw(t, "creator"),
				Value:   rapid.SampledFrom(values).Draw(t, "value"),
			})
		}
		var l lanes
		b := AppendRow([]byte("head"), row, &l)[len("head"):]
		got, err := ParseRow(b, &l)
		if err != nil || !reflect.DeepEqual(got, row) {
			t.Fatalf("%v came back as %v (%v)", row, got, err)
		}
		// A row cut short is an error, or the survivors that it still holds.
		for n := range b {
			if part, err := ParseRow(b[:n], &l); err == nil && !bytes.Equal(AppendRow(nil, part, &l), b[:n]) {
				t.Fatalf("%x is taken for %v", b[:n], part)
			}
		}
	})
}

// The layout is on every disk: these bytes must never change.
func TestRowLayout(t *testing.T) {
	row := []Survivor{{
		Dot: clock.Dot{Lane: laneOf(1), Seq: 300, Index: 2}, Txn: 1, Time: 5,
		Verb: delta.Vote, Creator: "ann", Value: delta.String("x"),
	}}
	got := hex.EncodeToString(AppendRow(nil, row, &lanes{of: []clock.LaneID{laneOf(0), laneOf(1)}}))
	if want := "01" + "ac02" + "02" + "01" + "05" + "03" + "03616e6e" + "026178"; got != want {
		t.Errorf("row is %s, want %s", got, want)
	}
}

func TestParseRowRejects(t *testing.T) {
	l := &lanes{of: []clock.LaneID{laneOf(0)}}
	for name, b := range map[string][]byte{
		"an open number":                {0, 1, 0, 0x80},
		"a number not in shortest form": {0x80, 0, 1, 0, 0, 1, 1, 0, 1, 0xf6},
		"a lane without a number":       {1, 1, 0, 0, 1, 1, 0, 1, 0xf6},
		"a lane number past 32 bits":    {0x80, 0x80, 0x80, 0x80, 0x10, 1, 0, 0, 1, 1, 0, 1, 0xf6},
		"an index past 32 bits":         {0, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 0, 1, 1, 0, 1, 0xf6},
		"a transaction past 32 bits":    {0, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1, 0, 1, 0xf6},
		"no verb":                       {0, 1, 0, 0, 1},
		"an unknown verb":               {0, 1, 0, 0, 1, 99, 0, 1, 0xf6},
		"a verb that leaves nothing":    {0, 1, 0, 0, 1, byte(delta.Drop), 0, 1, 0xf6},
		"a creator cut short":           {0, 1, 0, 0, 1, 1, 9, 'a'},
		"no value":                      {0, 1, 0, 0, 1, 1, 0},
		"a value cut short":             {0, 1, 0, 0, 1, 1, 0, 2, 0xf6},
	} {
		if row, err := ParseRow(b, l); !errors.Is(err, ErrRow) {
			t.Errorf("%s is taken for %v (%v)", name, row, err)
		}
	}
}

func FuzzParseRow(f *testing.F) {
	l := &lanes{of: []clock.LaneID{laneOf(0), laneOf(1)}}
	f.Add([]byte{0, 1, 0, 0, 1, 1, 0, 1, 0xf6})
	f.Add(AppendRow(nil, []Survivor{
		{Dot: clock.Dot{Lane: laneOf(1), Seq: math.MaxUint64, Index: 7}, Verb: delta.Add, Creator: "ann", Value: delta.Null},
		{Dot: clock.Dot{Lane: laneOf(0), Seq: 1}, Verb: delta.Inc, Value: delta.IncValue{Amount: 1, Total: 2}.Value()},
	}, l))
	f.Fuzz(func(t *testing.T, b []byte) {
		row, err := ParseRow(b, l)
		if err != nil {
			return
		}
		if again := AppendRow(nil, row, l); !bytes.Equal(again, b) {
			t.Errorf("%x came back as %x", b, again)
		}
	})
}
