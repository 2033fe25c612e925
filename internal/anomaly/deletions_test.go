package anomaly

import (
	"fmt"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
)

// deletions are the anomalies of things that are removed.
func deletions() []anomaly {
	return []anomaly{
		{
			name:  "Resurrection after tombstone reaping",
			meets: "A node that was away while something was deleted, and while the marks of deletions were cleared away, brings the deleted thing back to all.",
			elsewhere: []source{
				{"Cassandra", "A node that is down for longer than `gc_grace_seconds` can bring deleted data back; repairs must run more often than that.", "https://cassandra.apache.org/doc/latest/cassandra/managing/operating/compaction/tombstones.html"},
				{"CouchDB", "A purge removes a document with its deletion, and is not replicated: other databases keep what they hold.", "https://docs.couchdb.org/en/latest/api/database/misc.html"},
			},
			verdict: no,
			here:    "The deletion holds, though every node that was there has dropped all of its history, for however long the other was away.",
			how:     "There are no tombstones to reap. A deletion names what it kills and leaves no row. Nodes tell each other up to where they have applied each lane: what the one has applied and does not hold was killed, and the other lets it go.",
			fails:   "`Replica.joinDead` lets live what the served state has killed.",
			test:    resurrection,
		},
		{
			name:  "Edits of a peer that was away for too long",
			meets: "A node that comes back after the others cleared their history cannot be taken in any more: what it wrote meanwhile is lost with it.",
			elsewhere: []source{
				{"Cassandra", "A node that was dead for longer than `gc_grace_seconds` should be replaced instead of being added back.", "https://www.oreilly.com/library/view/apache-cassandra-essentials/9781783989102/ch04s03.html"},
			},
			verdict: no,
			here:    "The node comes back with its edits; the others take them in, and it takes in the state of the others.",
			how:     "A peer below a floor is served the state, and joins it with its own; its own lane follows as entries.",
			fails:   "`Replica.serve` offers nothing to a peer below a floor.",
			test:    awayTooLong,
		},
		{
			name:  "Deletion of what was never seen",
			meets: "A removal on one node takes away what another node added at the same time, and the one who removed never saw.",
			elsewhere: []source{
				{"Redis Active-Active", "Sets remove only the instances that the remover has seen; an add at the same time wins.", "https://redis.io/docs/latest/operate/rs/databases/active-active/develop/data-types/sets"},
				{"ron-crdt", "In its 2-phase set a removal overrides insertions.", "https://docs.rs/ron-crdt/0.3.0/ron_crdt/crdt/struct.Set.html"},
			},
			verdict: no,
			here:    "A removal takes what its author had seen. A value that was added or put meanwhile stays, also where it is the same value.",
			how:     "A kill lists dots, or for each lane the highest dot seen: never a value, a path alone or a time.",
			fails:   "`delta.Kill.Hits` takes all in its scope, whatever dots it lists.",
			test:    unseenRemoval,
		},
		{
			name:  "Edit of what is being deleted",
			meets: "One user edits a thing while another deletes it, and the edit is gone without a word.",
			elsewhere: []source{
				{"Automerge", "A change inside an object that is deleted at the same time is not treated as a conflict, and is not seen.", "https://github.com/automerge/automerge-classic/issues/413"},
				{"Riak", "What a deletion at the same time as an update of a CRDT gives is open: tombstones do not merge with data types.", "https://github.com/basho/riak_kv/issues/1360"},
			},
			verdict: other,
			here:    "The edit lives on, and with it a document that holds the edited leaves alone: what was not edited is deleted. No conflict is listed, since nothing is hidden; who reads sees a document of which much is gone, and the log says by whom.",
			how:     "A drop kills the survivors that its author had seen, leaf by leaf; the edit is one that it had not.",
			fails:   "`delta.Kill.Hits` takes every dot of a lane for which it has a bound.",
			test:    editedWhileDeleted,
		},
		{
			name:  "A deletion that nodes disagree about",
			meets: "The same puts and deletions of one key, in another order of arrival, leave one node with an old value and another node with another.",
			elsewhere: []source{
				{"go-ds-crdt", "Put, put, delete on one replica and a put of the same key on another: equal DAGs, different values.", "https://github.com/ipfs/go-ds-crdt/issues/238"},
				{"go-ds-crdt", "Mended in 2024, with a migration that puts the values right that stores hold.", "https://github.com/ipfs/go-ds-crdt/pull/241"},
			},
			verdict: no,
			here:    "Every node shows the put that the deletion had not seen. The two that it had seen are gone everywhere, in whatever order it came.",
			how:     "The state is a function of the set of applied deltas alone; each put kills the one that it overwrites, by name.",
			fails:   "`merge.Fold` leaves what is killed in its row.",
			test:    disputedDeletion,
		},
		{
			name:  "An old tombstone takes a new key",
			meets: "A key is deleted, its tombstone cleared, and the key written anew. Then a node comes back with the old tombstone, which takes the new value.",
			elsewhere: []source{
				{"Riak", "The tombstone of a fallback node subsumed a key that was written after the tombstone was reaped; since 2.1 histories are not used twice.", "https://github.com/basho/riak_kv/pull/1094"},
			},
			verdict: no,
			here:    "The new value stays, whoever else had deleted the old one.",
			how:     "A name (lane, seq, index) is given once. What was written anew has a new one, which no earlier deletion lists.",
			fails:   "`delta.Kill.Hits` takes all in its scope, whatever dots it lists.",
			test:    oldTombstone,
		},
	}
}

