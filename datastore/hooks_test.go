package datastore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/datastore"
)

// A recorder notes what hooks tell.
type recorder struct {
	mu   sync.Mutex
	cond *sync.Cond
	told []string
}

func newRecorder() *recorder {
	r := new(recorder)
	r.cond = sync.NewCond(&r.mu)
	return r
}

func (r *recorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, text)
	r.cond.Broadcast()
}

func (r *recorder) options() *datastore.Options {
	o := datastore.DefaultOptions()
	o.PutHook = func(k ds.Key, v []byte) { r.note(fmt.Sprintf("put %s %.20s", k, v)) }
	o.DeleteHook = func(k ds.Key) { r.note("delete " + k.String()) }
	o.ResetHook = func() { r.note("reset") }
	return o
}

// until waits until a text has been told, and returns all that was told up to it.
func (r *recorder) until(ctx context.Context, text string) []string {
	defer context.AfterFunc(ctx, r.cond.Broadcast)()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !slices.Contains(r.told, text) && ctx.Err() == nil {
		r.cond.Wait()
	}
	return slices.Clone(r.told)
}

// Hooks tell each change of one node once, in order, whichever call made it: also
// of keys that have changed again before the hook came to them.
func TestHooks(t *testing.T) {
	n := openNode(t, rhizome.Options{Offline: true})
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		run++
		r := newRecorder()
		d, err := datastore.New(n, ds.NewKey(fmt.Sprintf("/run/%d", run)), r.options())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		there := map[ds.Key]bool{}
		var want []string
		for i := range rapid.IntRange(1, 20).Draw(t, "steps") {
			k := ds.NewKey(rapid.SampledFrom([]string{"a", "b", "#"}).Draw(t, "key"))
			if rapid.Bool().Draw(t, "delete") {
				if err := d.Delete(ctx, k); err != nil {
					t.Fatal(err)
				}
				if there[k] {
					want = append(want, "delete "+k.String())
				}
				there[k] = false
				continue
			}
			v := []byte(fmt.Sprintf("%d of %d", i, run))
			if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
				v = append(v, strings.Repeat("x", 300<<10)...)
			}
			if err := d.Put(ctx, k, v); err != nil {
				t.Fatal(err)
			}
			there[k] = true
			want = append(want, fmt.Sprintf("put %s %.20s", k, v))
		}
		if err := d.Put(ctx, ds.NewKey("end"), nil); err != nil {
			t.Fatal(err)
		}
		if got := r.until(ctx, "put /end "); !slices.Equal(got, append(want, "put /end ")) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

// Hooks tell on a node what another one wrote, as they do there; what is outside
// of the namespace they do not tell.
func TestHooksRemote(t *testing.T) {
	a, b := openPair(t)
	ra, rb := newRecorder(), newRecorder()
	da, db := newStore(t, a, "/app", ra.options()), newStore(t, b, "/app", rb.options())
	other := newStore(t, a, "/apple", nil)
	steps := []error{
		other.Put(t.Context(), ds.NewKey("x"), []byte("of another namespace")),
		da.Put(t.Context(), ds.NewKey("x"), []byte("1")),
		da.Put(t.Context(), ds.NewKey("x"), []byte("2")),
		da.Delete(t.Context(), ds.NewKey("x")),
		da.Put(t.Context(), ds.NewKey("end"), nil),
	}
	for _, err := range steps {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"put /x 1", "put /x 2", "delete /x", "put /end "}
	for i, r := range []*recorder{ra, rb} {
		if got := r.until(t.Context(), "put /end "); !slices.Equal(got, want) {
			t.Errorf("node %d told %q, want %q", i, got, want)
		}
	}
	if _, err := db.Get(t.Context(), ds.NewKey("end")); err != nil {
		t.Error(err)
	}
}

