package anomaly

import (
	"fmt"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// wholes are the anomalies of what belongs together.
func wholes() []anomaly {
	return []anomaly{
		{
			name:  "An acknowledged write is lost",
			meets: "A write is acknowledged, the power fails, and the node comes back without it; or it comes back without what others have already seen of it, and gives its number to another write.",
			elsewhere: []source{
				{"Cassandra", "By default the commit log is synced periodically, and a write is acknowledged before that.", "https://cwiki.apache.org/confluence/display/CASSANDRA2/ArchitectureCommitLog"},
				{"ScyllaDB", "With a periodic commit log replicas acknowledge a write and may crash and lose it: what had to be durable needed a flush of its own.", "https://github.com/scylladb/scylla/pull/7619"},
			},
			verdict: no,
			here:    "What was acknowledged, and what a peer has seen, is there after a power failure, and the node goes on without a fork. That rests on the disk: one that says that it has synced, and has not, loses writes here too.",
			how:     "Nobody is told of a write, neither its caller nor a peer, before the sync that covers it has returned. After anything but a clean close a node opens a new lane.",
			fails:   "a replica acknowledges a step before it is durable.",
			test:    powerFailure,
		},
		{
			name:  "Half of a transaction",
			meets: "Several values are written in one transaction. Another node shows some of them before the others, or without them for ever.",
			elsewhere: []source{
				{"CouchDB", "Bulk updates are not transactions: replicas see some documents of one before the others.", "https://mail-archive.com/dev@couchdb.apache.org/msg02026.html"},
				{"cr-sqlite", "A transaction of which later ones have overwritten a part is synchronized without that part.", "https://vlcn.io/blog/how-crsqlite-transactions-work-today"},
				{"Corrosion", "Large transactions travel in parts, which are kept aside until all are there.", "https://github.com/superfly/corrosion/pull/1"},
			},
			verdict: no,
			here:    "Every node shows all of a transaction or nothing of it, at every moment, also while it takes over a whole state.",
			how:     "A transaction is part of one signed entry, and an entry is applied in one batch; an adopted state too. A transaction larger than an entry (1 MiB) is refused.",
			fails:   "`merge.Fold.Apply` leaves out a delta of each transaction.",
			test:    halfTransaction,
		},
		{
			name:  "Interleaving",
			meets: "Two users type at one place of a text, or both insert at the head of a list. Merged, the letters or items of the one stand among those of the other.",
			elsewhere: []source{
				{"Automerge, Yjs", "Elements that are inserted in reverse order are interleaved with those of others.", "https://github.com/automerge/automerge-classic/issues/395"},
			},
			verdict: lacking,
			here:    "There is no type for text or lists that merge. A text or a list is one value: two that were written at the same time stand side by side, each whole, and a plain read shows one. A bag has members and no order that anybody chose. A program that needs text typed by several at once needs another system for it.",
			how:     "A value is never taken apart.",
			fails:   "`merge.Fold` has a value take the place of all in its row.",
			test:    interleaving,
		},
		{
			name:  "Concurrent moves",
			meets: "Two users move one thing to two places: it is there twice. Or one moves it while the other edits it, and the edit is lost.",
			elsewhere: []source{
				{"Automerge", "There is no move. What is deleted and inserted elsewhere by two users is there twice, and changes by others are discarded.", "https://github.com/automerge/automerge/issues/352"},
			},
			verdict: yes,
			here:    "There is no move either. A thing that two users delete and write elsewhere is at both places, without a conflict being shown; an edit meanwhile stays at the old place, alone. What has to be at one place at a time is better kept as an entity that stays where it is, with its place as a value: then two moves are a conflict, which shows, and edits go with it.",
			how:     "A transaction of a deletion and a put is two deltas; nothing says that they are one thing.",
			fails:   "`delta.Kill.Hits` takes all in its scope, whatever dots it lists.",
			test:    concurrentMoves,
		},
	}
}

func powerFailure(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	const writes = 30
	for i := range writes {
		a.do(put(fmt.Sprintf("k/%d", i), "", int64(i)), inc("count", "", 1))
		switch i % 3 {
		case 0:
			a.crash()
		case 1:
			w.meet(a, b)
			a.crash()
		}
	}
	a.crash()
	w.meet(a, b)
	for i := range writes {
		w.want(fmt.Sprint(i), fmt.Sprintf("k/%d", i), "", a, b)
	}
	w.want(fmt.Sprint(writes), "count", "", a, b)
	for _, h := range []*host{a, b} {
		if n := len(h.r.Log().ClosedLanes()); n > 0 {
			t.Errorf("%s: %d lanes have forked", h.name, n)
		}
	}
}

func halfTransaction(t *testing.T) {
	w, h := newWorld(t, "a", "b", "c")
	a, b, c := h[0], h[1], h[2]
	const keys = 8
	w.delivered = func(h *host) {
		want := h.plain("k/0", "")
		for i := 1; i < keys; i++ {
			if got := h.plain(fmt.Sprintf("k/%d", i), ""); got != want {
				t.Fatalf("%s shows half of a transaction: %s and %s", h.name, want, got)
			}
		}
	}
	write := func(x any) {
		var ops []node.Op
		for i := range keys {
			ops = append(ops, put(fmt.Sprintf("k/%d", i), "", x))
		}
		a.do(ops...)
	}
	w.join(a, b)
	for i := range 20 {
		write(int64(i))
		w.tick(50)
		w.drain()
	}
	w.settle(a, b)
	w.part()
	a.forget()
	write("served as a state")
	a.forget()
	w.meet(a, b, c)
	w.want(`"served as a state"`, "k/7", "", a, b, c)
	if _, adopted := c.r.States(); adopted == 0 {
		t.Error("no state was adopted")
	}
}

func interleaving(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	a.do(put("doc", "", map[string]any{"list": []any{"x"}, "text": "x"}))
	w.meet(a, b)
	a.do(put("doc", "/list", []any{"a", "a", "x"}), put("doc", "/text", "aax"), add("doc", "/bag", "a1"), add("doc", "/bag", "a2"))
	w.tick(1000)
	b.do(put("doc", "/list", []any{"b", "b", "x"}), put("doc", "/text", "bbx"), add("doc", "/bag", "b1"))
	w.meet(a, b)
	w.wantValues([]string{`["a","a","x"]`, `["b","b","x"]`}, true, "doc", "/list", a, b)
	w.wantValues([]string{`"aax"`, `"bbx"`}, true, "doc", "/text", a, b)
	w.wantValues([]string{`"a1"`, `"a2"`, `"b1"`}, false, "doc", "/bag", a, b)
	w.want(`["b","b","x"]`, "doc", "/list", a, b)
}

func concurrentMoves(t *testing.T) {
	w, h := newWorld(t, "a", "b", "c")
	a, b, c := h[0], h[1], h[2]
	a.do(put("list/1", "/card", map[string]any{"title": "card", "note": "n"}), put("card/7", "", map[string]any{"title": "card", "in": "list/1"}))
	w.meet(a, b, c)
	move := func(h *host, to string) {
		r, _ := h.read("list/1", "/card")
		h.do(rm("list/1", "/card"), put(to, "/card", r.Value))
		h.do(put("card/7", "/in", to))
		w.tick(1000)
	}
	move(a, "list/2")
	move(b, "list/3")
	c.do(put("list/1", "/card/note", "edited"), put("card/7", "/title", "edited"))
	w.meet(a, b, c)
	for _, e := range []string{"list/2", "list/3"} {
		w.want(`{"note":"n","title":"card"}`, e, "/card", a, b, c)
	}
	w.want(`{"note":"edited"}`, "list/1", "/card", a, b, c)

	w.want(`{"in":"list/3","title":"edited"}`, "card/7", "", a, b, c)
	w.wantValues([]string{`"list/2"`, `"list/3"`}, true, "card/7", delta.Path("/in"), a, b, c)
}
