package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/storage"
)

const (
	// maxKeptViews bounds the views that are kept at a time; the one that was
	// asked for least recently goes, but for those that are watched.
	maxKeptViews = 64

	// defaultViewBytes is what the views that are kept may take together.
	defaultViewBytes = 256 << 20

	// keepAfter is how many times a view is asked for before it is kept: to keep
	// one takes a look at all its entities.
	keepAfter = 2
)

// views keeps what named views show, for those that are asked for or watched.
// A step tells which entities it touched; these alone are looked at again, beside
// the loop.
//
// Locks are taken in this order: the node's turn, views.mu, keptView.mu. Nothing
// is rendered and nothing is waited for under the last two.
type views struct {
	n     *Node
	bytes uint64 // that all of them may take
	// closing ends the work on views when the node closes; end is its cancel.
	closing context.Context //nolint:containedctx // it lives as long as the node
	end     context.CancelFunc

	// mu guards what follows.
	mu    sync.Mutex
	asked map[string]int
	kept  map[string]*keptView
	clock uint64 // counts what is asked, for used
	size  uint64 // the sum of what is accounted
}

// A keptView is one view as it was after the last pass of work, and what was
// touched since.
type keptView struct {
	v    *views
	name string

	// used, pins and accounted are guarded by views.mu.
	used      uint64 // of views.clock
	pins      int    // who watches it
	accounted uint64 // bytes

	// mu guards what follows.
	mu      sync.Mutex
	touched map[string]bool
	next    *catalog.View // to go over to, nil where nothing changed
	dropped bool          // no step tells it anything any more
	gone    bool          // the view is no more
	// want counts what it was told of, have what of that is done. advanced is
	// closed and replaced when a pass has ended, well or with err.
	want, have uint64
	running    bool
	advanced   chan struct{}
	err        error
	// view and items are as of have. Items are nil where they are too many to
	// keep.
	view     *catalog.View
	items    *storage.Memory // entity -> item
	watchers map[*viewWatcher]bool

	// What follows belongs to the pass that runs. Size is that of the items.
	size  uint64
	links links
}

// touch notes which entities a step has changed. The caller holds turn.
func (v *views) touch(entities map[string]bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, k := range v.kept { // each is told the same: the order does not matter
		k.mu.Lock()
		maps.Copy(k.touched, entities)
		k.tell()
		k.mu.Unlock()
	}
}

// tell counts something that the view was told, and has it worked on; mu is held.
func (k *keptView) tell() {
	k.want++
	k.wake()
}

// wake has what the view was told worked on, beside whoever calls; mu is held.
func (k *keptView) wake() {
	if k.running || k.dropped || k.v.closing.Err() != nil {
		return
	}
	k.running, k.err = true, nil
	k.v.n.jobs.Go(k.work)
}

// reset goes over to another catalog, of whose views those that show something
// else than before are worked out anew.
func (v *views) reset(c *catalog.Catalog) {
	v.mu.Lock()
	var gone []*keptView
	for name, k := range v.kept {
		next := c.View(name)
		k.mu.Lock()
		newest := k.next
		if newest == nil {
			newest = k.view
		}
		switch {
		case next == nil:
			k.gone = true
			gone = append(gone, k)
		case newest == nil || !next.Same(newest):
			k.next = next
			k.tell()
		}
		k.mu.Unlock()
	}
	v.mu.Unlock()
	v.drop(gone...)
}

// drop forgets views. Who watches one is told.
func (v *views) drop(all ...*keptView) {
	if len(all) == 0 {
		return
	}
	v.mu.Lock()
	for _, k := range all {
		v.forget(k)
	}
	idle := len(v.kept) == 0
	v.mu.Unlock()
	for _, k := range all {
		k.mu.Lock()
		k.dropped = true
		k.advance()
		k.notify(nil)
		k.mu.Unlock()
	}
	if idle {
		v.n.jobs.Go(v.rest)
	}
}

// forget takes a view out of those that are kept, unless it is out; mu is held.
// Whoever forgets a view drops it.
func (v *views) forget(k *keptView) {
	if v.kept[k.name] == k {
		delete(v.kept, k.name)
		v.size -= k.accounted
		k.accounted = 0
	}
}

// rest has steps no longer tell what they touch, when there is nobody to tell.
func (v *views) rest() {
	v.n.query(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.kept) == 0 {
			v.n.replica.state.touched = nil
		}
	})
}

