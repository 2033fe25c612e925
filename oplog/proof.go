package oplog

import (
	"bytes"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A Chain is a run of headers of one lane whose last is signed, which vouches
// for all of it.
type Chain struct {
	Headers []delta.Header
	Sig     []byte
}

// First returns the hash of the chain's first entry.
func (c *Chain) First() clock.Hash { return delta.HashHeader(&c.Headers[0]) }

func (c *Chain) verify(key delta.LaneKey) error {
	if len(c.Headers) == 0 || len(c.Headers) > MaxChain {
		return fmt.Errorf("%w: chain of %d headers", delta.ErrMalformed, len(c.Headers))
	}
	for i := 1; i < len(c.Headers); i++ {
		h, prev := &c.Headers[i], &c.Headers[i-1]
		if h.Lane != prev.Lane || h.Space != prev.Space || h.Seq != prev.Seq+1 || h.Prev != delta.HashHeader(prev) {
			return fmt.Errorf("%w: headers do not chain at %v", delta.ErrMalformed, h.ID())
		}
	}
	return delta.Verify(key, &c.Headers[len(c.Headers)-1], c.Sig)
}

// A Proof shows that the author of a lane signed two entries with one seq: two
// chains that begin at that seq and differ there. Anybody can check it.
type Proof struct {
	Key  delta.LaneKey
	A, B Chain
}

// Seq returns the seq that was signed twice.
func (p *Proof) Seq() uint64 { return p.A.Headers[0].Seq }

// Split reports whether the two entries follow different ones, so that the lane
// forked further down than the proof shows.
func (p *Proof) Split() bool { return p.A.Headers[0].Prev != p.B.Headers[0].Prev }

// Lane returns the lane.
func (p *Proof) Lane() clock.LaneID { return p.A.Headers[0].Lane }

// Verify checks the proof for a space.
func (p *Proof) Verify(space clock.Hash) error {
	if err := p.A.verify(p.Key); err != nil {
		return fmt.Errorf("fork proof: %w", err)
	}
	if err := p.B.verify(p.Key); err != nil {
		return fmt.Errorf("fork proof: %w", err)
	}
	a, b := &p.A.Headers[0], &p.B.Headers[0]
	if a.Space != space || b.Space != space || a.Lane != b.Lane || a.Seq != b.Seq || p.A.First() == p.B.First() {
		return fmt.Errorf("fork proof: %w: the two chains do not contradict each other", delta.ErrMalformed)
	}
	return nil
}

// Append appends the encoding of the proof: the lane key, then each chain as a
// count, its headers and its signature.
func (p *Proof) Append(b []byte) []byte {
	b = append(b, p.Key.Author[:]...)
	b = append(b, p.Key.Incarnation[:]...)
	for _, c := range []*Chain{&p.A, &p.B} {
		b = c.Append(b)
	}
	return b
}

// Append appends the encoding of the chain.
func (c *Chain) Append(b []byte) []byte {
	b = appendUvarint(b, uint64(len(c.Headers)))
	for i := range c.Headers {
		h := delta.AppendHeader(nil, &c.Headers[i])
		b = append(appendUvarint(b, uint64(len(h))), h...)
	}
	return append(appendUvarint(b, uint64(len(c.Sig))), c.Sig...)
}

// ParseChain reads what Chain.Append wrote and returns what follows. The result
// is not yet verified. A chain without headers has no signature.
func ParseChain(b []byte) (c Chain, rest []byte, err error) {
	bad := fmt.Errorf("%w: chain", delta.ErrMalformed)
	n, b, ok := cutUvarint(b)
	if !ok || n > MaxChain {
		return Chain{}, nil, bad
	}
	for ; n > 0; n-- {
		var block []byte
		if block, b, ok = cutBytes(b); !ok {
			return Chain{}, nil, bad
		}
		h, err := delta.ParseHeader(block)
		if err != nil {
			return Chain{}, nil, err
		}
		c.Headers = append(c.Headers, h)
	}
	sig, b, ok := cutBytes(b)
	if want := min(len(c.Headers), 1) * delta.SigSize; !ok || len(sig) != want {
		return Chain{}, nil, bad
	}
	c.Sig = bytes.Clone(sig)
	return c, b, nil
}

// ParseProof reads what Proof.Append wrote. The result is not yet verified.
func ParseProof(b []byte) (*Proof, error) {
	p := new(Proof)
	if len(b) < len(p.Key.Author)+len(p.Key.Incarnation) {
		return nil, fmt.Errorf("%w: proof of %d bytes", delta.ErrMalformed, len(b))
	}
	b = b[copy(p.Key.Author[:], b):]
	b = b[copy(p.Key.Incarnation[:], b):]
	var err error
	if p.A, b, err = ParseChain(b); err != nil {
		return nil, err
	}
	if p.B, b, err = ParseChain(b); err != nil {
		return nil, err
	}
	if len(b) > 0 || len(p.A.Headers) == 0 || len(p.B.Headers) == 0 {
		return nil, fmt.Errorf("%w: proof", delta.ErrMalformed)
	}
	return p, nil
}
