package node

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// What the newest time below the horizon is, is as durable as the truncation: reads by
// time are refused below it, also after a restart.
func TestPastSurvivesRestart(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.put("k", "", int64(1))
	w.now += 1000
	between := w.now
	w.now += 1000
	a.put("k", "", int64(2))
	w.now += 1000
	w.drop(a)
	look := func(when string) {
		n := a.still()
		m := n.pin()
		defer m.close()
		_, err := m.cutAt(t.Context(), time.UnixMilli(between).UTC().Format(time.RFC3339Nano))
		if err == nil {
			t.Errorf("%s: a read below the horizon is not refused: k=%s", when, a.value("k", ""))
		}
	}
	look("before")
	w.restart(a)
	look("after reopening")
}

// A lane that stands twice in an offer is a breach, and the repo opens again.
func TestOfferWithALaneTwice(t *testing.T) {
	w := newWorld(t, 3)
	w.honest = false
	server, client := w.add("server"), w.add("client")
	for range 3 {
		server.put("x", "", "value")
	}
	lane := server.r.signer.Lane
	early, _ := server.r.log.SignedHead(lane)
	earlyHead := server.r.log.Vector().Head(lane)
	for range 5 {
		server.put("last", "", "value")
	}
	client.put("own", "", "edit")
	client.put("own2", "", "edit")
	w.topic = nil
	w.drop(server)
	w.twist(server, compaction.MsgOffer, func(p []byte) [][]byte {
		o, err := compaction.ParseOffer(worldSpace, p[1:])
		w.must(err)
		l := ahead(&o)
		first := *l
		first.Head = earlyHead
		first.Signed = early
		o.Lanes = slices.Insert(o.Lanes, 0, first)
		return compaction.AppendOffers(&o)
	})
	w.connect(client, server)
	w.drain()
	if _, n := client.r.States(); n > 0 || len(client.drops) == 0 {
		t.Errorf("adopted %d, alarms %v, drops %v", n, client.alarms, client.drops)
	}
	client.restarted()
}

// A server that goes on sending nothing does not hold the one pull for ever.
func TestEndlessServer(t *testing.T) {
	w := newWorld(t, 3)
	w.honest = false
	server, client, other := w.add("server"), w.add("client"), w.add("other")
	server.put("x", "", "value")
	w.topic = nil
	w.drop(server)
	client.put("own", "", "edit")
	w.topic = nil
	var head []byte
	w.tamper = func(from, to *host, m []byte) [][]byte {
		h, p, ok := stateMessage(m)
		if ok && from == server && to == client && p[0] == compaction.MsgSums {
			head = bytes.Clone(h)
			return nil
		}
		return [][]byte{m}
	}
	w.connect(client, server)
	w.drain()
	if head == nil {
		t.Fatal("no sums")
	}
	other.put("from-other", "", "value")
	w.topic = nil
	w.connect(client, other)
	empty := append(bytes.Clone(head), compaction.MsgSums, 0, 0)
	began := w.now
	for w.now < began+30*60_000 {
		l := w.linked(client, server)
		if l == nil {
			break
		}
		side := 0
		if l.ends[1] == client {
			side = 1
		}
		if (w.now-began)%30_000 == 0 {
			l.queue[side] = append(l.queue[side], bytes.Clone(empty))
		}
		w.now += 1000 - 50
		w.tick()
		w.drain()
	}
	_, _, err := client.r.Checkpoint(client.now(), CompactRequest{})
	if client.r.adopting() {
		t.Errorf("after %d s: adopting %v, from-other=%s, compaction: %v, drops %v", (w.now-began)/1000, client.r.adopting(), client.value("from-other", ""), err, client.drops)
	}
}

