package delta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// ErrMalformed reports bytes that are not what the format allows. Whoever sent
// them is at fault.
var ErrMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// The major types of CBOR (RFC 8949, section 3.1).
const (
	majorUint byte = iota << 5
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

const (
	cborFalse   = 0xf4
	cborTrue    = 0xf5
	cborNull    = 0xf6
	cborFloat64 = 0xfb
)

func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendBytes(b, v []byte) []byte {
	return append(appendHead(b, majorBytes, uint64(len(v))), v...)
}

func appendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

func appendInt(b []byte, n int64) []byte {
	if n < 0 {
		return appendHead(b, majorNegative, uint64(^n))
	}
	return appendHead(b, majorUint, uint64(n))
}

// linkHead is a DAG-CBOR link up to the hash: tag 42, a byte string of 37
// bytes, the identity multibase prefix, CIDv1, dag-cbor, sha2-256, 32 bytes.
const linkHead = "\xd8\x2a\x58\x25\x00\x01\x71\x12\x20"

func appendLink(b []byte, h [32]byte) []byte {
	return append(append(b, linkHead...), h[:]...)
}

// A reader takes strict DAG-CBOR apart. The first error sticks; after it every
// method returns a zero value, so callers check once at the end.
type reader struct {
	b   []byte // empty after an error
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = malformed(format, args...)
	}
	r.b = nil
}

// head reads a type and its argument, which must be in the shortest form.
func (r *reader) head() (major byte, n uint64) {
	if len(r.b) == 0 {
		r.fail("truncated")
		return 0, 0
	}
	major, info := r.b[0]&0xe0, r.b[0]&0x1f
	if info < 24 {
		r.b = r.b[1:]
		return major, uint64(info)
	}
	if info > 27 {
		r.fail("indefinite length or reserved byte 0x%02x", r.b[0])
		return 0, 0
	}
	size := 1 << (info - 24)
	if len(r.b) < 1+size {
		r.fail("truncated")
		return 0, 0
	}
	var least uint64
	switch size {
	case 1:
		n, least = uint64(r.b[1]), 24
	case 2:
		n, least = uint64(binary.BigEndian.Uint16(r.b[1:])), 1<<8
	case 4:
		n, least = uint64(binary.BigEndian.Uint32(r.b[1:])), 1<<16
	case 8:
		n, least = binary.BigEndian.Uint64(r.b[1:]), 1<<32
	}
	if n < least && major != majorSimple {
		r.fail("%d not in its shortest form", n)
		return 0, 0
	}
	r.b = r.b[1+size:]
	return major, n
}

func (r *reader) expect(major byte, what string) uint64 {
	// Most heads are one byte. After an error b is empty.
	if len(r.b) > 0 && r.b[0]-major < 24 {
		n := r.b[0] - major
		r.b = r.b[1:]
		return uint64(n)
	}
	if r.err != nil {
		return 0
	}
	got, n := r.head()
	if r.err == nil && got != major {
		r.fail("%s: unexpected type %d", what, got>>5)
		return 0
	}
	return n
}

// uint reads a number below 2^63: what seqs, times and indexes may be.
func (r *reader) uint(what string) uint64 {
	n := r.expect(majorUint, what)
	if n > math.MaxInt64 {
		r.fail("%s: %d is past int64", what, n)
		return 0
	}
	return n
}

// array reads the head of an array and checks its length: every element takes
// at least a byte, so a length past the rest of the input is a lie.
func (r *reader) array(what string) int {
	n := r.expect(majorArray, what)
	if n > uint64(len(r.b)) {
		r.fail("%s: %d elements in %d bytes", what, n, len(r.b))
		return 0
	}
	return int(n)
}

func (r *reader) tuple(size int, what string) {
	if n := r.array(what); r.err == nil && n != size {
		r.fail("%s: %d elements, want %d", what, n, size)
	}
}

