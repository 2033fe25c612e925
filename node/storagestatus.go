package node

import (
	"fmt"

	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

const (
	dayMillis = 24 * 60 * 60_000

	// growthMillis is how far back growth is looked at, and leastMillis what it
	// is spread over at least: a burst of a minute says little of a day.
	growthMillis = 7 * dayMillis
	leastMillis  = 60 * 60_000

	// sizedRows is how many rows the size of all is estimated from.
	sizedRows = 256
)

// storageStatus tells what of a StorageStatus the replica knows.
func (r *Replica) storageStatus(nowMillis int64) (s StorageStatus, err error) {
	for _, f := range r.log.Floors() {
		s.Floor += f.Seq
	}
	if r.state.past > 0 {
		s.Past = r.state.past.Time()
	}
	s.Retention, s.Checkpoints = r.cfg.Retention.Fill(), r.checkpoints
	s.StatesServed, s.StatesAdopted = r.states.served, r.states.adopted
	s.RawBytes = r.log.RawBytes()
	sum, err := r.summary(false)
	if err != nil {
		return s, err
	}
	if cut, ok := compaction.PickAll(sum, 0); ok {
		at := r.log.BytesAt(cut.Ordinal)
		s.ReclaimableBytes = min(at-min(at, r.log.BytesAt(r.log.History())), s.RawBytes)
	}
	if n := len(sum.Marks); n > 0 {
		last, first := sum.Marks[n-1], sum.Marks[0]
		for _, m := range sum.Marks {
			if nowMillis-m.Time <= growthMillis {
				first = m
				break
			}
		}
		spread := max(nowMillis-first.Time, leastMillis)
		grown := last.Bytes - min(first.Bytes, last.Bytes)
		if first == sum.Marks[0] {
			grown = s.RawBytes // the first mark stands behind entries, too
		}
		s.GrowthPerDay = uint64(float64(grown) * dayMillis / float64(spread))
	}
	return s, nil
}

// sizeOf estimates the bytes that survivors take from the first rows.
func (v *rows) sizeOf(survivors uint64) (uint64, error) {
	lo := v.key(kindState, nil)
	var n, bytes, seen uint64
	for kv, err := range v.r.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return 0, fmt.Errorf("scan rows: %w", err)
		}
		row, err := merge.ParseRow(kv.Value, v.lanes)
		if err != nil {
			return 0, err
		}
		bytes += uint64(len(kv.Key) + len(kv.Value))
		seen += uint64(len(row))
		if n++; n == sizedRows {
			break
		}
	}
	if seen == 0 {
		return 0, nil
	}
	return uint64(float64(bytes) / float64(seen) * float64(survivors)), nil
}
