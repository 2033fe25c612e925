package simnet_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	. "github.com/rhizome-p2p/rhizome/simnet"
)

// sameSeeds is how many seeds are run twice.
func sameSeeds() uint64 {
	if raceEnabled || testing.Short() {
		return 25
	}
	return 200
}

// hashesVariable makes a process of this test print the hashes of the first
// seeds, and no more.
const hashesVariable = "SIMNET_HASHES"

func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		TuneMemory()
	}
	if os.Getenv(hashesVariable) == "" {
		os.Exit(m.Run())
	}
	var n uint64
	if _, err := fmt.Sscan(os.Getenv(hashesVariable), &n); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for seed := range n {
		r, err := Run(quick(seed + 1))
		fmt.Println(seed+1, r.TraceHash, err)
	}
}

// quick is a small world of a seed.
func quick(seed uint64) Options {
	o := swarmOptions(seed)
	o.Peers, o.Virtual = 3+int(seed%7), o.Virtual/2
	return o
}

// The same seed gives the same trace, byte for byte, in one process and in
// another, whether it is written down or not.
func TestDeterminism(t *testing.T) {
	n := sameSeeds()
	var out, stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d", hashesVariable, n))
	c.Stdout, c.Stderr = &out, &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	here := make([]string, n)
	for i := range n {
		seed := i + 1
		var traces [2]bytes.Buffer
		var hashes [2]string
		for run := range traces {
			o := quick(seed)
			o.Trace = &traces[run]
			r, err := Run(o)
			if err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			hashes[run] = r.TraceHash
		}
		if err := CompareTraces(&traces[0], &traces[1]); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		} else if hashes[0] != hashes[1] {
			t.Errorf("seed %d: one trace has two hashes", seed)
		}
		here[i] = fmt.Sprint(seed, " ", hashes[0], " <nil>")
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for i, there := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if i >= len(here) || there != here[i] {
			t.Fatalf("another process says %q, this one %q", there, here[min(i, len(here)-1)])
		}
	}
}

// Seeds differ, and what differs is shown: the first event that is not the
// same, with those before it.
func TestCompareTraces(t *testing.T) {
	var a, b bytes.Buffer
	for run, buf := range []*bytes.Buffer{&a, &b} {
		o := quick(uint64(run + 1))
		o.Trace = buf
		if _, err := Run(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := CompareTraces(&a, &b); err == nil {
		t.Error("two seeds have one trace")
	}
	for _, c := range []struct{ a, b, want string }{
		{"x\ny\n", "x\ny\n", ""},
		{"", "", ""},
		{"x\ny\nz\n", "x\ny\nw\n", "event 3 differs:\n  both   x\n  both   y\n  first  z\n  second w"},
		{"x\ny\n", "x\n", "event 2 differs:\n  both   x\n  first  y\n  second (end)"},
		{"x\n", "x\ny\n", "event 2 differs:\n  both   x\n  first  (end)\n  second y"},
	} {
		got := ""
		if err := CompareTraces(strings.NewReader(c.a), strings.NewReader(c.b)); err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%q and %q: %s", c.a, c.b, got)
		}
	}
}
