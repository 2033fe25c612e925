package node

import (
	"fmt"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/storage"
)

// clone starts a second process on a copy of a host's disk, and makes both go
// on with the same lane, which nothing but a test may do.
func (w *world) clone(h *host, name string) *host {
	w.t.Helper()
	resume := h.stop()
	copied := h.mem.Crash() // of a closed store: what Close left
	h.mem = h.mem.Crash()
	h.start(resume)
	return w.addKey(name, h.key, copied, resume)
}

func (w *world) inc(h *host, n int64) { h.do(Op{Kind: OpInc, Entity: "c", Path: "/n", N: n}) }

// checkForked holds a settled world with a fork to what must be true.
func (w *world) checkForked(values map[string]string) {
	w.t.Helper()
	if len(w.hosts[0].r.log.ClosedLanes()) == 0 {
		w.fatalf("no lane was closed:\n%s", w.describe())
	}
	w.checkBranches(values)
}

// checkBranches is checkForked where the lane may be left unclosed.
func (w *world) checkBranches(values map[string]string) {
	w.t.Helper()
	first := w.hosts[0]
	want := rowsOf(w.t, &first.r.state.rows)
	for _, h := range w.hosts {
		h.check()
		if got := rowsOf(w.t, &h.r.state.rows); !slices.Equal(got, want) {
			w.fatalf("%s and %s agree in digest, not in rows", first.name, h.name)
		}
		for entity, v := range values {
			if got := h.value(entity, ""); got != v {
				w.fatalf("%s reads %s as %s, not %s", h.name, entity, got, v)
			}
		}
	}
	late := w.add(fmt.Sprint("late", len(w.hosts)))
	w.connect(late, w.hosts[w.rng.IntN(len(w.hosts)-1)])
	w.settle(settleMillis)
	late.check()
	if got := rowsOf(w.t, &late.r.state.rows); !slices.Equal(got, want) {
		w.fatalf("a replica that joins after the fork has other rows")
	}
}

// Two copies of one replica that write the same lane are found out when they
// meet, directly or through others: the lane is closed everywhere, all agree,
// both sides' edits live on, and a counter keeps what it had and what each
// side added.
func TestForkedClones(t *testing.T) {
	for _, c := range []struct {
		name string
		meet func(w *world, a, b *host)
	}{
		{"directly", func(w *world, a, b *host) { w.connect(a, b) }},
		{"through a third", func(w *world, a, b *host) {
			third := w.add("third")
			w.connect(a, third)
			w.settleSome(third, a)
			w.connect(third, b)
		}},
		{"through two", func(w *world, a, b *host) {
			x, y := w.add("x"), w.add("y")
			w.connect(a, x)
			w.connect(b, y)
			w.settleSome(x, a)
			w.settleSome(y, b)
			w.connect(x, y)
		}},
		{"by publication", func(w *world, a, b *host) {
			third := w.add("third")
			w.connect(a, third)
			w.settleSome(third, a)
			w.connect(third, b)
			clear(w.cut)
			w.put3(b)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachSeed(t, 40, func(t *testing.T, w *world) {
				a := w.add("a")
				a.put("before", "", "both")
				w.inc(a, 10)
				for range w.rng.IntN(20) {
					a.put("before", "/x", int64(w.rng.IntN(100)))
				}
				b := w.clone(a, "b")
				w.split(a, b)
				for i := range 1 + w.rng.IntN(40) {
					a.put(fmt.Sprintf("a%d", i), "", int64(i))
				}
				for i := range 1 + w.rng.IntN(40) {
					b.put(fmt.Sprintf("b%d", i), "", int64(i))
				}
				w.inc(a, 1)
				if w.chance(50) {
					w.inc(b, 2)
					w.inc(b, 3)
				} else {
					w.inc(b, 5)
				}
				a.put("a-last", "", "a")
				b.put("b-last", "", "b")
				c.meet(w, a, b)
				w.unrest(60)
				w.heal()
				w.settle(settleMillis)
				w.checkForked(map[string]string{
					"before": a.value("before", ""), "a0": "0", "b0": "0", "a-last": `"a"`, "b-last": `"b"`, "c": `{"n":16}`,
				})
			})
		})
	}
}

