//go:build plant

package simnet_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/internal/plant"
	. "github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

var shrinkFlag = flag.Bool("shrink", false, "shrink what the planted bugs break, and write the scripts in testdata anew")

var surveyFlag = flag.Int("survey", 0, "for each planted bug, count how many of so many seeds find it")

// within is in how many seeds each planted bug must be found. What was measured
// stands in docs/simulation-planted.md.
var within = map[plant.Bug]uint64{
	plant.SkipPrev: 100, plant.SkipDeps: 20, plant.AckEarly: 20, plant.LoseKill: 20,
	plant.ReuseLane: 20, plant.SkipGap: 20, plant.DropPending: 20,
}

// judged are the options of worlds that are held to the oracle.
var judged = Options{Invariants: []Invariant{workload.OracleNow}, AtEnd: []Invariant{workload.Oracle}}

// hunt is a world of a seed in which planted bugs are sought. All its hosts are
// honest.
func hunt(bug plant.Bug, seed uint64) Options {
	o := swarmOptions(seed)
	o.Faults = AllFaults[:slices.Index(AllFaults, Lie)]
	if bug == plant.SkipPrev { // one branch of a fork must be lost on the way
		o.Rates = Rates{Equivocate: 3, Loss: 0.3}
	}
	o.Peers, o.CheckEvery, o.Settle = 3+int(seed%5), 20*time.Millisecond, 2*time.Minute
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

// Each planted bug is found within a bounded number of seeds, and none is found
// in the same seeds where nothing is planted.
func TestPlanted(t *testing.T) {
	for _, bug := range plant.Bugs {
		t.Run(string(bug), func(t *testing.T) {
			plant.Set(bug)
			defer plant.Set("")
			for seed := uint64(1); ; seed++ {
				if seed > within[bug] {
					t.Fatalf("not found in %d seeds", within[bug])
				}
				s, err := try(hunt(bug, seed))
				if err == nil {
					continue
				}
				t.Logf("found by seed %d (of at most %d), %d acts: %v", seed, within[bug], len(s.Acts), err)
				if *shrinkFlag {
					shrink(t, bug, seed, s)
				}
				plant.Set("")
				if _, err := try(hunt(bug, seed)); err != nil {
					t.Errorf("the same seed without the bug: %v", err)
				}
				return
			}
		})
	}
}

// What compaction rests on is missed where it is left out: the twin sees it, or the
// checks of delivery. Links are slow
// and publications late, so that much comes while a state streams.
func TestPlantedCompaction(t *testing.T) {
	const most = 300 // seeds
	for _, bug := range plant.CompactionBugs {
		t.Run(string(bug), func(t *testing.T) {
			plant.Set(bug)
			defer plant.Set("")
			for seed := uint64(1); ; seed++ {
				if seed > most {
					t.Fatalf("not found in %d seeds", most)
				}
				o := hunt(bug, seed)
				o.Faults, o.Rates, o.CheckEvery = append(o.Faults[:len(o.Faults):len(o.Faults)], Compact), Rates{Compact: 6, SlowLink: 12, Loss: 0.2, Reorder: 0.5, Replay: 0.02, Equivocate: 0}, time.Second
				if _, err := try(o); err != nil {
					t.Logf("found by seed %d (of at most %d): %v", seed, most, err)
					plant.Set("")
					if _, err := try(o); err != nil {
						t.Errorf("the same seed without the bug: %v", err)
					}
					return
				}
			}
		})
	}
}

// How often each planted bug is found; runs with -survey. Where none is planted
// none is.
func TestSurvey(t *testing.T) {
	for _, bug := range append([]plant.Bug{""}, plant.Bugs...) {
		plant.Set(bug)
		found, broken := 0, make(map[string]int)
		for seed := range uint64(*surveyFlag) {
			if _, err := try(hunt(bug, seed+1)); err != nil {
				found++
				var f *Failure
				if errors.As(err, &f) {
					broken[f.Invariant]++
				} else {
					broken["panic"]++
				}
			}
		}
		plant.Set("")
		if bug == "" && found > 0 {
			t.Errorf("without a bug %d seeds fail: %v", found, broken)
		} else if *surveyFlag > 0 {
			t.Logf("%s: %d of %d seeds: %v", bug, found, *surveyFlag, broken)
		}
	}
}

// shrink writes the script of a bug.
func shrink(t *testing.T, bug plant.Bug, seed uint64, s *Schedule) {
	t.Helper()
	x := Shrinker{Options: judged, Log: t.Logf}
	small, f, err := x.Shrink(s)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("# Seed %d with the planted bug %s: %d acts at %d hosts, shrunk to %d at %d.\n# %s: %s\n\n%s----\nok\n",
		seed, bug, len(s.Acts), len(s.Hosts), len(small.Acts), len(small.Hosts), f.Invariant, f.Text,
		strings.Replace(small.String(), "run ", fmt.Sprintf("run plant=%s breaks=%s ", bug, dashed(f.Invariant)), 1))
	if err := os.WriteFile(filepath.Join("testdata", "planted", string(bug)+".txt"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("shrunk to:\n%s", text)
}

// Each script in testdata fails, in the same way as ever, where its bug is
// planted. That it passes otherwise is TestScripts's to see.
func TestPlantedScripts(t *testing.T) {
	for _, bug := range plant.Bugs {
		runScripts(t, filepath.Join("testdata", "planted", string(bug)+".txt"), func(t *testing.T, s *Schedule, args map[string]string) string {
			if args["plant"] != string(bug) {
				t.Errorf("the script is of %q", args["plant"])
			}
			plant.Set(bug)
			defer plant.Set("")
			o := judged
			o.Replay = s
			_, err := try(o)
			var f *Failure
			if !errors.As(err, &f) || dashed(f.Invariant) != args["breaks"] {
				t.Errorf("it breaks %v, want %s", err, args["breaks"])
			}
			return "ok\n"
		})
	}
}

// dashed makes one word of an invariant's name.
func dashed(s string) string { return strings.ReplaceAll(s, " ", "-") }
