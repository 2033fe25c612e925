package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configOver is the configuration of a node over a store.
func configOver(db storage.DB, name string) Config {
	seed := sha256.Sum256([]byte(name))
	return Config{
		LogID: name, TickInterval: time.Millisecond,
		Replica: ReplicaConfig{
			DB: db, Prefix: []byte("n"), Space: worldSpace, Key: ed25519.NewKeyFromSeed(seed[:]),
			Random: rand.NewChaCha8(seed), Spread: rand.New(rand.NewPCG(1, 1)), Node: name, Instance: [16]byte(seed[:16]),
		},
	}
}

// A bench is a node over a memory store.
type bench struct {
	*Node
	t  testing.TB
	db *storage.Memory
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return benchOver(t, storage.NewMemory())
}

func benchOver(t testing.TB, db *storage.Memory) *bench {
	t.Helper()
	n, err := New(configOver(db, "n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return &bench{n, t, db}
}

func (b *bench) must(ops ...Op) Receipt {
	b.t.Helper()
	rec, err := b.Commit(b.t.Context(), "", ops)
	if err != nil {
		b.t.Fatal(err)
	}
	return rec
}

func (b *bench) put(entity string, p delta.Path, v any) Receipt {
	b.t.Helper()
	return b.must(Op{Kind: OpPut, Entity: entity, Path: p, Value: v})
}

// read returns a key as JSON, "-" where there is nothing.
func (b *bench) read(entity string, p delta.Path) string {
	b.t.Helper()
	r, err := b.Get(b.t.Context(), entity, p)
	if errors.Is(err, ErrNotFound) {
		return "-"
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return string(delta.AppendAnyJSON(nil, r.Value))
}

func (b *bench) want(entity string, p delta.Path, want string) {
	b.t.Helper()
	if got := b.read(entity, p); got != want {
		b.t.Errorf("%s reads %s, want %s", delta.Key(entity, p), got, want)
	}
}

// A gate is a store whose commits become durable one by one as the test says.
type gate struct {
	storage.DB
	open chan struct{}
}

type gatedCommit struct {
	storage.Commit
	open chan struct{}
}

func (g *gate) Apply(b storage.Batch) (storage.Commit, error) {
	c, err := g.DB.Apply(b)
	return &gatedCommit{c, g.open}, err
}

func (c *gatedCommit) Wait() error {
	<-c.open
	return c.Commit.Wait()
}

// recorder is a transport that remembers.
type recorder struct {
	mu        sync.Mutex
	sent      map[gossip.SessionID][]string
	published int
	dropped   []error
	learnt    []string
	wake      chan struct{}
}

func newRecorder() *recorder {
	return &recorder{sent: map[gossip.SessionID][]string{}, wake: make(chan struct{}, 1)}
}

func (r *recorder) note(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *recorder) Send(to gossip.SessionID, m []byte) {
	r.note(func() { r.sent[to] = append(r.sent[to], gossip.MessageName(m)) })
}

func (r *recorder) Drop(_ gossip.SessionID, reason error, _ bool) {
	r.note(func() { r.dropped = append(r.dropped, reason) })
}
func (r *recorder) Publish([]byte)       { r.note(func() { r.published++ }) }
func (r *recorder) Learn(addrs []string) { r.note(func() { r.learnt = append(r.learnt, addrs...) }) }

// until waits for a condition of what was recorded.
func (r *recorder) until(t testing.TB, ok func() bool) {
	t.Helper()
	for {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-r.wake:
		case <-t.Context().Done():
			t.Fatal("it does not happen")
		}
	}
}

// While one entry is on its way to the disk the next is made, and no other:
// writers that come then share the one after it, and each gets its own receipt once
// that is durable.
func TestGroupCommit(t *testing.T) {
	db := &gate{storage.NewMemory(), make(chan struct{})}
	n, err := New(configOver(db, "n"))
	if err != nil {
		t.Fatal(err)
	}
	const writers = 50
	got := make(chan Receipt, writers+2)
	commit := func(i int) {
		rec, err := n.Commit(context.Background(), "", []Op{{Kind: OpPut, Entity: fmt.Sprint("e", i), Value: int64(i)}})
		if err != nil {
			t.Error(err)
		}
		got <- rec
	}
	go commit(0)
	db.open <- struct{}{} // the first is on its way alone
	<-got
	go commit(0)
	n.waitFor(func() bool { return n.replica.log.Ordinal() == 2 })
	go commit(0)
	n.waitFor(func() bool { return n.replica.log.Ordinal() == 3 })
	for i := range writers {
		go commit(i + 1)
	}
	for waiting := 0; waiting < writers; {
		n.commits.mu.Lock()
		waiting = len(n.commits.waiting)
		n.commits.mu.Unlock()
	}
	select {
	case rec := <-got:
		t.Fatalf("receipt %v before it is durable", rec)
	default:
	}
	close(db.open)
	seen := map[clock.Dot]bool{}
	seqs := map[uint64]int{}
	for range writers + 2 {
		rec := <-got
		if seen[rec.Txn] || rec.CID == "" || rec.Deltas != 1 {
			t.Errorf("receipt %+v", rec)
		}
		seen[rec.Txn] = true
		seqs[rec.Txn.Seq]++
	}
	if len(seqs) != 3 || seqs[4] != writers {
		t.Errorf("entries hold %v transactions, want all writers in one", seqs)
	}
	n.Close()
}

// waitFor spins on a condition of the replica, between its steps.
func (n *Node) waitFor(ok func() bool) {
	for done := false; !done; {
		n.query(func() { done = ok() })
	}
}

// Nothing that rests on a write is let out, or shown, before the write is
// durable: not even by steps that wrote nothing themselves.
func TestEffectsWaitForTheDisk(t *testing.T) {
	db := &gate{storage.NewMemory(), make(chan struct{})}
	cfg := configOver(db, "n")
	tr := newRecorder()
	cfg.Transport = tr
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := n.Commit(context.Background(), "", []Op{{Kind: OpPut, Entity: "e", Value: "v"}})
		done <- err
	}()
	n.waitFor(func() bool { return n.replica.log.Ordinal() == 1 })
	n.Opened(1, "peer", "", true)
	n.waitFor(func() bool { return len(n.replica.machine.Peers()) == 1 })
	for range 100 { // the syncer has had every chance
		n.query(func() {})
	}
	tr.mu.Lock()
	if len(tr.sent) > 0 || tr.published > 0 || n.visible.Load() != 0 {
		t.Errorf("sent %v, published %d, shown up to %d before anything is durable", tr.sent, tr.published, n.visible.Load())
	}
	tr.mu.Unlock()
	close(db.open)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	tr.until(t, func() bool { return len(tr.sent[1]) >= 2 && tr.published == 1 })
	if got := tr.sent[1][:2]; !slices.Equal(got, []string{"hello", "root"}) {
		t.Errorf("sent %v", got)
	}
	n.Close()
}

// When the disk fails, waiting and later writers hear so, reads go on, and the
// lane is not resumed.
func TestReadOnly(t *testing.T) {
	for _, fault := range []storage.Fault{
		{At: storage.FaultApply, N: 3}, {At: storage.FaultWait, N: 3}, {At: storage.FaultWait, N: 3, Persist: true},
	} {
		db := storage.NewFaulty(storage.NewMemory(), fault)
		n, err := New(configOver(db, "n"))
		if err != nil {
			t.Fatal(err)
		}
		var failed error
		for i := range 5 {
			if _, err := n.Commit(t.Context(), "", []Op{{Kind: OpInc, Entity: "e", N: 1}}); err != nil {
				failed = err
				if i < 2 {
					t.Errorf("write %d: %v", i, err)
				}
			}
		}
		if !errors.Is(failed, ErrReadOnly) || !errors.Is(n.Err(), storage.ErrFailed) {
			t.Errorf("%+v: write error %v, node error %v", fault, failed, n.Err())
		}
		if _, err := n.Get(t.Context(), "e", ""); err != nil {
			t.Errorf("read: %v", err)
		}
		var s Status
		if err := n.Fill(t.Context(), &s, false); err != nil || !s.ReadOnly {
			t.Errorf("status read-only %v, %v", s.ReadOnly, err)
		}
		if a := n.Alarms(); len(a) != 1 || a[0].Kind != "disk" {
			t.Errorf("alarms %v", a)
		}
		select {
		case <-n.Done():
			t.Error("a node whose disk failed goes on reading")
		default:
		}
		if n.Close() != nil {
			t.Error("a lane to resume after a failure")
		}
	}
}

// A broken invariant stops the node.
func TestStopped(t *testing.T) {
	b := newBench(t)
	b.step(func(int64) (Step, error) { return Step{}, errors.New("this cannot be") })
	<-b.Done()
	if _, err := b.Commit(t.Context(), "", []Op{{Kind: OpInc, Entity: "e", N: 1}}); !errors.Is(err, ErrClosed) {
		t.Errorf("write to a stopped node: %v", err)
	}
	if b.Err() == nil {
		t.Error("no reason")
	}
}

// Close lets the writes under way end, and refuses later ones. The lane goes on.
func TestCloseWhileBusy(t *testing.T) {
	db := storage.NewMemory()
	n, err := New(configOver(db, "n"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	acked := make(chan int64, 10_000)
	started := make(chan struct{}, 10_000)
	for range 8 {
		wg.Go(func() {
			for {
				_, err := n.Commit(context.Background(), "", []Op{{Kind: OpInc, Entity: "e", N: 1}})
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case acked <- 1:
				default:
				}
				started <- struct{}{}
			}
		})
	}
	for range 100 {
		<-started
	}
	resume := n.Close()
	if again := n.Close(); (again == nil) != (resume == nil) {
		t.Error("closed twice, closed differently")
	}
	wg.Wait()
	if resume == nil {
		t.Fatal("no lane to resume")
	}
	n.Opened(1, "p", "", true) // of no effect, and no wait
	cfg := configOver(db, "n")
	cfg.Replica.Resume = resume
	n2, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n2.Close()
	b := &bench{n2, t, db}
	b.want("e", "", fmt.Sprint(len(acked)))
	if rec := b.put("f", "", "x"); rec.Txn.Lane != resume.Key.ID(worldSpace) || rec.Txn.Seq != resume.Head.Seq+1 {
		t.Errorf("%v does not go on with %v", rec.Txn, resume.Head)
	}
	if r := n2.Resumable(); r == nil || r.Key != resume.Key {
		t.Error("not resumable")
	}
}

// A resume that is not of this author, or not where the lane ends, opens a new
// lane.
func TestResumeRefused(t *testing.T) {
	b := newBench(t)
	b.put("e", "", "x")
	resume := b.Close()
	for name, spoil := range map[string]func(r *Resume){
		"head":   func(r *Resume) { r.Head.Seq++ },
		"author": func(r *Resume) { r.Key.Author[0]++ },
		"lane":   func(r *Resume) { r.Key.Incarnation[0]++ },
	} {
		r := *resume
		spoil(&r)
		cfg := configOver(b.db, "n")
		cfg.Replica.Resume = &r
		n, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if n.Resumable() != nil {
			t.Errorf("wrong %s, and the lane goes on", name)
		}
		n.Close()
	}
}

// A caller that gives up while others lead leaves no trace; one whose write is
// under way is told that nobody knows.
func TestCommitGivesUp(t *testing.T) {
	db := &gate{storage.NewMemory(), make(chan struct{})}
	n, err := New(configOver(db, "n"))
	if err != nil {
		t.Fatal(err)
	}
	ended, cancelled := context.WithCancel(t.Context())
	cancelled()
	if _, err := n.Commit(ended, "", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	results := make(chan error, 3)
	commit := func(ctx context.Context, entity string) {
		_, err := n.Commit(ctx, "", []Op{{Kind: OpPut, Entity: entity, Value: "v"}})
		results <- err
	}
	for i, entity := range []string{"leader", "next"} {
		go commit(context.Background(), entity)
		n.waitFor(func() bool { return n.replica.log.Ordinal() == uint64(i+1) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	go commit(ctx, "gone")
	for waiting := 0; waiting < 1; {
		n.commits.mu.Lock()
		waiting = len(n.commits.waiting)
		n.commits.mu.Unlock()
	}
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(db.open)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	b := &bench{n, t, nil}
	b.want("gone", "", "-")
	b.want("leader", "", `"v"`)
	n.Close()
	if _, err := n.Commit(t.Context(), "", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

// Two nodes over a transport that hands messages over find each other's writes,
// and say that they agree once they do.
func TestTwoNodes(t *testing.T) {
	a, b := pairOfNodes(t)
	a.put("k", "/a", "from a")
	b.put("k", "/b", "from b")
	tips := 2
	b.query(func() { // it may have had a's write before its own, which then rests on it
		rec, err := b.store.Record(b.db, clock.EntryID{Lane: b.replica.signer.Lane, Seq: 1})
		if err != nil {
			t.Error(err)
			return
		}
		e, err := rec.Entry()
		if err != nil {
			t.Error(err)
			return
		}
		tips -= len(e.Body.Deps)
	})
	for _, n := range []*bench{a, b} {
		n.wait(`{"a":"from a","b":"from b"}`)
	}
	for {
		var s Status
		if err := a.Fill(t.Context(), &s, true); err != nil {
			t.Fatal(err)
		}
		if s.Converged {
			if len(s.Peers) != 1 || s.Peers[0].ID != "b" || !s.Peers[0].Connected || s.Entries != 2 || s.Rows != 2 || s.Lanes != 2 ||
				s.Digest == "" || s.Frontier == "" || s.Peers[0].Addr != "/b" || s.Tips != tips || len(s.Forks) > 0 || s.DiskBytes == 0 {
				t.Errorf("status %+v", s)
			}
			break
		}
	}
	a.Twin("/elsewhere")
	for len(a.Alarms()) == 0 {
		a.query(func() {})
	}
	a.Closed(1)
	b.Closed(1)
}

func (b *bench) wait(want string) {
	b.t.Helper()
	for b.read("k", "") != want {
		if b.t.Context().Err() != nil {
			b.t.Fatal("no agreement")
		}
	}
}

// queueWire keeps the order of messages.
type queueWire struct {
	*recorder
	messages chan []byte
	topic    chan []byte
}

func (w *queueWire) Send(_ gossip.SessionID, m []byte) { w.messages <- bytes.Clone(m) }
func (w *queueWire) Publish(m []byte)                  { w.topic <- bytes.Clone(m) }

func pairOfNodes(t *testing.T) (a, b *bench) {
	t.Helper()
	var nodes [2]*bench
	var wires [2]*queueWire
	for i, name := range []string{"a", "b"} {
		db := storage.NewMemory()
		cfg := configOver(db, name)
		wires[i] = &queueWire{newRecorder(), make(chan []byte, 10_000), make(chan []byte, 10_000)}
		cfg.Transport = wires[i]
		n, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = &bench{n, t, db}
		n.SetAddrs([]string{"/" + name})
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for i := range nodes {
		to := nodes[1-i]
		wg.Go(func() {
			for {
				select {
				case m := <-wires[i].messages:
					to.Received(1, m)
				case m := <-wires[i].topic:
					ps, err := gossip.ParsePublished(worldSpace, m)
					if err != nil {
						t.Error(err)
					}
					to.Published(ps)
				case <-quit:
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		close(quit)
		wg.Wait()
		for _, n := range nodes {
			n.Close()
		}
	})
	nodes[0].waitFor(func() bool { return true })
	for i, name := range []string{"b", "a"} {
		nodes[i].Opened(1, name, "", i == 0)
	}
	return nodes[0], nodes[1]
}

// A hostile session is dropped by the node, and the reason told.
func TestNodeDropsPeers(t *testing.T) {
	cfg := configOver(storage.NewMemory(), "n")
	tr := newRecorder()
	cfg.Transport = tr
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	n.Opened(4, "evil", "", false)
	n.Received(4, []byte("rubbish"))
	tr.until(t, func() bool { return len(tr.dropped) == 1 })
}

// Alarms are remembered once each, and neither those of one kind nor all
// together without bound.
func TestAlarms(t *testing.T) {
	b := newBench(t)
	b.Alarm("disk", "fails", "hint")
	for i := range 4 * maxAlarmsOfKind {
		b.Alarm("kind", fmt.Sprint(i/2), "hint")
	}
	b.Alarm("kind", "new", "hint")
	a := b.Alarms()
	if len(a) != 1+maxAlarmsOfKind || a[0].Kind != "disk" || a[1].Text != fmt.Sprint(maxAlarmsOfKind+1) || a[maxAlarmsOfKind].Text != "new" {
		t.Errorf("%d alarms: %v", len(a), a)
	}
	for i := range 2 * maxAlarms {
		b.Alarm(fmt.Sprint(i/2), "text", "hint")
	}
	if a := b.Alarms(); len(a) != maxAlarms || a[0].Kind != "0" || a[maxAlarms-1].Kind != fmt.Sprint(maxAlarms-1) {
		t.Errorf("%d alarms from %v to %v", len(a), a[0], a[len(a)-1])
	}
	b.waitSince.Store(1)
	b.watch()
	if a := b.Alarms(); a[maxAlarms-1].Kind != "disk" {
		t.Error("a disk that does not answer raises no alarm")
	}
	b.waitSince.Store(0)
}
