package node

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Read reads all at and below a path of an entity, or ErrNotFound. Like every
// read of state it shows the newest, which may be on its way to the disk still;
// Changes shows only what is durable. Below the horizon a read of the past is
// refused with a HorizonError; who refers to the entity, it does not tell.
func (n *Node) Read(ctx context.Context, entity string, p delta.Path, o ReadOptions) (Reading, error) {
	if err := checkKey(entity, p); err != nil {
		return Reading{}, err
	}
	if o.Expand < 0 || o.Expand > catalog.MaxExpand {
		return Reading{}, fmt.Errorf("%w: expand %d: want 0 to %d", ErrInvalid, o.Expand, catalog.MaxExpand)
	}
	rd, err := n.reader(ctx, o)
	if err != nil {
		return Reading{}, err
	}
	defer rd.close()
	out, found, err := rd.read(entity, p)
	if err != nil {
		return Reading{}, err
	}
	if !found {
		return Reading{}, notFound(entity, p, o.At)
	}
	if o.At == "" {
		out.Incoming, err = n.incoming(entity)
	}
	return out, err
}

func notFound(entity string, p delta.Path, at string) error {
	if at != "" {
		return fmt.Errorf("%w: %s, as of %s", ErrNotFound, delta.Key(entity, p), at)
	}
	return fmt.Errorf("%w: %s", ErrNotFound, delta.Key(entity, p))
}

// A reader reads several keys in the same way.
type reader struct {
	n      *Node
	o      ReadOptions
	view   source
	from   storage.Reader
	cids   map[clock.EntryID]string
	rules  func(entity string) *merge.Rules
	v      *catalog.View // that was asked for, nil for none
	expand int
	close  func()
}

// reader returns what reads as the options say. The caller closes it.
func (n *Node) reader(ctx context.Context, o ReadOptions) (*reader, error) {
	rd := &reader{
		n: n, o: o, view: &n.rows, from: n.db, cids: make(map[clock.EntryID]string), expand: o.Expand,
		rules: func(string) *merge.Rules { return nil }, close: func() {},
	}
	if o.NoCIDs {
		rd.cids = nil
	}
	now := n.Catalog()
	switch {
	case o.View != "" && o.Raw:
		return nil, fmt.Errorf("%w: a view and raw at once", ErrInvalid)
	case o.View != "":
		v := now.View(o.View)
		if v == nil {
			return nil, fmt.Errorf("%w: view %s", ErrNotFound, o.View)
		}
		rd.v, rd.rules, rd.expand = v, v.Rules, max(rd.expand, v.Expand)
	case !o.Raw:
		rd.rules = now.Rules
	}
	if o.At == "" {
		return rd, nil
	}
	m := n.pin()
	c, err := m.cutAt(ctx, o.At)
	if err != nil {
		m.close()
		return nil, err
	}
	rd.view, rd.from, rd.close = m.view(c), m.snap, m.close
	return rd, nil
}

func (rd *reader) read(entity string, p delta.Path) (Reading, bool, error) {
	return rd.readFrom(rd.view, entity, p)
}

// readFrom is read from a view that may have the entity's rows at hand.
func (rd *reader) readFrom(view merge.View, entity string, p delta.Path) (Reading, bool, error) {
	r, found, err := merge.ReadWith(view, entity, p, rd.rules(entity))
	if err != nil || !found {
		return Reading{}, false, err
	}
	for _, text := range r.Alarms {
		rd.n.Alarm("conflict", text, "see both values with get --lossless, and write the right one")
	}
	out, err := rd.n.reading(rd.from, rd.cids, entity, p, &r)
	if err != nil || rd.expand == 0 {
		return out, err == nil, err
	}
	x := catalog.Expansion{View: rd.view, Rules: rd.rules}
	if out.Value, err = x.Value(out.Value, rd.expand, entity); err != nil {
		return out, false, err
	}
	out.Refs, err = rd.refs(&out)
	return out, err == nil, err
}

// refs reads the entities that a reading refers to, each once, the nearest
// first.
func (rd *reader) refs(from *Reading) (out []Reading, err error) {
	seen := map[string]bool{from.Entity: true}
	level := []*Reading{from}
	for depth := 0; depth < rd.expand; depth++ {
		var targets []string
		for _, r := range level {
			for i := range r.Survivors {
				t, ok := r.Survivors[i].Value.Ref()
				if ok && !seen[t] && len(seen) <= catalog.MaxExpanded {
					seen[t] = true
					targets = append(targets, t)
				}
			}
		}
		level = nil
		for _, t := range targets {
			r, found, err := merge.ReadWith(rd.view, t, "", rd.rules(t))
			if err != nil {
				return nil, err
			}
			if !found {
				continue
			}
			one, err := rd.n.reading(rd.from, rd.cids, t, "", &r)
			if err != nil {
				return nil, err
			}
			out = append(out, one)
			level = append(level, &one)
		}
	}
	return out, nil
}

// A KeyRead is one of several keys that were read.
type KeyRead struct {
	Entity string
	Path   delta.Path
	// Found is false where nothing lives at the key; Reading then is empty.
	Found   bool
	Reading Reading
}

