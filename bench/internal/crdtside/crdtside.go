// Package crdtside is go-ds-crdt over go-ds-pebble behind the interfaces of
// package side, put together as its documentation says.
//
// It comes with one of two exchanges of blocks: that of ipfs-lite (Bitswap),
// which is what its users run, and a plain one of this package, which asks for
// blocks over one stream and waits for no timer.
//
// # Durability
//
// go-ds-crdt writes a put as four writes to its datastore: the block, the rows
// of the key as one batch, the mark that the block was processed, and the heads. With
// synchronous writes each would wait for the disk. This package leaves them
// unsynced and calls Sync behind them, which is one fsync for each put or
// batch; that is the cheapest way to durable puts that the library has. A put is
// broadcast before that fsync, which is to its advantage.
package crdtside

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	crdt "github.com/ipfs/go-ds-crdt"
	pebbleds "github.com/ipfs/go-ds-pebble"
	logging "github.com/ipfs/go-log/v2"

	"github.com/rhizome-p2p/rhizome/bench/internal/pebbleside"
	"github.com/rhizome-p2p/rhizome/bench/internal/side"
)

const (
	// rebroadcastEvery is how often heads are told again; the default is a minute.
	rebroadcastEvery = time.Second
	// pollEvery is how often a state is looked at that one waits for.
	pollEvery = 200 * time.Microsecond
	// maxShown bounds the arrivals that nobody has asked for yet.
	maxShown = 1 << 16
	// recentPuts is how many of the last puts are read before a wait ends: no fewer
	// than there are workers, each of which may have told of a put that it is about
	// to write.
	recentPuts = 64
)

var namespace = ds.NewKey("/c")

// An Exchange says how blocks travel.
type Exchange int

// The exchanges.
const (
	Bitswap Exchange = iota
	Plain
)

// Replica is one replica.
type Replica struct {
	dir   string
	sync  bool
	store *pebbleds.Datastore
	cache *pebble.Cache
	net   *network // nil without peers
	crdt  *crdt.Datastore
	stop  context.CancelFunc

	// puts counts what the hook has told of.
	puts  atomic.Int64
	shown chan ds.Key
	// watched says that shown is read by somebody.
	watched atomic.Bool

	// mu guards recent, a ring of keys that were put.
	mu     sync.Mutex
	recent [recentPuts]ds.Key
	next   int
}

