package node

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A past is the merge.View of the state as of a cut at or above the horizon:
//
//	{live s : dot(s) ∈ C} ∪ {dead s : dot(s) ∈ C, and no kill that hits s is in C}
//
// It is what the entries of the cut fold to. Survivors are a function of the
// cut alone; what lives now and was there then lived then too, since a kill is
// for ever; and of what died, the row and every kill that hits it are kept
// until one of the kills is below the horizon, and so in every such cut.
//
// What the withdrawn entries of a closed lane killed counts as dead at every
// cut, as it does in the newest state.
type past struct {
	rows
	eras   eras
	cut    *cut
	closed map[clock.LaneID]uint64
}

func (m *moment) view(c *cut) *past {
	v := &past{rows: m.n.rows, eras: m.eras, cut: c, closed: m.closed}
	v.r = m.snap
	return v
}

// killed reports whether what a delta killed is dead at the cut. The zero dot
// stands for a death that no delta caused, below the horizon.
func (v *past) killed(by clock.Dot) bool {
	at := v.closed[by.Lane]
	return by == clock.Dot{} || v.cut.has(by) || at > 0 && by.Seq >= at
}

// Row implements merge.View.
func (v *past) Row(key []byte) ([]merge.Survivor, error) {
	live, err := v.rows.Row(key)
	if err != nil {
		return nil, err
	}
	again, err := v.revived(key, true)
	return v.join(live, again[string(key)]), err
}

// Rows implements merge.View. It holds what died below the prefix and lived at
// the cut in memory.
func (v *past) Rows(prefix []byte, f func(key []byte, row []merge.Survivor) error) error {
	again, err := v.revived(prefix, false)
	if err != nil {
		return err
	}
	keys := slices.Sorted(maps.Keys(again))
	give := func(key []byte, live []merge.Survivor) error {
		row := v.join(live, again[string(key)])
		if len(row) == 0 {
			return nil
		}
		return f(key, row)
	}
	err = v.rows.Rows(prefix, func(key []byte, live []merge.Survivor) error {
		for len(keys) > 0 && keys[0] < string(key) {
			if err := give([]byte(keys[0]), nil); err != nil {
				return err
			}
			keys = keys[1:]
		}
		if len(keys) > 0 && keys[0] == string(key) {
			keys = keys[1:]
		}
		return give(key, live)
	})
	for _, k := range keys {
		if err == nil {
			err = give([]byte(k), nil)
		}
	}
	return err
}

// join returns, in dot order, what of a live row was there at the cut and what
// lived there then and is dead now.
func (v *past) join(live, again []merge.Survivor) []merge.Survivor {
	out := slices.Clone(again)
	for i := range live {
		if v.cut.has(live[i].Dot) {
			out = append(out, live[i])
		}
	}
	slices.SortFunc(out, func(a, b merge.Survivor) int { return a.Dot.Compare(b.Dot) })
	return out
}

// revived returns by row what is dead now and lived at the cut, of the rows
// with a prefix or of the one row with that key.
func (v *past) revived(scope []byte, exact bool) (map[string][]merge.Survivor, error) {
	found := make(map[string][]merge.Survivor)
	err := v.deadIn(v.eras, scope, func(row []byte, killer clock.Dot, s *merge.Survivor) error {
		if (!exact || bytes.Equal(row, scope)) && v.cut.has(s.Dot) && !v.killed(killer) {
			found[string(row)] = append(found[string(row)], *s)
		}
		return nil
	})
	for row, dead := range found {
		if err != nil {
			break
		}
		err = v.killsOf(v.eras, []byte(row), func(killer clock.Dot, k *delta.Kill) bool {
			if v.killed(killer) {
				dead = slices.DeleteFunc(dead, func(s merge.Survivor) bool { return k.Hits(s.Dot) })
			}
			return len(dead) > 0
		})
		found[row] = dead
	}
	if err != nil {
		return nil, fmt.Errorf("read the past: %w", err)
	}
	return found, nil
}

// ExportAt is Export as of a cut, by the schemas of now.
func (n *Node) ExportAt(ctx context.Context, prefix, at string) iter.Seq2[Reading, error] {
	if at == "" {
		return n.Export(ctx, prefix)
	}
	return func(yield func(Reading, error) bool) {
		m := n.pin()
		defer m.close()
		c, err := m.cutAt(ctx, at)
		if err != nil {
			yield(Reading{}, err)
			return
		}
		view := m.view(c)
		cids := make(map[clock.EntryID]string)
		for entity, err := range n.entitiesOf(ctx, view, prefix) {
			if err == nil && hidden(prefix, entity) {
				continue
			}
			var out Reading
			found := false
			if err == nil {
				var r merge.Reading
				if r, found, err = merge.ReadWith(view, entity, "", n.Catalog().MovesOf(entity)); err == nil && found {
					out, err = n.reading(m.snap, cids, entity, "", &r)
				}
			}
			if err != nil {
				yield(Reading{}, err)
				return
			}
			if found && !yield(out, nil) {
				return
			}
		}
	}
}

// nextEntity returns the first entity with rows in a range of keys, and where to
// look for the one after it, nil where there is none.
func nextEntity(r storage.Reader, lo, hi []byte, skip int) (entity string, next []byte, err error) {
	for kv, err := range r.Scan(lo, hi) {
		if err != nil {
			return "", nil, fmt.Errorf("list: %w", err)
		}
		entity, m, err := merge.EntityOf(kv.Key[skip:])
		if err != nil {
			return "", nil, err
		}
		return entity, storage.PrefixEnd(append([]byte(nil), kv.Key[:skip+m]...)), nil
	}
	return "", nil, nil
}

// entitiesOf yields, in byte order, the ids of all entities with a prefix that
// may have lived at a cut: those that live now, and those of dead rows.
func (n *Node) entitiesOf(ctx context.Context, v *past, prefix string) iter.Seq2[string, error] {
	type source struct {
		entity       string // the next one; lo is where to look for those after it
		lo, hi, head []byte
	}
	return func(yield func(string, error) bool) {
		heads := [][]byte{v.key(kindState, nil)}
		for _, e := range v.eras {
			heads = append(heads, v.inEra(kindDead, e.number, nil))
		}
		sources := make([]*source, 0, len(heads))
		// next moves a source on and reports whether it has one more.
		next := func(s *source) (bool, error) {
			var err error
			s.entity, s.lo, err = nextEntity(v.r, s.lo, s.hi, len(s.head))
			return err == nil && s.lo != nil && strings.HasPrefix(s.entity, prefix), err
		}
		for _, head := range heads {
			s := &source{lo: slices.Concat(head, namePrefix(prefix)), hi: storage.PrefixEnd(head), head: head}
			more, err := next(s)
			if err != nil {
				yield("", err)
				return
			}
			if more {
				sources = append(sources, s)
			}
		}
		for len(sources) > 0 {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			entity := slices.MinFunc(sources, func(a, b *source) int { return cmp.Compare(a.entity, b.entity) }).entity
			if !yield(entity, nil) {
				return
			}
			kept := sources[:0]
			for _, s := range sources {
				more, err := true, error(nil)
				if s.entity == entity {
					more, err = next(s)
				}
				if err != nil {
					yield("", err)
					return
				}
				if more {
					kept = append(kept, s)
				}
			}
			sources = kept
		}
	}
}
