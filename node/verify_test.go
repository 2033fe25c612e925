package node

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/storage"
)

// A reread of a sound repo finds nothing, and counts what there is.
func TestVerify(t *testing.T) {
	b := newBench(t)
	for i := range 30 {
		b.put("e", "/x", int64(i))
		b.put("e", "/to", ref("f"))
	}
	steps := 0
	report, err := b.Verify(t.Context(), func(uint64, uint64) { steps++ })
	if err != nil || len(report.Problems) > 0 || report.Entries != 60 || report.Rows != 2 || report.Lanes != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Verify(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Damage of every kind is found, and said where it is.
func TestVerifyFindsDamage(t *testing.T) {
	last := func(b *bench, kind byte) (key, value []byte) {
		lo := b.rows.key(kind, nil)
		for kv, err := range b.db.ScanReverse(lo, storage.PrefixEnd(lo)) {
			if err != nil {
				t.Fatal(err)
			}
			return bytes.Clone(kv.Key), bytes.Clone(kv.Value)
		}
		t.Fatalf("no row of kind %q", kind)
		return nil, nil
	}
	first := func(b *bench, kind byte) (key, value []byte) {
		lo := b.rows.key(kind, nil)
		for kv, err := range b.db.Scan(lo, storage.PrefixEnd(lo)) {
			if err != nil {
				t.Fatal(err)
			}
			return bytes.Clone(kv.Key), bytes.Clone(kv.Value)
		}
		t.Fatalf("no row of kind %q", kind)
		return nil, nil
	}
	for _, c := range []struct {
		name  string
		spoil func(b *bench, w storage.Batch)
		want  string
	}{
		{"body of an entry", func(b *bench, w storage.Batch) {
			k, v := first(b, 'e')
			v[len(v)-1] ^= 1
			w.Set(k, v)
		}, ":1"},
		{"signature", func(b *bench, w storage.Batch) {
			k, v := first(b, 'e')
			copy(v[bytes.Index(v, findSig(t, b, 1)):], bytes.Repeat([]byte{7}, 8))
			w.Set(k, v)
		}, "signature"},
		{"row of an entry", func(b *bench, w storage.Batch) { k, _ := first(b, 'e'); w.Set(k, []byte{0xff}) }, "corrupt"},
		{"lost entry in the middle", func(b *bench, w storage.Batch) { k, _ := first(b, 'e'); w.Delete(k) }, "does not follow"},
		{"lost last entry", func(b *bench, w storage.Batch) { k, _ := last(b, 'e'); w.Delete(k) }, "ends at"},
		{"row that says something else", func(b *bench, w storage.Batch) {
			k, v := last(b, kindState)
			i := bytes.Index(v, []byte("text"))
			v[i] = 'T'
			w.Set(k, v)
		}, "digest"},
		{"row that cannot be read", func(b *bench, w storage.Batch) { k, _ := last(b, kindState); w.Set(k, []byte{0xff}) }, "row"},
		{"lost row", func(b *bench, w storage.Batch) { k, _ := last(b, kindState); w.Delete(k) }, "digest"},
		{"row twice", func(b *bench, w storage.Batch) {
			k, v := last(b, kindState)
			k[bytes.IndexByte(k, 'z')] = 'y'
			w.Set(k, v)
		}, "digest"},
		{"row in another's place", func(b *bench, w storage.Batch) {
			k, _ := first(b, kindState)
			_, v := last(b, kindState)
			w.Set(k, v)
		}, "does not belong there"},
		{"row with a bad key", func(b *bench, w storage.Batch) {
			_, v := last(b, kindState)
			w.Set(b.rows.key(kindState, []byte("x")), v)
		}, "row key"},
		{"order that cannot be read", func(b *bench, w storage.Batch) { k, _ := first(b, 'o'); w.Set(k, []byte{0xff}) }, "order"},
		{"lost order", func(b *bench, w storage.Batch) { k, _ := last(b, 'o'); w.Delete(k) }, "the order lists"},
		{"order with a hole", func(b *bench, w storage.Batch) { k, _ := first(b, 'o'); w.Delete(k) }, "the order has"},
		{"kept entry", func(b *bench, w storage.Batch) {
			k, _ := first(b, 'e')
			k[bytes.IndexByte(k, 'e')] = 'x'
			w.Set(k, []byte{0xff})
		}, "set aside"},
		{"reference too many", func(b *bench, w storage.Batch) {
			k, _ := last(b, kindRef)
			w.Set(append(k, 1), nil)
		}, "no row holds"},
		{"lost reference", func(b *bench, w storage.Batch) { k, _ := last(b, kindRef); w.Delete(k) }, "lacks 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.put("a", "/to", ref("z"))
			b.must(Op{Kind: OpAdd, Entity: "a", Path: "/bag", Value: int64(3)})
			b.put("z", "", "text")
			w := b.db.NewBatch()
			c.spoil(b, w)
			if err := storage.ApplySync(b.db, w); err != nil {
				t.Fatal(err)
			}
			report, err := b.Verify(t.Context(), nil)
			if err != nil || !strings.Contains(strings.Join(report.Problems, "\n"), c.want) {
				t.Errorf("problems %q, want one of %q; %v", report.Problems, c.want, err)
			}
		})
	}
}

func findSig(t *testing.T, b *bench, seq uint64) []byte {
	t.Helper()
	for r, err := range b.store.Lane(b.db, b.replica.signer.Lane, seq) {
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(r.Sig)
	}
	return nil
}

// Damage is found, too, in what compaction and reads of the past stand on.
func TestVerifyFindsDamageOfThePast(t *testing.T) {
	edge := func(b *bench, kind byte) (key, value []byte) {
		lo := b.rows.key(kind, nil)
		for kv, err := range b.db.Scan(lo, storage.PrefixEnd(lo)) {
			if err != nil {
				t.Fatal(err)
			}
			return bytes.Clone(kv.Key), bytes.Clone(kv.Value)
		}
		t.Fatalf("no row of kind %q", kind)
		return nil, nil
	}
	for _, c := range []struct {
		name  string
		spoil func(b *bench, w storage.Batch)
		want  string
	}{
		{"nothing", func(*bench, storage.Batch) {}, ""},
		{"first entry above the floor", func(b *bench, w storage.Batch) { k, _ := edge(b, 'e'); w.Delete(k) }, "does not follow"},
		{"order above the history", func(b *bench, w storage.Batch) { k, _ := edge(b, 'o'); w.Delete(k) }, "the order has"},
		{"checkpoint", func(b *bench, w storage.Batch) { k, v := edge(b, kindCheckpoint); v[9] ^= 1; w.Set(k, v) }, "checkpoint"},
		{"eras", func(b *bench, w storage.Batch) { k, v := edge(b, kindEras); v[5] ^= 1; w.Set(k, v) }, "eras"},
		{"dead row that cannot be read", func(b *bench, w storage.Batch) { k, _ := edge(b, kindDead); w.Set(k, []byte{1}) }, "dead row"},
		{"dead row of another dot", func(b *bench, w storage.Batch) {
			k, v := edge(b, kindDead)
			k[len(k)-1]++
			w.Set(k, v)
		}, "it holds"},
		{"dead row of no era", func(b *bench, w storage.Batch) {
			k, v := edge(b, kindDead)
			k[len(b.rows.key(kindDead, nil))+3] += 9
			w.Set(k, v)
		}, "which there is not"},
		{"kept kill", func(b *bench, w storage.Batch) { k, _ := edge(b, kindKill); w.Set(k, nil) }, "kept kill"},
		{"kept kill of another scope", func(b *bench, w storage.Batch) {
			k, v := edge(b, kindKill)
			w.Set(append(k, 1), v)
		}, "another length"},
		{"staged row", func(b *bench, w storage.Batch) {
			w.Set(b.rows.key(kindStaged, []byte("x")), []byte{1})
		}, "staged row"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.put("a", "", int64(1))
			b.compact(CompactOptions{})
			b.put("a", "", int64(2))
			b.put("a", "", int64(3))
			w := b.db.NewBatch()
			c.spoil(b, w)
			if err := storage.ApplySync(b.db, w); err != nil {
				t.Fatal(err)
			}
			report, err := b.Verify(t.Context(), nil)
			got := strings.Join(report.Problems, "\n")
			if err != nil || !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("problems %q, want one of %q; %v", report.Problems, c.want, err)
			}
		})
	}
}

