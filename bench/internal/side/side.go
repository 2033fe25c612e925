// Package side says what the systems that are measured have in common: how one
// is opened, written to, read and connected.
//
// A system runs in worker processes of its own. Whatever is measured is done by
// the same code (package worker) through these interfaces, so that no side is
// timed in another way than the others.
package side

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// ValueBytes is the size of a value.
const ValueBytes = 100

// group is how many keys share a prefix.
const group = 1000

// ErrNotFound reports a key that holds nothing.
var ErrNotFound = errors.New("not found")

// Options say how a store is opened.
type Options struct {
	Dir string `json:"dir"`
	// Network opens a replica that listens on loopback; else the store is alone.
	Network bool `json:"network,omitempty"`
	// Join is the address of a replica to replicate with, as Address returned it.
	Join string `json:"join,omitempty"`
	// Listen is the loopback address to listen on; empty is 127.0.0.1.
	Listen string `json:"listen,omitempty"`
	// Sync makes each call that writes return after an fsync. A side whose writes
	// are always durable ignores it.
	Sync bool `json:"sync,omitempty"`
}

// An Item is a key and its value.
type Item struct {
	Key   string
	Value []byte
}

// A Store is an open system. It may be used by several goroutines.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	// PutBatch writes many keys at once, in the way in which the system is best at it.
	PutBatch(ctx context.Context, items []Item) error
	Remove(ctx context.Context, key string) error
	// Get returns ErrNotFound for a key that holds nothing.
	Get(ctx context.Context, key string) ([]byte, error)
	// List calls f for each key with a prefix that ends in a slash, and its value.
	List(ctx context.Context, prefix string, f func(Item) error) error
	// Compact gives back all the space that the system can give back.
	Compact(ctx context.Context) error
	// Rows counts the rows of the state, those about removed keys included.
	Rows(ctx context.Context) (int, error)
	// Database is the directory of the Pebble database below the store.
	Database() string
	Close() error
}

// A Replica is a store with peers.
type Replica interface {
	Store
	// Address is what another replica joins with, and Dial what one that has joined
	// before connects with.
	Address(ctx context.Context) (string, error)
	Dial() string
	Connect(ctx context.Context, address string) error
	// Ready waits until so many peers take part in the exchange of changes.
	Ready(ctx context.Context, peers int) error
	// Await waits until so many puts, own or of others, were applied since Open,
	// and are on disk.
	Await(ctx context.Context, puts int) error
	// Watch makes Shown know of what is applied from now on.
	Watch(ctx context.Context) error
	// Shown waits until the next put of another replica is applied and on disk,
	// and returns its key.
	Shown(ctx context.Context) (string, error)
	// Forget makes the replica forget all peers. It is called before Close.
	Forget(ctx context.Context) error
}

// Prefix is what all keys begin with.
const Prefix = "key/"

// Key returns the name of key i. A thousand keys share a prefix.
func Key(i int) string { return fmt.Sprintf("%s%05d/%03d", Prefix, i/group, i%group) }

// GroupPrefix returns the prefix of group g of keys.
func GroupPrefix(g int) string { return fmt.Sprintf("%s%05d/", Prefix, g) }

// Index returns i of Key(i).
func Index(key string) (int, error) {
	hi, lo, ok := strings.Cut(strings.TrimPrefix(key, Prefix), "/")
	g, err1 := strconv.Atoi(hi)
	n, err2 := strconv.Atoi(lo)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("key %q is none that was written", key)
	}
	return g*group + n, nil
}

// Value returns the value of key i: random bytes, which do not compress and
// which any process can make again to compare.
func Value(seed uint64, i int) []byte {
	r := rand.NewPCG(seed, uint64(i))
	v := make([]byte, 0, ValueBytes+8)
	for len(v) < ValueBytes {
		x := r.Uint64()
		v = append(v, byte(x), byte(x>>8), byte(x>>16), byte(x>>24), byte(x>>32), byte(x>>40), byte(x>>48), byte(x>>56))
	}
	return v[:ValueBytes]
}
