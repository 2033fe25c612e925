package compaction

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"reflect"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
)

var testSpace = clock.Hash(sha256.Sum256([]byte("compaction")))

// testJump is a lane of some author with a signed head.
func testJump(t testing.TB, name string, seq uint64) oplog.Jump {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	key := ed25519.NewKeyFromSeed(seed[:])
	var j oplog.Jump
	copy(j.Key.Author[:], key.Public().(ed25519.PublicKey))
	s := delta.Signer{Space: testSpace, Lane: j.Key.ID(testSpace), Key: key}
	head := clock.Head{Seq: seq - 1}
	if seq > 1 {
		head.Hash = clock.Hash{1}
	}
	e, err := s.Build(head, 7, delta.Body{Txns: []delta.Txn{{Deltas: []delta.Delta{{Entity: "e", Verb: delta.Assign, Value: delta.Int(1)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	j.Head = clock.Head{Seq: seq, Hash: e.Hash}
	j.Signed = delta.SignedHead{Header: e.Header, Sig: e.Sig}
	return j
}

func testOffer(t testing.TB) Offer {
	a, b := testJump(t, "a", 1), testJump(t, "b", 300)
	b.Signed = delta.SignedHead{} // a proof vouches
	return Offer{
		First: true, Last: true, Root: digest.Sum{1, 2}, Digest: digest.Sum{3}, Rows: 9, Time: 1 << 40,
		Tips: []clock.EntryID{{Lane: a.Key.ID(testSpace), Seq: 1}},
		Lanes: []OfferLane{
			{Jump: a, ID: a.Key.ID(testSpace), Ahead: true},
			{Jump: b, ID: b.Key.ID(testSpace), Ahead: true},
			{Jump: oplog.Jump{Head: clock.Head{Seq: 5, Hash: clock.Hash{9}}}, ID: clock.LaneID{7}},
			{ID: clock.LaneID{8}},
		},
	}
}

// What is said comes back as it was.
func TestMessages(t *testing.T) {
	o := testOffer(t)
	messages := AppendOffers(&o)
	back, err := ParseOffer(testSpace, messages[0][1:])
	if err != nil || len(messages) != 1 || !reflect.DeepEqual(back, o) {
		t.Fatalf("offer comes back as %+v: %v", back, err)
	}

	stretches := []Stretch{{0, 4, 7}, {2, 4, 1 << 30}, {2, 0, 5}}
	r := Ranges{List: stretches, rows: []uint64{1, 2, 3}}
	pages := r.AskList()
	if len(pages) != 2 {
		t.Fatalf("%d questions for two shifts", len(pages))
	}
	if r.rows[0] = maxAnswer; len(r.AskList()) != 3 {
		t.Fatalf("%d questions where the first stretch is large", len(r.AskList()))
	}
	shift, asked, err := ParseAsk(pages[0][1:], 3)
	if err != nil || shift != 4 || !reflect.DeepEqual(asked, stretches[:2]) {
		t.Fatalf("stretches come back as %v at %d: %v", asked, shift, err)
	}

	sums := []StretchSum{{0, 1, 2, 3}, {1, 1 << 40, 5, 1 << 63}}
	s, last, err := ParseSums(SumsPages(sums)[0][1:], 2)
	if err != nil || !last || !reflect.DeepEqual(s, sums) {
		t.Fatalf("sums come back as %v: %v", s, err)
	}
	list := []Listed{{1, 2, 3, digest.Sum{4}}, {0, 1 << 50, 1<<32 - 1, digest.Sum{5, 6, 7, 8}}}
	l, last, err := ParseList(ListPages(list)[0][1:], 2)
	if err != nil || !last || !reflect.DeepEqual(l, list) {
		t.Fatalf("list comes back as %v: %v", l, err)
	}
}

// What does not fit one message goes in several, of which one is the last.
func TestPages(t *testing.T) {
	sums := make([]StretchSum, maxSums+1)
	list := make([]Listed, 2*maxListed+1)
	for i := range sums {
		sums[i] = StretchSum{0, uint64(i), 1, 2}
	}
	for i := range list {
		list[i] = Listed{Seq: uint64(i + 1)}
	}
	o := Offer{Lanes: make([]OfferLane, maxOfferLanes+1)}
	for _, c := range []struct {
		pages [][]byte
		want  int
		last  func(b []byte) (bool, error)
	}{
		{SumsPages(sums), 2, func(b []byte) (bool, error) { _, last, err := ParseSums(b, 1); return last, err }},
		{ListPages(list), 3, func(b []byte) (bool, error) { _, last, err := ParseList(b, 1); return last, err }},
		{SumsPages(nil), 1, func(b []byte) (bool, error) { _, last, err := ParseSums(b, 1); return last, err }},
		{AppendOffers(&o), 2, func(b []byte) (bool, error) { o, err := ParseOffer(testSpace, b); return o.Last, err }},
	} {
		if len(c.pages) != c.want {
			t.Errorf("%d pages, want %d", len(c.pages), c.want)
		}
		for i, p := range c.pages {
			if last, err := c.last(p[1:]); err != nil || last != (i == len(c.pages)-1) {
				t.Errorf("page %d of %d: last %v, %v", i, len(c.pages), last, err)
			}
		}
	}
}

func testRow(lane clock.LaneID) (key []byte, s merge.Survivor) {
	d := delta.Delta{Entity: "e", Path: "/n", Verb: delta.Inc, Value: delta.IncValue{Amount: 2, Total: 5}.Value()}
	key = merge.AppendKey(nil, d.Entity, d.Path, delta.TagOf(lane, "", &d))
	return key, merge.Survivor{
		Dot: clock.Dot{Lane: lane, Seq: 8, Index: 3}, Txn: 2, Time: 99, Verb: delta.Inc, Creator: "ann", Value: d.Value,
	}
}

// Rows come back as they were, and what no delta makes is refused.
func TestRows(t *testing.T) {
	lanes := []clock.LaneID{{1}, {2}}
	key, s := testRow(lanes[1])
	good := AppendRow(nil, key, 1, &s)
	rows, err := ParseRows(append(bytes.Clone(good), good...), lanes)
	if err != nil || len(rows) != 2 || !reflect.DeepEqual(rows[1], Row{Key: key, Lane: 1, Survivor: s}) {
		t.Fatalf("%+v: %v", rows, err)
	}
	dead, err := ParseDead(AppendDead(nil, key, 1, &s, clock.Dot{Lane: lanes[1], Seq: 9}), lanes)
	if err != nil || len(dead) != 1 || dead[0].Killer != (clock.Dot{Lane: lanes[1], Seq: 9}) {
		t.Fatalf("%+v: %v", dead, err)
	}
	for name, spoil := range map[string]func(key *[]byte, lane *int, s *merge.Survivor){
		"another lane's counter": func(_ *[]byte, lane *int, _ *merge.Survivor) { *lane = 0 },
		"a key that is none":     func(key *[]byte, _ *int, _ *merge.Survivor) { *key = []byte("e") },
		"seq 0":                  func(_ *[]byte, _ *int, s *merge.Survivor) { s.Dot.Seq = 0 },
		"a verb without rows":    func(_ *[]byte, _ *int, s *merge.Survivor) { s.Verb = delta.Drop },
		"an inc without a total": func(_ *[]byte, _ *int, s *merge.Survivor) { s.Value = delta.Int(1) },
		"a value that is none":   func(_ *[]byte, _ *int, s *merge.Survivor) { s.Value = delta.Value{0xff} },
		"a transaction after it": func(_ *[]byte, _ *int, s *merge.Survivor) { s.Txn = 4 },
		"a creator too long":     func(_ *[]byte, _ *int, s *merge.Survivor) { s.Creator = string(make([]byte, 300)) },
	} {
		k, lane, x := bytes.Clone(key), 1, s
		spoil(&k, &lane, &x)
		if _, err := ParseRows(AppendRow(nil, k, lane, &x), lanes); !errors.Is(err, delta.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseDead(AppendDead(nil, key, 1, &s, s.Dot), lanes); !errors.Is(err, delta.ErrMalformed) {
		t.Errorf("an inc that killed itself: %v", err)
	}
}

// Whatever bytes come: an error or something sensible, never a panic, and what
// is taken is written the same way again.
func FuzzMessages(f *testing.F) {
	o := testOffer(f)
	f.Add(AppendOffers(&o)[0])
	f.Add(AppendAsk(MsgAskSums, 8, []Stretch{{1, 8, 3}}))
	f.Add(SumsPages([]StretchSum{{1, 2, 3, 4}})[0])
	f.Add(ListPages([]Listed{{1, 2, 3, digest.Sum{4}}})[0])
	f.Add(AppendAskRows(NewSet([]Interval{{0, 1, 2}, {1, 5, 9}})))
	lanes := []clock.LaneID{{1}, {2}, {3}}
	key, s := testRow(lanes[1])
	f.Add(AppendRow([]byte{MsgRows}, key, 1, &s))
	f.Add(AppendDead([]byte{MsgDead}, key, 1, &s, clock.Dot{Lane: lanes[1], Seq: 9}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		body := b[1:]
		switch b[0] {
		case MsgOffer:
			o, err := ParseOffer(testSpace, body)
			if err == nil {
				again, err := ParseOffer(testSpace, o.append()[1:])
				if err != nil || !reflect.DeepEqual(again, o) {
					t.Fatalf("%+v comes back as %+v: %v", o, again, err)
				}
			}
		case MsgAskSums, MsgAskList:
			if shift, s, err := ParseAsk(body, 3); err == nil {
				if _, again, err := ParseAsk(AppendAsk(b[0], shift, s)[1:], 3); err != nil || !reflect.DeepEqual(again, s) {
					t.Fatalf("%v comes back as %v: %v", s, again, err)
				}
			}
		case MsgSums:
			_, _, _ = ParseSums(body, 3)
		case MsgList:
			_, _, _ = ParseList(body, 3)
		case MsgAskRows:
			_, _ = ParseAskRows(body, 3)
		case MsgRows:
			if rows, err := ParseRows(body, lanes); err == nil {
				for i := range rows {
					again, err := ParseRows(AppendRow(nil, rows[i].Key, rows[i].Lane, &rows[i].Survivor), lanes)
					if err != nil || !reflect.DeepEqual(again[0], rows[i]) {
						t.Fatalf("%+v comes back as %+v: %v", rows[i], again, err)
					}
				}
			}
		case MsgDead:
			_, _ = ParseDead(body, lanes)
		}
	})
}

func testCheckpoint() Checkpoint {
	c := Checkpoint{
		Number: 3, Time: 1_700_000_000_000, Ordinal: 77, Done: true, Root: digest.Sum{1}, Digest: digest.Sum{2, 3},
		Rows: 4, Entries: 5, Bytes: 6,
	}
	for i := range clock.MaxHeads + 3 { // more than one page
		c.Cut = append(c.Cut, clock.LaneHead{
			Lane: clock.LaneID{byte(i >> 16), byte(i >> 8), byte(i)}, Head: clock.Head{Seq: uint64(i + 1), Hash: clock.Hash{byte(i)}},
		})
	}
	return c
}

// A checkpoint comes back as it was, and no changed bit goes unnoticed.
func TestCheckpoint(t *testing.T) {
	for _, c := range []Checkpoint{testCheckpoint(), {Number: 1}} {
		b := c.Append(nil)
		back, err := ParseCheckpoint(c.Number, b)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("comes back as %+v: %v", back, err)
		}
	}
	c := testCheckpoint()
	c.Cut = c.Cut[:2]
	b := c.Append(nil)
	for i := range b {
		for bit := range 8 {
			x := bytes.Clone(b)
			x[i] ^= 1 << bit
			if _, err := ParseCheckpoint(3, x); !errors.Is(err, ErrCheckpoint) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
		if _, err := ParseCheckpoint(3, b[:i]); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}