// Open opens a replica.
func Open(o side.Options, x Exchange) (*Replica, error) {
	po, cache := pebbleside.PebbleOptions()
	store, err := pebbleds.NewDatastore(o.Dir, pebbleds.WithPebbleOpts(po))
	if err != nil {
		cache.Unref()
		return nil, fmt.Errorf("open go-ds-pebble: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Replica{dir: o.Dir, sync: o.Sync, store: store, cache: cache, stop: stop, shown: make(chan ds.Key, maxShown)}
	if err := r.start(ctx, o, x); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Replica) start(ctx context.Context, o side.Options, x Exchange) error {
	var broadcaster crdt.Broadcaster
	if o.Network {
		var err error
		if r.net, err = newNetwork(ctx, o.Listen); err != nil {
			return err
		}
		broadcaster = r.net.broadcaster
	}
	blocks, err := newDAG(ctx, r.store, r.net, x)
	if err != nil {
		return err
	}
	co := crdt.DefaultOptions()
	co.RebroadcastInterval = rebroadcastEvery
	co.Logger = logging.Logger("crdt")
	co.PutHook = r.put
	if r.crdt, err = crdt.New(r.store, namespace, blocks, broadcaster, co); err != nil {
		return fmt.Errorf("open go-ds-crdt: %w", err)
	}
	if o.Join != "" {
		return r.net.connect(ctx, o.Join)
	}
	return nil
}

// put is called by go-ds-crdt before it commits the put's rows.
func (r *Replica) put(k ds.Key, _ []byte) {
	r.mu.Lock()
	r.recent[r.next%recentPuts] = k
	r.next++
	r.mu.Unlock()
	r.puts.Add(1)
	if r.watched.Load() {
		r.shown <- k
	}
}

// key gives a key the slash that the datastore wants, keyOf takes it away.
func key(k string) ds.Key { return ds.RawKey("/" + k) }

func keyOf(k string) string { return strings.TrimPrefix(k, "/") }

// durable waits for the disk where every write is to.
func (r *Replica) durable(ctx context.Context) error {
	if !r.sync {
		return nil
	}
	return r.crdt.Sync(ctx, ds.NewKey("/"))
}

// Put implements side.Store.
func (r *Replica) Put(ctx context.Context, k string, value []byte) error {
	if err := r.crdt.Put(ctx, key(k), value); err != nil {
		return err
	}
	return r.durable(ctx)
}

// PutBatch implements side.Store: one delta, which becomes one block.
func (r *Replica) PutBatch(ctx context.Context, items []side.Item) error {
	b, err := r.crdt.Batch(ctx)
	if err != nil {
		return err
	}
	for _, it := range items {
		if err := b.Put(ctx, key(it.Key), it.Value); err != nil {
			return err
		}
	}
	if err := b.Commit(ctx); err != nil {
		return err
	}
	return r.durable(ctx)
}

// Remove implements side.Store.
func (r *Replica) Remove(ctx context.Context, k string) error {
	if err := r.crdt.Delete(ctx, key(k)); err != nil {
		return err
	}
	return r.durable(ctx)
}

// Get implements side.Store.
func (r *Replica) Get(ctx context.Context, k string) ([]byte, error) {
	v, err := r.crdt.Get(ctx, key(k))
	if errors.Is(err, ds.ErrNotFound) {
		return nil, side.ErrNotFound
	}
	return v, err
}

// List implements side.Store.
func (r *Replica) List(ctx context.Context, prefix string, f func(side.Item) error) error {
	res, err := r.crdt.Query(ctx, query.Query{Prefix: "/" + prefix})
	if err != nil {
		return err
	}
	for x := range res.Next() {
		err := x.Error
		if err == nil {
			err = f(side.Item{Key: keyOf(x.Key), Value: x.Value})
		}
		if err != nil {
			return errors.Join(err, res.Close())
		}
	}
	return res.Close()
}

// Compact implements side.Store. go-ds-crdt drops nothing by itself; its
// database is compacted.
func (r *Replica) Compact(ctx context.Context) error { return pebbleside.CompactAll(ctx, r.store.DB) }

// Rows implements side.Store: the elements, values, priorities and tombstones
// of the set.
func (r *Replica) Rows(ctx context.Context) (n int, err error) {
	res, err := r.store.Query(ctx, query.Query{Prefix: namespace.ChildString("s").String(), KeysOnly: true})
	if err != nil {
		return 0, err
	}
	for x := range res.Next() {
		if x.Error != nil {
			return 0, errors.Join(x.Error, res.Close())
		}
		n++
	}
	return n, res.Close()
}

// Database implements side.Store.
func (r *Replica) Database() string { return r.dir }

// Address implements side.Replica.
func (r *Replica) Address(context.Context) (string, error) { return r.net.address(), nil }

// Dial implements side.Replica.
func (r *Replica) Dial() string { return r.net.address() }

// Connect implements side.Replica.
func (r *Replica) Connect(ctx context.Context, address string) error {
	return r.net.connect(ctx, address)
}

// Ready implements side.Replica.
func (r *Replica) Ready(ctx context.Context, peers int) error {
	return poll(ctx, fmt.Sprintf("%d peers of the topic", peers), func() bool { return r.net.subscribers() >= peers })
}

// Await implements side.Replica.
func (r *Replica) Await(ctx context.Context, puts int) error {
	err := poll(ctx, fmt.Sprintf("%d puts", puts), func() bool { return r.puts.Load() >= int64(puts) })
	if err != nil {
		return err
	}
	r.mu.Lock()
	recent := r.recent
	n := min(r.next, recentPuts)
	r.mu.Unlock()
	for _, k := range recent[:n] {
		if err := r.readable(ctx, k); err != nil {
			return err
		}
	}
	return r.crdt.Sync(ctx, ds.NewKey("/"))
}

// readable waits until a key that the hook has told of is there.
func (r *Replica) readable(ctx context.Context, k ds.Key) error {
	for {
		_, err := r.crdt.Get(ctx, k)
		if !errors.Is(err, ds.ErrNotFound) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for %s: %w", k, err)
		}
	}
}

func poll(ctx context.Context, what string, done func() bool) error {
	for !done() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		time.Sleep(pollEvery)
	}
	return nil
}

// Watch implements side.Replica.
func (r *Replica) Watch(context.Context) error {
	r.watched.Store(true)
	return nil
}

// Shown implements side.Replica: the hook has told of the key, it can be read,
// and it is on disk.
func (r *Replica) Shown(ctx context.Context) (string, error) {
	select {
	case k := <-r.shown:
		if err := r.readable(ctx, k); err != nil {
			return "", err
		}
		return keyOf(k.String()), r.durable(ctx)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Forget implements side.Replica: nothing is remembered.
func (r *Replica) Forget(context.Context) error { return nil }

// Close implements side.Store. The broadcaster ends first, as go-ds-crdt asks.
func (r *Replica) Close() error {
	r.stop()
	var errs []error
	if r.crdt != nil {
		errs = append(errs, r.crdt.Close())
	}
	if r.net != nil {
		errs = append(errs, r.net.close())
	}
	errs = append(errs, onDisk(r.store.Close()))
	r.cache.Unref()
	return errors.Join(errs...)
}

// onDisk leaves out of a closing database's error that memory is still in use: some
// goroutine of go-ds-crdt's had not ended yet, which says nothing of what was stored.
func onDisk(err error) error {
	if err != nil && strings.HasPrefix(err.Error(), "leaked ") {
		return nil
	}
	return err
}