// unrest lets some messages through and some steps be synced, and hosts crash
// in the midst of it.
func (w *world) unrest(steps int) {
	for range w.rng.IntN(steps) {
		h := w.hosts[w.rng.IntN(len(w.hosts))]
		switch n := w.rng.IntN(100); {
		case n < 5 && !w.calm:
			w.crash(h)
			if o := w.hosts[w.rng.IntN(len(w.hosts))]; !w.isCut(h, o) {
				w.connect(h, o)
			}
		case n < 45:
			if len(h.out) > 0 {
				h.sync()
			}
		case n < 95 && len(w.links) > 0:
			l := w.links[w.rng.IntN(len(w.links))]
			if side := w.rng.IntN(2); len(l.queue[side]) > 0 {
				w.deliver(l, side)
			}
		default:
			w.tick()
		}
	}
}

func (w *world) put3(h *host) {
	for i := range 3 {
		h.put("published", "", int64(i))
	}
}

// settleSome lets time pass until two hosts agree.
func (w *world) settleSome(a, b *host) {
	w.t.Helper()
	for end := w.now + settleMillis; a.r.log.Root() != b.r.log.Root() || a.r.Digest() != b.r.Digest(); w.tick() {
		if w.drain(); w.now > end {
			w.fatalf("%s and %s do not agree:\n%s", a.name, b.name, w.describe())
		}
	}
}

// A counter that only one of two clones touched after the fork keeps its total.
func TestForkedCounterOfOneSide(t *testing.T) {
	eachSeed(t, 40, func(t *testing.T, w *world) {
		a := w.add("a")
		w.inc(a, 10)
		b := w.clone(a, "b")
		w.split(a, b)
		w.inc(a, 1)
		b.put("b", "", "b")
		if w.chance(50) {
			third := w.add("third")
			w.connect(third, b)
			w.settleSome(third, b)
			w.connect(third, a)
		} else {
			w.connect(a, b)
		}
		w.settle(settleMillis)
		w.checkForked(map[string]string{"c": `{"n":11}`, "b": `"b"`})
	})
}

// A replica restored from an old copy whose peers hold more of its lane does
// not write there again: no fork, a new lane.
func TestRestoredCopy(t *testing.T) {
	eachSeed(t, 20, func(t *testing.T, w *world) {
		a, b := w.add("a"), w.add("b")
		a.put("k", "", "old")
		resume := a.stop()
		backup := a.mem.Crash()
		a.mem = a.mem.Crash()
		a.start(resume)
		w.connect(a, b)
		a.put("k", "", "new")
		w.settle(settleMillis)
		lane := a.r.lane

		w.dropLinks(a)
		a.mem = backup
		a.start(resume)
		if a.r.signer == nil {
			t.Fatal("the copy does not resume its lane; the test is void")
		}
		if w.chance(50) { // it hears of its own lane by publication first
			w.topic = nil
			b.put("other", "", "x")
			w.publish(b, published(t, b, lane))
		} else {
			w.connect(a, b)
		}
		w.connect(a, b)
		w.drain()
		a.put("k", "/sub", "after")
		w.settle(settleMillis)
		if a.r.lane == lane {
			w.fatalf("it goes on with its old lane")
		}
		w.checkAgreement()
		if !slices.Contains(a.alarms, "fork") {
			w.fatalf("no alarm: %v", a.alarms)
		}
	})
}

// Three clones of one replica that all write the same lane.
func TestThreeBranches(t *testing.T) {
	eachSeed(t, 60, func(t *testing.T, w *world) {
		a := w.add("a")
		w.inc(a, 10)
		b := w.clone(a, "b")
		c := w.clone(a, "c")
		for _, p := range [][2]*host{{a, b}, {a, c}, {b, c}} {
			w.split(p[0], p[1])
		}
		for i, h := range []*host{a, b, c} {
			for range 1 + w.rng.IntN(5) {
				h.put("by-"+h.name, "", int64(w.rng.IntN(9)))
			}
			h.put("by-"+h.name, "", int64(i))
			w.inc(h, 1)
		}
		w.heal()
		w.settle(settleMillis)
		w.checkForked(map[string]string{"by-a": "0", "by-b": "1", "by-c": "2", "c": `{"n":13}`})
	})
}

