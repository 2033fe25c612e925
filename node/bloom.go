package node

import (
	"hash/maphash"
	"math/bits"
)

// A filter answers "is there surely no such key?" from memory. It is a blocked
// Bloom filter (Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient
// Bloom Filters", WEA 2007, section 3) at 12 bits a key and six probes within
// one cache line, some 0.5 % false positives, that grows by further layers.
//
// Most writes are to keys that do not exist yet, and asking the store for such
// a key costs more than all else that a write does.
type filter struct {
	layers []layer
	seed   maphash.Seed
}

type layer struct {
	blocks [][8]uint64
	room   int // how many keys it still takes
}

const (
	filterBitsPerKey = 12
	filterProbes     = 6
	filterFirstRoom  = 1 << 15

	// filterGrowth is how many times as large as the layer before a layer is: a key
	// that is in none is looked for in all, at a cache miss each.
	filterGrowth = 4

	// filterLeastRoom is that of a new repo, which may stay small.
	filterLeastRoom = 1 << 10
)

func newFilter() *filter {
	f := &filter{seed: maphash.MakeSeed()}
	f.grow(filterLeastRoom)
	return f
}

func (f *filter) grow(room int) {
	f.layers = append(f.layers, layer{
		blocks: make([][8]uint64, (room*filterBitsPerKey+511)/512),
		room:   room,
	})
}

// probe calls bit for each probe of a key until it returns false.
func (l *layer) probe(h uint64, bit func(block *[8]uint64, word int, mask uint64) bool) bool {
	i, _ := bits.Mul64(h, uint64(len(l.blocks)))
	block := &l.blocks[i]
	g := h * 0x9e3779b97f4a7c15
	for range filterProbes {
		n := g >> 55 // nine bits: a place in 512
		if !bit(block, int(n>>6), 1<<(n&63)) {
			return false
		}
		g = g*0xbf58476d1ce4e5b9 + 0x94d049bb133111eb
	}
	return true
}

func (l *layer) has(h uint64) bool {
	return l.probe(h, func(b *[8]uint64, w int, m uint64) bool { return b[w]&m != 0 })
}

// add sets the bits of a key, and reports whether one of them was not set.
func (l *layer) add(h uint64) (news bool) {
	l.probe(h, func(b *[8]uint64, w int, m uint64) bool {
		news = news || b[w]&m == 0
		b[w] |= m
		return true
	})
	return news
}

// add notes a key.
func (f *filter) add(key []byte) {
	h := maphash.Bytes(f.seed, key)
	last := &f.layers[len(f.layers)-1]
	for i := range f.layers[:len(f.layers)-1] {
		if f.layers[i].has(h) {
			return
		}
	}
	if last.room == 0 {
		if last.has(h) {
			return
		}
		f.grow(max(filterFirstRoom, filterGrowth*len(last.blocks)*512/filterBitsPerKey))
		last = &f.layers[len(f.layers)-1]
	}
	if last.add(h) {
		last.room--
	}
}

// has reports whether the key may have been added.
func (f *filter) has(key []byte) bool {
	h := maphash.Bytes(f.seed, key)
	for i := range f.layers {
		if f.layers[i].has(h) {
			return true
		}
	}
	return false
}

// bytes is what the filter takes in memory.
func (f *filter) bytes() (n int) {
	for i := range f.layers {
		n += 64 * len(f.layers[i].blocks)
	}
	return n
}
