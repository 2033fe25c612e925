package oplog

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/storage"
)

// HistoryIn returns the ordinal up to which the order of application is
// incomplete in what a reader sees. Log.History is the newest; whoever reads
// entries from a snapshot, or while others write, asks that snapshot.
func (s *Store) HistoryIn(r storage.Reader) (uint64, error) {
	b, err := r.Get(s.key(kindTips))
	if errors.Is(err, storage.ErrNotFound) {
		return 0, nil // an empty log
	}
	if err != nil {
		return 0, fmt.Errorf("read tips: %w", err)
	}
	rest, ok := bytes.CutPrefix(b, tipsHead)
	if !ok {
		return 0, nil // of the first format, which had no floors
	}
	row := summed(rest)
	history := row.uvarint()
	if row.bad {
		return 0, fmt.Errorf("tips: %w", storage.ErrCorrupt)
	}
	return history, nil
}
