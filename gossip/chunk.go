package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// A chunk carries entries in an order that extends causality, and what the
// receiver can compute is left out: seqs, prevs, body hashes, all signatures
// but the last of each lane. The hash chain up to that signature vouches for
// every entry. The form is, compressed with zstd:
//
//	lanes:  count, then each: author (32), incarnation (16), hash of the entry
//	        before the lane's first here (32), length of its signature, signature
//	runs:   count, then each: lane number here, first seq, count
//	times:  for each entry the difference to the one before (zigzag)
//	sizes:  for each entry the length of its body
//	bodies: all, one after another
//
// A lane's last entry here needs no signature where the lane is closed right
// after it: the fork proof names its hash.

// A Chunk is a decoded chunk. Bodies share memory.
type Chunk struct {
	Lanes   []ChunkLane
	Entries []ChunkEntry

	// What check found, for each lane: its id, its last header, what is wrong with
	// the signature; for each entry: it, and what is wrong with its body.
	ids     []clock.LaneID
	last    []delta.Header
	signed  []error
	entries []*delta.Entry
	bad     map[int]error
}

// A ChunkLane is one lane of a chunk.
type ChunkLane struct {
	Key  delta.LaneKey
	Prev clock.Hash
	Sig  []byte
}

// A ChunkEntry is one entry of a chunk.
type ChunkEntry struct {
	Lane int // in Chunk.Lanes
	Seq  uint64
	Time clock.Timestamp
	Raw  []byte
}

type chunkRun struct{ lane, first, count uint64 }

// appendChunk encodes a chunk without its message head.
func appendChunk(b []byte, c *Chunk) []byte {
	size := 0
	for i := range c.Entries {
		size += len(c.Entries[i].Raw)
	}
	p := make([]byte, 0, size+160*len(c.Lanes)+16*len(c.Entries)+16)
	p = binary.AppendUvarint(p, uint64(len(c.Lanes)))
	for i := range c.Lanes {
		l := &c.Lanes[i]
		p = append(append(append(p, l.Key.Author[:]...), l.Key.Incarnation[:]...), l.Prev[:]...)
		p = append(binary.AppendUvarint(p, uint64(len(l.Sig))), l.Sig...)
	}
	runs := runsOf(c.Entries)
	p = binary.AppendUvarint(p, uint64(len(runs)))
	for _, r := range runs {
		p = binary.AppendUvarint(p, r.lane)
		p = binary.AppendUvarint(p, r.first)
		p = binary.AppendUvarint(p, r.count)
	}
	var last clock.Timestamp
	for i := range c.Entries {
		p = binary.AppendVarint(p, int64(c.Entries[i].Time-last))
		last = c.Entries[i].Time
	}
	for i := range c.Entries {
		p = binary.AppendUvarint(p, uint64(len(c.Entries[i].Raw)))
	}
	for i := range c.Entries {
		p = append(p, c.Entries[i].Raw...)
	}
	return encoder().EncodeAll(p, b)
}

func runsOf(entries []ChunkEntry) []chunkRun {
	var runs []chunkRun
	for i := range entries {
		e := &entries[i]
		if n := len(runs); n > 0 && runs[n-1].lane == uint64(e.Lane) && runs[n-1].first+runs[n-1].count == e.Seq {
			runs[n-1].count++
			continue
		}
		runs = append(runs, chunkRun{uint64(e.Lane), e.Seq, 1})
	}
	return runs
}

// maxChunkPlain bounds a chunk's decompressed size.
const maxChunkPlain = chunkMaxBytes + delta.MaxEntryBytes + 1<<20

// A Message is what came on a session, with all work on it done that needs no
// state, so that it can be done beside the replica.
type Message struct {
	raw   []byte
	chunk *Chunk
	err   error // of the chunk
}

