package gossip

import "encoding/binary"

// Two replicas with equal roots hold the same entries, and so the same state,
// unless a lane was forked: what its branches killed stays dead, and each has
// applied branches that the other never will. Dead beats alive: at equal
// vectors the join is the intersection of the two states. Buckets of survivors
// are compared by digest, and the marks of those that differ are exchanged.

// diverged handles equal roots with unequal digests.
func (m *Machine) diverged(s *session) error {
	if len(m.log.ClosedLanes()) == 0 {
		if !s.alarmed {
			s.alarmed = true
			m.raise("digest", "run `rhizome verify` on both hosts",
				"equal logs but unequal states here and at peer %s", s.node)
		}
		return nil
	}
	if mine := m.log.Root(); s.joinedRoot != mine {
		s.joinedRoot = mine
	} else if m.cfg.Rand.Uint64N(4) != 0 {
		return nil // begun at this root already; begin again only now and then
	}
	return m.sendJoin(s)
}

func (m *Machine) sendJoin(s *session) error {
	n := min(max(m.replica.Survivors()/bucketSurvivors, 1)*4, maxBuckets)
	b, err := m.replica.Buckets(n)
	if err != nil {
		return err
	}
	x := join{Root: m.log.Root(), Buckets: b}
	m.send(s, x.append())
	return nil
}

func (m *Machine) dispatchJoin(s *session, k kind, r *reader) ([]Task, error) {
	switch k {
	case kindJoin:
		if x := r.join(); r.err == nil && len(x.Buckets) > 0 {
			return nil, m.onJoin(s, &x)
		}
	case kindJoinHave:
		if x := r.joinHave(); r.err == nil {
			return m.onJoinHave(s, &x)
		}
	}
	return nil, r.err
}

// onJoin answers with the marks of the buckets that differ.
func (m *Machine) onJoin(s *session, x *join) error {
	if x.Root != m.log.Root() {
		return nil // one of us moved on; the next comparison begins again
	}
	n := uint64(len(x.Buckets))
	if m.replica.Survivors()/n > maxMarks/4 {
		return m.sendJoin(s) // buckets of ours are too full for a message: more of them
	}
	mine, err := m.replica.Buckets(n)
	if err != nil {
		return err
	}
	var differ []uint64
	for i := range mine {
		if mine[i] != x.Buckets[i] {
			differ = append(differ, uint64(i))
		}
	}
	return m.sendMarks(s, n, differ, true)
}

// sendMarks lists our survivors in some buckets, as many as fit a message.
func (m *Machine) sendMarks(s *session, n uint64, wanted []uint64, answer bool) error {
	if len(wanted) == 0 {
		return nil
	}
	buckets, err := m.replica.Marks(n, wanted)
	if err != nil {
		return err
	}
	marks := 0
	for i := range buckets {
		if marks += len(buckets[i].Marks); marks > maxMarks {
			buckets = buckets[:i]
			break
		}
	}
	x := joinHave{Root: m.log.Root(), Count: n, Buckets: buckets, Answer: answer}
	m.send(s, x.append())
	return nil
}

func (m *Machine) onJoinHave(s *session, x *joinHave) ([]Task, error) {
	if x.Root != m.log.Root() || len(m.log.ClosedLanes()) == 0 {
		return nil, nil
	}
	if x.Answer {
		wanted := make([]uint64, len(x.Buckets))
		for i := range x.Buckets {
			wanted[i] = x.Buckets[i].Index
		}
		if err := m.sendMarks(s, x.Count, wanted, false); err != nil {
			return nil, err
		}
	}
	return []Task{Intersect{s.node, x.Count, x.Buckets}}, nil
}

// Joined tells that the state changed without the vector: peers compare anew.
func (m *Machine) Joined() {
	for _, s := range m.ordered() {
		if s.greeted {
			m.sendRoot(s, 0, true)
		}
	}
}

// MarkBucket returns the bucket, of n, that a mark belongs to.
func MarkBucket(k Mark, n uint64) uint64 { return binary.BigEndian.Uint64(k[:8]) % n }
