package node

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
)

// still returns a node over a host's replica that nothing drives: for reading.
func (h *host) still() *Node {
	n := &Node{cfg: Config{LogID: h.name}, replica: h.r, db: h.r.db, store: h.r.log.Store, rows: h.r.state.rows}
	n.views.n = n
	if err := n.refresh(); err != nil {
		panic(err)
	}
	n.visible.Store(h.r.log.Ordinal())
	n.history.Store(h.r.log.History())
	return n
}

// heldAbove returns the entries above the horizon.
func (h *host) heldAbove(m *moment) (out []*delta.Entry) {
	for _, e := range h.entries() {
		if e.Seq > m.horizon[e.Lane] {
			out = append(out, e)
		}
	}
	return out
}

// randomCut closes some entries above the horizon under all that they name.
func (w *world) randomCut(m *moment, held []*delta.Entry) *cut {
	c := &cut{seqs: map[clock.LaneID]uint64{}}
	for l, seq := range m.horizon {
		c.seqs[l] = seq
	}
	byID := map[clock.EntryID]*delta.Entry{}
	for _, e := range held {
		byID[e.ID()] = e
	}
	var add func(id clock.EntryID)
	add = func(id clock.EntryID) {
		for c.seqs[id.Lane] < id.Seq {
			c.seqs[id.Lane]++
			names(byID[clock.EntryID{Lane: id.Lane, Seq: c.seqs[id.Lane]}], add)
		}
	}
	for range w.rng.IntN(4) {
		if len(held) > 0 {
			add(held[w.rng.IntN(len(held))].ID())
		}
	}
	return c
}

// checkPast holds what a host shows of the past to what the archive folds to.
func (w *world) checkPast(h *host, a archive) {
	w.t.Helper()
	a.harvest(h)
	n := h.still()
	m := n.pin()
	defer m.close()
	held := h.heldAbove(m)
	same := func(what string, c *cut) {
		w.t.Helper()
		var v clock.Vector
		for l, seq := range c.seqs {
			if seq < m.horizon[l] {
				w.fatalf("%s, %s: the cut is below the horizon", h.name, what)
			}
			v.Set(l, clock.Head{Seq: seq})
		}
		state, _ := a.twin(w.t, &v)
		if got, want := rowsOf(w.t, m.view(c)), rowsOf(w.t, state); !slices.Equal(got, want) {
			w.fatalf("%s, %s: as of %v it shows\n%q\nwhere the entries fold to\n%q", h.name, what, c.seqs, got, want)
		}
		if len(held) > 0 {
			w.seen["past "+what]++
		}
	}
	same("closed cut", w.randomCut(m, held))

	ordinal := m.edge + w.rng.Uint64N(m.ordinal-m.edge+1)
	c, err := m.cutAt(w.t.Context(), n.cursor(ordinal))
	w.must(err)
	same("cursor", c)

	at := m.past.Millis() + w.rng.Int64N(max(1, w.now-m.past.Millis()+3000))
	c, err = m.cutAt(w.t.Context(), time.UnixMilli(at).UTC().Format(time.RFC3339Nano))
	w.must(err)
	same("time", c)
	w.checkLargest(h, c, at, held)

	if len(held) == 0 {
		return
	}
	c, err = m.cutAt(w.t.Context(), held[w.rng.IntN(len(held))].ID().String())
	switch {
	case err == nil:
		same("entry", c)
	case !errors.Is(err, ErrHorizon):
		w.fatalf("%v", err)
	default:
		w.seen["entry above a horizon that it does not cover"]++
	}
}

// checkLargest: no entry could be added to a cut by time.
func (w *world) checkLargest(h *host, c *cut, at int64, held []*delta.Entry) {
	w.t.Helper()
	for _, e := range held {
		if e.Seq <= c.seqs[e.Lane] && e.Time.Millis() > at {
			w.fatalf("%s: %v of %v is in the cut of %d", h.name, e.ID(), e.Time, at)
		}
		if e.Seq != c.seqs[e.Lane]+1 || e.Time.Millis() > at {
			continue
		}
		closed := true
		names(e, func(id clock.EntryID) { closed = closed && id.Seq <= c.seqs[id.Lane] })
		if closed {
			w.fatalf("%s: %v is missing from the cut of %d", h.name, e.ID(), at)
		}
	}
}

