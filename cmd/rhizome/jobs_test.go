package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

type jobsKey struct{}

// A job is a command in the background, and what it printed so far.
type job struct {
	cmd *exec.Cmd

	mu    sync.Mutex
	grown chan struct{} // closed and renewed when there is more
	out   [2]bytes.Buffer
	ended bool
}

// A sink takes one of a job's streams.
type sink struct {
	j *job
	i int
}

func (s sink) Write(p []byte) (int, error) {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	s.j.wake()
	return s.j.out[s.i].Write(p)
}

func (j *job) wake() {
	close(j.grown)
	j.grown = make(chan struct{})
}

func jobOf(ts *testscript.TestScript, name string) *job {
	j := ts.Value(jobsKey{}).(map[string]*job)[name]
	if j == nil {
		ts.Fatalf("no job %s", name)
	}
	return j
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME COMMAND…")
	}
	j := &job{cmd: command(ts, args[1], args[2:]...), grown: make(chan struct{})}
	j.cmd.Stdout, j.cmd.Stderr = sink{j, 0}, sink{j, 1}
	ts.Check(j.cmd.Start())
	go func() {
		_ = j.cmd.Wait() // its exit code is in ProcessState
		j.mu.Lock()
		defer j.mu.Unlock()
		j.ended = true
		j.wake()
	}()
	ts.Value(jobsKey{}).(map[string]*job)[args[0]] = j
	ts.Defer(func() { _ = j.cmd.Process.Kill() })
}

// until waits for ok, which is called with the lock held; false means that the
// job ended first.
func (j *job) until(ok func() bool) bool {
	for {
		j.mu.Lock()
		done, ended, grown := ok(), j.ended, j.grown
		j.mu.Unlock()
		if done || ended {
			return done
		}
		<-grown
	}
}

func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor NAME REGEXP")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	j := jobOf(ts, args[0])
	if !j.until(func() bool { return re.Match(j.out[0].Bytes()) || re.Match(j.out[1].Bytes()) }) {
		ts.Fatalf("%s ended without %s:\n%s%s", args[0], args[1], &j.out[0], &j.out[1])
	}
}

func cmdInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: interrupt NAME")
	}
	ts.Check(jobOf(ts, args[0]).cmd.Process.Signal(os.Interrupt))
}

func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: finish NAME [CODE]")
	}
	want := 0
	if len(args) > 1 {
		var err error
		want, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	j := jobOf(ts, args[0])
	j.until(func() bool { return j.ended })
	_, _ = ts.Stdout().Write(j.out[0].Bytes())
	_, _ = ts.Stderr().Write(j.out[1].Bytes())
	if got := j.cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit code %d, want %d\n%s", got, want, &j.out[1])
	}
}
