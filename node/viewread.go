package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A ViewItem is what a view shows of one entity.
type ViewItem struct {
	Entity string
	// Value is the lossy document as JSON.
	Value  json.RawMessage
	Errors []*merge.PropertyError
	// Gone says that the entity is no longer part of the view; only WatchView
	// yields such.
	Gone bool
	// Ready says that what came so far is the whole view, and that what follows
	// are changes. It stands alone; only WatchView yields it.
	Ready bool
}

// appendItem appends an item as it is kept: its value, a line end, which JSON as
// we write it has none of, and its errors, if any.
func appendItem(b []byte, item *catalog.Item) []byte {
	b = append(delta.AppendAnyJSON(b, item.Value), '\n')
	if len(item.Errors) == 0 {
		return b
	}
	text, err := json.Marshal(item.Errors)
	if err != nil {
		return b // errors are texts
	}
	return append(b, text...)
}

func parseItem(entity string, b []byte) (ViewItem, error) {
	value, errs, _ := bytes.Cut(b, []byte{'\n'})
	out := ViewItem{Entity: entity, Value: value}
	if len(errs) > 0 {
		if err := json.Unmarshal(errs, &out.Errors); err != nil {
			return out, fmt.Errorf("view item %s: %w", entity, err)
		}
	}
	return out, nil
}

// A source is where a view looks for entities: the newest state, or a past one.
type source interface {
	merge.View
	entitiesFrom(ctx context.Context, n *Node, prefix, after string) iter.Seq2[string, error]
	documentsFrom(ctx context.Context, n *Node, prefix, after string) iter.Seq2[holder, error]
}

// A holder is an entity and the view of all, with its rows at hand until the next
// is asked for.
type holder struct {
	entity string
	view   merge.View
}

func (v *rows) documentsFrom(ctx context.Context, _ *Node, prefix, after string) iter.Seq2[holder, error] {
	return func(yield func(holder, error) bool) {
		for d, err := range v.documents(ctx, prefix, after) {
			if err != nil {
				yield(holder{}, err)
				return
			}
			if !yield(holder{d.entity, d}, nil) {
				return
			}
		}
	}
}

func (v *past) documentsFrom(ctx context.Context, n *Node, prefix, after string) iter.Seq2[holder, error] {
	return func(yield func(holder, error) bool) {
		for entity, err := range v.entitiesFrom(ctx, n, prefix, after) {
			if !yield(holder{entity, v}, err) {
				return
			}
		}
	}
}

func (v *rows) entitiesFrom(ctx context.Context, _ *Node, prefix, after string) iter.Seq2[string, error] {
	return v.entities(ctx, prefix, after)
}

func (v *past) entitiesFrom(ctx context.Context, n *Node, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for entity, err := range n.entitiesOf(ctx, v, prefix) {
			if err == nil && entity <= after {
				continue
			}
			if !yield(entity, err) {
				return
			}
		}
	}
}

