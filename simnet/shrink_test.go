package simnet_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	. "github.com/rhizome-p2p/rhizome/simnet"
)

// A run in which hosts wrote much and much went wrong shrinks to what the
// invariant is about, whatever that is.
func TestShrink(t *testing.T) {
	tests := []struct {
		name  string
		check Invariant
		want  string // without the first line
	}{
		{"a host is down", func(w *World) error {
			for _, h := range w.Hosts() {
				if h.Replica() == nil {
					return Broken("all are up", "%s is not", h.Name())
				}
			}
			return nil
		}, "at TIME FAULT HOST for TIME\n"},
		{"two entries", func(w *World) error {
			for _, h := range w.Hosts() {
				if r := h.Replica(); r != nil && r.Log().Entries() >= 2 {
					return Broken("few entries", "%s holds two", h.Name())
				}
			}
			return nil
		}, "at TIME write HOST\n  put \"k\" \"\" 1\nat TIME write HOST\n  put \"k\" \"\" 1\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := quick(12)
			o.Faults = []Fault{Crash, CleanStop, Loss, Partition, Pause, Skew}
			o.Rates = Rates{Crash: 1, CleanStop: 1, Loss: 0.1, Partition: 1, Pause: 1, Skew: 1}
			o.AtEnd, o.Invariants, o.CheckEvery = nil, []Invariant{tt.check}, time.Second
			s, _, err := Record(o)
			var first, last *Failure
			if !errors.As(err, &first) {
				t.Fatalf("nothing broke: %v", err)
			}
			x := Shrinker{Options: o, Log: t.Logf}
			small, last, err := x.Shrink(s)
			if err != nil || last == nil || last.Invariant != first.Invariant {
				t.Fatalf("from %v to %v: %v", first, last, err)
			}
			head, acts, _ := strings.Cut(small.String(), "\n")
			if len(small.Hosts) != 1 || shape(acts) != tt.want {
				t.Errorf("shrunk from %d acts to\n%s\n%s", len(s.Acts), head, acts)
			}
			if _, err := Run(Options{Replay: small, Invariants: o.Invariants}); !errors.As(err, &last) || last.Invariant != first.Invariant {
				t.Errorf("the shrunk schedule breaks %v", err)
			}
		})
	}
}

// shape puts general words for those that depend on the seed.
func shape(acts string) string {
	lines := strings.SplitAfter(acts, "\n")
	for i, line := range lines {
		words := strings.Fields(line)
		if len(words) < 4 || words[0] != "at" {
			continue
		}
		words[1], words[3] = "TIME", "HOST"
		if words[2] != "write" {
			words[2], words[5] = "FAULT", "TIME"
		}
		lines[i] = strings.Join(words, " ") + "\n"
	}
	return strings.Join(lines, "")
}

// What breaks nothing is not shrunk.
func TestShrinkNothing(t *testing.T) {
	s, _, err := Record(quick(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := new(Shrinker).Shrink(s); err == nil {
		t.Error("a schedule that breaks nothing was shrunk")
	}
}

// Where the bound on runs is reached, what came out still breaks the invariant.
func TestShrinkBounded(t *testing.T) {
	o := quick(3)
	o.AtEnd = []Invariant{func(*World) error { return Broken("never", "it ended") }}
	s, _, _ := Record(o)
	x := Shrinker{Options: o, Runs: 3}
	small, f, err := x.Shrink(s)
	if err != nil || f == nil || f.Invariant != "never" || len(small.Acts) > len(s.Acts) {
		t.Errorf("from %d to %d acts, breaking %v: %v", len(s.Acts), len(small.Acts), f, err)
	}
}

// Lines that are no part of a schedule are refused, and say which.
func TestParseScheduleRefuses(t *testing.T) {
	const head = "run seed=1 hosts=(h0) degree=6 virtual=10s settle=1m0s check=10s\n"
	for _, tt := range []struct{ text, want string }{
		{"", "empty"},
		{"at 1s crash h0", "line 1: the first line must be a run"},
		{"run seed=x", "line 1"},
		{"run colour=red", `unknown option "colour"`},
		{head + "at 1s rain h0", `line 2: unknown fault "rain"`},
		{head + "at noon crash h0", "line 2"},
		{head + "at 1s crash", "line 2: want"},
		{head + "at 1s crash h0 for", "line 2: want"},
		{head + "at 1s crash h0 upon 3", `unknown word "upon"`},
		{head + "put \"e\" \"\" 1", "before the first write"},
		{head + "at 1s crash h0\n  put \"e\" \"\" 1", "no operation of a write"},
		{head + "at 1s write h0\n  put e \"\" 1", "quoted"},
		{head + "at 1s write h0\n  put \"e\" x 1", "quoted"},
		{head + "at 1s write h0\n  put \"e\" \"\" {", "line 3"},
		{head + "at 1s write h0\n  inc \"e\" \"\" one", "line 3"},
		{head + "at 1s write h0\n  negate e", "line 3"},
		{head + "at 1s write h0\n  steal \"e\" \"\" 1", `unknown operation "steal"`},
	} {
		if _, err := ParseSchedule(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
}
