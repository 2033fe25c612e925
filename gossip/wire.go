package gossip

import (
	"encoding/binary"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// Protocol is the version of the messages below. A peer with another one is
// told so and dropped.
const Protocol = 3

// Every message is a byte for its kind and its fields in order. Numbers are
// uvarints; bytes and texts have their length in front; sums are 32 bytes.
type kind byte

const (
	kindHello    kind = 1 + iota // who I am, where I listen
	kindRoot                     // what I hold, in 64 bytes
	kindHave                     // changes of my vector since what you know
	kindNeedFull                 // I do not know that base: send it all
	kindPull                     // send me what I lack
	kindChunk                    // entries, in an order that extends causality
	kindEnd                      // that was all
	kindCredit                   // I took a chunk: send one more
	kindHashAsk                  // which hash has your entry here?
	kindHash                     // this one
	kindChainAsk                 // prove your entry here
	kindChain                    // headers from there to a signature
	kindProof                    // a lane's author signed two entries under one name
	kindAddrs                    // where others listen
	kindTwin                     // another process uses your identity
	kindJoin                     // digests of my state's buckets
	kindJoinHave                 // the survivors in one of my buckets
	kindState                    // about a state that is served: see package compaction
	kindLinks                    // whom I have sessions with
	lastKind     = kindLinks
)

var kindNames = [...]string{
	"", "hello", "root", "have", "need-full", "pull", "chunk", "end", "credit",
	"hash?", "hash", "chain?", "chain", "proof", "addrs", "twin", "join", "join-have", "state", "links",
}

// String returns the message's name as scripts print it.
func (k kind) String() string {
	if k == 0 || k > lastKind {
		return fmt.Sprintf("kind(%d)", byte(k))
	}
	return kindNames[k]
}

// MessageName returns the name of a message's kind, for traces.
func MessageName(b []byte) string {
	if len(b) == 0 {
		return "empty"
	}
	return kind(b[0]).String()
}

// hello is the first message each way.
type hello struct {
	Protocol uint64
	Instance [16]byte // of the process
	Addrs    []string
}

// root is the first rung of the ladder.
type root struct {
	Root, Digest digest.Sum
	Nonce        uint64 // echoed in the answer; 0 where nobody waits for it
	Ask          bool   // answer me
}

// have carries one page of a vector's changes.
type have struct {
	Base  digest.Sum // root of the vector that the changes are made to
	First bool
	Last  bool
	Heads []clock.LaneHead
}

type hash struct {
	ID   clock.EntryID
	Hash clock.Hash
	Held bool
}

type chain struct {
	ID    clock.EntryID
	Chain oplog.Chain
}

// join is the digests of a state's buckets, 8 bytes each.
type join struct {
	Root    digest.Sum
	Buckets []uint64
}

// joinHave lists the survivors of some buckets by the start of their sums.
type joinHave struct {
	Root    digest.Sum
	Count   uint64 // of buckets in all
	Buckets []Bucket
	Answer  bool // send me yours
}

// A Bucket is the survivors of a state that fall into one bucket.
type Bucket struct {
	Index uint64
	Marks []Mark
}

// A Mark is the start of a survivor's sum: enough to tell it from all others
// of a state.
type Mark [16]byte

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendSum(b []byte, s digest.Sum) []byte {
	x := s.Bytes()
	return append(b, x[:]...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendID(b []byte, id clock.EntryID) []byte {
	return binary.AppendUvarint(append(b, id.Lane[:]...), id.Seq)
}

func (m *hello) append() []byte {
	b := binary.AppendUvarint([]byte{byte(kindHello)}, m.Protocol)
	b = append(b, m.Instance[:]...)
	return appendTexts(b, m.Addrs)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, s := range texts {
		b = appendText(b, s)
	}
	return b
}

func (m *root) append() []byte {
	b := appendSum([]byte{byte(kindRoot)}, m.Root)
	b = appendSum(b, m.Digest)
	return appendBool(binary.AppendUvarint(b, m.Nonce), m.Ask)
}

func (m *have) append() []byte {
	b := appendSum([]byte{byte(kindHave)}, m.Base)
	return clock.AppendHeads(appendBool(appendBool(b, m.First), m.Last), m.Heads)
}

func appendIDMessage(k kind, id clock.EntryID) []byte { return appendID([]byte{byte(k)}, id) }

func (m *hash) append() []byte {
	b := appendIDMessage(kindHash, m.ID)
	return appendBool(append(b, m.Hash[:]...), m.Held)
}

func (m *chain) append() []byte {
	return m.Chain.Append(appendIDMessage(kindChain, m.ID))
}

func (m *join) append() []byte {
	b := appendSum([]byte{byte(kindJoin)}, m.Root)
	b = binary.AppendUvarint(b, uint64(len(m.Buckets)))
	for _, x := range m.Buckets {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	return b
}

func (m *joinHave) append() []byte {
	b := appendSum([]byte{byte(kindJoinHave)}, m.Root)
	b = appendBool(binary.AppendUvarint(b, m.Count), m.Answer)
	b = binary.AppendUvarint(b, uint64(len(m.Buckets)))
	for i := range m.Buckets {
		x := &m.Buckets[i]
		b = binary.AppendUvarint(b, x.Index)
		b = binary.AppendUvarint(b, uint64(len(x.Marks)))
		for j := range x.Marks {
			b = append(b, x.Marks[j][:]...)
		}
	}
	return b
}

// A reader takes a message apart. The first error sticks.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", delta.ErrMalformed, what)
	}
	r.b = nil
}

func (r *reader) uint() uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.fail("number")
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("truncated")
		return make([]byte, min(max(n, 0), 64)) // fixed sizes only: the caller copies into an array
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail("truncated")
		return nil
	}
	return r.take(int(n))
}

