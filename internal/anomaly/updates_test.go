package anomaly

import (
	"errors"
	"testing"

	"github.com/rhizome-p2p/rhizome/node"
)

// updates are the anomalies of values that are written by several.
func updates() []anomaly {
	return []anomaly{
		{
			name:  "Lost concurrent update",
			meets: "Two nodes write one value without having seen each other. One of the two writes is thrown away, and nothing says so.",
			elsewhere: []source{
				{"Redis Active-Active", "Strings are resolved by last write wins, by the time of the operating system.", "https://redis.io/docs/latest/operate/rs/databases/active-active/develop/data-types/strings"},
				{"go-ds-crdt", "The value of a key is the one of highest priority, which is its height in the DAG.", "https://github.com/ipfs/go-ds-crdt"},
				{"CouchDB", "Both revisions are kept on both sides; a read shows one of them, and the others if asked.", "https://docs.couchdb.org/en/3.5.1/_sources/replication/conflicts.rst.txt"},
			},
			verdict: shown,
			here:    "Both values live on. A plain read shows one, the same on every node, and lists the path as a conflict; a lossless read shows both, with author and time. Whoever has seen both settles it by writing. A program that takes plain values and never looks at the conflicts loses one of them when it writes.",
			how:     "A put kills the dots that its author saw. Two puts that have not seen each other kill nothing of each other.",
			fails:   "`delta.Kill.Hits` takes every dot of a lane for which it has a bound.",
			test:    concurrentUpdate,
		},
		{
			name:  "Lost update between two clients of a node",
			meets: "Two clients read a value, both change it, and both write it back: the second overwrites what the first has done.",
			elsewhere: []source{
				{"Cassandra", "Plain writes and conditional ones on one row have clocks of their own: a conditional update can be reported done and not be there.", "https://icircuit.net/cassandra-mixing-regular-writes-with-lwt-writes/3228"},
			},
			verdict: yes,
			here:    "So it is for plain writes: the second client's write comes after the first one and overwrites it, and the overwritten value is in the history alone. With `If-Match` the second write is refused, whatever it is mixed with. That holds for the clients of one node; between nodes both values live on.",
			how:     "A node commits in one order. An ETag is that of the survivors of a key, and is looked at in the same step as the write.",
			fails:   "`checkMatch` accepts every ETag.",
			test:    lostUpdate,
		},
		{
			name:  "Update lost in a document that is replaced",
			meets: "One user changes a field while another saves the whole document, with the old value of that field. The change is lost, and no conflict is shown.",
			elsewhere: []source{
				{"Automerge", "Assigning a new object drops changes that others make in the old one, and `getConflicts` does not tell.", "https://github.com/automerge/automerge-classic/issues/485"},
			},
			verdict: shown,
			here:    "A put of a document writes its leaves. Where both wrote a leaf, both values live on and the path is a conflict, also where one of them did not change it. A put as one value (`whole`) at the same time as one inside it leaves both alive too: the newer is shown, and the conflict is listed.",
			how:     "Objects are merged leaf by leaf; a value and members below it that are concurrent are kept and reported.",
			fails:   "the fold of a reading lists no conflict where a value hides members.",
			test:    replacedDocument,
		},
		{
			name:  "One key, two shapes",
			meets: "One node makes a key an object and fills it, another makes it a list or a text. All that was put into one of the two is lost.",
			elsewhere: []source{
				{"Redis Active-Active", "JSON: the instance with the smaller id wins, and the array of the other with what was added to it is gone.", "https://github.com/redis/docs/pull/2080.diff"},
			},
			verdict: shown,
			here:    "Both live on, each with all that was put into it. A plain read shows the newer, and lists the path as a conflict.",
			how:     "Each leaf is a row of its own; which shape is shown is decided at reading.",
			fails:   "the fold of a reading shows what stands at the path itself, whatever is newer below it.",
			test:    twoShapes,
		},
		{
			name:  "The same initial content twice",
			meets: "Two nodes fill a new document from the same template before they meet; merged, it holds everything twice.",
			elsewhere: []source{
				{"Yjs", "Documents made anew from the same text have different histories: merged, the content stands there twice.", "https://github.com/suitenumerique/docs/issues/2580"},
			},
			verdict: other,
			here:    "Values that are put read as one, without a conflict, and so do members of a bag. A counter is another matter: an initial amount that two nodes have added counts twice, as two amounts of any other origin do.",
			how:     "Equal values hide nothing of each other. An increment says what was added, not what the sum is.",
			fails:   "the resolver of bags does not drop equal values.",
			test:    twiceInitial,
		},
	}
}

