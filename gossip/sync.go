package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/oplog"
)

func (m *Machine) sendRoot(s *session, nonce uint64, ask bool) {
	x := root{Root: m.log.Root(), Digest: m.replica.Digest(), Nonce: nonce, Ask: ask}
	s.rootSent, s.rootAt = x.Root, m.now
	m.send(s, x.append())
}

// onRoot compares two replicas. The answer to a root goes last, behind the
// vector where that differs, so that whoever waits for it knows all when it
// comes.
func (m *Machine) onRoot(s *session, x *root) error {
	s.root, s.digest, s.rooted = x.Root, x.Digest, true
	if mine := m.log.Root(); x.Root != mine && m.log.RootOf(&s.theirs) == mine {
		// One vector, two roots: a third host has the other branch of a closed
		// lane, and the peer has found out there what we would never ask it.
		m.log.SettleAs(&s.theirs, x.Root)
	}
	same := x.Root == m.log.Root()
	s.synced = same && x.Digest == m.replica.Digest()
	if same {
		follow(&s.theirs, m.log.Vector())
		s.equal = m.log.Vector().Root()
		if !x.Ask && s.rootSent == x.Root {
			follow(&s.told, m.log.Vector()) // it has seen that we are equal
		}
		s.lackSince, s.fails, s.retryAt = 0, 0, 0
		s.wasSynced, s.suspect = true, false
	} else if err := m.differ(s); err != nil {
		return err
	}
	if x.Ask {
		m.sendRoot(s, x.Nonce, false)
	} else if x.Nonce > s.nonce {
		s.nonce = x.Nonce
	}
	if same && !s.synced {
		return m.diverged(s)
	}
	return nil
}

// differ goes on to the next rung with a peer whose root is not ours.
func (m *Machine) differ(s *session) error {
	if err := m.sendProofs(s); err != nil {
		return err
	}
	m.sendHave(s, !s.had)
	if err := m.suspectAgain(s); err != nil {
		return err
	}
	m.noteLack(s)
	m.pullNext()
	return nil
}

// follow makes v equal to o.
func follow(v, o *clock.Vector) {
	if v.Root() == o.Root() {
		return
	}
	*v = *o.Clone()
}

// sendHave sends the changes of our vector since what the peer knows; nothing
// where there are none, unless forced.
func (m *Machine) sendHave(s *session, force bool) {
	mine := m.log.Vector()
	changes := mine.Changes(&s.told)
	if len(changes) == 0 && !force {
		return
	}
	s.had = true
	base := s.told.Root()
	s.told = *mine.Clone()
	for first := true; first || len(changes) > 0; first = false {
		n := min(len(changes), headsPerPage)
		h := have{Base: base, First: first, Last: n == len(changes), Heads: changes[:n]}
		m.send(s, h.append())
		changes = changes[n:]
	}
}

func (m *Machine) onHave(s *session, h *have) ([]Task, error) {
	if h.First {
		s.skipHave = h.Base != s.base && h.Base != s.equal
		if h.Base == (digest.Sum{}) { // all of it
			s.theirs, s.skipHave = clock.Vector{}, false
		}
		if s.skipHave {
			m.send(s, []byte{byte(kindNeedFull)})
		}
	}
	if s.skipHave {
		return nil, nil
	}
	var tasks []Task
	for _, lh := range h.Heads {
		s.theirs.Set(lh.Lane, lh.Head)
		if m.replica.Owns(lh.Lane) && lh.Head.Seq > m.log.Vector().Seq(lh.Lane) {
			tasks = append(tasks, Retire{lh.Lane})
		}
		if err := m.compareHeads(s, lh); err != nil {
			return nil, err
		}
	}
	if s.theirs.Len() > m.log.Vector().Len()+maxForeignLanes {
		return nil, fmt.Errorf("%w: a vector of %d lanes", delta.ErrMalformed, s.theirs.Len())
	}
	if h.Last {
		s.base = s.theirs.Root()
		m.noteLack(s)
		m.pullNext()
	}
	return tasks, nil
}

