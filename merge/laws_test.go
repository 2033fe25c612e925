package merge

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// Every order of delivery that extends causality, with duplicates and however
// it is split, gives one state, one digest, one tally and the same dead.
func lawDelivery(k *kernel, pick chooser) error {
	h := randomHistory(k, pick, 30)
	cut := h.whole()
	if pick(2) == 0 {
		cut = h.cut()
	}
	first, err := h.deliver(cut)
	if err != nil {
		return err
	}
	want := first.describe(true)
	for range 3 {
		r, err := h.deliver(cut)
		if err != nil {
			return err
		}
		if err := errors.Join(r.check(), same("another order", r.describe(true), want)); err != nil {
			return err
		}
	}
	// Each writer, too, has folded a part of it.
	for _, w := range h.writers {
		r, err := h.deliver(w.vec)
		if err != nil {
			return err
		}
		if err := errors.Join(w.check(), same("a writer", w.describe(true), r.describe(true))); err != nil {
			return err
		}
	}
	return errors.Join(fail(h.seen))
}

// A fold that leaves its sums to Settle ends with the tally of one that does not,
// whenever they are settled, and also where entries were taken back.
func lawLate(k *kernel, pick chooser) error {
	h := randomHistory(k, pick, 30)
	whole, err := h.deliver(h.whole())
	if err != nil {
		return err
	}
	mem := new(MemState)
	late := Fold{State: mem, Late: true}
	for _, e := range whole.log {
		if pick(3) == 0 {
			mark := late.Mark()
			late.State = mem.Clone()
			if err := late.Apply(&e.Entry); err != nil {
				return err
			}
			late.State = mem
			late.Rollback(mark)
		}
		if err := late.Apply(&e.Entry); err != nil {
			return err
		}
		if pick(2) == 0 {
			late.Settle()
		}
	}
	late.Settle()
	if late.Due() > 0 || late.Tally != whole.fold.Tally {
		return fmt.Errorf("late %v, %d due; at once %v", late.Tally, late.Due(), whole.fold.Tally)
	}
	return nil
}

func fail(seen []string) error {
	if len(seen) == 0 {
		return nil
	}
	return errors.New(strings.Join(seen, "\n"))
}

// Joining any states equals folding all that went into them, in every order
// and grouping.
func lawJoin(k *kernel, pick chooser) error {
	h := randomHistory(k, pick, 30)
	var parts [3]*replica
	union := vector{}
	for i := range parts {
		cut := h.cut()
		var err error
		if parts[i], err = h.deliver(cut); err != nil {
			return err
		}
		union = union.join(cut)
	}
	all, err := h.deliver(union)
	if err != nil {
		return err
	}
	want := all.describe(false)
	for _, o := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		left := parts[o[0]].clone() // (a b) c
		right := parts[o[0]].clone()
		inner := parts[o[1]].clone() // a (b c)
		err := errors.Join(
			left.join(parts[o[1]]), left.join(parts[o[2]]),
			inner.join(parts[o[2]]), right.join(inner),
			left.check(), right.check(),
			same(fmt.Sprint("join ", o), left.describe(false), want),
			same(fmt.Sprint("join grouped ", o), right.describe(false), want),
			left.join(left.clone()), // idempotent
			left.join(parts[0]),     // and what it has, it has
			same(fmt.Sprint("join again ", o), left.describe(false), want),
		)
		if err != nil {
			return err
		}
	}
	// What was joined goes on as if it had been folded.
	rest := parts[0].clone()
	if err := rest.join(parts[1]); err != nil {
		return err
	}
	for _, e := range h.all {
		if err := rest.apply(e); err != nil {
			return err
		}
	}
	if all, err = h.deliver(h.whole()); err != nil {
		return err
	}
	return errors.Join(rest.check(), same("go on", rest.describe(false), all.describe(false)), fail(h.seen))
}

// A placedDelta is a delta of a history with all that decides its fate.
type placedDelta struct {
	*delta.Delta
	dot     clock.Dot
	past    vector
	creator string
}

func (h *history) deltas(cut vector) []placedDelta {
	var out []placedDelta
	for _, e := range h.all {
		if !cut.covers(e.ID()) {
			continue
		}
		i := 0
		for _, x := range e.Body.Txns {
			for j := range x.Deltas {
				out = append(out, placedDelta{&x.Deltas[j], e.Dot(i), e.past, x.Creator})
				i++
			}
		}
	}
	return out
}

// saw reports whether the author of y had applied x.
func (y *placedDelta) saw(x *placedDelta) bool {
	if x.dot.Entry() == y.dot.Entry() {
		return x.dot.Index < y.dot.Index
	}
	return y.past.covers(x.dot.Entry())
}

func below(p, at delta.Path) bool { return p == at || strings.HasPrefix(string(p), string(at)+"/") }