// A Key names a place.
type Key struct {
	Entity string
	Path   delta.Path
}

// pinned returns a reader of one moment.
func (n *Node) pinned(ctx context.Context, o ReadOptions) (*reader, error) {
	if o.Expand < 0 || o.Expand > catalog.MaxExpand {
		return nil, fmt.Errorf("%w: expand %d: want 0 to %d", ErrInvalid, o.Expand, catalog.MaxExpand)
	}
	rd, err := n.reader(ctx, o)
	if err != nil || o.At != "" {
		return rd, err
	}
	snap := n.db.Snapshot()
	view := n.rows
	view.r = snap
	rd.view, rd.from, rd.close = &view, snap, func() { _ = snap.Close() } // reading only: nothing is lost
	return rd, nil
}

// ReadRange reads the entities with a prefix that come after another, in byte
// order: at most limit or 1,000 of them, and at least one but no more than 8 MiB
// of values; more says that there are others. Of a view it reads those that are
// part of it.
func (n *Node) ReadRange(ctx context.Context, prefix, after string, limit int, o ReadOptions) (out []KeyRead, more bool, err error) {
	if limit <= 0 {
		limit = 1000
	}
	size := 0
	for r, err := range n.Scan(ctx, prefix, after, o) {
		if err != nil {
			return out, false, err
		}
		size += r.bytes()
		if len(out) == limit || size > maxRangeBytes && len(out) > 0 {
			return out, true, nil
		}
		out = append(out, KeyRead{Entity: r.Entity, Found: true, Reading: r})
	}
	return out, false, nil
}

// Scan yields what ReadRange reads, without a bound and from one snapshot, which
// is held until it ends.
func (n *Node) Scan(ctx context.Context, prefix, after string, o ReadOptions) iter.Seq2[Reading, error] {
	return func(yield func(Reading, error) bool) {
		rd, err := n.pinned(ctx, o)
		if err == nil {
			defer rd.close()
			err = rd.scan(ctx, prefix, after, func(r Reading) bool { return yield(r, nil) })
		}
		if err != nil {
			yield(Reading{}, err)
		}
	}
}

// scan calls f for each reading as long as it returns true.
func (rd *reader) scan(ctx context.Context, prefix, after string, f func(Reading) bool) error {
	one := func(view merge.View, entity string) (more bool, err error) {
		if hidden(prefix, entity) || !strings.HasPrefix(entity, prefix) {
			return true, nil
		}
		if rd.v != nil {
			if _, in, err := rd.v.Render(rd.view, entity); err != nil || !in {
				return true, err
			}
		}
		r, found, err := rd.readFrom(view, entity, "")
		if err != nil || !found {
			return true, err
		}
		return f(r), nil
	}
	if rd.v != nil {
		return rd.n.eachOf(ctx, rd.v, rd.view, after, func(entity string) (bool, error) { return one(rd.view, entity) })
	}
	for d, err := range rd.view.documentsFrom(ctx, rd.n, prefix, after) {
		if err != nil {
			return err
		}
		if more, err := one(d.view, d.entity); err != nil || !more {
			return err
		}
	}
	return nil
}

// GetMany reads many keys at once, from one snapshot, in their order. What would
// be more than 64 MiB of values it refuses.
func (n *Node) GetMany(ctx context.Context, keys []Key, o ReadOptions) ([]KeyRead, error) {
	for _, k := range keys {
		if err := checkKey(k.Entity, k.Path); err != nil {
			return nil, err
		}
	}
	rd, err := n.pinned(ctx, o)
	if err != nil {
		return nil, err
	}
	defer rd.close()
	out := make([]KeyRead, len(keys))
	size := 0
	for i, k := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, found, err := rd.read(k.Entity, k.Path)
		if err != nil {
			return nil, err
		}
		if size += r.bytes(); size > maxManyBytes && i > 0 {
			return nil, fmt.Errorf("%w: %d keys have more than %d MiB of values, the first %d of them less: ask for fewer at once",
				ErrInvalid, len(keys), maxManyBytes>>20, i)
		}
		out[i] = KeyRead{k.Entity, k.Path, found, r}
	}
	return out, nil
}

// keyBytes is what a survivor, or a member of a document, costs beside its value.
const keyBytes = 64

// bytes returns about how much memory a reading holds: what it shows, and every
// survivor, also of the entities that it refers to.
func (r *Reading) bytes() int {
	n := bytesOf(r.Value)
	for i := range r.Survivors {
		n += len(r.Survivors[i].Path) + len(r.Survivors[i].Value) + keyBytes
	}
	for i := range r.Refs {
		n += r.Refs[i].bytes()
	}
	return n
}

func bytesOf(x any) int {
	n := 16 // of the interface
	switch x := x.(type) {
	case string:
		n += len(x)
	case []byte:
		n += len(x)
	case []any:
		for _, y := range x {
			n += bytesOf(y)
		}
	case map[string]any:
		for k, y := range x { // a sum: the order does not matter
			n += len(k) + keyBytes + bytesOf(y)
		}
	}
	return n
}
