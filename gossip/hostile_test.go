package gossip

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// A stage is a host with data of its own and of another author, a fork closed
// or not, and one session to a peer that the test speaks for.
type stage struct {
	*lab
	h    *labHost
	peer SessionID
	sent []string // what the host said to the peer
}

func newStage(t testing.TB) *stage {
	l := newLab(t)
	a, b := l.add("a"), l.add("b")
	a.write(3, 10, true)
	b.write(2, 10, true)
	s := &stage{lab: l, h: a, peer: 77}
	s.trace = nil
	a.m.Opened(l.now, s.peer, "evil", "@evil", false)
	s.take()
	return s
}

// take collects what the host says and does.
func (s *stage) take() (drops []Drop) {
	for _, e := range s.h.m.Effects() {
		switch e := e.(type) {
		case Drop:
			drops = append(drops, e)
		case Send:
			s.sent = append(s.sent, s.describe(e.Message))
		}
	}
	return drops
}

// says hands the host a message of the peer.
func (s *stage) says(b []byte) []Drop {
	for _, t := range s.h.m.Receive(s.now, s.peer, s.h.prepare(s.peer, b)) {
		s.h.do(t)
	}
	return s.take()
}

func (s *stage) greet() {
	h := hello{Protocol: Protocol, Instance: [16]byte{9}}
	if drops := s.says(h.append()); len(drops) > 0 {
		s.t.Fatalf("hello: %v", drops)
	}
}

// lack makes the host want n entries of a lane, and returns the lane's author
// with the entries.
func (s *stage) lack(n int) (*labHost, []*delta.Entry) {
	s.t.Helper()
	other := newLab(s.t).add("other")
	other.write(n, 10, false)
	s.lanes[other.signer.Lane] = "o1"
	v := s.h.log.Vector().Clone()
	head := other.log.Vector().Head(other.signer.Lane)
	v.Set(other.signer.Lane, head)
	have := have{First: true, Last: true, Heads: v.Changes(&clock.Vector{})}
	if drops := s.says(have.append()); len(drops) > 0 {
		s.t.Fatalf("have: %v", drops)
	}
	if s.h.m.pulling != s.peer {
		s.t.Fatal("the host does not pull")
	}
	var out []*delta.Entry
	for r, err := range other.log.Lane(other.db, other.signer.Lane, 0) {
		s.must(err)
		r.Raw, r.Sig = bytes.Clone(r.Raw), bytes.Clone(r.Sig)
		e, err := r.Entry()
		s.must(err)
		out = append(out, e)
	}
	return other, out
}

func chunkOf(key delta.LaneKey, entries []*delta.Entry) *Chunk {
	c := &Chunk{Lanes: []ChunkLane{{Key: key, Prev: entries[0].Prev, Sig: entries[len(entries)-1].Sig}}}
	for _, e := range entries {
		c.Entries = append(c.Entries, ChunkEntry{Seq: e.Seq, Time: e.Time, Raw: e.Raw})
	}
	return c
}

func (s *stage) chunk(c *Chunk) []byte {
	return appendChunk(binary.AppendUvarint([]byte{byte(kindChunk)}, s.h.m.pullID), c)
}

