package storage

import "bytes"

// A node is a node of a persistent treap: a search tree by key and a heap by
// priority. Nodes never change once they are reachable from a root, so a root
// is a snapshot for as long as it is held. Priorities come from the key, so
// one set of keys has one shape, whatever the order in which they came.
type node struct {
	key, value  []byte
	priority    uint64
	left, right *node
	// bytes counts the keys and values of the whole subtree.
	bytes uint64
}

// priorityOf is FNV-1a with a final mix, since FNV leaves the high bits of
// short keys alike.
func priorityOf(key []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range key {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func (n *node) size() uint64 {
	if n == nil {
		return 0
	}
	return n.bytes
}

// with is n with other children.
func (n *node) with(left, right *node) *node {
	return &node{
		key: n.key, value: n.value, priority: n.priority, left: left, right: right,
		bytes: uint64(len(n.key)+len(n.value)) + left.size() + right.size(),
	}
}

// split parts n into the keys below key and the others.
func (n *node) split(key []byte) (below, rest *node) {
	if n == nil {
		return nil, nil
	}
	if bytes.Compare(n.key, key) < 0 {
		l, r := n.right.split(key)
		return n.with(n.left, l), r
	}
	l, r := n.left.split(key)
	return l, n.with(r, n.right)
}

// join is the union of a and b, where all keys of a are below all of b.
func join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority >= b.priority:
		return a.with(a.left, join(a.right, b))
	default:
		return b.with(join(a, b.left), b.right)
	}
}

func (n *node) get(key []byte) *node {
	for n != nil {
		c := bytes.Compare(key, n.key)
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

// set is n with key bound to value. It keeps both slices.
func (n *node) set(key, value []byte) *node {
	return n.put((&node{key: key, value: value, priority: priorityOf(key)}).with(nil, nil))
}

func (n *node) put(m *node) *node {
	if n == nil {
		return m
	}
	c := bytes.Compare(m.key, n.key)
	switch {
	case c == 0:
		return m.with(n.left, n.right)
	case m.priority > n.priority:
		// Keys of one priority sit below each other in any order: equal
		// priorities of distinct keys do no harm. A key that n holds further
		// down has m's priority, so it cannot be under n here.
		l, r := n.split(m.key)
		return m.with(l, r)
	case c < 0:
		return n.with(n.left.put(m), n.right)
	default:
		return n.with(n.left, n.right.put(m))
	}
}

func (n *node) delete(key []byte) *node {
	if n == nil {
		return nil
	}
	c := bytes.Compare(key, n.key)
	switch {
	case c == 0:
		return join(n.left, n.right)
	case c < 0:
		return n.with(n.left.delete(key), n.right)
	default:
		return n.with(n.left, n.right.delete(key))
	}
}

// deleteRange is n without the keys of [lo, hi).
func (n *node) deleteRange(lo, hi []byte) *node {
	if bytes.Compare(lo, hi) >= 0 {
		return n
	}
	below, rest := n.split(lo)
	_, above := rest.split(hi)
	return join(below, above)
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
	return bytes.Compare(n.key, lo) >= 0, hi == nil || bytes.Compare(n.key, hi) < 0
}
