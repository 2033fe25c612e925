package bubble

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/gossip/p2p"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/storage/pebblestore"
)

// A host is one machine: a disk, and the process that runs on it, which is a
// production node but for the socket, the file system and the repo's files.
type host struct {
	w    *world
	at   int
	key  ed25519.PrivateKey
	name string // its peer id
	disk *disk
	rnd  *rand.ChaCha8

	// The process; all nil while none runs.
	store   *pebblestore.Store
	core    *node.Node
	net     *p2p.Host
	release func() error // the socket
	resume  *node.Resume // after a clean stop
	writers sync.WaitGroup

	// mu orders acknowledgements before or after a crash.
	mu    sync.Mutex
	dying bool
	// acked is the newest acknowledged seq of each lane of its own.
	acked map[clock.LaneID]uint64
	// kept are the keys that only this host writes, once each, with their value.
	kept    map[string]int64
	last    *clock.Vector // at the last check of this process
	applied *clock.Vector // when it lost its power
}

func (w *world) newHost(at int) *host {
	seed := sha256.Sum256(fmt.Appendf(nil, "%d host %d", w.opts.seed, at))
	h := &host{
		w: w, at: at, key: ed25519.NewKeyFromSeed(seed[:]), rnd: rand.NewChaCha8(seed),
		disk: newDisk(w.opts.syncTakes), acked: make(map[clock.LaneID]uint64), kept: make(map[string]int64),
	}
	name, err := p2p.PeerID(h.key.Public().(ed25519.PublicKey))
	if err != nil {
		w.t.Fatal(err)
	}
	h.name = name
	return h
}

func (h *host) listens() string { return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", addrOf(h.at).IP, port) }

// addr is where others dial the host.
func (h *host) addr() string { return h.listens() + "/p2p/" + h.name }

func (h *host) up() bool { return h.core != nil }

// start runs a process on the host's disk.
func (h *host) start() {
	h.w.t.Helper()
	if err := h.open(); err != nil {
		h.w.t.Fatalf("host %d does not start: %v", h.at, err)
	}
}

func (h *host) open() (err error) {
	h.store, err = pebblestore.Open("/data", pebblestore.Options{FS: h.disk, CacheBytes: 1 << 20})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	var instance [16]byte
	_, _ = h.rnd.Read(instance[:]) // never fails
	t := newTransport(h)
	h.core, err = node.New(node.Config{
		Replica: node.ReplicaConfig{
			DB: slowStore{h.store, h.disk.takes}, Prefix: []byte{1}, Space: space, Key: h.key, Random: h.rnd,
			Spread: rand.New(rand.NewPCG(h.w.opts.seed, uint64(h.at))), Resume: h.resume, Node: h.name, Instance: instance,
		},
		Transport: t, LogID: fmt.Sprint(h.at),
	})
	if err != nil {
		return errors.Join(fmt.Errorf("node: %w", err), h.store.Close())
	}
	cfg := p2p.Config{
		Key: h.key, Instance: instance, Listen: []string{h.listens()}, Topics: []string{topic},
		Handler: t, MaxMessageBytes: gossip.MaxMessageBytes, Peers: h.w.peersOf(h),
	}
	cfg.Options, h.release = quicOver(h.w.router, h.at)
	if h.net, err = p2p.New(cfg); err != nil {
		h.core.Close()
		return errors.Join(fmt.Errorf("network: %w", err), h.store.Close(), h.release())
	}
	h.core.SetAddrs(h.net.Addrs())
	h.resume, h.last, h.dying = nil, nil, false
	close(t.ready)
	return nil
}

// stop ends the process in order; the next goes on with its lane.
func (h *host) stop() {
	resume, err := h.end()
	if err != nil {
		h.w.t.Errorf("host %d stops: %v", h.at, err)
	}
	h.resume = resume
}

// crash takes the host off the network and off its power: what its disk had
// not synced is gone. The goroutines of the process cannot be killed; they end
// in order, unheard, on a disk that nobody will look at again.
func (h *host) crash() {
	h.mu.Lock()
	h.dying = true // what is acknowledged from here on, nobody has been told
	h.applied = h.core.Vector()
	rest := h.disk.crash()
	h.mu.Unlock()
	h.w.router.remove(h.at)
	_, _ = h.end()
	h.disk = rest
}

func (h *host) end() (*node.Resume, error) {
	err := errors.Join(h.net.Close(), h.release())
	resume := h.core.Close()
	h.writers.Wait()
	err = errors.Join(err, h.store.Close())
	h.store, h.core, h.net = nil, nil, nil
	return resume, err
}

// put writes a value. It is false where the process ended before it said that
// the value is written.
func (h *host) put(entity string, n int64) (clock.Dot, bool) {
	value := map[string]any{"by": int64(h.at), "n": n}
	r, err := h.core.Commit(context.Background(), "", []node.Op{{Kind: node.OpPut, Entity: entity, Value: value}})
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dying {
		return clock.Dot{}, false
	}
	if err != nil {
		h.w.broken("host %d does not write: %v", h.at, err)
		return clock.Dot{}, false
	}
	h.acked[r.Txn.Lane] = max(h.acked[r.Txn.Lane], r.Txn.Seq)
	if strings.HasPrefix(entity, "own/") {
		h.kept[entity] = n
	}
	h.w.acks.Add(1)
	return r.Txn, true
}

// reads holds a host to all that was written under keys of one writer.
func (h *host) reads(entity string, n int64) {
	h.w.t.Helper()
	r, err := h.core.Get(context.Background(), entity, "/n")
	if err != nil || r.Value != n {
		h.w.broken("host %d reads %s as %v (%v), want %d", h.at, entity, r.Value, err, n)
	}
}

// A holding is what a host holds.
type holding struct {
	vector *clock.Vector
	digest string
}

func (h *host) holds() holding {
	s := node.Status{}
	if err := h.core.Fill(context.Background(), &s, false); err != nil {
		h.w.t.Fatalf("host %d: status: %v", h.at, err)
	}
	return holding{h.core.Vector(), s.Digest}
}
