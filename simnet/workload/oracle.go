package workload

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/simnet"
)

// Oracle compares the state of the world, whose hosts are equal, with that
// which a naive model makes of a log.
//
// Where lanes were closed (DESIGN, section 5.3) the log does not say it all:
// what a withdrawn entry killed stays dead, but for the incs of its lane that
// only withdrawn incs carried on, and which of the withdrawn entries some host
// had applied before its lane was closed shows only to who watched. So the model
// says which survivors there must be and which there may be. Each is either
// judged by a kill, or nothing killed it.
//
// Where hosts drop entries the model is made of all that were ever written, up
// to what each has applied: it is a twin of the host that never dropped any.
func Oracle(w *simnet.World) error {
	if w.Archived() {
		return twins(w)
	}
	gone, err := w.Withdrawn()
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	for _, h := range w.Hosts() {
		r := h.Replica()
		if r == nil {
			continue
		}
		m, err := replay(h)
		if err != nil {
			return err
		}
		m.withdraw(gone)
		if len(gone) == 0 {
			return m.equals(h) // all hosts have one digest at the end
		}
		return m.judge(h, w.Lied())
	}
	return nil
}

// OracleNow holds one host, each time another, to the model of what it holds at
// this moment: whatever was applied, its transactions show whole. Hosts that
// closed a lane are left to the Oracle at the end.
func OracleNow(w *simnet.World) error {
	hosts := w.Hosts()
	h := hosts[int(w.Now()/time.Second)%len(hosts)]
	if h.Replica() == nil || len(h.Replica().Log().ClosedLanes()) > 0 {
		return nil
	}
	if w.Archived() {
		return twin(w, h)
	}
	m, err := replay(h)
	if err != nil {
		return err
	}
	return m.equals(h)
}

// replay makes a model of a host's log.
func replay(h simnet.Host) (*model, error) {
	log, m := h.Replica().Log(), newModel()
	for rec, err := range log.InOrder(log.DB(), 0) {
		if err != nil {
			return nil, fmt.Errorf("oracle: %s: %w", h.Name(), err)
		}
		rec.Raw = append([]byte(nil), rec.Raw...)
		e, err := rec.Entry()
		if err != nil {
			return nil, fmt.Errorf("oracle: %s: %w", h.Name(), err)
		}
		if at, closed := log.ClosedAt(e.Lane); closed && e.Seq >= at {
			return nil, simnet.Broken("state equals the oracle", "%s holds %v, and its lane is closed from %d on", h.Name(), e.ID(), at)
		}
		m.read(e)
	}
	m.kill(m.kills, m.bury)
	return m, nil
}

// A model holds what a log says, with no regard to order: a delta survives
// where no kill of any entry reaches its row and names it. It shares the keys
// of rows with the kernel, and nothing of its folding.
type model struct {
	rows  map[clock.Dot]placed
	lanes map[clock.LaneID][]clock.Dot // of rows, in order
	kills []scoped

	// Of rows that only withdrawn entries killed: those that are dead for
	// certain, and those that may be.
	dead, doubtful map[clock.Dot]bool

	// vague are lanes of whose rows nothing is known for certain.
	vague []clock.LaneID
}

func newModel() *model {
	return &model{
		rows: make(map[clock.Dot]placed), lanes: make(map[clock.LaneID][]clock.Dot),
		dead: make(map[clock.Dot]bool), doubtful: make(map[clock.Dot]bool),
	}
}

type placed struct {
	key string
	merge.Survivor
}

type scoped struct {
	scope string
	exact bool
	lane  clock.LaneID // of the entry that kills
	inc   bool         // by an inc
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
			if d.Verb.Survives() {
				dot := clock.Dot{Lane: e.Lane, Seq: e.Seq, Index: index}
				s := merge.Survivor{Dot: dot, Txn: txn, Time: e.Time, Verb: d.Verb, Creator: x.Creator, Value: d.Value}
				m.rows[dot] = placed{string(merge.AppendKey(nil, d.Entity, d.Path, tag)), s}
				m.lanes[e.Lane] = append(m.lanes[e.Lane], dot)
			}
			index++
		}
	}
	m.kills = append(m.kills, killsOf(e)...)
}

