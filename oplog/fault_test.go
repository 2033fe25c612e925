package oplog

import (
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// faultWork is one batch a step, with every kind of write among them.
func faultWork(t fataler) (ws []*writer, steps []func(r *replica)) {
	t.Helper()
	a, b := writerNamed("a"), writerNamed("b")
	var a1, a2, a3, b1 *delta.Entry
	head := func(e *delta.Entry) clock.Head { return clock.Head{Seq: e.Seq, Hash: e.Hash} }
	a1 = a.write(t, clock.Head{}, "a1", nil)
	a2 = a.write(t, head(a1), "a2", nil)
	a3 = a.write(t, head(a2), "a3", nil)
	b1 = b.write(t, clock.Head{}, "b1", []delta.Dep{depOn(a2)}, a1.ID())
	b2 := b.write(t, head(b1), "b2", []delta.Dep{depOn(a3)})
	other3 := a.write(t, head(a2), "another a3", nil)
	other2 := a.write(t, head(a1), "another a2", nil)
	receive := func(es ...*delta.Entry) func(*replica) {
		return func(r *replica) {
			for _, e := range es {
				r.receive(e)
			}
		}
	}
	closeAt := func(x, y *delta.Entry) func(*replica) {
		return func(r *replica) { r.close(&Proof{a.LaneKey, chainOf(x), chainOf(y)}) }
	}
	return []*writer{a, b}, []func(*replica){
		receive(a1),
		receive(unsigned(a2), b1),
		receive(a3),
		closeAt(a3, other3),
		receive(b2),
		closeAt(a2, other2),
	}
}

// A write that fails leaves all of its batch or nothing: opened again, entries,
// heads, order, tips and closings agree, and are those before the batch or those
// after it. What failed can then be taken in as if for the first time.
func TestFaults(t *testing.T) {
	ws, steps := faultWork(t)
	// states[i] is the log after i steps.
	var states []string
	r := newReplica(t, storage.NewMemory(), ws...)
	states = append(states, summary(r.Log))
	for _, step := range steps {
		step(r)
		r.mustFlush()
		r.check()
		states = append(states, summary(r.Log))
	}
	for _, at := range []storage.FaultPoint{storage.FaultApply, storage.FaultWait} {
		for _, persist := range []bool{false, true} {
			for n := 1; n <= len(steps); n++ {
				t.Run(fmt.Sprintf("at=%d/persist=%v/n=%d", at, persist, n), func(t *testing.T) {
					inner := storage.NewMemory()
					faulty := storage.NewFaulty(inner, storage.Fault{At: at, N: n, Persist: persist})
					r := newReplica(t, faulty, ws...)
					for i, step := range steps[:n] {
						step(r)
						if err := r.flush(); (err != nil) != (i == n-1) || err != nil && !errors.Is(err, storage.ErrFailed) {
							t.Fatalf("step %d: %v", i+1, err)
						}
					}
					if !faulty.Fired() {
						t.Fatal("the fault did not happen")
					}
					r = newReplica(t, inner.Crash(), ws...)
					want := states[n-1]
					if persist {
						want = states[n]
					}
					if got := summary(r.Log); got != want {
						t.Fatalf("reopened:\n%s\nwant:\n%s", got, want)
					}
					r.check()
					for i, step := range steps[n-1:] {
						step(r)
						r.mustFlush()
						r.check()
						if got := summary(r.Log); got != states[n+i] {
							t.Fatalf("after going on to step %d:\n%s\nwant:\n%s", n+i, got, states[n+i])
						}
					}
				})
			}
		}
	}
}

// failing is a store whose reads of one kind of key fail.
type failing struct {
	storage.DB
	kind byte
}

var errRead = errors.New("read error")

func (f failing) hits(key []byte) bool { return f.kind != 0 && key[len(testPrefix)] == f.kind }

func (f failing) Get(key []byte) ([]byte, error) {
	if f.hits(key) {
		return nil, errRead
	}
	return f.DB.Get(key)
}

func (f failing) scan(lo []byte, s iter.Seq2[storage.KV, error]) iter.Seq2[storage.KV, error] {
	if f.hits(lo) {
		return func(yield func(storage.KV, error) bool) { yield(storage.KV{}, errRead) }
	}
	return s
}

func (f failing) Scan(lo, hi []byte) iter.Seq2[storage.KV, error] {
	return f.scan(lo, f.DB.Scan(lo, hi))
}

func (f failing) ScanReverse(lo, hi []byte) iter.Seq2[storage.KV, error] {
	return f.scan(lo, f.DB.ScanReverse(lo, hi))
}
