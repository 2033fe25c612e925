package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

// DiffPairs compares the state of this node with that which a store held, given
// as its pairs in the order of their keys, without the space's prefix. It reads
// both once, side by side, and holds neither.
func (n *Node) DiffPairs(ctx context.Context, name string, pairs iter.Seq2[storage.KV, error]) (DiffReport, error) {
	d := fileDiff{report: DiffReport{Peer: name}, prefix: n.rows.prefix, lanes: fileLanes{}, theirs: new(clock.Vector)}
	var snap storage.Snapshot
	n.query(func() {
		snap = n.db.Snapshot()
		d.mine = n.replica.log.Vector().Clone()
	})
	defer func() { _ = snap.Close() }() // reading only: nothing is lost
	d.wreck = oplog.NewWreck(d.prefix, n.store.Space())
	view := n.rows
	view.r = snap
	next, stop := iter.Pull2(view.all())
	defer stop()
	for kv, err := range pairs {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && len(kv.Key) > 0 {
			err = d.pair(kv, next)
		}
		if err != nil {
			return DiffReport{}, err
		}
	}
	if err := d.rest(next, nil); err != nil {
		return DiffReport{}, err
	}
	d.report.SameLog = d.mine.Compare(d.theirs) == clock.Equal
	d.report.Equal = d.report.SameLog && d.report.Here+d.report.There == 0
	return d.report, nil
}

// all yields the rows of a state in key order.
func (v *rows) all() iter.Seq2[fileRow, error] {
	return func(yield func(fileRow, error) bool) {
		stopped := errors.New("stopped")
		err := v.Rows(nil, func(key []byte, row []merge.Survivor) error {
			if !yield(fileRow{bytes.Clone(key), row}, nil) {
				return stopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, stopped) {
			yield(fileRow{}, err)
		}
	}
}

type fileRow struct {
	key []byte
	row []merge.Survivor
}

// fileLanes are the lanes of the other store, by its numbers.
type fileLanes map[uint32]clock.LaneID

// Number implements merge.Lanes; rows are only read.
func (l fileLanes) Number(clock.LaneID) uint32 { return 0 }

// Lane implements merge.Lanes.
func (l fileLanes) Lane(n uint32) (clock.LaneID, bool) {
	id, ok := l[n]
	return id, ok
}

type fileDiff struct {
	report       DiffReport
	prefix       []byte
	wreck        *oplog.Wreck
	lanes        fileLanes
	mine, theirs *clock.Vector
	begun        bool     // the first row of the state has come
	ahead        *fileRow // the own row that was read last, not yet compared
}

// pair takes in one pair of the other store: its lanes stand before its rows.
func (d *fileDiff) pair(kv storage.KV, next func() (fileRow, error, bool)) error {
	key := append(bytes.Clone(d.prefix), kv.Key...)
	if lo, hi := d.wreck.LaneRange(); bytes.Compare(key, lo) >= 0 && bytes.Compare(key, hi) < 0 {
		return d.wreck.AddLane(key, kv.Value)
	}
	if kv.Key[0] != kindState {
		return nil
	}
	if !d.begun {
		d.begin()
	}
	row, err := merge.ParseRow(bytes.Clone(kv.Value), d.lanes)
	if err != nil {
		return fmt.Errorf("row %x: %w", kv.Key[1:], err)
	}
	key = kv.Key[1:]
	if err := d.rest(next, key); err != nil {
		return err
	}
	var mine []merge.Survivor
	if d.ahead != nil && bytes.Equal(d.ahead.key, key) {
		mine, d.ahead = d.ahead.row, nil
	}
	return d.compare(key, mine, row)
}

func (d *fileDiff) begin() {
	d.begun = true
	for _, l := range d.wreck.Lanes() {
		d.lanes[l.Number] = l.ID
		if l.Seq > 0 {
			d.theirs.Set(l.ID, clock.Head{Seq: l.Seq})
		}
	}
}

// rest notes own rows before a key as standing here alone; nil means all.
func (d *fileDiff) rest(next func() (fileRow, error, bool), until []byte) error {
	if !d.begun {
		d.begin()
	}
	for {
		if d.ahead == nil {
			row, err, ok := next()
			if err != nil || !ok {
				return err
			}
			d.ahead = &row
		}
		if until != nil && bytes.Compare(d.ahead.key, until) >= 0 {
			return nil
		}
		if err := d.compare(d.ahead.key, d.ahead.row, nil); err != nil {
			return err
		}
		d.ahead = nil
	}
}

// compare goes through two versions of a row, both in dot order.
func (d *fileDiff) compare(key []byte, mine, theirs []merge.Survivor) error {
	for len(mine) > 0 || len(theirs) > 0 {
		order := -1
		if len(mine) == 0 {
			order = 1
		} else if len(theirs) > 0 {
			order = mine[0].Dot.Compare(theirs[0].Dot)
		}
		if order == 0 && mine[0].Sum(key) == theirs[0].Sum(key) {
			mine, theirs = mine[1:], theirs[1:]
			continue
		}
		if order <= 0 {
			if err := d.report.note(key, &mine[0], true, !d.theirs.Covers(mine[0].Dot.Entry())); err != nil {
				return err
			}
			mine = mine[1:]
		}
		if order >= 0 {
			if err := d.report.note(key, &theirs[0], false, !d.mine.Covers(theirs[0].Dot.Entry())); err != nil {
				return err
			}
			theirs = theirs[1:]
		}
	}
	return nil
}