// A lane that is closed between the record of a compaction and its truncation is
// dropped as far as it goes now: what is held is in the order.
func TestClosingBeforeTruncation(t *testing.T) {
	w := newWorld(t, 5)
	w.honest = false
	w.calm = true
	a := w.add("a")
	for i := range 4 {
		a.put("k", delta.Path("/"+string(rune('a'+i))), int64(i))
	}
	b := w.clone(a, "b") // same author, same lane
	w.split(a, b)
	lane := a.r.signer.Lane
	srv := w.add("srv")
	w.connect(srv, a)
	a.put("k", "/a5", int64(5))
	a.put("k", "/a6", int64(6))
	w.settleSome(srv, a)
	w.split(srv, a)
	srv.put("s", "", "srv")
	b.put("k", "/b5", int64(5))
	s, _, err := srv.r.Checkpoint(srv.now(), CompactRequest{Force: true})
	srv.did(s, err)
	srv.flush()
	w.topic = nil
	clear(w.cut)
	w.connect(srv, b) // the proof arrives, and no tick that would truncate
	w.drain()
	if at, closed := srv.r.log.ClosedAt(lane); !closed || at != 5 || srv.r.undone == nil {
		t.Fatalf("closed %v at %d, undone %v", closed, at, srv.r.undone != nil)
	}
	srv.did(srv.r.Truncate(srv.now()))
	srv.flush()
	n := 0
	for _, err := range srv.r.log.InOrder(srv.r.db, 0) {
		w.must(err)
		n++
	}
	if uint64(n) != srv.r.log.Entries() {
		t.Errorf("%d entries are held, %d are in the order", srv.r.log.Entries(), n)
	}
	if rep, err := srv.still().Verify(t.Context(), nil); err != nil || len(rep.Problems) > 0 {
		t.Errorf("verify: %q, %v", rep.Problems, err)
	}
}

// A peer that lacks such a lane is still served.
func TestClosingBeforeTruncationServed(t *testing.T) {
	w := newWorld(t, 5)
	w.calm = true
	srv, p := w.add("srv"), w.add("peer")
	srv.put("s", "", "srv")
	w.connect(srv, p)
	w.settleSome(srv, p)
	w.split(srv, p)
	a := w.add("a")
	for i := range 4 {
		a.put("k", delta.Path("/"+string(rune('a'+i))), int64(i))
	}
	b := w.clone(a, "b")
	w.split(a, b)
	w.split(a, p)
	w.split(b, p)
	w.topic = nil
	w.connect(srv, a)
	a.put("k", "/a5", int64(5))
	a.put("k", "/a6", int64(6))
	w.settleSome(srv, a)
	w.split(srv, a)
	b.put("k", "/b5", int64(5))
	s, _, err := srv.r.Checkpoint(srv.now(), CompactRequest{Force: true})
	srv.did(s, err)
	srv.flush()
	w.topic = nil
	w.connect(srv, b)
	w.drain()
	srv.did(srv.r.Truncate(srv.now()))
	srv.flush()
	w.split(srv, b)
	clear(w.cut)
	w.topic = nil
	w.connect(srv, p)
	end := w.now + 600_000
	for ; w.now < end && srv.r.log.Root() != p.r.log.Root(); w.tick() {
		w.drain()
	}
	if srv.r.log.Root() != p.r.log.Root() {
		t.Errorf("%d s: equal %v\n%s", 600, srv.r.log.Root() == p.r.log.Root(), w.describe())
	}
}

// What a liar staged is not in the state that an honest server serves.
func TestStagedLies(t *testing.T) {
	w := newWorld(t, 3)
	w.honest = false
	liar, honest, client := w.add("liar"), w.add("honest"), w.add("client")
	w.split(client, liar)
	w.split(client, honest)
	for range 5 {
		liar.put("x", "/p", "value")
	}
	w.connect(liar, honest)
	w.settleSome(liar, honest)
	w.split(liar, honest)
	client.put("own", "", "edit")
	w.topic = nil
	w.drop(liar)
	w.drop(honest)
	w.twist(liar, compaction.MsgRows, w.rows(liar, func(all []compaction.Row) []compaction.Row {
		for i := range all {
			r := &all[i]
			d := delta.Delta{Entity: "evil", Path: "/z", Verb: r.Verb, Value: r.Value}
			r.Key = merge.AppendKey(nil, "evil", "/z", delta.TagOf(r.Dot.Lane, r.Creator, &d))
		}
		return all
	}))
	clear(w.cut)
	w.split(liar, honest)
	w.split(client, honest)
	w.connect(client, liar)
	w.drain()
	delete(w.cut, w.pair(client, honest))
	if _, n := client.r.States(); n > 0 || !slices.Contains(client.alarms, "state") {
		t.Errorf("adopted from the liar: %d, alarms %v", n, client.alarms)
	}
	if l := w.linked(client, liar); l != nil {
		w.disconnect(l)
	}
	w.tamper = nil
	w.split(client, liar)
	w.connect(client, honest)
	w.settleSome(client, honest)
	if client.value("evil", "") != "-" || client.value("x", "") != honest.value("x", "") {
		t.Errorf("evil=%s x=%s", client.value("evil", ""), client.value("x", ""))
	}
}

