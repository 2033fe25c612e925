package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// truncate drops all of the host's raw entries.
func (s *stage) truncate() {
	s.t.Helper()
	h := s.h
	cut, err := h.log.CutAt(h.log.Ordinal())
	s.must(err)
	_, err = h.log.Truncate(h.batch, cut, h.log.Ordinal())
	s.must(err)
	h.flush()
}

// asks hands the host a message of the peer and returns the tasks.
func (s *stage) asks(b []byte) []Task { return s.h.m.Receive(s.now, s.peer, s.h.prepare(s.peer, b)) }

func pullMessage(id uint64, how byte) []byte {
	return append(binary.AppendUvarint([]byte{byte(kindPull)}, id), how)
}

func stateMessage(pull uint64, ours bool, payload string) []byte {
	return append(appendBool(binary.AppendUvarint([]byte{byte(kindState)}, pull), ours), payload...)
}

// Who pulls what was dropped is served the state; so is who asks for it, and who
// holds nothing yet where that is less.
func TestServeState(t *testing.T) {
	s := newStage(t)
	s.greet()
	if tasks := s.asks(pullMessage(4, pullCheapest)); len(tasks) != 0 || s.h.m.sessions[s.peer].serve != nil {
		t.Errorf("entries that are held are served as %v", tasks)
	}
	tasks := s.asks(pullMessage(5, pullState))
	if len(tasks) != 1 || tasks[0].(Serve).Pull != 5 || tasks[0].(Serve).From != s.peer || tasks[0].(Serve).Peer != "evil" {
		t.Errorf("a pull of the state is %v", tasks)
	}
	s.truncate()
	if tasks := s.asks(pullMessage(6, pullEntries)); len(tasks) != 1 {
		t.Errorf("a pull below the floor is %v", tasks)
	}
	if drops := s.says(pullMessage(7, pullState+1)); len(drops) != 1 || !drops[0].Penalize {
		t.Errorf("a way to pull that is none: %v", drops)
	}

	s = newStage(t)
	s.greet()
	s.h.write(manyEntries, 1, false)
	clear(s.h.state)
	if tasks := s.asks(pullMessage(1, pullCheapest)); len(tasks) != 1 {
		t.Errorf("a fresh peer of a small state gets entries: %v", tasks)
	}
	if tasks := s.asks(pullMessage(2, pullEntries)); len(tasks) != 0 {
		t.Errorf("a peer that wants entries gets the state: %v", tasks)
	}
}

// Messages about a state reach whom they are for: our pull while it runs, the
// peer's always. What is sent belongs to a session and a pull that stand.
func TestStateMessages(t *testing.T) {
	s := newStage(t)
	s.greet()
	tasks := s.asks(stateMessage(3, true, "asked"))
	if want := (State{From: s.peer, Peer: "evil", Pull: 3, Payload: []byte("asked")}); len(tasks) != 1 || fmt.Sprint(tasks[0]) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", tasks, want)
	}
	if tasks := s.asks(stateMessage(3, false, "answer to nothing")); len(tasks) != 0 {
		t.Errorf("an answer to a pull that does not run: %v", tasks)
	}
	m := s.h.m
	pull, ok := m.PullState(s.now, s.peer)
	if !ok || !m.StillPulling(s.peer, pull) || m.Told(s.peer).Root() != s.h.log.Vector().Root() {
		t.Fatalf("pull %d, %v", pull, ok)
	}
	if _, again := m.PullState(s.now, s.peer); again {
		t.Error("two pulls run at once")
	}
	if _, other := m.PullState(s.now, 999); other {
		t.Error("a pull on no session")
	}
	tasks = s.asks(stateMessage(pull, false, "answer"))
	if len(tasks) != 1 || !tasks[0].(State).Ours || !bytes.Equal(tasks[0].(State).Payload, []byte("answer")) || !m.sessions[s.peer].pull.state {
		t.Errorf("the answer is %v", tasks)
	}
	s.sent = nil
	if !m.SendState(s.peer, pull, true, []byte("x")) || m.SendState(s.peer, pull+1, true, nil) || m.SendState(999, pull, false, nil) ||
		!m.SendState(s.peer, 44, false, []byte("y")) {
		t.Error("what is sent does not go by session and pull")
	}
	s.take()
	if n := len(slices.DeleteFunc(s.sent, func(m string) bool { return m != "state" })); n != 2 {
		t.Errorf("%d state messages were sent", n)
	}
	s.now += stateStallMillis - 1
	if !m.Pulling(s.peer, pull) || m.Pulling(s.peer, pull+1) || m.Pulling(999, pull) {
		t.Error("the pull does not run, or another does")
	}
	m.Tick(s.now)
	if !m.StillPulling(s.peer, pull) {
		t.Error("a pull of a state was given up too soon")
	}
	s.now += 2 * stateStallMillis
	m.Tick(s.now)
	if m.StillPulling(s.peer, pull) {
		t.Error("a pull that brings nothing runs for ever")
	}
	for _, bad := range [][]byte{{byte(kindState)}, stateMessage(1, true, ""), {byte(kindState), 1, 7, 1}} {
		s := newStage(t)
		s.greet()
		if drops := s.says(bad); len(drops) != 1 || !drops[0].Penalize {
			t.Errorf("%v: %v", bad, drops)
		}
	}
}

