package node

import (
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// Salvaged takes in entries of one lane, in their order, that were read from a
// damaged store and whose signatures hold. It stops at the first that is not
// ready, and returns how many were taken before. Peers are told of them.
func (r *Replica) Salvaged(nowMillis int64, key delta.LaneKey, entries []*delta.Entry) (Step, int, error) {
	r.begin(nowMillis)
	r.log.AddLane(key)
	taken := 0
	var freed []*delta.Entry
	var message []byte
	for _, e := range entries {
		v, _, err := r.log.Check(e)
		if err != nil {
			return Step{}, taken, err
		}
		if v == oplog.Forked {
			if err := r.forked(e); err != nil {
				return Step{}, taken, err
			}
		}
		if v != oplog.Ready {
			break
		}
		// Another's entry was not written here, whatever an older identity of
		// this repo has done.
		e.Local = e.Local && key.Author == r.author
		if _, err := r.admitOne(e, &freed); err != nil {
			return Step{}, taken, err
		}
		taken++
		if len(message) > 0 && len(message)+len(e.Raw) > gossip.MaxPublishBytes {
			r.step.Publish = append(r.step.Publish, message)
			message = nil
		}
		message = gossip.AppendPublished(message, key, e)
	}
	if len(message) > 0 {
		r.step.Publish = append(r.step.Publish, message)
	}
	if err := r.admitAll(freed); err != nil {
		return Step{}, taken, err
	}
	step, err := r.end()
	return step, taken, err
}

// WriteAgain writes, in the current lane, what is left of entries that this
// replica wrote and that nobody can take in any more, since entries before them
// are lost. They are of one lane and in order; what one of them has killed of
// another stays dead. As after a fork, what is written is concurrent with all
// that stands: what the entries overwrote of others shows beside it.
func (r *Replica) WriteAgain(nowMillis int64, entries []*delta.Entry) (Step, error) {
	r.begin(nowMillis)
	var left merge.MemState
	fold := merge.Fold{State: &left}
	for _, e := range entries {
		if err := fold.Apply(e); err != nil {
			return Step{}, err
		}
	}
	var again []rewrite
	for _, e := range entries {
		index := 0
		for i := range e.Body.Txns {
			x := &e.Body.Txns[i]
			first := e.Dot(index)
			for j := range x.Deltas {
				d, dot := &x.Deltas[j], e.Dot(index)
				index++
				if !d.Verb.Survives() {
					continue
				}
				row, err := left.Row(merge.AppendKey(nil, d.Entity, d.Path, delta.TagOf(e.Lane, x.Creator, d)))
				if err != nil {
					return Step{}, err
				}
				live := slices.ContainsFunc(row, func(s merge.Survivor) bool { return s.Dot == dot })
				again = noteAgain(again, rewrite{txn: first, creator: x.Creator, d: *d}, live)
			}
		}
	}
	if err := r.writeAgain(again); err != nil {
		return Step{}, err
	}
	return r.end()
}

// WriteAgain is Replica.WriteAgain in the replica's turn.
func (n *Node) WriteAgain(entries []*delta.Entry) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	step, err := n.try(func(now int64) (Step, error) { return n.replica.WriteAgain(now, entries) })
	if err == nil {
		n.queue <- outcome{step: step, ordinal: n.replica.log.Ordinal()}
	}
	return err
}

// Salvaged has the replica take in entries that were read from a damaged store;
// see Replica.Salvaged.
func (n *Node) Salvaged(key delta.LaneKey, entries []*delta.Entry) (taken int, err error) {
	n.turn.Lock()
	defer n.turn.Unlock()
	step, err := n.try(func(now int64) (s Step, err error) {
		s, taken, err = n.replica.Salvaged(now, key, entries)
		return s, err
	})
	if err == nil {
		n.queue <- outcome{step: step, ordinal: n.replica.log.Ordinal()}
	}
	return taken, err
}

// Held returns how far a lane is held, and whether a fork has closed it.
func (n *Node) Held(l clock.LaneID) (head clock.Head, closed bool) {
	n.query(func() {
		head = n.replica.log.Vector().Head(l)
		_, closed = n.replica.log.ClosedAt(l)
	})
	return head, closed
}

// LaneKeys returns who writes the lanes of which anything is held.
func (n *Node) LaneKeys() (keys []delta.LaneKey) {
	n.query(func() {
		for _, l := range n.replica.log.Vector().Lanes() {
			key, _ := n.replica.log.Lanes.Key(l)
			keys = append(keys, key)
		}
	})
	return keys
}
