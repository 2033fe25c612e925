package simnet

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/node"
)

// A Workload is what hosts do. It must draw all its chances from the writer's
// Rand.
type Workload interface {
	// Act returns the transactions that a writer commits now, and how long it
	// waits until it acts again.
	Act(w Writer) (txns [][]node.Op, wait time.Duration)
}

// A Writer is a host that acts.
type Writer struct {
	Host
	Rand *rand.Rand
	// Acts counts how often it has acted before.
	Acts int
}

// Workloads are those that have a name.
var Workloads = map[string]Workload{"mixed": Mixed{}, "put": Puts{}, "quiet": Quiet{}}

// startWork lets a host act as long as the world does.
func (w *World) startWork(h *host) {
	if h.work == nil {
		return
	}
	w.act(h, time.Duration(h.work.Int64N(int64(5*time.Second))))
}

func (w *World) act(h *host, wait time.Duration) {
	w.after(wait, evWork, h.at, func() {
		if w.now >= w.healAt() {
			return
		}
		if !h.up() || h.pausedUntil > w.now {
			w.act(h, time.Second)
			return
		}
		txns, next := w.opts.Workload.Act(Writer{Host{h}, h.work, h.acts})
		h.acts++
		if len(txns) > 0 {
			reqs := make([]node.Request, len(txns))
			for i := range txns {
				reqs[i].Ops = txns[i]
			}
			h.did(h.r.Write(h.millis(), reqs))
		}
		w.act(h, max(next, time.Millisecond))
	})
}

// Mixed is every operation on few keys, so that all conflicts happen.
type Mixed struct{}

// Act implements Workload.
func (Mixed) Act(w Writer) ([][]node.Op, time.Duration) {
	r := w.Rand
	txns := make([][]node.Op, 1+r.IntN(2))
	for i := range txns {
		for range 1 + r.IntN(3) {
			txns[i] = append(txns[i], mixedOp(w))
		}
	}
	return txns, time.Duration(r.ExpFloat64() * float64(2*time.Second))
}

func mixedOp(w Writer) node.Op {
	r := w.Rand
	entity := fmt.Sprintf("e%d", r.IntN(8))
	path := [...]delta.Path{"", "/a", "/a/b", "/a/c", "/d"}[r.IntN(5)]
	value := any(fmt.Sprintf("%s-%d", w.Name(), w.Acts))
	switch r.IntN(12) {
	case 0:
		return node.Op{Kind: node.OpRm, Entity: entity, Path: path}
	case 1:
		return node.Op{Kind: node.OpAdd, Entity: "bag", Path: path, Value: int64(r.IntN(6))}
	case 2:
		return node.Op{Kind: node.OpRemove, Entity: "bag", Path: path, Value: int64(r.IntN(6))}
	case 3, 4:
		return node.Op{Kind: node.OpInc, Entity: "count", Path: path, N: int64(r.IntN(10))}
	case 5:
		return node.Op{Kind: node.OpVote, Entity: "vote", Value: int64(r.IntN(3))}
	case 6:
		if d, ok := visible(w, entity); ok {
			return node.Op{Kind: node.OpNegate, Dots: []clock.Dot{d}}
		}
	case 7:
		if d, ok := visible(w, entity); ok {
			return node.Op{Kind: node.OpUndo, Dots: []clock.Dot{d}}
		}
	case 8:
		value = map[string]any{"a": map[string]any{"b": value, "c": int64(1)}, "d": map[string]any{"$ref": "e1"}}
		path = ""
	case 9:
		return node.Op{Kind: node.OpRm, Entity: "count"}
	}
	return node.Op{Kind: node.OpPut, Entity: entity, Path: path, Value: value}
}

// visible draws a survivor of an entity that may be negated.
func visible(w Writer, entity string) (clock.Dot, bool) {
	reading, found, err := merge.Read(w.Replica().View(), entity, "")
	if err != nil || !found {
		return clock.Dot{}, false
	}
	p := reading.Properties[w.Rand.IntN(len(reading.Properties))]
	s := p.Survivors[w.Rand.IntN(len(p.Survivors))]
	return s.Dot, s.Verb != delta.Inc
}

// Puts writes fresh keys of 100 bytes at a steady rate.
type Puts struct {
	// Every is the mean wait between two of a writer; zero means 10 s.
	Every time.Duration
}

// Act implements Workload.
func (p Puts) Act(w Writer) ([][]node.Op, time.Duration) {
	every := p.Every
	if every == 0 {
		every = 10 * time.Second
	}
	value := make([]byte, 100)
	for i := range value {
		value[i] = byte(w.Rand.Uint32())
	}
	op := node.Op{Kind: node.OpPut, Entity: fmt.Sprintf("%s/%d", w.Name(), w.Acts), Value: value}
	return [][]node.Op{{op}}, time.Duration(w.Rand.ExpFloat64() * float64(every))
}

// Quiet writes once a minute: what it costs to have peers.
type Quiet struct{}

// Act implements Workload.
func (Quiet) Act(w Writer) ([][]node.Op, time.Duration) {
	txns, _ := Puts{}.Act(w)
	return txns, time.Minute
}
