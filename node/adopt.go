package node

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/internal/plant"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// An adoption is the state of a peer on its way into this replica, from the
// offer to the one batch that takes it over. What has come is staged in the
// store, and so a stream that breaks off is gone on with: staged rows count as
// held when the next offer is compared.
//
// The join is that of package merge,
//
//	fold(K1 ∪ K2) = (S1 ∩ S2) ∪ {s ∈ S1 : dot ∉ K2} ∪ {s ∈ S2 : dot ∉ K1}
//
// where 2 is what the peer has pinned and 1 is this replica as it stands when
// it commits. The comparison is made against what it was at the start: what was
// applied since is looked at one by one.
type adoption struct {
	from gossip.SessionID
	pull uint64
	peer string

	offer compaction.Offer // all pages
	// start is this replica's state at the start, and theirs the vector that
	// the peer has pinned, whose lanes messages number.
	start  pinned
	theirs *clock.Vector

	ranges *compaction.Ranges
	own    *compaction.Table // of the level that was asked for
	sums   []compaction.StretchSum

	listed  map[dotAt]digest.Sum
	lists   [][]byte // questions for lists, still to be asked
	listing bool     // one is asked

	// dead are own survivors that the peer has applied and does not have, and
	// unstaged are staged ones of an earlier offer of the same kind.
	dead     []placedDot
	unstaged map[placedDot]bool

	want  []compaction.Interval // rows still to be asked for
	asked *compaction.Set
	last  compaction.Row // the row that came last
	rows  uint64         // that came so far
	began int64          // when the offer came
	// rivals are rows that came for dots that this side covers.
	rivals  map[placedDot]bool
	arrived digest.Sum // of rows that were not listed

	// revivable are dead incs of the peer's, asked for last.
	revivable []compaction.DeadRow
	askedDead bool

	// inspect, where not nil, says that the state is only looked at.
	inspect *inspection

	// forsaken says from where on lanes of our own are not what the peer has
	// under the same names: see Replica.forsake.
	forsaken map[clock.LaneID]uint64
}

type dotAt struct {
	lane  int
	seq   uint64
	index uint32
}

type placedDot struct {
	key string
	dot clock.Dot
}

// maxListedDots bounds what lists may hold in memory, some 100 bytes each.
const maxListedDots = 1 << 22

func (r *Replica) adopting() bool { return r.adopt != nil }

// onState takes in a message about a state that is served, there or here. What
// is wrong with it costs the peer.
func (r *Replica) onState(t gossip.State) error {
	if !t.Ours {
		err := r.onAsk(t)
		if errors.Is(err, delta.ErrMalformed) {
			r.release(t.From)
			r.machine.Misbehaved(r.now, t.From, err)
			return nil
		}
		return err
	}
	if err := r.onAnswer(t); err != nil {
		return r.giveUp(t.From, t.Pull, t.Peer, err)
	}
	return nil
}

// onAnswer takes in what a server says.
func (r *Replica) onAnswer(t gossip.State) error {
	kind, b := t.Payload[0], t.Payload[1:]
	a := r.adopt
	switch {
	case kind == compaction.MsgOffer:
		return r.onOffer(t, b)
	case kind == compaction.MsgBusy:
		return errServerBusy
	case a == nil || a.from != t.From || a.pull != t.Pull:
		return nil
	case kind == compaction.MsgSums:
		return r.onSums(a, b)
	case kind == compaction.MsgList:
		return r.onList(a, b)
	case kind == compaction.MsgRows:
		return r.onRows(a, b)
	case kind == compaction.MsgDead:
		return r.onDead(a, b)
	}
	return fmt.Errorf("%w: kind %d", compaction.ErrMalformed, kind)
}

func (r *Replica) onSums(a *adoption, b []byte) error {
	sums, last, err := compaction.ParseSums(b, len(a.start.lanes))
	if err != nil {
		return err
	}
	if a.own == nil || len(a.sums) > maxOfferedLanes+2*maxAskedSums || len(sums) == 0 && !last {
		return fmt.Errorf("%w: sums that nobody asked for", compaction.ErrMalformed)
	}
	if a.sums = append(a.sums, sums...); last {
		own, sums := a.own, a.sums
		a.own, a.sums = nil, nil
		a.ranges.Compare(own, sums)
		r.compareLevel(a)
	}
	return nil
}

