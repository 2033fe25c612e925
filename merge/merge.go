// Package merge is the kernel that folds deltas into state and reads the state
// back. Every surface uses it and nothing else decides a merge.
//
// It is pure: no I/O, no time, no randomness, no map order. It works on a
// State, which the caller keeps in storage or in memory.
//
// # Fold
//
// The state is the set of survivors: the deltas that no applied delta kills.
// A survivor lives in the row (entity, path, tag). Applying an entry takes its
// deltas in order; each first kills, then adds its own survivor. A kill names
// rows by scope and dots in them, and one that meets nothing is a no-op. So
// the survivors are a function of the set of applied deltas alone, whatever
// order extending causality they came in, and two states join by
//
//	fold(K1 ∪ K2) = (S1 ∩ S2) ∪ {s ∈ S1 : dot ∉ K2} ∪ {s ∈ S2 : dot ∉ K1}
//
// The digest of a state is the sum of the hashes of its survivors (package
// digest), however they are packed in rows.
//
// # Reading
//
// A lossless read shows every survivor. A lossy read resolves each property to
// one value (last write wins for assigned values, the set of distinct values
// of a bag, the sum of a counter, the most frequent value of a ballot), and
// where a value and members below it are concurrent the newest wins.
package merge

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/internal/plant"
)

// A Survivor is one live delta.
type Survivor struct {
	Dot     clock.Dot
	Txn     uint32 // index of the first delta of its transaction
	Time    clock.Timestamp
	Verb    delta.Verb
	Creator string
	Value   delta.Value
}

// compare orders survivors as last-write-wins does: by time, then by dot.
func (s *Survivor) compare(o *Survivor) int {
	return cmp.Or(cmp.Compare(s.Time, o.Time), s.Dot.Compare(o.Dot))
}

func (s *Survivor) newer(o *Survivor) bool { return s.compare(o) > 0 }

// Sum returns the survivor's part of the state digest.
func (s *Survivor) Sum(key []byte) digest.Sum {
	var buf [384]byte // what most survivors fit into, without an allocation
	b := buf[:0]
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	b = append(b, s.Dot.Lane[:]...)
	b = binary.BigEndian.AppendUint64(b, s.Dot.Seq)
	b = binary.BigEndian.AppendUint32(b, s.Dot.Index)
	b = binary.BigEndian.AppendUint32(b, s.Txn)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Time))
	b = append(b, byte(s.Verb))
	b = binary.AppendUvarint(b, uint64(len(s.Creator)))
	b = append(b, s.Creator...)
	b = append(b, s.Value...)
	return digest.Of(b)
}

// A View reads rows. Survivors of a row are in dot order.
type View interface {
	// Row returns the survivors of one row, none where there is no row. It does
	// not keep the key, and neither does any other method here.
	Row(key []byte) ([]Survivor, error)
	// Rows calls f for each row with the prefix, in key order; the empty
	// prefix means all rows. The key is valid only within the call, in which f
	// must not change the state. The row stays valid and must not be changed,
	// here as from Row.
	Rows(prefix []byte, f func(key []byte, row []Survivor) error) error
}

// A State is a View that can be changed.
type State interface {
	View
	// SetRow replaces a row; no survivors means no row.
	SetRow(key []byte, row []Survivor) error
	// SetRef notes whether the row refers to the target.
	SetRef(target string, key []byte, present bool)
	// Bury keeps a survivor that died, for reads of the past and undo.
	Bury(key []byte, s Survivor, killer clock.Dot)
	// Kill keeps a kill for the same purpose. It reaches the rows whose keys
	// start with scope (or equal it, where exact is set).
	Kill(scope []byte, exact bool, k *delta.Kill, killer clock.Dot)
}

// A Tally counts a state.
type Tally struct {
	Digest digest.Sum
	Rows   uint64 // survivors
}

// A Fold applies deltas to a state and keeps its tally.
type Fold struct {
	State State
	Tally Tally
	// Late leaves the digest of the tally to Settle. It is for a state that hands its
	// rows on in batches, each settled before.
	Late bool

	key  []byte     // scratch
	slab []Survivor // for fresh rows of this batch

	// due are the survivors that Settle takes into the digest or out of it, and
	// dueKeys their keys, one after the other.
	due     []dueSum
	dueKeys []byte
}

// A dueSum is one survivor's part of the digest that is still to be summed.
type dueSum struct {
	s    *Survivor // of a row, which nobody changes
	end  int       // of its key
	gone bool
}

