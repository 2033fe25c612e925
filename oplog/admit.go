package oplog

import (
	"errors"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/internal/plant"
)

// A Verdict is what Check says of an entry.
type Verdict int

// The verdicts.
const (
	Ready     Verdict = iota // all it needs is admitted
	Duplicate                // it is held already
	Gap                      // it waits for others
	Closed                   // its lane is closed at or below it
	Forked                   // it contradicts what is held
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return [...]string{"ready", "duplicate", "gap", "closed", "forked"}[v]
}

// Check says how an entry of a known lane stands to what is held. For a Gap,
// missing is the first entry that it waits for.
func (l *Log) Check(e *delta.Entry) (v Verdict, missing clock.EntryID, err error) {
	head := l.vector.Head(e.Lane)
	if at, ok := l.ClosedAt(e.Lane); ok && e.Seq >= at {
		return Closed, missing, nil
	}
	if e.Seq <= head.Seq {
		held, err := l.HashAt(e.ID())
		if errors.Is(err, ErrNotFound) {
			return Duplicate, missing, nil // gone from the log
		}
		if err != nil || held == e.Hash {
			return Duplicate, missing, err
		}
		return Forked, missing, nil
	}
	if plant.Is(plant.DropPending) && l.Pending.held[e.ID()] != nil {
		return Duplicate, missing, nil
	}
	if e.Seq == head.Seq+1 && e.Prev != head.Hash && !plant.Is(plant.SkipPrev) {
		return Forked, missing, nil
	}
	if missing, ok := l.unmet(e); ok {
		return Gap, missing, nil
	}
	return Ready, missing, nil
}

// unmet returns the first entry that e needs and that is not admitted. For one
// that a closing keeps out for ever that is the last before the closing: it is
// the one whose admission e waits for.
func (l *Log) unmet(e *delta.Entry) (clock.EntryID, bool) {
	if prev := (clock.EntryID{Lane: e.Lane, Seq: e.Seq - 1}); l.vector.Seq(e.Lane) < prev.Seq && !plant.Is(plant.SkipGap) {
		return prev, true
	}
	if plant.Is(plant.SkipDeps) || plant.Is(plant.KillsOpen) {
		return clock.EntryID{}, false
	}
	for i := range e.Body.Deps {
		if id := e.Body.Deps[i].EntryID; !l.met(id) {
			return l.awaited(id), true
		}
	}
	for i := range e.Body.Txns {
		for j := range e.Body.Txns[i].Deltas {
			for _, k := range e.Body.Txns[i].Deltas[j].Kills {
				if id, ok := l.unmetDot(e, k.Dots); ok {
					return id, true
				}
				if id, ok := l.unmetDot(e, k.Bounds); ok {
					return id, true
				}
			}
		}
	}
	return clock.EntryID{}, false
}

func (l *Log) unmetDot(e *delta.Entry, dots []clock.Dot) (clock.EntryID, bool) {
	for _, d := range dots {
		if d.Lane != e.Lane && !l.met(d.Entry()) {
			return l.awaited(d.Entry()), true
		}
	}
	return clock.EntryID{}, false
}

// met reports whether an entry counts as applied for those that name it.
func (l *Log) met(id clock.EntryID) bool {
	held := l.vector.Seq(id.Lane)
	if id.Seq <= held {
		return true
	}
	s := l.lanes[id.Lane]
	return s != nil && s.closed > 0 && id.Seq >= s.closed && held >= s.closed-1
}

// awaited returns the entry whose admission makes an unmet one met.
func (l *Log) awaited(id clock.EntryID) clock.EntryID {
	if at, ok := l.ClosedAt(id.Lane); ok && id.Seq >= at {
		id.Seq = at - 1
	}
	return id
}
