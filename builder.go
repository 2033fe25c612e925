package rhizome

import (
	"context"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A Txn gathers operations that Apply commits together.
//
//	t := rhizome.NewTxn().By("ann")
//	t.Entity("host/web-1").Put("/os", "linux").Add("/tags", "edge").Inc("/boots", 1)
//	t.Entity("host/web-2").Drop("")
//	receipt, err := n.Apply(ctx, t)
//
// Nothing is checked before it is applied. A Txn has one owner, and may be
// applied more than once: each time is a transaction of its own.
type Txn struct {
	creator string
	ops     []Op
}

// NewTxn returns an empty transaction.
func NewTxn() *Txn { return new(Txn) }

// By says who made the transaction: a claim, empty for the node itself.
func (t *Txn) By(creator string) *Txn {
	t.creator = creator
	return t
}

// Len returns the number of operations.
func (t *Txn) Len() int { return len(t.ops) }

// Ops returns a copy of the operations.
func (t *Txn) Ops() []Op { return append([]Op(nil), t.ops...) }

// Negate kills the named dots.
func (t *Txn) Negate(dots ...clock.Dot) *Txn {
	t.ops = append(t.ops, Op{Kind: OpNegate, Dots: dots})
	return t
}

// Undo writes back what the transaction of a dot overwrote.
func (t *Txn) Undo(txn clock.Dot) *Txn {
	t.ops = append(t.ops, Op{Kind: OpUndo, Dots: []clock.Dot{txn}})
	return t
}

// Entity begins operations on an entity.
func (t *Txn) Entity(id string) EntityTxn { return EntityTxn{t, id} }

// An EntityTxn adds operations on one entity to a transaction.
type EntityTxn struct {
	t  *Txn
	id string
}

func (e EntityTxn) op(kind OpKind, p delta.Path, value any) EntityTxn {
	e.t.ops = append(e.t.ops, Op{Kind: kind, Entity: e.id, Path: p, Value: value})
	return e
}

// Put merges a document leaf by leaf, or assigns a value.
func (e EntityTxn) Put(p delta.Path, value any) EntityTxn { return e.op(OpPut, p, value) }

// PutWhole assigns a value, an object too, as one.
func (e EntityTxn) PutWhole(p delta.Path, value any) EntityTxn {
	e.op(OpPut, p, value)
	e.t.ops[len(e.t.ops)-1].Whole = true
	return e
}

// Drop drops what stands at and below a path, the empty one being the entity.
func (e EntityTxn) Drop(p delta.Path) EntityTxn { return e.op(OpRm, p, nil) }

// Add adds a value to a bag.
func (e EntityTxn) Add(p delta.Path, value any) EntityTxn { return e.op(OpAdd, p, value) }

// Remove removes a value from a bag.
func (e EntityTxn) Remove(p delta.Path, value any) EntityTxn { return e.op(OpRemove, p, value) }

// Vote sets the creator's value.
func (e EntityTxn) Vote(p delta.Path, value any) EntityTxn { return e.op(OpVote, p, value) }

// Inc adds to a counter.
func (e EntityTxn) Inc(p delta.Path, n int64) EntityTxn {
	e.op(OpInc, p, nil)
	e.t.ops[len(e.t.ops)-1].N = n
	return e
}

// IfMatch makes the last operation depend on what its key holds: an ETag, "*"
// for anything, AbsentETag for nothing. Where it does not hold, nothing of the
// transaction is written.
func (e EntityTxn) IfMatch(etag string) EntityTxn {
	e.t.ops[len(e.t.ops)-1].IfMatch = etag
	return e
}

// Entity goes on with another entity.
func (e EntityTxn) Entity(id string) EntityTxn { return e.t.Entity(id) }

// Txn returns the transaction.
func (e EntityTxn) Txn() *Txn { return e.t }

// Apply commits a transaction, as Commit does.
func (n *Node) Apply(ctx context.Context, t *Txn) (Receipt, error) {
	return n.Commit(ctx, t.creator, t.Ops())
}
