package oplog

import (
	"sync"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// Lanes numbers the lanes that this replica has met, so that keys and rows
// name them in few bytes. Numbers never leave the node. It is safe for
// concurrent use: readers of the state look lanes up while the log adds some.
type Lanes struct {
	// mu guards both fields. A lane, once added, never changes.
	mu      sync.RWMutex
	numbers map[clock.LaneID]uint32
	lanes   []lane // by number
}

type lane struct {
	id  clock.LaneID
	key delta.LaneKey
}

// Number returns the number of a lane that has been added, else 0, which is
// no lane's.
func (t *Lanes) Number(l clock.LaneID) uint32 {
	n, _ := t.lookup(l)
	return n
}

func (t *Lanes) lookup(l clock.LaneID) (uint32, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, ok := t.numbers[l]
	return n, ok
}

// Lane returns the lane with a number.
func (t *Lanes) Lane(n uint32) (clock.LaneID, bool) { return t.numbered(uint64(n)) }

// numbered is Lane for a number as rows hold it, which may be any.
func (t *Lanes) numbered(n uint64) (clock.LaneID, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n == 0 || n > uint64(len(t.lanes)) {
		return clock.LaneID{}, false
	}
	return t.lanes[n-1].id, true
}

func (t *Lanes) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.lanes)
}

// Key returns who writes a lane.
func (t *Lanes) Key(l clock.LaneID) (delta.LaneKey, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, ok := t.numbers[l]
	if !ok {
		return delta.LaneKey{}, false
	}
	return t.lanes[n-1].key, true
}

// add numbers a lane. Numbers start at 1 and rise by one.
func (t *Lanes) add(id clock.LaneID, key delta.LaneKey) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, ok := t.numbers[id]; ok {
		return n
	}
	if t.numbers == nil {
		t.numbers = make(map[clock.LaneID]uint32)
	}
	t.lanes = append(t.lanes, lane{id, key})
	t.numbers[id] = uint32(len(t.lanes))
	return uint32(len(t.lanes))
}
