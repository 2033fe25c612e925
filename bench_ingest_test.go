package rhizome

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/storage/pebblestore"
)

// BenchmarkIngest measures how fast a fresh node takes in the chunks of a log of
// 50,000 entries of one put of 100 bytes each, checked and durable, with nobody
// else at work: what a peer sends was recorded before. With -cpu 1,2 it shows what
// the second core gives.
func BenchmarkIngest(b *testing.B) {
	const entries = 50_000
	dir := b.TempDir()
	fill(b, dir, entries)
	r, err := openRepo(dir, 0)
	if err != nil {
		b.Fatal(err)
	}
	space := r.genesis.id()
	if err := r.close(); err != nil {
		b.Fatal(err)
	}

	server, client := newEnd(), newEnd()
	server.open(b, "server", filepath.Join(dir, dataDir), space)
	client.open(b, "client", b.TempDir(), space)
	server.to, client.to = client, server
	meet(server, client)
	client.until(b, entries)
	client.close(b)
	server.close(b)

	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		fresh := newEnd()
		fresh.open(b, "client", b.TempDir(), space)
		b.StartTimer()
		fresh.n.Opened(1, "server", "/server", true)
		for _, x := range server.sent {
			fresh.answer(x.after)
			fresh.n.Received(1, x.message)
			if gossip.MessageName(x.message) == "end" {
				break
			}
		}
		fresh.until(b, entries)
		b.StopTimer()
		fresh.close(b)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*entries)/b.Elapsed().Seconds(), "entries/s")
}

// An end is a node whose one peer is in the same process. It remembers what it has
// sent, and after how many messages of the other side.
type end struct {
	name  string
	n     *node.Node
	db    *pebblestore.Store
	to    *end
	queue chan []byte
	quit  chan struct{} // closed when nobody takes from the queue any more
	done  chan struct{}

	mu    sync.Mutex
	more  sync.Cond
	heard int
	sent  []message
}

type message struct {
	after   int
	message []byte
}

func newEnd() *end {
	e := &end{queue: make(chan []byte, 1<<10), quit: make(chan struct{}), done: make(chan struct{})}
	e.more.L = &e.mu
	return e
}

func (e *end) open(b *testing.B, name, dir string, space clock.Hash) {
	b.Helper()
	e.name = name
	var err error
	if e.db, err = pebblestore.Open(dir, pebblestore.Options{}); err != nil {
		b.Fatal(err)
	}
	seed := sha256.Sum256([]byte(name))
	e.n, err = node.New(node.Config{LogID: name, Transport: e, Replica: node.ReplicaConfig{
		DB: e.db, Prefix: spacePrefix, Space: space, Key: ed25519.NewKeyFromSeed(seed[:]), Node: name, Instance: [16]byte(seed[:]),
		Random: mathrand.NewChaCha8(seed), Spread: mathrand.New(mathrand.NewPCG(1, 1)),
	}})
	if err != nil {
		b.Fatal(err)
	}
}

// meet opens a session between two nodes.
func meet(a, b *end) {
	for _, e := range []*end{a, b} {
		go func() {
			defer close(e.done)
			for {
				select {
				case m := <-e.queue:
					e.n.Received(1, m)
				case <-e.quit:
					return
				}
			}
		}()
	}
	a.n.Opened(1, "client", "/client", false)
	b.n.Opened(1, "server", "/server", true)
}

func (e *end) Send(_ gossip.SessionID, m []byte) {
	e.mu.Lock()
	e.sent = append(e.sent, message{e.heard, m})
	e.more.Broadcast()
	e.mu.Unlock()
	if e.to != nil {
		e.to.mu.Lock()
		e.to.heard++
		e.to.mu.Unlock()
		select {
		case e.to.queue <- m:
		case <-e.to.quit:
		}
	}
}

func (e *end) Drop(gossip.SessionID, error, bool) {}
func (e *end) Publish([]byte)                     {}
func (e *end) Learn([]string)                     {}

// answer waits until the node has sent so many messages.
func (e *end) answer(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.sent) < n {
		e.more.Wait()
	}
}

// until waits until the node holds so many entries, all durable.
func (e *end) until(b *testing.B, entries int) {
	b.Helper()
	want := fmt.Sprintf("%s-%d", e.name, entries)
	eventually(b, time.Minute, "all entries are durable", func() bool { return e.n.Cursor() == want })
}

func (e *end) close(b *testing.B) {
	b.Helper()
	if e.to != nil {
		close(e.quit)
		<-e.done
	}
	e.n.Close()
	if err := e.db.Close(); err != nil {
		b.Fatal(err)
	}
}
