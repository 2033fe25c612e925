package merge

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A camp is the writers on one side of a partition in which one lane goes on
// on both sides, under the same names.
type camp struct {
	*history
	cut vector // what the two sides have in common
}

// forked splits a history: writer 0 goes on twice.
func forked(k *kernel, pick chooser) (a, b camp, fork clock.EntryID) {
	h := newHistory(k, pick, 5)
	h.run(h.writers, 20)
	w := h.writers[0]
	fork = clock.EntryID{Lane: w.lane, Seq: w.vec[w.lane] + 1}
	twin := &writer{w.clone(), w.lane}
	side := func(writers ...*writer) camp {
		s := &history{k: k, pick: pick, writers: writers, all: slices.Clone(h.all)}
		s.run(writers, 25)
		return camp{s, h.whole()}
	}
	a = side(w, h.writers[1], h.writers[2])
	b = side(twin, h.writers[3], h.writers[4])
	a.seen = append(a.seen, h.seen...)
	return a, b, fork
}

// settle applies all that one side wrote, then closes the forked lane.
func (c *camp) settle(fork clock.EntryID) (*replica, error) {
	r, err := c.deliver(c.whole())
	if err != nil {
		return nil, err
	}
	return r, r.close(fork)
}

func (r *replica) close(fork clock.EntryID) error {
	r.vec = maps.Clone(r.vec)
	r.vec[fork.Lane] = min(r.vec[fork.Lane], fork.Seq-1)
	return CloseLane(r.fold, fork.Lane, fork.Seq)
}

// closedJoin joins states of which both have the lane closed.
func (r *replica) closedJoin(o *replica, fork clock.EntryID) error {
	closed := func(v vector) covering {
		return func(e clock.EntryID) bool {
			return v.covers(e) || e.Lane == fork.Lane && e.Seq >= fork.Seq
		}
	}
	if err := Join(r.fold, closed(r.vec), o.mem, closed(o.vec)); err != nil {
		return err
	}
	r.vec = r.vec.join(o.vec)
	return nil
}

// One lane signs two entries under one name. Each side closes the lane when it
// learns of that: nothing of either branch lives, what the branches killed
// stays dead, and joining brings both sides to one state, whichever joins
// first and whether they exchange states or entries before.
func lawFork(k *kernel, pick chooser) error {
	a, b, fork := forked(k, pick)
	one, err := a.settle(fork)
	if err != nil {
		return err
	}
	other, err := b.settle(fork)
	if err != nil {
		return err
	}
	if err := errors.Join(one.check(), other.check(), noneOf(one, fork), noneOf(other, fork),
		deadStay(&a, one, fork), deadStay(&b, other, fork)); err != nil {
		return err
	}

	// By state: both ways at once.
	x, y := one.clone(), other.clone()
	if err := errors.Join(x.closedJoin(other, fork), y.closedJoin(one, fork), x.check(), y.check(),
		same("join after a fork", x.describe(false), y.describe(false)),
		deadStay(&a, x, fork), deadStay(&b, x, fork)); err != nil {
		return err
	}

	// By state, from a side that has not closed the lane yet.
	unaware, err := b.deliver(b.whole())
	if err != nil {
		return err
	}
	z := one.clone()
	if err := errors.Join(z.closedJoin(unaware, fork), z.check(), noneOf(z, fork),
		same("join with the unaware", z.describe(false), x.describe(false))); err != nil {
		return err
	}

	// By entries first: the sides end with equal vectors and it may be unequal
	// states, since each lacks what the other's branch killed. Joining settles
	// that, and gives the same as joining at once.
	p, q := one.clone(), other.clone()
	if err := errors.Join(p.takeOpen(b.all, fork), q.takeOpen(a.all, fork)); err != nil {
		return err
	}
	if !maps.Equal(p.vec, q.vec) {
		return fmt.Errorf("vectors %v and %v", p.vec, q.vec)
	}
	q0 := q.clone()
	return errors.Join(q.closedJoin(p, fork), p.closedJoin(q0, fork), p.check(),
		same("join at equal vectors", p.describe(false), q.describe(false)),
		same("entries or states", p.describe(false), x.describe(false)),
		fail(a.seen), fail(b.seen))
}

// takeOpen applies entries but for those of the closed branch. What names the
// branch as its past counts as met.
func (r *replica) takeOpen(all []*written, fork clock.EntryID) error {
	for _, e := range all {
		if e.Lane == fork.Lane && e.Seq >= fork.Seq {
			continue
		}
		open := *e
		open.past = maps.Clone(e.past)
		open.past[fork.Lane] = min(open.past[fork.Lane], fork.Seq-1)
		if err := r.apply(&open); err != nil {
			return err
		}
	}
	return nil
}

