//go:build plant

package simnet_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/history"
	"github.com/rhizome-p2p/rhizome/internal/plant"
	. "github.com/rhizome-p2p/rhizome/simnet"
)

// seen are the planted bugs that clients see, and in how many seeds they must.
var seen = []struct {
	bug  plant.Bug
	most uint64
}{
	{plant.SkipDeps, 20},
	{plant.SkipGap, 30},
	{plant.AckEarly, 20},
	{plant.KillsOpen, 20},
	{plant.JoinKeeps, 30},
	{plant.JoinRevives, 30},
	{plant.JoinByPage, 30},
	{plant.JoinStale, 300},
}

// Planted bugs are found by what clients see alone, with all checks of the world
// itself left out, and the same histories without the bug are good.
func TestPlantedHistories(t *testing.T) {
	for _, x := range seen {
		bug, most := x.bug, x.most
		t.Run(string(bug), func(t *testing.T) {
			defer plant.Set("")
			for seed := uint64(1); seed <= most; seed++ {
				plant.Set(bug)
				v, _ := seenIn(bug, seed)
				if v == nil {
					continue
				}
				t.Logf("found by seed %d (of at most %d): %v", seed, most, v)
				plant.Set("")
				if v, err := seenIn(bug, seed); v != nil || err != nil {
					t.Errorf("the same seed without the bug: %v %v", v, err)
				}
				return
			}
			t.Errorf("not found in %d seeds", most)
		})
	}
}

// seenIn runs the world of a seed and judges its history; with a bug the world may
// well end by an error, or a panic.
func seenIn(bug plant.Bug, seed uint64) (v *history.Violation, err error) {
	o, c, models := recorded(seed)
	o.Uncheck()
	if slices.Contains(plant.CompactionBugs, bug) { // much has to come while a state streams
		o.Rates = Rates{Compact: 6, SlowLink: 12, Loss: 0.2, Reorder: 0.5, Replay: 0.02}
	}
	_, err = try(o)
	if _, bad := c.judge(models); !errors.As(bad, &v) && bad != nil {
		err = bad
	}
	return v, err
}
