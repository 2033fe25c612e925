package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

const (
	// maxKeptViews bounds the views that are kept at a time; the one that was
	// asked for least recently goes.
	maxKeptViews = 64

	// defaultViewBytes is what one view may take when it is kept.
	defaultViewBytes = 256 << 20

	// keepAfter is how many times a view is asked for before it is kept: to keep
	// one takes a look at all its entities.
	keepAfter = 2

	// buildBatch is how many items are put into a new view at a time.
	buildBatch = 4096
)

// views keeps what named views show, for those that are asked for or watched.
// A step tells which entities it touched; these alone are looked at again.
type views struct {
	n     *Node
	bytes uint64 // that one view may take
	// closing ends what brings views up to date by itself when the node closes;
	// end is its cancel.
	closing context.Context //nolint:containedctx // it lives as long as the node
	end     context.CancelFunc

	// mu guards what follows. It is taken after a view's own mu, never before.
	mu    sync.Mutex
	asked map[string]int
	kept  map[string]*keptView
	clock uint64 // counts what is asked, for used
}

// A keptView is one view as it was at the last refresh, and what was touched
// since.
type keptView struct {
	v    *views
	name string
	used uint64 // of views.clock, guarded by views.mu

	// touchedMu guards touched, next and running.
	touchedMu sync.Mutex
	touched   map[string]bool
	next      *catalog.View // to go over to, nil where nothing changed
	gone      bool          // the view is no more
	running   bool          // somebody is about to refresh

	// mu guards what follows, and is held while items are rendered.
	mu    sync.Mutex
	view  *catalog.View
	items *storage.Memory // entity -> item; nil where the view is too large to keep
	size  uint64

	// watchMu guards watchers. It is taken last.
	watchMu  sync.Mutex
	watchers map[*viewWatcher]bool
	pinned   atomic.Int32 // watchers, also those that are about to be
}

// touch notes which entities a step has changed. The caller holds turn.
func (v *views) touch(entities map[string]bool) {
	v.mu.Lock()
	kept := slices.Collect(maps.Values(v.kept))
	v.mu.Unlock()
	for _, k := range kept {
		k.touch(entities)
	}
}

func (k *keptView) touch(entities map[string]bool) {
	k.touchedMu.Lock()
	defer k.touchedMu.Unlock()
	maps.Copy(k.touched, entities)
	k.wake()
}

// wake has the view refreshed beside whoever calls; touchedMu is held.
func (k *keptView) wake() {
	if k.running {
		return
	}
	k.running = true
	k.v.n.jobs.Go(func() {
		if err := k.refresh(k.v.closing); err != nil && k.v.closing.Err() == nil {
			k.v.n.Alarm("view", fmt.Sprintf("view %s cannot be brought up to date: %v", k.name, err), "run rhizome verify")
		}
	})
}

// reset goes over to another catalog.
func (v *views) reset(c *catalog.Catalog) {
	v.mu.Lock()
	kept := slices.Collect(maps.Values(v.kept))
	v.mu.Unlock()
	for _, k := range kept {
		next := c.View(k.name)
		k.touchedMu.Lock()
		k.next, k.gone = next, next == nil
		k.wake()
		k.touchedMu.Unlock()
		if next == nil {
			v.drop(k)
		}
	}
}

// drop forgets a view. Who watches it is told.
func (v *views) drop(k *keptView) {
	v.mu.Lock()
	if v.kept[k.name] == k {
		delete(v.kept, k.name)
	}
	idle := len(v.kept) == 0
	v.mu.Unlock()
	if idle {
		v.n.query(func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			if len(v.kept) == 0 {
				v.n.replica.state.touched = nil
			}
		})
	}
	k.notify(nil)
}

// keep returns the view as it is kept, and builds it where it is not. Without
// must it returns nil for one that is not asked for often enough.
func (v *views) keep(ctx context.Context, name string, must bool) (*keptView, error) {
	v.mu.Lock()
	v.clock++
	k := v.kept[name]
	if k != nil {
		k.used = v.clock
	}
	v.asked[name]++
	often := v.asked[name] >= keepAfter
	v.mu.Unlock()
	if k != nil || !must && !often {
		return k, nil
	}
	view := v.n.Catalog().View(name)
	if view == nil {
		return nil, fmt.Errorf("%w: view %s", ErrNotFound, name)
	}
	k = &keptView{v: v, name: name, touched: make(map[string]bool), next: view, watchers: make(map[*viewWatcher]bool)}
	var before *keptView
	var oldest *keptView
	v.n.query(func() {
		// From here on every step tells what it touches.
		if s := v.n.replica.state; s.touched == nil {
			s.touched = make(map[string]bool)
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if before = v.kept[name]; before == nil {
			k.used = v.clock
			v.kept[name] = k
		}
		if len(v.kept) > maxKeptViews {
			oldest = v.oldest()
		}
	})
	if before != nil {
		return before, nil
	}
	if oldest != nil {
		v.drop(oldest)
	}
	if err := k.refresh(ctx); err != nil {
		v.drop(k)
		return nil, err
	}
	return k, nil
}

// oldest returns the view that nobody watches and that was asked for least
// recently; nil where all are watched. mu is held.
func (v *views) oldest() (out *keptView) {
	for _, k := range v.kept { // the least of them: the order does not matter
		if k.pinned.Load() == 0 && (out == nil || k.used < out.used) {
			out = k
		}
	}
	return out
}

// refresh brings the view up to what was touched before it was called.
func (k *keptView) refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.touchedMu.Lock()
	touched, next := k.touched, k.next
	k.touched, k.next, k.running = make(map[string]bool), nil, false
	k.touchedMu.Unlock()
	var err error
	switch {
	case next != nil:
		err = k.build(ctx, next)
	case len(touched) > 0 && k.view != nil:
		if err = k.dependents(touched); err == nil {
			err = k.update(ctx, touched)
		}
	}
	if err == nil {
		return nil
	}
	// What was not done is still to be done.
	k.touchedMu.Lock()
	defer k.touchedMu.Unlock()
	maps.Copy(k.touched, touched)
	if k.next == nil {
		k.next = next
	}
	return err
}