// noteLack notes since when the peer has entries that we could use.
func (m *Machine) noteLack(s *session) {
	if s.lackSince == 0 && m.lacking(s) > 0 {
		s.lackSince = max(m.now, 1)
	}
}

// lacking counts the entries that the peer has and we could use.
func (m *Machine) lacking(s *session) uint64 {
	n := m.log.Vector().Missing(&s.theirs)
	if n == 0 {
		return 0
	}
	for _, l := range m.log.ClosedLanes() {
		at, _ := m.log.ClosedAt(l)
		held, theirs := m.log.Vector().Seq(l), s.theirs.Seq(l)
		if theirs > held {
			n -= theirs - max(held, min(theirs, at-1))
		}
	}
	return n
}

// pullNext begins a pull where one is due and none runs, from the peer that
// was asked longest ago. A small lack at a peer that was in step before is
// given a moment: it is probably gossip still on its way.
func (m *Machine) pullNext() {
	if m.pulling != 0 {
		return
	}
	var next *session
	for _, s := range m.ordered() {
		if !s.greeted || s.lackSince == 0 || m.now < s.retryAt {
			continue
		}
		n := m.lacking(s)
		if n == 0 {
			s.lackSince = 0
			continue
		}
		if s.wasSynced && n < fewEntries && m.now-s.lackSince < lackMillis {
			continue
		}
		if next == nil || s.pulled < next.pulled {
			next = s
		}
	}
	if next == nil {
		return
	}
	how := pullCheapest
	switch {
	case next.unlike >= maxUnlike:
		how, next.unlike = pullState, 0
	case m.replica.WantsEntries():
		how = pullEntries
	}
	m.beginPull(next, how)
}

// beginPull asks a peer for what it has and we lack.
func (m *Machine) beginPull(s *session, how byte) {
	m.pullID++
	s.pull = &pull{id: m.pullID, progressAt: m.now}
	s.pulled = m.pullID
	m.pulling = s.id
	m.running.Store(&pullName{s.id, m.pullID})
	m.sendHave(s, false)
	s.pull.told = s.told.Clone()
	m.send(s, append(binary.AppendUvarint([]byte{byte(kindPull)}, m.pullID), how))
}

// How a pull wants to be answered.
const (
	pullCheapest byte = iota // entries, or the state where that is less for a fresh replica
	pullEntries              // entries wherever they are held
	pullState                // the state
)

// maxUnlike is how many pulls in a row may bring entries that contradict what is
// held. If the fork could be proved, it would be by then; else the entries that
// prove it are dropped, and only the state leads on.
const maxUnlike = 3

// checkStall gives a pull that brings nothing up, so that another peer is asked.
func (m *Machine) checkStall() {
	s := m.sessions[m.pulling]
	if s == nil || s.pull == nil || m.now-s.pull.progressAt < stallMillis ||
		s.pull.state && m.now-s.pull.progressAt < stateStallMillis {
		return
	}
	m.failPull(s)
}

// failPull ends a pull that came to nothing and leaves the peer alone for a
// while.
func (m *Machine) failPull(s *session) {
	m.endPull(s)
	s.retryAt = m.now + min(int64(retryMillis)<<min(s.fails, 16), rootIdleMillis)
	s.fails++
}

func (m *Machine) endPull(s *session) {
	s.pull = nil
	if m.pulling == s.id {
		m.pulling = 0
		m.running.Store(nil)
	}
}

// serve is a peer's pull from us.
type serve struct {
	id uint64
	// at is the ordinal of the log where the next chunk begins to look.
	at uint64
	// sent is what the peer has with all chunks so far.
	sent   *clock.Vector
	flying int // chunks that the peer has not yet taken
}

func (m *Machine) onPull(s *session, id uint64, how byte) ([]Task, error) {
	if err := m.sendProofs(s); err != nil {
		return nil, err
	}
	if how == pullState || m.log.Below(&s.theirs) || how == pullCheapest && m.stateIsLess(s) {
		s.serve = nil
		return []Task{Serve{s.id, s.node, id, s.theirs.Clone()}}, nil
	}
	at, err := m.firstMissing(&s.theirs)
	if err != nil {
		return nil, err
	}
	s.serve = &serve{id: id, at: at, sent: s.theirs.Clone()}
	return nil, m.serveOn(s)
}

