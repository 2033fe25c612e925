package node

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// ranges reads a range page by page.
func (b *bench) ranges(prefix string, limit int, o ReadOptions) (ids []string) {
	b.t.Helper()
	after := ""
	for {
		page, more, err := b.ReadRange(b.t.Context(), prefix, after, limit, o)
		if err != nil {
			b.t.Fatal(err)
		}
		for i := range page {
			after = page[i].Entity
			ids = append(ids, after)
		}
		if !more {
			return ids
		}
	}
}

// A range is read page by page, as of now and of the past, of a prefix and of a
// view; what the space says of itself is there where it is asked for.
func TestReadRange(t *testing.T) {
	b := viewBench(t, 0)
	for i := range 5 {
		b.put(fmt.Sprintf("host/%d", i), "/load", int64(i))
	}
	b.put("site/a", "/x", int64(1))
	then := b.Cursor()
	b.put("host/9", "/load", int64(9))
	b.must(Op{Kind: OpRm, Entity: "host/0"})
	for _, c := range []struct {
		prefix string
		o      ReadOptions
		want   []string
	}{
		{"host/", ReadOptions{}, []string{"host/1", "host/2", "host/3", "host/4", "host/9"}},
		{"", ReadOptions{Raw: true}, []string{"host/1", "host/2", "host/3", "host/4", "host/9", "site/a"}},
		{"host/", ReadOptions{At: then}, []string{"host/0", "host/1", "host/2", "host/3", "host/4"}},
		{"", ReadOptions{View: "unload"}, nil},
		{"host/", ReadOptions{View: "present"}, []string{"host/1", "host/2", "host/3"}},
		{"host/2", ReadOptions{View: "present", At: then}, []string{"host/2"}},
		{"$space", ReadOptions{}, nil},
		{"$schema/", ReadOptions{}, []string{"$schema/host"}},
		{"none", ReadOptions{}, nil},
	} {
		for _, limit := range []int{0, 1, 2} {
			if got := b.ranges(c.prefix, limit, c.o); !slices.Equal(got, c.want) {
				t.Errorf("%q %+v by %d: %q, want %q", c.prefix, c.o, limit, got, c.want)
			}
		}
	}
	for _, o := range []ReadOptions{{View: "none"}, {Expand: -1}, {At: "soon"}} {
		if _, _, err := b.ReadRange(t.Context(), "", "", 0, o); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotFound) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.ReadRange(ctx, "", "", 0, ReadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

// One row of the past is what the rows of its prefix are there.
func TestPastRow(t *testing.T) {
	b := newBench(t)
	b.put("k", "/a", int64(1))
	then := b.Cursor()
	b.put("k", "/a", int64(2))
	m := b.pin()
	defer m.close()
	c, err := m.cutAt(t.Context(), then)
	if err != nil {
		t.Fatal(err)
	}
	v := m.view(c)
	seen := 0
	err = v.Rows(merge.AppendPrefix(nil, "k", ""), func(key []byte, rows []merge.Survivor) error {
		seen++
		row, err := v.Row(key)
		if err != nil || len(row) != 1 || row[0].Dot != rows[0].Dot {
			t.Errorf("%v and %v: %v", row, rows, err)
		}
		return nil
	})
	if err != nil || seen != 1 {
		t.Errorf("%d rows: %v", seen, err)
	}
}

// A node that can compile no resolvers takes their definitions all the same, and
// shows errors where they would be read.
func TestResolversWithoutCompiler(t *testing.T) {
	b := newBench(t)
	b.system("$resolver/c", "/1", `{"kind": "cel", "expression": "1"}`)
	b.system("$resolver/w", "/1", `{"kind": "wasm", "module": "0000000000000000000000000000000000000000000000000000000000000000", "size": 1}`)
	b.system("$schema/s", "/1", `{"name": "s", "version": 1, "entities": ["s/*"], "properties": [
		{"id": "c", "path": "/c", "resolver": "c"}, {"id": "w", "path": "/w", "resolver": "w"}]}`)
	b.put("s/1", "", map[string]any{"c": int64(1), "w": int64(2), "x": int64(3)})
	r, err := b.Get(t.Context(), "s/1", "")
	if err != nil || string(delta.AppendAnyJSON(nil, r.Value)) != `{"x":3}` || len(r.Errors) != 2 {
		t.Errorf("%v with %v: %v", r.Value, r.Errors, err)
	}
	for _, e := range r.Errors {
		if e.Kind != merge.ErrorUnknown {
			t.Errorf("%v", e)
		}
	}
}

// Views that do not fit together are kept one after the other, that which was
// asked for last.
func TestViewsMakeRoom(t *testing.T) {
	b := viewBench(t, 2000)
	for i := range 20 {
		b.put(fmt.Sprintf("host/%d", i), "/load", int64(i))
	}
	for _, name := range []string{"busy", "present", "busy", "ann"} {
		for range keepAfter {
			if err := same(b.show(name, ""), b.scratch(name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		b.views.mu.Lock()
		size, sum := b.views.size, uint64(0)
		for _, k := range b.views.kept {
			sum += k.accounted
		}
		b.views.mu.Unlock()
		if size > 2000 || size != sum {
			t.Errorf("after %s: %d bytes, accounted %d", name, size, sum)
		}
	}
}

// A read without CIDs shows all else, however it is asked for.
func TestNoCIDs(t *testing.T) {
	b := viewBench(t, 0)
	b.put("host/1", "/load", int64(1))
	one := Key{Entity: "host/1"}
	for _, o := range []ReadOptions{{}, {Raw: true}, {At: b.Cursor()}} {
		o.NoCIDs = false
		with, err := b.GetMany(t.Context(), []Key{one}, o)
		if err != nil {
			t.Fatal(err)
		}
		o.NoCIDs = true
		without, err := b.GetMany(t.Context(), []Key{one}, o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range with[0].Reading.Survivors {
			s := &with[0].Reading.Survivors[i]
			if s.CID == "" || without[0].Reading.Survivors[i].CID != "" {
				t.Errorf("%+v: CID %q, and %q without", o, s.CID, without[0].Reading.Survivors[i].CID)
			}
			s.CID = ""
		}
		if !reflect.DeepEqual(with, without) {
			t.Errorf("%+v: without CIDs %+v, with them %+v", o, without, with)
		}
	}
}

// A range and a scan read references as a read of one key does: what another
// entity refers to is there, or it dangles.
func TestReadRangeOfReferences(t *testing.T) {
	for _, how := range []merge.Dangling{merge.DanglingKeep, merge.DanglingNull, merge.DanglingOmit, merge.DanglingError} {
		b := newBench(t)
		b.system("$schema/host", "/1", `{"name": "host", "version": 1, "entities": ["host/*"], "properties": [
			{"id": "site", "path": "/site", "ref": {"dangling": "`+string(how)+`"}}]}`)
		b.put("site/a", "/x", int64(1))
		for entity, target := range map[string]string{"host/1": "site/a", "host/2": "site/none", "host/3": "host/1", "host/4": "host/4"} {
			b.put(entity, "/site", map[string]any{"$ref": target})
		}
		page, _, err := b.ReadRange(t.Context(), "host/", "", 0, ReadOptions{})
		if err != nil || len(page) != 4 {
			t.Fatal(len(page), err)
		}
		for _, k := range page {
			one, err := b.Read(t.Context(), k.Entity, "", ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if one.Incoming = nil; !reflect.DeepEqual(k.Reading, one) {
				t.Errorf("%s: %s is read as %+v in a range, alone as %+v", how, k.Entity, k.Reading, one)
			}
		}
	}
}
