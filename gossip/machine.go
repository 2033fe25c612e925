// Package gossip decides who is told what: what to announce, what to ask for,
// what to send. It is a pure state machine. Calls bring in what happened and
// the time; effects, collected until Effects takes them, say what is to be
// done. It has no sockets, goroutines or timers.
//
// # Protocol
//
// Two replicas talk over a Session, an ordered reliable stream of messages in
// each direction. The first message each way is hello. Then a ladder, each rung
// taken only where the one before shows a difference:
//
//  1. root: a digest of the vector and one of the state. Equal: done.
//  2. have: the lanes whose heads changed since the vector that the peer is
//     known to know, else (need-full) all of them.
//  3. pull: the side that lacks entries asks, the other streams chunks in its
//     own order of application, which extends causality, a window at a time.
//     Where it has dropped what is asked for it serves its state instead (state
//     messages, which package compaction owns).
//  4. equal roots and unequal digests, where a lane was forked and closed:
//     join, the intersection of two states at equal vectors.
//
// Heads that contradict each other show a fork; hash asks halve the range until
// the first differing entry is found, and the two signed chains from there are
// the proof that closes the lane everywhere.
//
// At most one pull runs at a time: what one peer sends, another need not. New
// entries do not come this way but by publication; this repairs what that lost.
package gossip

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// A SessionID names a session for as long as it lasts.
type SessionID uint64

// A Replica is what the machine must know of the replica it speaks for.
type Replica interface {
	// Digest is the digest of the state.
	Digest() digest.Sum
	// Owns reports whether the replica is writing to the lane.
	Owns(clock.LaneID) bool
	// Wrote reports whether the lane is one that this replica's author opened.
	Wrote(clock.LaneID) bool
	// Buckets digests the state in n buckets, and Marks lists the survivors of
	// those that are wanted, in rising order: a survivor is in the bucket that
	// its sum says. Each reads the state once.
	Buckets(n uint64) ([]uint64, error)
	Marks(n uint64, wanted []uint64) ([]Bucket, error)
	// Survivors counts the state.
	Survivors() uint64
	// WantsEntries says that entries are to be pulled even where the state
	// would cost less.
	WantsEntries() bool
}

// An Effect is one thing to be done. They are to be done in order, and only
// when all that the replica wrote before is durable.
type Effect interface{ effect() }

// The effects.
type (
	// Send hands a message to a session.
	Send struct {
		To      SessionID
		Message []byte
	}
	// Drop ends a session. Reason says what the peer did; Penalize that it was
	// against the protocol.
	Drop struct {
		Session  SessionID
		Reason   error
		Penalize bool
	}
	// Learn says where peers listen.
	Learn struct{ Addrs []string }
	// Raise tells a person.
	Raise struct{ Kind, Text, Hint string }
)

func (Send) effect()  {}
func (Drop) effect()  {}
func (Learn) effect() {}
func (Raise) effect() {}

// A Task is what a message asks the replica to do with its log or state; the
// machine itself changes neither.
type Task interface{ task() }

// The tasks.
type (
	// Admit asks to admit a chunk. The outcome goes to Machine.Admitted.
	Admit struct {
		From  SessionID
		Chunk *Chunk
	}
	// CloseLane asks to close a lane by a proof that is not yet verified. The
	// outcome goes to Machine.ProofTaken.
	CloseLane struct {
		From  SessionID
		Proof *oplog.Proof
	}
	// Retire says that a peer holds more of a lane that this replica writes to:
	// it must go on in a new incarnation.
	Retire struct{ Lane clock.LaneID }
	// Intersect asks to remove from some buckets of the state, of Count in all,
	// the survivors that the peer, at an equal root, does not have.
	Intersect struct {
		Peer   string
		Count  uint64
		Theirs []Bucket
	}
	// Serve asks to serve the state to a peer with this vector. The answers go
	// out by SendState.
	Serve struct {
		From   SessionID
		Peer   string
		Pull   uint64
		Theirs *clock.Vector
	}
	// State is a message about a state that is served, here or there. Ours says
	// that this replica is the one that pulls.
	State struct {
		From    SessionID
		Peer    string
		Pull    uint64
		Ours    bool
		Payload []byte
	}
)

func (Admit) task()     {}
func (CloseLane) task() {}
func (Retire) task()    {}
func (Intersect) task() {}
func (Serve) task()     {}
func (State) task()     {}

