package oplog

import (
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// laneOf makes a lane of n entries of one small value.
func laneOf(b *testing.B, w *writer, n int) (es []*delta.Entry) {
	b.Helper()
	var head clock.Head
	for range n {
		e := w.write(b, head, "value", nil)
		head = clock.Head{Seq: e.Seq, Hash: e.Hash}
		es = append(es, e)
	}
	return es
}

// One entry, one batch: what the log adds to a single durable write.
func BenchmarkAppendFlush(b *testing.B) {
	const n = 10000
	w := writerNamed("a")
	es := laneOf(b, w, n)
	b.ReportAllocs()
	var r *replica
	i := n
	for b.Loop() {
		if i == n {
			r, i = newReplica(b, storage.NewMemory(), w), 0
			r.AddLane(w.LaneKey)
		}
		e := es[i]
		i++
		if v, _, err := r.Check(e); v != Ready || err != nil {
			b.Fatal(v, err)
		}
		if err := r.Append(r.batch, e); err != nil {
			b.Fatal(err)
		}
		r.Flush(r.batch, 0)
		if err := storage.ApplySync(r.db, r.batch); err != nil {
			b.Fatal(err)
		}
		r.batch = r.db.NewBatch()
	}
}

// A thousand entries, one batch, as catching up does; per entry.
func BenchmarkAppendBatch(b *testing.B) {
	const n = 1000
	w := writerNamed("a")
	es := laneOf(b, w, n)
	b.ReportAllocs()
	var r *replica
	i := n
	for b.Loop() {
		if i == n {
			r, i = newReplica(b, storage.NewMemory(), w), 0
			r.AddLane(w.LaneKey)
		}
		if v, _, err := r.Check(es[i]); v != Ready || err != nil {
			b.Fatal(v, err)
		}
		if err := r.Append(r.batch, es[i]); err != nil {
			b.Fatal(err)
		}
		if i++; i == n {
			r.mustFlush()
		}
	}
}

// Reading in order, from runs of one entry and from long ones; per entry.
func BenchmarkInOrder(b *testing.B) {
	for name, perBatch := range map[string]int{"single": 1, "runs": 1000} {
		b.Run(name, func(b *testing.B) {
			const n = 2000
			x, y := writerNamed("a"), writerNamed("b")
			xs, ys := laneOf(b, x, n), laneOf(b, y, n)
			r := newReplica(b, storage.NewMemory(), x, y)
			for i := 0; i < n; i += perBatch {
				for _, es := range [][]*delta.Entry{xs, ys} {
					for _, e := range es[i : i+perBatch] {
						r.receive(e)
					}
				}
				r.mustFlush()
			}
			b.ReportAllocs()
			left := 0
			for b.Loop() {
				if left == 0 {
					left = 2 * n
					count := 0
					for rec, err := range r.InOrder(r.db, 0) {
						if err != nil {
							b.Fatal(err)
						}
						b.SetBytes(int64(len(rec.Raw)))
						count++
					}
					if count != left {
						b.Fatal(count)
					}
				}
				left--
			}
		})
	}
}
