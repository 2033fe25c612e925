package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A Transport carries out a replica's effects. Its methods must not block.
type Transport interface {
	Send(to gossip.SessionID, message []byte)
	Drop(s gossip.SessionID, reason error, penalize bool)
	Publish(message []byte)
	Learn(addrs []string)
}

// Config says what a node drives and with what.
type Config struct {
	Replica ReplicaConfig

	// Transport is where effects go; nil for a node that is offline.
	Transport Transport

	// Logger gets what a person may want to know; nil discards it.
	Logger *slog.Logger

	// LogID is part of every cursor and differs between repos, so that a cursor
	// of another node is refused instead of misread.
	LogID string

	// Resolvers are those that the program brings, which schemas name with the
	// prefix catalog.GoPrefix.
	Resolvers map[string]merge.Resolver

	// ViewBytes is what the views that are kept may take in memory together; zero
	// means 256 MiB. One that does not fit is worked out each time it is asked for.
	ViewBytes uint64

	// TickInterval is how often the protocol looks for what is due. Zero means
	// 50ms. Shorter repairs lost gossip a little sooner and costs idle time.
	TickInterval time.Duration
}

// A Node drives a Replica: it gives it time, transport and disk. Its methods
// may be called from anywhere.
type Node struct {
	cfg   Config
	log   *slog.Logger
	db    storage.DB
	rows  rows
	store *oplog.Store
	start time.Time

	// turn guards the replica and what else belongs to a step: whoever holds it
	// runs one, and puts what it led to into the queue before letting go.
	turn    sync.Mutex
	replica *Replica
	askers  []asker
	nonce   uint64
	covers  uint64 // the version of covered

	events chan func(now int64) (Step, error)
	// preparing has an element for each chunk that is read or waits in events, for
	// they take memory.
	preparing chan struct{}
	queue     chan outcome
	quit      chan struct{}
	done      chan struct{} // closed when both goroutines have ended
	stopped   chan struct{} // closed when the node stopped by itself
	broke     chan struct{} // closed when it failed in whatever way

	commits  commits
	catalogs catalogs
	views    views
	// jobs are those that run beside the replica.
	jobs sync.WaitGroup

	// failure is why the node stopped or refuses writes.
	failure atomic.Pointer[failure]

	// covered is what the machine's Covered returned last.
	covered atomic.Pointer[map[string]bool]

	// visible is the ordinal up to which changes are durable and shown.
	visible atomic.Uint64
	// history is the ordinal up to which changes can no longer be listed.
	history atomic.Uint64
	// waitSince is when the commit that is being waited for was begun, in
	// milliseconds; 0 while none is.
	waitSince atomic.Int64

	traffic traffic

	// mu guards what follows.
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when visible rises
	alarms  []Alarm
}

// traffic counts what Sync reports.
type traffic struct {
	messagesIn, messagesOut, bytesIn, bytesOut, publishedIn, publishedOut atomic.Uint64
}

func (t *traffic) sync() Sync {
	return Sync{
		MessagesIn: t.messagesIn.Load(), MessagesOut: t.messagesOut.Load(),
		BytesIn: t.bytesIn.Load(), BytesOut: t.bytesOut.Load(),
		PublishedIn: t.publishedIn.Load(), PublishedOut: t.publishedOut.Load(),
	}
}

type failure struct {
	err      error
	readOnly bool
}

// outcome is a step on its way to durability.
type outcome struct {
	step    Step
	ordinal uint64
	// synced, where not nil, is closed once somebody else has waited for what
	// the step wrote.
	synced chan struct{}
}

type asker struct {
	nonce uint64
	done  chan struct{}
}

const (
	// outcomeQueue bounds how many steps may wait for the disk; past it the
	// loop waits too.
	outcomeQueue = 1024

	// maxPrepared bounds the chunks that are read beside the replica: enough that
	// it need not wait for one, and no more, since each takes some MiB, and one that
	// was made to do harm some 100 MiB.
	maxPrepared = 3

	// stuckMillis is how long a commit may take until an alarm is raised.
	stuckMillis = 30_000
)

