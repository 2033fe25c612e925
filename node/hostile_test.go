package node

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/gossip"
)

// stateMessage takes a message about a state apart: what is in front of its
// payload, and that.
func stateMessage(m []byte) (head, payload []byte, ok bool) {
	if gossip.MessageName(m) != "state" {
		return nil, nil, false
	}
	_, n := binary.Uvarint(m[1:])
	return m[:2+n], m[2+n:], true
}

// twist lets a server's messages of a kind be changed.
func (w *world) twist(server *host, kind byte, change func(payload []byte) [][]byte) {
	w.tamper = func(from, _ *host, m []byte) [][]byte {
		head, payload, ok := stateMessage(m)
		if !ok || from != server || payload[0] != kind {
			return [][]byte{m}
		}
		var out [][]byte
		for _, p := range change(bytes.Clone(payload)) {
			out = append(out, append(bytes.Clone(head), p...))
		}
		return out
	}
}

// rows returns what changes the rows of a page of the server.
func (w *world) rows(server *host, change func([]compaction.Row) []compaction.Row) func(payload []byte) [][]byte {
	lanes := server.r.log.Vector().Lanes()
	return func(p []byte) [][]byte {
		plain, err := gossip.Decompress(p[2:], maxPageBytes)
		w.must(err)
		all, err := compaction.ParseRows(plain, lanes)
		w.must(err)
		var page []byte
		for _, r := range change(all) {
			page = compaction.AppendRow(page, r.Key, r.Lane, &r.Survivor)
		}
		return [][]byte{append(p[:2:2], gossip.Compress(page)...)}
	}
}

// ahead returns a lane of an offer in which the server has more.
func ahead(o *compaction.Offer) *compaction.OfferLane {
	i := slices.IndexFunc(o.Lanes, func(l compaction.OfferLane) bool { return l.Ahead })
	return &o.Lanes[i]
}

// A server that lies about its state, or says what nobody asked for, costs
// itself: nothing of it is adopted, what this side holds stays, and from another
// server, or the same one when it is honest again, everything comes.
func TestLyingServer(t *testing.T) {
	rows := func(change func(rows []compaction.Row) []compaction.Row) func(*world, *host) func([]byte) [][]byte {
		return func(w *world, server *host) func([]byte) [][]byte { return w.rows(server, change) }
	}
	offer := func(change func(o *compaction.Offer)) func(*world, *host) func([]byte) [][]byte {
		return func(w *world, _ *host) func([]byte) [][]byte {
			return func(p []byte) [][]byte {
				o, err := compaction.ParseOffer(worldSpace, p[1:])
				w.must(err)
				change(&o)
				return compaction.AppendOffers(&o)
			}
		}
	}
	for name, c := range map[string]struct {
		kind    byte
		change  func(*world, *host) func([]byte) [][]byte
		dropped bool // for a breach of protocol
		alarm   bool
	}{
		"a vector that nobody signed": {compaction.MsgOffer, offer(func(o *compaction.Offer) {
			l := ahead(o)
			l.Head.Seq++
			l.Signed.Seq++
		}), true, false},
		"a head of its own making": {compaction.MsgOffer, offer(func(o *compaction.Offer) { ahead(o).Head.Hash[0]++ }), true, false},
		"a signature that is none": {compaction.MsgOffer, offer(func(o *compaction.Offer) { ahead(o).Signed.Sig[3]++ }), true, false},
		"another digest":           {compaction.MsgOffer, offer(func(o *compaction.Offer) { o.Digest[0]++ }), false, true},
		"a tip that is no head":    {compaction.MsgOffer, offer(func(o *compaction.Offer) { o.Tips[0].Seq += 7 }), true, false},
		"a row left out": {compaction.MsgRows, rows(func(r []compaction.Row) []compaction.Row {
			return r[:max(len(r)-1, 0)]
		}), false, true},
		"another value": {compaction.MsgRows, rows(func(r []compaction.Row) []compaction.Row {
			for i := range r {
				r[i].Time++
			}
			return r
		}), false, true},
		"a row twice": {compaction.MsgRows, rows(func(r []compaction.Row) []compaction.Row {
			return append(r, r...)
		}), true, false},
		"rows out of order": {compaction.MsgRows, rows(func(r []compaction.Row) []compaction.Row {
			slices.Reverse(r)
			return r
		}), true, false},
		"a page twice": {compaction.MsgRows, func(*world, *host) func([]byte) [][]byte {
			return func(p []byte) [][]byte { return [][]byte{p, p} }
		}, true, false},
		"a page of nonsense": {compaction.MsgRows, func(*world, *host) func([]byte) [][]byte {
			return func(p []byte) [][]byte { return [][]byte{append(p[:2:2], "nonsense"...)} }
		}, true, false},
		"dead rows nobody asked for": {compaction.MsgOffer, func(*world, *host) func([]byte) [][]byte {
			return func(p []byte) [][]byte {
				return [][]byte{p, append([]byte{compaction.MsgDead, 1}, gossip.Compress(nil)...)}
			}
		}, true, false},
		"sums nobody asked for": {compaction.MsgOffer, func(*world, *host) func([]byte) [][]byte {
			return func(p []byte) [][]byte { return append([][]byte{p}, compaction.SumsPages(nil)...) }
		}, true, false},
		"a list nobody asked for": {compaction.MsgOffer, func(*world, *host) func([]byte) [][]byte {
			return func(p []byte) [][]byte { return append([][]byte{p}, compaction.ListPages(nil)...) }
		}, true, false},
		"a kind that is none": {compaction.MsgOffer, func(*world, *host) func([]byte) [][]byte {
			return func(p []byte) [][]byte { return [][]byte{p, {99}} }
		}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			w.honest = false
			server, client := w.add("server"), w.add("client")
			for range 12 {
				w.randomWrite(server)
			}
			server.put("last", "", "value")
			client.put("own", "", "edit")
			w.topic = nil
			w.drop(server)
			before := client.r.Digest()
			w.twist(server, c.kind, c.change(w, server))
			w.connect(client, server)
			w.drain()
			if _, n := client.r.States(); n != 0 || client.r.Digest() != before {
				w.fatalf("the client has adopted something")
			}
			penal := slices.ContainsFunc(client.drops, func(d gossip.Drop) bool { return d.Penalize })
			if penal != c.dropped || slices.Contains(client.alarms, "state") != c.alarm {
				w.fatalf("drops %v, alarms %v", client.drops, client.alarms)
			}
			w.tamper = nil
			w.connect(client, server)
			w.settle(settleMillis)
			if client.value("own", "") != `"edit"` || client.value("last", "") != `"value"` {
				w.fatalf("something is lost")
			}
			client.check()
		})
	}
}

