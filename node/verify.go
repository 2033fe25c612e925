package node

import (
	"bytes"
	"context"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

// maxProblems bounds the problems that one report lists.
const maxProblems = 100

// Verify rereads everything from one snapshot: each lane's chain from its floor
// on and its newest signature, each signature that is held, each row, the index
// of references and the digest, and what is kept of the past. Progress, if not nil, is told how much is done of about how
// much.
func (n *Node) Verify(ctx context.Context, progress func(done, total uint64)) (VerifyReport, error) {
	v := verifier{n: n, ctx: ctx, progress: progress}
	var snap storage.Snapshot
	n.query(func() {
		// Between steps, log, state and meta row agree.
		snap = n.db.Snapshot()
		v.heads = n.replica.log.Vector().Clone()
		v.entries, v.total = n.replica.log.Entries(), n.replica.log.Entries()+n.replica.Survivors()
		v.tally, v.history = n.replica.tally(), n.replica.log.History()
		for _, l := range v.heads.Lanes() {
			h, ok := n.replica.log.SignedHead(l)
			_, closed := n.replica.log.ClosedAt(l)
			v.signed = append(v.signed, signedLane{id: l, head: h, known: ok, closed: closed, floor: n.replica.log.Floor(l)})
		}
	})
	defer func() { _ = snap.Close() }() // reading only: nothing is lost
	v.r = snap
	for i := range v.signed {
		if err := v.lane(&v.signed[i]); err != nil {
			return v.report, err
		}
	}
	v.order()
	if v.report.Entries != v.entries {
		v.problem("the log holds %d entries, its counter says %d", v.report.Entries, v.entries)
	}
	for _, check := range []func() error{v.rows, v.refs, v.kept} {
		if err := check(); err != nil {
			return v.report, err
		}
	}
	return v.report, nil
}

type signedLane struct {
	id    clock.LaneID
	head  delta.SignedHead
	known bool

	closed bool
	floor  uint64
	after  uint64 // its first entry in the order of application that is held, 0 for none
}

type verifier struct {
	n        *Node
	ctx      context.Context
	r        storage.Reader
	progress func(done, total uint64)

	heads          *clock.Vector
	signed         []signedLane
	tally          merge.Tally
	entries        uint64
	history        uint64
	done, total    uint64
	report         VerifyReport
	refsFromRows   map[string]bool
	tooManyToIndex bool
}

func (v *verifier) problem(format string, args ...any) {
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
	}
}

func (v *verifier) step() error {
	if v.done++; v.progress != nil && v.done%4096 == 0 {
		v.progress(v.done, v.total)
	}
	return v.ctx.Err()
}

// lane checks one lane's chain from its floor to its head. What the entry at the
// floor hashed to is known from the next one, which names it, and that from the
// head.
func (v *verifier) lane(s *signedLane) error {
	v.report.Lanes++
	key, _ := v.n.store.Lanes.Key(s.id)
	head := v.heads.Head(s.id)
	last := clock.Head{Seq: s.floor}
	if s.floor == head.Seq {
		last = head
	}
	for r, err := range v.n.store.Lane(v.r, s.id, 0) {
		if err != nil {
			v.problem("lane %v after %d: %v", s.id, last.Seq, err)
			return v.ctx.Err()
		}
		if err := v.step(); err != nil {
			return err
		}
		v.report.Entries++
		if s.after == 0 && r.Ordinal > v.history {
			s.after = r.Seq
		}
		if last.Seq == s.floor && s.floor < head.Seq && s.floor > 0 {
			last.Hash = r.Prev
		}
		v.entry(&r, key, last)
		last = clock.Head{Seq: r.Seq, Hash: delta.HashHeader(&r.Header)}
	}
	if last != head {
		v.problem("lane %v ends at %d with hash %v, its head says %d, %v", s.id, last.Seq, last.Hash, head.Seq, head.Hash)
	}
	if s.known {
		if err := delta.Verify(key, &s.head.Header, s.head.Sig); err != nil {
			v.problem("signed head: %v", err)
		}
	}
	return nil
}