func (r *reader) take(n uint64, what string) []byte {
	if n > uint64(len(r.b)) {
		r.fail("%s: truncated", what)
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(what string) []byte {
	return r.take(r.expect(majorBytes, what), what)
}

func (r *reader) fixed(dst []byte, what string) {
	v := r.bytes(what)
	if r.err == nil && len(v) != len(dst) {
		r.fail("%s: %d bytes, want %d", what, len(v), len(dst))
		return
	}
	copy(dst, v)
}

func (r *reader) text(limit int, what string) string { return r.textExpected("", limit, what) }

// textExpected reads a text. Where it is the one that is expected, that one is
// returned, and none is made.
func (r *reader) textExpected(expected string, limit int, what string) string {
	n := r.expect(majorText, what)
	if n > uint64(limit) {
		r.fail("%s: %d bytes, at most %d are allowed", what, n, limit)
		return ""
	}
	v := r.take(n, what)
	if !utf8.Valid(v) {
		r.fail("%s: not UTF-8", what)
		return ""
	}
	if string(v) == expected {
		return expected
	}
	return string(v)
}

func (r *reader) link(dst *[32]byte, what string) {
	if len(r.b) < len(linkHead)+32 || string(r.b[:len(linkHead)]) != linkHead {
		r.fail("%s: not a dag-cbor sha2-256 link", what)
		return
	}
	copy(dst[:], r.b[len(linkHead):])
	r.b = r.b[len(linkHead)+32:]
}

// peek returns the next byte, 0xff at the end.
func (r *reader) peek() byte {
	if len(r.b) == 0 {
		return 0xff
	}
	return r.b[0]
}

// value takes one value of the kinds that Rhizome allows.
func (r *reader) value() Value {
	start := r.b
	r.skip(0)
	if r.err != nil {
		return nil
	}
	v := start[:len(start)-len(r.b)]
	if len(v) > MaxValueBytes {
		r.fail("value of %d bytes, at most %d are allowed", len(v), MaxValueBytes)
		return nil
	}
	return Value(v)
}

func (r *reader) skip(depth int) {
	if depth > MaxDepth {
		r.fail("value nested deeper than %d", MaxDepth)
		return
	}
	if r.err != nil {
		return
	}
	first := r.peek()
	major, n := r.head()
	if r.err != nil {
		return
	}
	switch major {
	case majorUint, majorNegative:
		if n > math.MaxInt64 {
			r.fail("integer outside int64")
		}
	case majorBytes:
		r.take(n, "bytes")
	case majorText:
		if v := r.take(n, "text"); !utf8.Valid(v) {
			r.fail("text: not UTF-8")
		}
	case majorArray:
		for ; n > 0 && r.err == nil; n-- {
			r.skip(depth + 1)
		}
	case majorMap:
		r.skipMap(n, depth)
	case majorSimple:
		switch first {
		case cborFalse, cborTrue, cborNull:
		case cborFloat64:
			if f := math.Float64frombits(n); math.IsNaN(f) || math.IsInf(f, 0) {
				r.fail("float is not a finite number")
			}
		default:
			r.fail("simple value 0x%02x", first)
		}
	default:
		r.fail("tag %d inside a value", n)
	}
}

// skipMap checks that the keys are texts in DAG-CBOR order: shorter first, then
// bytewise, none twice. A map of one reserved key would read in JSON as what it
// is not, unless it is a reference.
func (r *reader) skipMap(n uint64, depth int) {
	var last []byte
	for i := uint64(0); i < n && r.err == nil; i++ {
		key := r.take(r.expect(majorText, "map key"), "map key")
		if r.err != nil {
			return
		}
		if !utf8.Valid(key) {
			r.fail("map key: not UTF-8")
		}
		if i > 0 && compareKeys(last, key) >= 0 {
			r.fail("map keys out of order or repeated")
		}
		last = key
		if n == 1 && string(key) == bytesKey {
			r.fail("map with %s as its one key", bytesKey)
		}
		if n == 1 && string(key) == refKey {
			if err := CheckEntity(r.text(MaxEntityBytes, refKey)); err != nil && r.err == nil {
				r.fail("%s: %v", refKey, err)
			}
			return
		}
		r.skip(depth + 1)
	}
}

// compareKeys orders map keys as DAG-CBOR does.
func compareKeys[T string | []byte](a, b T) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	switch {
	case string(a) < string(b):
		return -1
	case string(a) > string(b):
		return 1
	}
	return 0
}

func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("%s: %d trailing bytes", what, len(r.b))
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", what, r.err)
	}
	return nil
}
