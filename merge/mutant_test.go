package merge

import (
	"math"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A law that holds of everything proves nothing. Here each rule is broken in
// turn, and the law that guards it must notice within a few histories.
func TestLawsNoticeMutants(t *testing.T) {
	for _, m := range []struct {
		name string
		law  func(*kernel, chooser) error
		kernel
	}{
		{"assign spares what is above it", lawMeaning, kernel{plan: func(d *delta.Delta) {
			d.Kills = slices.DeleteFunc(d.Kills, func(k delta.Kill) bool { return k.Scope == delta.ScopePath })
		}}},
		{"assign spares what is below it", lawMeaning, kernel{plan: func(d *delta.Delta) {
			for i := range d.Kills {
				if d.Verb == delta.Assign && d.Kills[i].Scope == delta.ScopePrefix {
					d.Kills[i].Scope, d.Kills[i].Path = delta.ScopePath, d.Path
				}
			}
		}}},
		{"vote kills nothing", lawMeaning, kernel{plan: func(d *delta.Delta) {
			if d.Verb == delta.Vote {
				d.Kills = nil
			}
		}}},
		{"inc forgets the total", lawCounters, kernel{plan: func(d *delta.Delta) {
			if inc, ok := d.Value.Inc(); ok && d.Verb == delta.Inc {
				d.Value = delta.IncValue{Amount: inc.Amount, Total: inc.Amount}.Value()
			}
		}}},
		{"inc keeps its lane's earlier one", lawCounters, kernel{plan: func(d *delta.Delta) {
			if d.Verb == delta.Inc {
				d.Kills = nil
			}
		}}},
		{"bounds are exclusive", lawBounds, kernel{receive: eachKill(func(k *delta.Kill) {
			k.Bounds = slices.Clone(k.Bounds)
			for i, b := range k.Bounds {
				if b.Index--; b.Index == math.MaxUint32 {
					b.Seq--
				}
				k.Bounds[i] = b
			}
		})}},
		{"a drop kills what its author never saw", lawDelivery, kernel{receive: eachKill(func(k *delta.Kill) {
			k.Bounds = slices.Clone(k.Bounds)
			for i := range k.Bounds {
				k.Bounds[i].Seq = math.MaxInt64
			}
		})}},
		{"a kill reaches into one row only", lawMeaning, kernel{state: func(s State) State { return oneRow{s} }}},
		{"a kill reaches too far", lawMeaning, kernel{state: func(s State) State { return wholeEntity{s} }}},
		{"the index of refs forgets to delete", lawDelivery, kernel{state: func(s State) State { return staleRefs{s} }}},
		{"the index of refs forgets to insert", lawDelivery, kernel{state: func(s State) State { return noRefs{s} }}},
		{"the last writer wins in the fold", lawDelivery, kernel{state: func(s State) State { return oneSurvivor{s} }}},
		{"duplicates count", lawDelivery, kernel{repeat: true}},
		{"join resurrects what the other side killed", lawJoin, kernel{
			join: func(f *Fold, covers covering, v View, srcCovers covering) error {
				return Join(f, func(clock.EntryID) bool { return false }, v, srcCovers)
			},
		}},
		{"join keeps what the other side killed", lawJoin, kernel{
			join: func(f *Fold, covers covering, v View, srcCovers covering) error {
				return v.Rows(nil, func(key []byte, row []Survivor) error {
					for _, s := range row {
						if covers(s.Dot.Entry()) {
							continue
						}
						if err := f.Insert(key, s); err != nil {
							return err
						}
					}
					return nil
				})
			},
		}},
		{"join loses what only one side has seen", lawJoin, kernel{
			join: func(f *Fold, covers covering, v View, _ covering) error {
				return Join(f, covers, v, func(clock.EntryID) bool { return true })
			},
		}},
		{"join by vectors that are not closed under kills", lawJoin, kernel{
			join: func(f *Fold, covers covering, v View, srcCovers covering) error {
				err := Join(f, covers, v, func(e clock.EntryID) bool { return srcCovers(e) || e.Seq == 1 })
				return err
			},
		}},
		{"a read depends on what died", lawReads, kernel{
			read: func(v View, entity string, p delta.Path) (Reading, error) {
				r, found, err := Read(v, entity, p)
				if m, ok := v.(*MemState); ok && found {
					r.ETag[0] += uint64(len(m.dead))
				}
				return r, err
			},
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			for seed := range uint64(200) {
				if m.law(&m.kernel, seeded(seed)) != nil {
					return
				}
			}
			t.Error("no law noticed")
		})
	}
}

// eachKill spoils the kills of the entries that a node applies.
func eachKill(spoil func(*delta.Kill)) func(delta.Entry) delta.Entry {
	return func(e delta.Entry) delta.Entry {
		e.Body.Txns = slices.Clone(e.Body.Txns)
		for i := range e.Body.Txns {
			deltas := slices.Clone(e.Body.Txns[i].Deltas)
			for j := range deltas {
				deltas[j].Kills = slices.Clone(deltas[j].Kills)
				for n := range deltas[j].Kills {
					spoil(&deltas[j].Kills[n])
				}
			}
			e.Body.Txns[i].Deltas = deltas
		}
		return e
	}
}

type oneRow struct{ State }

func (s oneRow) Rows(prefix []byte, f func([]byte, []Survivor) error) error {
	first := true
	return s.State.Rows(prefix, func(key []byte, row []Survivor) error {
		if !first {
			return nil
		}
		first = false
		return f(key, row)
	})
}

type wholeEntity struct{ State }

func (s wholeEntity) Rows(prefix []byte, f func([]byte, []Survivor) error) error {
	_, n, err := EntityOf(prefix)
	if err != nil {
		return err
	}
	return s.State.Rows(prefix[:n], f)
}

type staleRefs struct{ State }

func (s staleRefs) SetRef(target string, key []byte, present bool) {
	if present {
		s.State.SetRef(target, key, present)
	}
}

type noRefs struct{ State }

func (noRefs) SetRef(string, []byte, bool) {}

// oneSurvivor keeps the newest survivor of each row.
type oneSurvivor struct{ State }

func (s oneSurvivor) SetRow(key []byte, row []Survivor) error {
	if len(row) > 0 {
		row = []Survivor{slices.MaxFunc(row, func(a, b Survivor) int { return a.compare(&b) })}
	}
	return s.State.SetRow(key, row)
}