func (v *verifier) entry(r *oplog.Record, key delta.LaneKey, last clock.Head) {
	if r.Seq != last.Seq+1 || r.Prev != last.Hash {
		v.problem("entry %v does not follow %d", r.ID(), last.Seq)
	}
	if _, err := r.Entry(); err != nil {
		v.problem("%v", err)
	}
	if len(r.Sig) > 0 {
		if err := delta.Verify(key, &r.Header, r.Sig); err != nil {
			v.problem("%v", err)
		}
	}
}

// order checks that the order of application, from where the history is whole,
// lists every entry once, and those that a closing set aside in their place.
func (v *verifier) order() {
	listed, closed := make(map[clock.LaneID]uint64), make(map[clock.LaneID]bool)
	for _, s := range v.signed {
		listed[s.id], closed[s.id] = v.heads.Seq(s.id), s.closed
		if s.after > 0 {
			listed[s.id] = s.after - 1
		}
	}
	for run, err := range v.n.store.Order(v.r, v.history+1) {
		if err != nil {
			v.problem("order of application: %v", err)
			return
		}
		withdrawn := closed[run.Lane] && run.First > v.heads.Seq(run.Lane) // some may be below the history
		if run.First != listed[run.Lane]+1 && !withdrawn {
			v.problem("the order has %v:%d after %d", run.Lane, run.First, listed[run.Lane])
		}
		listed[run.Lane] = run.First + run.Count - 1
	}
	for _, s := range v.signed {
		if head := v.heads.Seq(s.id); listed[s.id] < head || !s.closed && listed[s.id] > head {
			v.problem("the order lists lane %v up to %d, its head is %d", s.id, listed[s.id], head)
		}
		for r, err := range v.n.store.KeptLane(v.r, s.id) {
			if err == nil {
				_, err = r.Entry()
			}
			if err != nil {
				v.problem("entry set aside: %v", err)
				break
			}
		}
	}
}

// maxIndexed bounds the references held in memory to compare the index with.
const maxIndexed = 1 << 20

// rows checks that every row can be read and that together they have the
// digest that is kept.
func (v *verifier) rows() error {
	view := v.n.rows
	view.r = v.r
	v.refsFromRows = make(map[string]bool)
	var tally merge.Tally
	err := view.Rows(nil, func(key []byte, row []merge.Survivor) error {
		entity, path, tag, err := merge.ParseKey(key)
		if err != nil {
			v.problem("row key %x: %v", key, err)
			return v.ctx.Err()
		}
		for i := range row {
			s := &row[i]
			tally.Digest = tally.Digest.Plus(s.Sum(key))
			tally.Rows++
			v.report.Rows++
			if err := v.step(); err != nil {
				return err
			}
			d := delta.Delta{Entity: entity, Path: path, Verb: s.Verb, Value: s.Value}
			if delta.CheckValue(s.Value) != nil || delta.TagOf(s.Dot.Lane, s.Creator, &d) != tag {
				v.problem("row %s: survivor %v does not belong there", delta.Key(entity, path), s.Dot)
			}
			v.noteRef(key, s)
		}
		return nil
	})
	if ctxErr := v.ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	if err != nil {
		v.problem("rows: %v", err)
	} else if tally != v.tally {
		v.problem("%d survivors with digest %v, the node keeps %d with %v",
			tally.Rows, tally.Digest, v.tally.Rows, v.tally.Digest)
	}
	return nil
}

func (v *verifier) noteRef(key []byte, s *merge.Survivor) {
	target, ok := s.Value.Ref()
	if !ok {
		return
	}
	if len(v.refsFromRows) >= maxIndexed {
		v.tooManyToIndex = true
		return
	}
	v.refsFromRows[string(append(merge.AppendPrefix(nil, target, ""), key...))] = true
}

// refs compares the index of references with the rows.
func (v *verifier) refs() error {
	if v.tooManyToIndex {
		return nil
	}
	lo := v.n.rows.key(kindRef, nil)
	for kv, err := range v.r.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			v.problem("references: %v", err)
			return v.ctx.Err()
		}
		k := string(bytes.Clone(kv.Key[len(lo):]))
		if !v.refsFromRows[k] {
			v.problem("the index has a reference that no row holds: %x", k)
			v.report.Index++
		}
		delete(v.refsFromRows, k)
	}
	if len(v.refsFromRows) > 0 {
		v.problem("the index lacks %d references", len(v.refsFromRows))
		v.report.Index++
	}
	return nil
}
