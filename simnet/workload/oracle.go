package workload

import (
	"fmt"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/simnet"
)

// Oracle compares the state of each host with that which a naive model makes of
// the host's log. A fork leaves kills that no log holds any more, and so a world
// with one is passed over.
func Oracle(w *simnet.World) error {
	if w.Forked() {
		return nil
	}
	for _, h := range w.Hosts() {
		r := h.Replica()
		if r == nil {
			continue
		}
		m := model{rows: make(map[clock.Dot]placed), lanes: make(map[clock.LaneID][]clock.Dot)}
		for rec, err := range r.Log().InOrder(r.Log().DB(), 0) {
			if err != nil {
				return fmt.Errorf("oracle: %s: %w", h.Name(), err)
			}
			rec.Raw = append([]byte(nil), rec.Raw...)
			e, err := rec.Entry()
			if err != nil {
				return fmt.Errorf("oracle: %s: %w", h.Name(), err)
			}
			m.read(e)
		}
		m.kill()
		if want := m.tally(); want.Digest != r.Digest() || want.Rows != r.Survivors() {
			return simnet.Broken("state equals the oracle", "the state of %s is not what its log says: %d survivors with digest %v, want %d with %v",
				h.Name(), r.Survivors(), r.Digest(), want.Rows, want.Digest)
		}
		return nil // all hosts have one digest at the end
	}
	return nil
}

// A model holds what a log says, with no regard to order: a delta survives
// where no kill of any entry reaches its row and names it. It shares the keys
// of rows with the kernel, and nothing of its folding.
type model struct {
	rows  map[clock.Dot]placed
	lanes map[clock.LaneID][]clock.Dot // of rows, in order
	kills []scoped
}

type placed struct {
	key string
	merge.Survivor
}

type scoped struct {
	scope string
	exact bool
	delta.Kill
}

func (k *scoped) reaches(key string) bool {
	return key == k.scope || !k.exact && strings.HasPrefix(key, k.scope)
}

// read notes the survivors and kills of an entry.
func (m *model) read(e *delta.Entry) {
	var index, txn uint32
	for i := range e.Body.Txns {
		x := &e.Body.Txns[i]
		txn = index
		for j := range x.Deltas {
			d := &x.Deltas[j]
			tag := delta.TagOf(e.Lane, x.Creator, d)
			for k := range d.Kills {
				scope, exact := merge.Scope(d, tag, &d.Kills[k])
				m.kills = append(m.kills, scoped{string(scope), exact, d.Kills[k]})
			}
			if d.Verb.Survives() {
				dot := clock.Dot{Lane: e.Lane, Seq: e.Seq, Index: index}
				s := merge.Survivor{Dot: dot, Txn: txn, Time: e.Time, Verb: d.Verb, Creator: x.Creator, Value: d.Value}
				m.rows[dot] = placed{string(merge.AppendKey(nil, d.Entity, d.Path, tag)), s}
				m.lanes[e.Lane] = append(m.lanes[e.Lane], dot)
			}
			index++
		}
	}
}

// kill takes out all that any kill names.
func (m *model) kill() {
	for i := range m.kills {
		k := &m.kills[i]
		for _, d := range k.Dots {
			if p, ok := m.rows[d]; ok && k.reaches(p.key) {
				delete(m.rows, d)
			}
		}
		for _, bound := range k.Bounds {
			alive := m.lanes[bound.Lane][:0]
			for _, d := range m.lanes[bound.Lane] {
				p, ok := m.rows[d]
				switch {
				case !ok:
				case d.AtMost(bound) && k.reaches(p.key):
					delete(m.rows, d)
				default:
					alive = append(alive, d)
				}
			}
			m.lanes[bound.Lane] = alive
		}
	}
}

func (m *model) tally() (t merge.Tally) {
	for _, p := range m.rows {
		t.Digest = t.Digest.Plus(p.Sum([]byte(p.key)))
		t.Rows++
	}
	return t
}
