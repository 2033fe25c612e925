package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
)

func readFull(r io.Reader, b []byte) (int, error) { return io.ReadFull(r, b) }

func validText(s string) bool { return utf8.ValidString(s) }

// op turns one operation into deltas.
func (t *txnWriter) op(o *Op, rec *Receipt) error {
	if o.Kind != OpNegate && o.Kind != OpUndo {
		if err := delta.CheckEntity(o.Entity); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if _, err := delta.ParsePath(string(o.Path)); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if err := t.checkMatch(o); err != nil {
		return err
	}
	if err := t.plan(o, rec); err != nil {
		return err
	}
	if !o.WantETag {
		rec.ETags = append(rec.ETags, "")
		return nil
	}
	tag, err := t.etag(o.Entity, o.Path)
	rec.ETags = append(rec.ETags, tag)
	return err
}

func (t *txnWriter) plan(o *Op, rec *Receipt) error {
	switch o.Kind {
	case OpPut:
		return t.document(o)
	case OpRm:
		if done, err := t.migrateRm(o.Entity, o.Path); err != nil || done {
			return err
		}
		d, ok, err := merge.PlanDrop(t.r.state, o.Entity, o.Path)
		if err != nil || !ok {
			return err
		}
		return t.put(d)
	case OpAdd, OpRemove, OpVote:
		v, err := delta.ValueOf(o.Value)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, delta.Key(o.Entity, o.Path), err)
		}
		return t.value(o, v)
	case OpInc:
		return t.inc(o.Entity, o.Path, o.N)
	case OpNegate:
		return t.negate(o.Dots)
	case OpUndo:
		return t.undo(o.Dots, rec)
	}
	return fmt.Errorf("%w: unknown operation %q", ErrInvalid, o.Kind)
}

func (t *txnWriter) value(o *Op, v delta.Value) error {
	switch o.Kind {
	case OpAdd:
		return t.put(merge.PlanAdd(o.Entity, o.Path, v))
	case OpVote:
		if err := t.migrateVote(o.Entity, o.Path); err != nil {
			return err
		}
		d, err := merge.PlanVote(t.r.state, o.Entity, o.Path, t.origin.Creator, v)
		if err != nil {
			return err
		}
		return t.put(d)
	}
	if err := t.migrateRemove(o.Entity, o.Path, v); err != nil {
		return err
	}
	d, ok, err := merge.PlanRemove(t.r.state, o.Entity, o.Path, v)
	if err != nil || !ok {
		return err
	}
	return t.put(d)
}

// document merges a document leaf by leaf.
func (t *txnWriter) document(o *Op) error {
	leaves, err := t.leavesOf(o)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, delta.Key(o.Entity, o.Path), err)
	}
	if o.SkipEqual {
		if leaves, err = t.news(o.Entity, leaves); err != nil {
			return err
		}
	}
	alone, err := t.migratePut(o.Entity, leaves)
	if err != nil {
		return err
	}
	plan := merge.PlanAssign
	if alone {
		plan = merge.PlanAssignAlone
	}
	for i := range leaves {
		d, err := plan(t.r.state, o.Entity, leaves[i].Path, leaves[i].Value)
		if err != nil {
			return err
		}
		if err := t.put(d); err != nil {
			return err
		}
	}
	return nil
}

// news returns the leaves that are not there already.
func (t *txnWriter) news(entity string, leaves []delta.Leaf) ([]delta.Leaf, error) {
	var out []delta.Leaf
	for i := range leaves {
		same, err := t.holds(entity, &leaves[i])
		if err != nil {
			return nil, err
		}
		if !same {
			out = append(out, leaves[i])
		}
	}
	return out, nil
}

// leavesOf returns what a put writes where, until it is called again.
func (t *txnWriter) leavesOf(o *Op) (leaves []delta.Leaf, err error) {
	if o.Whole {
		v, err := delta.ValueOf(o.Value)
		return []delta.Leaf{{Path: o.Path, Value: v}}, err
	}
	return t.r.flattener.Flatten(o.Path, o.Value)
}

