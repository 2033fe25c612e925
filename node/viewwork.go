package node

import (
	"errors"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// buildBatch is how many items are put into a new view at a time.
const buildBatch = 4096

// links say, for the entities of a view, which others were looked at to show
// them, and the other way round: those that a schema or the view follows
// references to, whether they were there or not.
type links struct {
	to, from map[string]map[string]bool
	n        uint64 // how many there are
}

func newLinks() links {
	return links{to: make(map[string]map[string]bool), from: make(map[string]map[string]bool)}
}

// kept says that there are any links that can be relied on; the zero links are
// of a view that found no room for them.
func (l *links) kept() bool { return l.to != nil }

// bytes is about what the links take.
func (l *links) bytes() uint64 { return l.n * linkBytes }

// set notes what was looked at for an entity.
func (l *links) set(entity string, seen map[string]bool) {
	for t := range l.to[entity] { // out of a set: the order does not matter
		delete(l.from[t], entity)
		if len(l.from[t]) == 0 {
			delete(l.from, t)
		}
		l.n--
	}
	delete(l.to, entity)
	delete(seen, entity)
	if len(seen) == 0 {
		return
	}
	l.to[entity] = seen
	for t := range seen { // into a set: the order does not matter
		if l.from[t] == nil {
			l.from[t] = make(map[string]bool)
		}
		l.from[t][entity] = true
		l.n++
	}
}

// reach adds to entities those that show some of them.
func (l *links) reach(touched map[string]bool) {
	for _, t := range slices.Collect(maps.Keys(touched)) {
		maps.Copy(touched, l.from[t])
	}
}

// linkBytes is about what a link takes.
const linkBytes = 128

// A tracker is a view of the state that notes the entities that were looked at.
type tracker struct {
	merge.View
	seen map[string]bool
}

func (t *tracker) note(key []byte) {
	if entity, _, err := merge.EntityOf(key); err == nil {
		t.seen[entity] = true
	}
}

// Row implements merge.View.
func (t *tracker) Row(key []byte) ([]merge.Survivor, error) {
	t.note(key)
	return t.View.Row(key)
}

// Rows implements merge.View.
func (t *tracker) Rows(prefix []byte, f func([]byte, []merge.Survivor) error) error {
	t.note(prefix)
	return t.View.Rows(prefix, f)
}

// render returns an item as it is kept, and which entities were looked at for it.
func (n *Node) render(view *catalog.View, entity string) (item []byte, seen map[string]bool, ok bool, err error) {
	t := &tracker{&n.rows, make(map[string]bool)}
	shown, ok, err := view.Render(t, entity)
	if err != nil || !ok {
		return nil, t.seen, false, err
	}
	for _, text := range shown.Alarms {
		n.Alarm("conflict", text, "see both values with get --lossless, and write the right one")
	}
	return appendItem(nil, &shown), t.seen, true, nil
}

// put renders an entity and adds what it shows to a batch. It reports whether that
// may be other than before. Without items it notes the links alone.
func (k *keptView) put(view *catalog.View, items *storage.Memory, batch storage.Batch, entity string) (changed bool, err error) {
	item, seen, ok, err := k.v.n.render(view, entity)
	if err != nil {
		return false, err
	}
	k.links.set(entity, seen)
	if items == nil {
		return true, nil
	}
	old, err := items.Get([]byte(entity))
	had := err == nil
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return false, err
	}
	switch {
	case ok && (!had || string(old) != string(item)):
		batch.Set([]byte(entity), item)
		k.size += uint64(len(entity) + len(item))
	case !ok && had:
		batch.Delete([]byte(entity))
	default:
		return false, nil
	}
	if had {
		k.size -= uint64(len(entity) + len(old))
	}
	return true, nil
}

// update renders entities anew.
func (k *keptView) update(entities []string) (changed []string, err error) {
	var batch storage.Batch
	if k.items != nil {
		batch = k.items.NewBatch()
	}
	for _, entity := range entities {
		if err := k.v.closing.Err(); err != nil {
			return nil, err
		}
		if !k.view.Match(entity) {
			continue
		}
		differs, err := k.put(k.view, k.items, batch, entity)
		if err != nil {
			return nil, err
		}
		if differs {
			changed = append(changed, entity)
		}
	}
	if k.items != nil {
		if err := storage.ApplySync(k.items, batch); err != nil {
			return nil, err
		}
	}
	k.keepWhatFits(k.view, k.items)
	return changed, nil
}

// keepWhatFits publishes what a pass made, but for what finds no room: the items go
// first, without which the view is worked out each time it is read, and then the
// links, without which all of it may differ when anything was touched.
func (k *keptView) keepWhatFits(view *catalog.View, items *storage.Memory) {
	if items != nil && !k.v.fits(k, k.size+k.links.bytes()) {
		items = nil
	}
	if items == nil {
		k.size = 0
		if !k.v.fits(k, k.links.bytes()) {
			k.links = links{}
		}
	}
	k.publish(view, items)
}

// publish takes what a pass made for what the view shows.
func (k *keptView) publish(view *catalog.View, items *storage.Memory) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.view, k.items = view, items
}

// build makes the items of a view from scratch, and returns in what they differ
// from those before. Where they are too many to keep, it goes on only to find out
// who shows whom, as long as that finds room, and any entity may differ, also one
// that was touched and is gone.
func (k *keptView) build(view *catalog.View, touched map[string]bool) (changed []string, err error) {
	fresh := storage.NewMemory()
	k.size, k.links = 0, newLinks()
	batch, n := fresh.NewBatch(), 0
	err = k.v.n.eachOf(k.v.closing, view, &k.v.n.rows, "", func(entity string) (bool, error) {
		if _, err := k.put(view, fresh, batch, entity); err != nil {
			return false, err
		}
		if n++; n%buildBatch == 0 && fresh != nil {
			if err := storage.ApplySync(fresh, batch); err != nil {
				return false, err
			}
			batch = fresh.NewBatch()
		}
		if k.size+k.links.bytes() > k.v.bytes {
			fresh, k.size = nil, 0
		}
		if k.links.bytes() > k.v.bytes {
			k.links = links{}
		}
		return fresh != nil || view.Follows() && k.links.kept(), nil
	})
	if err == nil && fresh != nil {
		err = storage.ApplySync(fresh, batch)
	}
	if err != nil {
		return nil, err
	}
	before, old := k.view, k.items
	k.keepWhatFits(view, fresh)
	switch {
	case before == nil:
		return nil, nil
	case old == nil || k.items == nil:
		return k.everything(before, view, touched)
	}
	return differing(old, fresh)
}

// everything returns the entities that any of two views may show: where items are
// not kept, any of them may have changed.
func (k *keptView) everything(before, now *catalog.View, touched map[string]bool) ([]string, error) {
	all := make(map[string]bool)
	for entity := range touched { // into a set: the order does not matter
		all[entity] = before.Match(entity)
	}
	maps.DeleteFunc(all, func(_ string, was bool) bool { return !was })
	for _, view := range []*catalog.View{before, now} {
		err := k.v.n.eachOf(k.v.closing, view, &k.v.n.rows, "", func(entity string) (bool, error) {
			all[entity] = true
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// differing returns the keys at which two stores differ, in order.
func differing(a, b *storage.Memory) (keys []string, err error) {
	for _, side := range [2][2]*storage.Memory{{a, b}, {b, a}} {
		for kv, err := range side[0].Scan([]byte{0}, nil) {
			if err != nil {
				return nil, err
			}
			if other, err := side[1].Get(kv.Key); err != nil || string(other) != string(kv.Value) {
				keys = append(keys, string(kv.Key))
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}