func noneOf(r *replica, fork clock.EntryID) error {
	for key, row := range r.mem.rows {
		for i := range row {
			if d := row[i].Dot; d.Lane == fork.Lane && d.Seq >= fork.Seq {
				return fmt.Errorf("%v lives in %q though its lane is closed", d, key)
			}
		}
	}
	return nil
}

// deadStay checks that what died on a side is not alive in a state.
func deadStay(c *camp, r *replica, fork clock.EntryID) error {
	ds := c.deltas(c.whole())
	for i := range ds {
		for j := range ds {
			x := &ds[i]
			if !ds[j].listed(x) {
				continue
			}
			row, err := r.mem.Row(AppendKey(nil, x.Entity, x.Path, delta.TagOf(x.dot.Lane, x.creator, x.Delta)))
			if err != nil {
				return err
			}
			if slices.ContainsFunc(row, func(s Survivor) bool { return s.Dot == x.dot }) {
				return fmt.Errorf("%v lives though %v killed it", x.dot, ds[j].dot)
			}
		}
	}
	return nil
}

func TestFork(t *testing.T) { hold(t, lawFork) }

// Closing a lane takes its rows at or above the fork and no others, and does
// not give back what they killed.
func TestCloseLane(t *testing.T) {
	a := newPen("a")
	a.put("e", "/x", "old")
	b := newPen("b")
	b.take(a)
	b.put("e", "/x", "new")  // b:1 kills a:1
	b.put("e", "/y", "kept") // b:2
	b.put("e", "/z", "goes") // b:3

	if err := CloseLane(b.fold, b.lane, 3); err != nil {
		t.Fatal(err)
	}
	b.wantJSON(t, "e", "", `{"x":"new","y":"kept"}`)
	if err := CloseLane(b.fold, b.lane, 1); err != nil {
		t.Fatal(err)
	}
	if b.mem.Len() != 0 || b.fold.Tally != (Tally{}) {
		t.Errorf("%d rows, tally %v: want an empty state", b.mem.Len(), b.fold.Tally)
	}
	key := AppendKey(nil, "e", "/z", "")
	if dead := b.mem.Buried(key); len(dead) != 1 || dead[0].Killer != (clock.Dot{}) {
		t.Errorf("buried %v: want one that no delta killed", dead)
	}
}

// Two states with different rows under one dot (a fork that neither side has
// noticed) agree on the row with the greater hash, in one row or across two.
func TestJoinDuel(t *testing.T) {
	for _, paths := range [][2]delta.Path{{"/p", "/p"}, {"/p", "/q"}} {
		var sides [2]*pen
		for i := range sides {
			sides[i] = newPen("same")
			sides[i].put("e", paths[i], fmt.Sprint("branch ", i))
		}
		x, y := sides[0].clone(), sides[1].clone()
		if err := errors.Join(x.join(sides[1].replica), y.join(sides[0].replica), x.check(), y.check()); err != nil {
			t.Fatal(err)
		}
		if x.describe(false) != y.describe(false) {
			t.Errorf("%q: %s and %s", paths, x.describe(false), y.describe(false))
		}
		if x.fold.Tally.Rows != 1 {
			t.Errorf("%q: %d survivors of one dot", paths, x.fold.Tally.Rows)
		}
		if x.fold.Tally.Digest != greater(sides[0], sides[1]) {
			t.Errorf("%q: the lesser hash won", paths)
		}
		// A third side that killed the dot wins over both.
		z := sides[0].clone()
		killer := &pen{writer: &writer{z, laneOf(9)}}
		killer.drop("e", "")
		if err := errors.Join(x.join(z), x.check()); err != nil {
			t.Fatal(err)
		}
		if x.mem.Len() != 0 {
			t.Errorf("%q: dead does not beat alive", paths)
		}
	}
}

// A state with rows that its vector does not cover is refused whole.
func TestJoinUncovered(t *testing.T) {
	a, b := newPen("a"), newPen("b")
	a.put("e", "/x", 1)
	a.put("e", "/y", 2)
	b.put("e", "/x", 3)
	before := b.describe(true)
	err := Join(b.fold, b.vec.covers, a.mem, func(e clock.EntryID) bool { return e.Seq < 2 })
	if !errors.Is(err, ErrUncovered) {
		t.Errorf("error %v, want ErrUncovered", err)
	}
	if got := b.describe(true); got != before {
		t.Errorf("a refused join left %s", got)
	}
}
