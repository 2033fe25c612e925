package datastore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	ds "github.com/ipfs/go-datastore"

	"github.com/rhizome-p2p/rhizome"
)

// Batch returns a batch: puts and deletes that Commit writes together.
func (d *Datastore) Batch(ctx context.Context) (ds.Batch, error) {
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	return &batch{d: d, at: make(map[string]int)}, nil
}

// A batch gathers writes. Of several to one key the last holds.
type batch struct {
	d *Datastore

	mu     sync.Mutex
	writes []write
	at     map[string]int // the place of a name's write
}

// A write is what is to become of one entity.
type write struct {
	name   string
	value  []byte
	remove bool
}

func (b *batch) add(w write) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i, ok := b.at[w.name]; ok {
		b.writes[i] = w
		return
	}
	b.at[w.name] = len(b.writes)
	b.writes = append(b.writes, w)
}

// Put notes a value. It is copied.
func (b *batch) Put(ctx context.Context, key ds.Key, value []byte) error {
	name, err := b.d.admit(key, value)
	if err == nil {
		err = b.d.check(ctx)
	}
	if err == nil {
		b.add(write{name: name, value: bytes.Clone(value)})
	}
	return err
}

// Delete notes a removal.
func (b *batch) Delete(ctx context.Context, key ds.Key) error {
	name, err := b.d.space.name(key)
	if err != nil {
		return b.d.noKey(err)
	}
	if err = b.d.check(ctx); err == nil {
		b.add(write{name: name, remove: true})
	}
	return err
}

// Commit writes what was noted: in one transaction where it fits into one, else
// in several, in the order of the keys' first mention. After an error
// what was not written is still noted, and Commit can be called again; after
// success the batch is empty.
func (b *batch) Commit(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, done := len(b.writes), 0
	var err error
	for err == nil && done < all {
		var n int
		n, err = b.d.writeSome(ctx, b.writes[done:])
		done += n
	}
	b.writes = b.writes[done:]
	clear(b.at)
	for i := range b.writes {
		b.at[b.writes[i].name] = i
	}
	if err != nil && done > 0 {
		err = fmt.Errorf("%d of %d writes of the batch are done: %w", done, all, err)
	}
	return err
}

// writeSome writes as many of some writes as go into one transaction, and returns
// how many those are.
func (d *Datastore) writeSome(ctx context.Context, writes []write) (int, error) {
	for {
		n, ops := together(writes)
		err := d.commit(ctx, ops)
		if err == nil {
			return n, nil
		}
		if n == 1 || !errors.Is(err, rhizome.ErrTooLarge) {
			return 0, err
		}
		writes = writes[:n/2] // each ends more values than the estimate allows for
	}
}

// together returns how many writes, of those that come first, go into one
// transaction, and its operations.
func together(writes []write) (n int, ops []rhizome.Op) {
	size := 0
	for _, w := range writes {
		one := []rhizome.Op{{Kind: rhizome.OpRm, Entity: w.name}}
		if !w.remove {
			one = putOps(w.name, w.value)
		}
		size += len(w.value) + len(one)*(len(w.name)+opBytes)
		if n > 0 && size > batchBytes {
			break
		}
		ops = append(ops, one...)
		n++
	}
	return n, ops
}
