// Package node composes the core into a replica and drives it.
//
// A Replica is the pure composition of log, merge kernel and protocol over a
// storage.DB: calls bring in what happened and the wall time, and each returns
// a Step that says what to do once what it wrote is durable. It has no
// goroutine, timer, clock or global randomness, so that the simulator and
// production run the same one.
//
// A Node is the driver: it gives a Replica real time, transport and disk, one
// call at a time, and lets a Step's effects out only when its commit is durable.
// Concurrent writers share an entry: one of them leads, and writes for all that
// queued meanwhile. Reads wait for none of it; they read the store.
//
// # Keys
//
// Behind the space's prefix, besides those of package oplog:
//
//	's' | row key                                    ->  survivors (merge.AppendRow)
//	'r' | name(target) | row key                     ->  nothing: the row refers to the target
//	'd' | era | row key | dot                        ->  killer, dead survivor
//	'k' | era | scope's length (2) | scope | killer  ->  kept kill
//	'h'                                              ->  eras
//	'c' | number                                     ->  checkpoint
//	'g' | row key | dot                              ->  survivor of a peer's state on its way
//	'w' | peer                                       ->  ordinal up to which it holds all
//	'm'                                              ->  digest, survivors, clock
package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/internal/plant"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A ReplicaConfig says what a replica stands on. All fields but Verify and
// Resume are required.
type ReplicaConfig struct {
	DB     storage.DB
	Prefix []byte // of the space's keys
	Space  clock.Hash
	Key    ed25519.PrivateKey // the author's
	// Random is where incarnations come from; 16 bytes are read for each.
	Random io.Reader
	// Spread is used to spread periodic messages.
	Spread *rand.Rand
	// Verify verifies signatures that sessions bring; nil is delta.Verify. A
	// simulation shares what it found out among its replicas.
	Verify delta.Verifier
	// Resume is the lane to go on with after a proven clean close; nil opens a
	// new one at the first write.
	Resume *Resume
	// Node and Instance are the transport's identity and this process's.
	Node     string
	Instance [16]byte
	// Retention says what compaction drops by itself.
	Retention compaction.Policy
	// Peers says that peers are known, though none may have been met.
	Peers bool
	// Compile makes resolvers of what the log carries; nil takes every expression
	// for one that can be compiled.
	Compile catalog.Compiler
}

// A Resume is the lane that a cleanly closed replica wrote, and its head.
type Resume struct {
	Key  delta.LaneKey
	Head clock.Head
}

// A Replica is one space's log, state and protocol. It has one owner.
type Replica struct {
	cfg     ReplicaConfig
	db      storage.DB
	log     *oplog.Log
	state   *state
	fold    merge.Fold
	hlc     clock.HLC
	machine *gossip.Machine
	author  delta.Author

	guard guard

	// signer writes the current lane; nil until the first write opens one.
	signer *delta.Signer
	// lane is the key of the current lane.
	lane delta.LaneKey
	// began says from where on this process wrote to which lanes.
	began map[clock.LaneID]uint64

	now       int64
	batch     storage.Batch
	flattener delta.Flattener
	// beside is the driver's: it runs a function beside the owner and returns how
	// to wait for it. Nil in a simulation. settled waits for the digest that is
	// being summed so, if one is.
	beside  func(f func()) (wait func())
	settled func()
	step    Step
	// skewed remembers the authors whose clocks raised an alarm.
	skewed map[delta.Author]bool
	// doubted remembers the lanes that a dep's hash had peers asked about.
	doubted map[clock.LaneID]bool
	// checkpoints is the number of the newest one, and undone one whose entries
	// are still to be dropped. compactAt is when the policy is asked next.
	checkpoints uint64
	undone      *compaction.Checkpoint
	compactAt   int64
	// seen is, for each peer, the ordinal up to which it is known to hold all.
	// newSeen are the peers of which that is not on disk yet.
	seen    map[string]uint64
	newSeen map[string]bool
	// serving are the states that are served, and adopt the one that is pulled.
	serving map[gossip.SessionID]*served
	adopt   *adoption
	// stagedSince is since when staged rows belong to no adoption, as far as was
	// looked.
	stagedSince int64
	// inspecting is a comparison with a peer that was asked for.
	inspecting *inspection
	// pageBytes is pageBytes, or less in tests.
	pageBytes int
	// states counts the states served whole and those adopted.
	states struct{ served, adopted uint64 }
	// proofs are fork proofs that this step has come upon and not yet used.
	proofs []*oplog.Proof
}

