package merge

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A chooser makes the choices of a random history: any number below n.
type chooser func(n int) int

func drawn(t *rapid.T) chooser {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
}

func seeded(seed uint64) chooser { return rand.New(rand.NewPCG(seed, 7)).IntN }

func choose[E any](pick chooser, of []E) E { return of[pick(len(of))] }

// A kernel is the rules under test; the zero kernel is those of this package.
// What it changes is a mutation that the laws must notice.
type kernel struct {
	plan    func(*delta.Delta)                              // spoils what a writer plans
	receive func(delta.Entry) delta.Entry                   // spoils what a node applies
	state   func(State) State                               // spoils where a node keeps it
	join    func(*Fold, covering, View, covering) error     // takes the place of Join
	repeat  bool                                            // applies duplicates again
	read    func(View, string, delta.Path) (Reading, error) // takes the place of Read
}

type covering = func(clock.EntryID) bool

// A vector is what a replica has applied.
type vector map[clock.LaneID]uint64

func (v vector) covers(e clock.EntryID) bool { return e.Seq <= v[e.Lane] }

func (v vector) join(o vector) vector {
	out := maps.Clone(v)
	for l, n := range o {
		out[l] = max(out[l], n)
	}
	return out
}

// A written entry knows what its author had applied.
type written struct {
	delta.Entry
	past vector
}

// A replica is one state and what went into it.
type replica struct {
	k    *kernel
	mem  *MemState
	fold *Fold
	vec  vector
	log  []*written // in the order of application
}

func newReplica(k *kernel) *replica {
	r := &replica{k: k, mem: new(MemState), vec: vector{}}
	r.mount(Tally{})
	return r
}

// mount puts a fold on the state, as a restart does.
func (r *replica) mount(t Tally) {
	var s State = r.mem
	if r.k.state != nil {
		s = r.k.state(s)
	}
	r.fold = &Fold{State: s, Tally: t}
}

func (r *replica) clone() *replica {
	c := &replica{k: r.k, mem: r.mem.Clone(), vec: maps.Clone(r.vec), log: slices.Clip(r.log)}
	c.mount(r.fold.Tally)
	return c
}

func (r *replica) ready(e *written) bool {
	for l, n := range e.past {
		if r.vec[l] < n {
			return false
		}
	}
	return true
}

func (r *replica) apply(e *written) error {
	if r.vec.covers(e.ID()) && !r.k.repeat {
		return nil
	}
	if !r.ready(e) {
		return fmt.Errorf("%v before its past", e.ID())
	}
	entry := e.Entry
	if r.k.receive != nil {
		entry = r.k.receive(entry)
	}
	r.note(e)
	return r.fold.Apply(&entry)
}

func (r *replica) note(e *written) {
	r.vec[e.Lane] = max(r.vec[e.Lane], e.Seq)
	r.log = append(r.log, e)
}

func (r *replica) join(o *replica) error {
	join := Join
	if r.k.join != nil {
		join = r.k.join
	}
	if err := join(r.fold, r.vec.covers, o.mem, o.vec.covers); err != nil {
		return err
	}
	r.vec = r.vec.join(o.vec)
	return nil
}

// A writer is a replica with a lane of its own.
type writer struct {
	*replica
	lane clock.LaneID
}

// A history is what some writers wrote.
type history struct {
	k       *kernel
	pick    chooser
	writers []*writer
	all     []*written // in the order of writing, which extends causality
	seen    []string   // what went wrong at the writing

	// counters restricts the history to increments, for the law of sums.
	counters bool
	// values are what is written; nil stands for values.
	values []delta.Value
}

var (
	entities = []string{"e", "f"}
	paths    = []delta.Path{"", "/a", "/a/b", "/a/b/c", "/a/", "/a/b~1", "/a\x00", "/ab", "/d"}
	values   = []delta.Value{
		delta.Int(1), delta.Int(2), delta.String("x"), delta.Null, delta.Ref("e"), delta.Ref("f"), delta.Ref("gone"),
	}
	creators = []string{"ann", "bob", "cyn"}
)

func laneOf(i int) clock.LaneID { return clock.LaneID{byte(0x10 * (i + 1)), byte(i)} }

func newHistory(k *kernel, pick chooser, writers int) *history {
	h := &history{k: k, pick: pick}
	for i := range writers {
		h.writers = append(h.writers, &writer{newReplica(k), laneOf(i)})
	}
	return h
}