func (r *Replica) onList(a *adoption, b []byte) error {
	list, last, err := compaction.ParseList(b, len(a.start.lanes))
	if err != nil {
		return err
	}
	if !a.listing || len(list) == 0 && !last {
		return fmt.Errorf("%w: a list that nobody asked for", compaction.ErrMalformed)
	}
	if len(a.listed) > maxListedDots {
		return errTooDifferent
	}
	for _, x := range list {
		a.listed[dotAt{x.Lane, x.Seq, x.Index}] = x.Sum
	}
	if last {
		r.askList(a)
	}
	return nil
}

// askList asks for the next list, or goes on where all have come.
func (r *Replica) askList(a *adoption) {
	if a.listing = len(a.lists) > 0; !a.listing {
		r.resolve(a)
		return
	}
	r.machine.SendState(a.from, a.pull, true, a.lists[0])
	a.lists = a.lists[1:]
}

var errServerBusy = errors.New("peer serves its state to others, later again")

// errTooDifferent reports states with more differences than memory has room for.
var errTooDifferent = errors.New("the states differ in too many rows")

// errMoved reports an offer against what is no longer so here, or there.
var errMoved = gossip.ErrMoved

// onOffer takes in a page of an offer, and with the last one begins.
func (r *Replica) onOffer(t gossip.State, b []byte) error {
	page, err := compaction.ParseOffer(r.cfg.Space, b)
	if err != nil {
		return err
	}
	a := r.adopt
	switch {
	case page.First && a != nil && a.from == t.From && a.pull == t.Pull:
		return fmt.Errorf("%w: a second offer", compaction.ErrMalformed)
	case page.First:
		r.dropAdoption()
		a = &adoption{from: t.From, pull: t.Pull, peer: t.Peer, offer: page, began: r.now}
		if x := r.inspecting; x != nil && x.pull == t.Pull {
			a.inspect = x
		}
		r.adopt = a
	case a == nil || a.from != t.From || a.pull != t.Pull || a.theirs != nil:
		return fmt.Errorf("%w: a page of an offer that did not begin", compaction.ErrMalformed)
	default:
		a.offer.Lanes = append(a.offer.Lanes, page.Lanes...)
	}
	if len(a.offer.Lanes) > r.log.Vector().Len()+maxOfferedLanes {
		return fmt.Errorf("%w: an offer of %d lanes", compaction.ErrMalformed, len(a.offer.Lanes))
	}
	if !page.Last {
		return nil
	}
	return r.beginAdoption(a)
}

// maxOfferedLanes bounds the lanes that an offer may add.
const maxOfferedLanes = 1 << 17

// beginAdoption checks an offer against what is known and pins this side.
func (r *Replica) beginAdoption(a *adoption) error {
	a.theirs = r.machine.Told(a.from).Clone()
	type signed struct {
		key delta.LaneKey
		delta.SignedHead
	}
	var verify []signed
	for i := range a.offer.Lanes {
		l := &a.offer.Lanes[i]
		if i > 0 && a.offer.Lanes[i-1].ID.Compare(l.ID) >= 0 {
			return fmt.Errorf("%w: offered lanes are out of order", compaction.ErrMalformed)
		}
		if l.Ahead != (l.Head.Seq > a.theirs.Seq(l.ID)) {
			return errMoved // it knows another vector of ours than we told last
		}
		a.theirs.Set(l.ID, l.Head)
		if !l.Ahead {
			continue
		}
		vouched, err := r.log.CheckJump(&l.Jump)
		if err != nil {
			return err
		}
		if at, closed := r.log.ClosedAt(l.ID); closed && l.Head.Seq >= at {
			return errMoved
		}
		if !vouched {
			verify = append(verify, signed{l.Key, l.Signed})
		}
	}
	// Both must have closed the same lanes at the same seqs: proofs were told
	// before, and else they are on their way.
	if !r.log.HasRoot(a.theirs, a.offer.Root) {
		return errMoved
	}
	for _, t := range a.offer.Tips {
		if t.Seq == 0 || a.theirs.Seq(t.Lane) != t.Seq {
			return fmt.Errorf("%w: tip %v is no head", compaction.ErrMalformed, t)
		}
	}
	if err := r.apply(); err != nil {
		return err
	}
	a.start = r.pin()
	a.start.number(a.theirs)
	if a.inspect == nil {
		a.forsaken = r.astray(a.theirs)
	}
	for l, at := range a.forsaken { // each lane by itself: the order does not matter
		a.start.vector.Set(l, clock.Head{Seq: at - 1})
	}
	a.listed, a.unstaged = make(map[dotAt]digest.Sum), make(map[placedDot]bool)
	a.rivals = make(map[placedDot]bool)
	a.ranges = compaction.NewRanges(a.theirs, func(lane int) uint64 { return a.start.vector.Seq(a.start.lanes[lane]) })
	r.adoptJob(a, func() error {
		for i := range verify {
			if err := delta.Verify(verify[i].key, &verify[i].Header, verify[i].Sig); err != nil {
				return fmt.Errorf("offered head: %w", err)
			}
		}
		return nil
	}, func() error {
		for i := range a.offer.Lanes {
			if l := &a.offer.Lanes[i]; l.Ahead && a.inspect == nil {
				r.log.AddLane(l.Key) // staged rows name it by its number
			}
		}
		if r.Survivors() == 0 && (!r.staged() || a.inspect != nil) {
			a.wantAll()
			return r.askRows(a)
		}
		r.compareLevel(a)
		return nil
	})
	return nil
}