// A staged row of an offer that came to nothing does not replace one that came as
// an entry meanwhile.
func TestStaleStagedRows(t *testing.T) {
	w := newWorld(t, 3)
	w.honest = false
	liar, honest, client := w.add("liar"), w.add("honest"), w.add("client")
	w.split(client, liar)
	w.split(client, honest)
	for range 5 {
		liar.put("x", "/p", "value")
	}
	w.connect(liar, honest)
	w.settleSome(liar, honest)
	w.split(liar, honest)
	client.put("own", "", "edit")
	w.topic = nil
	w.drop(liar)
	w.twist(liar, compaction.MsgRows, w.rows(liar, func(all []compaction.Row) []compaction.Row {
		for i := range all {
			r := &all[i]
			mine := r.Sum(r.Key)
			for n := int64(0); ; n++ {
				r.Value = delta.Int(n)
				if sumLess(mine, r.Sum(r.Key)) {
					break
				}
			}
		}
		return all
	}))
	clear(w.cut)
	w.split(liar, honest)
	w.split(client, honest)
	w.connect(client, liar)
	w.drain()
	delete(w.cut, w.pair(client, honest))
	w.disconnect(w.linked(client, liar))
	w.tamper = nil
	w.split(client, liar)
	w.connect(client, honest) // by entries
	w.settleSome(client, honest)
	w.disconnect(w.linked(client, honest))
	w.split(client, honest)
	honest.put("later", "", "v")
	w.topic = nil
	w.drop(honest)
	clear(w.cut)
	w.connect(client, honest)
	w.settleSome(client, honest)
	if client.value("x", "") != honest.value("x", "") {
		t.Errorf("x=%s, and %s at the honest server", client.value("x", ""), honest.value("x", ""))
	}
}

// A client puts one question at a time, whatever it sends.
func TestGreedyClient(t *testing.T) {
	w := newWorld(t, 3)
	w.honest = false
	server, client := w.add("server"), w.add("client")
	for i := range 200 {
		server.put("x", delta.Path("/"+string(rune('a'+i%26))+string(rune('a'+i/26))), "value")
	}
	w.topic = nil
	w.drop(server)
	client.put("own", "", "edit")
	w.topic = nil
	sent := false
	w.tamper = func(from, _ *host, m []byte) [][]byte {
		head, _, ok := stateMessage(m)
		if !ok || from != client || sent {
			return [][]byte{m}
		}
		sent = true
		var out [][]byte
		for range 1000 {
			out = append(out, append(bytes.Clone(head), compaction.AppendAsk(compaction.MsgAskSums, 0, nil)...))
		}
		return out
	}
	w.connect(client, server)
	most := 0
	for range 20 {
		for _, l := range slices.Clone(w.links) {
			for side := range l.queue {
				for l.open && len(l.queue[side]) > 0 {
					w.deliver(l, side)
					most = max(most, len(server.jobs))
				}
			}
		}
		for len(client.jobs) > 0 {
			client.finish()
		}
		for _, h := range w.hosts {
			h.flush()
		}
	}
	if most > 8 {
		t.Errorf("jobs that a server runs at once for one client: %d, drops %v", most, server.drops)
	}
}