// stateIsLess reports whether a peer that holds nothing yet is better served
// the state than a long history of it. A peer that holds something goes on by
// entries as long as it can: they keep its own reads of the past exact.
func (m *Machine) stateIsLess(s *session) bool {
	return s.theirs.Len() == 0 && m.log.Entries() >= manyEntries && m.replica.Survivors() < m.log.Entries()/2
}

// firstMissing returns the least ordinal of an entry that a vector lacks.
func (m *Machine) firstMissing(theirs *clock.Vector) (uint64, error) {
	first := m.log.Ordinal() + 1
	mine := m.log.Vector()
	for _, lh := range mine.Changes(theirs) {
		have := theirs.Seq(lh.Lane)
		if have >= lh.Head.Seq {
			continue
		}
		r, err := m.log.Record(m.log.DB(), clock.EntryID{Lane: lh.Lane, Seq: have + 1})
		if err != nil {
			return 0, fmt.Errorf("serve: %w", err)
		}
		first = min(first, r.Ordinal)
	}
	return first, nil
}

func (m *Machine) onCredit(s *session, id uint64) error {
	if s.serve == nil || s.serve.id != id {
		return nil // of a pull that has ended
	}
	if s.serve.flying == 0 {
		return fmt.Errorf("%w: credit for nothing", delta.ErrMalformed)
	}
	s.serve.flying--
	return m.serveOn(s)
}

// serveOn sends chunks up to the window, and the end where there is no more.
func (m *Machine) serveOn(s *session) error {
	for s.serve != nil && s.serve.flying < chunkWindow {
		c, next, err := m.nextChunk(s.serve)
		if err != nil {
			return err
		}
		head := binary.AppendUvarint([]byte{byte(kindChunk)}, s.serve.id)
		if len(c.Entries) == 0 {
			m.send(s, binary.AppendUvarint([]byte{byte(kindEnd)}, s.serve.id))
			s.serve = nil
			return nil
		}
		m.send(s, appendChunk(head, c))
		ends := make([]uint64, len(c.Lanes)) // a lane's seqs rise
		for i := range c.Entries {
			ends[c.Entries[i].Lane] = c.Entries[i].Seq
		}
		for i, seq := range ends {
			s.serve.sent.Set(c.Lanes[i].Key.ID(m.log.Space()), clock.Head{Seq: seq})
		}
		s.serve.at = next
		s.serve.flying++
	}
	return nil
}

// errUnsigned reports a stretch of the log with no place to end a chunk at.
var errUnsigned = errors.New("gossip: no signature within the largest chunk")

// nextChunk collects what the peer lacks, from an ordinal on, up to a place
// where the last entry of every lane is signed. Such places exist: entries come
// singly signed, or in chunks that end so.
func (m *Machine) nextChunk(v *serve) (c *Chunk, next uint64, err error) {
	b := chunkBuilder{m: m, c: new(Chunk), lanes: make(map[clock.LaneID]int), open: make(map[int]bool)}
	next = v.at
	for r, err := range m.log.InOrder(m.log.DB(), v.at) {
		if err != nil {
			return nil, 0, fmt.Errorf("serve: %w", err)
		}
		if r.Seq > v.sent.Seq(r.Lane) {
			if err := b.add(&r); err != nil {
				return nil, 0, err
			}
		}
		if len(b.open) == 0 {
			b.good, next = len(b.c.Entries), r.Ordinal+1
			if b.bytes >= chunkTargetBytes || b.good >= maxChunkEntries {
				break
			}
		}
		if b.bytes >= chunkMaxBytes || len(b.c.Entries) >= maxChunkEntries {
			if b.good == 0 {
				return nil, 0, errUnsigned
			}
			break
		}
	}
	return b.cut(), next, nil
}

// chunkBuilder collects entries and remembers the last place to end at.
type chunkBuilder struct {
	m     *Machine
	c     *Chunk
	lanes map[clock.LaneID]int
	open  map[int]bool // lanes whose last entry so far is unsigned
	sigs  []sigAt
	bytes int
	good  int // entries up to the last place where none was open
}

type sigAt struct {
	entry, lane int
	sig         []byte
}

func (b *chunkBuilder) add(r *oplog.Record) error {
	i, ok := b.lanes[r.Lane]
	if !ok {
		key, known := b.m.log.Lanes.Key(r.Lane)
		if !known {
			return fmt.Errorf("serve: lane %v has no key", r.Lane)
		}
		i = len(b.c.Lanes)
		b.lanes[r.Lane] = i
		b.c.Lanes = append(b.c.Lanes, ChunkLane{Key: key, Prev: r.Prev})
	}
	raw := append([]byte(nil), r.Raw...)
	b.c.Entries = append(b.c.Entries, ChunkEntry{Lane: i, Seq: r.Seq, Time: r.Time, Raw: raw})
	b.bytes += len(raw) + 16
	switch {
	case len(r.Sig) > 0:
		b.sigs = append(b.sigs, sigAt{len(b.c.Entries), i, append([]byte(nil), r.Sig...)})
		delete(b.open, i)
	case b.m.log.Vouched(r.ID(), delta.HashHeader(&r.Header)):
		b.sigs = append(b.sigs, sigAt{len(b.c.Entries), i, nil})
		delete(b.open, i)
	default:
		b.open[i] = true
	}
	return nil
}

// cut takes off what came after the last good place.
func (b *chunkBuilder) cut() *Chunk {
	b.c.Entries = b.c.Entries[:b.good]
	for _, s := range b.sigs {
		if s.entry <= b.good {
			b.c.Lanes[s.lane].Sig = s.sig
		}
	}
	used := 0
	for i := range b.c.Entries {
		used = max(used, b.c.Entries[i].Lane+1)
	}
	b.c.Lanes = b.c.Lanes[:used] // lanes are numbered in the order they came
	return b.c
}

func (m *Machine) onChunk(s *session, id uint64, r *reader, msg *Message) ([]Task, error) {
	if r.err != nil {
		return nil, r.err
	}
	b := r.b
	r.b = nil
	if s.pull == nil || s.pull.id != id {
		return nil, nil // of a pull that was given up
	}
	if msg.chunk == nil && msg.err == nil {
		msg.prepare(m.log, b) // it came before it was asked for
	}
	if msg.err != nil {
		return nil, msg.err
	}
	return []Task{Admit{s.id, msg.chunk}}, nil
}

// Admitted tells what became of an Admit: how many entries were new, or why it
// was refused. A chunk that brings nothing new is no progress, so that a peer
// cannot hold the one pull by sending what is held.
func (m *Machine) Admitted(id SessionID, fresh int, err error) {
	s := m.sessions[id]
	if s == nil || s.pull == nil {
		return
	}
	var fork *ForkError
	switch {
	case err == nil:
		if fresh > 0 {
			s.pull.chunks++
			s.pull.progressAt, s.fails, s.unlike = m.now, 0, 0
		}
		m.send(s, binary.AppendUvarint([]byte{byte(kindCredit)}, s.pull.id))
	case errors.As(err, &fork):
		m.failPull(s)
		s.unlike++
		m.probeFork(s, fork.ID)
	case errors.Is(err, delta.ErrMalformed):
		m.drop(s, err, true)
	default:
		// What was asked for no longer fits what is held: compare again.
		m.failPull(s)
		m.sendRoot(s, 0, true)
	}
}

func (m *Machine) onEnd(s *session, id uint64) {
	if s.pull == nil || s.pull.id != id {
		return
	}
	if s.pull.chunks == 0 {
		m.failPull(s) // it has, or says that it has, and does not send
	} else {
		m.endPull(s)
	}
	s.lackSince = 0 // the answer to the root says whether anything is left
	m.sendRoot(s, 0, true)
	m.pullNext()
}
