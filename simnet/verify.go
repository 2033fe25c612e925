package simnet

import (
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// signatures are those that were verified and found good, by all that the
// outcome depends on. What one host of a world has verified, the others need
// not: in a large world that would be most of the work, and always the same.
type signatures struct {
	good map[signature]struct{}
}

type signature struct {
	key    delta.LaneKey
	header clock.Hash
	sig    [delta.SigSize]byte
}

// maxGood bounds the signatures that are remembered; beyond it all are
// forgotten, which costs their verification.
const maxGood = 1 << 17

func (s *signatures) add(k delta.LaneKey, h *delta.Header, sig []byte) {
	if len(s.good) >= maxGood || s.good == nil {
		s.good = make(map[signature]struct{})
	}
	s.good[signature{k, delta.HashHeader(h), [delta.SigSize]byte(sig)}] = struct{}{}
}

// verify is delta.Verify, and remembers.
func (s *signatures) verify(k delta.LaneKey, h *delta.Header, sig []byte) error {
	if len(sig) == delta.SigSize {
		if _, ok := s.good[signature{k, delta.HashHeader(h), [delta.SigSize]byte(sig)}]; ok {
			return nil
		}
	}
	err := delta.Verify(k, h, sig)
	if err == nil {
		s.add(k, h, sig)
	}
	return err
}