// A client that asks for what it may not costs itself too.
func TestLyingClient(t *testing.T) {
	for name, payload := range map[string][]byte{
		"sums of lanes that are none": compaction.AppendAsk(compaction.MsgAskSums, 3, []compaction.Stretch{{Lane: 99, Shift: 3, K: 1}}),
		"rows of lanes that are none": compaction.AppendAskRows(compaction.NewSet([]compaction.Interval{{Lane: 99, UpTo: 5}})),
		"credit for nothing":          {compaction.MsgCredit},
		"a kind that is none":         {77},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 4)
			w.honest = false
			server, client := w.add("server"), w.add("client")
			server.put("e", "", "value")
			server.put("e", "/x", "value")
			client.put("own", "", "edit") // so that it compares before it asks for rows
			w.topic = nil
			w.drop(server)
			sent := false
			w.tamper = func(from, _ *host, m []byte) [][]byte {
				head, _, ok := stateMessage(m)
				if !ok || from != client || sent {
					return [][]byte{m}
				}
				sent = true
				return [][]byte{append(bytes.Clone(head), payload...)}
			}
			w.connect(client, server)
			w.drain()
			if !sent || !slices.ContainsFunc(server.drops, func(d gossip.Drop) bool { return d.Penalize }) || len(server.r.serving) > 0 {
				w.fatalf("sent %v, drops %v, %d served", sent, server.drops, len(server.r.serving))
			}
		})
	}
}

// A server serves so many at once, lets go of those that say nothing, and of
// those whose session ends.
func TestServedStates(t *testing.T) {
	w := newWorld(t, 5)
	server := w.add("server")
	for range 20 {
		w.randomWrite(server)
	}
	w.topic = nil
	w.drop(server)
	w.tamper = func(from, to *host, m []byte) [][]byte {
		if _, _, ok := stateMessage(m); ok && to == server {
			return nil // clients ask and say nothing more
		}
		return [][]byte{m}
	}
	var clients []*host
	for i := range maxServed + 2 {
		c := w.add("client" + string(rune('0'+i)))
		clients = append(clients, c)
		w.connect(c, server)
	}
	w.drain()
	if n := len(server.r.serving); n != maxServed {
		t.Errorf("%d states are served at once", n)
	}
	var served *host
	for _, c := range clients {
		if l := w.linked(c, server); l != nil && served == nil && server.r.serving[l.ids[1]] != nil {
			served = c
		}
	}
	w.disconnect(w.linked(served, server))
	if n := len(server.r.serving); n != maxServed-1 {
		t.Errorf("%d after a session ended", n)
	}
	w.now += servedMillis + 1
	server.did(server.r.Tick(server.now()))
	if n := len(server.r.serving); n != 0 {
		t.Errorf("%d after a long silence", n)
	}
	w.tamper = nil
	w.heal()
	w.settle(settleMillis)
}