// A Step is what a call led to.
type Step struct {
	// Commit is nil where nothing was written. All else in the step waits for
	// it, and for the commits of the steps before.
	Commit  storage.Commit
	Effects []gossip.Effect
	// Publish are messages for the space's topic.
	Publish [][]byte
	// Results are those of the requests of a Write, in order.
	Results []Result
	// Jobs are to be run; they need not wait for the commit.
	Jobs []Job
}

// OpenReplica opens a space in a store.
func OpenReplica(cfg ReplicaConfig) (*Replica, error) {
	log, err := oplog.Open(cfg.DB, cfg.Prefix, cfg.Space)
	if err != nil {
		return nil, err
	}
	log.Verifier = cfg.Verify
	r := &Replica{
		cfg: cfg, db: cfg.DB, log: log, pageBytes: pageBytes,
		author: delta.Author(cfg.Key.Public().(ed25519.PublicKey)),
		skewed: make(map[delta.Author]bool), doubted: make(map[clock.LaneID]bool),
		began: make(map[clock.LaneID]uint64), seen: make(map[string]uint64), newSeen: make(map[string]bool), serving: make(map[gossip.SessionID]*served),
	}
	r.state = newState(cfg.DB, log.Prefix(), log.Lanes, log.Ordinal() == 0)
	r.fold.State, r.fold.Late = r.state, true
	b, err := cfg.DB.Get(r.state.key(kindMeta, nil))
	switch {
	case err == nil:
		m, err := parseMeta(b)
		if err != nil {
			return nil, err
		}
		r.fold.Tally = m.tally
		r.hlc.Observe(m.time, m.time.Millis())
	case !errors.Is(err, storage.ErrNotFound):
		return nil, fmt.Errorf("open replica: %w", err)
	case log.Ordinal() > 0:
		return nil, fmt.Errorf("open replica: log without state: %w", storage.ErrCorrupt)
	}
	for _, open := range []func() error{r.openEras, r.openSeen, r.openCheckpoints} {
		if err := open(); err != nil {
			return nil, fmt.Errorf("open replica: %w", err)
		}
	}
	r.resume()
	r.machine = gossip.New(gossip.Config{Instance: cfg.Instance, Node: cfg.Node, Rand: cfg.Spread}, log, r)
	return r, nil
}

// resume goes on with the lane of the last clean close, if it is still what it
// was then.
func (r *Replica) resume() {
	p := r.cfg.Resume
	if plant.Is(plant.ReuseLane) && p == nil {
		p = r.lastLane()
	}
	if p == nil || p.Key.Author != r.author {
		return
	}
	id := p.Key.ID(r.cfg.Space)
	_, closed := r.log.ClosedAt(id)
	if key, ok := r.log.Lanes.Key(id); !ok || key != p.Key || closed || r.log.Vector().Head(id) != p.Head {
		return
	}
	r.lane = p.Key
	r.began[id] = p.Head.Seq + 1
	r.signer = &delta.Signer{Space: r.cfg.Space, Lane: id, Key: r.cfg.Key}
}

// lastLane returns the lane that this author wrote last, as far as the log
// knows: nothing to go on with, after a crash.
func (r *Replica) lastLane() (p *Resume) {
	for n := uint32(1); ; n++ {
		id, ok := r.log.Lanes.Lane(n)
		if !ok {
			return p
		}
		if key, _ := r.log.Lanes.Key(id); key.Author == r.author {
			p = &Resume{Key: key, Head: r.log.Vector().Head(id)}
		}
	}
}

