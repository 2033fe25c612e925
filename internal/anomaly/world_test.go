package anomaly

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/storage"
)

// begin is when worlds begin, in milliseconds.
const begin = 1_700_000_000_000

// space is what all replicas are of.
var space = clock.Hash(sha256.Sum256([]byte("space")))

// A world is some replicas and the sessions between them. Its time passes when a
// test says so.
type world struct {
	t     testing.TB
	now   int64
	hosts []*host
	links []*link
	next  gossip.SessionID
	// delivered, if not nil, is called after each message that a host took in.
	delivered func(h *host)
	// published has what a host publishes come to all that it is joined with, and
	// two times. Else nothing does, and all comes by sessions.
	published bool
}

// A host is a replica, its disk and its clock.
type host struct {
	w      *world
	name   string
	key    ed25519.PrivateKey
	disk   *storage.Memory
	r      *node.Replica
	skew   int64 // how far its clock is ahead, in milliseconds
	alarms []string
	random *rand.ChaCha8
}

// A link is a session between two hosts, with what is on its way to each.
type link struct {
	ends  [2]*host
	ids   [2]gossip.SessionID
	queue [2][][]byte
}

func newWorld(t testing.TB, names ...string) (*world, []*host) {
	w := &world{t: t, now: begin}
	for _, name := range names {
		seed := sha256.Sum256([]byte(name))
		w.add(name, ed25519.NewKeyFromSeed(seed[:]), storage.NewMemory(), nil)
	}
	return w, w.hosts
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// add starts one more host.
func (w *world) add(name string, key ed25519.PrivateKey, disk *storage.Memory, resume *node.Resume) *host {
	w.t.Helper()
	h := &host{w: w, name: name, key: key, disk: disk, random: rand.NewChaCha8(sha256.Sum256([]byte("random " + name)))}
	h.open(resume)
	w.hosts = append(w.hosts, h)
	return h
}

// open starts the host's replica on its disk.
func (h *host) open(resume *node.Resume) {
	h.w.t.Helper()
	var instance [16]byte
	_, _ = h.random.Read(instance[:]) // never fails
	r, err := node.OpenReplica(node.ReplicaConfig{
		DB: h.disk, Prefix: []byte("p"), Space: space, Key: h.key,
		Random: h.random, Spread: rand.New(rand.NewPCG(1, uint64(len(h.w.hosts)))), Resume: resume,
		Node: h.name, Instance: instance,
	})
	h.w.must(err)
	h.r = r
	h.r.Machine().SetAddrs([]string{"/addr/" + h.name})
}

func (h *host) now() int64 { return h.w.now + h.skew }

// did makes a step durable and carries out its effects.
func (h *host) did(s node.Step, err error) node.Step {
	h.w.t.Helper()
	h.w.must(err)
	if s.Commit != nil {
		h.w.must(s.Commit.Wait())
	}
	for _, e := range s.Effects {
		switch e := e.(type) {
		case gossip.Send:
			h.send(e)
		case gossip.Raise:
			h.alarms = append(h.alarms, e.Kind)
		case gossip.Drop:
			if e.Penalize {
				h.w.t.Fatalf("%s drops an honest peer: %v", h.name, e.Reason)
			}
		}
	}
	for _, j := range s.Jobs {
		h.did(j()(h.now()))
	}
	if h.w.published {
		for _, m := range s.Publish {
			h.publish(m)
		}
	}
	return s
}

// publish has a message come twice to each host that this one is joined with.
func (h *host) publish(m []byte) {
	h.w.t.Helper()
	entries, err := gossip.ParsePublished(space, m)
	h.w.must(err)
	for _, l := range h.w.links {
		for i, o := range l.ends {
			if l.ends[1-i] == h {
				h.w.must(errors.Join(o.take(entries), o.take(entries)))
			}
		}
	}
}

// take takes in what was published.
func (h *host) take(entries []gossip.Published) error {
	h.w.t.Helper()
	s, err := h.r.Published(h.now(), entries)
	if err == nil {
		h.did(s, nil)
	}
	return err
}

func (h *host) send(e gossip.Send) {
	for _, l := range h.w.links {
		for i := range l.ends {
			if l.ends[i] == h && l.ids[i] == e.To {
				l.queue[1-i] = append(l.queue[1-i], bytes.Clone(e.Message))
			}
		}
	}
}

// try commits a transaction and returns its receipt, or the refusal.
func (h *host) try(ops ...node.Op) (node.Receipt, error) {
	h.w.t.Helper()
	s := h.did(h.r.Write(h.now(), []node.Request{{Ops: ops}}))
	return s.Results[0].Receipt, s.Results[0].Err
}

// do commits a transaction that must succeed.
func (h *host) do(ops ...node.Op) node.Receipt {
	h.w.t.Helper()
	r, err := h.try(ops...)
	h.w.must(err)
	return r
}

func put(entity string, p delta.Path, x any) node.Op {
	return node.Op{Kind: node.OpPut, Entity: entity, Path: p, Value: x}
}

func rm(entity string, p delta.Path) node.Op {
	return node.Op{Kind: node.OpRm, Entity: entity, Path: p}
}

func add(entity string, p delta.Path, x any) node.Op {
	return node.Op{Kind: node.OpAdd, Entity: entity, Path: p, Value: x}
}

func remove(entity string, p delta.Path, x any) node.Op {
	return node.Op{Kind: node.OpRemove, Entity: entity, Path: p, Value: x}
}

func inc(entity string, p delta.Path, n int64) node.Op {
	return node.Op{Kind: node.OpInc, Entity: entity, Path: p, N: n}
}

// join opens a session between two hosts, as when both are on the network.
func (w *world) join(a, b *host) {
	w.t.Helper()
	l := &link{ends: [2]*host{a, b}}
	for i := range l.ids {
		w.next++
		l.ids[i] = w.next
	}
	w.links = append(w.links, l)
	for i, h := range l.ends {
		o := l.ends[1-i]
		h.did(h.r.Opened(h.now(), l.ids[i], o.name, "/addr/"+o.name, i == 0))
	}
}

// part ends all sessions: every host is on its own from here.
func (w *world) part() {
	w.t.Helper()
	links := w.links
	w.links = nil
	for _, l := range links {
		for i, h := range l.ends {
			h.did(h.r.Closed(h.now(), l.ids[i]))
		}
	}
}

// meet joins all hosts in a row, lets them become equal, and parts them.
func (w *world) meet(hosts ...*host) {
	w.t.Helper()
	for i := 1; i < len(hosts); i++ {
		w.join(hosts[i-1], hosts[i])
	}
	w.settle(hosts...)
	w.part()
}

// settleMillis is how long hosts that reach each other may need.
const settleMillis = 5 * 60_000

// settle lets time pass until hosts hold the same.
func (w *world) settle(hosts ...*host) {
	w.t.Helper()
	for end := w.now + settleMillis; ; w.tick(50) {
		w.drain()
		if equal(hosts) {
			return
		}
		if w.now > end {
			w.t.Fatalf("%d hosts are not equal after %d ms", len(hosts), settleMillis)
		}
	}
}

func equal(hosts []*host) bool {
	return !slices.ContainsFunc(hosts, func(h *host) bool {
		a := hosts[0].r
		return h.r.Log().Root() != a.Log().Root() || h.r.Digest() != a.Digest() || h.r.Log().Pending.Len() > 0
	})
}

// drain delivers all that is on its way.
func (w *world) drain() {
	w.t.Helper()
	for busy := true; busy; {
		busy = false
		for _, l := range slices.Clone(w.links) {
			for i, h := range l.ends {
				for len(l.queue[i]) > 0 {
					m := l.queue[i][0]
					l.queue[i] = l.queue[i][1:]
					w.deliver(h, l.ids[i], m)
					busy = true
				}
			}
		}
	}
}

func (w *world) deliver(h *host, id gossip.SessionID, m []byte) {
	w.t.Helper()
	h.did(h.r.Receive(h.now(), id, m))
	if w.delivered != nil {
		w.delivered(h)
	}
}

// tick lets time pass.
func (w *world) tick(millis int64) {
	w.t.Helper()
	w.now += millis
	for _, h := range w.hosts {
		h.did(h.r.Tick(h.now()))
	}
}

// forget drops all history of a host: its raw entries and with them all that
// could tell what was deleted.
func (h *host) forget() {
	h.w.t.Helper()
	s, c, err := h.r.Checkpoint(h.now(), node.CompactRequest{Force: true})
	h.did(s, err)
	if c == nil {
		h.w.t.Fatalf("%s has nothing to drop", h.name)
	}
	h.did(h.r.Truncate(h.now()))
	if n := h.r.Log().Entries(); n != 0 {
		h.w.t.Fatalf("%s still holds %d entries", h.name, n)
	}
}

// restart ends a host cleanly and starts it again.
func (h *host) restart() {
	h.w.t.Helper()
	resume := h.r.Resumable()
	h.w.must(h.disk.Close())
	h.disk = h.disk.Crash() // of a closed store: opens what Close left
	h.open(resume)
}

// crash ends a host as a power failure does, and starts it again on what its
// disk has kept.
func (h *host) crash() {
	h.w.t.Helper()
	h.disk = h.disk.Crash()
	h.open(nil)
}

// fork starts a second host on a copy of a host's disk and makes both go on
// with one lane, which the marker in a repo keeps from happening.
func (h *host) fork(name string) *host {
	h.w.t.Helper()
	resume := h.r.Resumable()
	h.w.must(h.disk.Close())
	h.disk = h.disk.Crash()
	disk := h.disk.Copy()
	h.open(resume)
	return h.w.add(name, h.key, disk, resume)
}

// read reads a key by its verbs.
func (h *host) read(entity string, p delta.Path) (merge.Reading, bool) {
	h.w.t.Helper()
	r, found, err := merge.Read(h.r.View(), entity, p)
	h.w.must(err)
	return r, found
}

// absent is how a key reads that holds nothing.
const absent = "-"

// plain is what a plain read of a key shows, as JSON.
func (h *host) plain(entity string, p delta.Path) string {
	h.w.t.Helper()
	r, found := h.read(entity, p)
	if !found {
		return absent
	}
	return string(delta.AppendAnyJSON(nil, r.Value))
}

// values are all values that live at a path itself, as JSON, sorted.
func (h *host) values(entity string, p delta.Path) (out []string) {
	h.w.t.Helper()
	r, _ := h.read(entity, p)
	for i := range r.Properties {
		if r.Properties[i].Path != p {
			continue
		}
		for _, s := range r.Properties[i].Survivors {
			x, err := s.Value.Any()
			h.w.must(err)
			out = append(out, string(delta.AppendAnyJSON(nil, x)))
		}
	}
	slices.Sort(out)
	return out
}

// want holds what a plain read of a key shows on each of some hosts.
func (w *world) want(want, entity string, p delta.Path, hosts ...*host) {
	w.t.Helper()
	for _, h := range hosts {
		if got := h.plain(entity, p); got != want {
			w.t.Errorf("%s reads %s as %s, want %s", h.name, entity+string(p), got, want)
		}
	}
}

// wantValues holds what lives at a path of each of some hosts, and whether a
// plain read says that it hides some of it.
func (w *world) wantValues(want []string, conflict bool, entity string, p delta.Path, hosts ...*host) {
	w.t.Helper()
	for _, h := range hosts {
		if got := h.values(entity, p); !slices.Equal(got, want) {
			w.t.Errorf("%s holds %q at %s, want %q", h.name, got, entity+string(p), want)
		}
		r, _ := h.read(entity, p)
		if got := len(r.Conflicts) > 0; got != conflict {
			w.t.Errorf("%s shows the conflicts %q at %s", h.name, r.Conflicts, entity+string(p))
		}
	}
}
