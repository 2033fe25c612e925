package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// The kinds of keys that the state takes, after the space's prefix. Package
// oplog owns 'e', 'l', 'o', 'p', 't' and 'x'.
const (
	kindCheckpoint = 'c' // number (8)                              ->  checkpoint
	kindDead       = 'd' // era (4) | row key | lane number (4) | seq (8) | index (4)  ->  killer, survivor
	kindEras       = 'h' //                                                 ->  eras of dead rows and kills
	kindStaged     = 'g' // row key | dot as above -> survivor of a peer's state
	kindKill       = 'k' // era (4) | scope's length (2) | scope | killer as above  ->  exact, kill
	kindMeta       = 'm' //                                                 ->  tally, clock
	kindRef        = 'r' // name(target) | row key                           ->  nothing
	kindSeen       = 'w' // peer                                            ->  ordinal up to which it holds all
	kindState      = 's' // row key                                         ->  survivors
)

// rows is a merge.View of what a storage reader holds.
type rows struct {
	r      storage.Reader
	prefix []byte // of the space
	lanes  merge.Lanes
}

func (v *rows) key(kind byte, k []byte) []byte {
	return append(append(append(make([]byte, 0, len(v.prefix)+1+len(k)), v.prefix...), kind), k...)
}

// Row implements merge.View.
func (v *rows) Row(key []byte) ([]merge.Survivor, error) {
	b, err := v.r.Get(v.key(kindState, key))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read row: %w", err)
	}
	return merge.ParseRow(b, v.lanes)
}

// Rows implements merge.View.
func (v *rows) Rows(prefix []byte, f func(key []byte, row []merge.Survivor) error) error {
	lo := v.key(kindState, prefix)
	skip := len(v.prefix) + 1
	for kv, err := range v.r.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return fmt.Errorf("scan rows: %w", err)
		}
		row, err := merge.ParseRow(bytes.Clone(kv.Value), v.lanes)
		if err != nil {
			return err
		}
		if err := f(kv.Key[skip:], row); err != nil {
			return err
		}
	}
	return nil
}

// A state is the merge.State of the replica: what the store holds, and over it
// the rows that the batch in the making has changed.
type state struct {
	rows

	// changed holds the rows of the batch in the making, nil for one that
	// goes; byEntity lists their keys by the entity's prefix, in order.
	changed  map[string][]merge.Survivor
	byEntity map[string]changedKeys

	// side are the other writes of the batch: refs, dead rows, kills.
	side []write

	// journal undoes what a transaction did to changed.
	journal []undo

	// eras are those of dead rows and kills, the newest last; they are written
	// when they change.
	eras      eras
	erasDirty bool
	// past is the newest time of what lies below the horizon.
	past clock.Timestamp

	// forget says that what dies is not kept.
	forget bool

	// system counts the changes to what the space says of itself.
	system uint64

	// touched are the entities whose rows have changed since they were asked for;
	// nil while nobody asks.
	touched map[string]bool

	// known answers for absent keys; nil until it pays to build it.
	known  *filter
	misses int

	scratch []byte // Absent's
}

type write struct {
	key, value []byte
	del        bool
}

type undo struct {
	key string
	row []merge.Survivor
	had bool
}

// changedKeys are the keys of an entity's changed rows, in order. Most often there
// is one, and it takes no list.
type changedKeys struct {
	one  string
	many []string
}

func (c changedKeys) list() []string {
	if c.many == nil && c.one != "" {
		return []string{c.one}
	}
	return c.many
}

func (c changedKeys) with(key string) changedKeys {
	if c.many == nil && c.one == "" {
		return changedKeys{one: key}
	}
	l := c.list()
	at, _ := slices.BinarySearch(l, key)
	return changedKeys{many: slices.Insert(l, at, key)}
}

func (c changedKeys) without(key string) changedKeys {
	l := c.list()
	if i, ok := slices.BinarySearch(l, key); ok {
		l = slices.Delete(l, i, i+1)
	}
	return changedKeys{many: l}
}

// filterAfterMisses is how many reads of absent keys a replica bears before it
// scans its rows to build the filter: a command that writes one key on a large
// repo should not scan it.
const filterAfterMisses = 256

func newState(db storage.Reader, prefix []byte, lanes merge.Lanes, empty bool) *state {
	s := &state{
		rows:     rows{r: db, prefix: prefix, lanes: lanes},
		changed:  make(map[string][]merge.Survivor),
		byEntity: make(map[string]changedKeys),
	}
	if empty {
		s.known = newFilter()
	}
	return s
}

// note adds to the filter a row's key and every prefix that is asked for.
func (s *state) note(key []byte) error {
	if s.known == nil {
		return nil
	}
	return merge.Prefixes(key, s.known.add)
}

// absent reports whether surely no row has the key or prefix.
func (s *state) absent(key []byte) (bool, error) {
	if s.known == nil {
		if s.misses++; s.misses < filterAfterMisses {
			return false, nil
		}
		if err := s.buildFilter(); err != nil {
			return false, err
		}
	}
	return !s.known.has(key), nil
}

