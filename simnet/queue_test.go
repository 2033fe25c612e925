package simnet

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Events come out by time, and those of one moment in the order in which they
// went in, whether they stood in line or not.
func TestQueueOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var q queue
	var held []event
	var now time.Duration
	for range 20_000 {
		if len(held) > 0 && r.IntN(100) < 49 {
			got := q.pop()
			first := slices.MinFunc(held, func(a, b event) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
			if got.at != first.at || got.seq != first.seq || got.kind != first.kind {
				t.Fatalf("%v:%d came out, want %v:%d", got.at, got.seq, first.at, first.seq)
			}
			held = slices.DeleteFunc(held, func(e event) bool { return e.seq == first.seq })
			now = got.at
		} else {
			e := event{at: now + time.Duration(r.IntN(50)), kind: eventKind(1 + r.IntN(int(lastEvent)))}
			if e.kind == evTick {
				e.at = now + 20
			}
			q.push(e)
			e.seq = q.seq
			held = append(held, e)
		}
		if q.Len() != len(held) {
			t.Fatalf("%d events are held, want %d", q.Len(), len(held))
		}
	}
}
