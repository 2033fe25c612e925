package compaction

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/digest"
)

// A Checkpoint is the record of one compaction. It is durable before anything
// that it covers is dropped.
type Checkpoint struct {
	Number  uint64
	Time    int64  // wall time in milliseconds since 1970
	Ordinal uint64 // up to which the order of application goes
	Done    bool   // the entries are gone

	// Cut are, in lane order, the heads of the lanes whose floors rise to them.
	Cut []clock.LaneHead

	// Root and Digest are those of the whole replica when it was recorded:
	// compaction changes neither.
	Root, Digest digest.Sum
	Rows         uint64 // survivors then
	Entries      uint64 // raw entries that it drops
	Bytes        uint64 // about how many bytes of them
}

// ErrCheckpoint reports a record that cannot be read.
var ErrCheckpoint = errors.New("compaction: malformed checkpoint")

const checkpointVersion = 1

// Append appends the stored form:
//
//	checksum of the rest (4) | version, done (1 each)
//	time, ordinal, rows, entries, bytes (uvarints) | root, digest (32 each) | cut
//
// where the cut is as clock.AppendHeads writes it, in pages of at most
// clock.MaxHeads lanes. The number stands in the key.
func (c *Checkpoint) Append(b []byte) []byte {
	row := []byte{checkpointVersion, 0}
	if c.Done {
		row[1] = 1
	}
	for _, n := range []uint64{uint64(max(c.Time, 0)), c.Ordinal, c.Rows, c.Entries, c.Bytes} {
		row = binary.AppendUvarint(row, n)
	}
	for _, s := range []digest.Sum{c.Root, c.Digest} {
		x := s.Bytes()
		row = append(row, x[:]...)
	}
	for heads := c.Cut; len(heads) > 0; {
		n := min(len(heads), clock.MaxHeads)
		row = clock.AppendHeads(row, heads[:n])
		heads = heads[n:]
	}
	return append(binary.BigEndian.AppendUint32(b, crc32.Checksum(row, castagnoli)), row...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ParseCheckpoint reads what Append wrote.
func ParseCheckpoint(number uint64, b []byte) (c Checkpoint, err error) {
	if len(b) < 6 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) || b[4] != checkpointVersion || b[5] > 1 {
		return c, ErrCheckpoint
	}
	c.Number, c.Done = number, b[5] == 1
	b = b[6:]
	var ms uint64
	for _, p := range []*uint64{&ms, &c.Ordinal, &c.Rows, &c.Entries, &c.Bytes} {
		n, k := binary.Uvarint(b)
		if k <= 0 {
			return c, ErrCheckpoint
		}
		*p, b = n, b[k:]
	}
	c.Time = int64(ms)
	if len(b) < 2*digest.Size {
		return c, ErrCheckpoint
	}
	c.Root, c.Digest = digest.FromBytes([32]byte(b)), digest.FromBytes([32]byte(b[digest.Size:]))
	for b = b[2*digest.Size:]; len(b) > 0; {
		var page []clock.LaneHead
		if page, b, err = clock.ParseHeads(b); err != nil {
			return c, ErrCheckpoint
		}
		c.Cut = append(c.Cut, page...)
	}
	return c, nil
}