// What a replica shows as of any cut at or above its horizon is what the
// entries of that cut fold to, whatever it has dropped or taken over since.
func TestPast(t *testing.T) {
	seen := map[string]int{}
	eachSeed(t, 150, func(t *testing.T, w *world) {
		w.lossy, w.seen = true, seen
		a := archive{}
		for i := range 2 + w.rng.IntN(3) {
			w.add(string(rune('a' + i))).skew = w.rng.Int64N(4000) - 2000
		}
		if w.chance(40) {
			w.hosts[0].skew = 20 * 60_000 // nobody's clock follows that
		}
		for range 100 + w.rng.IntN(200) {
			w.stepCompacting(a)
			h := w.hosts[w.rng.IntN(len(w.hosts))]
			if w.chance(5) {
				w.checkPast(h, a)
			}
			if w.chance(5) && len(h.r.state.eras) < maxEras {
				h.r.newEra() // as a window does when it has become long
			}
		}
		w.heal()
		w.settle(settleMillis)
		for _, h := range w.hosts {
			a.harvest(h)
		}
		for _, h := range w.hosts {
			w.checkPast(h, a)
			if rep, err := h.still().Verify(t.Context(), nil); err != nil || len(rep.Problems) > 0 {
				w.fatalf("%s: verify: %q, %v", h.name, rep.Problems, err)
			}
		}
	})
	t.Log(fmt.Sprint(seen))
	for _, what := range []string{"past closed cut", "past cursor", "past time", "past entry", "entry above a horizon that it does not cover"} {
		if seen[what] == 0 && *seedFlag == 0 {
			t.Errorf("no schedule came upon: %s", what)
		}
	}
}

// Also where lanes were closed for forks, and floors rose past that since: as of
// now the past is what is there now, and a reread finds nothing.
func TestPastAfterForks(t *testing.T) {
	eachSeed(t, 100, func(t *testing.T, w *world) {
		w.lossy, w.seen = true, map[string]int{}
		for i := range 2 + w.rng.IntN(2) {
			w.add(string(rune('a' + i)))
		}
		compacting := func(steps int) {
			for range steps {
				w.step(4)
				if h := w.hosts[w.rng.IntN(len(w.hosts))]; w.chance(4) {
					w.compact(h, archive{})
				}
			}
		}
		for range 60 {
			w.step(4)
		}
		h := w.hosts[w.rng.IntN(len(w.hosts))]
		h.flush()
		h.write(Request{Ops: []Op{{Kind: OpInc, Entity: "c", N: 1}}})
		w.clone(h, "clone")
		for range 200 {
			w.step(4)
		}
		w.heal()
		w.settle(4 * settleMillis)
		w.lossy = w.chance(50)
		compacting(60)
		w.heal()
		w.settle(4 * settleMillis)
		for _, h := range w.hosts {
			h.flush()
			n := h.still()
			m := n.pin()
			if got, want := rowsOf(t, m.view(m.now())), rowsOf(t, &n.rows); !slices.Equal(got, want) {
				w.fatalf("%s: as of now it shows\n%q\nand has\n%q", h.name, got, want)
			}
			if c, err := m.cutAt(t.Context(), n.cursor(m.ordinal)); err != nil || !slices.Equal(rowsOf(t, m.view(c)), rowsOf(t, &n.rows)) {
				w.fatalf("%s: as of the newest cursor: %v", h.name, err)
			}
			m.close()
			if rep, err := n.Verify(t.Context(), nil); err != nil || len(rep.Problems) > 0 {
				w.fatalf("%s: verify: %q, %v", h.name, rep.Problems, err)
			}
		}
	})
}

// An entry that contradicts the one at a floor, of which only the hash is known,
// is no reason to stop: whoever holds more can prove the fork.
func TestForkAtFloor(t *testing.T) {
	w := newWorld(t, 1)
	w.calm = true
	a := w.add("a")
	for i := range 3 {
		a.put("k", "", int64(i))
	}
	b := w.clone(a, "b")
	w.split(a, b)
	c := w.add("c")
	w.connect(a, c)
	a.put("k", "", "a")
	a.put("k", "", "a again")
	w.settleSome(c, a)
	_, cp, err := c.r.Checkpoint(c.now(), CompactRequest{To: 4})
	if err != nil || cp == nil {
		t.Fatal(cp, err)
	}
	c.did(c.r.Truncate(c.now()))
	lane := b.put("k", "", "b").Txn
	if floor := c.r.log.Floor(lane.Lane); floor != lane.Seq {
		t.Fatalf("the floor is at %d, the fork at %d", floor, lane.Seq)
	}
	entries, err := gossip.ParsePublished(worldSpace, published(t, b, b.r.lane))
	w.must(err)
	c.did(c.r.Published(c.now(), entries))
}