func concurrentUpdate(t *testing.T) {
	w, h := newWorld(t, "a", "b", "c")
	a, b, c := h[0], h[1], h[2]
	a.do(put("k", "/v", "first"))
	w.meet(a, b, c)
	w.tick(1000)
	a.do(put("k", "/v", "of a"))
	w.tick(1000)
	b.do(put("k", "/v", "of b"))
	w.meet(b, c)
	w.meet(c, a)
	w.meet(a, b, c)
	w.want(`"of b"`, "k", "/v", a, b, c)
	w.wantValues([]string{`"of a"`, `"of b"`}, true, "k", "/v", a, b, c)

	c.do(put("k", "/v", "settled"))
	w.meet(c, b, a)
	w.wantValues([]string{`"settled"`}, false, "k", "/v", a, b, c)
}

func lostUpdate(t *testing.T) {
	w, h := newWorld(t, "a")
	a := h[0]
	write := func(n int64, upon string) (etag string, err error) {
		op := put("k", "", n)
		op.IfMatch, op.WantETag = upon, true
		r, err := a.try(op)
		if err == nil {
			etag = r.ETags[0]
		}
		return etag, err
	}
	read, err := write(1, "")
	w.must(err)
	a.do(put("k", "", int64(2))) // the first client
	a.do(put("k", "", int64(3))) // the second, which read 1
	w.wantValues([]string{"3"}, false, "k", "", a)

	if _, err := write(4, read); !errors.Is(err, node.ErrPrecondition) {
		t.Errorf("a write upon a value that is no longer there: %v", err)
	}
	read, err = write(5, "*")
	w.must(err)
	if _, err := write(6, read); err != nil {
		t.Errorf("a write upon what is there: %v", err)
	}
	w.wantValues([]string{"6"}, false, "k", "", a)
}

func replacedDocument(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	for _, e := range []string{"leaves", "whole"} {
		a.do(put(e, "/data", map[string]any{"a": int64(1), "b": int64(2)}))
	}
	w.meet(a, b)
	a.do(put("leaves", "/data/a", int64(3)), put("whole", "/data/a", int64(3)))
	w.tick(1000)
	b.do(put("leaves", "/data", map[string]any{"a": int64(1), "b": int64(4)}))
	op := put("whole", "/data", map[string]any{"a": int64(1), "b": int64(4)})
	op.Whole = true
	b.do(op)
	w.meet(a, b)
	w.wantValues([]string{"1", "3"}, true, "leaves", "/data/a", a, b)
	w.wantValues([]string{"4"}, false, "leaves", "/data/b", a, b)
	w.want(`{"a":1,"b":4}`, "whole", "/data", a, b)
	w.wantValues([]string{`{"a":1,"b":4}`}, true, "whole", "/data", a, b)
	w.wantValues([]string{"3"}, false, "whole", "/data/a", a, b)
}

func twoShapes(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	a.do(put("doc", "/a", []any{"z"}))
	w.tick(1000)
	b.do(put("doc", "/a", map[string]any{"x": "y"}))
	w.meet(a, b)
	w.want(`{"a":{"x":"y"}}`, "doc", "", a, b)
	w.wantValues([]string{`["z"]`}, true, "doc", "/a", a, b)
	w.wantValues([]string{`"y"`}, false, "doc", "/a/x", a, b)
}

func twiceInitial(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	for _, h := range []*host{a, b} {
		h.do(put("doc", "", map[string]any{"title": "new", "parts": []any{"one", "two"}}), add("doc", "/tags", "draft"), inc("doc", "/n", 10))
		w.tick(1000)
	}
	w.meet(a, b)
	w.want(`{"n":20,"parts":["one","two"],"tags":["draft"],"title":"new"}`, "doc", "", a, b)
	for _, h := range []*host{a, b} {
		if r, _ := h.read("doc", ""); len(r.Conflicts) > 0 {
			t.Errorf("%s shows the conflicts %q", h.name, r.Conflicts)
		}
	}
}
