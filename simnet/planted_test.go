//go:build plant

package simnet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/internal/plant"
	. "github.com/rhizome-p2p/rhizome/simnet"
)

// hunt is a world of a seed in which planted bugs are sought.
func hunt(seed uint64) Options {
	o := swarmOptions(seed)
	o.Peers, o.CheckEvery, o.Settle = 3+int(seed%5), 100*time.Millisecond, time.Minute
	return o
}

// try records a run; a panic is a failure too.
func try(o Options) (s *Schedule, err error) {
	o.Record = new(Schedule)
	defer func() {
		if p := recover(); p != nil {
			s, err = o.Record, fmt.Errorf("panic: %v", p)
		}
	}()
	_, err = Run(o)
	return o.Record, err
}

func TestPlanted(t *testing.T) {
	for _, bug := range plant.Bugs {
		plant.Set(bug)
		for seed := uint64(1); ; seed++ {
			s, err := try(hunt(seed))
			if err != nil {
				t.Logf("%s: %d seeds: %d acts: %v", bug, seed, len(s.Acts), err)
				break
			}
			if seed == 100 {
				t.Errorf("%s: not found", bug)
				break
			}
		}
		plant.Set("")
	}
}