// Resumable returns what a next process needs to go on with the current lane;
// nil where none was opened.
func (r *Replica) Resumable() *Resume {
	if r.signer == nil {
		return nil
	}
	return &Resume{Key: r.lane, Head: r.log.Vector().Head(r.signer.Lane)}
}

// States returns how many states were served to peers whole, and how many were
// adopted from peers, since the replica was opened.
func (r *Replica) States() (served, adopted uint64) { return r.states.served, r.states.adopted }

// Log returns the replica's log, for reading between calls.
func (r *Replica) Log() *oplog.Log { return r.log }

// Machine returns the replica's protocol, for asking how peers stand.
func (r *Replica) Machine() *gossip.Machine { return r.machine }

// Digest implements gossip.Replica: the digest of the state.
func (r *Replica) Digest() digest.Sum { return r.tally().Digest }

// Survivors implements gossip.Replica.
func (r *Replica) Survivors() uint64 { return r.fold.Tally.Rows }

// WantsEntries implements gossip.Replica.
func (r *Replica) WantsEntries() bool { return r.cfg.Retention.Mode == compaction.Archive }

// Wrote implements gossip.Replica.
func (r *Replica) Wrote(l clock.LaneID) bool {
	key, ok := r.log.Lanes.Key(l)
	return ok && key.Author == r.author
}

// Owns implements gossip.Replica.
func (r *Replica) Owns(l clock.LaneID) bool { return r.signer != nil && r.signer.Lane == l }

// begin starts a step.
func (r *Replica) begin(nowMillis int64) {
	r.now = nowMillis
	r.step = Step{}
	r.proofs = nil
	if r.batch == nil || r.batch.Bytes() > 0 { // else the last step wrote nothing
		r.batch = r.db.NewBatch()
	}
}

// end makes what the step wrote visible and returns it.
func (r *Replica) end() (Step, error) {
	for len(r.proofs) > 0 { // a closing may come upon another fork
		p := r.proofs[0]
		r.proofs = r.proofs[1:]
		if err := r.closeLane(0, p); err != nil {
			return Step{}, err
		}
	}
	if err := r.apply(); err != nil {
		return Step{}, err
	}
	r.step.Effects = append(r.step.Effects, r.machine.Effects()...)
	return r.step, nil
}

// apply makes what was written so far visible, so that the protocol reads it.
// Commits become durable in order, and so the last one of a step stands for all.
func (r *Replica) apply() error {
	r.settle()
	r.state.flush(r.batch)
	r.log.Flush(r.batch, r.now)
	m := meta{r.tally(), r.hlc.Last()}
	if r.batch.Bytes() == 0 {
		return nil
	}
	r.batch.Set(r.state.key(kindMeta, nil), m.append(nil))
	c, err := r.db.Apply(r.batch)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if !plant.Is(plant.AckEarly) {
		r.step.Commit = c
	}
	r.batch = r.db.NewBatch()
	return nil
}

// settleBeside is from how many sums on another core is worth waking for them.
const settleBeside = 128

// settle begins to bring the digest up to date, beside what comes next. Nothing may
// be folded until tally was asked for.
func (r *Replica) settle() {
	switch {
	case r.settled != nil || r.fold.Due() == 0:
	case r.fold.Due() < settleBeside || r.beside == nil:
		r.fold.Settle()
	default:
		r.settled = r.beside(r.fold.Settle)
	}
}

// tally returns the state's tally, up to date.
func (r *Replica) tally() merge.Tally {
	r.settle()
	if r.settled != nil {
		r.settled()
		r.settled = nil
	}
	return r.fold.Tally
}

func (r *Replica) raise(kind, text, hint string) {
	r.step.Effects = append(r.step.Effects, gossip.Raise{Kind: kind, Text: text, Hint: hint})
}

// admit takes in a verified entry, and with it what waited for it.
func (r *Replica) admit(e *delta.Entry) error { return r.admitAll([]*delta.Entry{e}) }

// admitAll takes in entries one after the other, each behind what it frees.
func (r *Replica) admitAll(queue []*delta.Entry) error {
	for len(queue) > 0 {
		e := queue[0]
		queue = queue[1:]
		if _, err := r.admitOne(e, &queue); err != nil {
			return err
		}
	}
	return nil
}

