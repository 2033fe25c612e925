package node

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Messages of a session are taken in as they came, a chunk among them: one that
// comes after the session was opened, and before its hello, ends it, also while the
// replica is busy.
func TestChunkInItsPlace(t *testing.T) {
	var chunk []byte
	for kind := 0; !gossip.IsChunk(chunk); kind++ {
		chunk = []byte{byte(kind), 1}
	}
	for range 20 {
		out := newRecorder()
		cfg := configOver(storage.NewMemory(), "n")
		cfg.Transport = out
		n, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		busy, release, taken := make(chan struct{}), make(chan struct{}), make(chan struct{})
		n.do(func(int64) (Step, error) { close(busy); <-release; return Step{}, nil })
		<-busy
		n.Opened(1, "peer", "@peer", false)
		var session sync.WaitGroup
		session.Go(func() { n.Received(1, chunk) })
		for range 100 {
			runtime.Gosched() // until the chunk waits, too
		}
		close(release)
		session.Wait()
		n.do(func(int64) (Step, error) { close(taken); return Step{}, nil })
		<-taken
		n.Close()
		if len(out.dropped) != 1 {
			t.Fatalf("a chunk before hello has ended %d sessions, want 1", len(out.dropped))
		}
	}
}

// However many chunks come, the next one finds room, also on a node that has
// failed.
func TestChunksMakeRoom(t *testing.T) {
	b := newBench(t)
	var chunk []byte
	for kind := 0; !gossip.IsChunk(chunk); kind++ {
		chunk = []byte{byte(kind), 1}
	}
	for i := range 20 * maxPrepared {
		if i == 10*maxPrepared {
			b.do(func(int64) (Step, error) { return Step{}, errors.New("it fails") })
		}
		b.Received(gossip.SessionID(i), chunk)
	}
}
