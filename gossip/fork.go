package gossip

import (
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// probe searches for the first entry in which two replicas' copies of a lane
// differ: they agree at lo and differ at hi.
type probe struct {
	lane   clock.LaneID
	lo, hi uint64
	at     int64 // when the last question was put
	raised bool  // hi was raised to where both hold an entry
}

// compareHeads looks whether a peer's head contradicts what we hold.
func (m *Machine) compareHeads(s *session, theirs clock.LaneHead) error {
	mine := m.log.Vector().Head(theirs.Lane)
	if theirs.Head.Seq == 0 || theirs.Head.Seq > mine.Seq {
		return nil // the peer sees it, if anything is wrong
	}
	id := clock.EntryID{Lane: theirs.Lane, Seq: theirs.Head.Seq}
	h, err := m.log.HashAt(id)
	if errors.Is(err, oplog.ErrNotFound) || m.log.Settled(id.Lane) && m.log.Vouched(id, theirs.Head.Hash) {
		return nil // nothing is known, or can be known any more
	}
	if err == nil && h != theirs.Head.Hash {
		s.suspect = true
		m.probeFork(s, clock.EntryID{Lane: theirs.Lane, Seq: theirs.Head.Seq})
	}
	return err
}

// suspectAgain looks again for heads that contradict ours: those that were left
// when an earlier search ended.
func (m *Machine) suspectAgain(s *session) error {
	if !s.suspect || s.probe != nil {
		return nil
	}
	s.suspect = false
	for _, l := range s.theirs.Lanes() {
		if err := m.compareHeads(s, clock.LaneHead{Lane: l, Head: s.theirs.Head(l)}); err != nil || s.probe != nil {
			return err
		}
	}
	return nil
}

// probeFork begins to search, with a peer that holds another branch, for where
// a lane forked.
func (m *Machine) probeFork(s *session, at clock.EntryID) {
	if s.probe != nil || at.Seq == 0 {
		return
	}
	s.probe = &probe{lane: at.Lane, hi: at.Seq}
	m.probeOn(s)
}

// ProbeAll compares with every peer anew, for one may hold the other branch: an
// entry came by publication that contradicts what is held.
func (m *Machine) ProbeAll(now int64) {
	m.advance(now)
	if m.probedAll != 0 && m.now-m.probedAll < probeAllMillis {
		return
	}
	m.probedAll = m.now
	for _, s := range m.ordered() {
		if s.greeted {
			s.suspect = true
			m.sendRoot(s, 0, true)
		}
	}
}

// checkProbes gives up searches that a peer does not answer.
func (m *Machine) checkProbes() {
	for _, s := range m.ordered() {
		if s.probe != nil && m.now-s.probe.at >= stallMillis {
			s.probe, s.suspect = nil, true
		}
	}
}

func (m *Machine) probeOn(s *session) {
	p := s.probe
	p.at = m.now
	if floor := m.log.Floor(p.lane); p.hi <= floor && floor < m.log.Vector().Seq(p.lane) {
		p.lo, p.hi = floor, floor+1 // below, we hold no header to prove anything with
	}
	if p.hi-p.lo == 1 {
		m.send(s, appendIDMessage(kindChainAsk, clock.EntryID{Lane: p.lane, Seq: p.hi}))
		return
	}
	m.send(s, appendIDMessage(kindHashAsk, clock.EntryID{Lane: p.lane, Seq: p.lo + (p.hi-p.lo)/2}))
}

func (m *Machine) dispatchFork(s *session, k kind, r *reader) ([]Task, error) {
	switch k {
	case kindHashAsk:
		if id := r.id(); r.err == nil {
			return nil, m.onHashAsk(s, id)
		}
	case kindHash:
		if h := r.hash(); r.err == nil {
			return nil, m.onHash(s, &h)
		}
	case kindChainAsk:
		if id := r.id(); r.err == nil {
			return nil, m.onChainAsk(s, id)
		}
	case kindChain:
		if c := r.chain(); r.err == nil {
			return m.onChain(s, &c)
		}
	case kindProof:
		p, err := oplog.ParseProof(r.b)
		if err != nil {
			return nil, err
		}
		r.b = nil
		s.proofsTold[p.Key.ID(m.log.Space())] = p.Seq()
		return []Task{CloseLane{s.id, p}}, nil
	}
	return nil, r.err
}

func (m *Machine) onHashAsk(s *session, id clock.EntryID) error {
	h, err := m.log.HashAt(id)
	if err != nil && !errors.Is(err, oplog.ErrNotFound) {
		return err
	}
	x := hash{ID: id, Hash: h, Held: err == nil}
	m.send(s, x.append())
	return nil
}

func (m *Machine) onHash(s *session, x *hash) error {
	p := s.probe
	if p == nil || p.lane != x.ID.Lane || x.ID.Seq != p.lo+(p.hi-p.lo)/2 {
		return nil // of a search that was given up
	}
	if x.ID.Seq > m.log.Vector().Seq(p.lane) {
		s.probe = nil // the lane was closed meanwhile
		return nil
	}
	mine, err := m.log.HashAt(x.ID)
	switch {
	case errors.Is(err, oplog.ErrNotFound) || err == nil && !x.Held:
		// One of us has dropped it. The lane may have forked there or below, but
		// that nobody can prove any more: it is closed at the first entry that
		// both hold and that differs.
		p.lo = x.ID.Seq
	case err != nil:
		return err
	case mine == x.Hash:
		p.lo = x.ID.Seq
	default:
		p.hi = x.ID.Seq
	}
	m.probeOn(s)
	return nil
}

func (m *Machine) onChainAsk(s *session, id clock.EntryID) error {
	c, err := m.log.ChainFrom(id)
	if err != nil && !errors.Is(err, oplog.ErrNotFound) {
		return err
	}
	x := chain{ID: id}
	if err == nil {
		x.Chain = c
	}
	m.send(s, x.append())
	return nil
}

func (m *Machine) onChain(s *session, x *chain) ([]Task, error) {
	p := s.probe
	if p == nil || x.ID != (clock.EntryID{Lane: p.lane, Seq: p.hi}) {
		return nil, nil
	}
	s.probe = nil
	if top := min(m.log.Vector().Seq(p.lane), s.theirs.Seq(p.lane)); len(x.Chain.Headers) == 0 && !p.raised && top > p.hi {
		// Dropped there. What follows a fork differs too, up to the heads.
		s.probe = p
		p.raised, p.lo, p.hi = true, top-1, top
		m.probeOn(s)
		return nil, nil
	}
	if len(x.Chain.Headers) == 0 {
		// Closed there meanwhile, and a proof is on its way; or dropped.
		if at, closed := m.log.ClosedAt(p.lane); closed && at == p.hi+1 {
			m.log.Settle(p.lane)
		}
		return nil, nil
	}
	if x.Chain.Headers[0].ID() != x.ID {
		return nil, fmt.Errorf("%w: chain of another entry", delta.ErrMalformed)
	}
	if proof := m.proofOf(x.Chain); proof != nil {
		return []Task{CloseLane{s.id, proof}}, nil
	}
	return nil, nil
}

// proofOf makes a proof of a chain that contradicts ours, or returns nil where
// ours no longer stands against it.
func (m *Machine) proofOf(c oplog.Chain) *oplog.Proof {
	p, err := m.log.ProofAgainst(c)
	if err != nil {
		return nil
	}
	return p
}

// ProofTaken tells what became of a CloseLane: err for a proof that proves
// nothing, changed for one that closed a lane.
func (m *Machine) ProofTaken(now int64, from SessionID, p *oplog.Proof, changed bool, err error) {
	m.advance(now)
	s := m.sessions[from]
	if err != nil {
		if s != nil {
			m.drop(s, err, true)
		}
		return
	}
	if !changed {
		return
	}
	m.raise("fork", "see `rhizome status` and `rhizome log --lane "+p.Lane().String()+"`",
		"author %v signed two entries as %v:%d: the lane is closed there", p.Key.Author, p.Lane(), p.Seq())
	for _, s := range m.ordered() {
		if s.probe != nil && s.probe.lane == p.Lane() {
			s.probe = nil
		}
		if s.greeted {
			m.tellProof(s, p)
			m.sendRoot(s, 0, true)
		}
	}
}

// sendProofs tells a peer of the closed lanes that it may not know.
func (m *Machine) sendProofs(s *session) error {
	for _, l := range m.log.ClosedLanes() {
		if at, _ := m.log.ClosedAt(l); s.proofsTold[l] != 0 && s.proofsTold[l] <= at {
			continue
		}
		p, err := m.log.Proof(l)
		if err != nil {
			return err
		}
		m.tellProof(s, p)
	}
	return nil
}

func (m *Machine) tellProof(s *session, p *oplog.Proof) {
	if at := s.proofsTold[p.Lane()]; at != 0 && at <= p.Seq() {
		return
	}
	s.proofsTold[p.Lane()] = p.Seq()
	m.send(s, p.Append([]byte{byte(kindProof)}))
}
