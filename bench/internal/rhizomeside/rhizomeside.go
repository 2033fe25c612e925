// Package rhizomeside is Rhizome behind the interfaces of package side. All it
// does goes through the embedding API.
//
// A commit that has returned is on disk, always: there is no way to turn that
// off, so every row in which Rhizome takes part compares durable writes.
package rhizomeside

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/bench/internal/side"
)

// pollEvery is how often a state is looked at that one waits for. Looking takes
// the node some time, which counts as its own.
const pollEvery = 500 * time.Microsecond

// Replica is one node.
type Replica struct {
	n     *rhizome.Node
	dir   string
	start uint64 // the rows at Open
	shown chan string
	stop  context.CancelFunc
	ended chan struct{}
}

// Open opens a repo, or makes one.
func Open(ctx context.Context, o side.Options) (*Replica, error) {
	ro := rhizome.Options{Dir: o.Dir, Create: true, SpaceName: "bench", Offline: !o.Network, Join: o.Join}
	if o.Network {
		ip := o.Listen
		if ip == "" {
			ip = "127.0.0.1"
		}
		ro.Listen = []string{"/ip4/" + ip + "/tcp/0"}
	}
	n, err := rhizome.Open(ctx, ro)
	if err != nil {
		return nil, err
	}
	r := &Replica{n: n, dir: o.Dir}
	if o.Join == "" {
		// A repo that joins begins with nothing, and has peers at once.
		s, err := n.Status(ctx, false)
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
		r.start = s.Rows
	}
	return r, nil
}

// ordinal is how many entries are applied and on disk: the last part of the
// cursor.
func (r *Replica) ordinal() (uint64, error) {
	c := r.n.Cursor()
	text := c[strings.LastIndexByte(c, '-')+1:]
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cursor %q: %w", c, err)
	}
	return n, nil
}

// Put implements side.Store.
func (r *Replica) Put(ctx context.Context, key string, value []byte) error {
	_, err := r.n.Put(ctx, key, value)
	return err
}

// PutBatch implements side.Store: one transaction.
func (r *Replica) PutBatch(ctx context.Context, items []side.Item) error {
	ops := make([]rhizome.Op, len(items))
	for i, it := range items {
		ops[i] = rhizome.Op{Kind: rhizome.OpPut, Entity: it.Key, Value: it.Value}
	}
	_, err := r.n.Commit(ctx, "", ops)
	return err
}

// Remove implements side.Store.
func (r *Replica) Remove(ctx context.Context, key string) error {
	_, err := r.n.Commit(ctx, "", []rhizome.Op{{Kind: rhizome.OpRm, Entity: key}})
	return err
}

// Get implements side.Store.
func (r *Replica) Get(ctx context.Context, key string) ([]byte, error) {
	x, err := r.n.Get(ctx, key, "")
	if errors.Is(err, rhizome.ErrNotFound) {
		return nil, side.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return bytesOf(key, x.Value)
}

func bytesOf(key string, x any) ([]byte, error) {
	v, ok := x.([]byte)
	if !ok {
		return nil, fmt.Errorf("%s reads as a %T", key, x)
	}
	return v, nil
}

// List implements side.Store.
func (r *Replica) List(ctx context.Context, prefix string, f func(side.Item) error) error {
	for x, err := range r.n.Scan(ctx, prefix, "", rhizome.ReadOptions{NoCIDs: true}) {
		if err != nil {
			return err
		}
		v, err := bytesOf(x.Entity, x.Value)
		if err != nil {
			return err
		}
		if err := f(side.Item{Key: x.Entity, Value: v}); err != nil {
			return err
		}
	}
	return nil
}

// Compact implements side.Store: all raw history is dropped.
func (r *Replica) Compact(ctx context.Context) error {
	_, err := r.n.Compact(ctx, rhizome.CompactOptions{Force: true})
	return err
}

// Rows implements side.Store.
func (r *Replica) Rows(ctx context.Context) (int, error) {
	s, err := r.n.Status(ctx, false)
	return int(s.Rows), err
}

// Database implements side.Store.
func (r *Replica) Database() string { return filepath.Join(r.dir, "data", "db") }

// Address implements side.Replica: an invite.
func (r *Replica) Address(ctx context.Context) (string, error) { return r.n.Invite(ctx) }

// Dial implements side.Replica.
func (r *Replica) Dial() string { return r.n.Addrs()[0] }

// Connect implements side.Replica.
func (r *Replica) Connect(ctx context.Context, address string) error {
	return r.n.AddPeer(ctx, address)
}

// Ready implements side.Replica: so many peers are connected and equal.
func (r *Replica) Ready(ctx context.Context, peers int) error {
	return r.poll(ctx, fmt.Sprintf("%d peers", peers), func() (bool, error) {
		s, err := r.n.Status(ctx, true)
		connected := 0
		for _, p := range s.Peers {
			if p.Connected {
				connected++
			}
		}
		return connected >= peers && s.Converged, err
	})
}

// Await implements side.Replica. Each put is a row; the cursor moves when the
// entries that it stands for are on disk.
func (r *Replica) Await(ctx context.Context, puts int) error {
	var entries uint64
	err := r.poll(ctx, fmt.Sprintf("%d puts", puts), func() (bool, error) {
		s, err := r.n.Status(ctx, false)
		entries = s.Entries
		return s.Rows >= r.start+uint64(puts), err
	})
	if err != nil {
		return err
	}
	return r.poll(ctx, fmt.Sprintf("%d entries on disk", entries), func() (bool, error) {
		n, err := r.ordinal()
		return n >= entries, err
	})
}

func (r *Replica) poll(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		if err != nil || ok {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		time.Sleep(pollEvery)
	}
}

// maxShown bounds the arrivals that nobody has asked for yet.
const maxShown = 1 << 16

// Watch implements side.Replica by the feed of changes, which shows what is on
// disk.
func (r *Replica) Watch(context.Context) error {
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.ended, r.shown = stop, make(chan struct{}), make(chan string, maxShown)
	since := r.n.Cursor()
	go func() {
		defer close(r.ended)
		for c, err := range r.n.Changes(ctx, side.Prefix, since) {
			if err != nil {
				return
			}
			for _, d := range c.Deltas {
				select {
				case r.shown <- d.Entity:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return nil
}

// Shown implements side.Replica.
func (r *Replica) Shown(ctx context.Context) (string, error) {
	select {
	case key := <-r.shown:
		return key, nil
	case <-ctx.Done():
		return "", ctx.Err()
	case <-r.ended:
		return "", errors.New("the feed of changes has ended")
	}
}

// Forget implements side.Replica.
func (r *Replica) Forget(ctx context.Context) error {
	peers, err := r.n.Peers(ctx)
	if err != nil {
		return err
	}
	for _, p := range peers {
		if err := r.n.RemovePeer(ctx, p.ID); err != nil && !errors.Is(err, rhizome.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Close implements side.Store.
func (r *Replica) Close() error {
	if r.stop != nil {
		r.stop()
		<-r.ended
	}
	return r.n.Close()
}
