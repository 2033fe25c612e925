package node

import (
	"runtime"
	"slices"
	"sync"
	"testing"
)

// A chunk that has been prepared is taken in behind the messages that came before
// it, however long these have waited.
func TestChunkBehindMessages(t *testing.T) {
	b := newBench(t)
	for range 50 {
		var order []string
		note := func(name string) func(int64) (Step, error) {
			return func(int64) (Step, error) { order = append(order, name); return Step{}, nil }
		}
		busy, release := make(chan struct{}), make(chan struct{})
		b.do(func(int64) (Step, error) { close(busy); <-release; return Step{}, nil })
		<-busy
		b.do(note("message"))
		b.do(note("message"))
		var session sync.WaitGroup
		session.Go(func() { b.chunks <- note("chunk"); b.do(note("after")) })
		for range 100 {
			runtime.Gosched() // until the chunk waits, too
		}
		close(release)
		session.Wait()
		done := make(chan struct{})
		b.do(func(int64) (Step, error) { close(done); return Step{}, nil })
		<-done
		if want := []string{"message", "message", "chunk", "after"}; !slices.Equal(order, want) {
			t.Fatalf("taken in %q, want %q", order, want)
		}
	}
}