// dependents adds to what was touched the entities that show some of it.
func (k *keptView) dependents(touched map[string]bool) error {
	if !k.view.Follows() {
		return nil
	}
	level := slices.Collect(maps.Keys(touched))
	for range max(1, k.view.Expand) {
		var next []string
		for _, target := range level { // into a set: the order does not matter
			err := k.v.n.referring(target, func(entity string) {
				if !touched[entity] {
					touched[entity] = true
					next = append(next, entity)
				}
			})
			if err != nil {
				return err
			}
		}
		level = next
	}
	return nil
}

// update renders entities anew.
func (k *keptView) update(ctx context.Context, touched map[string]bool) error {
	var changed []string
	var batch storage.Batch
	if k.items != nil {
		batch = k.items.NewBatch()
	}
	for _, entity := range slices.Sorted(maps.Keys(touched)) {
		if !k.view.Match(entity) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		item, ok, err := k.render(&k.v.n.rows, entity)
		if err != nil {
			return err
		}
		if k.items == nil {
			changed = append(changed, entity)
			continue
		}
		old, err := k.items.Get([]byte(entity))
		switch had := err == nil; {
		case ok && (!had || string(old) != string(item)):
			batch.Set([]byte(entity), item)
			k.size += uint64(len(entity) + len(item))
		case !ok && had:
			batch.Delete([]byte(entity))
		default:
			continue
		}
		k.size -= uint64(len(old))
		changed = append(changed, entity)
	}
	if batch != nil && batch.Bytes() > 0 {
		if err := storage.ApplySync(k.items, batch); err != nil {
			return err
		}
	}
	k.bound()
	k.notify(changed)
	return nil
}

// bound lets go of items that have become too many.
func (k *keptView) bound() {
	if k.size > k.v.bytes {
		k.items, k.size = nil, 0
	}
}

// render returns an item as it is kept.
func (k *keptView) render(s merge.View, entity string) ([]byte, bool, error) {
	item, ok, err := k.view.Render(s, entity)
	if err != nil || !ok {
		return nil, false, err
	}
	for _, text := range item.Alarms {
		k.v.n.Alarm("conflict", text, "see both values with get --lossless, and write the right one")
	}
	return appendItem(nil, &item), true, nil
}

// build makes the items of a view from scratch, and tells those who watch in
// what they differ from those before.
func (k *keptView) build(ctx context.Context, view *catalog.View) error {
	old, first := k.items, k.view == nil
	k.view = view
	fresh := storage.NewMemory()
	k.items, k.size = fresh, 0
	batch, n := fresh.NewBatch(), 0
	err := k.v.n.eachOf(ctx, view, &k.v.n.rows, "", func(entity string) (bool, error) {
		item, ok, err := k.render(&k.v.n.rows, entity)
		if err != nil || !ok {
			return true, err
		}
		batch.Set([]byte(entity), item)
		k.size += uint64(len(entity) + len(item))
		if n++; n%buildBatch == 0 {
			if err := storage.ApplySync(fresh, batch); err != nil {
				return false, err
			}
			batch = fresh.NewBatch()
		}
		return k.size <= k.v.bytes, nil
	})
	if err != nil {
		k.items, k.view = nil, nil
		return err
	}
	if err := storage.ApplySync(fresh, batch); err != nil {
		return err
	}
	k.bound()
	if !first {
		changed, err := differing(old, k.items)
		if err != nil {
			return err
		}
		k.notify(changed)
	}
	return nil
}

// differing returns the keys at which two stores differ, in order. A store that
// is nil differs nowhere that can be told.
func differing(a, b *storage.Memory) (keys []string, err error) {
	for _, side := range [2][2]*storage.Memory{{a, b}, {b, a}} {
		if side[0] == nil || side[1] == nil {
			return nil, nil
		}
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
