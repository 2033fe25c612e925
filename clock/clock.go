// Package clock holds Rhizome's logical time: lanes, dots, vectors and the
// hybrid logical clock. It reads no wall time; callers pass it in.
//
// A lane is one append-only chain of entries by one author. An EntryID
// (lane, seq) names an entry and a Dot (lane, seq, index) one delta in it, for
// ever. A Vector says for each lane the highest seq up to which everything is
// held, and the hash of that entry; two vectors with equal seqs but unequal
// hashes show that somebody signed two entries under one name.
package clock

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A LaneID names a lane: 16 bytes of the hash of (space, author, incarnation).
type LaneID [16]byte

// String returns the id in hexadecimal.
func (l LaneID) String() string { return hex.EncodeToString(l[:]) }

// Compare orders lane ids bytewise.
func (l LaneID) Compare(o LaneID) int { return bytes.Compare(l[:], o[:]) }

// less is Compare for the loops that look lanes up.
func (l *LaneID) less(o *LaneID) bool {
	a, b := binary.BigEndian.Uint64(l[:8]), binary.BigEndian.Uint64(o[:8])
	if a == b {
		a, b = binary.BigEndian.Uint64(l[8:]), binary.BigEndian.Uint64(o[8:])
	}
	return a < b
}

// MarshalText returns what String returns.
func (l LaneID) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *LaneID) UnmarshalText(t []byte) (err error) {
	*l, err = ParseLane(string(t))
	return err
}

// ParseLane reads what LaneID.String wrote, and nothing else: a name has one
// spelling, so that texts compare as the names do.
func ParseLane(s string) (l LaneID, err error) {
	if len(s) == 2*len(l) {
		_, err = hex.Decode(l[:], []byte(s))
	}
	if err != nil || l.String() != s {
		return LaneID{}, fmt.Errorf("lane %q: want %d hexadecimal digits in lower case", s, 2*len(l))
	}
	return l, nil
}

// A Hash is the SHA-256 of an entry's header or of another block.
type Hash [32]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// An EntryID names an entry. Seq starts at 1.
type EntryID struct {
	Lane LaneID
	Seq  uint64
}

// String returns lane:seq.
func (e EntryID) String() string { return e.Lane.String() + ":" + strconv.FormatUint(e.Seq, 10) }

// A Dot names one delta. Index runs over all deltas of the entry, from 0.
type Dot struct {
	Lane  LaneID
	Seq   uint64
	Index uint32
}

// Entry returns the id of the entry that holds the delta.
func (d Dot) Entry() EntryID { return EntryID{d.Lane, d.Seq} }

// String returns lane:seq:index.
func (d Dot) String() string {
	return d.Entry().String() + ":" + strconv.FormatUint(uint64(d.Index), 10)
}

// MarshalText returns what String returns.
func (d Dot) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Dot) UnmarshalText(t []byte) (err error) {
	*d, err = ParseDot(string(t))
	return err
}

// Compare orders dots by lane, seq and index.
func (d Dot) Compare(o Dot) int {
	return cmp.Or(d.Lane.Compare(o.Lane), cmp.Compare(d.Seq, o.Seq), cmp.Compare(d.Index, o.Index))
}

// AtMost reports whether d is of the same lane as the bound and not after it.
func (d Dot) AtMost(bound Dot) bool {
	return d.Lane == bound.Lane && (d.Seq < bound.Seq || d.Seq == bound.Seq && d.Index <= bound.Index)
}

// ParseDot reads what Dot.String wrote.
func ParseDot(s string) (Dot, error) {
	id, index, ok := cutLast(s)
	if !ok {
		return Dot{}, fmt.Errorf("dot %q: want lane:seq:index", s)
	}
	e, err := ParseEntryID(id)
	if err != nil {
		return Dot{}, fmt.Errorf("dot %q: %w", s, err)
	}
	i, ok := parseNumber(index, math.MaxUint32)
	if !ok {
		return Dot{}, fmt.Errorf("dot %q: index %q is not a number of 32 bits", s, index)
	}
	return Dot{e.Lane, e.Seq, uint32(i)}, nil
}

// ParseEntryID reads what EntryID.String wrote.
func ParseEntryID(s string) (EntryID, error) {
	lane, seq, ok := cutLast(s)
	if !ok {
		return EntryID{}, fmt.Errorf("entry %q: want lane:seq", s)
	}
	l, err := ParseLane(lane)
	if err != nil {
		return EntryID{}, err
	}
	n, ok := parseNumber(seq, MaxSeq)
	if !ok || n == 0 {
		return EntryID{}, fmt.Errorf("entry %q: seq %q is not a number from 1", s, seq)
	}
	return EntryID{l, n}, nil
}

// parseNumber reads a decimal number without leading zeros.
func parseNumber(s string, limit uint64) (n uint64, ok bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= limit && (s[0] != '0' || len(s) == 1)
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