// Prepare does the work on a message of a session that needs no state: of a chunk,
// which is most of what there is to do, the checks that need only the space. A
// chunk that nobody asked for is left as it came: a few hundred bytes can cost a
// second and fill some 100 MiB. It is safe for concurrent use, also beside the other
// methods. What is wrong is told by Receive.
func (m *Machine) Prepare(id SessionID, b []byte) Message {
	msg := Message{raw: b}
	if IsChunk(b) {
		r := &reader{b: b[1:]}
		if of := (pullName{id, r.uint()}); r.err == nil && m.asked(of) {
			msg.prepare(m.log, r.b)
		}
	}
	return msg
}

// prepare reads the chunk.
func (m *Message) prepare(log *oplog.Log, b []byte) {
	if m.chunk, m.err = parseChunk(b); m.err == nil {
		m.chunk.check(log.Space(), log.Verify)
	}
}

// A pullName names a pull.
type pullName struct {
	session SessionID
	id      uint64
}

// asked reports whether a pull is the one that runs.
func (m *Machine) asked(p pullName) bool {
	now := m.running.Load()
	return now != nil && *now == p
}

// IsChunk reports whether a message is a chunk: it takes memory, and Prepare
// time, where others take next to none.
func IsChunk(b []byte) bool { return len(b) > 0 && kind(b[0]) == kindChunk }

