// Package datastore is a go-datastore over a Rhizome node: a key-value store
// that replicates itself. Its constructor and options have the shape of those of
// go-ds-crdt, so that a program can go over by changing one call.
//
//	n, err := rhizome.Open(ctx, rhizome.Options{Dir: dir, Create: true})
//	…
//	store, err := datastore.New(n, ds.NewKey("/app"), nil)
//	…
//	err = store.Put(ctx, ds.NewKey("/greeting"), []byte("hello"))
//
// # Keys and values
//
// A key is an entity of the node's space, and its value a register at the
// entity's root: the key /a/b in the namespace /app is the entity "app/a/b". Any
// key will do whose name has at most 1 KiB, and any value of at most
// MaxValueBytes. What else is in the space stays out of sight, and what is no byte
// string too, though a Put replaces it.
//
// # What a call guarantees
//
// What Put, Delete or a batch's Commit has returned for is on disk, and on its
// way to all peers. A read sees it at once on this node, and elsewhere as soon as
// it has come. Of values that were written without knowledge of each other a read
// shows the newest, the same on every node; the others stay beside it, as
// rhizome get --lossless shows, until somebody writes the key again. A Delete
// takes away what this node holds at that time: a value that was written
// elsewhere meanwhile stays.
//
// # Concurrency
//
// A Datastore may be used from any number of goroutines, and so may a batch.
// Results of one query have one user at a time.
package datastore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	ds "github.com/ipfs/go-datastore"

	"github.com/rhizome-p2p/rhizome"
)

// Options say what a datastore does beside storing. The zero value does nothing.
type Options struct {
	// Logger gets what a person may want to know; nil discards it.
	Logger *slog.Logger

	// PutHook is called with each value that has become the one of its key, by a
	// write here or by one that came from elsewhere. A write that lost to a newer
	// one already is not told.
	//
	// Hooks are called one after another, in the order in which the node applied
	// the writes, after these are on disk: a Put does not wait for its hook. They
	// hold no lock, and may use the datastore, but for Close.
	PutHook func(k ds.Key, v []byte)

	// DeleteHook is called with each key that had a value and has been left without
	// one.
	DeleteHook func(k ds.Key)

	// ResetHook is called where writes can no longer be told one by one: the node
	// has got them as a peer's state, or has dropped their history before the hooks
	// came so far. PutHook is then called for every key that there is, and a key
	// for which it is not is gone. Nil ignores it.
	ResetHook func()
}

// DefaultOptions returns options that do nothing beside storing.
func DefaultOptions() *Options { return &Options{} }

// A Datastore keeps keys and values in the space of a node.
type Datastore struct {
	node  *rhizome.Node
	owned bool // Close closes the node
	space space
	opts  Options
	log   *slog.Logger

	// ctx ends with Close, and with it queries and hooks.
	ctx    context.Context
	cancel context.CancelFunc
	hooks  sync.WaitGroup

	// mu guards open: what Close has to end before the node may go.
	mu   sync.Mutex
	open map[*results]struct{}
}

var (
	_ ds.Batching            = (*Datastore)(nil)
	_ ds.PersistentDatastore = (*Datastore)(nil)
	_ ds.CheckedDatastore    = (*Datastore)(nil)
	_ ds.GCDatastore         = (*Datastore)(nil)
)

// New returns the datastore of a namespace in a node's space. Closing it leaves
// the node open; it is closed before the node, whose Close waits for queries that
// are open. Nil options are the default ones. Namespaces lie inside each other as
// keys do: /a holds what /a/b holds.
func New(n *rhizome.Node, namespace ds.Key, opts *Options) (*Datastore, error) {
	names, err := newSpace(namespace)
	if err != nil {
		return nil, err
	}
	d := &Datastore{node: n, space: names, open: make(map[*results]struct{})}
	if opts != nil {
		d.opts = *opts
	}
	if d.log = d.opts.Logger; d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.startHooks()
	return d, nil
}

// Open opens a node and the datastore of a namespace in its space. Closing the
// datastore closes the node.
func Open(ctx context.Context, repo rhizome.Options, namespace ds.Key, opts *Options) (*Datastore, error) {
	if _, err := newSpace(namespace); err != nil {
		return nil, err
	}
	n, err := rhizome.Open(ctx, repo)
	if err != nil {
		return nil, err
	}
	d, err := New(n, namespace, opts)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	d.owned = true
	return d, nil
}

// Node returns the node: for what go-datastore has no call for.
func (d *Datastore) Node() *rhizome.Node { return d.node }

// Close ends the queries that are open and the hooks, and waits for a hook that
// runs. The node is closed with it where Open opened it.
func (d *Datastore) Close() error {
	d.cancel()
	d.hooks.Wait()
	d.mu.Lock()
	open := make([]*results, 0, len(d.open))
	for r := range d.open { // the order does not matter
		open = append(open, r)
	}
	d.mu.Unlock()
	for _, r := range open {
		r.end(rhizome.ErrClosed)
	}
	if !d.owned {
		return nil
	}
	return d.node.Close()
}