// holds reports whether a leaf is already all that is read at its path.
func (t *txnWriter) holds(entity string, l *delta.Leaf) (bool, error) {
	n, same := 0, true
	err := merge.StandingsIn(t.r.state, entity, l.Path, t.r.guard.catalog.Rules(entity), func(s *merge.Standing) error {
		for i := range s.Places {
			x := &s.Places[i]
			if x.Path == l.Path || strings.HasPrefix(string(x.Path), string(l.Path)+"/") {
				n++
				same = same && x.Path == l.Path && x.Err == nil && x.Survivor.Verb == delta.Assign && bytes.Equal(x.Survivor.Value, l.Value)
			}
		}
		return nil
	})
	return n == 1 && same, err
}

// etag returns the ETag that a read by the rules in force before the transaction
// shows.
func (t *txnWriter) etag(entity string, p delta.Path) (string, error) {
	sum, _, err := merge.ETag(t.r.state, entity, p, t.r.guard.catalog.Rules(entity))
	return etagText(sum), err
}

// etagText shortens a reading's sum to 128 bits. What only rules put there holds
// nothing that a write could depend on.
func etagText(sum digest.Sum) string {
	if sum == (digest.Sum{}) {
		return AbsentETag
	}
	return sum.String()[:32]
}

// checkMatch holds an operation to the ETag that its caller saw.
func (t *txnWriter) checkMatch(o *Op) error {
	if o.IfMatch == "" {
		return nil
	}
	tag, err := t.etag(o.Entity, o.Path)
	if err != nil {
		return err
	}
	if tag == o.IfMatch || o.IfMatch == "*" && tag != AbsentETag {
		return nil
	}
	return fmt.Errorf("%w: %s has etag %s, not %s", ErrPrecondition, delta.Key(o.Entity, o.Path), tag, o.IfMatch)
}

// located is a delta and where it stands.
type located struct {
	entry *delta.Entry
	d     *delta.Delta
	txn   *delta.Txn
	first uint32 // index of the transaction's first delta
	tag   delta.Tag
}

// locate finds the delta that a dot names, in the log or in the entry in the
// making.
func (r *Replica) locate(dot clock.Dot) (located, error) {
	rec, err := r.log.Record(r.db, dot.Entry())
	if errors.Is(err, oplog.ErrNotFound) && dot.Seq > 0 && dot.Seq <= r.log.Floor(dot.Lane) {
		return located{}, fmt.Errorf("%w: entry %v was compacted away", ErrGone, dot.Entry())
	}
	if errors.Is(err, oplog.ErrNotFound) {
		return located{}, fmt.Errorf("%w: no entry %v here", ErrNotFound, dot.Entry())
	}
	if err != nil {
		return located{}, err
	}
	return locateIn(&rec, dot)
}

// locateIn finds the delta that a dot names in the record of its entry.
func locateIn(rec *oplog.Record, dot clock.Dot) (located, error) {
	e, err := rec.Entry()
	if err != nil {
		return located{}, err
	}
	index := uint32(0)
	for i := range e.Body.Txns {
		x := &e.Body.Txns[i]
		n := uint32(len(x.Deltas))
		if dot.Index < index+n {
			d := &x.Deltas[dot.Index-index]
			return located{e, d, x, index, delta.TagOf(e.Lane, x.Creator, d)}, nil
		}
		index += n
	}
	return located{}, fmt.Errorf("%w: entry %v has no delta %d", ErrNotFound, dot.Entry(), dot.Index)
}

// negate kills the named dots.
func (t *txnWriter) negate(dots []clock.Dot) error {
	if len(dots) == 0 {
		return fmt.Errorf("%w: negate names no dot", ErrInvalid)
	}
	for _, dot := range dots {
		l, err := t.r.locate(dot)
		if err != nil {
			return err
		}
		switch {
		case l.d.Verb == delta.Inc:
			return fmt.Errorf("%w: %v is an inc: undo it by an inc of %s", ErrInvalid, dot, "the inverse")
		case !l.d.Verb.Survives():
			return fmt.Errorf("%w: %v is a %v, which leaves nothing to negate: see undo", ErrInvalid, dot, l.d.Verb)
		}
		if err := t.put(merge.PlanNegate(l.d.Entity, l.d.Path, l.tag, []clock.Dot{dot})); err != nil {
			return err
		}
	}
	return nil
}