// eachOf calls f for the entities after one that a view may show, in order, as
// long as it returns true.
func (n *Node) eachOf(ctx context.Context, v *catalog.View, from source, after string, f func(entity string) (bool, error)) error {
	prefixes := slices.Clone(v.Prefixes())
	slices.Sort(prefixes)
	for i, prefix := range prefixes {
		if i > 0 && strings.HasPrefix(prefix, prefixes[i-1]) {
			prefixes[i] = prefixes[i-1] // what it begins with was gone through
			continue
		}
		for entity, err := range from.entitiesFrom(ctx, n, prefix, after) {
			if err != nil {
				return err
			}
			if !v.Match(entity) {
				continue
			}
			if more, err := f(entity); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// ShowView returns what a view shows, in the order of entities, those after one:
// at most limit or 1,000 of them, and about 8 MiB; more says that there are
// others. At is a cut, as in ReadOptions.
func (n *Node) ShowView(ctx context.Context, name, after string, limit int, at string) (out []ViewItem, more bool, err error) {
	if limit <= 0 {
		limit = 1000
	}
	view := n.Catalog().View(name)
	if view == nil {
		return nil, false, fmt.Errorf("%w: view %s", ErrNotFound, name)
	}
	if at != "" {
		m := n.pin()
		defer m.close()
		c, err := m.cutAt(ctx, at)
		if err != nil {
			return nil, false, err
		}
		return n.scanView(ctx, view, m.view(c), after, limit)
	}
	k, err := n.views.keep(name, false)
	if err != nil {
		return nil, false, err
	}
	if k != nil {
		items, err := k.current(ctx)
		if err != nil {
			return nil, false, err
		}
		if items != nil {
			return pageOf(items, after, limit)
		}
	}
	return n.scanView(ctx, view, &n.rows, after, limit)
}

// scanView works out a page of a view from the state.
func (n *Node) scanView(ctx context.Context, view *catalog.View, from source, after string, limit int) (out []ViewItem, more bool, err error) {
	size := 0
	err = n.eachOf(ctx, view, from, after, func(entity string) (bool, error) {
		item, ok, err := view.Render(from, entity)
		if err != nil || !ok {
			return true, err
		}
		if len(out) == limit || size > maxRangeBytes {
			more = true
			return false, nil
		}
		value := delta.AppendAnyJSON(nil, item.Value)
		size += len(value)
		out = append(out, ViewItem{Entity: entity, Value: value, Errors: item.Errors})
		return true, nil
	})
	return out, more, err
}

func pageOf(items *storage.Memory, after string, limit int) (out []ViewItem, more bool, err error) {
	size := 0
	for kv, err := range items.Scan(append([]byte(after), 0), nil) {
		if err != nil {
			return nil, false, err
		}
		if len(out) == limit || size > maxRangeBytes {
			return out, true, nil
		}
		size += len(kv.Value)
		item, err := parseItem(string(kv.Key), bytes.Clone(kv.Value))
		if err != nil {
			return nil, false, err
		}
		out = append(out, item)
	}
	return out, false, nil
}

// A viewWatcher is told which entities of a view have changed.
type viewWatcher struct {
	wake chan struct{}
	// changed and ended are guarded by the view's mu.
	changed map[string]bool
	ended   bool
}

// notify tells all who watch which entities have changed, or that the view is no
// more; mu is held.
func (k *keptView) notify(changed []string) {
	for w := range k.watchers { // each is told the same: the order does not matter
		for _, entity := range changed {
			w.changed[entity] = true
		}
		w.ended = k.gone
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// watch adds a watcher; stop ends it.
func (k *keptView) watch() (w *viewWatcher, stop func()) {
	w = &viewWatcher{wake: make(chan struct{}, 1), changed: make(map[string]bool)}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watchers[w] = true
	if w.ended = k.gone; w.ended {
		w.wake <- struct{}{}
	}
	return w, func() {
		k.mu.Lock()
		delete(k.watchers, w)
		k.mu.Unlock()
		k.unpin()
	}
}

// watched reports whether anybody is to be told of changes; mu is not held.
func (k *keptView) watched() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.watchers) > 0
}

// WatchView yields what a view shows, then an item that is Ready, and then what
// changes in it, until ctx ends. Of an entity that changes faster than it is
// taken, the newest is yielded. It ends with ErrNotFound when the view is
// removed.
func (n *Node) WatchView(ctx context.Context, name string) iter.Seq2[ViewItem, error] {
	return func(yield func(ViewItem, error) bool) {
		k, err := n.views.keep(name, true)
		if err != nil {
			yield(ViewItem{}, err)
			return
		}
		w, stop := k.watch()
		defer stop()
		if !n.yieldAll(ctx, name, yield) || !yield(ViewItem{Ready: true}, nil) {
			return
		}
		for {
			select {
			case <-w.wake:
			case <-ctx.Done():
				return
			case <-n.done:
				return
			}
			k.mu.Lock()
			changed, ended := w.changed, w.ended
			w.changed = make(map[string]bool)
			k.mu.Unlock()
			if ended {
				yield(ViewItem{}, fmt.Errorf("%w: view %s was removed", ErrNotFound, name))
				return
			}
			for _, entity := range slices.Sorted(maps.Keys(changed)) {
				item, err := k.item(entity)
				if !yield(item, err) || err != nil {
					return
				}
			}
		}
	}
}

// yieldAll yields the whole view, page by page.
func (n *Node) yieldAll(ctx context.Context, name string, yield func(ViewItem, error) bool) bool {
	after := ""
	for {
		page, more, err := n.ShowView(ctx, name, after, 0, "")
		if err != nil {
			yield(ViewItem{}, err)
			return false
		}
		for _, item := range page {
			after = item.Entity
			if !yield(item, nil) {
				return false
			}
		}
		if !more {
			return true
		}
	}
}

// item returns what the view shows of an entity now.
func (k *keptView) item(entity string) (ViewItem, error) {
	k.mu.Lock()
	view, items := k.view, k.items
	k.mu.Unlock()
	b, err := []byte(nil), storage.ErrNotFound
	switch {
	case items != nil:
		b, err = items.Get([]byte(entity))
	case view != nil:
		var ok bool
		if b, _, ok, err = k.v.n.render(view, entity); err == nil && !ok {
			err = storage.ErrNotFound
		}
	}
	if errors.Is(err, storage.ErrNotFound) {
		return ViewItem{Entity: entity, Gone: true}, nil
	}
	if err != nil {
		return ViewItem{Entity: entity}, err
	}
	return parseItem(entity, b)
}