// count takes a survivor into the tally, or out of it.
func (f *Fold) count(key []byte, s *Survivor, gone bool) {
	if gone {
		f.Tally.Rows--
	} else {
		f.Tally.Rows++
	}
	if f.Late {
		f.dueKeys = append(f.dueKeys, key...)
		f.due = append(f.due, dueSum{s, len(f.dueKeys), gone})
		return
	}
	f.sum(key, s, gone)
}

func (f *Fold) sum(key []byte, s *Survivor, gone bool) {
	if gone {
		f.Tally.Digest = f.Tally.Digest.Minus(s.Sum(key))
	} else {
		f.Tally.Digest = f.Tally.Digest.Plus(s.Sum(key))
	}
}

// Due returns how many survivors Settle has to sum.
func (f *Fold) Due() int { return len(f.due) }

// Settle brings the digest of the tally up to date. It touches nothing but the
// fold's own sums: a state that is only read meanwhile may be, by others.
func (f *Fold) Settle() {
	at := 0
	for i := range f.due {
		d := &f.due[i]
		f.sum(f.dueKeys[at:d.end], d.s, d.gone)
		at = d.end
	}
	clear(f.due) // lets go of the rows
	f.due, f.dueKeys, f.slab = f.due[:0], f.dueKeys[:0], nil
	if cap(f.due) > maxDueKept {
		f.due, f.dueKeys = nil, nil
	}
}

// maxDueKept bounds what is held on to after a very large batch.
const maxDueKept = 1 << 16

// A FoldMark is a state of a fold's tally that it can go back to.
type FoldMark struct {
	tally         Tally
	due, dueBytes int
}

// Mark returns how the tally stands.
func (f *Fold) Mark() FoldMark { return FoldMark{f.Tally, len(f.due), len(f.dueKeys)} }

// Rollback takes the tally back to a mark. Where Settle came between, the sums would
// be wrong.
func (f *Fold) Rollback(m FoldMark) {
	f.Tally = m.tally
	clear(f.due[m.due:])
	f.due, f.dueKeys = f.due[:m.due], f.dueKeys[:m.dueBytes]
}

// Origin says where a delta stands.
type Origin struct {
	Lane    clock.LaneID
	Seq     uint64
	Time    clock.Timestamp
	Creator string
	Txn     uint32 // index of the first delta of the transaction
}

// Apply applies a whole entry.
func (f *Fold) Apply(e *delta.Entry) error {
	var index uint32
	for i := range e.Body.Txns {
		x := &e.Body.Txns[i]
		o := Origin{Lane: e.Lane, Seq: e.Seq, Time: e.Time, Creator: x.Creator, Txn: index}
		for j := range x.Deltas {
			if err := f.ApplyDelta(&o, index, &x.Deltas[j]); err != nil {
				return err
			}
			index++
		}
	}
	return nil
}

// ApplyDelta applies the delta with the given index.
func (f *Fold) ApplyDelta(o *Origin, index uint32, d *delta.Delta) error {
	dot := clock.Dot{Lane: o.Lane, Seq: o.Seq, Index: index}
	tag := delta.TagOf(o.Lane, o.Creator, d)
	for i := range d.Kills {
		if err := f.kill(d, tag, &d.Kills[i], dot); err != nil {
			return err
		}
	}
	if !d.Verb.Survives() {
		return nil
	}
	f.key = AppendKey(f.key[:0], d.Entity, d.Path, tag)
	old, err := f.State.Row(f.key)
	if err != nil {
		return err
	}
	s := Survivor{Dot: dot, Txn: o.Txn, Time: o.Time, Verb: d.Verb, Creator: o.Creator, Value: d.Value}
	_, err = f.insert(f.key, old, s)
	return err
}

// insert adds a survivor to a row, and returns the row.
func (f *Fold) insert(key []byte, old []Survivor, s Survivor) (row []Survivor, err error) {
	row = f.room(len(old) + 1)
	at, _ := slices.BinarySearchFunc(old, s.Dot, func(a Survivor, d clock.Dot) int { return a.Dot.Compare(d) })
	copy(row, old[:at])
	copy(row[at+1:], old[at:])
	row[at] = s
	f.count(key, &row[at], false)
	if t, ok := s.Value.Ref(); ok {
		f.State.SetRef(t, key, true)
	}
	return row, f.State.SetRow(key, row)
}

