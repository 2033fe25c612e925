package anomaly

import (
	"errors"
	"testing"

	"github.com/rhizome-p2p/rhizome/node"
)

// counters are the anomalies of numbers that are added to.
func counters() []anomaly {
	return []anomaly{
		{
			name:  "Double increment after a retry",
			meets: "A client adds to a counter, gets no answer, and asks again. The counter has it twice.",
			elsewhere: []source{
				{"Riak", "An increment that failed may have happened: to repeat it may count twice, not to repeat it may count nothing.", "https://ruby-toolbox.com/projects/riak-ruby-ledger"},
				{"HBase", "An increment is not idempotent, and the client retries it: the server may apply it twice (HBASE-3787).", "https://mail-archive.com/issues@hbase.apache.org/msg121084.html"},
				{"FoundationDB", "A commit of unknown result that is retried may add twice; a key that is unique to the transaction is the usual remedy.", "https://apple.github.io/foundationdb/automatic-idempotency.html"},
			},
			verdict: yes,
			here:    "A plain increment that a client repeats counts twice: a node cannot tell the repetition from a second increment. No client of Rhizome repeats one by itself. To repeat safely, put a marker with `If-Match: absent` into the same transaction, or use `If-Match` on the counter: then the repetition is refused and counts nothing. That is judged by the node that is asked, so the repetition must go to the same one.",
			how:     "A transaction is written whole or not at all, and its preconditions are looked at in the same step.",
			fails:   "an operation that does not match is passed over, and its transaction goes on.",
			test:    retriedIncrement,
		},
		{
			name:  "Double increment by a doubled message",
			meets: "The network delivers a message twice, or two peers both pass on an increment, and it counts twice.",
			elsewhere: []source{
				{"ditto", "Its counter had operations that were not idempotent, until it was made anew.", "https://github.com/alex-shapiro/ditto/pull/69"},
			},
			verdict: no,
			here:    "An increment counts once, however often and by however many ways it comes.",
			how:     "An entry has a name, and a vector says which are applied. An increment carries the total of its lane, so that one that is applied again adds nothing.",
			fails:   "`merge.PlanInc` leaves the inc of its lane before it alive.",
			test:    doubledMessage,
		},
		{
			name:  "Reset of a counter",
			meets: "A counter is set back to nothing while others add to it. What was counted before comes back, or what is added now is lost.",
			elsewhere: []source{
				{"Riak", "A counter in a map that is removed while another node adds to it comes back with what that node knew, and lacks other increments.", "https://github.com/basho/riak/issues/354"},
				{"Redis Active-Active", "Strings as counters are resolved by what was done to them, all others by last write wins.", "https://redis.io/docs/latest/operate/rs/databases/active-active/develop/data-types/strings"},
			},
			verdict: yes,
			here:    "A node that adds while another drops the counter brings back what it had itself added before; what others had added is gone. A counter that is dropped after all have met begins anew. To set one back while others count, add its negated value: that loses nothing.",
			how:     "The increment of a lane carries the lane's total and kills the one before it: one that has not seen the drop carries the old amounts on.",
			fails:   "`merge.PlanInc` carries its own amount alone.",
			test:    counterReset,
		},
	}
}

func retriedIncrement(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	a.do(inc("plain", "/n", 1))
	a.do(inc("plain", "/n", 1)) // the same again
	w.want(`{"n":2}`, "plain", "", a)

	marker := put("request/17", "", true)
	marker.IfMatch = node.AbsentETag
	for i := range 3 {
		_, err := a.try(inc("safe", "/n", 1), marker)
		if i > 0 != errors.Is(err, node.ErrPrecondition) {
			t.Errorf("time %d: %v", i+1, err)
		}
	}
	w.meet(a, b)
	w.want(`{"n":1}`, "safe", "", a, b)
}

func doubledMessage(t *testing.T) {
	w, h := newWorld(t, "a", "b", "c")
	a, b, c := h[0], h[1], h[2]
	w.published = true
	w.join(a, b)
	w.join(b, c)
	w.join(c, a)
	for range 3 { // each comes twice by publication, and by sessions
		a.do(inc("count", "/n", 1))
		b.do(inc("count", "/n", 10))
		w.tick(20_000)
		w.settle(a, b, c)
	}
	w.want(`{"n":33}`, "count", "", a, b, c)
	a.forget()
	a.do(inc("count", "/n", 1))
	w.meet(a, b, c)
	w.want(`{"n":34}`, "count", "", a, b, c)
}

func counterReset(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	a.do(inc("count", "/n", 5))
	b.do(inc("count", "/n", 100))
	w.meet(a, b)
	a.do(inc("count", "/n", 3))
	b.do(rm("count", "/n"))
	w.meet(a, b)
	w.want(`{"n":8}`, "count", "", a, b)

	b.do(rm("count", "/n"))
	w.meet(a, b)
	a.do(inc("count", "/n", 3))
	w.meet(a, b)
	w.want(`{"n":3}`, "count", "", a, b)

	b.do(inc("count", "/n", -3))
	a.do(inc("count", "/n", 7))
	w.meet(a, b)
	w.want(`{"n":7}`, "count", "", a, b)
}
