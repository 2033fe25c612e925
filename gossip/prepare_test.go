package gossip

import (
	"encoding/binary"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
)

// Work is done ahead on a chunk of the pull that runs, on the session that was
// asked, and on no other: a chunk costs its receiver far more than its sender.
func TestPrepareWhatWasAskedFor(t *testing.T) {
	s := newStage(t)
	s.greet()
	early := s.h.m.Prepare(s.peer, s.chunk(chunkOf(s.h.lane, []*delta.Entry{{Header: delta.Header{Seq: 1}}})))
	other, entries := s.lack(3)
	c := chunkOf(other.lane, entries)
	wrong := appendChunk(binary.AppendUvarint([]byte{byte(kindChunk)}, s.h.m.pullID+1), c)
	for _, x := range []struct {
		name string
		m    Message
		read bool
	}{
		{"before anything was asked for", early, false},
		{"of another session", s.h.m.Prepare(s.peer+1, s.chunk(c)), false},
		{"of another pull", s.h.m.Prepare(s.peer, wrong), false},
		{"of the pull", s.h.m.Prepare(s.peer, s.chunk(c)), true},
	} {
		if read := x.m.chunk != nil || x.m.err != nil; read != x.read {
			t.Errorf("a chunk %s: read %v, want %v", x.name, read, x.read)
		}
	}
	s.says(s.chunk(c))
	if s.h.log.Vector().Seq(other.signer.Lane) != 3 {
		t.Fatal("the chunk is not taken in")
	}
	s.says(binary.AppendUvarint([]byte{byte(kindEnd)}, s.h.m.pullID))
	if m := s.h.m.Prepare(s.peer, s.chunk(c)); m.chunk != nil {
		t.Error("a chunk is read after the pull has ended")
	}
	if drops := s.says(s.chunk(c)); len(drops) > 0 {
		t.Errorf("a chunk that comes late: %v", drops)
	}
}

// A chunk that was not prepared is read when it is received: what has been asked
// for is taken in whenever it was prepared.
func TestReceiveUnprepared(t *testing.T) {
	s := newStage(t)
	s.greet()
	other, entries := s.lack(3)
	for _, task := range s.h.m.Receive(s.now, s.peer, Message{raw: s.chunk(chunkOf(other.lane, entries))}) {
		s.h.do(task)
	}
	if s.h.log.Vector().Seq(other.signer.Lane) != 3 {
		t.Fatal("the chunk is not taken in")
	}
}
