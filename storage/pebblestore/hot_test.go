package pebblestore

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rhizome-p2p/rhizome/storage"
)

// A scan of a key that was written over and over does not go through all that it
// once held; and what a deletion makes it go through, it has flushed.
func TestHotKey(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write := func(f func(b storage.Batch)) {
		t.Helper()
		b := s.NewBatch()
		f(b)
		if _, err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	const times = 2 * flushAfter
	for i := range times {
		write(func(b storage.Batch) {
			b.Set([]byte("k/hot"), fmt.Append(nil, i))
			b.Set([]byte("k/warm"), fmt.Append(nil, i))
		})
	}
	write(func(b storage.Batch) { b.Set([]byte("l"), nil) })
	// steps goes through a range as scan does, and counts.
	steps := func(lo, hi string) (keys, passed int) {
		t.Helper()
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte(lo), UpperBound: []byte(hi)})
		if err != nil {
			t.Fatal(err)
		}
		first, next := s.stepper(it)
		for ok := first(); ok; ok = next() {
			keys++
		}
		passed = it.Stats().ForwardStepCount[pebble.InternalIterCall]
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		return keys, passed
	}
	if keys, passed := steps("k/hot", "k/hot\xff"); keys != 1 || passed > steppedOver {
		t.Errorf("a scan of one hot key passes over %d, and finds %d", passed, keys)
	}
	if keys, passed := steps("k", "m"); keys != 3 || passed > times+4*steppedOver {
		t.Errorf("a scan of two hot keys passes over %d, and finds %d", passed, keys)
	}
	write(func(b storage.Batch) { b.Delete([]byte("k/hot")) })
	if keys, passed := steps("k/hot", "k/hot\xff"); keys != 0 || passed < times {
		t.Logf("flushed already: %d passed", passed)
	}
	done, err := s.db.AsyncFlush() // waits behind the one that the scan began
	if err != nil {
		t.Fatal(err)
	}
	<-done
	if keys, passed := steps("k/hot", "k/hot\xff"); keys != 0 || passed > steppedOver {
		t.Errorf("after a flush a scan of a deleted key passes over %d, and finds %d", passed, keys)
	}
}

// Whichever way a scan moves on, it yields all pairs in order.
func TestHotScan(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const keys = 500
	for round := range 40 {
		b := s.NewBatch()
		for i := range keys {
			if round == 0 || i%7 == 0 {
				b.Set(fmt.Appendf(nil, "k%03d", i), fmt.Append(nil, round))
			}
		}
		if _, err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	i := 0
	for kv, err := range s.Scan([]byte("k"), []byte("l")) {
		want := "0"
		if i%7 == 0 {
			want = "39"
		}
		if err != nil || string(kv.Key) != fmt.Sprintf("k%03d", i) || string(kv.Value) != want {
			t.Fatalf("at %d: %q %q, %v", i, kv.Key, kv.Value, err)
		}
		i++
	}
	if i != keys {
		t.Errorf("%d pairs of %d", i, keys)
	}
}