// keep returns the view as it is kept, and keeps it from now on where it is not
// but was asked for often enough; else nil. With pin it is kept in any case, until
// unpin is called.
func (v *views) keep(name string, pin bool) (*keptView, error) {
	if v.n.Catalog().View(name) == nil { // such names are not counted
		return nil, fmt.Errorf("%w: view %s", ErrNotFound, name)
	}
	v.mu.Lock()
	v.clock++
	v.asked[name]++
	k, often := v.kept[name], v.asked[name] >= keepAfter
	if k != nil {
		k.use(pin)
	}
	v.mu.Unlock()
	if k != nil || !pin && !often {
		return k, nil
	}
	var oldest *keptView
	v.n.query(func() { // between two steps: each that follows tells what it touches
		v.mu.Lock()
		defer v.mu.Unlock()
		if k = v.kept[name]; k == nil {
			// Who makes another catalog stores it before it resets the views: it
			// is this one, or reset meets the view that is kept now.
			view := v.n.Catalog().View(name)
			if view == nil {
				return
			}
			k = &keptView{
				v: v, name: name, touched: make(map[string]bool), next: view, advanced: make(chan struct{}),
				watchers: make(map[*viewWatcher]bool),
			}
			v.kept[name] = k
			if s := v.n.replica.state; s.touched == nil {
				s.touched = make(map[string]bool)
			}
			if len(v.kept) > maxKeptViews {
				oldest = v.oldest(k)
			}
			if oldest != nil {
				v.forget(oldest) // before anybody comes to watch it
			}
			k.mu.Lock()
			k.tell()
			k.mu.Unlock()
		}
		k.use(pin)
	})
	if oldest != nil {
		v.drop(oldest)
	}
	if k == nil {
		return nil, fmt.Errorf("%w: view %s", ErrNotFound, name)
	}
	return k, nil
}

// use notes that a view was asked for; views.mu is held.
func (k *keptView) use(pin bool) {
	k.used = k.v.clock
	if pin {
		k.pins++
	}
}

func (k *keptView) unpin() {
	k.v.mu.Lock()
	defer k.v.mu.Unlock()
	k.pins--
}

// oldest returns the view that nobody watches and that was asked for least
// recently, other than one; nil where there is none. mu is held.
func (v *views) oldest(than *keptView) (out *keptView) {
	for _, k := range v.kept { // the least of them: the order does not matter
		if k != than && k.pins == 0 && (out == nil || k.used < out.used) {
			out = k
		}
	}
	return out
}

// fits accounts for what a view takes, and reports whether it may. Others go
// before it.
func (v *views) fits(k *keptView, size uint64) bool {
	v.mu.Lock()
	if v.kept[k.name] != k {
		v.mu.Unlock()
		return true // it is about to go
	}
	v.size += size - k.accounted
	k.accounted = size
	var gone []*keptView
	for v.size > v.bytes && size <= v.bytes {
		o := v.oldest(k)
		if o == nil {
			break
		}
		v.forget(o)
		gone = append(gone, o)
	}
	ok := v.size <= v.bytes
	if !ok {
		v.size -= k.accounted
		k.accounted = 0
	}
	v.mu.Unlock()
	v.drop(gone...)
	return ok
}

// advance lets those go on who wait for a pass to end; mu is held.
func (k *keptView) advance() {
	close(k.advanced)
	k.advanced = make(chan struct{})
}

// current returns what the view shows once all that it was told before the call is
// done. Items are nil where they are not kept.
func (k *keptView) current(ctx context.Context) (items *storage.Memory, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	need := k.want
	if k.have < need {
		k.wake()
	}
	for {
		switch {
		case k.dropped:
			return nil, nil
		case k.have >= need:
			return k.items, nil
		case k.err != nil && !k.running:
			return nil, k.err
		}
		advanced := k.advanced
		k.mu.Unlock()
		select {
		case <-advanced:
		case <-ctx.Done():
			err = ctx.Err()
		case <-k.v.closing.Done():
			err = ErrClosed
		}
		k.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
}

// take takes over what the view was told; mu is not held.
func (k *keptView) take() (touched map[string]bool, next *catalog.View, upTo uint64, more bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.have == k.want || k.dropped || k.v.closing.Err() != nil {
		k.running = false
		return nil, nil, 0, false
	}
	touched, next = k.touched, k.next
	k.touched, k.next = make(map[string]bool), nil
	return touched, next, k.want, true
}

// work passes over what the view was told until nothing is left of it. One
// goroutine at a time runs it.
func (k *keptView) work() {
	for {
		touched, next, upTo, more := k.take()
		if !more {
			return
		}
		changed, err := k.pass(touched, next)
		k.mu.Lock()
		if err != nil {
			// What was not done is still to be done.
			maps.Copy(k.touched, touched)
			if k.next == nil {
				k.next = next
			}
			if k.next == nil {
				k.next = k.view // the pass may have done a part: the next one begins anew
			}
			k.err, k.running = err, false
		} else {
			k.have = upTo
			k.notify(changed)
		}
		k.advance()
		k.mu.Unlock()
		if err != nil {
			if k.v.closing.Err() == nil {
				k.v.n.Alarm("view", fmt.Sprintf("view %s cannot be brought up to date: %v", k.name, err), "run rhizome verify")
			}
			return
		}
	}
}

// pass brings the view up to date and returns the entities that it shows
// otherwise than before.
func (k *keptView) pass(touched map[string]bool, next *catalog.View) (changed []string, err error) {
	switch {
	case next != nil:
		return k.build(next, touched)
	case k.view == nil:
		return nil, nil
	case !k.links.kept():
		if !k.watched() {
			return nil, nil // who comes later reads what is there by then
		}
		return k.everything(k.view, k.view, touched)
	}
	k.links.reach(touched)
	return k.update(slices.Sorted(maps.Keys(touched)))
}