// means reports whether y, by what its verb is for, kills the survivor x that
// its author saw. It looks at no kill but a negation's.
func (y *placedDelta) means(x *placedDelta) bool {
	at := x.Path == y.Path
	switch {
	case x.Entity != y.Entity || !x.Verb.Survives() || !y.saw(x):
		return false
	case y.Verb == delta.Assign:
		return below(x.Path, y.Path) || below(y.Path, x.Path)
	case y.Verb == delta.Drop:
		return below(x.Path, y.Path)
	case y.Verb == delta.Vote:
		return at && x.Verb == delta.Vote && x.creator == y.creator
	case y.Verb == delta.Inc:
		return at && x.Verb == delta.Inc && x.dot.Lane == y.dot.Lane
	case y.Verb == delta.Negate:
		return at && slices.Contains(y.Kills[0].Dots, x.dot)
	}
	return false
}

// names reports whether a removal's kills name x, which must be a value of the
// bag at its path: which value is written nowhere else.
func (y *placedDelta) names(x *placedDelta) bool {
	return y.Verb == delta.Remove && x.Verb == delta.Add && x.Entity == y.Entity && x.Path == y.Path &&
		slices.Contains(y.Kills[0].Dots, x.dot)
}

// listed is the naive reading of a kill: scope by path and tag, not by key.
func (y *placedDelta) listed(x *placedDelta) bool {
	if x.Entity != y.Entity || !x.Verb.Survives() {
		return false
	}
	tag := delta.TagOf(x.dot.Lane, x.creator, x.Delta)
	for i := range y.Kills {
		k := &y.Kills[i]
		var in bool
		switch k.Scope {
		case delta.ScopePrefix:
			in = below(x.Path, y.Path)
		case delta.ScopePath:
			in = x.Path == k.Path
		case delta.ScopeTag:
			in = x.Path == y.Path && tag == k.Tag
		case delta.ScopeRow:
			in = x.Path == y.Path && tag == delta.TagOf(y.dot.Lane, y.creator, y.Delta)
		}
		if in && k.Hits(x.dot) {
			return true
		}
	}
	return false
}

