package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A page of entities ends where it holds as many bytes as it may, and all pages
// together hold each entity once.
func TestReadRangeIsBoundedByBytes(t *testing.T) {
	b := newBench(t)
	const entities, each = 40, 256<<10 - 100
	b.put("ref", "/big", strings.Repeat("x", each))
	for i := range entities {
		e := fmt.Sprintf("big/%02d", i)
		b.put(e, "/text", strings.Repeat("x", each))
		b.put(e, "/ref", map[string]any{"$ref": "ref"})
	}
	for _, o := range []ReadOptions{{}, {Expand: 1}} {
		after, read, pages := "", 0, 0
		for more := true; more; pages++ {
			var page []KeyRead
			var err error
			if page, more, err = b.ReadRange(t.Context(), "big/", after, 0, o); err != nil {
				t.Fatal(err)
			}
			size := 0
			for i := range page {
				size += page[i].Reading.bytes()
				if want := fmt.Sprintf("big/%02d", read); page[i].Entity != want {
					t.Fatalf("entity %s, want %s", page[i].Entity, want)
				}
				read++
			}
			if len(page) == 0 || size > maxRangeBytes {
				t.Fatalf("a page of %d entities and %d bytes", len(page), size)
			}
			after = page[len(page)-1].Entity
		}
		if want := 3 + 4*o.Expand; read != entities || pages != want {
			t.Errorf("expand %d: %d entities on %d pages", o.Expand, read, pages)
		}
	}
}

// An entity that is past the bound by itself is a page by itself, and is read by
// its key.
func TestReadOneLargeEntity(t *testing.T) {
	b := newBench(t)
	for i := range 60 {
		b.put("big/1", delta.Path(fmt.Sprintf("/%d", i)), strings.Repeat("x", 256<<10-100))
	}
	b.put("big/2", "", int64(1))
	page, more, err := b.ReadRange(t.Context(), "", "", 0, ReadOptions{})
	if err != nil || len(page) != 1 || !more || page[0].Reading.bytes() < maxRangeBytes {
		t.Errorf("%d entities, more %v: %v", len(page), more, err)
	}
	page, more, err = b.ReadRange(t.Context(), "", "big/1", 0, ReadOptions{})
	if err != nil || len(page) != 1 || more {
		t.Errorf("%d entities, more %v: %v", len(page), more, err)
	}
}

// Many keys whose values are past the bound are refused, with how many are not,
// and so many are read.
func TestGetManyIsBoundedByBytes(t *testing.T) {
	b := newBench(t)
	b.put("big/1", "/v", strings.Repeat("x", 256<<10-100))
	keys := make([]Key, 300)
	for i := range keys {
		keys[i] = Key{"big/1", ""}
	}
	_, err := b.GetMany(t.Context(), keys, ReadOptions{})
	n := 0
	if err != nil {
		_, rest, _ := strings.Cut(err.Error(), "the first ")
		_, _ = fmt.Sscanf(rest, "%d", &n)
	}
	if !errors.Is(err, ErrInvalid) || n < 100 || n > 130 { // each is there twice: decoded, and as a survivor
		t.Fatalf("error %v", err)
	}
	if read, err := b.GetMany(t.Context(), keys[:n], ReadOptions{}); err != nil || len(read) != n {
		t.Errorf("%d keys: %v", len(read), err)
	}
	if _, err := b.GetMany(t.Context(), keys[:n+1], ReadOptions{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("one more: %v", err)
	}
}
