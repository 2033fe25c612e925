package merge

import (
	"bytes"
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

// ErrCreator reports a vote without a creator. All such votes would share one
// row, so one author's would kill another's.
var ErrCreator = errors.New("a vote needs a creator")

// collect returns, in lane order, for each lane with survivors in rows with
// the prefix its highest dot there.
func collect(v View, prefix []byte) ([]clock.Dot, error) {
	var bounds []clock.Dot
	err := v.Rows(prefix, func(_ []byte, row []Survivor) error {
		for i := range row {
			d := row[i].Dot
			at, found := slices.BinarySearchFunc(bounds, d.Lane, func(b clock.Dot, l clock.LaneID) int { return b.Lane.Compare(l) })
			switch {
			case !found:
				bounds = slices.Insert(bounds, at, d)
			case bounds[at].Compare(d) < 0:
				bounds[at] = d
			}
		}
		return nil
	})
	return bounds, err
}

// An Absenter is a View that knows of many an entity that it has no row of it, and
// says so faster than it reads.
type Absenter interface {
	// Absent reports whether there is surely no row of the entity.
	Absent(entity string) bool
}

// PlanAssign plans the assignment of a value: it kills every sibling that v
// shows at the path, above it and below it.
func PlanAssign(v View, entity string, p delta.Path, value delta.Value) (delta.Delta, error) {
	d := delta.Delta{Entity: entity, Path: p, Verb: delta.Assign, Value: value}
	if a, ok := v.(Absenter); ok && a.Absent(entity) {
		return d, nil
	}
	var err error
	d.Kills, err = siblings(v, entity, p)
	return d, err
}

// siblings lists as kills what v shows at a path, above it and below it.
func siblings(v View, entity string, p delta.Path) (kills []delta.Kill, err error) {
	sweep := func(prefix []byte, k delta.Kill) (err error) {
		if k.Bounds, err = collect(v, prefix); len(k.Bounds) > 0 {
			kills = append(kills, k)
		}
		return err
	}
	// This is the order in which an entry lists its kills.
	err = sweep(AppendPrefix(nil, entity, p), delta.Kill{Scope: delta.ScopePrefix})
	for _, up := range p.Ancestors() {
		if err != nil {
			break
		}
		err = sweep(AppendExact(nil, entity, up), delta.Kill{Scope: delta.ScopePath, Path: up})
	}
	return kills, err
}

// PlanAssignAlone plans the assignment of a value in place of its siblings at the
// path, and leaves all above and below it alone.
func PlanAssignAlone(v View, entity string, p delta.Path, value delta.Value) (delta.Delta, error) {
	d := delta.Delta{Entity: entity, Path: p, Verb: delta.Assign, Value: value}
	return d, planOwnRow(v, clock.LaneID{}, "", &d)
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

// PlanVote plans a creator's vote: it kills the creator's earlier values. The
// transaction must name the same creator, which must not be empty: an author
// that votes for itself gives its own name.
func PlanVote(v View, entity string, p delta.Path, creator string, value delta.Value) (delta.Delta, error) {
	d := delta.Delta{Entity: entity, Path: p, Verb: delta.Vote, Value: value}
	if creator == "" {
		return d, fmt.Errorf("%s: %w", delta.Key(entity, p), ErrCreator)
	}
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
	// Two values whose tags meet share a row; only the one named goes.
	row = slices.DeleteFunc(slices.Clone(row), func(s Survivor) bool { return !bytes.Equal(s.Value, value) })
	if len(row) == 0 {
		return d, false, nil
	}
	return delta.Delta{
		Entity: entity, Path: p, Verb: delta.Remove, Value: delta.Null,
		Kills: []delta.Kill{{Scope: delta.ScopeTag, Tag: tag, Dots: dotsOf(row)}},
	}, true, nil
}

// PlanNegate plans the negation of dots, in any order, that live in one row.
// It is not for an inc, which its inverse undoes: the lane's next inc would
// carry on from nothing.
func PlanNegate(entity string, p delta.Path, tag delta.Tag, dots []clock.Dot) delta.Delta {
	dots = slices.Compact(slices.SortedFunc(slices.Values(dots), clock.Dot.Compare))
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