// randomHistory lets up to four writers write up to n entries and exchange
// them.
func randomHistory(k *kernel, pick chooser, n int) *history {
	h := newHistory(k, pick, 2+pick(3))
	h.run(h.writers, n)
	return h
}

// run takes n steps among the writers of one camp.
func (h *history) run(camp []*writer, n int) {
	for range n {
		w := choose(h.pick, camp)
		if h.pick(3) == 0 {
			h.pull(w, choose(h.pick, camp))
			continue
		}
		h.write(w)
	}
}

// pull brings w a causally closed part of what another holds: the start of
// its log.
func (h *history) pull(w, from *writer) {
	for _, e := range from.log[:h.pick(len(from.log)+1)] {
		h.must(w.apply(e))
	}
}

func (h *history) must(err error) {
	if err != nil {
		h.seen = append(h.seen, err.Error())
	}
}

// write appends one entry of one or more transactions. Each delta is planned
// on a state that shows those before it.
func (h *history) write(w *writer) {
	e := &written{past: maps.Clone(w.vec)}
	e.Lane, e.Seq = w.lane, w.vec[w.lane]+1
	// Clocks are not to be trusted: times say nothing of causality.
	e.Time = clock.Timestamp(1 + h.pick(6))
	index := uint32(0)
	for range 1 + h.pick(2) {
		x := delta.Txn{Creator: choose(h.pick, creators)}
		o := Origin{Lane: e.Lane, Seq: e.Seq, Time: e.Time, Creator: x.Creator, Txn: index}
		for range 1 + h.pick(3) {
			d, ok, err := h.planAny(w, x.Creator)
			h.must(err)
			if !ok {
				continue
			}
			if h.k.plan != nil {
				h.k.plan(&d)
			}
			h.must(w.fold.ApplyDelta(&o, index, &d))
			x.Deltas = append(x.Deltas, d)
			index++
		}
		if len(x.Deltas) > 0 {
			e.Body.Txns = append(e.Body.Txns, x)
		}
	}
	w.note(e)
	h.all = append(h.all, e)
	h.must(e.roundTrip())
}

// roundTrip replaces the entry's body by what a reader of its bytes sees.
func (e *written) roundTrip() error {
	body, err := delta.ParseBody(delta.AppendBody(nil, e.Lane, &e.Body), e.ID())
	e.Body = body
	return err
}

func (h *history) planAny(w *writer, creator string) (d delta.Delta, ok bool, err error) {
	of := h.values
	if of == nil {
		of = values
	}
	entity, path, value := choose(h.pick, entities), choose(h.pick, paths), choose(h.pick, of)
	kind := h.pick(16)
	if h.counters {
		kind = 11
	}
	switch kind {
	default:
		d, err = PlanAssign(w.mem, entity, path, value)
		return d, true, err
	case 5, 6, 7:
		return PlanAdd(entity, path, value), true, nil
	case 8, 9, 10:
		d, err = PlanVote(w.mem, entity, path, creator, value)
		return d, true, err
	case 11, 12:
		d, err = PlanInc(w.mem, entity, path, w.lane, int64(h.pick(7)-3))
		return d, true, err
	case 13:
		return PlanRemove(w.mem, entity, path, value)
	case 14:
		return PlanDrop(w.mem, entity, path)
	case 15:
		return h.planNegate(w)
	}
}

// planNegate picks some of the dots of one row that w sees.
func (h *history) planNegate(w *writer) (d delta.Delta, ok bool, err error) {
	if w.mem.Len() == 0 {
		return d, false, nil
	}
	key := choose(h.pick, w.mem.keys)
	row := w.mem.rows[key]
	if row[0].Verb == delta.Inc {
		return d, false, nil // an inc is undone by its inverse
	}
	entity, path, tag, err := ParseKey([]byte(key))
	dots := dotsOf(row)[h.pick(len(row)):]
	return PlanNegate(entity, path, tag, dots), true, err
}

// cut returns a causally closed part of the history: the pasts of some
// entries.
func (h *history) cut() vector {
	cut := vector{}
	for _, e := range h.all {
		if h.pick(4) == 0 {
			cut = cut.join(e.past).join(vector{e.Lane: e.Seq})
		}
	}
	return cut
}