// Messages that no honest program sends cost their sender the session, and
// change nothing.
func TestBadMessages(t *testing.T) {
	h := hello{Protocol: Protocol}
	x := root{Root: digest.Of([]byte("x"))}
	long := strings.Repeat("x", maxAddrBytes+1)
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"unknown kind", []byte{byte(lastKind) + 1}},
		{"kind 0", []byte{0}},
		{"second hello", h.append()},
		{"root cut short", x.append()[:40]},
		{"root with more behind", append(x.append(), 0)},
		{"root with boolean 2", append(x.append()[:66], 2)},
		{"have of nothing", []byte{byte(kindHave)}},
		{"have with bad heads", append((&have{}).append(), 1)},
		{"have with a count past the bytes", append([]byte{byte(kindHave)}, append(make([]byte, 34), 0xff, 0x7f)...)},
		{"need-full with more behind", []byte{byte(kindNeedFull), 1}},
		{"pull without id", []byte{byte(kindPull)}},
		{"credit without id", []byte{byte(kindCredit)}},
		{"chunk without id", []byte{byte(kindChunk)}},
		{"end without id", []byte{byte(kindEnd), 0x80}},
		{"hash? cut short", []byte{byte(kindHashAsk), 1, 2}},
		{"hash cut short", []byte{byte(kindHash), 1, 2}},
		{"chain? cut short", []byte{byte(kindChainAsk)}},
		{"chain of rubbish", append([]byte{byte(kindChain)}, bytes.Repeat([]byte{7}, 60)...)},
		{"proof of rubbish", append([]byte{byte(kindProof)}, bytes.Repeat([]byte{7}, 60)...)},
		{"address too long", appendTexts([]byte{byte(kindAddrs)}, []string{long})},
		{"too many addresses", appendTexts([]byte{byte(kindAddrs)}, make([]string, maxAddrs+1))},
		{"join without a root", []byte{byte(kindJoin)}},
		{"join of more buckets than bytes", append(appendSum([]byte{byte(kindJoin)}, digest.Sum{}), 0xff, 0x01)},
		{"join-have of bucket 4 of 4", (&joinHave{Count: 4, Buckets: []Bucket{{Index: 4}}}).append()},
		{"join-have of no buckets", (&joinHave{}).append()},
		{"join-have of too many buckets", (&joinHave{Count: maxBuckets + 1}).append()},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.greet()
			before := s.h.log.Root()
			drops := s.says(c.b)
			if len(drops) != 1 || !drops[0].Penalize {
				t.Fatalf("drops %v, want one with blame", drops)
			}
			s.unchanged(before)
		})
	}
}

func (s *stage) unchanged(before digest.Sum) {
	s.t.Helper()
	if s.h.log.Root() != before || len(s.h.log.ClosedLanes()) > 0 {
		s.t.Fatal("the log has changed")
	}
	// Whatever the peer says now is not heard.
	s.sent = nil
	if drops := s.says((&root{Ask: true}).append()); len(drops) > 0 || len(s.sent) > 0 {
		s.t.Fatalf("a dropped peer is answered %v", s.sent)
	}
}

// A peer that speaks another protocol is dropped without blame; one that speaks
// before its hello, with.
func TestHello(t *testing.T) {
	s := newStage(t)
	if drops := s.says((&hello{Protocol: Protocol + 1}).append()); len(drops) != 1 || drops[0].Penalize {
		t.Fatalf("another protocol: %v", drops)
	}
	s = newStage(t)
	if drops := s.says((&root{}).append()); len(drops) != 1 || !drops[0].Penalize {
		t.Fatalf("root before hello: %v", drops)
	}
}

