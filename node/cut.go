package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

var (
	// ErrGone reports a cursor below the end of the raw history that is held,
	// or an entry that was dropped. A GoneError says more.
	ErrGone = errors.New("no longer held")

	// ErrHorizon reports a read, or an undo, of what lies below the horizon. A
	// HorizonError says more.
	ErrHorizon = errors.New("below the horizon")
)

// A GoneError says where the raw history that is held begins. It matches
// ErrGone.
type GoneError struct {
	What   string // what was asked for
	Cursor string // behind which everything is held
}

// Error says what is gone.
func (e *GoneError) Error() string {
	return fmt.Sprintf("%s is no longer held: raw history is whole from cursor %s on", e.What, e.Cursor)
}

// Is matches ErrGone.
func (e *GoneError) Is(target error) bool { return target == ErrGone }

// A HorizonError names the horizon that something lies below. It matches
// ErrHorizon.
type HorizonError struct {
	What   string // what was asked for
	Cursor string // of the horizon: reads as of it and of later cuts are exact
	// Time is the newest of what lies below the horizon: reads as of it and
	// later are exact.
	Time time.Time
}

// Error says what lies below the horizon, and where that is.
func (e *HorizonError) Error() string {
	return fmt.Sprintf("%s lies below the horizon: the past is kept from cursor %s on (%s)",
		e.What, e.Cursor, e.Time.UTC().Format(time.RFC3339Nano))
}

// Is matches ErrHorizon.
func (e *HorizonError) Is(target error) bool { return target == ErrHorizon }

// A cut is a set of entries that holds with each its prev, its deps and what
// its kills name; part of one more entry may be in it.
type cut struct {
	seqs map[clock.LaneID]uint64
	// part, where its seq is not 0, is the first dot of an entry right above
	// seqs that is not in the cut.
	part clock.Dot
}

func (c *cut) has(d clock.Dot) bool {
	return d.Seq <= c.seqs[d.Lane] || d.Lane == c.part.Lane && d.Seq == c.part.Seq && d.Index < c.part.Index
}

// A moment is a snapshot with what has to be known to read the past in it.
type moment struct {
	n      *Node
	snap   storage.Snapshot
	vector *clock.Vector
	// horizon is the cut above which all that died is kept. Prefixes of the
	// order of application hold all of it from the ordinal edge on, and past is
	// the newest time of it.
	horizon map[clock.LaneID]uint64
	edge    uint64
	past    clock.Timestamp
	ordinal uint64
	eras    eras
	closed  map[clock.LaneID]uint64
}

// pin takes a moment between two steps. The caller closes its snapshot.
func (n *Node) pin() *moment {
	m := &moment{n: n, horizon: make(map[clock.LaneID]uint64), closed: make(map[clock.LaneID]uint64)}
	n.query(func() {
		r := n.replica
		m.snap, m.vector, m.ordinal = n.db.Snapshot(), r.log.Vector().Clone(), r.log.Ordinal()
		m.eras, m.past = r.state.eras, r.state.past
		m.edge = max(r.log.History(), m.eras[0].first-1)
		for _, h := range r.log.Horizon() {
			m.horizon[h.Lane] = h.Seq
		}
		for _, l := range r.log.ClosedLanes() {
			m.closed[l], _ = r.log.ClosedAt(l)
		}
	})
	return m
}

func (m *moment) close() { _ = m.snap.Close() } // it was only read from

func (m *moment) below(what string) error {
	return &HorizonError{What: what, Cursor: m.n.cursor(m.edge), Time: m.past.Time()}
}

// cutAt reads the text of a cut, which is one of
//
//	"", now     everything
//	2026-05-01T12:00:00Z, 720h, 30d
//	            the largest closed set of entries whose clocks say that time or
//	            less; a duration means that long ago
//	LOG-17      a cursor: what this node had applied at it
//	LANE:SEQ    an entry and its causal past
//
// and refuses one that does not hold all that lies below the horizon.
func (m *moment) cutAt(ctx context.Context, text string) (*cut, error) {
	switch form, at, id, err := m.n.parseCut(text, time.Now()); form {
	case cutNow:
		return m.now(), nil
	case cutTime:
		return m.atTime(ctx, text, at)
	case cutEntry:
		return m.atEntry(ctx, id)
	case cutCursor:
		ordinal, seen, err := m.n.parseCursor(text)
		if err != nil {
			return nil, err
		}
		return m.atOrdinal(text, ordinal, seen)
	default:
		return nil, err
	}
}

type cutForm int

const (
	cutBad cutForm = iota
	cutNow
	cutTime
	cutEntry
	cutCursor
)

func (n *Node) parseCut(text string, now time.Time) (f cutForm, at time.Time, id clock.EntryID, err error) {
	if text == "" || text == "now" {
		return cutNow, at, id, nil
	}
	if age, err := compaction.ParseAge(text); err == nil {
		return cutTime, now.Add(-age), id, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return cutTime, at, id, nil
	}
	if id, err := clock.ParseEntryID(text); err == nil {
		return cutEntry, at, id, nil
	}
	if text == "0" || strings.Count(text, "-") == 1 {
		return cutCursor, at, id, nil
	}
	return cutBad, at, id, fmt.Errorf("%w: cut %q: want now, a time as 2026-05-01T12:00:00Z, an age as 720h or 30d, a cursor, or LANE:SEQ", ErrInvalid, text)
}

func (m *moment) now() *cut {
	c := &cut{seqs: make(map[clock.LaneID]uint64, m.vector.Len())}
	for _, l := range m.vector.Lanes() {
		c.seqs[l] = m.vector.Seq(l)
	}
	return c
}

