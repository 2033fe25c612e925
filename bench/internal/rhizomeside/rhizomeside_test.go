package rhizomeside_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/rhizomeside"
	"github.com/rhizome-p2p/rhizome/bench/internal/side"
)

func open(ctx context.Context, t *testing.T, o side.Options) *rhizomeside.Replica {
	t.Helper()
	r, err := rhizomeside.Open(ctx, o)
	check(t, err)
	return r
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestReplicas: what is put, batched and removed at one replica is so at the
// other; one that has forgotten its peers is alone until it is connected.
func TestReplicas(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	oa, ob := side.Options{Dir: t.TempDir(), Network: true}, side.Options{Dir: t.TempDir(), Network: true}
	a := open(ctx, t, oa)
	var err error
	ob.Join, err = a.Address(ctx)
	check(t, err)
	b := open(ctx, t, ob)
	check(t, b.Ready(ctx, 1))
	check(t, b.Watch(ctx))
	check(t, a.Put(ctx, side.Key(0), side.Value(1, 0)))
	key, err := b.Shown(ctx)
	check(t, err)
	if key != side.Key(0) {
		t.Errorf("%s was shown", key)
	}
	check(t, a.PutBatch(ctx, []side.Item{{Key: side.Key(1), Value: side.Value(1, 1)}, {Key: side.Key(2), Value: side.Value(1, 2)}}))
	check(t, b.Await(ctx, 3))
	got := 0
	check(t, b.List(ctx, side.Prefix, func(it side.Item) error {
		i, err := side.Index(it.Key)
		if err != nil || string(it.Value) != string(side.Value(1, i)) {
			t.Errorf("%s: %v", it.Key, err)
		}
		got++
		return nil
	}))
	if got != 3 {
		t.Errorf("%d keys", got)
	}
	check(t, a.Remove(ctx, side.Key(0)))
	for rows := 3; rows != 2; { // else b may forget its peer before
		check(t, ctx.Err())
		rows, err = b.Rows(ctx)
		check(t, err)
	}
	for _, r := range []*rhizomeside.Replica{a, b} {
		check(t, r.Forget(ctx))
		check(t, r.Close())
	}

	ob.Join = ""
	a, b = open(ctx, t, oa), open(ctx, t, ob)
	if _, err := a.Get(ctx, side.Key(0)); !errors.Is(err, side.ErrNotFound) {
		t.Errorf("a removed key: %v", err)
	}
	check(t, a.Put(ctx, side.Key(5), side.Value(1, 5)))
	if _, err := b.Get(ctx, side.Key(5)); !errors.Is(err, side.ErrNotFound) {
		t.Errorf("a put of a forgotten peer: %v", err)
	}
	check(t, b.Connect(ctx, a.Dial()))
	check(t, b.Await(ctx, 1))
	check(t, a.Close())
	check(t, b.Close())
}
