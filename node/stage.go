package node

import (
	"bytes"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Survivors of a peer's state wait here, in the order of their keys, until all
// of them have come and are taken over in one batch.

func (v *rows) stageKey(key []byte, d clock.Dot) []byte {
	return v.appendDot(v.key(kindStaged, key), d)
}

// stage writes a survivor that came.
func (v *rows) stage(b storage.Batch, x *compaction.Row) {
	b.Set(v.stageKey(x.Key, x.Dot), merge.AppendRow(nil, []merge.Survivor{x.Survivor}, v.lanes))
}

// stagedRows calls f with each survivor that is staged, in key order. They are
// valid only within the call.
func (v *rows) stagedRows(f func(key []byte, s *merge.Survivor) error) error {
	lo := v.key(kindStaged, nil)
	for kv, err := range v.r.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return fmt.Errorf("scan staged rows: %w", err)
		}
		row, err := merge.ParseRow(bytes.Clone(kv.Value), v.lanes)
		if err != nil || len(row) != 1 || len(kv.Key) < len(lo)+dotBytes {
			return fmt.Errorf("staged row %x: %w", kv.Key, storage.ErrCorrupt)
		}
		if err := f(kv.Key[len(lo):len(kv.Key)-dotBytes], &row[0]); err != nil {
			return err
		}
	}
	return nil
}

// dropStaged forgets what is staged.
func (r *Replica) dropStaged() {
	lo := r.state.key(kindStaged, nil)
	r.batch.DeleteRange(lo, storage.PrefixEnd(lo))
}

// staged reports whether anything is. An error counts as something: what reads
// it next will say so.
func (r *Replica) staged() bool {
	lo := r.state.key(kindStaged, nil)
	for kv, err := range r.db.Scan(lo, storage.PrefixEnd(lo)) {
		return err != nil || len(kv.Key) > 0
	}
	return false
}
