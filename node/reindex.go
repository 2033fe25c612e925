package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// ErrRowsDiffer reports rows that are not what the digest was kept of: what is
// wrong is not the index.
var ErrRowsDiffer = errors.New("the rows are not those that the digest is of")

// reindexBytes is how much is written at once.
const reindexBytes = 4 << 20

// Reindex builds the index of references anew from the rows, once it has seen
// that these have the digest that the node keeps; else it is ErrRowsDiffer and
// nothing has changed. The node does nothing else meanwhile. A Reindex that is
// ended early leaves an index that lacks references, and can be run again.
func (n *Node) Reindex(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	if n.failed() != nil {
		return n.writeError()
	}
	var tally merge.Tally
	err := n.rows.Rows(nil, func(key []byte, row []merge.Survivor) error {
		for i := range row {
			tally.Digest = tally.Digest.Plus(row[i].Sum(key))
			tally.Rows++
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("reindex: %w", err)
	}
	if tally != n.replica.tally() {
		return fmt.Errorf("reindex: %w", ErrRowsDiffer)
	}
	b := n.db.NewBatch()
	lo := n.rows.key(kindRef, nil)
	b.DeleteRange(lo, storage.PrefixEnd(lo))
	err = n.rows.Rows(nil, func(key []byte, row []merge.Survivor) error {
		for i := range row {
			if target, ok := row[i].Value.Ref(); ok {
				b.Set(n.rows.key(kindRef, append(merge.AppendPrefix(nil, target, ""), key...)), nil)
			}
		}
		if b.Bytes() < reindexBytes {
			return nil
		}
		err := storage.ApplySync(n.db, b)
		b = n.db.NewBatch()
		return errors.Join(err, ctx.Err())
	})
	if err == nil {
		err = storage.ApplySync(n.db, b)
	}
	if err != nil {
		return fmt.Errorf("reindex: %w", err)
	}
	return nil
}
