package gossip

import (
	"encoding/binary"
	"errors"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// Where a peer has dropped entries that are pulled from it, it serves its state
// in the place of chunks. What is said then is between the two replicas
// (package compaction); the machine sees to it that it belongs to a pull that
// still runs.

// onState hands a state message on: of our pull, or of the peer's.
func (m *Machine) onState(s *session, r *reader) ([]Task, error) {
	id, ours := r.uint(), r.bool()
	if r.err != nil || len(r.b) == 0 {
		r.fail("state")
		return nil, r.err
	}
	payload := r.b
	r.b = nil
	if ours = !ours; ours { // said from the peer's side
		if s.pull == nil || s.pull.id != id {
			return nil, nil // of a pull that was given up
		}
		s.pull.state, s.pull.progressAt = true, m.now
	}
	return []Task{State{From: s.id, Peer: s.node, Pull: id, Ours: ours, Payload: payload}}, nil
}

// SendState sends a state message of our pull, or of the peer's. It reports
// false where the session or the pull has ended.
func (m *Machine) SendState(id SessionID, pull uint64, ours bool, payload []byte) bool {
	s := m.sessions[id]
	if s == nil || s.dropped || ours && (s.pull == nil || s.pull.id != pull) {
		return false
	}
	if ours {
		s.pull.progressAt = m.now
	}
	head := appendBool(binary.AppendUvarint([]byte{byte(kindState)}, pull), ours)
	m.send(s, append(head, payload...))
	return true
}

// StillPulling reports whether our pull on a session still runs.
func (m *Machine) StillPulling(id SessionID, pull uint64) bool {
	s := m.sessions[id]
	return s != nil && !s.dropped && s.pull != nil && s.pull.id == pull
}

// Pulling is StillPulling, and notes that the pull makes progress.
func (m *Machine) Pulling(id SessionID, pull uint64) bool {
	if !m.StillPulling(id, pull) {
		return false
	}
	m.sessions[id].pull.progressAt = m.now
	return true
}

// Misbehaved ends a session for what the peer said about a state.
func (m *Machine) Misbehaved(now int64, id SessionID, err error) {
	m.advance(now)
	if s := m.sessions[id]; s != nil {
		m.drop(s, err, true)
	}
}

// Alive reports whether a session still stands.
func (m *Machine) Alive(id SessionID) bool {
	s := m.sessions[id]
	return s != nil && !s.dropped
}

// PullState begins a pull of the state from a peer, whatever either side lacks.
// It reports false where another pull runs, or there is no such session.
func (m *Machine) PullState(now int64, id SessionID) (pull uint64, ok bool) {
	m.advance(now)
	s := m.sessions[id]
	if s == nil || s.dropped || !s.greeted || m.pulling != 0 {
		return 0, false
	}
	m.beginPull(s, pullState)
	return s.pull.id, true
}

// Told returns our vector as the peer knew it when the pull began.
func (m *Machine) Told(id SessionID) *clock.Vector {
	if s := m.sessions[id]; s != nil && s.pull != nil {
		return s.pull.told
	}
	return new(clock.Vector)
}

// ErrMoved reports a state that was offered against another vector than ours, or
// by one that has closed other lanes.
var ErrMoved = errors.New("what the state was offered against has changed")

// StateDone ends our pull of a state: adopted, or err says why not. What does
// not even have the right form costs the peer its session.
func (m *Machine) StateDone(now int64, id SessionID, pull uint64, err error) {
	m.advance(now)
	s := m.sessions[id]
	if s == nil || s.dropped || s.pull == nil || s.pull.id != pull {
		return
	}
	switch {
	case errors.Is(err, delta.ErrMalformed):
		m.drop(s, err, true)
		return
	case err != nil:
		m.failPull(s)
		if errors.Is(err, ErrMoved) {
			// We may take the peer to know our vector and be wrong: it saw another
			// root of its own in the moment when ours would have told it. Entries
			// that it then sends twice do no harm; a state would be offered against
			// the wrong vector for ever.
			s.told = clock.Vector{}
			m.sendHave(s, true)
		}
	default:
		m.endPull(s)
		s.fails = 0
	}
	s.lackSince = 0
	m.sendRoot(s, 0, true)
	m.pullNext()
}
