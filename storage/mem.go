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
	mu  sync.Mutex
	now tree
	seq uint64 // of the newest batch applied

	// durable is the tree as it was after batch durableSeq.
	// Invariant: durableSeq <= seq, and it never moves backwards.
	durable    tree
	durableSeq uint64

	// epoch numbers the batches of this store and of all that it came from: no
	// node of now or durable has a higher one.
	epoch uint64

	closed atomic.Bool
}

var _ DB = (*Memory)(nil)

// A tree is a root with the keys and values below it counted.
type tree struct {
	root  *node
	bytes uint64
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{} }

// Crash ends m as a power failure would and returns a store that holds what
// was durable: the batches whose Wait was called and all before them. It
// works on a closed store too, where it reopens what Close left.
func (m *Memory) Crash() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed.Store(true)
	return &Memory{now: m.durable, durable: m.durable, epoch: m.epoch}
}

// Copy returns another store that holds what is durable now, as a copy of the
// disk would. It costs nothing: the stores share what neither has changed.
func (m *Memory) Copy() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{now: m.durable, durable: m.durable, epoch: m.epoch}
}

// Close makes everything durable and ends the store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed.Swap(true) {
		return ErrClosed
	}
	m.durable, m.durableSeq = m.now, m.seq
	return nil
}

// DiskBytes counts the keys and values.
func (m *Memory) DiskBytes() (uint64, error) {
	t, err := m.newest()
	return t.bytes, err
}

// Reclaim has nothing to do: what nothing refers to is garbage already.
func (m *Memory) Reclaim(_, _ []byte) error {
	_, err := m.newest()
	return err
}

// newest returns the newest state.
func (m *Memory) newest() (tree, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed.Load() {
		return tree{}, ErrClosed
	}
	return m.now, nil
}

// pin returns the newest state as a snapshot.
func (m *Memory) pin() (memSnapshot, error) {
	t, err := m.newest()
	return memSnapshot{root: t.root, ended: m.closed.Load}, err
}

// Get is Reader.Get of the newest state.
func (m *Memory) Get(key []byte) ([]byte, error) {
	t, err := m.newest()
	if err != nil {
		return nil, err
	}
	return t.root.valueOf(key)
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
	return s.root.valueOf(key)
}

// valueOf returns a copy of a key's value.
func (n *node) valueOf(key []byte) ([]byte, error) {
	if n = n.get(key); n == nil {
		return nil, ErrNotFound
	}
	return append([]byte{}, n.value()...), nil
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
		buf = append(buf[:0], n.kv...)
		k := int(n.keyLen)
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
	kind   byte   // 's'et, 'd'elete, delete 'r'ange
	kv     []byte // the key and the value, or the two ends of the range
	keyLen int
}

// NewBatch returns an empty batch.
func (m *Memory) NewBatch() Batch { return &memBatch{db: m} }

func (b *memBatch) add(kind byte, key, value []byte) {
	kv := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	b.ops = append(b.ops, memOp{kind, kv, len(key)})
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
	m.epoch++
	e, root := edit{m.epoch, m.now.bytes}, m.now.root
	for _, op := range mb.ops {
		switch op.kind {
		case 's':
			root = e.set(root, op.kv, op.keyLen)
		case 'd':
			root = e.delete(root, op.kv)
		case 'r':
			root = e.deleteRange(root, op.kv[:op.keyLen], op.kv[op.keyLen:])
		}
	}
	m.now = tree{root, e.bytes}
	m.seq++
	return &memCommit{db: m, seq: m.seq, tree: m.now}, nil
}

type memCommit struct {
	db   *Memory
	seq  uint64
	tree tree // after this batch
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
	m.durable, m.durableSeq = c.tree, c.seq
	return nil
}
