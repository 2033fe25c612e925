// Package delta holds the immutable units of Rhizome's log: deltas, kills,
// transactions and entries, with their strict codec, hashes, CIDs, signatures
// and builder. It knows nothing of storage or of the order of arrival.
//
// # Entry
//
// An entry is two DAG-CBOR blocks (arrays with fixed positions):
//
//	header: [1, space (32 bytes), lane (16 bytes), seq, prev, hlc, body]
//	body:   [lanes, deps, transactions]
//
// prev and body are links (tag 42, CIDv1, dag-cbor, sha2-256); prev is null in
// the first entry of a lane. The entry's hash is the SHA-256 of the header and
// its signature an Ed25519 signature of the same bytes, verified as ZIP-215
// says.
//
//	lanes:       the other lanes that the entry names, rising, 16 bytes each
//	dep:         [lane, seq, first 16 bytes of the entry's hash]
//	transaction: [creator, deltas]
//	delta:       [entity, path, verb, value, kills]
//	kill:        [scope, dots, bounds]
//	dots:        [lane, seq, index, lane, seq, index, …]
//
// A lane inside the body is a number: 0 the entry's own, i the i-th of lanes.
// A scope is 0 (the row of the delta itself), 1 (all at and below its path), a
// text (all exactly at that path of the entity) or bytes (the row with that
// tag at its path).
//
// What is a set has one order, so that a body has one encoding: lanes rise, and
// every one is named; deps rise by lane; kills rise by scope, path and tag, one
// for each, none empty; dots rise; bounds rise by lane, one for each. Seqs,
// times and all other integers are below 2^63.
//
// # Rows
//
// A delta that survives lives in the row (entity, path, tag). The tag follows
// from the delta's own bytes: none for assign, the hash of the value for add,
// of the creator for vote, of the lane for inc. See Tag.
package delta

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
)

// Version is the version of the entry format, the first element of a header.
const Version = 1

// A Verb says what a delta does.
type Verb uint8

// The verbs: what each kills, and what of it survives.
const (
	Assign   Verb = 1 + iota // kills all siblings its author saw; the value survives
	Add                      // kills nothing; the value survives until it is removed
	Vote                     // kills its creator's earlier values that it saw
	Inc                      // kills its lane's own earlier inc; amount and total survive
	Remove                   // kills the named values of a bag; nothing survives
	Negate                   // kills the named dots; nothing survives
	Drop                     // kills all its author saw under a path; nothing survives
	lastVerb = Drop
)

// String returns the verb's name.
func (v Verb) String() string {
	if v == 0 || v > lastVerb {
		return fmt.Sprintf("verb(%d)", uint8(v))
	}
	return [...]string{"assign", "add", "vote", "inc", "remove", "negate", "drop"}[v-1]
}

// MarshalText returns the verb's name.
func (v Verb) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Survives reports whether a delta with this verb leaves a survivor.
func (v Verb) Survives() bool { return v >= Assign && v <= Inc }

// A Delta is one change to one property of one entity.
type Delta struct {
	Entity string
	Path   Path
	Verb   Verb
	// Value is null for remove, negate and drop, and an IncValue for inc.
	Value Value
	Kills []Kill
}

// A Scope says which rows of the delta's entity a kill reaches.
type Scope uint8

// The scopes of a kill.
const (
	ScopeRow    Scope = iota // the row of the delta itself
	ScopePrefix              // all rows at and below the delta's path
	ScopePath                // all rows exactly at Kill.Path
	ScopeTag                 // the row with Kill.Tag at the delta's path
)

// A Kill lists dots that a delta overwrites, removes or negates. A dot dies
// where its row is in scope and it is listed, or is at most a bound.
type Kill struct {
	Scope Scope
	Path  Path // for ScopePath
	Tag   Tag  // for ScopeTag
	// Dots rise. Bounds rise by lane, one for each. Body.Canonicalize sorts
	// both, readers and Build give them so.
	Dots   []clock.Dot
	Bounds []clock.Dot
}

// Hits reports whether the kill names the dot. It searches, because a peer may
// send as many dots as an entry holds and each meets many rows.
func (k *Kill) Hits(d clock.Dot) bool {
	if _, ok := slices.BinarySearchFunc(k.Dots, d, clock.Dot.Compare); ok {
		return true
	}
	i, ok := slices.BinarySearchFunc(k.Bounds, d.Lane, func(x clock.Dot, l clock.LaneID) int {
		return x.Lane.Compare(l)
	})
	return ok && d.AtMost(k.Bounds[i])
}

// A Txn is the deltas that one caller committed together.
type Txn struct {
	// Creator is what the author claims about who made the transaction; empty
	// means the author.
	Creator string
	Deltas  []Delta
}

// A Dep names a tip that the entry's author had applied.
type Dep struct {
	clock.EntryID
	// Hash is the start of the entry's hash: evidence of a fork, never a
	// condition of admission.
	Hash [16]byte
}

// A Body is the second block of an entry.
type Body struct {
	Deps []Dep
	Txns []Txn
}

// A Header is the first block of an entry.
type Header struct {
	Space clock.Hash
	Lane  clock.LaneID
	Seq   uint64
	Prev  clock.Hash // zero in the first entry of a lane
	Time  clock.Timestamp
	Body  clock.Hash
}

// ID returns the entry's name.
func (h *Header) ID() clock.EntryID { return clock.EntryID{Lane: h.Lane, Seq: h.Seq} }

// An Entry is a decoded entry. Its body bytes are kept as they came, so that
// they are stored and served unchanged.
type Entry struct {
	Header
	Hash clock.Hash
	// Sig is empty where the entry is vouched for by a later signature of its
	// lane.
	Sig  []byte
	Raw  []byte // the body block
	Body Body
	// Local says that this replica wrote the entry. It is no part of its bytes.
	Local bool
}

// Dot returns the name of the entry's i-th delta.
func (e *Entry) Dot(i int) clock.Dot {
	return clock.Dot{Lane: e.Lane, Seq: e.Seq, Index: uint32(i)}
}

// A Tag tells the rows at one path apart: empty, or a kind and a hash.
type Tag string

// TagOf returns the tag of the row that a surviving delta lives in.
func TagOf(lane clock.LaneID, creator string, d *Delta) Tag {
	switch d.Verb {
	case Add:
		return hashTag('a', d.Value)
	case Vote:
		return hashTag('v', []byte(creator))
	case Inc:
		return hashTag('i', lane[:])
	}
	return ""
}

// BagTag returns the tag of the row that holds a value of a bag.
func BagTag(v Value) Tag { return hashTag('a', v) }

// tagSize is 15 bytes of hash behind the kind: no two values meet by accident,
// and a meeting on purpose only packs two values into one row.
const tagSize = 16

func hashTag(kind byte, b []byte) Tag {
	h := sha256.Sum256(b)
	h[0] = kind
	return Tag(h[:tagSize])
}
