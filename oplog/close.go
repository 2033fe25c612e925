package oplog

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// ClosedAt returns the seq from which a lane is closed.
func (l *Log) ClosedAt(id clock.LaneID) (uint64, bool) {
	s := l.lanes[id]
	if s == nil || s.closed == 0 {
		return 0, false
	}
	return s.closed, true
}

// ClosedLanes returns the closed lanes, in the order in which they were met.
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
	p, err := ParseProof(b)
	if err != nil {
		return nil, fmt.Errorf("proof of %v: %w: %w", id, storage.ErrCorrupt, err)
	}
	return p, nil
}

// ChainFrom returns the headers from an admitted entry on to the first that is
// signed. What a closing took out may follow, or a branch of its proof: the
// signature that vouches for the last entries before it may stand there.
func (l *Log) ChainFrom(id clock.EntryID) (c Chain, err error) {
	if !l.vector.Covers(id) {
		return Chain{}, fmt.Errorf("chain from %v: %w", id, ErrNotFound)
	}
	for r, err := range l.branchFrom(id) {
		if err != nil {
			return Chain{}, err
		}
		if r.Seq != id.Seq+uint64(len(c.Headers)) {
			break
		}
		c.Headers = append(c.Headers, r.Header)
		if len(r.Sig) > 0 {
			c.Sig = bytes.Clone(r.Sig)
			return c, nil
		}
		if len(c.Headers) == MaxChain {
			break
		}
	}
	if c, ok, err := l.chainOn(c); ok || err != nil {
		return c, err
	}
	if s := l.lanes[id.Lane]; len(c.Headers) == 0 && s.signed.Seq == id.Seq {
		// The entry was dropped, its header was kept.
		return Chain{Headers: []delta.Header{s.signed.Header}, Sig: bytes.Clone(s.signed.Sig)}, nil
	}
	return Chain{}, fmt.Errorf("no signature within %d entries from %v: %w", MaxChain, id, ErrNotFound)
}

// chainOn lengthens a chain that ends right before a closing by the branch of
// the proof that goes on from it.
func (l *Log) chainOn(c Chain) (Chain, bool, error) {
	if len(c.Headers) == 0 {
		return c, false, nil
	}
	last := &c.Headers[len(c.Headers)-1]
	h := delta.HashHeader(last)
	if !l.Vouched(last.ID(), h) {
		return c, false, nil
	}
	p, err := l.Proof(last.Lane)
	if err != nil {
		return c, false, err
	}
	for _, b := range []*Chain{&p.A, &p.B} {
		if b.Headers[0].Prev == h && len(c.Headers)+len(b.Headers) <= MaxChain {
			return Chain{Headers: append(c.Headers, b.Headers...), Sig: b.Sig}, true, nil
		}
	}
	return c, false, nil
}

// branchFrom yields the entries of a lane from one on, and then those that its
// closing took out.
func (l *Log) branchFrom(id clock.EntryID) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for r, err := range l.heldFrom(id) {
			if !yield(r, err) || err != nil {
				return
			}
		}
		if _, closed := l.ClosedAt(id.Lane); !closed {
			return
		}
		for r, err := range l.KeptLane(l.db, id.Lane) {
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// heldFrom yields the admitted entries of a lane from one on, those that are
// not yet flushed among them.
func (l *Log) heldFrom(id clock.EntryID) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s := l.lanes[id.Lane]
		if s == nil {
			return
		}
		// The store may still hold what the batch at hand takes away.
		end := l.vector.Seq(id.Lane) - uint64(len(s.fresh))
		for r, err := range l.Lane(l.db, id.Lane, id.Seq) {
			if err == nil && r.Seq > end {
				break
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
		for _, e := range s.fresh {
			if e.Seq >= id.Seq && !yield(Record{Header: e.Header, Ordinal: e.ordinal, Sig: e.Sig, Raw: e.Raw}, nil) {
				return
			}
		}
	}
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
	for r, err := range l.heldFrom(clock.EntryID{Lane: id, Seq: at}) {
		if err != nil {
			return nil, false, err
		}
		r.Raw, r.Sig = bytes.Clone(r.Raw), bytes.Clone(r.Sig)
		e, err := r.Entry()
		if err != nil {
			return nil, false, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
		}
		taken = append(taken, e)
		b.Delete(l.entryKey(kindEntry, s.number, e.Seq))
		b.Set(l.entryKey(kindKept, s.number, e.Seq), appendRecord(nil, e, r.Ordinal))
	}
	below := s.floor >= at
	if err := l.lower(b, id, s, p); err != nil {
		return nil, false, err
	}
	l.entries -= uint64(len(taken))
	if s.closed > 0 {
		l.closings = l.closings.Minus(closing(id, s.closed))
		l.closed--
	}
	s.closed = at
	l.noteClosed(id, s, p)
	l.retip(taken)
	if below {
		if l.tips[id].Seq >= at {
			delete(l.tips, id)
		}
		l.restoreTips()
	}
	l.dirty[id] = true
	b.Set(l.laneKey(kindProof, s.number), p.Append(nil))
	return taken, true, nil
}

// lower takes the head of a lane, its signed head and its floor back below the
// seq of a proof.
func (l *Log) lower(b storage.Batch, id clock.LaneID, s *laneState, p *Proof) error {
	at := p.Seq()
	if l.vector.Seq(id) < at {
		return nil // and so is the signed head
	}
	h, err := l.HashAt(clock.EntryID{Lane: id, Seq: at - 1})
	if errors.Is(err, ErrNotFound) {
		// It was dropped. The proof names it, by one of two names where the lane
		// forked further down.
		h, err = p.A.Headers[0].Prev, nil
		if s.signed.Seq == at {
			h = s.signed.Prev
		}
	}
	if err != nil {
		return err
	}
	if s.horizon > at-1 {
		s.floor, s.horizon, s.local = min(s.floor, at-1), at-1, min(s.local, at-1)
		if s.horizon == 0 {
			b.Delete(l.laneKey(kindFloor, s.number))
		}
	}
	if s.signed.Seq >= at {
		if s.signed, err = l.signedBelow(id, s, at); err != nil {
			return err
		}
	}
	l.vector.Set(id, clock.Head{Seq: at - 1, Hash: h})
	for n := len(s.fresh); n > 0 && s.fresh[n-1].Seq >= at; n-- {
		s.fresh[n-1] = freshEntry{}
		s.fresh = s.fresh[:n-1]
	}
	return nil
}

// signedBelow finds the newest signed head below a seq: at most the entries
// that may stand between two signatures are looked at.
func (l *Log) signedBelow(id clock.LaneID, s *laneState, at uint64) (h delta.SignedHead, err error) {
	for seq := at - 1; seq > 0; seq-- {
		if e := s.at(seq); e != nil {
			if len(e.Sig) > 0 {
				return delta.SignedHead{Header: e.Header, Sig: bytes.Clone(e.Sig)}, nil
			}
			continue
		}
		r, err := l.Record(l.db, clock.EntryID{Lane: id, Seq: seq})
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return h, err
		}
		if len(r.Sig) > 0 {
			return delta.SignedHead{Header: r.Header, Sig: bytes.Clone(r.Sig)}, nil
		}
	}
	return h, nil
}