func (r *reader) bool() bool {
	v := r.take(1)[0]
	if v > 1 {
		r.fail("boolean")
	}
	return v == 1
}

func (r *reader) sum() digest.Sum { return digest.FromBytes([digest.Size]byte(r.take(digest.Size))) }

func (r *reader) id() (id clock.EntryID) {
	copy(id.Lane[:], r.take(16))
	id.Seq = r.uint()
	return id
}

// count reads the number of elements of at least size bytes each.
func (r *reader) count(size, limit int) int {
	n := r.uint()
	if n > uint64(limit) || n > uint64(len(r.b)/size) {
		r.fail("count")
		return 0
	}
	return int(n)
}

func (r *reader) texts(limit int) []string {
	var out []string
	for n := r.count(1, limit); n > 0; n-- {
		s := r.bytes()
		if len(s) > maxAddrBytes {
			r.fail("text too long")
		}
		out = append(out, string(s))
	}
	return out
}

func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("trailing bytes")
	}
	return r.err
}

func (r *reader) hello() (m hello) {
	m.Protocol = r.uint()
	copy(m.Instance[:], r.take(16))
	m.Addrs = r.texts(maxAddrs)
	return m
}

func (r *reader) root() root {
	return root{Root: r.sum(), Digest: r.sum(), Nonce: r.uint(), Ask: r.bool()}
}

func (r *reader) have() (m have) {
	m.Base, m.First, m.Last = r.sum(), r.bool(), r.bool()
	if r.err != nil {
		return m
	}
	if m.Heads, r.b, r.err = clock.ParseHeads(r.b); r.err != nil {
		r.err = fmt.Errorf("%w: %w", delta.ErrMalformed, r.err)
	}
	return m
}

func (r *reader) hash() (m hash) {
	m.ID = r.id()
	copy(m.Hash[:], r.take(32))
	m.Held = r.bool()
	return m
}

func (r *reader) chain() (m chain) {
	m.ID = r.id()
	if r.err == nil {
		m.Chain, r.b, r.err = oplog.ParseChain(r.b)
	}
	return m
}

func (r *reader) join() (m join) {
	m.Root = r.sum()
	for n := r.count(8, maxBuckets); n > 0; n-- {
		m.Buckets = append(m.Buckets, binary.BigEndian.Uint64(r.take(8)))
	}
	return m
}

func (r *reader) joinHave() (m joinHave) {
	m.Root, m.Count, m.Answer = r.sum(), r.uint(), r.bool()
	marks := 0
	for n := r.count(2, maxBuckets); n > 0 && r.err == nil; n-- {
		x := Bucket{Index: r.uint()}
		if last := len(m.Buckets) - 1; x.Index >= m.Count || last >= 0 && x.Index <= m.Buckets[last].Index {
			r.fail("bucket")
		}
		k := r.count(len(Mark{}), maxMarks-marks)
		for marks += k; k > 0; k-- {
			x.Marks = append(x.Marks, Mark(r.take(len(Mark{}))))
		}
		m.Buckets = append(m.Buckets, x)
	}
	if r.err == nil && (m.Count == 0 || m.Count > maxBuckets) {
		r.fail("bucket")
	}
	return m
}