// Lanes of an offer are not remembered before their signatures are verified.
func TestInventedLanes(t *testing.T) {
	w := newWorld(t, 3)
	w.honest = false
	server, client := w.add("server"), w.add("client")
	server.put("x", "", "value")
	client.put("own", "", "edit")
	w.topic = nil
	w.drop(server)
	const many = 5000
	w.twist(server, compaction.MsgOffer, func(p []byte) [][]byte {
		o, err := compaction.ParseOffer(worldSpace, p[1:])
		w.must(err)
		v := server.r.log.Vector().Clone()
		for i := range many {
			var k delta.LaneKey
			k.Author[3] = 77
			k.Incarnation[0], k.Incarnation[1] = byte(i), byte(i>>8)
			l := compaction.OfferLane{ID: k.ID(worldSpace), Ahead: true}
			l.Key = k
			l.Signed.Header = delta.Header{Space: worldSpace, Lane: l.ID, Seq: 1}
			l.Signed.Sig = make([]byte, delta.SigSize)
			l.Head = clock.Head{Seq: 1, Hash: delta.HashHeader(&l.Signed.Header)}
			v.Set(l.ID, l.Head)
			o.Lanes = append(o.Lanes, l)
		}
		slices.SortFunc(o.Lanes, func(a, b compaction.OfferLane) int { return a.ID.Compare(b.ID) })
		o.Root = v.Root()
		return compaction.AppendOffers(&o)
	})
	w.connect(client, server)
	w.drain()
	n := uint32(0)
	for {
		if _, ok := client.r.log.Lanes.Lane(n + 1); !ok {
			break
		}
		n++
	}
	client.restarted()
	m := uint32(0)
	for {
		if _, ok := client.r.log.Lanes.Lane(m + 1); !ok {
			break
		}
		m++
	}
	if n > 10 {
		t.Errorf("the client knows %d lanes, %d after reopening; drops %v", n, m, client.drops)
	}
}

// A server does not replace a row whose signed entry is held.
func TestReplacedRow(t *testing.T) {
	w := newWorld(t, 3)
	w.honest = false
	server, client := w.add("server"), w.add("client")
	w.connect(server, client)
	client.put("own", "", "mine")
	w.settleSome(server, client)
	w.split(server, client)
	var k []byte
	var s merge.Survivor
	w.must(server.r.state.Rows(nil, func(key []byte, row []merge.Survivor) error {
		k, s = bytes.Clone(key), row[0]
		return nil
	}))
	mine := s.Sum(k)
	dot := s.Dot
	for n := int64(0); ; n++ {
		s.Value = delta.Int(n)
		if sumLess(mine, s.Sum(k)) {
			break
		}
	}
	server.r.begin(server.now())
	w.must(server.r.fold.Remove(k, func(d clock.Dot) bool { return d == dot }))
	w.must(server.r.fold.Insert(k, s))
	st, err := server.r.end()
	server.did(st, err)
	server.flush()
	server.put("more", "", "x")
	w.topic = nil
	w.drop(server)
	clear(w.cut)
	w.connect(server, client)
	w.drain()
	_, n := client.r.States()
	if client.value("own", "") != `"mine"` {
		t.Errorf("adopted %d; own=%s; floor of own lane %d; alarms %v", n, client.value("own", ""), client.r.log.Floor(dot.Lane), client.alarms)
	}
}

// The time that a server offers does not end reads by time.
func TestOfferedTime(t *testing.T) {
	w := newWorld(t, 3)
	w.honest = false
	server, client := w.add("server"), w.add("client")
	server.put("x", "", "value")
	client.put("own", "", "edit")
	w.topic = nil
	w.drop(server)
	w.twist(server, compaction.MsgOffer, func(p []byte) [][]byte {
		o, err := compaction.ParseOffer(worldSpace, p[1:])
		w.must(err)
		o.Time = clock.MaxTimestamp
		return compaction.AppendOffers(&o)
	})
	w.connect(client, server)
	w.drain()
	_, n := client.r.States()
	if client.r.state.past.Millis() > w.now+1000_000 {
		t.Errorf("adopted %d, past %v", n, client.r.state.past.Time())
	}
}

// A wall clock that was ahead and is set back holds up no compaction.
func TestClockSetBack(t *testing.T) {
	w := newWorld(t, 3)
	a := w.add("a")
	a.r.cfg.Retention = compaction.Policy{Mode: compaction.Minimal}
	a.skew = 365 * 24 * 3600_000
	w.tick()
	a.skew = 0
	a.put("x", "", int64(1))
	for range 3000 {
		w.now += 59_950
		w.tick()
	}
	if a.r.log.Entries() > 0 {
		t.Errorf("after 2 days: %d raw entries, floors %v", a.r.log.Entries(), a.r.log.Floors())
	}
}

// A comparison at a node that has failed ends at once.
func TestDiffOfFailedNode(t *testing.T) {
	b := newBench(t)
	b.put("k", "", int64(1))
	b.fail(errors.New("test"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	_, err := b.Diff(ctx, "peer")
	if time.Since(began) > time.Second {
		t.Errorf("diff on a failed node: %v after %v", err, time.Since(began))
	}
}
