package simnet_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	. "github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

// runScripts runs the schedules in a file or directory of scripts. Besides the
// options of a schedule, its first line may hold plant, the bug that it was
// found with, and breaks, the invariant that it then breaks.
func runScripts(t *testing.T, path string, run func(t *testing.T, s *Schedule, args map[string]string) string) {
	t.Helper()
	datadriven.Walk(t, path, func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			head, args := d.Cmd, make(map[string]string)
			for _, a := range d.CmdArgs {
				if a.Key == "plant" || a.Key == "breaks" {
					args[a.Key] = strings.Join(a.Vals, "")
					continue
				}
				head += " " + a.String()
			}
			s, err := ParseSchedule(strings.ReplaceAll(head, ", ", ",") + "\n" + d.Input)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			return run(t, s, args)
		})
	})
}

// What a script in testdata does once broke an invariant, and does no more.
func TestScripts(t *testing.T) {
	for _, dir := range []string{"planted", "found"} {
		runScripts(t, filepath.Join("testdata", dir), func(_ *testing.T, s *Schedule, _ map[string]string) string {
			if _, err := Run(Options{Replay: s, AtEnd: []Invariant{workload.Oracle}}); err != nil {
				return err.Error() + "\n"
			}
			return "ok\n"
		})
	}
}