func resurrection(t *testing.T) {
	w, h := newWorld(t, "a", "b", "away")
	a, b, away := h[0], h[1], h[2]
	a.do(put("doc", "", map[string]any{"title": "old", "n": int64(1)}), add("bag", "/tags", "x"), inc("count", "/n", 5))
	w.meet(a, b, away)

	a.do(rm("doc", ""), remove("bag", "/tags", "x"), rm("count", "/n"))
	w.meet(a, b)
	w.now += 400 * 24 * 3_600_000
	for _, h := range []*host{a, b} {
		h.forget()
		h.restart()
		if n := h.r.Survivors(); n != 0 {
			t.Errorf("%s keeps %d rows of what is deleted", h.name, n)
		}
	}
	w.meet(b, away, a)
	for _, e := range []string{"doc", "bag", "count"} {
		w.want(absent, e, "", a, b, away)
	}
}

func awayTooLong(t *testing.T) {
	w, h := newWorld(t, "a", "b", "away")
	a, b, away := h[0], h[1], h[2]
	a.do(put("doc", "", map[string]any{"title": "old", "n": int64(1)}))
	w.meet(a, b, away)

	a.do(put("doc", "/n", int64(2)))
	w.meet(a, b)
	w.now += 400 * 24 * 3_600_000
	a.forget()
	b.forget()
	away.do(put("doc", "/title", "written away"), put("mine", "", "kept"))
	w.meet(away, b, a)
	w.want(`{"n":2,"title":"written away"}`, "doc", "", a, b, away)
	w.want(`"kept"`, "mine", "", a, b, away)
	if _, adopted := away.r.States(); adopted == 0 {
		t.Error("the peer that was away was served entries: the history was not dropped")
	}
}

func unseenRemoval(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	a.do(add("bag", "/tags", "x"), put("key", "", "old"))
	w.meet(a, b)
	b.do(add("bag", "/tags", "x"), add("bag", "/tags", "y"), put("key", "", "new"))
	a.do(remove("bag", "/tags", "x"), rm("key", ""))
	w.want(absent, "bag", "", a)
	w.meet(a, b)
	w.wantValues([]string{`"x"`, `"y"`}, false, "bag", "/tags", a, b)
	w.want(`"new"`, "key", "", a, b)
}

func editedWhileDeleted(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	a.do(put("doc", "/title", "t"))
	b.do(put("doc", "/body", "b"))
	w.meet(a, b)
	a.do(rm("doc", ""))
	b.do(put("doc", "/body", "edited"))
	w.meet(a, b)
	w.want(`{"body":"edited"}`, "doc", "", a, b)
	w.wantValues([]string{`"edited"`}, false, "doc", "/body", a, b)
}

func disputedDeletion(t *testing.T) {
	for i := range 2 {
		w, h := newWorld(t, "r0", "r1", "r2")
		r0, r1, r2 := h[0], h[1], h[2]
		r0.do(put("k", "", "r0-1"))
		r0.do(put("k", "", "r0-2"))
		r0.do(rm("k", ""))
		r1.do(put("k", "", "r1-1"))
		if i == 0 {
			w.meet(r0, r2)
			w.meet(r2, r1)
		} else {
			w.meet(r1, r2)
			w.meet(r2, r0)
		}
		w.meet(r0, r1, r2)
		w.want(`"r1-1"`, "k", "", r0, r1, r2)
		w.wantValues([]string{`"r1-1"`}, false, "k", "", r0, r1, r2)
	}
}

func oldTombstone(t *testing.T) {
	w, h := newWorld(t, "a", "b", "away")
	a, b, away := h[0], h[1], h[2]
	for i := range 3 {
		a.do(put("doc", delta.Path(fmt.Sprintf("/%d", i)), "old"))
	}
	w.meet(a, b, away)
	away.do(rm("doc", "")) // and leaves with it
	a.do(rm("doc", ""))
	w.meet(a, b)
	a.forget()
	b.forget()
	a.do(put("doc", "/1", "new"))
	w.meet(a, b)
	w.meet(away, a, b)
	w.want(`{"1":"new"}`, "doc", "", a, b, away)
}