// Absent implements merge.Absenter.
func (s *state) Absent(entity string) bool {
	if s.known == nil {
		return false
	}
	s.scratch = merge.AppendPrefix(s.scratch[:0], entity, "")
	return !s.known.has(s.scratch)
}

func (s *state) buildFilter() error {
	s.known = newFilter()
	lo := s.key(kindState, nil)
	for kv, err := range s.r.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return fmt.Errorf("build filter: %w", err)
		}
		if err := s.note(kv.Key[len(lo):]); err != nil {
			return err
		}
	}
	for key := range s.changed { // additions to a set: the order does not matter
		if err := s.note([]byte(key)); err != nil {
			return err
		}
	}
	return nil
}

// Row implements merge.View.
func (s *state) Row(key []byte) ([]merge.Survivor, error) {
	if row, ok := s.changed[string(key)]; ok {
		return row, nil
	}
	if no, err := s.absent(key); no || err != nil {
		return nil, err
	}
	return s.rows.Row(key)
}

// Rows implements merge.View.
func (s *state) Rows(prefix []byte, f func(key []byte, row []merge.Survivor) error) error {
	whole := false // the prefix holds all of an entity's name, and the filter knows it
	if len(prefix) > 0 {
		_, err := merge.EntityPrefix(prefix)
		whole = err == nil
	}
	if whole {
		if no, err := s.absent(prefix); no || err != nil {
			return err
		}
	}
	over, err := s.changedUnder(prefix, whole)
	if err != nil {
		return err
	}
	upTo := func(limit []byte) error {
		for len(over) > 0 && (limit == nil || over[0] < string(limit)) {
			if row := s.changed[over[0]]; len(row) > 0 {
				if err := f([]byte(over[0]), row); err != nil {
					return err
				}
			}
			over = over[1:]
		}
		return nil
	}
	err = s.rows.Rows(prefix, func(key []byte, row []merge.Survivor) error {
		if err := upTo(key); err != nil {
			return err
		}
		if _, ok := s.changed[string(key)]; ok {
			return nil
		}
		return f(key, row)
	})
	if err != nil {
		return err
	}
	return upTo(nil)
}

// changedUnder lists the changed rows with a prefix, in order. Whole says that
// it holds all of an entity's name.
func (s *state) changedUnder(prefix []byte, whole bool) ([]string, error) {
	if !whole {
		keys := slices.Sorted(maps.Keys(s.changed))
		return slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, string(prefix)) }), nil
	}
	n, err := merge.EntityPrefix(prefix)
	if err != nil {
		return nil, err
	}
	keys := s.byEntity[string(prefix[:n])].list()
	from, _ := slices.BinarySearch(keys, string(prefix))
	to := from
	for to < len(keys) && strings.HasPrefix(keys[to], string(prefix)) {
		to++
	}
	return keys[from:to], nil
}

// SetRow implements merge.State.
func (s *state) SetRow(key []byte, row []merge.Survivor) error {
	k := string(key)
	if catalog.IsSystem(k) {
		s.system++
	}
	old, had := s.changed[k]
	s.journal = append(s.journal, undo{k, old, had})
	if !had {
		n, err := merge.EntityPrefix(key)
		if err != nil {
			return err
		}
		s.byEntity[k[:n]] = s.byEntity[k[:n]].with(k)
	}
	s.changed[k] = row
	if len(row) == 0 {
		return nil
	}
	return s.note(key)
}

// SetRef implements merge.State.
func (s *state) SetRef(target string, key []byte, present bool) {
	k := s.key(kindRef, append(merge.AppendPrefix(nil, target, ""), key...))
	s.side = append(s.side, write{key: k, del: !present})
}

// Bury implements merge.State.
func (s *state) Bury(key []byte, v merge.Survivor, killer clock.Dot) {
	if s.forget {
		return
	}
	k := s.appendDot(s.inEra(kindDead, s.eras.now(), key), v.Dot)
	b := s.appendDot(nil, killer)
	s.side = append(s.side, write{key: k, value: merge.AppendRow(b, []merge.Survivor{v}, s.lanes)})
}

// unbury forgets that a survivor died.
func (s *state) unbury(key []byte, d clock.Dot) {
	for _, e := range s.eras {
		s.side = append(s.side, write{key: s.appendDot(s.inEra(kindDead, e.number, key), d), del: true})
	}
}

// Kill implements merge.State.
func (s *state) Kill(scope []byte, exact bool, k *delta.Kill, killer clock.Dot) {
	v := []byte{0}
	if exact {
		v[0] = 1
	}
	for _, dots := range [][]clock.Dot{k.Dots, k.Bounds} {
		v = binary.AppendUvarint(v, uint64(len(dots)))
		for _, d := range dots {
			v = s.appendDot(v, d)
		}
	}
	s.side = append(s.side, write{key: s.appendDot(s.killScope(s.eras.now(), scope), killer), value: v})
}

// killScope returns the prefix of an era's kept kills with exactly this scope.
func (v *rows) killScope(era uint32, scope []byte) []byte {
	return append(v.inEra(kindKill, era, binary.BigEndian.AppendUint16(nil, uint16(len(scope)))), scope...)
}

const dotBytes = 4 + 8 + 4

// appendDot appends a dot in stored form: lane number, seq, index. The zero
// dot has lane number 0.
func (v *rows) appendDot(b []byte, d clock.Dot) []byte {
	b = binary.BigEndian.AppendUint32(b, v.lanes.Number(d.Lane))
	b = binary.BigEndian.AppendUint64(b, d.Seq)
	return binary.BigEndian.AppendUint32(b, d.Index)
}

func (v *rows) parseDot(b []byte) (clock.Dot, []byte, error) {
	if len(b) < dotBytes {
		return clock.Dot{}, nil, storage.ErrCorrupt
	}
	d := clock.Dot{Seq: binary.BigEndian.Uint64(b[4:]), Index: binary.BigEndian.Uint32(b[12:])}
	if n := binary.BigEndian.Uint32(b); n != 0 {
		l, ok := v.lanes.Lane(n)
		if !ok {
			return clock.Dot{}, nil, storage.ErrCorrupt
		}
		d.Lane = l
	}
	return d, b[dotBytes:], nil
}

// A mark is a place in the batch in the making to which it can go back.
type mark struct {
	journal, side int
	system        uint64
}

func (s *state) mark() mark { return mark{len(s.journal), len(s.side), s.system} }

// rollback undoes all since the mark.
func (s *state) rollback(m mark) {
	for i := len(s.journal) - 1; i >= m.journal; i-- {
		u := &s.journal[i]
		if u.had {
			s.changed[u.key] = u.row
			continue
		}
		// The key stays listed in byEntity; without an entry in changed it
		// would read as deleted, so it is taken out there too.
		delete(s.changed, u.key)
		s.unlist(u.key)
	}
	s.journal, s.side, s.system = s.journal[:m.journal], s.side[:m.side], m.system
}

func (s *state) unlist(key string) {
	n, err := merge.EntityPrefix([]byte(key))
	if err != nil {
		return // SetRow has parsed it
	}
	s.byEntity[key[:n]] = s.byEntity[key[:n]].without(key)
}

// flush moves what has changed into a batch and starts anew.
func (s *state) flush(b storage.Batch) {
	if len(s.changed) == 0 && len(s.side) == 0 && len(s.journal) == 0 && !s.erasDirty {
		return
	}
	if s.touched != nil {
		for prefix := range s.byEntity { // into a set: the order does not matter
			if entity, _, err := merge.EntityOf([]byte(prefix)); err == nil {
				s.touched[entity] = true
			}
		}
	}
	keys := make([]string, 0, len(s.changed))
	for i := range s.journal { // where most keys come in order, which makes sorting cheap
		if u := &s.journal[i]; !u.had {
			keys = append(keys, u.key)
		}
	}
	slices.Sort(keys)
	prefix := s.key(kindState, nil)
	var key, buf []byte
	for _, k := range keys {
		key = append(append(key[:0], prefix...), k...)
		if row := s.changed[k]; len(row) > 0 {
			buf = merge.AppendRow(buf[:0], row, s.lanes)
			b.Set(key, buf)
		} else {
			b.Delete(key)
		}
	}
	for _, w := range s.side {
		if w.del {
			b.Delete(w.key)
		} else {
			b.Set(w.key, w.value)
		}
	}
	if s.erasDirty {
		b.Set(s.key(kindEras, nil), s.eras.append(nil, s.past))
		s.erasDirty = false
	}
	s.side, s.journal = s.side[:0], s.journal[:0]
	clear(s.changed)
	clear(s.byEntity)
}

// meta is the row that goes with every batch.
type meta struct {
	tally merge.Tally
	time  clock.Timestamp
}

func (m *meta) append(b []byte) []byte {
	d := m.tally.Digest.Bytes()
	b = append(b, d[:]...)
	b = binary.AppendUvarint(b, m.tally.Rows)
	return binary.AppendUvarint(b, uint64(m.time))
}

func parseMeta(b []byte) (m meta, err error) {
	if len(b) < digest.Size {
		return m, fmt.Errorf("meta row: %w", storage.ErrCorrupt)
	}
	m.tally.Digest = digest.FromBytes([digest.Size]byte(b[:digest.Size]))
	b = b[digest.Size:]
	for _, p := range []*uint64{&m.tally.Rows, (*uint64)(&m.time)} {
		v, k := binary.Uvarint(b)
		if k <= 0 {
			return m, fmt.Errorf("meta row: %w", storage.ErrCorrupt)
		}
		*p, b = v, b[k:]
	}
	return m, nil
}