// Of two forks of one lane the one at the smaller seq wins, whichever is proved
// first.
func TestSmallerSeqLater(t *testing.T) {
	eachSeed(t, 60, func(t *testing.T, w *world) {
		a := w.add("a")
		a.put("k", "", "one")
		early := w.clone(a, "early")
		a.put("k", "/two", "two")
		late := w.clone(a, "late")
		for _, p := range [][2]*host{{a, early}, {a, late}, {early, late}} {
			w.split(p[0], p[1])
		}
		a.put("by-a", "", "a")
		late.put("by-late", "", "late")
		early.put("by-early", "", "early")
		clear(w.cut)
		w.connect(a, late)
		w.settleSome(a, late)
		w.connect(early, []*host{a, late}[w.rng.IntN(2)])
		w.settle(settleMillis)
		w.checkForked(map[string]string{"by-a": `"a"`, "by-late": `"late"`, "by-early": `"early"`})
		if at, _ := a.r.log.ClosedAt(a.r.log.ClosedLanes()[0]); at != 2 {
			w.fatalf("closed at %d, not 2", at)
		}
	})
}

// Forks in the middle of everything else: random writes by all, with clones
// among them, crashes and losses. All agree in the end.
func TestForkConvergence(t *testing.T) {
	eachSeed(t, 150, func(t *testing.T, w *world) {
		w.lossy = true
		for i := range 2 + w.rng.IntN(2) {
			w.add(string(rune('a' + i)))
		}
		for range 60 {
			w.step(4)
		}
		for i := range 1 + w.rng.IntN(2) {
			h := w.hosts[w.rng.IntN(len(w.hosts))]
			h.flush()
			h.write(Request{Ops: []Op{{Kind: OpInc, Entity: "c", N: 1}}})
			w.clone(h, fmt.Sprintf("clone%d", i))
		}
		for range 200 {
			w.step(4)
		}
		w.heal()
		w.settle(4 * settleMillis)
		want := rowsOf(t, &w.hosts[0].r.state.rows)
		for _, h := range w.hosts {
			h.check()
			if got := rowsOf(t, &h.r.state.rows); !slices.Equal(got, want) {
				w.fatalf("%s and %s agree in digest, not in rows", w.hosts[0].name, h.name)
			}
			for _, rec := range h.acked {
				if !h.holds(rec.Txn) {
					w.fatalf("%s acknowledged %v and no longer holds it", h.name, rec.Txn)
				}
			}
		}
	})
}

// A tee keeps an image of the store after each batch: what a crash may leave.
type tee struct {
	storage.DB
	images []*storage.Memory
	t      *testing.T
}

func (d *tee) Apply(b storage.Batch) (storage.Commit, error) {
	c, err := d.DB.Apply(b)
	image := storage.NewMemory()
	all := image.NewBatch()
	for kv, err := range d.DB.Scan(nil, nil) {
		if err != nil {
			d.t.Fatal(err)
		}
		all.Set(kv.Key, kv.Value)
	}
	if err := storage.ApplySync(image, all); err != nil {
		d.t.Fatal(err)
	}
	d.images = append(d.images, image)
	return c, err
}

// Whatever batch of a closing a crash leaves as the last: where the lane is
// closed, what its author wrote there is written again.
func TestClosingIsAtomic(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.put("k", "", "before")
	b := w.clone(a, "b")
	w.split(a, b)
	a.put("mine", "", "a")
	w.inc(a, 4)
	b.put("theirs", "", "b")
	lane := a.r.signer.Lane
	chain, err := b.r.log.ChainFrom(clock.EntryID{Lane: lane, Seq: 2})
	w.must(err)
	proof, err := a.r.log.ProofAgainst(chain)
	w.must(err)
	db := &tee{DB: a.mem, t: t}
	cfg := a.r.cfg
	cfg.DB = db
	r, err := OpenReplica(cfg)
	w.must(err)
	r.begin(a.now())
	w.must(r.closeLane(0, proof))
	if _, err := r.end(); err != nil {
		t.Fatal(err)
	}
	closed := 0
	for _, image := range db.images {
		h := *a
		h.mem = image
		h.start(nil)
		if _, ok := h.r.log.ClosedAt(lane); !ok {
			continue
		}
		closed++
		if got := h.value("mine", "") + h.value("c", ""); got != `"a"{"n":4}` {
			t.Errorf("after a crash it reads %s", got)
		}
		h.check()
	}
	if closed == 0 {
		t.Fatal("never closed; the test is void")
	}
}
