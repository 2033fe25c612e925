package merge

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A MemState is a State in memory, for tests and for tools that look at small
// states. It keeps all that died and every kill, for ever. Its zero value is
// empty and ready to use. It has one owner; rows that it hands out are shared
// and must not be changed.
type MemState struct {
	rows map[string][]Survivor

	// keys are the keys of rows in order.
	keys []string

	dead  map[string][]Dead
	kills []killRecord

	// refs holds for each target the keys of the rows that refer to it.
	refs map[string]map[string]bool
}

// A Dead is a survivor no more. Killer is the zero dot where no delta did it.
type Dead struct {
	Survivor
	Killer clock.Dot
}

// A killRecord is one kill as it was applied.
type killRecord struct {
	scope  string
	exact  bool
	kill   *delta.Kill
	killer clock.Dot
}

func (r *killRecord) reaches(key string) bool {
	return key == r.scope || !r.exact && strings.HasPrefix(key, r.scope)
}

// Row returns the survivors of one row.
func (m *MemState) Row(key []byte) ([]Survivor, error) { return m.rows[string(key)], nil }

// Rows calls f for each row with the prefix, in key order.
func (m *MemState) Rows(prefix []byte, f func(key []byte, row []Survivor) error) error {
	var key []byte
	first, _ := slices.BinarySearch(m.keys, string(prefix))
	for _, k := range m.keys[first:] {
		key = append(key[:0], k...)
		if !bytes.HasPrefix(key, prefix) {
			break
		}
		if err := f(key, m.rows[k]); err != nil {
			return err
		}
	}
	return nil
}

// SetRow replaces a row; no survivors means no row.
func (m *MemState) SetRow(key []byte, row []Survivor) error {
	k := string(key)
	at, found := slices.BinarySearch(m.keys, k)
	switch {
	case len(row) == 0:
		if found {
			m.keys = slices.Delete(m.keys, at, at+1)
		}
		delete(m.rows, k)
		return nil
	case !found:
		m.keys = slices.Insert(m.keys, at, k)
	}
	if m.rows == nil {
		m.rows = make(map[string][]Survivor)
	}
	m.rows[k] = row
	return nil
}

// SetRef notes whether the row refers to the target.
func (m *MemState) SetRef(target string, key []byte, present bool) {
	if !present {
		delete(m.refs[target], string(key))
		if len(m.refs[target]) == 0 {
			delete(m.refs, target)
		}
		return
	}
	if m.refs == nil {
		m.refs = make(map[string]map[string]bool)
	}
	if m.refs[target] == nil {
		m.refs[target] = make(map[string]bool)
	}
	m.refs[target][string(key)] = true
}

// Bury keeps a survivor that died.
func (m *MemState) Bury(key []byte, s Survivor, killer clock.Dot) {
	if m.dead == nil {
		m.dead = make(map[string][]Dead)
	}
	m.dead[string(key)] = append(m.dead[string(key)], Dead{s, killer})
}

// Kill keeps a kill.
func (m *MemState) Kill(scope []byte, exact bool, k *delta.Kill, killer clock.Dot) {
	m.kills = append(m.kills, killRecord{string(scope), exact, k, killer})
}

// Len returns the number of rows.
func (m *MemState) Len() int { return len(m.keys) }

// Targets returns the entities that some row refers to, in order.
func (m *MemState) Targets() []string { return slices.Sorted(maps.Keys(m.refs)) }

// Refs returns the keys of the rows that refer to the target, in order.
func (m *MemState) Refs(target string) []string { return slices.Sorted(maps.Keys(m.refs[target])) }

// Buried returns what died in a row, in dot order.
func (m *MemState) Buried(key []byte) []Dead {
	dead := slices.Clone(m.dead[string(key)])
	slices.SortFunc(dead, func(a, b Dead) int { return a.Dot.Compare(b.Dot) })
	return dead
}

// Killers returns, in order, the deltas of which each alone kills the dot in
// that row: the first that came is the Killer of what was buried, and any
// later one would have done it too.
func (m *MemState) Killers(key []byte, d clock.Dot) []clock.Dot {
	var by []clock.Dot
	for i := range m.kills {
		if r := &m.kills[i]; r.reaches(string(key)) && r.kill.Hits(d) {
			by = append(by, r.killer)
		}
	}
	slices.SortFunc(by, clock.Dot.Compare)
	return slices.Compact(by)
}

// Clone returns a copy that shares no changes with m.
func (m *MemState) Clone() *MemState {
	c := &MemState{
		rows:  maps.Clone(m.rows),
		keys:  slices.Clone(m.keys),
		dead:  make(map[string][]Dead, len(m.dead)),
		kills: slices.Clip(m.kills),
		refs:  make(map[string]map[string]bool, len(m.refs)),
	}
	for k, dead := range m.dead {
		c.dead[k] = slices.Clip(dead)
	}
	for t, keys := range m.refs {
		c.refs[t] = maps.Clone(keys)
	}
	return c
}
