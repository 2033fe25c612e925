package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"

	"github.com/klauspost/compress/zstd"
)

// A Reader reads one file. It has one owner.
type Reader struct {
	r       io.Reader
	hash    hash.Hash
	dec     *zstd.Decoder
	header  Header
	payload []byte
	raw     []byte
	last    []byte // the last key
	sum     Summary
	done    bool
}

// NewReader reads a file's head. It returns ErrNotBackup, ErrVersion or
// ErrCorrupt where that is no good.
func NewReader(r io.Reader) (*Reader, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRawBytes))
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	b := &Reader{r: r, hash: sha256.New(), dec: dec}
	head := make([]byte, headBytes)
	switch err := b.read(head); {
	case !bytes.HasPrefix(head, []byte(magic)):
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return nil, err
		}
		return nil, ErrNotBackup
	case err != nil:
		return nil, err
	}
	if n := int(binary.BigEndian.Uint16(head[len(magic):])); n != Format {
		return nil, &VersionError{n}
	}
	_, _ = b.hash.Write(head) // a hash never fails
	if err := b.readHeader(); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Reader) readHeader() error {
	frame, err := b.section()
	if err != nil {
		return err
	}
	if frame[0] != sectionHeader || json.Unmarshal(b.payload, &b.header) != nil {
		return b.corrupt("it has no header")
	}
	h := &b.header
	if len(h.Root) != 32 || len(h.Digest) != 32 || len(h.Network) != 32 || len(h.Identity) != 0 && len(h.Identity) != 32 {
		return b.corrupt("the header has fields of other lengths")
	}
	b.take(frame)
	return nil
}

// Header returns the file's header.
func (b *Reader) Header() *Header { return &b.header }

// Read tells how much of the file was read so far; once Pairs has ended
// without an error, all of it.
func (b *Reader) Read() Summary { return b.sum }

// Pairs yields the pairs in key order; their slices are valid until the next
// step, and the caller's to change until then. A pair's own section was checked before it is yielded. An error comes
// last, with an empty pair; without one, the whole file was read and holds.
func (b *Reader) Pairs() iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		for !b.done {
			frame, err := b.section()
			if err == nil && frame[0] == sectionEnd {
				err = b.end()
				b.done = err == nil
				if b.done {
					return
				}
			}
			more := true
			if err == nil {
				more, err = b.block(frame, yield)
			}
			if err != nil {
				yield(Pair{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// block yields the pairs of a block; false means that enough was seen.
func (b *Reader) block(frame []byte, yield func(Pair, error) bool) (more bool, err error) {
	if frame[0] != sectionBlock {
		return false, b.corrupt("a section of kind %d", frame[0])
	}
	b.take(frame)
	b.sum.Blocks++
	p := b.payload
	count, n := binary.Uvarint(p)
	size, m := binary.Uvarint(p[max(n, 0):])
	if n <= 0 || m <= 0 || size > maxRawBytes || count == 0 || count > size {
		return false, b.corrupt("block %d begins otherwise", b.sum.Blocks)
	}
	if b.raw, err = b.dec.DecodeAll(p[n+m:], b.raw[:0]); err != nil || uint64(len(b.raw)) != size {
		return false, b.corrupt("block %d does not decompress", b.sum.Blocks)
	}
	rest := b.raw
	for range count {
		klen, n := binary.Uvarint(rest)
		vlen, m := binary.Uvarint(rest[max(n, 0):])
		if n <= 0 || m <= 0 || klen == 0 || klen > size || vlen > size || klen+vlen > uint64(len(rest)-n-m) {
			return false, b.corrupt("block %d holds no pairs", b.sum.Blocks)
		}
		rest = rest[n+m:]
		pair := Pair{rest[:klen:klen], rest[klen : klen+vlen : klen+vlen]}
		rest = rest[klen+vlen:]
		if b.last != nil && bytes.Compare(pair.Key, b.last) <= 0 {
			return false, b.corrupt("block %d: keys do not rise", b.sum.Blocks)
		}
		b.last = append(b.last[:0], pair.Key...)
		b.sum.Pairs++
		if !yield(pair, nil) {
			return false, nil
		}
	}
	if len(rest) > 0 {
		return false, b.corrupt("block %d is longer than its pairs", b.sum.Blocks)
	}
	return true, nil
}

// end holds the file to its end section.
func (b *Reader) end() error {
	b.hash.Sum(b.sum.SHA256[:0])
	p := b.payload
	blocks, n := binary.Uvarint(p)
	pairs, m := binary.Uvarint(p[max(n, 0):])
	if n <= 0 || m <= 0 || blocks != b.sum.Blocks || pairs != b.sum.Pairs || !bytes.Equal(p[n+m:], b.sum.SHA256[:]) {
		return b.corrupt("the end does not fit what comes before it")
	}
	var more [1]byte
	switch _, err := io.ReadFull(b.r, more[:]); {
	case err == nil:
		return b.corrupt("something follows the end")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read backup: %w", err)
	}
	return nil
}

// take counts a section in that is part of what the end vouches for.
func (b *Reader) take(frame []byte) {
	_, _ = b.hash.Write(frame) // a hash never fails
	_, _ = b.hash.Write(b.payload)
}

// section reads a section into payload and returns what stands before it.
func (b *Reader) section() (frame []byte, err error) {
	frame = make([]byte, frameBytes)
	if err := b.read(frame); err != nil {
		return nil, err
	}
	size, limit := int64(binary.BigEndian.Uint32(frame[1:])), int64(maxBlockBytes)
	if frame[0] == sectionHeader {
		limit = maxHeaderBytes
	}
	if size > limit {
		return nil, b.corrupt("a section of %d bytes", size)
	}
	b.payload = b.payload[:0]
	for left := size; left > 0; {
		n := min(left, readBytes)
		at := len(b.payload)
		b.payload = append(b.payload, make([]byte, n)...)
		if err := b.read(b.payload[at:]); err != nil {
			return nil, err
		}
		left -= n
	}
	if sumOf(frame, b.payload) != binary.BigEndian.Uint32(frame[5:]) {
		return nil, b.corrupt("a checksum differs")
	}
	return frame, nil
}

func (b *Reader) read(p []byte) error {
	n, err := io.ReadFull(b.r, p)
	b.sum.Bytes += uint64(n)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return b.corrupt("it is cut short")
	case err != nil:
		return fmt.Errorf("read backup: %w", err)
	}
	return nil
}

// corrupt says what is wrong and up to where the file was read.
func (b *Reader) corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s, before byte %d", ErrCorrupt, fmt.Sprintf(format, args...), b.sum.Bytes)
}

// A File is a Reader of a file on disk. It must be closed.
type File struct {
	*Reader
	f *os.File
}

// Open opens a file on disk and reads its head.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	r, err := NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &File{r, f}, nil
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }
