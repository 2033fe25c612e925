package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

const (
	// maxServed bounds the states that are served at once: each pins a snapshot.
	// No peer has more than one, and one that is held for longer than
	// servedMost goes when another peer asks.
	maxServed  = 4
	servedMost = 10 * 60_000

	// servedMillis is how long a peer may say nothing until its pin goes.
	servedMillis = 120_000

	// pageBytes is how large a page of rows becomes before it is sent, and
	// maxPageBytes how large at most: one more survivor of the largest size.
	pageBytes    = 512 << 10
	maxPageBytes = 2 << 20

	// pageWindow is how many pages may be on their way.
	pageWindow = 4
)

// A served is a state that is served to one session, as it was when the peer
// asked. Compactions and writes meanwhile do not matter to it.
type served struct {
	pinned
	pull    uint64
	peer    string
	client  *clock.Vector // the peer's when it asked
	since   int64
	touched int64
	asking  bool // a question is being answered

	want   *compaction.Set
	at     rowCursor
	size   int // of a page
	flying int
	busy   bool // a page is being made
	end    bool // the last page is made
}

// pinned is a snapshot of a state and the vector that it stands at.
type pinned struct {
	snap   storage.Snapshot
	view   rows
	vector *clock.Vector
	lanes  []clock.LaneID // of vector, in order: what messages number
	index  map[clock.LaneID]int
	// gone says that nobody waits any more for what jobs read here.
	gone *atomic.Bool
}

func (r *Replica) pin() pinned {
	p := pinned{snap: r.db.Snapshot(), view: r.state.rows, vector: r.log.Vector().Clone(), gone: new(atomic.Bool)}
	p.view.r = p.snap
	p.number(p.vector)
	return p
}

// number numbers the lanes of a vector.
func (p *pinned) number(v *clock.Vector) {
	p.lanes = v.Lanes()
	p.index = make(map[clock.LaneID]int, len(p.lanes))
	for i, l := range p.lanes {
		p.index[l] = i
	}
}

func (p *pinned) close() {
	p.gone.Store(true)
	_ = p.snap.Close() // it was only read from
}

// serve pins the state for a peer that needs it, and says what it is.
func (r *Replica) serve(t gossip.Serve) error {
	r.release(t.From)
	r.makeRoom(t.Peer)
	if len(r.serving) >= maxServed {
		r.machine.SendState(t.From, t.Pull, false, []byte{compaction.MsgBusy})
		return nil
	}
	if err := r.apply(); err != nil {
		return err
	}
	s := &served{pinned: r.pin(), pull: t.Pull, peer: t.Peer, client: t.Theirs, size: r.pageBytes, since: r.now, touched: r.now}
	r.serving[t.From] = s
	o := compaction.Offer{Root: r.log.Root(), Digest: r.Digest(), Rows: r.Survivors(), Time: r.hlc.Last()}
	for _, tip := range r.log.Tips() {
		o.Tips = append(o.Tips, clock.EntryID{Lane: tip.Lane, Seq: tip.Head.Seq})
	}
	for _, c := range s.vector.Changes(t.Theirs) {
		l := compaction.OfferLane{ID: c.Lane, Ahead: c.Head.Seq > t.Theirs.Seq(c.Lane)}
		l.Head = c.Head
		if l.Ahead {
			l.Key, _ = r.log.Lanes.Key(c.Lane)
			if h, ok := r.log.SignedHead(c.Lane); ok && h.Seq == c.Head.Seq {
				l.Signed = h
			}
		}
		o.Lanes = append(o.Lanes, l)
	}
	for _, m := range compaction.AppendOffers(&o) {
		r.machine.SendState(t.From, t.Pull, false, m)
	}
	return nil
}

// makeRoom releases what the peer was served on another session, and where there
// is no room what has been held for too long.
func (r *Replica) makeRoom(peer string) {
	var oldest gossip.SessionID
	for id, s := range r.serving { // the order does not matter: the oldest is one
		switch {
		case s.peer == peer:
			r.release(id)
		case r.now-s.since > servedMost && (oldest == 0 || s.since < r.serving[oldest].since || s.since == r.serving[oldest].since && id < oldest):
			oldest = id
		}
	}
	if oldest != 0 && len(r.serving) >= maxServed {
		r.release(oldest)
	}
}

// release ends what is served to a session.
func (r *Replica) release(id gossip.SessionID) {
	if s := r.serving[id]; s != nil {
		s.close()
		delete(r.serving, id)
	}
}

// serveTick releases what nobody asks for any more.
func (r *Replica) serveTick() {
	for id, s := range r.serving { // the order does not matter
		s.touched = min(s.touched, r.now) // the clock was set back
		if !r.machine.Alive(id) || r.now-s.touched >= servedMillis {
			r.release(id)
		}
	}
}

// onAsk answers a client.
func (r *Replica) onAsk(t gossip.State) error {
	s := r.serving[t.From]
	if s == nil || s.pull != t.Pull {
		return nil // released
	}
	s.touched = r.now
	kind, b := t.Payload[0], t.Payload[1:]
	if s.asking && kind != compaction.MsgCredit && kind != compaction.MsgRelease {
		return fmt.Errorf("%w: a question before the last one was answered", compaction.ErrMalformed)
	}
	switch kind {
	case compaction.MsgAskSums, compaction.MsgAskList:
		shift, stretches, err := compaction.ParseAsk(b, len(s.lanes))
		if err != nil {
			return err
		}
		if kind == compaction.MsgAskList {
			r.serveJob(t, s, func() ([][]byte, error) { return s.list(stretches) })
			return nil
		}
		if len(stretches) == 0 {
			if stretches = nil; shift < compaction.FirstShift(s.vector) {
				return fmt.Errorf("%w: all stretches of %d", compaction.ErrMalformed, shift)
			}
		}
		r.serveJob(t, s, func() ([][]byte, error) {
			table := compaction.NewTable(shift, stretches)
			err := s.tally(table)
			return compaction.SumsPages(table.Sums()), err
		})
	case compaction.MsgAskRows:
		want, err := compaction.ParseAskRows(b, len(s.lanes))
		if err != nil {
			return err
		}
		if s.busy || s.flying > 0 {
			return fmt.Errorf("%w: a second question for rows", compaction.ErrMalformed)
		}
		s.want, s.at, s.end = want, rowCursor{}, false
		r.servePage(t, s)
	case compaction.MsgAskDead:
		r.serveJob(t, s, func() ([][]byte, error) { return s.revivable(s.client) })
	case compaction.MsgCredit:
		if s.flying == 0 {
			return fmt.Errorf("%w: credit for nothing", compaction.ErrMalformed)
		}
		s.flying--
		r.servePage(t, s)
	case compaction.MsgRelease:
		r.release(t.From)
	default:
		return fmt.Errorf("%w: kind %d", compaction.ErrMalformed, kind)
	}
	return nil
}

// serveJob runs work on a pinned state and sends what it returns.
func (r *Replica) serveJob(t gossip.State, s *served, work func() ([][]byte, error)) {
	s.asking = true
	r.later(func() func() error {
		messages, err := work()
		return func() error {
			if r.serving[t.From] != s {
				return nil // released meanwhile: whatever went wrong with it
			}
			s.asking = false
			if errors.Is(err, delta.ErrMalformed) {
				r.release(t.From)
				r.machine.Misbehaved(r.now, t.From, err)
				return nil
			}
			if err != nil {
				return fmt.Errorf("serve state: %w", err)
			}
			s.touched = r.now
			for _, m := range messages {
				r.machine.SendState(t.From, t.Pull, false, m)
			}
			return nil
		}
	})
}

// servePage makes the next page, where the window has room for it.
func (r *Replica) servePage(t gossip.State, s *served) {
	if s.busy || s.end || s.flying >= pageWindow {
		return
	}
	s.busy = true
	r.later(func() func() error {
		page, next, end, err := s.page(s.want, s.at, s.size)
		if err == nil {
			page = gossip.Compress(page)
		}
		return func() error {
			if r.serving[t.From] != s {
				return nil
			}
			if err != nil {
				return fmt.Errorf("serve state: %w", err)
			}
			if end {
				r.states.served++
			}
			s.busy, s.end, s.at, s.touched = false, end, next, r.now
			s.flying++
			last := byte(0)
			if end {
				last = 1
			}
			r.machine.SendState(t.From, t.Pull, false, append([]byte{compaction.MsgRows, last}, page...))
			r.servePage(t, s)
			return nil
		}
	})
}

// each calls f with every survivor that the pinned vector covers.
func (p *pinned) each(f func(key []byte, lane int, s *merge.Survivor) error) error {
	return p.view.Rows(nil, func(key []byte, row []merge.Survivor) error {
		if p.gone.Load() {
			return errReleased
		}
		for i := range row {
			lane, ok := p.index[row[i].Dot.Lane]
			if !ok || row[i].Dot.Seq > p.vector.Seq(row[i].Dot.Lane) {
				continue
			}
			if err := f(key, lane, &row[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// errReleased ends a job that nobody waits for.
var errReleased = errors.New("released")

// maxListRows bounds one answer: what a client asks for is a quarter of it, and
// more than one entry can hold on top.
const maxListRows = 1 << 20

// tally counts the state by stretches.
func (p *pinned) tally(t *compaction.Table) error {
	return p.each(func(key []byte, lane int, s *merge.Survivor) error {
		t.Add(lane, s.Dot.Seq, func() digest.Sum { return s.Sum(key) })
		return nil
	})
}

// list lists the survivors of some stretches.
func (p *pinned) list(stretches []compaction.Stretch) ([][]byte, error) {
	set := compaction.SetOf(stretches)
	var out []compaction.Listed
	err := p.each(func(key []byte, lane int, s *merge.Survivor) error {
		if set.Has(lane, s.Dot.Seq) {
			if len(out) >= maxListRows {
				return fmt.Errorf("%w: a list of more than %d survivors", compaction.ErrMalformed, maxListRows)
			}
			out = append(out, compaction.Listed{Lane: lane, Seq: s.Dot.Seq, Index: s.Dot.Index, Sum: s.Sum(key)})
		}
		return nil
	})
	return compaction.ListPages(out), err
}

// maxRevivable bounds the dead incs that are served, and maxRevivableBytes what
// they take.
const (
	maxRevivable      = 1 << 18
	maxRevivableBytes = 16 << 20
)

// revivable lists the dead incs that the closing of their lane would revive:
// those that only their own lane killed, and of which the client has not applied
// the killer itself.
func (p *pinned) revivable(client *clock.Vector) (messages [][]byte, err error) {
	all, _, err := p.view.readEras()
	if err != nil {
		return nil, err
	}
	var page []byte
	n, size := 0, 0
	var row []byte // whose kills by other lanes are foreign
	var foreign []delta.Kill
	flush := func(last byte) {
		messages = append(messages, append([]byte{compaction.MsgDead, last}, gossip.Compress(page)...))
		page = nil
	}
	err = p.view.deadIn(all, nil, func(key []byte, killer clock.Dot, s *merge.Survivor) error {
		lane, ok := p.index[s.Dot.Lane]
		if p.gone.Load() {
			return errReleased
		}
		if s.Verb != delta.Inc || !ok || killer.Lane != s.Dot.Lane || client.Covers(killer.Entry()) ||
			n >= maxRevivable || size >= maxRevivableBytes {
			return nil
		}
		if !bytes.Equal(row, key) {
			// A counter has as many kills as incs: they are read once a row.
			row, foreign = append(row[:0], key...), nil
			if err := p.view.killsOf(all, key, func(by clock.Dot, k *delta.Kill) bool {
				if by.Lane != s.Dot.Lane {
					foreign = append(foreign, *k)
				}
				return true
			}); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(foreign, func(k delta.Kill) bool { return k.Hits(s.Dot) }) {
			return nil
		}
		before := len(page)
		page = compaction.AppendDead(page, key, lane, s, killer)
		size += len(page) - before
		if n++; len(page) >= pageBytes {
			flush(0)
		}
		return nil
	})
	flush(1)
	return messages, err
}

// A rowCursor is a place among the survivors: skip of the row at key.
type rowCursor struct {
	key  []byte
	skip int
}

// page collects the survivors of a set from a place on.
func (p *pinned) page(want *compaction.Set, at rowCursor, size int) (page []byte, next rowCursor, end bool, err error) {
	lo := p.view.key(kindState, at.key)
	skip := len(p.view.prefix) + 1
	for kv, err := range p.snap.Scan(lo, storage.PrefixEnd(p.view.key(kindState, nil))) {
		if err != nil {
			return nil, next, false, fmt.Errorf("scan rows: %w", err)
		}
		row, err := merge.ParseRow(kv.Value, p.view.lanes)
		if err != nil {
			return nil, next, false, err
		}
		key := kv.Key[skip:]
		from := 0
		if bytes.Equal(key, at.key) {
			from = at.skip
		}
		for i := from; i < len(row); i++ {
			lane, ok := p.index[row[i].Dot.Lane]
			if !ok || !want.Has(lane, row[i].Dot.Seq) {
				continue
			}
			if len(page) >= size {
				return page, rowCursor{slices.Clone(key), i}, false, nil
			}
			page = compaction.AppendRow(page, key, lane, &row[i])
		}
	}
	return page, next, true, nil
}