// admitOne takes in one entry and adds what waited for it to freed.
func (r *Replica) admitOne(e *delta.Entry, freed *[]*delta.Entry) (oplog.Verdict, error) {
	v, missing, err := r.log.Check(e)
	if err != nil {
		return v, err
	}
	switch v {
	case oplog.Gap:
		key, _ := r.log.Lanes.Key(e.Lane)
		r.log.Pending.Add(e, key.Author, missing)
	case oplog.Ready:
		if err := r.take(e); err != nil {
			return v, err
		}
		*freed = append(*freed, r.log.Pending.Release(e.ID())...)
	case oplog.Forked:
		return v, r.forked(e)
	}
	return v, nil
}

// take appends an admitted entry and folds it.
func (r *Replica) take(e *delta.Entry) error {
	if r.Owns(e.Lane) {
		r.retire(e.Lane) // somebody else writes it, or did
	}
	if !r.hlc.Observe(e.Time, r.now) {
		r.skew(e)
	}
	r.compareDeps(e)
	if err := r.log.Append(r.batch, e); err != nil {
		return err
	}
	return r.fold.Apply(e)
}

// compareDeps looks whether an entry's author held another branch of a lane
// than we do: a dep's hash is evidence of a fork, never a condition. Peers then
// find where the branches part.
func (r *Replica) compareDeps(e *delta.Entry) {
	for i := range e.Body.Deps {
		d := &e.Body.Deps[i]
		head := r.log.Vector().Head(d.Lane)
		if head.Seq != d.Seq || d.Hash == [16]byte(head.Hash[:16]) || r.doubted[d.Lane] {
			continue
		}
		if _, closed := r.log.ClosedAt(d.Lane); !closed {
			r.doubted[d.Lane] = true
			r.machine.ProbeAll(r.now)
		}
	}
}

// maxSkewed bounds the authors that are remembered for a wrong clock.
const maxSkewed = 1024

func (r *Replica) skew(e *delta.Entry) {
	key, _ := r.log.Lanes.Key(e.Lane)
	if r.skewed[key.Author] {
		return
	}
	if len(r.skewed) >= maxSkewed {
		clear(r.skewed)
	}
	r.skewed[key.Author] = true
	r.raise("clock-skew", fmt.Sprintf("author %v dates an entry %s, more than 5 minutes ahead of this host's clock",
		key.Author, e.Time.Time().Format("2006-01-02T15:04:05Z07:00")), "set the clocks of both hosts by NTP")
}

// forked handles a signed entry that contradicts what is held.
func (r *Replica) forked(e *delta.Entry) error {
	if e.Seq > r.log.Vector().Seq(e.Lane) || len(e.Sig) == 0 {
		r.machine.ProbeAll(r.now) // the fork lies further down: peers know where
		return nil
	}
	before, err := r.log.HashAt(clock.EntryID{Lane: e.Lane, Seq: e.Seq - 1})
	if errors.Is(err, oplog.ErrNotFound) {
		r.machine.ProbeAll(r.now) // it forked at the floor: what lies before was dropped
		return nil
	}
	if err != nil {
		return err
	}
	p, err := r.log.ProofAgainst(oplog.Chain{Headers: []delta.Header{e.Header}, Sig: e.Sig})
	if err != nil || before != e.Prev {
		r.machine.ProbeAll(r.now)
		return nil
	}
	r.proofs = append(r.proofs, p)
	return nil
}

// Published takes in verified entries that came by publication.
func (r *Replica) Published(nowMillis int64, entries []gossip.Published) (Step, error) {
	r.begin(nowMillis)
	for i := range entries {
		r.log.AddLane(entries[i].Key)
		if err := r.admit(entries[i].Entry); err != nil {
			return Step{}, err
		}
	}
	return r.end()
}

// Opened tells that a session to a peer stands.
func (r *Replica) Opened(nowMillis int64, id gossip.SessionID, peer, addr string, outbound bool) (Step, error) {
	r.begin(nowMillis)
	r.machine.Opened(nowMillis, id, peer, addr, outbound)
	return r.end()
}