// beside runs a function in a goroutine of its own, on another core if one is free.
func beside(f func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return func() { <-done }
}

// New opens a replica and begins to drive it.
func New(cfg Config) (*Node, error) {
	r, err := OpenReplica(cfg.Replica)
	if err != nil {
		return nil, err
	}
	if runtime.GOMAXPROCS(0) > 1 {
		r.beside = beside
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.TickInterval == 0 {
		cfg.TickInterval = 50 * time.Millisecond
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, db: cfg.Replica.DB, replica: r, store: r.log.Store, start: time.Now(),
		rows:      rows{r: cfg.Replica.DB, prefix: r.log.Prefix(), lanes: r.log.Lanes},
		events:    make(chan func(int64) (Step, error), 256),
		preparing: make(chan struct{}, maxPrepared),
		queue:     make(chan outcome, outcomeQueue),
		quit:      make(chan struct{}),
		done:      make(chan struct{}),
		stopped:   make(chan struct{}),
		broke:     make(chan struct{}),
		changed:   make(chan struct{}),
	}
	n.views = views{n: n, bytes: cmp.Or(cfg.ViewBytes, defaultViewBytes), asked: make(map[string]int), kept: make(map[string]*keptView)}
	n.views.closing, n.views.end = context.WithCancel(context.Background())
	n.catalogs.own = make(map[string]catalog.Own)
	for name, r := range cfg.Resolvers { // into a map: the order does not matter
		if err := catalog.CheckName(name); err != nil {
			return nil, fmt.Errorf("resolver of the program: %w", err)
		}
		n.catalogs.own[name] = catalog.Own{Version: 1, Resolver: r}
	}
	if err := n.refresh(); err != nil {
		n.views.end()
		return nil, err
	}
	n.visible.Store(r.log.Ordinal())
	n.history.Store(r.log.History())
	go n.run()
	return n, nil
}

// run takes in events and time. It returns last, after the syncer.
func (n *Node) run() {
	var syncer sync.WaitGroup
	syncer.Go(n.sync)
	tick := time.NewTicker(n.cfg.TickInterval)
	defer func() {
		tick.Stop()
		close(n.queue)
		syncer.Wait()
		close(n.done)
	}()
	for {
		select {
		case <-n.quit:
			return
		case f := <-n.events:
			n.step(f)
		case <-tick.C:
			n.step(n.replica.Tick)
			n.watch()
		}
	}
}

// step runs one call of the replica and hands what it led to to the syncer.
func (n *Node) step(f func(int64) (Step, error)) {
	n.turn.Lock()
	defer n.turn.Unlock()
	step, err := n.try(f)
	if err == nil && (step.Commit != nil || len(step.Effects) > 0 || len(step.Publish) > 0) {
		n.queue <- outcome{step: step, ordinal: n.replica.log.Ordinal()}
	}
}

// try runs one call of the replica unless the node has failed; the caller
// holds turn.
func (n *Node) try(f func(int64) (Step, error)) (Step, error) {
	if n.failed() != nil {
		return Step{}, n.writeError()
	}
	step, err := f(time.Now().UnixMilli())
	if err != nil {
		n.fail(err)
		return Step{}, n.writeError()
	}
	n.history.Store(n.replica.log.History())
	if c, version := n.replica.machine.Covered(); version != n.covers {
		n.covers = version
		n.covered.Store(&c)
	}
	n.answer()
	n.noticeCatalog()
	if t := n.replica.state.touched; len(t) > 0 {
		n.views.touch(t)
		clear(t)
	}
	n.runJobs(step.Jobs)
	return step, nil
}

// runJobs starts jobs; what they come to is taken in as steps of their own. A
// node that is closing waits for those that run.
func (n *Node) runJobs(jobs []Job) {
	for _, j := range jobs {
		n.jobs.Go(func() { n.do(j()) })
	}
}

// sync lets steps out in order, each when all it rests on is durable.
func (n *Node) sync() {
	for o := range n.queue {
		if o.synced != nil {
			<-o.synced
		}
		if n.durable(&o.step) == nil {
			n.show(o.ordinal)
			n.perform(&o.step)
		}
	}
}

// durable waits until all that a step wrote, and all before it, is on disk.
func (n *Node) durable(s *Step) error {
	if s.Commit != nil {
		n.waitSince.Store(time.Now().UnixMilli())
		err := s.Commit.Wait()
		n.waitSince.Store(0)
		if err != nil {
			n.fail(fmt.Errorf("commit: %w", err))
		}
	}
	if n.failed() != nil {
		return n.writeError()
	}
	return nil
}

// perform carries out the effects of a durable step.
func (n *Node) perform(s *Step) {
	t := n.cfg.Transport
	for _, p := range s.Publish {
		if t != nil {
			n.traffic.publishedOut.Add(1)
			t.Publish(p)
		}
	}
	for _, e := range s.Effects {
		switch e := e.(type) {
		case gossip.Raise:
			n.Alarm(e.Kind, e.Text, e.Hint)
		case gossip.Send:
			if t != nil {
				n.traffic.messagesOut.Add(1)
				n.traffic.bytesOut.Add(uint64(len(e.Message)))
				t.Send(e.To, e.Message)
			}
		case gossip.Drop:
			n.log.Warn("peer dropped", "session", e.Session, "reason", e.Reason)
			if t != nil {
				t.Drop(e.Session, e.Reason, e.Penalize)
			}
		case gossip.Learn:
			if t != nil {
				t.Learn(e.Addrs)
			}
		}
	}
}

// show makes changes up to an ordinal visible to those who follow them.
func (n *Node) show(ordinal uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ordinal <= n.visible.Load() {
		return
	}
	n.visible.Store(ordinal)
	close(n.changed)
	n.changed = make(chan struct{})
}

// Alarm notes something that a person should look at. Of one kind, and of all,
// the newest are remembered.
func (n *Node) Alarm(kind, text, hint string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.alarms {
		if n.alarms[i].Kind == kind && n.alarms[i].Text == text {
			n.alarms[i].Time = time.Now()
			return
		}
	}
	n.log.Warn(text, "alarm", kind, "hint", hint)
	ofKind, oldest := 0, 0
	for i := range slices.Backward(n.alarms) {
		if n.alarms[i].Kind == kind {
			ofKind, oldest = ofKind+1, i
		}
	}
	switch {
	case ofKind >= maxAlarmsOfKind:
		n.alarms = slices.Delete(n.alarms, oldest, oldest+1)
	case len(n.alarms) >= maxAlarms:
		n.alarms = n.alarms[1:]
	}
	n.alarms = append(n.alarms, Alarm{Kind: kind, Text: text, Hint: hint, Time: time.Now()})
}

// Alarms returns the alarms raised since the node started.
func (n *Node) Alarms() []Alarm {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Alarm(nil), n.alarms...)
}