// Config says how a machine stands in the world.
type Config struct {
	// Instance is random for each process; it tells two processes with one
	// identity apart.
	Instance [16]byte
	// Node is the own transport identity.
	Node string
	// Rand spreads periodic messages; it is seeded by whoever drives.
	Rand *rand.Rand
}

// A Machine is the protocol of one replica with all its peers. It has one
// owner.
type Machine struct {
	cfg      Config
	log      *oplog.Log
	replica  Replica
	sessions map[SessionID]*session
	order    []*session // those of sessions by id
	dropped  int        // how many of them are being ended

	// addrs are the own listen addresses, told in hello.
	addrs []string

	// memory holds what was agreed with peers whose sessions ended, by
	// instance, so that the next session begins where the last one stopped.
	// remembered lists the instances, the oldest first.
	memory     map[[16]byte]*agreed
	remembered [][16]byte

	// pulling is the session that a pull runs on, 0 for none.
	pulling SessionID
	pullID  uint64

	// running names the pull that runs, for Prepare; it may be one that ended with
	// its session.
	running atomic.Pointer[pullName]

	// gapSince is when peers were last asked for causes that entries wait for,
	// or when the wait began; 0 while none waits. gapWait is how long until they
	// are asked again: it grows while that does not help.
	gapSince, gapWait int64

	probedAll int64 // when ProbeAll last asked

	// linksDue is when the peers are to be told of each other, 0 for not at all,
	// and linksTold that they have been. covered is what Covered returns.
	linksDue  int64
	linksTold bool
	covered   map[string]bool
	covers    uint64 // the version of covered

	// now is the machine's own time, which never goes back, and wall what the
	// caller's clock said last: a clock that is set back must not make what is
	// due wait until it has caught up.
	now, wall int64

	effects []Effect
}

// agreed is what two replicas know of each other's vectors.
type agreed struct {
	// theirs is the peer's vector as far as known, and told is ours as the peer
	// knows it for sure: the next have says what changed since.
	theirs, told clock.Vector

	// base and equal are the roots that the peer's next have may build on: of
	// its vector after its last one, and when it last was equal to ours. The
	// changes replace heads, so they lead from either to the same.
	base, equal digest.Sum
}

// session is the state of one stream.
type session struct {
	id       SessionID
	node     string
	addr     string
	addrs    []string // where it says it listens
	instance [16]byte
	greeted  bool
	outbound bool

	// dropped says that the session is being ended: nothing of it counts.
	dropped bool

	agreed
	skipHave bool // pages of a have whose base we did not know
	// had says that a have was sent on this session. The first one is sent even
	// where nothing changed since told: the last session may have lost it.
	had bool

	root, digest digest.Sum // as last told by the peer
	rooted       bool
	synced       bool   // roots and digests were equal at the last comparison
	wasSynced    bool   // roots were equal at some comparison
	asked, nonce uint64 // the newest nonce sent, and the newest answered
	lastSeen     int64
	rootSent     digest.Sum
	rootAt       int64 // when we last sent a root
	lackSince    int64

	// pulled is the id of the last pull: who was asked longest ago is next.
	// After fails pulls that came to nothing the peer is left alone until
	// retryAt.
	pulled  uint64
	fails   uint
	unlike  int // pulls in a row whose entries contradicted ours
	retryAt int64

	// suspect says that a head of the peer contradicted ours, which is to be
	// looked at again until the roots are equal.
	suspect bool

	// rival says that another process with the same identity has come. This
	// one may be a session that nobody has noticed the end of.
	rival bool

	proofsTold map[clock.LaneID]uint64
	pull       *pull
	serve      *serve
	probe      *probe
	link       link          // what stands for it
	links      map[link]bool // whom it has sessions with, as it says
	joinedRoot digest.Sum    // the root at which a join was last begun
	alarmed    bool
}

// pull is our request for entries on a session.
type pull struct {
	id         uint64
	progressAt int64
	chunks     int  // taken so far
	state      bool // the peer serves its state

	// told is our vector as the peer knew it when it was asked.
	told *clock.Vector
}

// New returns a machine for a replica's log.
func New(cfg Config, log *oplog.Log, r Replica) *Machine {
	return &Machine{
		cfg: cfg, log: log, replica: r,
		sessions: make(map[SessionID]*session),
		memory:   make(map[[16]byte]*agreed),
		gapWait:  gapMillis,
	}
}

// advance moves the machine's time on as far as the caller's clock went.
func (m *Machine) advance(wall int64) {
	m.now += max(wall-m.wall, 0)
	m.wall = wall
}

// Effects returns what is to be done since the last call.
func (m *Machine) Effects() []Effect {
	e := m.effects
	m.effects = nil
	return e
}