// Chunks that are not what an honest peer stores are refused whole.
func TestBadChunks(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(s *stage, o *labHost, e []*delta.Entry) []byte
		// blame says that the sender is at fault for sure.
		blame bool
	}{
		{"bad signature", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			c := chunkOf(o.lane, e)
			c.Lanes[0].Sig = bytes.Clone(c.Lanes[0].Sig)
			c.Lanes[0].Sig[3] ^= 1
			return s.chunk(c)
		}, true},
		{"no signature", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			c := chunkOf(o.lane, e)
			c.Lanes[0].Sig = nil
			return s.chunk(c)
		}, true},
		{"another time", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			c := chunkOf(o.lane, e)
			c.Entries[1].Time++
			return s.chunk(c)
		}, true},
		{"another body", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			c := chunkOf(o.lane, e)
			c.Entries[1].Raw = c.Entries[2].Raw
			return s.chunk(c)
		}, true},
		{"a body that is none", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			c := chunkOf(o.lane, e)
			c.Entries[1].Raw = []byte("rubbish")
			return s.chunk(c)
		}, true},
		{"first entry with a prev", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			c := chunkOf(o.lane, e)
			c.Lanes[0].Prev[0] = 1
			return s.chunk(c)
		}, true},
		{"a gap", func(s *stage, o *labHost, e []*delta.Entry) []byte { return s.chunk(chunkOf(o.lane, e[2:])) }, false},
		{"a run out of order", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			c := chunkOf(o.lane, e)
			c.Entries[1].Seq = 7
			return s.chunk(c)
		}, true},
		{"a lane without entries", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			c := chunkOf(o.lane, e)
			c.Lanes = append(c.Lanes, c.Lanes[0])
			return s.chunk(c)
		}, true},
		{"not compressed", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			return append(binary.AppendUvarint([]byte{byte(kindChunk)}, s.h.m.pullID), "rubbish"...)
		}, true},
		{"a bomb", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			return append(binary.AppendUvarint([]byte{byte(kindChunk)}, s.h.m.pullID), encoder().EncodeAll(make([]byte, maxChunkPlain), nil)[:600]...)
		}, true},
		{"larger than says", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			return append(binary.AppendUvarint([]byte{byte(kindChunk)}, s.h.m.pullID), encoder().EncodeAll(make([]byte, maxChunkPlain+1), nil)...)
		}, true},
		{"without its size", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			var b bytes.Buffer
			z, err := zstd.NewWriter(&b)
			s.must(err)
			_, err = z.Write([]byte("some text"))
			s.must(err)
			s.must(z.Flush())
			s.must(z.Close())
			return append(binary.AppendUvarint([]byte{byte(kindChunk)}, s.h.m.pullID), b.Bytes()...)
		}, true},
		{"an entry before its cause", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			ghost := clock.EntryID{Lane: clock.LaneID{1}, Seq: 4}
			body := delta.Body{Deps: []delta.Dep{{EntryID: ghost}}}
			next, err := o.signer.Build(clock.Head{Seq: e[2].Seq, Hash: e[2].Hash}, e[2].Time, body)
			s.must(err)
			return s.chunk(chunkOf(o.lane, append(e, next)))
		}, false},
		{"an entry before what it kills", func(s *stage, o *labHost, e []*delta.Entry) []byte {
			d := delta.Delta{Entity: "e", Verb: delta.Assign, Value: delta.Null, Kills: []delta.Kill{{
				Scope: delta.ScopePrefix, Bounds: []clock.Dot{{Lane: clock.LaneID{1}, Seq: 4}},
			}}}
			body := delta.Body{Txns: []delta.Txn{{Deltas: []delta.Delta{d}}}}
			next, err := o.signer.Build(clock.Head{Seq: e[2].Seq, Hash: e[2].Hash}, e[2].Time, body)
			s.must(err)
			return s.chunk(chunkOf(o.lane, append(e, next)))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.greet()
			o, entries := s.lack(3)
			before := s.h.log.Root()
			drops := s.says(c.make(s, o, entries))
			if c.blame != (len(drops) == 1 && drops[0].Penalize) {
				t.Fatalf("drops: %v", drops)
			}
			if s.h.m.pulling != 0 {
				t.Fatal("the pull goes on")
			}
			if s.h.log.Root() != before || s.h.log.Pending.Len() > 0 {
				t.Fatal("something was stored")
			}
		})
	}
	// The good chunk is taken, or the cases above prove nothing.
	s := newStage(t)
	s.greet()
	o, entries := s.lack(3)
	if drops := s.says(s.chunk(chunkOf(o.lane, entries))); len(drops) > 0 || s.h.log.Vector().Seq(o.signer.Lane) != 3 {
		t.Fatalf("a good chunk was refused: %v", drops)
	}
}

// A peer that says it has entries and sends none, or sends what does not fit,
// is asked again less and less often.
func TestFruitlessPulls(t *testing.T) {
	s := newStage(t)
	s.greet()
	s.lack(3)
	pulls := 0
	for end := s.now + 60_000; s.now < end; s.now += 50 {
		s.h.m.Tick(s.now)
		s.take()
		if s.h.m.pulling == s.peer {
			pulls++
			s.says(binary.AppendUvarint([]byte{byte(kindEnd)}, s.h.m.pullID))
			s.says((&root{Root: digest.Of([]byte("other"))}).append())
		}
	}
	if pulls < 5 || pulls > 20 {
		t.Fatalf("%d pulls in a minute", pulls)
	}
}

// Credits for chunks that were never sent, and vectors past all measure, are
// breaches.
func TestExcess(t *testing.T) {
	s := newStage(t)
	s.greet()
	s.says(append(binary.AppendUvarint([]byte{byte(kindPull)}, 5), 0))
	credit := binary.AppendUvarint([]byte{byte(kindCredit)}, 5)
	if drops := s.says(credit); len(drops) > 0 {
		t.Fatalf("credit of a pull that has ended: %v", drops)
	}
	s = newStage(t)
	s.greet()
	s.h.write(300, 10_000, false)
	s.says(append(binary.AppendUvarint([]byte{byte(kindPull)}, 5), 0))
	var drops []Drop
	for range chunkWindow {
		s.h.m.sessions[s.peer].serve.flying = 0 // as if all had been credited
		if drops = s.says(credit); len(drops) > 0 {
			break
		}
	}
	if len(drops) != 1 || !drops[0].Penalize {
		t.Fatalf("a credit too many: %v", drops)
	}

	s = newStage(t)
	s.greet()
	lanes := uint64(0)
	for len(drops) == 0 || lanes == 0 {
		h := have{First: lanes == 0}
		for range headsPerPage {
			lanes++
			var lane clock.LaneID
			binary.BigEndian.PutUint64(lane[:], lanes)
			h.Heads = append(h.Heads, clock.LaneHead{Lane: lane, Head: clock.Head{Seq: 1, Hash: clock.Hash{1}}})
		}
		if drops = s.says(h.append()); lanes > 2*maxForeignLanes {
			t.Fatal("a vector without end")
		}
	}
}