// killsOf lists the kills of an entry.
func killsOf(e *delta.Entry) (kills []scoped) {
	for i := range e.Body.Txns {
		x := &e.Body.Txns[i]
		for j := range x.Deltas {
			d := &x.Deltas[j]
			tag := delta.TagOf(e.Lane, x.Creator, d)
			for k := range d.Kills {
				scope, exact := merge.Scope(d, tag, &d.Kills[k])
				kills = append(kills, scoped{string(scope), exact, e.Lane, d.Verb == delta.Inc, d.Kills[k]})
			}
		}
	}
	return kills
}

// kill calls hit with every row that some kill names and reaches.
func (m *model) kill(kills []scoped, hit func(k *scoped, d clock.Dot)) {
	for i := range kills {
		k := &kills[i]
		for _, d := range k.Dots {
			if p, ok := m.rows[d]; ok && k.reaches(p.key) {
				hit(k, d)
			}
		}
		for _, bound := range k.Bounds {
			left := m.lanes[bound.Lane][:0] // what is out stays out
			for _, d := range m.lanes[bound.Lane] {
				if p, ok := m.rows[d]; ok && d.AtMost(bound) && k.reaches(p.key) {
					hit(k, d)
				}
				if _, ok := m.rows[d]; ok {
					left = append(left, d)
				}
			}
			m.lanes[bound.Lane] = left
		}
	}
}

// bury takes a row out for good.
func (m *model) bury(_ *scoped, d clock.Dot) { delete(m.rows, d) }

// withdraw notes what entries killed that are in no log any more. An inc kills
// its lane's inc before it to carry its total on; with the carrier gone, that
// lives again.
func (m *model) withdraw(gone []simnet.Withdrawn) {
	for _, x := range gone {
		m.kill(killsOf(x.Entry), func(k *scoped, d clock.Dot) {
			switch {
			case k.inc && m.rows[d].Verb == delta.Inc && d.Lane == k.lane:
			case x.Held:
				m.dead[d] = true
			default:
				m.doubtful[d] = true
			}
		})
	}
}

// equals holds a state to exactly the rows that are left.
func (m *model) equals(h simnet.Host) error {
	var want merge.Tally
	for _, p := range m.rows {
		want.Digest = want.Digest.Plus(p.Sum([]byte(p.key)))
		want.Rows++
	}
	if r := h.Replica(); want.Digest != r.Digest() || want.Rows != r.Survivors() {
		return simnet.Broken("state equals the oracle", "the state of %s is not what its log says: %d survivors with digest %v, want %d with %v",
			h.Name(), r.Survivors(), r.Digest(), want.Rows, want.Digest)
	}
	return nil
}

// judge holds a state to the rows that must and may be there. What hosts were
// lied to about may be missing.
func (m *model) judge(h simnet.Host, lied bool) error {
	var sum merge.Tally
	err := h.Replica().View().Rows(nil, func(key []byte, row []merge.Survivor) error {
		for i := range row {
			s := &row[i]
			sum.Digest = sum.Digest.Plus(s.Sum(key))
			sum.Rows++
			p, ok := m.rows[s.Dot]
			switch {
			case slices.Contains(m.vague, s.Dot.Lane):
			case !ok:
				return simnet.Broken("state equals the oracle", "%s holds %v, which was killed or withdrawn", h.Name(), s.Dot)
			case m.dead[s.Dot]:
				return simnet.Broken("state equals the oracle", "%s holds %v, which a withdrawn entry had killed", h.Name(), s.Dot)
			case p.Sum([]byte(p.key)) != s.Sum(key):
				return simnet.Broken("state equals the oracle", "%s holds %v otherwise than it was written", h.Name(), s.Dot)
			}
			delete(m.rows, s.Dot)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r := h.Replica(); sum.Digest != r.Digest() || sum.Rows != r.Survivors() {
		return simnet.Broken("state equals the oracle", "%s counts %d survivors with digest %v, and holds %d with %v",
			h.Name(), r.Survivors(), r.Digest(), sum.Rows, sum.Digest)
	}
	for d := range m.rows {
		if m.mustLive(d) && !lied {
			return simnet.Broken("state equals the oracle", "%s lacks %d of the survivors that nothing killed", h.Name(), m.lost())
		}
	}
	return nil
}

func (m *model) mustLive(d clock.Dot) bool {
	return !m.dead[d] && !m.doubtful[d] && !slices.Contains(m.vague, d.Lane)
}

// lost counts the rows left that must not be.
func (m *model) lost() (n int) {
	for d := range m.rows {
		if m.mustLive(d) {
			n++
		}
	}
	return n
}
