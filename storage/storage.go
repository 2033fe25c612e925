// Package storage is the ordered key-value contract that the log, the state
// and the checkpoints are written against, a memory store that keeps it, and
// (in storagetest) the suite that every store must pass.
//
// # Contract
//
// Keys and values are byte strings; keys order bytewise and are not empty. A store is safe for
// concurrent use. Slices handed to a store are copied by it before the call
// returns; slices handed out stay valid as each method says.
//
// A Batch is atomic: after a crash all of it exists or none of it does.
// Batches become visible in the order of their Apply calls and become durable
// in that same order, so a durable batch implies that every batch applied
// before it is durable too. Apply makes a batch visible at once; Commit.Wait
// returns when it is durable. Nothing that rests on a batch may be told to
// anybody before Wait has returned.
//
// An error of Apply or Wait leaves the outcome unknown: the store refuses all
// further writes with that error (wrapped in ErrFailed), and whoever owns it
// reopens and recovers. From then on reads may be refused in the same way.
// The exceptions are ErrBatch and ErrClosed from Apply, which did nothing.
//
// # Closing
//
// Calls that come after Close return ErrClosed. Close ends open snapshots and
// waits for running calls; a scan that is under way ends with ErrClosed at its
// next step. So a loop over a scan must not itself close the store.
package storage

import (
	"errors"
	"iter"
)

var (
	// ErrNotFound reports that a key holds no value.
	ErrNotFound = errors.New("storage: not found")

	// ErrClosed reports the use of a closed store or snapshot.
	ErrClosed = errors.New("storage: closed")

	// ErrCorrupt reports stored bytes that fail their checksum. The bytes are
	// not served.
	ErrCorrupt = errors.New("storage: corrupt")

	// ErrFailed reports that an earlier write of this store failed with an
	// unknown outcome; the store must be reopened.
	ErrFailed = errors.New("storage: failed by an earlier write")

	// ErrLocked reports that another store, in this process or another, has
	// the directory open.
	ErrLocked = errors.New("storage: locked by another store")

	// ErrBatch reports a batch that cannot be applied: another store made it,
	// it was applied before, or it holds a write that there is no record for
	// (see Batch). Nothing of it was applied.
	ErrBatch = errors.New("storage: unusable batch")
)

// A Reader reads one consistent state.
type Reader interface {
	// Get returns a copy of the value of key, or ErrNotFound.
	Get(key []byte) ([]byte, error)

	// Scan yields the pairs with lo <= key < hi in key order; a nil hi means
	// no upper bound. The slices are valid until the next step. An error ends
	// the sequence: it is yielded last, with an empty pair.
	Scan(lo, hi []byte) iter.Seq2[KV, error]

	// ScanReverse is Scan from the highest key down.
	ScanReverse(lo, hi []byte) iter.Seq2[KV, error]
}

// A KV is one pair of a scan.
type KV struct{ Key, Value []byte }

// A DB is a store that is open. Its Reader methods each see the newest
// visible state; a scan sees the state at its start.
type DB interface {
	Reader

	// Snapshot pins the state as of now until it is closed.
	Snapshot() Snapshot

	// NewBatch returns an empty batch for this store.
	NewBatch() Batch

	// Apply makes b visible, in order with other calls, and starts to make it
	// durable. The batch must not be used afterwards. It blocks while the disk
	// cannot keep up with what was applied.
	Apply(b Batch) (Commit, error)

	// Reclaim gives the space of what was deleted from a range, by now, back to
	// the file system, as far as that is possible. It may take long and does not
	// hold up other calls; nothing that can be read changes.
	Reclaim(lo, hi []byte) error

	// DiskBytes is what the store takes on its disk at this time, recycled
	// logs included, in bytes. A memory store counts its keys and values.
	DiskBytes() (uint64, error)

	// Close waits for what was applied to be durable and releases the store.
	Close() error
}

// A Snapshot is a pinned state. It must be closed.
type Snapshot interface {
	Reader
	Close() error
}

// A Batch collects writes in order; later ones win over earlier ones. Apply
// refuses a batch that sets or deletes the empty key, or that deletes a range
// with an empty hi: no key is above all others.
type Batch interface {
	Set(key, value []byte)
	Delete(key []byte)
	// DeleteRange deletes lo <= key < hi, in time that does not depend on how
	// many keys there are.
	DeleteRange(lo, hi []byte)
	// Bytes is about how many bytes the batch takes.
	Bytes() int
}

// A Commit is a batch on its way to the disk.
type Commit interface {
	// Wait returns when the batch and all before it are durable, or with the
	// error that left its outcome unknown. It may be called once. An empty
	// batch is thus a barrier.
	Wait() error
}

// ApplySync applies b and waits until it is durable.
func ApplySync(db DB, b Batch) error {
	c, err := db.Apply(b)
	if err != nil {
		return err
	}
	return c.Wait()
}

// PrefixEnd returns the least key above every key with the prefix, or nil
// where there is none.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