// A state that was adopted ends the pull, one that was refused leaves the peer
// alone for a while, and one that nobody would send costs the session.
func TestStateDone(t *testing.T) {
	for _, c := range []struct {
		err     error
		dropped bool
		waits   bool
	}{{nil, false, false}, {errors.New("refused"), false, true}, {fmt.Errorf("%w: x", delta.ErrMalformed), true, false}} {
		s := newStage(t)
		s.greet()
		pull, _ := s.h.m.PullState(s.now, s.peer)
		s.h.m.StateDone(s.now, s.peer, pull+1, nil)
		if !s.h.m.StillPulling(s.peer, pull) {
			t.Error("another pull's end ended this one")
		}
		s.h.m.StateDone(s.now, s.peer, pull, c.err)
		drops := s.take()
		if s.h.m.StillPulling(s.peer, pull) || (len(drops) > 0) != c.dropped || s.h.m.Alive(s.peer) == c.dropped {
			t.Errorf("%v: drops %v", c.err, drops)
		}
		if x := s.h.m.sessions[s.peer]; !c.dropped && (x.retryAt > s.now) != c.waits {
			t.Errorf("%v: asked again at %d, it is %d", c.err, x.retryAt, s.now)
		}
		s.h.m.StateDone(s.now, 999, pull, nil) // a session that is gone
	}
	s := newStage(t)
	s.greet()
	s.h.m.Misbehaved(s.now, s.peer, delta.ErrMalformed)
	if drops := s.take(); len(drops) != 1 || !drops[0].Penalize || s.h.m.Alive(s.peer) {
		t.Errorf("misbehaved: %v", drops)
	}
	if s.h.m.Told(s.peer).Len() != 0 {
		t.Error("something was told without a pull")
	}
}

// Pulls whose entries contradict what is held, again and again, go on to the
// state.
func TestUnlikeEntries(t *testing.T) {
	s := newStage(t)
	s.greet()
	s.lack(2)
	for range maxUnlike {
		s.h.m.Admitted(s.peer, 0, &ForkError{clock.EntryID{Lane: s.h.signer.Lane, Seq: 1}})
		x := s.h.m.sessions[s.peer]
		x.probe = nil
		s.now += rootIdleMillis
		x.lackSince = 1
		s.h.m.Tick(s.now)
	}
	s.take()
	if n := s.h.m.sessions[s.peer].unlike; n != 0 { // the last pull was of the state, and the count begins anew
		t.Errorf("after %d contradictions %d are counted: %q", maxUnlike, n, s.sent)
	}
	if text := (&ForkError{clock.EntryID{Seq: 3}}).Error(); text == "" {
		t.Error("a fork without words")
	}
}

