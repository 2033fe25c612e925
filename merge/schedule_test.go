package merge

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
)

var schedulesFlag = flag.Int("schedules", 4000, "how many schedules of folds, drops and joins TestSchedules runs")

// A keeper is a writer that drops its history when it likes.
type keeper struct {
	*writer
	floor vector // up to which it holds no entries any more
}

// drop drops a prefix of what the keeper has applied, in its own order.
func (p *keeper) drop(n int) {
	for _, e := range p.log[:n] {
		p.floor[e.Lane] = max(p.floor[e.Lane], e.Seq)
	}
	p.log = slices.Clone(p.log[n:])
}

// below reports whether the keeper lacks what another has dropped.
func (p *keeper) below(o *keeper) bool {
	for l, n := range o.floor {
		if p.vec[l] < n {
			return true
		}
	}
	return false
}

// pull brings all that another has: as entries while it holds them, else as
// state. What is taken over as state has no entries, and so the floor jumps.
func (p *keeper) pull(o *keeper) (joined bool, err error) {
	if !p.below(o) {
		for _, e := range o.log {
			if err := p.apply(e); err != nil {
				return false, err
			}
		}
		return false, nil
	}
	was := maps.Clone(p.vec)
	if err := p.join(o.replica); err != nil {
		return true, err
	}
	for l, n := range p.vec {
		if n > was[l] {
			p.floor[l] = n
		}
	}
	p.log = slices.DeleteFunc(p.log, func(e *written) bool { return e.Seq <= p.floor[e.Lane] })
	return true, nil
}

// Whoever drops what and when, and whoever then meets whom: all end with what
// folding every entry gives. Cases counts what the schedule came upon.
func lawSchedule(k *kernel, pick chooser, cases map[string]int) error {
	h := newHistory(k, pick, 2+pick(3))
	keepers := make([]*keeper, len(h.writers))
	for i, w := range h.writers {
		keepers[i] = &keeper{w, vector{}}
	}
	meet := func(a, b *keeper) error {
		if a.below(b) && b.below(a) {
			cases["both below each other's floor"]++
		}
		before, ahead := a.vec, b.vec
		joined, err := a.pull(b)
		if joined {
			cases["joined"]++
			if !within(before, ahead) && !within(ahead, before) {
				cases["incomparable"]++
			}
		}
		return err
	}
	for range 8 + pick(24) {
		a := choose(pick, keepers)
		switch n := pick(10); {
		case n < 5:
			h.write(a.writer)
		case n < 7:
			a.drop(pick(len(a.log) + 1))
			cases["dropped"]++
		default:
			if b := choose(pick, keepers); b != a {
				if err := meet(a, b); err != nil {
					return err
				}
			}
		}
	}
	for range keepers { // a ring, as often as it is long, both ways
		for i := range keepers {
			o := keepers[(i+1)%len(keepers)]
			if err := errors.Join(meet(keepers[i], o), meet(o, keepers[i])); err != nil {
				return err
			}
		}
	}
	all, err := h.deliver(h.whole())
	if err != nil {
		return err
	}
	want := all.describe(false)
	for i, p := range keepers {
		if err := errors.Join(p.check(), same(fmt.Sprint("keeper ", i), p.describe(false), want)); err != nil {
			return err
		}
	}
	return fail(h.seen)
}

func within(a, b vector) bool {
	for l, n := range a {
		if b[l] < n {
			return false
		}
	}
	return true
}

// The claim of compaction, on the kernel alone.
func TestSchedules(t *testing.T) {
	const shards = 2
	var mu sync.Mutex
	cases := map[string]int{}
	t.Run("seeds", func(t *testing.T) {
		for shard := range shards {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				mine := map[string]int{}
				for seed := shard; seed < *schedulesFlag; seed += shards {
					if err := lawSchedule(new(kernel), seeded(uint64(seed)), mine); err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				for c, n := range mine {
					cases[c] += n
				}
			})
		}
	})
	t.Logf("%d schedules: %v", *schedulesFlag, cases)
	for _, c := range []string{"dropped", "joined", "incomparable", "both below each other's floor"} {
		if cases[c] == 0 {
			t.Errorf("no schedule came upon this: %s", c)
		}
	}
}

// Without any one condition of the join a schedule fails within a few seeds.
func TestSchedulesNoticeMutants(t *testing.T) {
	none := func(clock.EntryID) bool { return false }
	all := func(clock.EntryID) bool { return true }
	for name, join := range map[string]func(*Fold, covering, View, covering) error{
		"what is covered here and gone comes back": func(f *Fold, _ covering, v View, theirs covering) error {
			return Join(f, none, v, theirs)
		},
		"what is new is taken for dead": func(f *Fold, _ covering, v View, theirs covering) error {
			return Join(f, all, v, theirs)
		},
		"what the other has applied and lacks stays": func(f *Fold, mine covering, v View, _ covering) error {
			return v.Rows(nil, func(key []byte, row []Survivor) error {
				for _, s := range row {
					if !mine(s.Dot.Entry()) {
						if err := f.Insert(key, s); err != nil {
							return err
						}
					}
				}
				return nil
			})
		},
		"what the other has not seen goes": func(f *Fold, mine covering, v View, _ covering) error {
			return Join(f, mine, v, all)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(300) {
				if lawSchedule(&kernel{join: join}, seeded(seed), map[string]int{}) != nil {
					t.Logf("noticed by seed %d", seed)
					return
				}
			}
			t.Error("300 schedules did not notice")
		})
	}
}