// Fresh rows of a batch share memory, slabRows at a time, after the first slabFrom of
// it: few rows, which may be large, are not held together.
const (
	slabRows = 32
	slabFrom = 8
)

// room returns a row of n survivors.
func (f *Fold) room(n int) []Survivor {
	if n > 1 || len(f.due) < slabFrom {
		return make([]Survivor, n)
	}
	if len(f.slab) == 0 {
		f.slab = make([]Survivor, slabRows)
	}
	row := f.slab[:1:1]
	f.slab = f.slab[1:]
	return row
}

// take takes out of a row what dies, and buries it. It returns what is left.
func (f *Fold) take(key []byte, old []Survivor, dies func(clock.Dot) bool, killer clock.Dot) (row []Survivor, err error) {
	if !slices.ContainsFunc(old, func(s Survivor) bool { return dies(s.Dot) }) {
		return old, nil
	}
	var gone []Survivor
	for i, s := range old {
		if !dies(s.Dot) {
			row = append(row, s)
			continue
		}
		f.count(key, &old[i], true)
		f.State.Bury(key, s, killer)
		gone = append(gone, s)
	}
	f.dropRefs(key, row, gone)
	return row, f.State.SetRow(key, row)
}

// dropRefs keeps the index of references in step with a row that lost survivors.
func (f *Fold) dropRefs(key []byte, row, gone []Survivor) {
	var left map[string]bool // the targets of row, once somebody asks
	for i := range gone {
		t, ok := gone[i].Value.Ref()
		if !ok {
			continue
		}
		if left == nil {
			left = targets(row)
		}
		if !left[t] {
			f.State.SetRef(t, key, false)
		}
	}
}

func targets(row []Survivor) map[string]bool {
	m := make(map[string]bool, len(row))
	for i := range row {
		if t, ok := row[i].Value.Ref(); ok {
			m[t] = true
		}
	}
	return m
}

// kill takes the survivors that k names out of the rows in its scope.
func (f *Fold) kill(d *delta.Delta, own delta.Tag, k *delta.Kill, killer clock.Dot) error {
	scope, exact := Scope(d, own, k)
	f.State.Kill(scope, exact, k, killer)
	return f.sweep(scope, exact, k.Hits, killer)
}

// sweep takes what dies out of the rows in a scope.
func (f *Fold) sweep(scope []byte, exact bool, dies func(clock.Dot) bool, killer clock.Dot) error {
	if exact {
		row, err := f.State.Row(scope)
		if err != nil {
			return err
		}
		_, err = f.take(scope, row, dies, killer)
		return err
	}
	type hit struct {
		key []byte
		row []Survivor
	}
	var hits []hit
	err := f.State.Rows(scope, func(key []byte, row []Survivor) error {
		if slices.ContainsFunc(row, func(s Survivor) bool { return dies(s.Dot) }) {
			hits = append(hits, hit{slices.Clone(key), row})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if plant.Is(plant.LoseKill) && len(hits) > 1 {
		hits = hits[:len(hits)-1]
	}
	for _, h := range hits {
		if _, err := f.take(h.key, h.row, dies, killer); err != nil {
			return err
		}
	}
	return nil
}

// Scope returns the prefix of the keys of the rows that a kill reaches, or the
// one key where exact is set. own is the tag of the delta's own row.
func Scope(d *delta.Delta, own delta.Tag, k *delta.Kill) (scope []byte, exact bool) {
	switch k.Scope {
	case delta.ScopePrefix:
		return AppendPrefix(nil, d.Entity, d.Path), false
	case delta.ScopePath:
		return AppendExact(nil, d.Entity, k.Path), false
	case delta.ScopeTag:
		return AppendKey(nil, d.Entity, d.Path, k.Tag), true
	}
	return AppendKey(nil, d.Entity, d.Path, own), true
}

// Remove takes the given dots out of a row. The zero killer says that no
// delta did it.
func (f *Fold) Remove(key []byte, dies func(clock.Dot) bool) error {
	return f.sweep(key, true, dies, clock.Dot{})
}

// Insert adds a survivor that another state holds to the row.
func (f *Fold) Insert(key []byte, s Survivor) error {
	row, err := f.State.Row(key)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(row, func(x Survivor) bool { return x.Dot == s.Dot }) {
		return nil
	}
	_, err = f.insert(key, row, s)
	return err
}