// Closed tells that a session has ended.
func (r *Replica) Closed(nowMillis int64, id gossip.SessionID) (Step, error) {
	r.begin(nowMillis)
	if err := r.lookSeen(); err != nil {
		return Step{}, err
	}
	r.machine.Closed(nowMillis, id)
	r.release(id)
	r.adoptTick()
	return r.end()
}

// Tick does what is due.
func (r *Replica) Tick(nowMillis int64) (Step, error) {
	r.begin(nowMillis)
	if r.log.Pending.Len() > 0 {
		r.log.Pending.Sweep(r.log.Vector().Covers)
	}
	r.machine.Tick(nowMillis)
	r.serveTick()
	r.adoptTick()
	if err := r.compactTick(); err != nil {
		return Step{}, err
	}
	return r.end()
}

// Ask asks every peer how it stands; Machine().Fresh tells when all answered.
func (r *Replica) Ask(nowMillis int64, nonce uint64) (Step, error) {
	r.begin(nowMillis)
	r.machine.Ask(nowMillis, nonce)
	return r.end()
}

// Twin tells that another process with the same identity was met.
func (r *Replica) Twin(nowMillis int64, addr string) (Step, error) {
	r.begin(nowMillis)
	r.machine.Twin(addr)
	return r.end()
}

// Receive takes in a message of a session.
func (r *Replica) Receive(nowMillis int64, id gossip.SessionID, message []byte) (Step, error) {
	return r.ReceivePrepared(nowMillis, id, r.Prepare(id, message))
}

// Prepare does the work on a message of a session that needs no state. Unlike the
// other methods it may be called at any time, from anywhere.
func (r *Replica) Prepare(id gossip.SessionID, message []byte) gossip.Message {
	return r.machine.Prepare(id, message)
}

// ReceivePrepared is Receive for a message that has been prepared.
func (r *Replica) ReceivePrepared(nowMillis int64, id gossip.SessionID, message gossip.Message) (Step, error) {
	r.begin(nowMillis)
	for _, t := range r.machine.Receive(nowMillis, id, message) {
		if err := r.do(t); err != nil {
			return Step{}, err
		}
	}
	return r.end()
}

func (r *Replica) do(t gossip.Task) error {
	switch t := t.(type) {
	case gossip.Admit:
		fresh, err := r.admitChunk(t.Chunk)
		if err != nil && !errors.Is(err, errRefused) {
			return err
		}
		if err := r.apply(); err != nil {
			return err
		}
		r.machine.Admitted(t.From, fresh, err)
	case gossip.CloseLane:
		return r.closeLane(t.From, t.Proof)
	case gossip.Retire:
		r.retire(t.Lane)
	case gossip.Intersect:
		return r.intersect(t)
	case gossip.Serve:
		return r.serve(t)
	case gossip.State:
		return r.onState(t)
	}
	return nil
}

// errRefused marks errors that are the chunk's, not ours.
var errRefused = errors.New("chunk refused")

// admitChunk admits the entries of a chunk, which extend causality, and says
// how many were new. What waited for them follows when all are in: the chunk's
// last signatures vouch for all of it, and so it must lie in the log in one
// piece, to be served again.
func (r *Replica) admitChunk(c *gossip.Chunk) (fresh int, err error) {
	entries, err := c.Open(r.log)
	if err != nil {
		if errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrFailed) {
			return 0, err
		}
		return 0, fmt.Errorf("%w: %w", errRefused, err)
	}
	for i := range c.Lanes {
		r.log.AddLane(c.Lanes[i].Key)
	}
	var freed []*delta.Entry
	for _, e := range entries {
		v, err := r.admitOne(e, &freed)
		if err != nil {
			return fresh, err
		}
		switch v {
		case oplog.Ready:
			fresh++
		case oplog.Gap:
			return fresh, fmt.Errorf("%w: %v came before its causes", errRefused, e.ID())
		case oplog.Closed:
			r.log.Keep(r.batch, e)
		}
	}
	return fresh, r.admitAll(freed)
}
