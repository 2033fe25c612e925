// Package backup reads and writes backup files: what a repo's store holds of
// one space, as of one moment, in a form that needs no store to be read.
//
// # Contract
//
// A Writer takes pairs in key order and a Reader yields them so. Both stream:
// beside one block they hold nothing in memory. Every byte of a file is covered
// by two checksums, that of its section and that of the whole; a file that is
// cut short, lengthened or changed anywhere is ErrCorrupt, at the latest where
// the pairs end. The checksums show accidents. They do not show who wrote a
// file, and a file that holds an identity is a secret.
//
// Nothing here knows what a key means, but that they rise.
//
// # Format
//
// A file is a magic, a format number and sections; the first is the header, the
// last is the end, and blocks lie between:
//
//	"rhizome backup\n" | format (2) | section…
//	section: kind (1) | payload's length (4) | checksum (4) | payload
//	1 header: JSON, see Header
//	2 block:  pairs, bytes (uvarints) | zstd frame of the pairs
//	3 end:    blocks, pairs (uvarints) | SHA-256 (32) of all before this section
//	pair:     key's length, value's length (uvarints) | key | value
//
// Integers of fixed width are big-endian. A section's checksum is the CRC-32
// (Castagnoli) of kind, length and payload. Nothing follows the end.
package backup

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// Format is the version of the format that this package writes, and the only
// one that it reads.
const Format = 1

var (
	// ErrNotBackup reports a file that does not begin as a backup does.
	ErrNotBackup = errors.New("not a backup")

	// ErrCorrupt reports a file that is cut short or was changed.
	ErrCorrupt = errors.New("backup is damaged")

	// ErrVersion reports a file of a format that this package does not read. A
	// VersionError matches it.
	ErrVersion = errors.New("backup of another format")

	// ErrPair reports a pair that a file cannot hold: out of order, without a
	// key, or too large.
	ErrPair = errors.New("backup: unusable pair")
)

// A VersionError says which format a file has.
type VersionError struct{ Format int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("backup has format %d, this program reads %d", e.Format, Format)
}

// Is reports a match with ErrVersion.
func (e *VersionError) Is(target error) bool { return target == ErrVersion }

// A Header says what a file holds. Byte strings are base64 in JSON.
type Header struct {
	// Genesis is the space's first record, from whose hash the space's id is.
	Genesis []byte `json:"genesis"`
	// Name is the space's name, for people.
	Name string `json:"name,omitempty"`
	// Time is when the state was pinned.
	Time time.Time `json:"time"`
	// Node is the peer id and Author the author (hexadecimal) of the node that
	// was backed up.
	Node   string `json:"node"`
	Author string `json:"author"`
	// Root is that of the vector and Digest that of the state, both 32 bytes.
	Root   []byte `json:"root"`
	Digest []byte `json:"digest"`
	// Entries and Lanes count the log, Rows the survivors in the state.
	Entries uint64 `json:"entries"`
	Lanes   uint64 `json:"lanes"`
	Rows    uint64 `json:"rows"`
	// Version is that of the program that wrote the file.
	Version string `json:"version,omitempty"`

	// Network is the network's pre-shared key, and Identity the seed of author
	// and transport: secrets. Identity is nil where it was left out.
	Network  []byte `json:"network"`
	Identity []byte `json:"identity,omitempty"`
	// Listen are the addresses listened on, Own those that others dial, Peers
	// those of peers.
	Listen []string `json:"listen,omitempty"`
	Own    []string `json:"own,omitempty"`
	Peers  []string `json:"peers,omitempty"`
}

// A Pair is one key and its value.
type Pair struct{ Key, Value []byte }

// A Summary tells what a whole file holds.
type Summary struct {
	Pairs, Blocks uint64
	// Bytes is the file's length.
	Bytes uint64
	// SHA256 is of all but the end section: it names the file's content.
	SHA256 [32]byte
}

const magic = "rhizome backup\n"

// headBytes is the length of magic and format.
const headBytes = len(magic) + 2

// The kinds of sections.
const (
	sectionHeader = 1 + iota
	sectionBlock
	sectionEnd
)

// frameBytes is what stands before a section's payload.
const frameBytes = 9

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf returns a section's checksum; frame holds its kind and length.
func sumOf(frame, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:5], castagnoli), castagnoli, payload)
}
