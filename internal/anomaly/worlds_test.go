package anomaly

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/simnet"
	"github.com/rhizome-p2p/rhizome/simnet/workload"
)

// seeds is how many worlds each row of TestWorlds makes.
const seeds = 4

// A ledger is a workload whose outcome is known. Every host puts keys that
// nobody else puts, takes away keys that it sees, and counts.
//
// A key is put once and taken away by who has seen it: in the end it is there if
// nobody took it, and gone if somebody did, whoever was away meanwhile.
type ledger struct {
	kept, taken map[string]bool
	count       int64
}

// Act implements simnet.Workload.
func (l *ledger) Act(w simnet.Writer) ([][]node.Op, time.Duration) {
	key := fmt.Sprintf("key/%s/%d", w.Name(), w.Acts)
	l.kept[key] = true
	n := 1 + w.Rand.Int64N(5)
	l.count += n
	txns := [][]node.Op{{{Kind: node.OpPut, Entity: key, Value: w.Name()}, {Kind: node.OpInc, Entity: "count", N: n}}}
	if old := l.old(w); old != "" {
		delete(l.kept, old)
		l.taken[old] = true
		txns = append(txns, []node.Op{{Kind: node.OpRm, Entity: old}})
	}
	return txns, time.Duration(1+w.Rand.IntN(8)) * time.Second
}

// old draws one of the keys that the host sees, mostly none.
func (l *ledger) old(w simnet.Writer) string {
	seen := slices.Sorted(keysOf(w.Replica()))
	if len(seen) == 0 || w.Rand.IntN(2) == 0 {
		return ""
	}
	return seen[w.Rand.IntN(len(seen))]
}

// keysOf yields the keys of a ledger that a replica holds.
func keysOf(r *node.Replica) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		enough := errors.New("enough")
		err := r.View().Rows(nil, func(key []byte, _ []merge.Survivor) error {
			entity, _, _, err := merge.ParseKey(key)
			if err == nil && strings.HasPrefix(entity, "key/") && !yield(entity) {
				err = enough
			}
			return err
		})
		if err != nil && !errors.Is(err, enough) {
			panic(err) // a row that the replica itself wrote
		}
	}
}

func countOf(r *node.Replica) (int64, error) {
	reading, found, err := merge.Read(r.View(), "count", "")
	if err != nil || !found {
		return 0, err
	}
	n, ok := reading.Value.(int64)
	if !ok {
		return 0, fmt.Errorf("the count reads as %v", reading.Value)
	}
	return n, nil
}

// never holds at every moment: no key is there that nobody put, and no host
// counts more than was counted.
func (l *ledger) never(w *simnet.World) error {
	for _, h := range w.Hosts() {
		if h.Replica() == nil {
			continue // the process is down
		}
		for key := range keysOf(h.Replica()) {
			if !l.kept[key] && !l.taken[key] {
				return simnet.Broken("no key from nowhere", "%s shows %s", h.Name(), key)
			}
		}
		if n, err := countOf(h.Replica()); err != nil || n > l.count {
			return simnet.Broken("never more", "%s counts %d of %d, %v", h.Name(), n, l.count, err)
		}
	}
	return nil
}

// exact holds in the end where no host forgot what it had not synced: all that
// was put is there unless it was taken, nothing that was taken came back, and the
// count is whole.
func (l *ledger) exact(w *simnet.World) error {
	h := w.Hosts()[0]
	there := make(map[string]bool)
	for key := range keysOf(h.Replica()) {
		there[key] = true
		if l.taken[key] {
			return simnet.Broken("no resurrection", "%s was taken and is there", key)
		}
	}
	for key := range l.kept {
		if !there[key] {
			return simnet.Broken("no lost write", "%s is not there", key)
		}
	}
	if n, err := countOf(h.Replica()); err != nil || n != l.count {
		return simnet.Broken("whole count", "%d of %d, %v", n, l.count, err)
	}
	return nil
}

// Under partitions, absences of months, dropped histories and messages that
// come twice, late or never, nothing that was taken away comes back, nothing else
// goes, and every increment counts once. Under clocks that are wrong too. Where
// processes crash and disks are copied or set back as well, nothing is there that
// nobody wrote, nothing counts twice, and the state is what the log says.
func TestWorlds(t *testing.T) {
	network := []simnet.Fault{simnet.Loss, simnet.Duplicate, simnet.Reorder, simnet.Replay, simnet.Partition, simnet.Flap}
	for _, c := range []struct {
		name   string
		faults []simnet.Fault
		exact  bool
		must   []simnet.Fault // some world must have met these
	}{
		{
			"absence and compaction", slices.Concat(network, []simnet.Fault{simnet.Away, simnet.Compact, simnet.CleanStop}), true,
			[]simnet.Fault{simnet.Away, simnet.Compact, simnet.Duplicate},
		},
		{
			"clocks", slices.Concat(network, []simnet.Fault{simnet.Skew, simnet.ClockJump, simnet.Drift, simnet.Freeze}), true,
			[]simnet.Fault{simnet.Skew, simnet.ClockJump},
		},
		{
			"disks", slices.Concat(network, []simnet.Fault{simnet.Crash, simnet.TornCrash, simnet.StaleDisk, simnet.Clone}), false,
			[]simnet.Fault{simnet.Crash, simnet.Clone, simnet.StaleDisk},
		},
	} {
		t.Run(slug(c.name), func(t *testing.T) {
			met := make(map[simnet.Fault]int)
			for seed := uint64(1); seed <= seeds; seed++ {
				l := &ledger{kept: make(map[string]bool), taken: make(map[string]bool)}
				o := simnet.Options{
					Peers: 6, Seed: seed, Virtual: 2 * time.Minute, Faults: c.faults, Workload: l,
					Invariants: []simnet.Invariant{l.never}, AtEnd: []simnet.Invariant{workload.Oracle},
					Rates: pinned(c.must),
				}
				if c.exact {
					o.AtEnd = append(o.AtEnd, l.exact)
				}
				r, err := simnet.Run(o)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				for f, n := range r.Faults {
					met[f] += n
				}
				if len(l.taken) == 0 || r.Writes == 0 {
					t.Errorf("seed %d: %d keys taken, %d writes", seed, len(l.taken), r.Writes)
				}
			}
			for _, f := range c.must {
				if met[f] == 0 {
					t.Errorf("no world met %s", f)
				}
			}
		})
	}
}

// pinned makes faults common: some a minute and host, or one message in ten.
func pinned(faults []simnet.Fault) simnet.Rates {
	rates := make(simnet.Rates)
	for _, f := range faults {
		rates[f] = 0.5
		switch f {
		case simnet.Duplicate: // a chance per message
			rates[f] = 0.1
		case simnet.Clone, simnet.StaleDisk: // which only some hosts are fit for
			rates[f] = 3
		}
	}
	return rates
}