// Where a node gets a peer's state in place of its writes, hooks tell of a reset
// and of every key there is, and go on from there.
func TestHooksReset(t *testing.T) {
	a, b := openApart(t)
	r := newRecorder()
	newStore(t, b, "/app", r.options())
	da := newStore(t, a, "/app", nil)
	for i := range 5 {
		if err := da.Put(t.Context(), ds.NewKey(fmt.Sprint(i)), []byte("old")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Compact(t.Context(), rhizome.CompactOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := b.AddPeer(t.Context(), a.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	r.until(t.Context(), "put /4 old")
	if err := da.Put(t.Context(), ds.NewKey("end"), nil); err != nil {
		t.Fatal(err)
	}
	got := r.until(t.Context(), "put /end ")
	want := []string{"reset", "put /0 old", "put /1 old", "put /2 old", "put /3 old", "put /4 old", "put /end "}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// Of two values written at once the nodes are told of the newer one alone, each
// once; the older one is told where it was written. A delete that takes away the
// newer of the two brings the older one to light, and one of both leaves nothing.
func TestHooksConcurrent(t *testing.T) {
	a, b := openApart(t)
	ra, rb := newRecorder(), newRecorder()
	da, db := newStore(t, a, "/app", ra.options()), newStore(t, b, "/app", rb.options())
	put := func(d *datastore.Datastore, k, v string) {
		t.Helper()
		if err := d.Put(t.Context(), ds.NewKey(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	put(da, "k", "older")
	put(da, "light", "older")
	for last := time.Now().UnixMilli(); time.Now().UnixMilli() <= last+1; { // clocks are in milliseconds
		runtime.Gosched()
	}
	put(db, "k", "newer")
	put(db, "light", "newer")
	if err := db.Delete(t.Context(), ds.NewKey("light")); err != nil {
		t.Fatal(err)
	}
	if err := b.AddPeer(t.Context(), a.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*replicated{{Datastore: da, to: db, behind: true}, {Datastore: db, to: da, behind: true}} {
		if v, err := d.Get(t.Context(), ds.NewKey("k")); err != nil || string(v) != "newer" {
			t.Fatalf("%s, %v: the clocks of the nodes differ", v, err)
		}
	}
	if err := da.Delete(t.Context(), ds.NewKey("k")); err != nil { // of both values
		t.Fatal(err)
	}
	put(da, "end", "")
	ta, tb := ra.until(t.Context(), "put /end "), rb.until(t.Context(), "put /end ")
	keyed := func(told []string, k string) (out []string) {
		for _, x := range told {
			if strings.Contains(x, k) {
				out = append(out, x)
			}
		}
		return out
	}
	for _, c := range []struct {
		node string
		told []string
		key  string
		want []string
	}{
		{"a", ta, "/k", []string{"put /k older", "put /k newer", "delete /k"}},
		{"a", ta, "/light", []string{"put /light older", "put /light newer", "put /light older"}},
		{"b", tb, "/k", []string{"put /k newer", "delete /k"}},
		{"b", tb, "/light", []string{"put /light newer", "delete /light", "put /light older"}},
	} {
		if got := keyed(c.told, c.key); !slices.Equal(got, c.want) {
			t.Errorf("node %s told %q of %s, want %q", c.node, got, c.key, c.want)
		}
	}
}

// A delete is told once of each key that showed a value: not for the second time
// where two nodes delete it at once, and not of what never was a value.
func TestHooksDeleteOnce(t *testing.T) {
	a, b := openPair(t)
	r := newRecorder()
	da, db := newStore(t, a, "/app", r.options()), newStore(t, b, "/app", nil)
	number := rhizome.Op{Kind: rhizome.OpPut, Entity: "app/number", Value: int64(1)}
	if _, err := a.Commit(t.Context(), "", []rhizome.Op{number}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 10 {
		k := ds.NewKey(fmt.Sprint(i))
		if err := da.Put(t.Context(), k, []byte("v")); err != nil {
			t.Fatal(err)
		}
		if ok, err := (&replicated{Datastore: db, to: da, behind: true}).Has(t.Context(), k); !ok || err != nil {
			t.Fatal(ok, err)
		}
		var there sync.WaitGroup
		var errs [2]error
		there.Go(func() { errs[0] = da.Delete(t.Context(), k) })
		there.Go(func() { errs[1] = db.Delete(t.Context(), k) })
		there.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("put %s v", k), "delete "+k.String())
	}
	if err := db.Put(t.Context(), ds.NewKey("end"), nil); err != nil {
		t.Fatal(err)
	}
	want = append(want, "put /end ")
	if got := r.until(t.Context(), "put /end "); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
