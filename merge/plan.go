package merge

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// The Plan functions turn what a writer wants into a delta: they look at what
// the writer's state shows and list it as kills.

// ErrOverflow reports an inc that would take a lane's total past int64.
var ErrOverflow = errors.New("counter past int64")

// bounds collects, for each lane, the highest dot among survivors.
type bounds []clock.Dot

func (b *bounds) add(row []Survivor) {
	for i := range row {
		d := row[i].Dot
		at := slices.IndexFunc(*b, func(x clock.Dot) bool { return x.Lane == d.Lane })
		switch {
		case at < 0:
			*b = append(*b, d)
		case (*b)[at].Compare(d) < 0:
			(*b)[at] = d
		}
	}
}

// collect returns the bounds over all rows with the prefix.
func collect(v View, prefix []byte) (bounds, error) {
	var b bounds
	err := v.Rows(prefix, func(_ []byte, row []Survivor) error {
		b.add(row)
		return nil
	})
	slices.SortFunc(b, clock.Dot.Compare)
	return b, err
}

// PlanAssign plans the assignment of a value: it kills every sibling that v
// shows at the path, above it and below it.
func PlanAssign(v View, entity string, p delta.Path, value delta.Value) (delta.Delta, error) {
	d := delta.Delta{Entity: entity, Path: p, Verb: delta.Assign, Value: value}
	for _, up := range p.Ancestors() {
		b, err := collect(v, AppendExact(nil, entity, up))
		if err != nil {
			return d, err
		}
		if len(b) > 0 {
			d.Kills = append(d.Kills, delta.Kill{Scope: delta.ScopePath, Path: up, Bounds: b})
		}
	}
	b, err := collect(v, AppendPrefix(nil, entity, p))
	if len(b) > 0 {
		d.Kills = append(d.Kills, delta.Kill{Scope: delta.ScopePrefix, Bounds: b})
	}
	return d, err
}

// PlanDrop plans the removal of all at and below a path. ok is false where
// there is nothing.
func PlanDrop(v View, entity string, p delta.Path) (d delta.Delta, ok bool, err error) {
	b, err := collect(v, AppendPrefix(nil, entity, p))
	if err != nil || len(b) == 0 {
		return d, false, err
	}
	return delta.Delta{
		Entity: entity, Path: p, Verb: delta.Drop, Value: delta.Null,
		Kills: []delta.Kill{{Scope: delta.ScopePrefix, Bounds: b}},
	}, true, nil
}

// PlanAdd plans the addition of a value to a bag.
func PlanAdd(entity string, p delta.Path, value delta.Value) delta.Delta {
	return delta.Delta{Entity: entity, Path: p, Verb: delta.Add, Value: value}
}

// PlanVote plans a creator's vote: it kills the creator's earlier values.
func PlanVote(v View, entity string, p delta.Path, creator string, value delta.Value) (delta.Delta, error) {
	d := delta.Delta{Entity: entity, Path: p, Verb: delta.Vote, Value: value}
	return d, planOwnRow(v, clock.LaneID{}, creator, &d)
}

// PlanInc plans an increment by the lane: it kills the lane's earlier inc and
// carries its total on.
func PlanInc(v View, entity string, p delta.Path, lane clock.LaneID, amount int64) (delta.Delta, error) {
	d := delta.Delta{Entity: entity, Path: p, Verb: delta.Inc}
	row, err := v.Row(AppendKey(nil, entity, p, delta.TagOf(lane, "", &d)))
	if err != nil {
		return d, err
	}
	total := amount
	for i := range row {
		inc, ok := row[i].Value.Inc()
		if !ok {
			return d, fmt.Errorf("%s: %w", delta.Key(entity, p), ErrRow)
		}
		if total, ok = plus(total, inc.Total); !ok {
			return d, fmt.Errorf("%s: %w", delta.Key(entity, p), ErrOverflow)
		}
	}
	d.Value = delta.IncValue{Amount: amount, Total: total}.Value()
	return d, planOwnRow(v, lane, "", &d)
}

// planOwnRow lists what stands in the delta's own row.
func planOwnRow(v View, lane clock.LaneID, creator string, d *delta.Delta) error {
	row, err := v.Row(AppendKey(nil, d.Entity, d.Path, delta.TagOf(lane, creator, d)))
	if err == nil && len(row) > 0 {
		d.Kills = []delta.Kill{{Scope: delta.ScopeRow, Dots: dotsOf(row)}}
	}
	return err
}

// PlanRemove plans the removal of a value from a bag. ok is false where the
// bag does not hold it.
func PlanRemove(v View, entity string, p delta.Path, value delta.Value) (d delta.Delta, ok bool, err error) {
	tag := delta.BagTag(value)
	row, err := v.Row(AppendKey(nil, entity, p, tag))
	if err != nil {
		return d, false, err
	}
	row = slices.DeleteFunc(slices.Clone(row), func(s Survivor) bool { return string(s.Value) != string(value) })
	if len(row) == 0 {
		return d, false, nil
	}
	return delta.Delta{
		Entity: entity, Path: p, Verb: delta.Remove, Value: delta.Null,
		Kills: []delta.Kill{{Scope: delta.ScopeTag, Tag: tag, Dots: dotsOf(row)}},
	}, true, nil
}

// PlanNegate plans the negation of dots that live in one row.
func PlanNegate(entity string, p delta.Path, tag delta.Tag, dots []clock.Dot) delta.Delta {
	k := delta.Kill{Scope: delta.ScopeRow, Dots: dots}
	if tag != "" {
		k.Scope, k.Tag = delta.ScopeTag, tag
	}
	return delta.Delta{Entity: entity, Path: p, Verb: delta.Negate, Value: delta.Null, Kills: []delta.Kill{k}}
}

func dotsOf(row []Survivor) []clock.Dot {
	dots := make([]clock.Dot, len(row))
	for i := range row {
		dots[i] = row[i].Dot
	}
	return dots
}

// plus adds without overflow.
func plus(a, b int64) (int64, bool) {
	if b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b {
		return 0, false
	}
	return a + b, true
}
