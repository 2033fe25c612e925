package storage

import (
	"bytes"
	"encoding/binary"
)

// A node is a node of a persistent treap: a search tree by key and a heap by
// priority. Nodes never change once a batch is applied, so a root is a snapshot
// for as long as it is held. Priorities come from the key, so one set of keys
// has one shape, whatever the order in which they came.
type node struct {
	kv []byte // the key and, behind it, the value
	// start is the key's first bytes as a number that compares as they do, so
	// that a search seldom looks at keys: it would wait for each.
	start       uint64
	priority    uint64
	left, right *node
	epoch       uint64 // of the batch that made the node
	keyLen      uint32
}

func (n *node) key() []byte   { return n.kv[:n.keyLen:n.keyLen] }
func (n *node) value() []byte { return n.kv[n.keyLen:] }

// startOf returns the first eight bytes of a key as a number, zeros behind a
// shorter one.
func startOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// compare compares a key, whose start is given, with the node's.
func (n *node) compare(key []byte, start uint64) int {
	switch {
	case start < n.start:
		return -1
	case start > n.start:
		return 1
	}
	return bytes.Compare(key, n.key())
}

// priorityOf mixes eight bytes of the key at a time, and the last ones with
// their number.
func priorityOf(key []byte) uint64 {
	const prime = 0x9e3779b97f4a7c15
	h := uint64(len(key)) * prime
	for ; len(key) >= 8; key = key[8:] {
		h = (h ^ binary.LittleEndian.Uint64(key)) * prime
		h ^= h >> 32
	}
	for _, c := range key {
		h = (h ^ uint64(c)) * prime
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func (n *node) get(key []byte) *node {
	start := startOf(key)
	for n != nil {
		c := n.compare(key, start)
		if c == 0 {
			return n
		}
		if c < 0 {
			n = n.left
		} else {
			n = n.right
		}
	}
	return nil
}

// An edit is what one batch does to a tree. Nodes that it made itself nobody
// else sees yet, and so it changes those in place: the writes of a batch copy
// the path that they share once.
type edit struct {
	epoch uint64 // above that of every node in the tree
	bytes uint64 // keys and values of the whole tree
}

// with is n with other children.
func (e *edit) with(n, left, right *node) *node {
	if n.epoch != e.epoch {
		n = &node{kv: n.kv, start: n.start, priority: n.priority, epoch: e.epoch, keyLen: n.keyLen}
	}
	n.left, n.right = left, right
	return n
}

// split parts n into the keys below key and the others.
func (e *edit) split(n *node, key []byte) (below, rest *node) {
	if n == nil {
		return nil, nil
	}
	if n.compare(key, startOf(key)) > 0 {
		l, r := e.split(n.right, key)
		return e.with(n, n.left, l), r
	}
	l, r := e.split(n.left, key)
	return l, e.with(n, r, n.right)
}

// join is the union of a and b, where all keys of a are below all of b.
func (e *edit) join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority >= b.priority:
		return e.with(a, a.left, e.join(a.right, b))
	default:
		return e.with(b, e.join(a, b.left), b.right)
	}
}

// set is n with a key bound to a value. It keeps the slice that holds both.
func (e *edit) set(n *node, kv []byte, keyLen int) *node {
	e.bytes += uint64(len(kv))
	key := kv[:keyLen]
	return e.put(n, &node{kv: kv, start: startOf(key), priority: priorityOf(key), epoch: e.epoch, keyLen: uint32(keyLen)})
}

func (e *edit) put(n, m *node) *node {
	if n == nil {
		return m
	}
	c := n.compare(m.key(), m.start)
	switch {
	case c == 0:
		e.bytes -= uint64(len(n.kv))
		return e.with(m, n.left, n.right)
	case m.priority > n.priority:
		// Keys of one priority sit below each other in any order: equal
		// priorities of distinct keys do no harm. A key that n holds further
		// down has m's priority, so it cannot be under n here.
		l, r := e.split(n, m.key())
		return e.with(m, l, r)
	case c < 0:
		return e.with(n, e.put(n.left, m), n.right)
	default:
		return e.with(n, n.left, e.put(n.right, m))
	}
}

func (e *edit) delete(n *node, key []byte) *node {
	if n == nil {
		return nil
	}
	c := n.compare(key, startOf(key))
	switch {
	case c == 0:
		e.bytes -= uint64(len(n.kv))
		return e.join(n.left, n.right)
	case c < 0:
		return e.with(n, e.delete(n.left, key), n.right)
	default:
		return e.with(n, n.left, e.delete(n.right, key))
	}
}

// deleteRange is n without the keys of [lo, hi). It looks at what goes, to count
// it: less than it cost to write.
func (e *edit) deleteRange(n *node, lo, hi []byte) *node {
	if bytes.Compare(lo, hi) >= 0 {
		return n
	}
	below, rest := e.split(n, lo)
	gone, above := e.split(rest, hi)
	gone.ascend(nil, nil, func(n *node) bool {
		e.bytes -= uint64(len(n.kv))
		return true
	})
	return e.join(below, above)
}

// ascend and descend call f with the nodes of [lo, hi), in order, while it
// returns true. They report whether it always did.
func (n *node) ascend(lo, hi []byte, f func(*node) bool) bool {
	if n == nil {
		return true
	}
	low, high := n.within(lo, hi)
	if low && !n.left.ascend(lo, hi, f) {
		return false
	}
	if low && high && !f(n) {
		return false
	}
	return !high || n.right.ascend(lo, hi, f)
}

func (n *node) descend(lo, hi []byte, f func(*node) bool) bool {
	if n == nil {
		return true
	}
	low, high := n.within(lo, hi)
	if high && !n.right.descend(lo, hi, f) {
		return false
	}
	if low && high && !f(n) {
		return false
	}
	return !low || n.left.descend(lo, hi, f)
}

// within says whether n's key is at or above lo, and whether it is below hi.
func (n *node) within(lo, hi []byte) (low, high bool) {
	return n.compare(lo, startOf(lo)) <= 0, hi == nil || n.compare(hi, startOf(hi)) > 0
}
