package node

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A copying store hands out copies of its values, as a disk does.
type copying struct{ storage.DB }

func (c copying) Get(key []byte) ([]byte, error) {
	b, err := c.DB.Get(key)
	return bytes.Clone(b), err
}

// The values that an adopted state takes out of the rows are not held until the
// batch ends: there may be more of them than memory holds.
func TestJoinLetsGo(t *testing.T) {
	const rows, size = 100, 200 << 10
	r, err := OpenReplica(configOver(copying{storage.NewMemory()}, "n").Replica)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		s, err := r.Write(1, []Request{{Ops: []Op{{Kind: OpPut, Entity: fmt.Sprint(i), Value: make([]byte, size)}}}})
		if err != nil || s.Results[0].Err != nil {
			t.Fatal(err, s.Results)
		}
	}
	a := adoption{theirs: new(clock.Vector)}
	if err := r.state.Rows(nil, func(key []byte, row []merge.Survivor) error {
		a.dead = append(a.dead, placedDot{string(key), row[0].Dot})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	r.begin(2)
	before := held()
	if _, err := r.joinState(&a); err != nil {
		t.Fatal(err)
	}
	if after := held(); after > before+rows*size/2 {
		t.Errorf("%d KiB are held of %d that died", (after-before)>>10, rows*size>>10)
	}
	if err := r.apply(); err != nil {
		t.Fatal(err)
	}
	if got := r.tally(); got != (merge.Tally{}) {
		t.Errorf("an empty state has the tally %v", got)
	}
}
