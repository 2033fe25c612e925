package pebblestore

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/rhizome-p2p/rhizome/storage"
)

// What was deleted by range is back with the file system after Reclaim, the
// logs included, and the rest can be read.
func TestReclaim(t *testing.T) {
	s, err := Open(t.TempDir(), Options{memTableBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	empty, err := s.DiskBytes()
	if err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 1000)
	for i := range 40 {
		b := s.NewBatch()
		for j := range 500 {
			_, _ = rand.Read(value) // never fails
			b.Set(fmt.Appendf(nil, "e%06d", i*500+j), value)
		}
		b.Set(fmt.Appendf(nil, "f%06d", i), value)
		if err := storage.ApplySync(s, b); err != nil {
			t.Fatal(err)
		}
	}
	full, _ := s.DiskBytes()
	b := s.NewBatch()
	b.DeleteRange([]byte("e"), []byte("e019990"))
	if err := storage.ApplySync(s, b); err != nil {
		t.Fatal(err)
	}
	if err := s.Reclaim([]byte("e"), []byte("f")); err != nil {
		t.Fatal(err)
	}
	left, err := s.DiskBytes()
	if err != nil || full < 20<<20 || left > empty+1<<20 {
		t.Errorf("%d bytes empty, %d full, %d after Reclaim: %v", empty, full, left, err)
	}
	n := 0
	for _, err := range s.Scan([]byte("a"), []byte("z")) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != 50 {
		t.Errorf("%d keys are left, want 50", n)
	}
	t.Logf("%d bytes empty, %d full, %d after Reclaim", empty, full, left)
}
