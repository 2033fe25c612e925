package anomaly

import (
	"fmt"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
)

const (
	hourMillis = 3_600_000
	yearMillis = 365 * 24 * hourMillis
)

// clocks are the anomalies of time.
func clocks() []anomaly {
	return []anomaly{
		{
			name:  "Clock-skew loss",
			meets: "A node whose clock is behind overwrites a value that it has read, and the write vanishes: the old value has the later time.",
			elsewhere: []source{
				{"ScyllaDB", "One node without time synchronization dated updates in the past; they were acknowledged by a quorum and dropped in silence.", "https://mehedees.dev/posts/debugging-silent-update-failures-in-scylla"},
				{"Cassandra", "The larger timestamp wins, whichever write came first: a skewed clock loses writes and brings deleted rows back, without an error.", "https://www.netdata.cloud/guides/cassandra/cassandra-clock-skew-data-corruption/"},
			},
			verdict: no,
			here:    "Whoever has seen a value overwrites or deletes it, whatever the clocks say.",
			how:     "A write names what it overwrites. Time dates writes and picks among concurrent values; it decides nothing else.",
			fails:   "`merge.Fold` spares what is dated later than the entry that kills it.",
			test:    skewLoss,
		},
		{
			name:  "A clock far in the future",
			meets: "A node whose clock is wrong by years writes a value that nobody can overwrite, or drags the clocks of all others along; or others refuse all that it writes.",
			elsewhere: []source{
				{"iroh-docs", "An author ten minutes and a second ahead is silently refused everywhere; one just below that holds any key for as long as it writes.", "https://github.com/n0-computer/iroh-docs/issues/120"},
			},
			verdict: shown,
			here:    "What it writes is taken in, and everybody can overwrite it. All others get the alarm `clock-skew`, which names the author, and keep their own time. Of values that are concurrent with it a plain read shows the one from the future, and the conflict is listed, until someone writes who has seen both.",
			how:     "As above; and a hybrid clock does not follow a reading that is more than five minutes ahead.",
			fails:   "`clock.HLC.Observe` follows every clock.",
			test:    futureClock,
		},
		{
			name:  "Equal timestamps",
			meets: "Two writes have the same time. Nodes pick different ones, or some fields of the one and some of the other.",
			elsewhere: []source{
				{"ScyllaDB", "Until 2023 upserts with one timestamp could be compared by value, cell by cell: a read could show a mixture of two inserts.", "https://github.com/scylladb/scylladb/pull/14659"},
			},
			verdict: no,
			here:    "All nodes show the same one, and of two documents all fields of the same one. Both live on, and the conflicts are listed.",
			how:     "A tie is broken by the name of the write: its lane, which all leaves of a transaction share.",
			fails:   "`merge.Survivor` breaks the tie by value.",
			test:    equalTimes,
		},
	}
}

func skewLoss(t *testing.T) {
	w, h := newWorld(t, "fast", "slow")
	fast, slow := h[0], h[1]
	slow.skew = -2 * hourMillis
	fast.do(put("k", "", "old"), put("gone", "", "old"), add("bag", "/t", "old"))
	w.meet(fast, slow)
	slow.do(put("k", "", "new"), rm("gone", ""), remove("bag", "/t", "old"))
	w.meet(fast, slow)
	w.wantValues([]string{`"new"`}, false, "k", "", fast, slow)
	w.want(absent, "gone", "", fast, slow)
	w.want(absent, "bag", "", fast, slow)
}

func futureClock(t *testing.T) {
	w, h := newWorld(t, "ahead", "a", "b")
	ahead, a, b := h[0], h[1], h[2]
	ahead.skew = 10 * yearMillis
	ahead.do(put("k", "", "from the future"), put("c", "", "from the future"))
	b.do(put("c", "", "of today"))
	w.meet(ahead, a, b)
	for _, h := range []*host{a, b} {
		if !slices.Equal(h.alarms, []string{"clock-skew"}) {
			t.Errorf("%s raises %q", h.name, h.alarms)
		}
	}
	w.want(`"from the future"`, "c", "", ahead, a, b)
	w.wantValues([]string{`"from the future"`, `"of today"`}, true, "c", "", ahead, a, b)

	a.do(put("k", "", "of today"), put("c", "", "settled"))
	r, _ := a.read("k", "")
	if at := r.Properties[0].Survivors[0].Time.Millis(); at > w.now+hourMillis {
		t.Errorf("the clock of a follows the wrong one: it writes at %d, and it is %d", at, w.now)
	}
	w.meet(a, b, ahead)
	w.wantValues([]string{`"of today"`}, false, "k", "", ahead, a, b)
	w.wantValues([]string{`"settled"`}, false, "c", "", ahead, a, b)
}

func equalTimes(t *testing.T) {
	w, h := newWorld(t, "a", "b", "c")
	a, b, c := h[0], h[1], h[2]
	const ties = 20
	for i := range ties {
		e := fmt.Sprintf("doc/%d", i)
		// Of each pair of leaves, a has the greater value in one and b in the other.
		a.do(put(e, "", map[string]any{"x": "1 of a", "y": "2 of a"}))
		b.do(put(e, "", map[string]any{"x": "2 of b", "y": "1 of b"}))
		w.now++
	}
	w.meet(a, c)
	w.meet(b, c)
	w.meet(a, b, c)
	for i := range ties {
		e := fmt.Sprintf("doc/%d", i)
		r, _ := a.read(e, "")
		times := make(map[int64]bool)
		for _, s := range r.Properties[0].Survivors {
			times[int64(s.Time)] = true
		}
		if len(times) != 1 || len(r.Conflicts) != 2 {
			t.Fatalf("%s is no tie: times %v, conflicts %q", e, times, r.Conflicts)
		}
		got := a.plain(e, "")
		if got != `{"x":"1 of a","y":"2 of a"}` && got != `{"x":"2 of b","y":"1 of b"}` {
			t.Errorf("%s is a mixture: %s", e, got)
		}
		w.want(got, e, delta.Path(""), b, c)
	}
}
