package storage

import (
	"bytes"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
)

// A Memory is a store in memory, for tests and simulation. What is durable in
// it survives Crash and nothing else. Snapshots cost nothing to take or hold
// but the memory of what was overwritten since.
type Memory struct {
	// mu guards the fields below. Readers take it only to load a root; roots
	// are immutable.
	mu   sync.Mutex
	root *node
	seq  uint64 // of the newest batch applied

	// durable is the root as it was after batch durableSeq.
	// Invariant: durableSeq <= seq, and it never moves backwards.
	durable    *node
	durableSeq uint64

	closed atomic.Bool
}

var _ DB = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{} }

// Crash ends m as a power failure would and returns a store that holds what
// was durable: the batches whose Wait was called and all before them. It
// works on a closed store too, where it reopens what Close left.
func (m *Memory) Crash() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed.Store(true)
	return &Memory{root: m.durable, durable: m.durable}
}

// Copy returns another store that holds what is durable now, as a copy of the
// disk would. It costs nothing: the stores share what neither has changed.
func (m *Memory) Copy() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{root: m.durable, durable: m.durable}
}

// Close makes everything durable and ends the store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed.Swap(true) {
		return ErrClosed
	}
	m.durable, m.durableSeq = m.root, m.seq
	return nil
}

// DiskBytes counts the keys and values.
func (m *Memory) DiskBytes() (uint64, error) {
	s, err := m.pin()
	return s.root.size(), err
}

// Reclaim has nothing to do: what nothing refers to is garbage already.
func (m *Memory) Reclaim(_, _ []byte) error {
	_, err := m.pin()
	return err
}

// pin returns the newest state.
func (m *Memory) pin() (memSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed.Load() {
		return memSnapshot{}, ErrClosed
	}
	return memSnapshot{root: m.root, ended: m.closed.Load}, nil
}

// Get is Reader.Get of the newest state.
func (m *Memory) Get(key []byte) ([]byte, error) {
	s, err := m.pin()
	if err != nil {
		return nil, err
	}
	return s.Get(key)
}

// Scan is Reader.Scan of the newest state.
func (m *Memory) Scan(lo, hi []byte) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		s, err := m.pin()
		if err != nil {
			yield(KV{}, err)
			return
		}
		s.Scan(lo, hi)(yield)
	}
}

// ScanReverse is Reader.ScanReverse of the newest state.
func (m *Memory) ScanReverse(lo, hi []byte) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		s, err := m.pin()
		if err != nil {
			yield(KV{}, err)
			return
		}
		s.ScanReverse(lo, hi)(yield)
	}
}

// Snapshot pins the newest state.
func (m *Memory) Snapshot() Snapshot {
	s, _ := m.pin() // of a closed store: empty, and ended is true
	var closed atomic.Bool
	s.ended = func() bool { return closed.Load() || m.closed.Load() }
	s.close = func() bool { return !closed.Swap(true) }
	return &s
}

// A memSnapshot reads one root.
type memSnapshot struct {
	root *node
	// ended says that nothing may be read any more.
	ended func() bool
	// close ends the snapshot; it is false from the second time on.
	close func() bool
}

func (s *memSnapshot) Close() error {
	if !s.close() {
		return ErrClosed
	}
	return nil
}

func (s *memSnapshot) Get(key []byte) ([]byte, error) {
	if s.ended() {
		return nil, ErrClosed
	}
	n := s.root.get(key)
	if n == nil {
		return nil, ErrNotFound
	}
	return append([]byte{}, n.value...), nil
}

func (s *memSnapshot) Scan(lo, hi []byte) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) { s.scan(s.root.ascend, lo, hi, yield) }
}

func (s *memSnapshot) ScanReverse(lo, hi []byte) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) { s.scan(s.root.descend, lo, hi, yield) }
}

// scan hands out copies in one buffer that it overwrites at each step, as
// stores with blocks do, so that a caller who keeps a slice finds out here.
func (s *memSnapshot) scan(
	walk func(lo, hi []byte, f func(*node) bool) bool, lo, hi []byte, yield func(KV, error) bool,
) {
	lo, hi = bytes.Clone(lo), bytes.Clone(hi)
	if s.ended() {
		yield(KV{}, ErrClosed)
		return
	}
	var buf []byte
	walk(lo, hi, func(n *node) bool {
		if s.ended() {
			yield(KV{}, ErrClosed)
			return false
		}
		buf = append(append(buf[:0], n.key...), n.value...)
		k := len(n.key)
		return yield(KV{Key: buf[:k:k], Value: buf[k:len(buf):len(buf)]}, nil)
	})
}

// A memBatch is a list of writes.
type memBatch struct {
	db    *Memory // nil once the batch is applied
	ops   []memOp
	bytes int
	bad   bool // holds a write that Apply refuses
}

type memOp struct {
	kind       byte // 's'et, 'd'elete, delete 'r'ange
	key, value []byte
}

// NewBatch returns an empty batch.
func (m *Memory) NewBatch() Batch { return &memBatch{db: m} }

func (b *memBatch) add(kind byte, key, value []byte) {
	b.ops = append(b.ops, memOp{kind, bytes.Clone(key), bytes.Clone(value)})
	b.bytes += len(key) + len(value) + 1
}

func (b *memBatch) Set(key, value []byte) {
	b.bad = b.bad || len(key) == 0
	b.add('s', key, value)
}

func (b *memBatch) Delete(key []byte) {
	b.bad = b.bad || len(key) == 0
	b.add('d', key, nil)
}

func (b *memBatch) DeleteRange(lo, hi []byte) {
	b.bad = b.bad || len(hi) == 0
	b.add('r', lo, hi)
}

func (b *memBatch) Bytes() int { return b.bytes }

// Apply is DB.Apply. The batch is durable once Wait is called.
func (m *Memory) Apply(b Batch) (Commit, error) {
	mb, ok := b.(*memBatch)
	if !ok || mb.db != m || mb.bad {
		return nil, fmt.Errorf("apply: %w", ErrBatch)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed.Load() {
		return nil, ErrClosed
	}
	mb.db = nil
	root := m.root
	for _, op := range mb.ops {
		switch op.kind {
		case 's':
			root = root.set(op.key, op.value)
		case 'd':
			root = root.delete(op.key)
		case 'r':
			root = root.deleteRange(op.key, op.value)
		}
	}
	m.root = root
	m.seq++
	return &memCommit{db: m, seq: m.seq, root: root}, nil
}

type memCommit struct {
	db   *Memory
	seq  uint64
	root *node // after this batch
}

func (c *memCommit) Wait() error {
	m := c.db
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.seq <= m.durableSeq {
		return nil
	}
	if m.closed.Load() {
		return fmt.Errorf("wait: %w", ErrClosed)
	}
	m.durable, m.durableSeq = c.root, c.seq
	return nil
}
