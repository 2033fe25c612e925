package datastore

import (
	"fmt"

	ds "github.com/ipfs/go-datastore"

	"github.com/rhizome-p2p/rhizome/delta"
)

const (
	// MaxValueBytes bounds a value: what one transaction can carry, so that a
	// value is there whole or not at all. Larger things belong in a blob store,
	// with a reference here.
	MaxValueBytes = maxParts * partBytes

	// partBytes is how much of a value that no single register can hold goes into
	// each of several.
	partBytes = 192 << 10

	maxParts = 5

	// registerBytes is the longest value that one register holds: an encoded value
	// has a head of five bytes at that length.
	registerBytes = delta.MaxValueBytes - 5

	// batchBytes is how much of a batch goes into one transaction, by an estimate
	// that allows each operation opBytes beside key and value: for what it is
	// called, and for what it puts an end to. Where that is more, as where each key
	// has values of several nodes, less goes into one.
	batchBytes = 960 << 10
	opBytes    = 128
)

// A KeyError reports a key whose name is longer than an entity's id may be.
type KeyError struct {
	Key   ds.Key
	Bytes int // of the name
}

// Error says how long the name is and may be.
func (e *KeyError) Error() string {
	return fmt.Sprintf("datastore: key %.60q… takes %d bytes with its namespace, at most %d are allowed", e.Key.String(), e.Bytes, delta.MaxEntityBytes)
}

// A ValueError reports a value of more than MaxValueBytes.
type ValueError struct {
	Key   ds.Key
	Bytes int
}

// Error says how long the value is and may be.
func (e *ValueError) Error() string {
	return fmt.Sprintf("datastore: value of %s has %d bytes, at most %d are allowed", e.Key, e.Bytes, MaxValueBytes)
}
