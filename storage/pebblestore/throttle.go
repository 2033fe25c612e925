package pebblestore

import (
	"sync"
	"sync/atomic"
)

// maxSublevels of level 0 are what a read may have to look through before
// writers wait for compactions. It is Pebble's default for its own stall,
// which this stands in for: this one ends when the store fails.
const maxSublevels = 12

// A throttle holds writers back while compactions are behind.
type throttle struct {
	sublevels func() int   // of level 0 now; asked only after a pulse
	refused   func() error // of a store that refuses writes

	// behind says that level 0 may have changed since it was last seen to be
	// in order.
	behind atomic.Bool

	// mu guards changed, which is closed at every change. It is taken with
	// Pebble's locks held, so nothing of Pebble is called under it.
	mu      sync.Mutex
	changed chan struct{}
}

func newThrottle(sublevels func() int, refused func() error) *throttle {
	return &throttle{sublevels: sublevels, refused: refused, changed: make(chan struct{})}
}

// pulse says that level 0 may have changed, or that the store has failed.
func (t *throttle) pulse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.behind.Store(true)
	close(t.changed)
	t.changed = make(chan struct{})
}

// wait returns when level 0 is in order, or with the error of a store that
// refuses writes.
func (t *throttle) wait() error {
	for t.behind.Load() {
		t.mu.Lock()
		changed := t.changed
		t.mu.Unlock()
		if t.sublevels() < maxSublevels {
			t.inOrder(changed)
			break
		}
		if err := t.refused(); err != nil {
			return err
		}
		<-changed
	}
	return t.refused()
}

// inOrder notes that level 0 was seen in order, unless it has changed since.
// Until then writers beside this one look for themselves.
func (t *throttle) inOrder(seen chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == seen {
		t.behind.Store(false)
	}
}