// parseChunk decodes a chunk and checks its form, not its chain.
func parseChunk(b []byte) (*Chunk, error) {
	plain, err := Decompress(b, maxChunkPlain)
	if err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	r := reader{b: plain}
	c := new(Chunk)
	keys := make(map[delta.LaneKey]bool)
	for n := r.count(32+16+32+1, maxChunkEntries); n > 0; n-- {
		var l ChunkLane
		copy(l.Key.Author[:], r.take(32))
		copy(l.Key.Incarnation[:], r.take(16))
		copy(l.Prev[:], r.take(32))
		l.Sig = r.bytes()
		if keys[l.Key] {
			r.fail("lane listed twice") // each has one chain here
		}
		keys[l.Key] = true
		c.Lanes = append(c.Lanes, l)
	}
	c.readRuns(&r)
	var last clock.Timestamp
	for i := range c.Entries {
		v, k := binary.Varint(r.b)
		if k <= 0 {
			r.fail("time")
			break
		}
		r.b = r.b[k:]
		last += clock.Timestamp(v)
		if last > clock.MaxTimestamp {
			r.fail("time")
			break
		}
		c.Entries[i].Time = last
	}
	sizes := make([]int, len(c.Entries))
	for i := range sizes {
		n := r.uint()
		if n > delta.MaxEntryBytes {
			r.fail("entry too large")
		}
		sizes[i] = int(n)
	}
	for i, n := range sizes {
		if r.err != nil {
			break
		}
		c.Entries[i].Raw = r.take(n)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	return c, nil
}

func (c *Chunk) readRuns(r *reader) {
	next := make([]uint64, len(c.Lanes))
	for n := r.count(3, maxChunkEntries); n > 0 && r.err == nil; n-- {
		run := chunkRun{r.uint(), r.uint(), r.uint()}
		// Every entry takes at least two more bytes.
		if r.err != nil || run.lane >= uint64(len(c.Lanes)) || run.first == 0 || run.count == 0 ||
			run.count > uint64(len(r.b)/2) || uint64(len(c.Entries))+run.count > maxChunkEntries ||
			run.first+run.count < run.first ||
			next[run.lane] != 0 && next[run.lane] != run.first {
			r.fail("run")
			return
		}
		next[run.lane] = run.first + run.count
		for i := range run.count {
			c.Entries = append(c.Entries, ChunkEntry{Lane: int(run.lane), Seq: run.first + i})
		}
	}
	for _, n := range next {
		if n == 0 {
			r.fail("lane without a run")
		}
	}
}

// A ForkError is evidence, not yet a proof, that a lane forked at or below a seq.
type ForkError struct{ ID clock.EntryID }

// Error implements error.
func (e *ForkError) Error() string { return fmt.Sprintf("lane forked at or below %v", e.ID) }

// check does the work on a chunk that needs nothing of what is held: it computes
// the chains, reads the bodies and verifies signatures. What is wrong is kept
// for Open, which may find that it does not matter.
func (c *Chunk) check(space clock.Hash, verify delta.Verifier) {
	c.ids, c.last, c.signed = make([]clock.LaneID, len(c.Lanes)), make([]delta.Header, len(c.Lanes)), make([]error, len(c.Lanes))
	for i := range c.Lanes {
		c.ids[i] = c.Lanes[i].Key.ID(space)
	}
	c.entries = make([]*delta.Entry, len(c.Entries))
	c.bad = make(map[int]error)
	for i := range c.Entries {
		x := &c.Entries[i]
		h := delta.Header{Space: space, Lane: c.ids[x.Lane], Seq: x.Seq, Time: x.Time, Body: hashBody(x.Raw)}
		if prev := &c.last[x.Lane]; prev.Seq != 0 {
			h.Prev = delta.HashHeader(prev)
		} else {
			h.Prev = c.Lanes[x.Lane].Prev
		}
		c.last[x.Lane] = h
		body, err := delta.ParseBody(x.Raw, h.ID())
		if err != nil {
			c.bad[i] = fmt.Errorf("entry %v: %w", h.ID(), err)
		}
		c.entries[i] = &delta.Entry{Header: h, Raw: x.Raw, Body: body}
	}
	for i := range c.Lanes {
		if l := &c.Lanes[i]; len(l.Sig) > 0 {
			c.signed[i] = verify(l.Key, &c.last[i], l.Sig)
		}
	}
}

// Open checks a chunk against what the log holds and returns its entries, those
// already held left out. A chunk is good as a whole or not at all.
func (c *Chunk) Open(log *oplog.Log) ([]*delta.Entry, error) {
	out := make([]*delta.Entry, 0, len(c.entries))
	past := causes{log: log, ahead: make(map[clock.LaneID]uint64, len(c.Lanes))}
	begun := make([]bool, len(c.Lanes))
	for i, e := range c.entries {
		if lane := c.Entries[i].Lane; !begun[lane] {
			begun[lane] = true
			if err := checkStart(log, e.ID(), e.Prev); err != nil {
				return nil, err
			}
		}
		held := log.Vector().Head(e.Lane)
		if e.Seq <= held.Seq {
			if e.Seq == held.Seq && delta.HashHeader(&e.Header) != held.Hash {
				return nil, &ForkError{e.ID()}
			}
			continue
		}
		if err := c.bad[i]; err != nil {
			return nil, err
		}
		if err := past.take(e); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if err := c.verify(log); err != nil {
		return nil, err
	}
	c.finish(out)
	return out, nil
}

// checkStart checks that a lane's first entry in a chunk continues what is held.
func checkStart(log *oplog.Log, id clock.EntryID, prev clock.Hash) error {
	if id.Seq == 1 && prev != (clock.Hash{}) {
		return fmt.Errorf("%w: entry %v follows another", delta.ErrMalformed, id)
	}
	held, err := log.HashAt(clock.EntryID{Lane: id.Lane, Seq: id.Seq - 1})
	if errors.Is(err, oplog.ErrNotFound) {
		return fmt.Errorf("%w: chunk begins at %v, after a gap", errGap, id)
	}
	if err != nil {
		return err
	}
	if held != prev {
		return &ForkError{clock.EntryID{Lane: id.Lane, Seq: id.Seq - 1}}
	}
	return nil
}

// causes knows what is held once a chunk's entries so far are admitted.
type causes struct {
	log   *oplog.Log
	ahead map[clock.LaneID]uint64
}

// take checks that all that an entry needs is held, or before it in the chunk:
// a chunk of which a part could not be admitted would leave entries without the
// signature that vouches for them.
func (c *causes) take(e *delta.Entry) error {
	if at, ok := c.log.ClosedAt(e.Lane); ok && e.Seq >= at {
		return nil // it will not be admitted
	}
	c.ahead[e.Lane] = e.Seq
	for i := range e.Body.Deps {
		if err := c.need(e, e.Body.Deps[i].EntryID); err != nil {
			return err
		}
	}
	for i := range e.Body.Txns {
		for j := range e.Body.Txns[i].Deltas {
			for _, k := range e.Body.Txns[i].Deltas[j].Kills {
				for _, dots := range [][]clock.Dot{k.Dots, k.Bounds} {
					for _, d := range dots {
						if err := c.need(e, d.Entry()); err != nil {
							return err
						}
					}
				}
			}
		}
	}
	return nil
}

func (c *causes) need(e *delta.Entry, id clock.EntryID) error {
	held := max(c.log.Vector().Seq(id.Lane), c.ahead[id.Lane])
	if id.Seq <= held {
		return nil
	}
	if at, ok := c.log.ClosedAt(id.Lane); ok && id.Seq >= at && held >= at-1 {
		return nil
	}
	return fmt.Errorf("%w: %v comes before its cause %v", errGap, e.ID(), id)
}

// errGap reports a chunk that does not fit what is held any more: what it was
// asked against has changed.
var errGap = errors.New("gossip: chunk does not fit")

// verify says whether each lane's last entry is vouched for.
func (c *Chunk) verify(log *oplog.Log) error {
	for i := range c.Lanes {
		l := &c.Lanes[i]
		switch {
		case len(l.Sig) > 0:
			if err := c.signed[i]; err != nil {
				return err
			}
		case !log.Vouched(c.last[i].ID(), delta.HashHeader(&c.last[i])):
			return log.Verify(l.Key, &c.last[i], nil) // says what is wrong
		}
	}
	return nil
}

// finish sets the entries' hashes, which the chain has computed but for the
// last of each lane, and gives those last their signatures.
func (c *Chunk) finish(out []*delta.Entry) {
	next := make(map[clock.LaneID]*delta.Entry, len(c.ids))
	for i := len(out) - 1; i >= 0; i-- {
		e := out[i]
		if n := next[e.Lane]; n != nil {
			e.Hash = n.Prev
		} else {
			e.Hash = delta.HashHeader(&e.Header)
		}
		next[e.Lane] = e
	}
	sigs := make(map[clock.EntryID][]byte, len(c.ids))
	for i := range c.Lanes {
		if len(c.Lanes[i].Sig) > 0 {
			sigs[c.last[i].ID()] = append([]byte(nil), c.Lanes[i].Sig...)
		}
	}
	for _, e := range out {
		if sig, ok := sigs[e.ID()]; ok {
			e.Sig = sig
		}
	}
}

// Compress returns b as one zstd frame that states its size.
func Compress(b []byte) []byte { return encoder().EncodeAll(b, nil) }

// Decompress reads what Compress wrote, of at most limit bytes.
func Decompress(b []byte, limit int) ([]byte, error) {
	var head zstd.Header
	if err := head.Decode(b); err != nil {
		return nil, fmt.Errorf("%w: %w", delta.ErrMalformed, err)
	}
	if !head.HasFCS || head.FrameContentSize > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes say that they hold %d", delta.ErrMalformed, len(b), head.FrameContentSize)
	}
	plain, err := decoder().DecodeAll(b, make([]byte, 0, head.FrameContentSize))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", delta.ErrMalformed, err)
	}
	return plain, nil
}

// encoder and decoder are made once: a zstd coder is large, stateless between
// calls, and safe for concurrent EncodeAll and DecodeAll.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true))
		if err != nil {
			panic(fmt.Sprintf("gossip: make a zstd encoder: %v", err)) // constant options
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxChunkPlain))
		if err != nil {
			panic(fmt.Sprintf("gossip: make a zstd decoder: %v", err)) // constant options
		}
		return d
	})
)
