package feed

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/storage"
)

// tb is what tests and properties have in common.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

var testSpace = clock.Hash(sha256.Sum256([]byte("feed")))

// A host is a node over a store in memory.
type host struct {
	*node.Node
	tb tb
	t  *testing.T
	// to are the messages on their way to the other one of a pair.
	to chan func(other *host)
}

func newHost(t *testing.T, tb tb, name string) *host {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	h := &host{t: t, tb: tb, to: make(chan func(*host), 10_000)}
	n, err := node.New(node.Config{
		LogID: name, TickInterval: time.Millisecond, Transport: h,
		Replica: node.ReplicaConfig{
			DB: storage.NewMemory(), Prefix: []byte("n"), Space: testSpace, Key: ed25519.NewKeyFromSeed(seed[:]),
			Random: rand.NewChaCha8(seed), Spread: rand.New(rand.NewPCG(1, 1)), Node: name, Instance: [16]byte(seed[:16]),
		},
	})
	if err != nil {
		tb.Fatalf("open %s: %v", name, err)
	}
	h.Node = n
	n.SetAddrs([]string{"/" + name})
	return h
}

func (h *host) Send(_ gossip.SessionID, m []byte) {
	m = bytes.Clone(m)
	h.to <- func(other *host) { other.Received(1, m) }
}

func (h *host) Publish(m []byte) {
	m = bytes.Clone(m)
	h.to <- func(other *host) {
		ps, err := gossip.ParsePublished(testSpace, m)
		if err != nil {
			h.tb.Errorf("published: %v", err)
		}
		other.Published(ps)
	}
}

func (h *host) Drop(_ gossip.SessionID, reason error, _ bool) { h.tb.Errorf("dropped: %v", reason) }
func (h *host) Learn([]string)                                {}

// A pair is two hosts that do not know of each other until they are connected.
type pair struct {
	a, b *host
	quit chan struct{}
	wg   sync.WaitGroup
}

func newPair(t *testing.T, tb tb) *pair {
	return &pair{a: newHost(t, tb, "a"), b: newHost(t, tb, "b"), quit: make(chan struct{})}
}

// connect lets the hosts talk, and returns once they hold the same.
func (p *pair) connect() {
	// Both know of the session before anything is delivered on it.
	p.a.Opened(1, "b", "", true)
	p.b.Opened(1, "a", "", false)
	for _, way := range [][2]*host{{p.a, p.b}, {p.b, p.a}} {
		p.wg.Go(func() {
			for {
				select {
				case deliver := <-way[0].to:
					deliver(way[1])
				case <-p.quit:
					return
				}
			}
		})
	}
	p.settle()
}

func (p *pair) settle() {
	for p.a.Vector().Root() != p.b.Vector().Root() {
		if p.a.t.Context().Err() != nil {
			p.a.tb.Fatalf("the hosts do not come to hold the same")
		}
	}
}

func (p *pair) close() {
	close(p.quit)
	p.wg.Wait()
	p.a.Close()
	p.b.Close()
}

// take imports deltas, one to a line.
func (h *host) take(texts ...string) Report {
	h.tb.Helper()
	r, err := Import(h.t.Context(), h, strings.NewReader(strings.Join(texts, "\n")))
	if err != nil {
		h.tb.Fatalf("import: %v", err)
	}
	return r
}

// out exports as lines.
func (h *host) out() (lines []string) {
	h.tb.Helper()
	err := Export(h.t.Context(), h, "", func(d Delta) error {
		lines = append(lines, string(d.AppendJSON(nil)))
		return nil
	})
	if err != nil {
		h.tb.Fatalf("export: %v", err)
	}
	return lines
}

// read returns a key as JSON, "-" where there is nothing.
func (h *host) read(key string) string {
	h.tb.Helper()
	entity, p, err := delta.ParseKey(key)
	if err != nil {
		h.tb.Fatalf("%v", err)
	}
	r, err := h.Get(h.t.Context(), entity, p)
	if errors.Is(err, node.ErrNotFound) {
		return "-"
	}
	if err != nil {
		h.tb.Fatalf("read %s: %v", key, err)
	}
	return string(delta.AppendAnyJSON(nil, r.Value))
}

func (h *host) want(key, want string) {
	h.tb.Helper()
	if got := h.read(key); got != want {
		h.tb.Errorf("%s reads %s, want %s", key, got, want)
	}
}

func (h *host) must(ops ...node.Op) {
	h.tb.Helper()
	if _, err := h.Commit(h.t.Context(), "", ops); err != nil {
		h.tb.Fatalf("%v", err)
	}
}

// shows returns the bags, members of feeds, that refer to edges: key and edge.
func (h *host) shows() (all []string) {
	h.tb.Helper()
	for r, err := range h.Export(h.t.Context(), "") {
		if err != nil {
			h.tb.Fatalf("%v", err)
		}
		for _, s := range r.Survivors {
			to, ok := s.Value.Ref()
			if ok && s.Verb == delta.Add && !strings.HasPrefix(r.Entity, markPrefix) {
				all = append(all, delta.Key(r.Entity, s.Path)+" -> "+to)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
