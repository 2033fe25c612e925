package datastore_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dstest "github.com/ipfs/go-datastore/test"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/datastore"
)

func openNode(t *testing.T, o rhizome.Options) *rhizome.Node {
	t.Helper()
	if o.Dir == "" {
		o.Dir = tempDir(t)
	}
	o.Create = true
	n, err := rhizome.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// tempDir returns a directory in memory where there is a place for one: the suite
// writes some 100,000 times, each durably.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "rhizome")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func newStore(t *testing.T, n *rhizome.Node, namespace string, o *datastore.Options) *datastore.Datastore {
	t.Helper()
	d, err := datastore.New(n, ds.NewKey(namespace), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// A datastore over one node is what go-datastore's own suite asks of one.
func TestSuite(t *testing.T) {
	t.Parallel()
	dstest.SubtestAll(t, newStore(t, openNode(t, rhizome.Options{Offline: true}), "/app", nil))
}

// compacting drops all raw history before every so many writes.
type compacting struct {
	*datastore.Datastore
	writes, every int
}

func (c *compacting) turn(ctx context.Context) error {
	if c.writes++; c.writes%c.every > 0 {
		return nil
	}
	_, err := c.Node().Compact(ctx, rhizome.CompactOptions{Force: true})
	return err
}

func (c *compacting) Put(ctx context.Context, k ds.Key, v []byte) error {
	if err := c.turn(ctx); err != nil {
		return err
	}
	return c.Datastore.Put(ctx, k, v)
}

func (c *compacting) Delete(ctx context.Context, k ds.Key) error {
	if err := c.turn(ctx); err != nil {
		return err
	}
	return c.Datastore.Delete(ctx, k)
}

// The suite passes while history is compacted away all the time.
func TestSuiteCompacted(t *testing.T) {
	t.Parallel()
	d := newStore(t, openNode(t, rhizome.Options{Offline: true}), "/app", nil)
	dstest.SubtestAll(t, &compacting{Datastore: d, every: 97})
	s, err := d.Node().Status(t.Context(), false)
	if err != nil || s.Storage.Checkpoints < 10 {
		t.Errorf("%d compactions, %v: the suite ran on a whole log", s.Storage.Checkpoints, err)
	}
}

// replicated writes to one node and reads from another one, once that has what
// the first has.
type replicated struct {
	*datastore.Datastore // reads
	to                   *datastore.Datastore
	behind               bool
}

func (r *replicated) Put(ctx context.Context, k ds.Key, v []byte) error {
	r.behind = true
	return r.to.Put(ctx, k, v)
}

func (r *replicated) Delete(ctx context.Context, k ds.Key) error {
	r.behind = true
	return r.to.Delete(ctx, k)
}

func (r *replicated) Batch(ctx context.Context) (ds.Batch, error) {
	r.behind = true
	return r.to.Batch(ctx)
}

// catchUp waits until the reader's state is the writer's.
func (r *replicated) catchUp(ctx context.Context) error {
	for r.behind {
		var digests [2]string
		for i, d := range []*datastore.Datastore{r.to, r.Datastore} {
			s, err := d.Node().Status(ctx, false)
			if err != nil {
				return err
			}
			digests[i] = s.Digest
		}
		if digests[0] == digests[1] {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func (r *replicated) Get(ctx context.Context, k ds.Key) ([]byte, error) {
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}
	return r.Datastore.Get(ctx, k)
}

func (r *replicated) Has(ctx context.Context, k ds.Key) (bool, error) {
	if err := r.catchUp(ctx); err != nil {
		return false, err
	}
	return r.Datastore.Has(ctx, k)
}

func (r *replicated) GetSize(ctx context.Context, k ds.Key) (int, error) {
	if err := r.catchUp(ctx); err != nil {
		return -1, err
	}
	return r.Datastore.GetSize(ctx, k)
}

func (r *replicated) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}
	return r.Datastore.Query(ctx, q)
}

const loopback = "/ip4/127.0.0.1/tcp/0"

// openPair opens two nodes of one space that know each other.
func openPair(t *testing.T) (a, b *rhizome.Node) {
	t.Helper()
	a = openNode(t, rhizome.Options{Listen: []string{loopback}})
	invite, err := a.Invite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a, openNode(t, rhizome.Options{Listen: []string{loopback}, Join: invite})
}

// openApart opens two nodes of one space that meet only when they are told to: no
// address is in the invite.
func openApart(t *testing.T) (a, b *rhizome.Node) {
	t.Helper()
	nodes := openAparts(t, 2)
	return nodes[0], nodes[1]
}

// openAparts opens some of such nodes.
func openAparts(t *testing.T, n int) []*rhizome.Node {
	t.Helper()
	dir := t.TempDir()
	alone, err := rhizome.Open(t.Context(), rhizome.Options{Dir: dir, Create: true, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	invite, err := alone.Invite(t.Context())
	if err := errors.Join(err, alone.Close()); err != nil {
		t.Fatal(err)
	}
	nodes := []*rhizome.Node{openNode(t, rhizome.Options{Dir: dir, Listen: []string{loopback}})}
	for len(nodes) < n {
		nodes = append(nodes, openNode(t, rhizome.Options{Listen: []string{loopback}, Join: invite}))
	}
	return nodes
}

// The suite passes where all is written on one node and read on another.
func TestSuiteReplicated(t *testing.T) {
	t.Parallel()
	a, b := openPair(t)
	dstest.SubtestAll(t, &replicated{Datastore: newStore(t, b, "/app", nil), to: newStore(t, a, "/app", nil)})
}

// TestMain makes the suite's queries those of the fewest entries that it is good
// for: their hundreds of combinations write them all anew, each durably.
func TestMain(m *testing.M) {
	dstest.ElemCount = 20
	os.Exit(m.Run())
}