// deliver folds all entries within the cut in a random order that extends
// causality, with duplicates among them and restarts between them.
func (h *history) deliver(cut vector) (*replica, error) {
	r := newReplica(h.k)
	var left []*written
	for _, e := range h.all {
		if cut.covers(e.ID()) {
			left = append(left, e)
		}
	}
	for len(left) > 0 {
		var ready []int
		for i, e := range left {
			if r.ready(e) {
				ready = append(ready, i)
			}
		}
		if len(ready) == 0 {
			return nil, fmt.Errorf("nothing of %d entries is ready at %v", len(left), r.vec)
		}
		i := choose(h.pick, ready)
		if err := r.apply(left[i]); err != nil {
			return nil, err
		}
		left = slices.Delete(left, i, i+1)
		if h.pick(5) == 0 {
			if err := r.apply(choose(h.pick, r.log)); err != nil {
				return nil, err
			}
		}
		if h.pick(5) == 0 {
			r.mount(r.fold.Tally)
		}
	}
	return r, nil
}

func (h *history) whole() vector {
	v := vector{}
	for _, e := range h.all {
		v[e.Lane] = max(v[e.Lane], e.Seq)
	}
	return v
}

// describe prints all that a fold determines. The dead are a matter of what
// was applied here, so a state that was joined leaves them out.
func (r *replica) describe(dead bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "tally %v %d\n", r.fold.Tally.Digest, r.fold.Tally.Rows)
	for _, k := range r.mem.keys {
		for _, s := range r.mem.rows[k] {
			fmt.Fprintf(&b, "%q %v %v\n", k, s.Dot, s.Sum([]byte(k)))
		}
	}
	for _, t := range r.mem.Targets() {
		fmt.Fprintf(&b, "ref %s %q\n", t, r.mem.Refs(t))
	}
	if !dead {
		return b.String()
	}
	for _, k := range slices.Sorted(maps.Keys(r.mem.dead)) {
		for _, d := range r.mem.Buried([]byte(k)) {
			fmt.Fprintf(&b, "dead %q %v by %v\n", k, d.Dot, r.mem.Killers([]byte(k), d.Dot))
		}
	}
	return b.String()
}

// check says what in the state contradicts the rest of it: the tally and the
// index of references must be those that the rows give.
func (r *replica) check() error {
	var t Tally
	refs := map[string]map[string]bool{}
	for _, k := range r.mem.keys {
		row := r.mem.rows[k]
		if !slices.IsSortedFunc(row, func(a, b Survivor) int { return a.Dot.Compare(b.Dot) }) {
			return fmt.Errorf("row %q is out of order", k)
		}
		for i := range row {
			t.Rows++
			t.Digest = t.Digest.Plus(row[i].Sum([]byte(k)))
			if to, ok := row[i].Value.Ref(); ok {
				if refs[to] == nil {
					refs[to] = map[string]bool{}
				}
				refs[to][k] = true
			}
		}
	}
	if t != r.fold.Tally {
		return fmt.Errorf("tally %v, rows give %v", r.fold.Tally, t)
	}
	if !maps.EqualFunc(refs, r.mem.refs, maps.Equal[map[string]bool]) {
		return fmt.Errorf("refs %v, rows give %v", r.mem.refs, refs)
	}
	for k, dead := range r.mem.dead {
		for _, d := range dead {
			if d.Killer != (clock.Dot{}) && !slices.Contains(r.mem.Killers([]byte(k), d.Dot), d.Killer) {
				return fmt.Errorf("%v killed %v, and no kill says so", d.Killer, d.Dot)
			}
		}
	}
	return nil
}

func same(what, got, want string) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s: got\n%swant\n%s", what, got, want)
}

var historiesFlag = flag.Int("histories", 150, "how many random histories each law is held to, beside those that rapid draws")

// hold checks that a law holds: on histories drawn by rapid, which shrinks one
// that fails, and on fixed ones, which are longer on average.
func hold(t *testing.T, law func(k *kernel, pick chooser) error) {
	t.Helper()
	for seed := range uint64(*historiesFlag) {
		if err := law(new(kernel), seeded(seed)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if err := law(new(kernel), drawn(t)); err != nil {
			t.Fatal(err)
		}
	})
}

func equalBytes(a, b delta.Value) bool { return bytes.Equal(a, b) }