// Keep sets an entry aside that a closing keeps out, where it goes on from the
// lane's head and the proof does not vouch for that head: the signature that
// does stands on this entry, or on one that follows. A branch that comes in bulk
// when its lane is closed already, by two others, would else have none.
func (l *Log) Keep(b storage.Batch, e *delta.Entry) {
	s, head := l.lanes[e.Lane], l.vector.Head(e.Lane)
	if s == nil || s.closed == 0 || head.Seq != s.closed-1 || l.Vouched(clock.EntryID{Lane: e.Lane, Seq: head.Seq}, head.Hash) {
		return
	}
	if e.Seq == s.closed {
		s.keptTo = head
	}
	if e.Seq != s.keptTo.Seq+1 || e.Prev != s.keptTo.Hash {
		return
	}
	s.keptTo = clock.Head{Seq: e.Seq, Hash: e.Hash}
	b.Set(l.entryKey(kindKept, s.number, e.Seq), appendRecord(nil, e, l.ordinal))
}

func (l *Log) noteClosed(id clock.LaneID, s *laneState, p *Proof) {
	s.closedBy = [2]clock.Hash{p.A.Headers[0].Prev, p.B.Headers[0].Prev}
	l.closings = l.closings.Plus(closing(id, s.closed))
	l.closed++
	s.forkedBelow = p.Split()
	l.split = slices.DeleteFunc(l.split, func(o clock.LaneID) bool { return o == id })
	if s.floor+1 >= s.closed {
		l.Settle(id)
	}
}

// Settle says that it cannot be found out any more how far down a closed lane
// forked, here or at a peer: the entries are dropped.
func (l *Log) Settle(id clock.LaneID) {
	if s := l.lanes[id]; s != nil && s.forkedBelow && !slices.Contains(l.split, id) {
		l.split = append(l.split, id)
	}
}

// Settled reports whether Settle was said of a lane.
func (l *Log) Settled(id clock.LaneID) bool { return slices.Contains(l.split, id) }

// retip takes entries that are gone out of the tips and puts what they had
// superseded back. Some of it may lie in the past of other tips, which is
// harmless: a dep too many.
func (l *Log) retip(taken []*delta.Entry) {
	for _, e := range taken {
		if l.tips[e.Lane].Seq >= e.Seq {
			delete(l.tips, e.Lane)
		}
	}
	for _, e := range taken {
		l.restoreTip(clock.EntryID{Lane: e.Lane, Seq: e.Seq - 1})
		for i := range e.Body.Deps {
			l.restoreTip(e.Body.Deps[i].EntryID)
		}
	}
}

// restoreTips makes a tip of every head: what dropped entries had superseded is
// not known, and a dep too many is harmless.
func (l *Log) restoreTips() {
	for _, lane := range l.vector.Lanes() {
		l.restoreTip(clock.EntryID{Lane: lane, Seq: l.vector.Seq(lane)})
	}
}

// restoreTip makes a tip of an entry, or of its lane's last where a closing
// keeps the entry itself out. One that another of its lane follows is in the past
// of that, and need be none: where it is dropped, nothing is known of it, and a
// peer that takes this state over knows the heads alone.
func (l *Log) restoreTip(id clock.EntryID) {
	if head := l.vector.Head(id.Lane); head.Seq > 0 && id.Seq >= head.Seq {
		l.tips[id.Lane] = head
	}
}