// wantAll asks for everything, where there is nothing to compare it with.
func (a *adoption) wantAll() {
	for i, l := range a.start.lanes {
		a.want = append(a.want, compaction.Interval{Lane: i, UpTo: a.theirs.Seq(l)})
	}
}

// adoptJob runs work beside the replica and then finish in its turn, if the
// adoption still goes on.
func (r *Replica) adoptJob(a *adoption, work, finish func() error) {
	r.later(func() func() error {
		err := work()
		return func() error {
			if r.adopt != a || !r.machine.Pulling(a.from, a.pull) {
				return nil
			}
			if err == nil {
				err = finish()
			}
			return r.endIf(a, err)
		}
	})
}

// endIf gives an adoption up for what is the peer's fault or chance, and passes
// on what is our own.
func (r *Replica) endIf(a *adoption, err error) error {
	if err == nil {
		return nil
	}
	return r.giveUp(a.from, a.pull, a.peer, err)
}

func (r *Replica) giveUp(from gossip.SessionID, pull uint64, peer string, err error) error {
	if errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrFailed) || errors.Is(err, errInvariant) {
		return err
	}
	if errors.Is(err, compaction.ErrRefused) || errors.Is(err, compaction.ErrMalformed) {
		r.dropStaged() // nothing of it is to be trusted
	}
	if errors.Is(err, compaction.ErrRefused) {
		r.raise("state", fmt.Sprintf("the state that peer %s serves was refused: %v", peer, err),
			"run `rhizome verify` on that host; others are asked meanwhile")
	}
	if errors.Is(err, errTooDifferent) {
		r.raise("state", fmt.Sprintf("the state that peer %s serves cannot be taken over: %v", peer, err),
			"stop this node and run `rhizome repair`: it takes a peer's state over whole, and what this node alone wrote follows")
	}
	r.endAdoption(from, pull, err)
	return nil
}

func (r *Replica) endAdoption(from gossip.SessionID, pull uint64, err error) {
	r.machine.SendState(from, pull, true, []byte{compaction.MsgRelease})
	r.dropAdoption()
	r.failInspection(pull, err)
	r.machine.StateDone(r.now, from, pull, err)
}

// errInvariant marks an error after which memory and store may disagree.
var errInvariant = errors.New("broken invariant")

// dropAdoption forgets an adoption; what is staged stays.
func (r *Replica) dropAdoption() {
	if a := r.adopt; a != nil && a.start.snap != nil {
		a.start.close()
	}
	r.adopt = nil
}

// adoptMillis is how long an adoption may take, and a millisecond more for each
// row that came.
const adoptMillis = 15 * 60_000

var errTooSlow = errors.New("the peer serves its state too slowly")

// adoptTick gives up what the machine has given up.
func (r *Replica) adoptTick() {
	a := r.adopt
	if a != nil && !r.machine.StillPulling(a.from, a.pull) {
		r.dropAdoption()
	} else if a != nil && r.now-a.began > adoptMillis+int64(a.rows) {
		// It comes too slowly to be worth the one pull that there is.
		r.endAdoption(a.from, a.pull, errTooSlow)
	}
	if x := r.inspecting; x != nil && !r.machine.StillPulling(x.from, x.pull) {
		r.failInspection(x.pull, errGone)
	}
}