// An index of references that is wrong is built anew; rows that are wrong are
// left as they are.
func TestReindex(t *testing.T) {
	b := newBench(t)
	for _, e := range []string{"a", "b", "c"} {
		b.put(e, "/to", ref("f"))
	}
	spoil := func(f func(w storage.Batch)) {
		t.Helper()
		w := b.db.NewBatch()
		f(w)
		if err := storage.ApplySync(b.db, w); err != nil {
			t.Fatal(err)
		}
	}
	lo := b.rows.key(kindRef, nil)
	problems := func() (int, int) {
		t.Helper()
		r, err := b.Verify(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Problems), r.Index
	}
	for name, f := range map[string]func(w storage.Batch){
		"lost": func(w storage.Batch) { w.DeleteRange(lo, storage.PrefixEnd(lo)) },
		"more": func(w storage.Batch) { w.Set(append(bytes.Clone(lo), "nobody"...), nil) },
	} {
		spoil(f)
		if all, index := problems(); all == 0 || index != all {
			t.Errorf("%s: %d problems, %d of the index", name, all, index)
		}
		if err := b.Reindex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all, _ := problems(); all > 0 {
			t.Errorf("%s: %d problems after it", name, all)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Reindex(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	rows := b.rows.key(kindState, nil)
	spoil(func(w storage.Batch) { w.DeleteRange(rows, storage.PrefixEnd(rows)) })
	if all, index := problems(); all == index {
		t.Errorf("lost rows: %d problems, all of the index", all)
	}
	if err := b.Reindex(t.Context()); !errors.Is(err, ErrRowsDiffer) {
		t.Errorf("lost rows: %v", err)
	}
}
