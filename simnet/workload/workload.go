// Package workload holds what hosts do in simulations that have no workload of
// their own, and the oracle that their state is compared with. It knows keys
// and values, which package simnet does not.
package workload

import (
	"fmt"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/simnet"
)

// Named are the workloads that have a name.
var Named = map[string]simnet.Workload{"mixed": Mixed{}, "put": Puts{}, "quiet": Quiet{}, "edit": Edits{}, "schemas": Schemas{}}

// Mixed is every operation on few keys, so that all conflicts happen.
type Mixed struct{}

// Act implements Workload.
func (Mixed) Act(w simnet.Writer) ([][]node.Op, time.Duration) {
	r := w.Rand
	txns := make([][]node.Op, 1+r.IntN(2))
	for i := range txns {
		for range 1 + r.IntN(3) {
			txns[i] = append(txns[i], mixedOp(w))
		}
	}
	return txns, time.Duration(r.ExpFloat64() * float64(2*time.Second))
}

func mixedOp(w simnet.Writer) node.Op {
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
func visible(w simnet.Writer, entity string) (clock.Dot, bool) {
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
func (p Puts) Act(w simnet.Writer) ([][]node.Op, time.Duration) {
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

// Edits overwrites what others wrote, at a steady rate: its state stays small,
// whatever the log grows to.
type Edits struct {
	// Every is the mean wait between two of a writer; zero means 20 s.
	Every time.Duration
}

// edited is how many properties Edits writes to.
const edited = 200

// Act implements Workload. Each edit is counted, too: one that is lost shows, also
// where others have overwritten it.
func (e Edits) Act(w simnet.Writer) ([][]node.Op, time.Duration) {
	every := e.Every
	if every == 0 {
		every = 20 * time.Second
	}
	n := w.Rand.IntN(edited)
	ops := []node.Op{
		{Kind: node.OpPut, Entity: fmt.Sprintf("page%d", n/10), Path: delta.Path(fmt.Sprintf("/p%d", n%10)), Value: fmt.Sprintf("%s-%d", w.Name(), w.Acts)},
		{Kind: node.OpInc, Entity: "edits", N: 1},
	}
	return [][]node.Op{ops}, time.Duration(w.Rand.ExpFloat64() * float64(every))
}

// Quiet writes once a minute: what it costs to have peers.
type Quiet struct{}

// Act implements Workload.
func (Quiet) Act(w simnet.Writer) ([][]node.Op, time.Duration) {
	txns, _ := Puts{}.Act(w)
	return txns, time.Minute
}