// survivors replays a set of deltas: one lives unless another kills it.
func survivors(ds []placedDelta, kills func(y, x *placedDelta) bool) string {
	var lines []string
	for i := range ds {
		x := &ds[i]
		dead := !x.Verb.Survives()
		for j := range ds {
			dead = dead || kills(&ds[j], x)
		}
		if !dead {
			tag := delta.TagOf(x.dot.Lane, x.creator, x.Delta)
			lines = append(lines, fmt.Sprintf("%q %q %q %v\n", x.Entity, x.Path, tag, x.dot))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (r *replica) survivors() string {
	var lines []string
	for _, key := range r.mem.keys {
		entity, path, tag, err := ParseKey([]byte(key))
		if err != nil {
			return err.Error()
		}
		for _, s := range r.mem.rows[key] {
			lines = append(lines, fmt.Sprintf("%q %q %q %v\n", entity, path, tag, s.Dot))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// The survivors are those that no applied kill hits; and the kills that are
// written, as bounds and scopes, hit exactly what each verb is meant to: what
// its author saw, nothing concurrent, and for ever.
func lawMeaning(k *kernel, pick chooser) error {
	h := randomHistory(k, pick, 30)
	cut := h.whole()
	if pick(2) == 0 {
		cut = h.cut()
	}
	r, err := h.deliver(cut)
	if err != nil {
		return err
	}
	ds := h.deltas(cut)
	meant := survivors(ds, func(y, x *placedDelta) bool { return y.means(x) || y.names(x) })
	listed := survivors(ds, (*placedDelta).listed)
	got := r.survivors()
	return errors.Join(same("by meaning", got, meant), same("by kills", got, listed), fail(h.seen))
}

// A bound kills what the list of the exact dots would.
func lawBounds(k *kernel, pick chooser) error {
	h := randomHistory(k, pick, 30)
	bounds, err := h.deliver(h.whole())
	if err != nil {
		return err
	}
	ds := h.deltas(h.whole())
	exact := make([]*written, len(h.all))
	for i, e := range h.all {
		c := *e
		c.Body.Txns = slices.Clone(c.Body.Txns)
		for j := range c.Body.Txns {
			deltas := slices.Clone(c.Body.Txns[j].Deltas)
			for n := range deltas {
				deltas[n].Kills = exactKills(&deltas[n], ds)
			}
			c.Body.Txns[j].Deltas = deltas
		}
		exact[i] = &c
	}
	h.all = exact
	dots, err := h.deliver(h.whole())
	if err != nil {
		return err
	}
	return errors.Join(same("exact dots", dots.describe(false), bounds.describe(false)), fail(h.seen))
}

// exactKills lists the dots that the bounds of a delta meet in the history.
func exactKills(d *delta.Delta, ds []placedDelta) []delta.Kill {
	kills := slices.Clone(d.Kills)
	for i := range kills {
		k := &kills[i]
		for j := range ds {
			if len(k.Bounds) > 0 && ds[j].Entity == d.Entity && k.Hits(ds[j].dot) {
				k.Dots = append(k.Dots, ds[j].dot)
			}
		}
		k.Bounds = nil
		slices.SortFunc(k.Dots, clock.Dot.Compare)
	}
	return kills
}

// A counter that nobody drops or negates reads as the sum of all amounts.
func lawCounters(k *kernel, pick chooser) error {
	h := newHistory(k, pick, 3)
	h.counters = true
	h.run(h.writers, 25)
	cut := h.cut()
	r, err := h.deliver(cut)
	if err != nil {
		return err
	}
	type counter struct {
		entity string
		path   delta.Path
	}
	sums := map[counter]int64{}
	for _, d := range h.deltas(cut) {
		inc, _ := d.Value.Inc()
		sums[counter{d.Entity, d.Path}] += inc.Amount
	}
	for c, want := range sums {
		reading, found, err := Read(r.mem, c.entity, c.path)
		if err != nil {
			return err
		}
		if !found || reading.Properties[0].Value != want {
			return fmt.Errorf("%v reads as %v, amounts make %d", c, reading.Properties[0].Value, want)
		}
	}
	return fail(h.seen)
}

// A read is a function of the survivors: not of the order in which they were
// inserted, nor of what died.
func lawReads(k *kernel, pick chooser) error {
	h := randomHistory(k, pick, 30)
	r, err := h.deliver(h.cut())
	if err != nil {
		return err
	}
	var loose []placed
	for _, key := range r.mem.keys {
		for _, s := range r.mem.rows[key] {
			loose = append(loose, placed{key, s})
		}
	}
	again := newReplica(k)
	for len(loose) > 0 {
		i := pick(len(loose))
		// Twice is as good as once.
		if err := errors.Join(
			again.fold.Insert([]byte(loose[i].key), loose[i].Survivor),
			again.fold.Insert([]byte(loose[i].key), loose[i].Survivor),
		); err != nil {
			return err
		}
		loose = slices.Delete(loose, i, i+1)
	}
	if err := same("inserted", again.describe(false), r.describe(false)); err != nil {
		return err
	}
	read := k.read
	if read == nil {
		read = func(v View, entity string, p delta.Path) (Reading, error) {
			reading, _, err := Read(v, entity, p)
			return reading, err
		}
	}
	for _, entity := range entities {
		for _, path := range paths {
			a, err := read(r.mem, entity, path)
			if err != nil {
				return err
			}
			b, err := read(again.mem, entity, path)
			if err != nil {
				return err
			}
			if !reflect.DeepEqual(a, b) {
				return fmt.Errorf("%s%s reads as %v and as %v", entity, path, a, b)
			}
			if err := checkReading(&a, path); err != nil {
				return err
			}
		}
	}
	return fail(h.seen)
}

// checkReading holds a reading to what its documentation promises.
func checkReading(r *Reading, at delta.Path) error {
	if !slices.IsSorted(r.Conflicts) {
		return fmt.Errorf("conflicts out of order: %q", r.Conflicts)
	}
	for i := range r.Properties {
		p := &r.Properties[i]
		if !below(p.Path, at) || i > 0 && p.Path == r.Properties[i-1].Path {
			return fmt.Errorf("property %q in a read of %q", p.Path, at)
		}
		if !slices.Contains(p.Shown, true) {
			return fmt.Errorf("%q shows none of %d survivors", p.Path, len(p.Survivors))
		}
		if p.Conflict && !slices.Contains(r.Conflicts, p.Path) {
			return fmt.Errorf("the conflict at %q is missing from %q", p.Path, r.Conflicts)
		}
		for j := range p.Survivors {
			if j > 0 && !p.Survivors[j-1].newer(&p.Survivors[j]) {
				return fmt.Errorf("%q: survivors out of order", p.Path)
			}
			if !p.Shown[j] && !p.Conflict && p.Survivors[j].Verb == delta.Assign &&
				!equalBytes(p.Survivors[j].Value, p.Survivors[0].Value) {
				return fmt.Errorf("%q hides %v and calls it no conflict", p.Path, p.Survivors[j].Dot)
			}
		}
	}
	return nil
}

func TestDelivery(t *testing.T) { hold(t, lawDelivery) }
func TestLate(t *testing.T)     { hold(t, lawLate) }
func TestJoin(t *testing.T)     { hold(t, lawJoin) }
func TestMeaning(t *testing.T)  { hold(t, lawMeaning) }
func TestBounds(t *testing.T)   { hold(t, lawBounds) }
func TestCounters(t *testing.T) { hold(t, lawCounters) }
func TestReads(t *testing.T)    { hold(t, lawReads) }