// Proofs that prove nothing, or of nobody's lane, cost their sender.
func TestBadProofs(t *testing.T) {
	s := newStage(t)
	other := s.h.lab.add("o2")
	other.write(2, 10, false)
	one, err := other.log.ChainFrom(clock.EntryID{Lane: other.signer.Lane, Seq: 1})
	s.must(err)
	two, err := other.log.ChainFrom(clock.EntryID{Lane: other.signer.Lane, Seq: 2})
	s.must(err)
	forged := one
	forged.Headers = slices.Clone(one.Headers)
	forged.Headers[0].Time++
	for name, p := range map[string]*oplog.Proof{
		"of one entry":       {Key: other.lane, A: one, B: one},
		"of two seqs":        {Key: other.lane, A: one, B: two},
		"of a forged header": {Key: other.lane, A: one, B: forged},
		"of another's lane":  {Key: s.h.lane, A: one, B: two},
	} {
		s := newStage(t)
		s.greet()
		before := s.h.log.Root()
		if drops := s.says(p.Append([]byte{byte(kindProof)})); len(drops) != 1 || !drops[0].Penalize {
			t.Errorf("proof %s: drops %v", name, drops)
		}
		s.unchanged(before)
	}
}

// Questions about lanes and entries that nobody has are answered, and answers
// that nobody asked for are ignored.
func TestStrayMessages(t *testing.T) {
	s := newStage(t)
	s.greet()
	before := s.h.log.Root()
	ghost := clock.EntryID{Lane: clock.LaneID{1}, Seq: 4}
	for _, b := range [][]byte{
		appendIDMessage(kindHashAsk, ghost), appendIDMessage(kindChainAsk, ghost),
		(&hash{ID: ghost, Held: true}).append(), (&chain{ID: ghost}).append(),
		binary.AppendUvarint([]byte{byte(kindEnd)}, 9), binary.AppendUvarint([]byte{byte(kindCredit)}, 9),
		binary.AppendUvarint([]byte{byte(kindChunk)}, 9),
		(&join{Root: digest.Of([]byte("bogus")), Buckets: []uint64{1, 2}}).append(),
		(&join{}).append(),
		(&joinHave{Root: digest.Of([]byte("bogus")), Count: 4, Buckets: []Bucket{{}}, Answer: true}).append(),
		// At an equal root, but without a closed lane that could explain it.
		(&joinHave{Root: before, Count: 1, Buckets: []Bucket{{}}, Answer: true}).append(),
		{byte(kindTwin)},
		{byte(kindNeedFull)},
	} {
		if drops := s.says(b); len(drops) > 0 {
			t.Errorf("%s: %v", MessageName(b), drops)
		}
	}
	if s.h.log.Root() != before || len(s.h.state) != 5 {
		t.Fatal("something has changed")
	}
	want := []string{"hash ?:4 held=false", "chain ?:4 of 0"}
	for _, w := range want {
		if !slices.Contains(s.sent, w) {
			t.Errorf("no answer %q in %q", w, s.sent)
		}
	}
}

// A peer that names the branch of a fork and then does not answer is not waited
// for for ever.
func TestSilentProbe(t *testing.T) {
	s := newStage(t)
	s.greet()
	lane := s.h.signer.Lane
	h := have{First: true, Last: true, Heads: []clock.LaneHead{{Lane: lane, Head: clock.Head{Seq: 2, Hash: clock.Hash{1}}}}}
	s.says(h.append())
	if s.h.m.sessions[s.peer].probe == nil {
		t.Fatal("no search for the fork")
	}
	s.now += stallMillis
	s.h.m.Tick(s.now)
	if s.h.m.sessions[s.peer].probe != nil {
		t.Fatal("the search goes on")
	}
	s.says((&root{Root: digest.Of([]byte("x"))}).append())
	if s.h.m.sessions[s.peer].probe == nil {
		t.Fatal("the search is not begun again")
	}
	// A chain that is not what was asked for is a breach.
	s.sent = nil
	s.says((&hash{ID: clock.EntryID{Lane: lane, Seq: 1}, Hash: clock.Hash{2}, Held: true}).append())
	own, err := s.h.log.ChainFrom(clock.EntryID{Lane: lane, Seq: 2})
	s.must(err)
	drops := s.says((&chain{ID: clock.EntryID{Lane: lane, Seq: 1}, Chain: own}).append())
	if len(drops) != 1 || !drops[0].Penalize {
		t.Fatalf("a chain of another entry: %v", drops)
	}
}