// compareLevel tallies the next level here and asks for the same there; after
// the last it asks for lists.
func (r *Replica) compareLevel(a *adoption) {
	shift, stretches, more := a.ranges.Ask()
	if !more {
		a.lists = a.ranges.AskList()
		r.askList(a)
		return
	}
	own := compaction.NewTable(shift, stretches)
	r.adoptJob(a, func() error {
		return a.each(func(key []byte, lane int, s *merge.Survivor, _ bool) error {
			own.Add(lane, s.Dot.Seq, func() digest.Sum { return s.Sum(key) })
			return nil
		})
	}, func() error {
		a.own = own
		if len(stretches) > maxAskedSums {
			// More differs than is worth comparing: list all of what is left.
			a.own = nil
			a.ranges.ListAll()
			r.compareLevel(a)
			return nil
		}
		r.machine.SendState(a.from, a.pull, true, compaction.AppendAsk(compaction.MsgAskSums, shift, stretches))
		return nil
	})
}

// maxAskedSums is how many stretches one level may have.
const maxAskedSums = 1 << 16

// each calls f with every survivor that the served state may share: own ones
// below its vector, and staged ones between this side's vector and it.
func (a *adoption) each(f func(key []byte, lane int, s *merge.Survivor, staged bool) error) error {
	view := &a.start.view
	within := func(s *merge.Survivor) (int, bool) {
		lane, ok := a.start.index[s.Dot.Lane]
		return lane, ok && s.Dot.Seq <= a.theirs.Seq(s.Dot.Lane)
	}
	err := view.Rows(nil, func(key []byte, row []merge.Survivor) error {
		for i := range row {
			if at := a.forsaken[row[i].Dot.Lane]; at > 0 && row[i].Dot.Seq >= at {
				continue
			}
			if lane, ok := within(&row[i]); ok {
				if err := f(key, lane, &row[i], false); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if a.inspect != nil {
		return nil
	}
	return view.stagedRows(func(key []byte, s *merge.Survivor) error {
		if lane, ok := within(s); ok && s.Dot.Seq > a.start.vector.Seq(s.Dot.Lane) {
			return f(key, lane, s, true)
		}
		return nil
	})
}

// resolve finds what is dead here and what is still to come.
func (r *Replica) resolve(a *adoption) {
	lists, gone := compaction.SetOf(a.ranges.List), compaction.SetOf(a.ranges.Dead)
	a.want = compaction.SetOf(a.ranges.Want).Intervals()
	var dead []placedDot
	unstaged := make(map[placedDot]bool)
	found, rivals := make(map[dotAt]bool), make(map[dotAt]bool)
	var report DiffReport
	r.adoptJob(a, func() error {
		err := a.each(func(key []byte, lane int, s *merge.Survivor, staged bool) error {
			at := dotAt{lane, s.Dot.Seq, s.Dot.Index}
			theirs, listed := a.listed[at]
			if !lists.Has(lane, s.Dot.Seq) {
				listed = !gone.Has(lane, s.Dot.Seq)
			} else if listed {
				mine := s.Sum(key)
				found[at] = found[at] || mine == theirs
				listed = !staged || mine == theirs                                                    // a staged row is exactly the one that is served, or none
				rivals[at] = !staged && (sumLess(mine, theirs) || a.inspect != nil && mine != theirs) // one dot, two rows
			}
			switch {
			case listed:
			case staged:
				unstaged[placedDot{string(key), s.Dot}] = true
			default:
				dead = append(dead, placedDot{string(key), s.Dot})
			}
			return nil
		})
		if err == nil && a.inspect != nil {
			report, err = a.inspect.here(a, dead)
		}
		return err
	}, func() error {
		a.dead, a.unstaged = dead, unstaged
		if a.inspect != nil {
			a.inspect.report = report
		}
		for at := range a.listed {
			// What is covered here and not found was killed here, and nobody
			// needs its row.
			if held := a.start.vector.Seq(a.start.lanes[at.lane]); !found[at] && (at.seq > held || rivals[at] || a.inspect != nil || plant.Is(plant.JoinRevives)) {
				a.want = append(a.want, compaction.Interval{Lane: at.lane, After: at.seq - 1, UpTo: at.seq})
			}
		}
		a.want = compaction.NewSet(a.want).Intervals()
		return r.askRows(a)
	})
}

func sumLess(a, b digest.Sum) bool {
	x, y := a.Bytes(), b.Bytes()
	return bytes.Compare(x[:], y[:]) < 0
}

// askRows asks for the next rows, or commits where all have come.
func (r *Replica) askRows(a *adoption) error {
	if len(a.want) == 0 && a.inspect != nil {
		r.endInspection(a)
		return nil
	}
	if len(a.want) == 0 {
		a.askedDead = true
		r.machine.SendState(a.from, a.pull, true, []byte{compaction.MsgAskDead})
		return nil
	}
	n := min(len(a.want), compaction.MaxIntervals)
	a.asked, a.want, a.last = compaction.NewSet(a.want[:n]), a.want[n:], compaction.Row{}
	r.machine.SendState(a.from, a.pull, true, compaction.AppendAskRows(a.asked))
	return nil
}

// onRows stages a page of rows.
func (r *Replica) onRows(a *adoption, b []byte) error {
	if a.asked == nil || len(b) == 0 || b[0] > 1 {
		return fmt.Errorf("%w: rows that nobody asked for", compaction.ErrMalformed)
	}
	plain, err := gossip.Decompress(b[1:], maxPageBytes)
	if err != nil {
		return err
	}
	page, err := compaction.ParseRows(plain, a.start.lanes)
	if err != nil {
		return err
	}
	if a.rows += uint64(len(page)); a.rows > a.offer.Rows || len(page) == 0 && b[0] == 0 {
		return fmt.Errorf("%w: more rows than were offered, or none", compaction.ErrMalformed)
	}
	for i := range page {
		if err := a.take(&page[i]); err != nil {
			return err
		}
		if a.inspect != nil {
			a.inspect.there(a, &page[i])
			continue
		}
		r.state.stage(r.batch, &page[i])
		if plant.Is(plant.JoinByPage) {
			if err := r.fold.Insert(page[i].Key, page[i].Survivor); err != nil {
				return err
			}
		}
	}
	if last := b[0] == 1; !last {
		r.machine.SendState(a.from, a.pull, true, []byte{compaction.MsgCredit})
		return nil
	}
	a.asked = nil
	r.machine.SendState(a.from, a.pull, true, []byte{compaction.MsgCredit})
	return r.askRows(a)
}

// onDead takes in a page of dead incs, and with the last one commits.
func (r *Replica) onDead(a *adoption, b []byte) error {
	if !a.askedDead || len(b) == 0 || b[0] > 1 {
		return fmt.Errorf("%w: dead rows that nobody asked for", compaction.ErrMalformed)
	}
	plain, err := gossip.Decompress(b[1:], maxPageBytes)
	if err != nil {
		return err
	}
	dead, err := compaction.ParseDead(plain, a.start.lanes)
	if err != nil {
		return err
	}
	if a.revivable = append(a.revivable, dead...); len(a.revivable) > maxRevivable || len(dead) == 0 && b[0] == 0 {
		return fmt.Errorf("%w: too many dead rows", compaction.ErrMalformed)
	}
	if b[0] == 0 {
		return nil
	}
	return r.commitAdoption(a)
}

// take checks a row that came: it was asked for, it is the one that was listed,
// and it comes once.
func (a *adoption) take(x *compaction.Row) error {
	if !a.asked.Has(x.Lane, x.Dot.Seq) {
		return fmt.Errorf("%w: row of %v, which nobody asked for", compaction.ErrMalformed, x.Dot)
	}
	if c := bytes.Compare(a.last.Key, x.Key); c > 0 || c == 0 && a.last.Dot.Compare(x.Dot) >= 0 {
		return fmt.Errorf("%w: row of %v is out of order", compaction.ErrMalformed, x.Dot)
	}
	a.last = compaction.Row{Key: bytes.Clone(x.Key)}
	a.last.Dot = x.Dot
	if a.start.vector.Covers(x.Dot.Entry()) {
		a.rivals[placedDot{string(x.Key), x.Dot}] = true
	}
	sum := x.Sum(x.Key)
	listed, ok := a.listed[dotAt{x.Lane, x.Dot.Seq, x.Dot.Index}]
	if !ok {
		a.arrived = a.arrived.Plus(sum)
	} else if listed != sum {
		return fmt.Errorf("%w: row of %v is not the one that was listed", compaction.ErrRefused, x.Dot)
	}
	return nil
}