// watch raises an alarm when the disk does not answer.
func (n *Node) watch() {
	if since := n.waitSince.Load(); since != 0 && time.Now().UnixMilli()-since > stuckMillis {
		n.Alarm("disk", "the disk has not finished a write for 30 seconds", "look at the disk's health and at its free space")
	}
}

// fail stops writing for good. A disk that failed leaves reads; anything else
// is a broken invariant and stops the node.
func (n *Node) fail(err error) {
	f := &failure{err: err, readOnly: errors.Is(err, storage.ErrFailed)}
	if !n.failure.CompareAndSwap(nil, f) {
		return
	}
	close(n.broke)
	if f.readOnly {
		n.Alarm("disk", "writing to the disk went wrong, the node is read-only: "+err.Error(),
			"free space or replace the disk, then start the node again: it recovers")
		return
	}
	n.log.Error("node stopped", "error", err)
	close(n.stopped)
}

func (n *Node) failed() *failure { return n.failure.Load() }

func (n *Node) writeError() error {
	f := n.failed()
	if f.readOnly {
		return fmt.Errorf("%w: %w", ErrReadOnly, f.err)
	}
	return fmt.Errorf("%w: %w", ErrClosed, f.err)
}

// Done is closed when the node stopped by itself; Err then says why.
func (n *Node) Done() <-chan struct{} { return n.stopped }