// atOrdinal returns what had been applied at an ordinal, and of the next entry
// the first transactions. It looks up a few entries of each lane.
func (m *moment) atOrdinal(text string, ordinal uint64, seen int) (*cut, error) {
	if ordinal < m.edge {
		return nil, m.below("cursor " + text)
	}
	c := &cut{seqs: make(map[clock.LaneID]uint64, m.vector.Len())}
	for _, l := range m.vector.Lanes() {
		low := m.horizon[l]
		var failed error
		above := sort.Search(int(m.vector.Seq(l)-low), func(i int) bool {
			if failed != nil {
				return true
			}
			rec, err := m.n.store.Record(m.snap, clock.EntryID{Lane: l, Seq: low + 1 + uint64(i)})
			failed = err
			return rec.Ordinal > ordinal
		})
		if failed != nil {
			return nil, fmt.Errorf("cut at %s: %w", text, failed)
		}
		c.seqs[l] = low + uint64(above)
	}
	if seen == 0 {
		return c, nil
	}
	for rec, err := range m.n.store.InOrder(m.snap, ordinal+1) {
		if err != nil {
			return nil, err
		}
		if rec.Ordinal != ordinal+1 || rec.Seq != c.seqs[rec.Lane]+1 {
			break // it went with a closing
		}
		e, err := rec.Entry()
		if err != nil {
			return nil, err
		}
		index := 0
		for i := range e.Body.Txns[:min(seen, len(e.Body.Txns))] {
			index += len(e.Body.Txns[i].Deltas)
		}
		c.part = e.Dot(index)
		break
	}
	return c, nil
}

// atTime goes through the entries above the horizon in the order of
// application, which extends causality: what an entry needs has been decided
// when its turn comes.
func (m *moment) atTime(ctx context.Context, text string, at time.Time) (*cut, error) {
	if at.UnixMilli() < m.past.Millis() {
		return nil, m.below(text)
	}
	c := &cut{seqs: maps.Clone(m.horizon)}
	whole := true // nothing was left out so far
	for rec, err := range m.n.store.InOrder(m.snap, m.edge+1) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if rec.Seq <= c.seqs[rec.Lane] {
			continue
		}
		in := rec.Time.Millis() <= at.UnixMilli() && rec.Seq == c.seqs[rec.Lane]+1
		if in && !whole {
			if in, err = m.closedIn(c, &rec); err != nil {
				return nil, err
			}
		}
		if in {
			c.seqs[rec.Lane] = rec.Seq
		}
		whole = whole && in
	}
	return c, nil
}

// closedIn reports whether all that an entry names is in a cut.
func (m *moment) closedIn(c *cut, rec *oplog.Record) (bool, error) {
	e, err := rec.Entry()
	if err != nil {
		return false, err
	}
	in := true
	names(e, func(id clock.EntryID) {
		in = in && m.within(id).Seq <= c.seqs[id.Lane]
	})
	return in, nil
}

// within returns the entry that stands for one that somebody names: of a closed
// lane none at or above the closing.
func (m *moment) within(id clock.EntryID) clock.EntryID {
	if at := m.closed[id.Lane]; at > 0 && id.Seq >= at {
		id.Seq = at - 1
	}
	return id
}

// names calls f with the entries of other lanes that an entry names.
func names(e *delta.Entry, f func(clock.EntryID)) {
	for i := range e.Body.Deps {
		f(e.Body.Deps[i].EntryID)
	}
	for i := range e.Body.Txns {
		for j := range e.Body.Txns[i].Deltas {
			for _, k := range e.Body.Txns[i].Deltas[j].Kills {
				for _, d := range slices.Concat(k.Dots, k.Bounds) {
					if d.Lane != e.Lane {
						f(d.Entry())
					}
				}
			}
		}
	}
}

// atEntry returns an entry and its causal past, where that holds all that lies
// below the horizon.
func (m *moment) atEntry(ctx context.Context, id clock.EntryID) (*cut, error) {
	switch {
	case id.Seq > m.vector.Seq(id.Lane):
		return nil, fmt.Errorf("%w: entry %v", ErrNotFound, id)
	case id.Seq < m.horizon[id.Lane]:
		return nil, m.below("entry " + id.String())
	}
	c := &cut{seqs: make(map[clock.LaneID]uint64)}
	for todo := []clock.EntryID{id}; len(todo) > 0; {
		next := m.within(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		from := max(c.seqs[next.Lane], m.horizon[next.Lane]) + 1
		c.seqs[next.Lane] = max(c.seqs[next.Lane], next.Seq)
		for rec, err := range m.n.store.Lane(m.snap, next.Lane, from) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, err
			}
			if rec.Seq > next.Seq {
				break
			}
			e, err := rec.Entry()
			if err != nil {
				return nil, err
			}
			names(e, func(o clock.EntryID) {
				if o.Seq > c.seqs[o.Lane] {
					todo = append(todo, o)
				}
			})
		}
	}
	for l, seq := range m.horizon {
		if c.seqs[l] < seq {
			return nil, m.below("the past of entry " + id.String() + ", which did not know all of what is below it,")
		}
	}
	return c, nil
}

// prefixOf returns the ordinal of the longest prefix of the order of
// application that lies within a cut.
func (m *moment) prefixOf(ctx context.Context, c *cut) (uint64, error) {
	for rec, err := range m.n.store.InOrder(m.snap, m.edge+1) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		if rec.Seq > c.seqs[rec.Lane] {
			return rec.Ordinal - 1, nil
		}
	}
	return m.ordinal, nil
}