// What peers are known to hold is no more than what they said that they have of
// the same branch.
func TestSeenAndHeld(t *testing.T) {
	s := newStage(t)
	m, own := s.h.m, s.h.signer.Lane
	if seen, err := m.Seen(); err != nil || len(seen) != 0 {
		t.Errorf("before hello: %v, %v", seen, err)
	}
	s.greet()
	hash := func(seq uint64) clock.Hash {
		h, err := s.h.log.HashAt(clock.EntryID{Lane: own, Seq: seq})
		s.must(err)
		return h
	}
	says := func(heads ...clock.LaneHead) {
		s.says((&have{First: true, Last: true, Heads: heads}).append())
	}
	says(clock.LaneHead{Lane: own, Head: clock.Head{Seq: 2, Hash: hash(2)}})
	seen, err := m.Seen()
	if err != nil || len(seen) != 1 || seen[0].Node != "evil" || m.Held(own) != 2 {
		t.Errorf("seen %v, held %d: %v", seen, m.Held(own), err)
	}
	if first := seen[0].Ordinal; first >= s.h.log.Ordinal() {
		t.Errorf("all is held: %d", first)
	}
	says(clock.LaneHead{Lane: own, Head: clock.Head{Seq: 3, Hash: clock.Hash{1}}})
	if m.Held(own) != 0 {
		t.Error("another branch counts as held")
	}
	says(clock.LaneHead{Lane: own, Head: clock.Head{Seq: 99, Hash: clock.Hash{1}}})
	if seen, err := m.Seen(); err != nil || seen[0].Ordinal != 0 {
		t.Errorf("who has more of our own lane holds all: %v, %v", seen, err)
	}
	s.says((&root{Root: s.h.log.Root(), Digest: s.h.Digest()}).append())
	if seen, err := m.Seen(); err != nil || seen[0].Ordinal != s.h.log.Ordinal() {
		t.Errorf("an equal peer: %v, %v", seen, err)
	}
	m.Closed(s.now, s.peer)
	if m.Held(own) != 3 {
		t.Errorf("what an ended session held is forgotten: %d", m.Held(own))
	}
}

// A search for a fork goes up where what lies below was dropped.
func TestProbeAboveFloor(t *testing.T) {
	s := newStage(t)
	s.greet()
	own := s.h.signer.Lane
	s.truncate()
	s.h.write(2, 10, false)
	x := s.h.m.sessions[s.peer]
	floor := s.h.log.Floor(own)
	s.says((&have{First: true, Last: true, Heads: []clock.LaneHead{{Lane: own, Head: clock.Head{Seq: floor, Hash: clock.Hash{9}}}}}).append())
	if x.probe == nil || x.probe.hi != floor+1 {
		t.Fatalf("probe %+v, floor %d", x.probe, floor)
	}
	// The peer has not that entry either: what both have is the last one to try.
	x.theirs.Set(own, clock.Head{Seq: floor + 2, Hash: clock.Hash{8}})
	s.says((&chain{ID: clock.EntryID{Lane: own, Seq: floor + 1}}).append())
	if x.probe == nil || !x.probe.raised || x.probe.hi != floor+2 {
		t.Fatalf("probe %+v", x.probe)
	}
	s.says((&chain{ID: clock.EntryID{Lane: own, Seq: floor + 2}}).append())
	if x.probe != nil {
		t.Fatalf("it goes on: %+v", x.probe)
	}
	// In between, what one of the two has dropped tells nothing.
	s.h.write(8, 10, false)
	x.probe = &probe{lane: own, lo: floor + 2, hi: floor + 10}
	mid := floor + 6
	s.says((&hash{ID: clock.EntryID{Lane: own, Seq: mid}}).append())
	if x.probe == nil || x.probe.lo != mid {
		t.Fatalf("probe %+v", x.probe)
	}
	s.h.m.ProbeAll(s.now)
	s.h.m.ProbeAll(s.now)
	if s.take(); !x.suspect {
		t.Error("peers are not compared with anew")
	}
}

// What is compressed comes back, and what says that it is larger is refused.
func TestCompress(t *testing.T) {
	text := bytes.Repeat([]byte("rhizome "), 100)
	b := Compress(text)
	if got, err := Decompress(b, len(text)); err != nil || !bytes.Equal(got, text) || len(b) >= len(text) {
		t.Errorf("%d bytes of %d: %v", len(b), len(text), err)
	}
	for name, bad := range map[string][]byte{"too large": b, "cut": b[:len(b)-3], "nonsense": []byte("nonsense")} {
		limit := len(text)
		if name == "too large" {
			limit--
		}
		if _, err := Decompress(bad, limit); !errors.Is(err, delta.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if MessageName(nil) != "empty" || MessageName(stateMessage(1, true, "x")) != "state" {
		t.Error("messages have other names")
	}
}