// messages returns one good message of each kind.
func messages(s *stage) [][]byte {
	s.greet()
	o, entries := s.lack(3)
	id := clock.EntryID{Lane: s.h.signer.Lane, Seq: 2}
	own, err := s.h.log.ChainFrom(id)
	s.must(err)
	p := &oplog.Proof{Key: s.h.lane, A: own, B: own}
	return [][]byte{
		(&hello{Protocol: Protocol, Addrs: []string{"@x"}}).append(),
		(&root{Root: digest.Of([]byte("x")), Nonce: 3, Ask: true}).append(),
		(&have{First: true, Last: true, Heads: []clock.LaneHead{{Lane: id.Lane, Head: clock.Head{Seq: 2, Hash: clock.Hash{1}}}}}).append(),
		{byte(kindNeedFull)},
		{byte(kindPull), 1, 0},
		{byte(kindEnd), 1},
		{byte(kindCredit), 1},
		{byte(kindTwin)},
		s.chunk(chunkOf(o.lane, entries)),
		appendIDMessage(kindHashAsk, id), appendIDMessage(kindChainAsk, id),
		(&hash{ID: id, Held: true}).append(), (&chain{ID: id, Chain: own}).append(),
		p.Append([]byte{byte(kindProof)}), appendTexts([]byte{byte(kindAddrs)}, []string{"@y"}),
		(&join{Root: s.h.log.Root(), Buckets: []uint64{1}}).append(),
		(&joinHave{Root: s.h.log.Root(), Count: 1, Buckets: []Bucket{{Marks: []Mark{{1}}}}, Answer: true}).append(),
	}
}

// Whatever bytes a peer sends, the machine survives them, and the log holds
// only what its author signed.
func FuzzReceive(f *testing.F) {
	for _, m := range messages(newStage(f)) {
		f.Add(m, true)
		f.Add(m, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, greeted bool) {
		s := newStage(t)
		if greeted {
			s.greet()
			s.lack(3)
		}
		before := s.h.log.Vector().Clone()
		s.says(b)
		s.says(b)
		s.h.m.Tick(s.now + 60_000)
		for _, l := range before.Lanes() {
			if s.h.log.Vector().Head(l) != before.Head(l) {
				t.Fatalf("lane %v has changed", l)
			}
		}
	})
}

// Every good message, with one thing changed, is survived.
func TestMutatedMessages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := newStage(t)
	good := messages(s)
	for range 3000 {
		b := bytes.Clone(good[rng.IntN(len(good))])
		switch rng.IntN(3) {
		case 0:
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		case 1:
			b = b[:rng.IntN(len(b))]
		case 2:
			b = append(b, byte(rng.IntN(256)))
		}
		if s.says(b); s.h.m.sessions[s.peer].dropped {
			s.h.m.Closed(s.now, s.peer)
			s.peer++
			s.h.m.Opened(s.now, s.peer, "evil", "@evil", false)
			s.take()
			s.greet()
		}
	}
	for _, l := range s.h.log.Vector().Lanes() {
		if _, known := s.lanes[l]; !known {
			t.Fatalf("lane %v came from nowhere", l)
		}
	}
}

