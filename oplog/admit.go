package oplog

import (
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A Verdict is what Check says of an entry.
type Verdict int

// The verdicts.
const (
	Ready     Verdict = iota // all it needs is admitted
	Duplicate                // it is held already
	Gap                      // it waits for others
	Closed                   // its lane is closed at or below it
	Forked                   // it contradicts what is held
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return [...]string{"ready", "duplicate", "gap", "closed", "forked"}[v]
}

// Check says how an entry of a known lane stands to what is held. For a Gap,
// missing is the first entry that it waits for.
func (l *Log) Check(e *delta.Entry) (v Verdict, missing clock.EntryID, err error) {
	head := l.vector.Head(e.Lane)
	if at, ok := l.ClosedAt(e.Lane); ok && e.Seq >= at {
		return Closed, missing, nil
	}
	if e.Seq <= head.Seq {
		held, err := l.HashAt(e.ID())
		if errors.Is(err, ErrNotFound) {
			return Duplicate, missing, nil // gone from the log, or not yet written
		}
		if err != nil || held == e.Hash {
			return Duplicate, missing, err
		}
		return Forked, missing, nil
	}
	if e.Seq == head.Seq+1 && e.Prev != head.Hash {
		return Forked, missing, nil
	}
	if missing, ok := l.unmet(e); ok {
		return Gap, missing, nil
	}
	return Ready, missing, nil
}

// unmet returns the first entry that e needs and that is not admitted.
func (l *Log) unmet(e *delta.Entry) (clock.EntryID, bool) {
	if prev := (clock.EntryID{Lane: e.Lane, Seq: e.Seq - 1}); l.vector.Seq(e.Lane) < prev.Seq {
		return prev, true
	}
	for i := range e.Body.Deps {
		if id := e.Body.Deps[i].EntryID; !l.met(id) {
			return id, true
		}
	}
	for i := range e.Body.Txns {
		for j := range e.Body.Txns[i].Deltas {
			for _, k := range e.Body.Txns[i].Deltas[j].Kills {
				if id, ok := l.unmetDot(e, k.Dots); ok {
					return id, true
				}
				if id, ok := l.unmetDot(e, k.Bounds); ok {
					return id, true
				}
			}
		}
	}
	return clock.EntryID{}, false
}

func (l *Log) unmetDot(e *delta.Entry, dots []clock.Dot) (clock.EntryID, bool) {
	for _, d := range dots {
		if d.Lane != e.Lane && !l.met(d.Entry()) {
			return d.Entry(), true
		}
	}
	return clock.EntryID{}, false
}

// ClosedAt returns the seq from which a lane is closed.
func (l *Log) ClosedAt(id clock.LaneID) (uint64, bool) {
	s := l.lanes[id]
	if s == nil || s.closed == 0 {
		return 0, false
	}
	return s.closed, true
}

// ClosedLanes returns the closed lanes in order.
func (l *Log) ClosedLanes() []clock.LaneID {
	var out []clock.LaneID
	if l.closed == 0 {
		return nil
	}
	for n := uint32(1); ; n++ {
		id, ok := l.Lanes.Lane(n)
		if !ok {
			return out
		}
		if l.lanes[id].closed > 0 {
			out = append(out, id)
		}
	}
}

// Vouched reports whether a hash is vouched for as the last entry of a closed
// lane: the proof's branches name it as their prev.
func (l *Log) Vouched(id clock.EntryID, h clock.Hash) bool {
	s := l.lanes[id.Lane]
	return s != nil && s.closed > 0 && id.Seq == s.closed-1 && (h == s.closedBy[0] || h == s.closedBy[1])
}

// Proof returns the proof by which a lane was closed.
func (l *Log) Proof(id clock.LaneID) (*Proof, error) {
	n, ok := l.Lanes.lookup(id)
	if !ok {
		return nil, fmt.Errorf("proof of %v: %w", id, ErrNotFound)
	}
	b, err := l.db.Get(l.laneKey(kindProof, n))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("proof of %v: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("proof of %v: %w", id, err)
	}
	return ParseProof(b)
}

// ChainFrom returns the headers from an entry on to the first that is signed.
func (l *Log) ChainFrom(id clock.EntryID) (c Chain, err error) {
	for r, err := range l.Lane(l.db, id.Lane, id.Seq) {
		if err != nil {
			return c, err
		}
		c.Headers = append(c.Headers, r.Header)
		if len(r.Sig) > 0 {
			c.Sig = append([]byte(nil), r.Sig...)
			return c, nil
		}
		if len(c.Headers) == MaxChain {
			break
		}
	}
	return c, fmt.Errorf("no signature within %d entries from %v: %w", MaxChain, id, ErrNotFound)
}

// ProofAgainst makes a proof of our own entry at a seq and another's chain.
func (l *Log) ProofAgainst(theirs Chain) (*Proof, error) {
	if len(theirs.Headers) == 0 {
		return nil, fmt.Errorf("fork proof: %w: empty chain", delta.ErrMalformed)
	}
	first := &theirs.Headers[0]
	ours, err := l.ChainFrom(first.ID())
	if err != nil {
		return nil, fmt.Errorf("fork proof: %w", err)
	}
	key, ok := l.Lanes.Key(first.Lane)
	if !ok {
		return nil, fmt.Errorf("fork proof: lane %v: %w", first.Lane, ErrNotFound)
	}
	p := &Proof{Key: key, A: ours, B: theirs}
	if a, b := p.A.First(), p.B.First(); string(a[:]) > string(b[:]) {
		p.A, p.B = p.B, p.A
	}
	return p, p.Verify(l.space)
}

// Close closes a lane by a verified proof. It returns the entries that this
// takes out of the state, oldest first; they stay readable as Kept. Changed is
// false where the lane is closed at or below that seq already.
func (l *Log) Close(b storage.Batch, p *Proof) (taken []*delta.Entry, changed bool, err error) {
	id := l.AddLane(p.Key)
	s, at := l.lanes[id], p.Seq()
	if s.closed > 0 && s.closed <= at {
		return nil, false, nil
	}
	for r, err := range l.Lane(l.db, id, at) {
		if err != nil {
			return nil, false, err
		}
		r.Raw, r.Sig = append([]byte(nil), r.Raw...), append([]byte(nil), r.Sig...)
		e, err := r.Entry()
		if err != nil {
			return nil, false, err
		}
		taken = append(taken, e)
		b.Delete(l.entryKey(kindEntry, s.number, e.Seq))
		b.Set(l.entryKey(kindKept, s.number, e.Seq), appendRecord(nil, e, r.Ordinal))
		l.entries--
	}
	if held := l.vector.Seq(id); held >= at {
		h, err := l.HashAt(clock.EntryID{Lane: id, Seq: at - 1})
		if err != nil {
			return nil, false, err
		}
		l.vector.Set(id, clock.Head{Seq: at - 1, Hash: h})
	}
	if s.closed > 0 {
		l.closings = l.closings.Minus(closing(id, s.closed))
		l.closed--
	}
	s.closed = at
	l.noteClosed(id, s, p)
	if s.signed.Seq >= at {
		s.signed = delta.SignedHead{}
	}
	if err := l.retip(taken); err != nil {
		return nil, false, err
	}
	l.dirty[id] = true
	b.Set(l.laneKey(kindProof, s.number), p.Append(nil))
	return taken, true, nil
}

func (l *Log) noteClosed(id clock.LaneID, s *laneState, p *Proof) {
	s.closedBy = [2]clock.Hash{p.A.Headers[0].Prev, p.B.Headers[0].Prev}
	l.closings = l.closings.Plus(closing(id, s.closed))
	l.closed++
}

// retip takes entries that are gone out of the tips and puts what they had
// superseded back. Some of it may lie in the past of other tips, which is
// harmless: a dep too many.
func (l *Log) retip(taken []*delta.Entry) error {
	for _, e := range taken {
		if l.tips[e.Lane].Seq >= e.Seq {
			delete(l.tips, e.Lane)
		}
	}
	for _, e := range taken {
		if err := l.restoreTip(clock.EntryID{Lane: e.Lane, Seq: e.Seq - 1}); err != nil {
			return err
		}
		for i := range e.Body.Deps {
			if err := l.restoreTip(e.Body.Deps[i].EntryID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Log) restoreTip(id clock.EntryID) error {
	if id.Seq == 0 || !l.vector.Covers(id) || l.tips[id.Lane].Seq >= id.Seq {
		return nil
	}
	h, err := l.HashAt(id)
	if err == nil {
		l.tips[id.Lane] = clock.Head{Seq: id.Seq, Hash: h}
	}
	return err
}