// Err says why the node stopped or became read-only, nil while all is well.
func (n *Node) Err() error {
	if f := n.failed(); f != nil {
		return f.err
	}
	return nil
}

// Close stops the node after what it was doing and returns the lane that a
// next process may go on with, nil where there is none.
func (n *Node) Close() *Resume {
	n.views.end()
	if n.commits.close() {
		close(n.quit)
	}
	<-n.done
	n.jobs.Wait()
	if n.failed() != nil {
		return nil
	}
	return n.replica.Resumable()
}

// do runs f in its turn, without waiting for it. It reports false where the
// node is closing.
func (n *Node) do(f func(now int64) (Step, error)) bool {
	select {
	case n.events <- f:
		return true
	case <-n.done:
		return false
	}
}

// query runs f between steps, also on a node that is read-only.
func (n *Node) query(f func()) {
	n.turn.Lock()
	defer n.turn.Unlock()
	f()
}

// Opened tells that a session to a peer stands.
func (n *Node) Opened(id gossip.SessionID, peer, addr string, outbound bool) {
	n.do(func(now int64) (Step, error) { return n.replica.Opened(now, id, peer, addr, outbound) })
}

// Closed tells that a session has ended.
func (n *Node) Closed(id gossip.SessionID) {
	n.do(func(now int64) (Step, error) { return n.replica.Closed(now, id) })
}

// Received takes in a message of a session. It blocks while the node is busy,
// which is the back-pressure on that session.
func (n *Node) Received(id gossip.SessionID, message []byte) {
	n.traffic.messagesIn.Add(1)
	n.traffic.bytesIn.Add(uint64(len(message)))
	if !gossip.IsChunk(message) {
		n.do(func(now int64) (Step, error) { return n.replica.Receive(now, id, message) })
		return
	}
	select {
	case n.preparing <- struct{}{}:
	case <-n.broke: // nothing is taken in any more, and nobody makes room
		return
	case <-n.done:
		return
	}
	ready := n.replica.Prepare(id, message)
	n.do(func(now int64) (Step, error) {
		<-n.preparing
		return n.replica.ReceivePrepared(now, id, ready)
	})
}

// Published takes in verified entries that came by publication.
func (n *Node) Published(entries []gossip.Published) {
	n.traffic.publishedIn.Add(uint64(len(entries)))
	n.do(func(now int64) (Step, error) { return n.replica.Published(now, entries) })
}

// Covers reports whether what a peer itself publishes reaches all other peers of
// this node without being passed on.
func (n *Node) Covers(peer string) bool {
	c := n.covered.Load()
	return c != nil && (*c)[peer]
}

// Twin tells that another process with this node's identity was met.
func (n *Node) Twin(addr string) {
	n.do(func(now int64) (Step, error) { return n.replica.Twin(now, addr) })
}

// SetAddrs says where this node listens.
func (n *Node) SetAddrs(addrs []string) {
	n.do(func(int64) (Step, error) { n.replica.machine.SetAddrs(addrs); return Step{}, nil })
}

// Vector returns a copy of the vector of what the node has applied; the newest
// of it may not be durable yet.
func (n *Node) Vector() *clock.Vector {
	n.turn.Lock()
	defer n.turn.Unlock()
	return n.replica.log.Vector().Clone()
}

// Resumable returns the lane that the node writes now, nil before its first
// write.
func (n *Node) Resumable() *Resume {
	n.turn.Lock()
	defer n.turn.Unlock()
	return n.replica.Resumable()
}