func (m *Machine) send(s *session, b []byte) {
	m.effects = append(m.effects, Send{s.id, b})
}

func (m *Machine) drop(s *session, reason error, penalize bool) {
	if s.dropped {
		return
	}
	s.dropped = true
	m.dropped++
	m.effects = append(m.effects, Drop{s.id, reason, penalize})
	m.endPull(s)
	s.serve, s.probe = nil, nil
	m.pullNext()
}

func (m *Machine) raise(kind, hint, format string, args ...any) {
	m.effects = append(m.effects, Raise{Kind: kind, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// SetAddrs says where this replica listens.
func (m *Machine) SetAddrs(addrs []string) {
	m.addrs = slices.Clone(addrs[:min(len(addrs), maxAddrs)])
}

// Opened tells that a session to a peer stands.
func (m *Machine) Opened(now int64, id SessionID, node, addr string, outbound bool) {
	m.advance(now)
	s := &session{id: id, node: node, link: linkOf(node), addr: addr, outbound: outbound, lastSeen: now, proofsTold: make(map[clock.LaneID]uint64)}
	m.forget(id)
	m.sessions[id] = s
	at, _ := slices.BinarySearchFunc(m.order, s, bySession)
	m.order = slices.Insert(m.order, at, s)
	h := hello{Protocol: Protocol, Instance: m.cfg.Instance, Addrs: m.addrs}
	m.send(s, h.append())
	m.sendRoot(s, 0, true)
}

// Closed tells that a session has ended.
func (m *Machine) Closed(now int64, id SessionID) {
	m.advance(now)
	s := m.sessions[id]
	if s == nil {
		return
	}
	m.forget(id)
	if s.greeted {
		m.relinked()
		if !s.dropped {
			m.remember(s)
		}
	}
	if m.pulling == id {
		m.pulling = 0
		m.pullNext()
	}
}

// remember keeps what was agreed on a session that has ended.
func (m *Machine) remember(s *session) {
	if m.memory[s.instance] == nil {
		if len(m.remembered) == maxRemembered {
			delete(m.memory, m.remembered[0]) // costs a full vector, no more
			m.remembered = slices.Delete(m.remembered, 0, 1)
		}
		m.remembered = append(m.remembered, s.instance)
	}
	m.memory[s.instance] = &s.agreed
}

// recall goes on with what was agreed with a process before.
func (m *Machine) recall(s *session) {
	a := m.memory[s.instance]
	if a == nil {
		return
	}
	s.agreed = *a
	delete(m.memory, s.instance)
	m.remembered = slices.DeleteFunc(m.remembered, func(i [16]byte) bool { return i == s.instance })
}

func (m *Machine) forget(id SessionID) {
	if s := m.sessions[id]; s != nil && s.dropped {
		m.dropped--
	}
	delete(m.sessions, id)
	m.order = slices.DeleteFunc(m.order, func(s *session) bool { return s.id == id })
}

func bySession(a, b *session) int { return cmp.Compare(a.id, b.id) }

func isDropped(s *session) bool { return s.dropped }

// ordered returns the sessions that count in the order of their ids.
func (m *Machine) ordered() []*session {
	if m.dropped == 0 {
		return m.order
	}
	return slices.DeleteFunc(slices.Clone(m.order), isDropped)
}

// Receive takes in a message. It returns what the replica is to do about it.
func (m *Machine) Receive(now int64, id SessionID, msg Message) []Task {
	m.advance(now)
	s := m.sessions[id]
	if s == nil || s.dropped {
		return nil // a message that was on its way when the session ended
	}
	s.lastSeen = now
	m.noteRival(s)
	tasks, err := m.receive(s, &msg)
	if err != nil {
		m.drop(s, err, errors.Is(err, delta.ErrMalformed))
		return nil
	}
	return tasks
}

func (m *Machine) receive(s *session, msg *Message) ([]Task, error) {
	b := msg.raw
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: empty message", delta.ErrMalformed)
	}
	k := kind(b[0])
	if !s.greeted && k != kindHello {
		return nil, fmt.Errorf("%w: %v before hello", delta.ErrMalformed, k)
	}
	r := &reader{b: b[1:]}
	tasks, err := m.dispatch(s, k, r, msg)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return nil, fmt.Errorf("%v message: %w", k, err)
	}
	return tasks, nil
}

func (m *Machine) dispatch(s *session, k kind, r *reader, msg *Message) ([]Task, error) {
	switch k {
	case kindHello:
		if h := r.hello(); r.err == nil {
			return nil, m.onHello(s, &h)
		}
	case kindRoot:
		if x := r.root(); r.err == nil {
			return nil, m.onRoot(s, &x)
		}
	case kindHave:
		if h := r.have(); r.err == nil {
			return m.onHave(s, &h)
		}
	case kindNeedFull:
		s.told = clock.Vector{}
		m.sendHave(s, true)
	case kindPull:
		id, how := r.uint(), r.take(1)[0]
		if how > pullState {
			r.fail("pull")
		}
		if r.err == nil {
			return m.onPull(s, id, how)
		}
	case kindState:
		return m.onState(s, r)
	case kindCredit:
		if id := r.uint(); r.err == nil {
			return nil, m.onCredit(s, id)
		}
	case kindChunk:
		id := r.uint()
		return m.onChunk(s, id, r, msg)
	case kindEnd:
		if id := r.uint(); r.err == nil {
			m.onEnd(s, id)
		}
	case kindAddrs:
		if a := r.texts(maxAddrs); r.err == nil {
			m.effects = append(m.effects, Learn{a})
		}
	case kindLinks:
		return nil, m.onLinks(s, r)
	case kindTwin:
		m.raiseTwin("peer " + s.node + " sees it")
	case kindHashAsk, kindHash, kindChainAsk, kindChain, kindProof:
		return m.dispatchFork(s, k, r)
	case kindJoin, kindJoinHave:
		return m.dispatchJoin(s, k, r)
	default:
		return nil, fmt.Errorf("%w: unknown message", delta.ErrMalformed)
	}
	return nil, r.err
}

func (m *Machine) onHello(s *session, h *hello) error {
	if s.greeted {
		return fmt.Errorf("%w: second hello", delta.ErrMalformed)
	}
	if h.Protocol != Protocol {
		return fmt.Errorf("peer speaks protocol %d, this program %d", h.Protocol, Protocol)
	}
	s.greeted, s.instance, s.addrs = true, h.Instance, h.Addrs
	m.recall(s)
	m.effects = append(m.effects, Learn{h.Addrs})
	m.checkTwins(s)
	m.spreadAddrs(s)
	m.relinked()
	return nil
}

// checkTwins looks for two processes with one identity. A session of the other
// one may be all that is left of a process that ended, so it is asked for a
// sign of life first.
func (m *Machine) checkTwins(s *session) {
	for _, o := range m.ordered() {
		if o != s && o.greeted && o.node == s.node && o.instance != s.instance {
			o.rival = true
			m.sendRoot(o, 0, true)
		}
	}
}

// noteRival raises an alarm where a session lives on after another process
// with its peer's identity came.
func (m *Machine) noteRival(s *session) {
	if !s.rival {
		return
	}
	s.rival = false
	for _, o := range m.ordered() {
		if o != s && o.greeted && o.node == s.node && o.instance != s.instance {
			m.raise("twin", "run `rhizome id rotate` on one of the two hosts",
				"two processes use the identity of peer %s", s.node)
			m.send(o, []byte{byte(kindTwin)})
			m.send(s, []byte{byte(kindTwin)})
		}
	}
}

// Twin tells that another process with this replica's own identity was met.
func (m *Machine) Twin(addr string) { m.raiseTwin("met at " + addr) }

func (m *Machine) raiseTwin(how string) {
	m.raise("twin", "a repo was copied: run `rhizome id rotate` on one of the two hosts",
		"another process uses this node's identity (%s)", how)
}

// spreadAddrs tells a new peer of the others, and the others of it, so that
// whoever joins through one node reaches all.
func (m *Machine) spreadAddrs(s *session) {
	var known []string
	for _, o := range m.ordered() {
		if o == s || !o.greeted || o.node == s.node {
			continue
		}
		if len(known)+len(o.addrs) <= maxAddrs {
			known = append(known, o.addrs...)
		}
		if len(s.addrs) > 0 {
			m.send(o, appendTexts([]byte{byte(kindAddrs)}, s.addrs))
		}
	}
	if len(known) > 0 {
		m.send(s, appendTexts([]byte{byte(kindAddrs)}, known))
	}
}

// Tick does what is due. It is to be called a few times a second.
func (m *Machine) Tick(now int64) {
	m.advance(now)
	gap := m.gapDue()
	mine := m.log.Root()
	for _, s := range m.ordered() {
		if !s.greeted {
			continue
		}
		idle := m.now-s.rootAt >= rootIdleMillis+int64(m.cfg.Rand.Uint64N(rootIdleMillis/4))
		changed := s.rootSent != mine && m.now-s.rootAt >= rootSoonMillis+int64(m.cfg.Rand.Uint64N(rootSoonMillis/2))
		if gap || idle || changed {
			m.sendRoot(s, 0, true)
		}
	}
	m.tellLinks()
	m.checkStall()
	m.checkProbes()
	m.pullNext()
}

// gapDue reports whether peers are to be asked for what entries wait for.
func (m *Machine) gapDue() bool {
	switch {
	case m.log.Pending.Len() == 0:
		m.gapSince, m.gapWait = 0, gapMillis
	case m.gapSince == 0:
		m.gapSince = max(m.now, 1)
	case m.now-m.gapSince >= m.gapWait:
		m.gapSince, m.gapWait = m.now, min(2*m.gapWait, rootIdleMillis)
		return true
	}
	return false
}

// Ask sends every peer a root whose answer, echoing the nonce, shows how it
// stands now. Fresh counts the answers.
func (m *Machine) Ask(now int64, nonce uint64) {
	m.advance(now)
	for _, s := range m.ordered() {
		if s.greeted {
			s.asked = nonce
			m.sendRoot(s, nonce, true)
		}
	}
}

// Fresh reports whether every session that was asked with the nonce, or a
// later one, and still stands has answered it.
func (m *Machine) Fresh(nonce uint64) bool {
	for _, s := range m.sessions {
		if !s.dropped && s.asked >= nonce && s.nonce < nonce {
			return false
		}
	}
	return true
}

// A Seen says up to which ordinal of our order of application a peer is known
// to hold everything.
type Seen struct {
	Node    string
	Ordinal uint64
}

// Seen returns, for the sessions, how much of the log the peers hold. A peer
// that lacks what is no longer in the log counts as having nothing, and so does
// one that says it has more of a lane than its author, who we are: what it has
// may not be ours.
func (m *Machine) Seen() ([]Seen, error) {
	var out []Seen
	for _, s := range m.ordered() {
		if !s.greeted {
			continue
		}
		x := Seen{Node: s.node}
		if s.rooted && s.root == m.log.Root() {
			x.Ordinal = m.log.Ordinal()
		} else if s.theirs.Len() > 0 && !m.log.Below(&s.theirs) && !m.strange(s) {
			first, err := m.firstMissing(&s.theirs)
			if err != nil {
				return nil, err
			}
			x.Ordinal = first - 1
		}
		out = append(out, x)
	}
	return out, nil
}

// strange reports whether a peer has more of a lane of ours than we.
func (m *Machine) strange(s *session) bool {
	for _, c := range s.theirs.Changes(m.log.Vector()) {
		if m.replica.Wrote(c.Lane) && c.Head.Seq > m.log.Vector().Seq(c.Lane) {
			return true
		}
	}
	return false
}

// Met reports whether there is a session to a peer, or was one.
func (m *Machine) Met() bool { return len(m.sessions) > 0 || len(m.memory) > 0 }

// Held returns the seq up to which some peer is known to hold a lane as we have
// it: with the same hash. Below the floor that is no longer known.
func (m *Machine) Held(l clock.LaneID) (seq uint64) {
	note := func(theirs clock.Head) {
		if theirs.Seq <= seq {
			return
		}
		if h, err := m.log.HashAt(clock.EntryID{Lane: l, Seq: theirs.Seq}); err == nil && h == theirs.Hash {
			seq = theirs.Seq
		}
	}
	for _, s := range m.sessions {
		note(s.theirs.Head(l))
	}
	for _, a := range m.memory {
		note(a.theirs.Head(l))
	}
	return seq
}

// A PeerState is how one session stands.
type PeerState struct {
	Session       SessionID
	Node, Addr    string
	Addrs         []string
	Converged     bool
	MissingHere   uint64
	MissingThere  uint64
	LastSeenMilli int64
}

// Peers returns how the sessions stand.
func (m *Machine) Peers() []PeerState {
	var out []PeerState
	for _, s := range m.ordered() {
		p := PeerState{
			Session: s.id, Node: s.node, Addr: s.addr, Addrs: s.addrs, LastSeenMilli: s.lastSeen,
			Converged: s.rooted && s.root == m.log.Root() && s.digest == m.replica.Digest(),
		}
		if !p.Converged {
			p.MissingHere = m.lacking(s)
			p.MissingThere = s.theirs.Missing(m.log.Vector())
		}
		out = append(out, p)
	}
	return out
}