// check refuses a call that comes after Close, or on a context that has ended.
func (d *Datastore) check(ctx context.Context) error {
	if d.ctx.Err() != nil {
		return fmt.Errorf("datastore: %w", rhizome.ErrClosed)
	}
	return ctx.Err()
}

// Put makes a value that of a key, in one transaction. When it returns, the
// value is on disk. A value of more than MaxValueBytes gets a ValueError, a key
// that is too long a KeyError.
func (d *Datastore) Put(ctx context.Context, key ds.Key, value []byte) error {
	name, err := d.admit(key, value)
	if err != nil {
		return err
	}
	return d.commit(ctx, putOps(name, value))
}

// admit returns the name of a key that is to get a value.
func (d *Datastore) admit(key ds.Key, value []byte) (string, error) {
	if len(value) > MaxValueBytes {
		return "", &ValueError{Key: key, Bytes: len(value)}
	}
	return d.space.name(key)
}

// Delete removes a key. One that is not there is no error.
func (d *Datastore) Delete(ctx context.Context, key ds.Key) error {
	name, err := d.space.name(key)
	if err != nil {
		return d.noKey(err)
	}
	return d.commit(ctx, []rhizome.Op{{Kind: rhizome.OpRm, Entity: name}})
}

// noKey makes nothing of the error for a key that cannot be there.
func (d *Datastore) noKey(err error) error {
	var long *KeyError
	if errors.As(err, &long) {
		return nil
	}
	return err
}

func (d *Datastore) commit(ctx context.Context, ops []rhizome.Op) error {
	if err := d.check(ctx); err != nil {
		return err
	}
	if _, err := d.node.Commit(ctx, "", ops); err != nil {
		return fmt.Errorf("datastore: %w", err)
	}
	return nil
}

// Get returns the value of a key, or ds.ErrNotFound.
func (d *Datastore) Get(ctx context.Context, key ds.Key) ([]byte, error) {
	f, ok, err := d.read(ctx, key)
	if err == nil && !ok {
		err = ds.ErrNotFound
	}
	return f.value, err
}

// Has reports whether a key has a value.
func (d *Datastore) Has(ctx context.Context, key ds.Key) (bool, error) {
	_, ok, err := d.read(ctx, key)
	return ok, err
}

// GetSize returns the length of the value of a key, or -1 and ds.ErrNotFound.
func (d *Datastore) GetSize(ctx context.Context, key ds.Key) (int, error) {
	f, ok, err := d.read(ctx, key)
	if err == nil && !ok {
		err = ds.ErrNotFound
	}
	if err != nil {
		return -1, err
	}
	return len(f.value), nil
}

// read reads what a key shows now.
func (d *Datastore) read(ctx context.Context, key ds.Key) (found, bool, error) {
	name, err := d.space.name(key)
	if err != nil {
		return found{}, false, d.noKey(err)
	}
	return d.readName(ctx, name, "")
}

// readName reads what an entity shows as of a cut, "" being now.
func (d *Datastore) readName(ctx context.Context, name, at string) (found, bool, error) {
	if err := d.check(ctx); err != nil {
		return found{}, false, err
	}
	read, err := d.node.GetMany(ctx, []rhizome.Key{{Entity: name}}, rhizome.ReadOptions{Raw: true, NoCIDs: true, At: at})
	if err != nil {
		return found{}, false, fmt.Errorf("datastore: %w", err)
	}
	return pick(read[0].Reading.Survivors)
}

// Sync returns at once: what Put, Delete or a batch's Commit has returned for
// is on disk already. It reports that the node had to stop writing.
func (d *Datastore) Sync(ctx context.Context, _ ds.Key) error {
	if err := d.check(ctx); err != nil {
		return err
	}
	return d.node.Err()
}

// DiskUsage returns how many bytes the node takes on disk, with all that its
// space holds beside this datastore.
func (d *Datastore) DiskUsage(ctx context.Context) (uint64, error) {
	if err := d.check(ctx); err != nil {
		return 0, err
	}
	s, err := d.node.Status(ctx, false)
	return s.DiskBytes, err
}

// Check rereads all that the node holds. What it finds wrong it returns as an
// error; rhizome repair gets a damaged repo anew from its peers.
func (d *Datastore) Check(ctx context.Context) error {
	if err := d.check(ctx); err != nil {
		return err
	}
	r, err := d.node.Verify(ctx, nil)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range r.Problems {
		errs = append(errs, errors.New(p))
	}
	return errors.Join(errs...)
}

// CollectGarbage drops raw history that need not be kept by the node's
// retention and gives its space back. No value is lost by it.
func (d *Datastore) CollectGarbage(ctx context.Context) error {
	if err := d.check(ctx); err != nil {
		return err
	}
	_, err := d.node.Compact(ctx, rhizome.CompactOptions{})
	return err
}
