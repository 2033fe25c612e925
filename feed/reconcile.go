package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// Reconcile removes the members of hidden deltas that came from nodes which did
// not know of the negation. It reads every mark, and writes nothing where all is
// as it should be. It returns how many deltas of this space it wrote.
func Reconcile(ctx context.Context, n Node) (written uint64, err error) {
	var ops []node.Op
	bytes := 0
	commit := func() error {
		if len(ops) == 0 {
			return nil
		}
		r, err := n.Commit(ctx, "", ops)
		if err != nil {
			return fmt.Errorf("hide negated deltas: %w", err)
		}
		written += uint64(r.Deltas)
		ops, bytes = nil, 0
		return nil
	}
	for mark, err := range n.Export(ctx, markPrefix) {
		if err != nil {
			return written, fmt.Errorf("read marks: %w", err)
		}
		more, err := stale(ctx, n, markedBy(mark.Entity))
		if err != nil {
			return written, err
		}
		for _, op := range more {
			ops, bytes = append(ops, op), bytes+len(op.Entity)+len(op.Path)
			if len(ops) == maxWindow || bytes > maxWindowBytes {
				if err := commit(); err != nil {
					return written, err
				}
			}
		}
	}
	return written, commit()
}

// stale returns what takes a negated delta out of the bags that refer to it.
func stale(ctx context.Context, n Node, edge string) (ops []node.Op, err error) {
	r, err := n.Read(ctx, edge, "", node.ReadOptions{Raw: true})
	if errors.Is(err, node.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", edge, err)
	}
	for _, d := range deltasOf(&r) {
		if d.negation() {
			return nil, nil
		}
		for _, at := range d.members() {
			if slices.Contains(r.Incoming, delta.Key(at.entity, at.path)) {
				ops = append(ops, at.bag(node.OpRemove, edge))
			}
		}
	}
	return ops, nil
}
