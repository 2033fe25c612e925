package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A Writer writes one file. It has one owner. The first error of the stream
// sticks: Close returns it, and what was written is no backup.
type Writer struct {
	w       io.Writer
	hash    hash.Hash
	enc     *zstd.Encoder
	raw     []byte // the pairs of the block that is being filled
	pairs   uint64 // in it
	last    []byte // the last key
	payload []byte
	sum     Summary
	err     error
}

// NewWriter writes a file's head.
func NewWriter(w io.Writer, h *Header) (*Writer, error) {
	// One goroutine: whoever is backed up has other work to do.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("backup: header: %w", err)
	}
	if len(text) > maxHeaderBytes {
		return nil, fmt.Errorf("backup: header of %d bytes, the limit is %d", len(text), maxHeaderBytes)
	}
	b := &Writer{w: w, hash: sha256.New(), enc: enc}
	b.write(binary.BigEndian.AppendUint16([]byte(magic), Format))
	b.section(sectionHeader, text)
	return b, b.err
}

// Add appends a pair, whose key must be above that of the pair before.
func (b *Writer) Add(key, value []byte) error {
	switch {
	case b.err != nil:
		return b.err
	case len(key) == 0:
		return fmt.Errorf("%w: no key", ErrPair)
	case len(key)+len(value) > maxPairBytes:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrPair, len(key)+len(value), maxPairBytes)
	case b.last != nil && bytes.Compare(key, b.last) <= 0:
		return fmt.Errorf("%w: %x after %x", ErrPair, key, b.last)
	}
	b.last = append(b.last[:0], key...)
	b.raw = binary.AppendUvarint(b.raw, uint64(len(key)))
	b.raw = binary.AppendUvarint(b.raw, uint64(len(value)))
	b.raw = append(append(b.raw, key...), value...)
	b.pairs++
	if len(b.raw) >= blockBytes {
		b.block()
	}
	return b.err
}

// block writes what was added since the last one.
func (b *Writer) block() {
	if b.pairs == 0 {
		return
	}
	b.payload = binary.AppendUvarint(b.payload[:0], b.pairs)
	b.payload = binary.AppendUvarint(b.payload, uint64(len(b.raw)))
	b.payload = b.enc.EncodeAll(b.raw, b.payload)
	b.section(sectionBlock, b.payload)
	b.sum.Pairs += b.pairs
	b.sum.Blocks++
	b.raw, b.pairs = b.raw[:0], 0
}

// Close writes the end. Only a file whose Close returned without an error is a
// backup.
func (b *Writer) Close() (Summary, error) {
	b.block()
	b.hash.Sum(b.sum.SHA256[:0])
	end := binary.AppendUvarint(nil, b.sum.Blocks)
	end = binary.AppendUvarint(end, b.sum.Pairs)
	b.section(sectionEnd, append(end, b.sum.SHA256[:]...))
	return b.sum, b.err
}

func (b *Writer) section(kind byte, payload []byte) {
	frame := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	b.write(binary.BigEndian.AppendUint32(frame, sumOf(frame, payload)))
	b.write(payload)
}

func (b *Writer) write(p []byte) {
	if b.err != nil {
		return
	}
	_, _ = b.hash.Write(p) // a hash never fails
	n, err := b.w.Write(p)
	b.sum.Bytes += uint64(n)
	b.err = err
}
