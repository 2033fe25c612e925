//go:build plant

package node

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/rhizome-p2p/rhizome/internal/plant"
)

// A probe is a test that may fail.
type probe struct {
	testing.TB
	said string
}

func (p *probe) Helper() {}

func (p *probe) Fatalf(format string, args ...any) {
	p.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (p *probe) Fatal(args ...any) { p.Fatalf("%s", fmt.Sprint(args...)) }

// fails runs a schedule and says how it failed, "" where it held.
func fails(t *testing.T, seed uint64) string {
	p := &probe{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if e := recover(); e != nil {
				p.said = fmt.Sprint("panic: ", e)
			}
		}()
		w := newWorld(p, seed)
		w.seen = map[string]int{}
		w.runCompacting()
	}()
	<-done
	return p.said
}

// Leaving out any one of the conditions that compaction rests on breaks a
// schedule within a few seeds, which hold where nothing is left out.
func TestPlantedCompaction(t *testing.T) {
	const within = 400
	for _, bug := range plant.CompactionBugs {
		t.Run(string(bug), func(t *testing.T) {
			for seed := uint64(1); ; seed++ {
				if seed > within {
					t.Fatalf("not found in %d seeds", within)
				}
				plant.Set(bug)
				said := fails(t, seed)
				plant.Set("")
				if said == "" {
					continue
				}
				t.Logf("found by seed %d: %.300s", seed, said)
				if said := fails(t, seed); said != "" {
					t.Errorf("the same seed without the bug: %s", said)
				}
				return
			}
		})
	}
}