// What a machine cannot read of a gossip message costs the sender, and what it
// reads is what was written.
func TestPublished(t *testing.T) {
	s := newStage(t)
	var all []byte
	for r, err := range s.h.log.Lane(s.h.db, s.h.signer.Lane, 0) {
		s.must(err)
		e, err := r.Entry()
		s.must(err)
		e.Raw, e.Sig = bytes.Clone(e.Raw), bytes.Clone(e.Sig)
		all = AppendPublished(all, s.h.lane, e)
	}
	ps, err := ParsePublished(labSpace, all)
	if err != nil || len(ps) != 3 || ps[2].Entry.Seq != 3 || ps[0].Key != s.h.lane {
		t.Fatalf("%v, %v", ps, err)
	}
	if _, err := ParsePublished(clock.Hash{1}, all); err == nil {
		t.Error("entries of another space")
	}
	if _, err := ParsePublished(labSpace, nil); err == nil {
		t.Error("an empty message")
	}
	for i := range all {
		bad := bytes.Clone(all)
		bad[i] ^= 1
		if _, err := ParsePublished(labSpace, bad); err == nil {
			t.Fatalf("byte %d changed, and nobody sees it", i)
		}
	}
	for n := range all {
		if ps, err := ParsePublished(labSpace, all[:n]); err == nil && len(ps) == 3 {
			t.Fatalf("%d of %d bytes read as all", n, len(all))
		}
	}
}

// Messages that are put together read as all of what each reads as, compressed
// where that helps and bounded in what they become.
func TestPackPublished(t *testing.T) {
	s := newStage(t)
	s.greet()
	o, entries := s.lack(batchFrom + 1)
	var messages [][]byte
	for _, e := range entries {
		messages = append(messages, AppendPublished(nil, o.lane, e))
	}
	if one := PackPublished(messages[0]); !bytes.Equal(one, messages[0]) {
		t.Error("a small message is not sent as it is")
	}
	packed := PackPublished(messages...)
	if plain := slices.Concat(messages...); packed[0] != publishedPacked || len(packed) >= len(plain) {
		t.Errorf("%d bytes of %d", len(packed), len(plain))
	}
	ps, err := ParsePublished(labSpace, packed)
	if err != nil || len(ps) != len(entries) {
		t.Fatalf("%d entries, %v", len(ps), err)
	}
	for i := range ps {
		if ps[i].Entry.Hash != entries[i].Hash || ps[i].Key != o.lane {
			t.Errorf("entry %d is another", i)
		}
	}
	last := len(messages) - 1
	messages[last] = bytes.Clone(messages[last])
	messages[last][len(messages[last])-1] ^= 1
	if _, err := ParsePublished(labSpace, PackPublished(messages...)); !errors.Is(err, delta.ErrMalformed) {
		t.Errorf("a bad entry among good ones: %v", err)
	}
	bomb := encoder().EncodeAll(make([]byte, maxPublishedPlain+1), []byte{publishedPacked})
	if _, err := ParsePublished(labSpace, bomb); !errors.Is(err, delta.ErrMalformed) {
		t.Errorf("%d bytes of %d: %v", maxPublishedPlain+1, len(bomb), err)
	}
}

func FuzzPublished(f *testing.F) {
	s := newStage(f)
	rec, err := s.h.log.Record(s.h.db, clock.EntryID{Lane: s.h.signer.Lane, Seq: 1})
	s.must(err)
	e, err := rec.Entry()
	s.must(err)
	f.Add(AppendPublished(nil, s.h.lane, e))
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, err := ParsePublished(labSpace, b)
		if err != nil {
			return
		}
		var again []byte
		for i := range ps {
			again = AppendPublished(again, ps[i].Key, ps[i].Entry)
		}
		if qs, err := ParsePublished(labSpace, again); err != nil || len(qs) != len(ps) {
			t.Fatalf("what was read is not written again: %v", err)
		}
	})
}

func FuzzChunk(f *testing.F) {
	s := newStage(f)
	s.greet()
	o, entries := s.lack(3)
	c := appendChunk(nil, chunkOf(o.lane, entries))
	plain, err := decoder().DecodeAll(c, nil)
	s.must(err)
	f.Add(c, false)
	f.Add(plain, true)
	f.Fuzz(func(t *testing.T, b []byte, compress bool) {
		if compress {
			b = encoder().EncodeAll(b, nil)
		}
		c, err := parseChunk(b)
		if err != nil {
			return
		}
		again, err := parseChunk(appendChunk(nil, c))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(c) {
			t.Fatalf("decoding is not the inverse of encoding: %v", err)
		}
		s := newStage(t)
		c.check(s.h.log.Space(), s.h.log.Verify)
		if entries, err := c.Open(s.h.log); err == nil {
			for _, e := range entries {
				if len(e.Sig) > 0 && len(e.Sig) != ed25519.SignatureSize {
					t.Fatalf("signature of %d bytes", len(e.Sig))
				}
			}
		}
	})
}
