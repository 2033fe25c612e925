package compaction

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// The messages by which a state is served, each a byte for its kind and its
// fields. Whoever lacks what the other side has dropped is the client; the
// other side pins its state and answers questions about it.
const (
	MsgOffer   = 1 + iota // server: what is pinned
	MsgBusy               // server: not now
	MsgAskSums            // client: tally these stretches
	MsgSums               // server: here
	MsgAskList            // client: list the survivors of these stretches
	MsgList               // server: here
	MsgAskRows            // client: send the rows of these intervals
	MsgRows               // server: a page of them
	MsgCredit             // client: a page is stored, send one more
	MsgRelease            // client: done, or given up
	MsgAskDead            // client: send the incs that a closing would revive
	MsgDead               // server: a page of them
)

const (
	// maxOfferLanes bounds the lanes of one page of an offer, some 300 bytes each.
	maxOfferLanes = 8192
	// maxSums, maxListed and maxAsked bound what one message holds of each.
	maxSums   = 1 << 15
	maxListed = 1 << 13
	maxAsked  = 1 << 16
	// maxAnswer is how many survivors are asked to be listed at once, 10 MiB of
	// them: what a session holds for a peer is bounded.
	maxAnswer = 1 << 18
)

// ErrMalformed reports a message that no server or client would send.
var ErrMalformed = fmt.Errorf("%w: state message", delta.ErrMalformed)

// An Offer is one page of what a server has pinned. The lanes of all pages,
// laid over the client's vector as the server knows it, are the pinned vector.
type Offer struct {
	First, Last bool

	// What follows stands in the first page alone.
	Root   digest.Sum // of the log, closings included
	Digest digest.Sum
	Rows   uint64 // survivors
	Time   clock.Timestamp
	Tips   []clock.EntryID

	Lanes []OfferLane
}

// An OfferLane is a lane in which the pinned vector differs from the client's.
// Of one that the server has less of, or not at all, only the head is told.
type OfferLane struct {
	oplog.Jump
	ID clock.LaneID
	// Ahead says that the server has more: Key and Signed are there.
	Ahead bool
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendSum(b []byte, s digest.Sum) []byte {
	x := s.Bytes()
	return append(b, x[:]...)
}

// AppendOffers appends an offer as messages of at most maxOfferLanes lanes.
func AppendOffers(o *Offer) (messages [][]byte) {
	lanes := o.Lanes
	for first := true; first || len(lanes) > 0; first = false {
		n := min(len(lanes), maxOfferLanes)
		page := *o
		page.First, page.Last, page.Lanes = first, n == len(lanes), lanes[:n]
		messages = append(messages, page.append())
		lanes = lanes[n:]
	}
	return messages
}

func (o *Offer) append() []byte {
	b := appendBool(appendBool([]byte{MsgOffer}, o.First), o.Last)
	if o.First {
		b = appendSum(appendSum(b, o.Root), o.Digest)
		b = binary.AppendUvarint(binary.AppendUvarint(b, o.Rows), uint64(o.Time))
		b = binary.AppendUvarint(b, uint64(len(o.Tips)))
		for _, t := range o.Tips {
			b = binary.AppendUvarint(append(b, t.Lane[:]...), t.Seq)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(o.Lanes)))
	for i := range o.Lanes {
		l := &o.Lanes[i]
		signed := len(l.Signed.Sig) > 0
		b = appendBool(appendBool(b, l.Ahead), signed)
		if l.Ahead {
			b = append(append(b, l.Key.Author[:]...), l.Key.Incarnation[:]...)
		} else {
			b = append(b, l.ID[:]...)
		}
		b = append(binary.AppendUvarint(b, l.Head.Seq), l.Head.Hash[:]...)
		if signed {
			b = append(b, l.Signed.Prev[:]...)
			b = binary.AppendUvarint(b, uint64(l.Signed.Time))
			b = append(append(b, l.Signed.Body[:]...), l.Signed.Sig...)
		}
	}
	return b
}

// ParseOffer reads a page for a space. Nothing in it is verified.
func ParseOffer(space clock.Hash, b []byte) (o Offer, err error) {
	r := reader{b: b}
	o.First, o.Last = r.bool(), r.bool()
	if o.First {
		o.Root, o.Digest, o.Rows, o.Time = r.sum(), r.sum(), r.uint(), clock.Timestamp(r.uint())
		for n := r.count(17, 1<<18); n > 0 && r.err == nil; n-- {
			var t clock.EntryID
			copy(t.Lane[:], r.take(16))
			t.Seq = r.uint()
			o.Tips = append(o.Tips, t)
		}
	}
	for n := r.count(50, maxOfferLanes); n > 0 && r.err == nil; n-- {
		var l OfferLane
		l.Ahead = r.bool()
		signed := r.bool()
		if l.Ahead {
			copy(l.Key.Author[:], r.take(32))
			copy(l.Key.Incarnation[:], r.take(16))
			l.ID = l.Key.ID(space)
		} else {
			copy(l.ID[:], r.take(16))
		}
		l.Head.Seq = r.uint()
		copy(l.Head.Hash[:], r.take(32))
		if signed {
			l.Signed.Header = delta.Header{Space: space, Lane: l.ID, Seq: l.Head.Seq}
			copy(l.Signed.Prev[:], r.take(32))
			l.Signed.Time = clock.Timestamp(r.uint())
			copy(l.Signed.Body[:], r.take(32))
			l.Signed.Sig = append([]byte(nil), r.take(delta.SigSize)...)
		}
		if l.Head.Seq > clock.MaxSeq || l.Ahead && l.Head.Seq == 0 || signed && !l.Ahead {
			r.fail()
		}
		o.Lanes = append(o.Lanes, l)
	}
	if o.Time > clock.MaxTimestamp {
		r.fail()
	}
	return o, r.end()
}

// AppendAsk appends a question about stretches of one shift; none means all.
func AppendAsk(kind byte, shift uint8, stretches []Stretch) []byte {
	b := []byte{kind, shift}
	b = binary.AppendUvarint(b, uint64(len(stretches)))
	for _, s := range stretches {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(s.Lane)), s.K)
	}
	return b
}

// ParseAsk reads a question, without its kind, about a vector of so many lanes.
func ParseAsk(b []byte, lanes int) (shift uint8, stretches []Stretch, err error) {
	r := reader{b: b}
	shift = r.take(1)[0]
	if shift > 63 {
		r.fail()
	}
	for n := r.count(2, maxAsked); n > 0 && r.err == nil; n-- {
		s := Stretch{Lane: r.lane(lanes), Shift: shift, K: r.uint()}
		if s.K > clock.MaxSeq>>shift {
			r.fail()
		}
		stretches = append(stretches, s)
	}
	return shift, stretches, r.end()
}

// SumsPages cuts sums into messages.
func SumsPages(sums []StretchSum) (messages [][]byte) {
	for first := true; first || len(sums) > 0; first = false {
		n := min(len(sums), maxSums)
		b := appendBool([]byte{MsgSums}, n == len(sums))
		b = binary.AppendUvarint(b, uint64(n))
		for _, x := range sums[:n] {
			b = binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(b, uint64(x.Lane)), x.K), x.Count)
			b = binary.LittleEndian.AppendUint64(b, x.Sum)
		}
		messages, sums = append(messages, b), sums[n:]
	}
	return messages
}

// ParseSums reads a page of sums, without its kind.
func ParseSums(b []byte, lanes int) (sums []StretchSum, last bool, err error) {
	r := reader{b: b}
	last = r.bool()
	for n := r.count(11, maxSums); n > 0 && r.err == nil; n-- {
		x := StretchSum{Lane: r.lane(lanes), K: r.uint(), Count: r.uint()}
		x.Sum = binary.LittleEndian.Uint64(r.take(8))
		if x.Count == 0 || x.K > clock.MaxSeq {
			r.fail()
		}
		sums = append(sums, x)
	}
	return sums, last, r.end()
}

// A Listed is a survivor that a server lists.
type Listed struct {
	Lane  int
	Seq   uint64
	Index uint32
	Sum   digest.Sum
}

// ListPages cuts a list into messages.
func ListPages(list []Listed) (messages [][]byte) {
	for first := true; first || len(list) > 0; first = false {
		n := min(len(list), maxListed)
		b := appendBool([]byte{MsgList}, n == len(list))
		b = binary.AppendUvarint(b, uint64(n))
		for _, x := range list[:n] {
			b = binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(b, uint64(x.Lane)), x.Seq), uint64(x.Index))
			b = appendSum(b, x.Sum)
		}
		messages, list = append(messages, b), list[n:]
	}
	return messages
}

// ParseList reads a page of a list, without its kind.
func ParseList(b []byte, lanes int) (list []Listed, last bool, err error) {
	r := reader{b: b}
	last = r.bool()
	for n := r.count(35, maxListed); n > 0 && r.err == nil; n-- {
		x := Listed{Lane: r.lane(lanes), Seq: r.uint(), Index: r.index(), Sum: r.sum()}
		if x.Seq == 0 {
			r.fail()
		}
		list = append(list, x)
	}
	return list, last, r.end()
}

// AppendAskRows appends the question for the rows of a set.
func AppendAskRows(s *Set) []byte {
	b := binary.AppendUvarint([]byte{MsgAskRows}, uint64(len(s.in)))
	for _, x := range s.in {
		b = binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(b, uint64(x.Lane)), x.After), x.UpTo-x.After)
	}
	return b
}

// MaxIntervals bounds what is asked for in one go; what is left is found by the
// next comparison.
const MaxIntervals = 1 << 19

// ParseAskRows reads the question, without its kind.
func ParseAskRows(b []byte, lanes int) (*Set, error) {
	r := reader{b: b}
	var in []Interval
	for n := r.count(3, MaxIntervals); n > 0 && r.err == nil; n-- {
		x := Interval{Lane: r.lane(lanes), After: r.uint()}
		size := r.uint()
		if x.UpTo = x.After + size; size == 0 || x.UpTo < x.After {
			r.fail()
		}
		in = append(in, x)
	}
	return NewSet(in), r.end()
}

// A Row is a survivor on its way, with its row's key.
type Row struct {
	Key  []byte
	Lane int
	merge.Survivor
}

// AppendRow appends a row to a page.
func AppendRow(b []byte, key []byte, lane int, s *merge.Survivor) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
	for _, n := range []uint64{uint64(lane), s.Dot.Seq, uint64(s.Dot.Index), uint64(s.Txn), uint64(s.Time)} {
		b = binary.AppendUvarint(b, n)
	}
	b = append(b, byte(s.Verb))
	b = append(binary.AppendUvarint(b, uint64(len(s.Creator))), s.Creator...)
	return append(binary.AppendUvarint(b, uint64(len(s.Value))), s.Value...)
}

// ParseRows reads a page of rows. What it returns is well formed: keys, values
// and tags are such as deltas have. They share memory with b.
func ParseRows(b []byte, lanes []clock.LaneID) (rows []Row, err error) {
	r := reader{b: b}
	for len(r.b) > 0 && r.err == nil {
		x := r.row(lanes)
		if r.err != nil {
			break
		}
		if err := checkRow(&x); err != nil {
			return nil, err
		}
		rows = append(rows, x)
	}
	return rows, r.end()
}

// A DeadRow is an inc that only its own lane's later ones killed. If that lane
// turns out to have forked, it may have to live again.
type DeadRow struct {
	Row
	Killer clock.Dot
}

// AppendDead appends a dead row to a page. The killer is of the same lane.
func AppendDead(b []byte, key []byte, lane int, s *merge.Survivor, killer clock.Dot) []byte {
	b = AppendRow(b, key, lane, s)
	return binary.AppendUvarint(binary.AppendUvarint(b, killer.Seq), uint64(killer.Index))
}

// ParseDead reads a page of dead rows.
func ParseDead(b []byte, lanes []clock.LaneID) (dead []DeadRow, err error) {
	r := reader{b: b}
	for len(r.b) > 0 && r.err == nil {
		x := DeadRow{Row: r.row(lanes)}
		x.Killer = clock.Dot{Lane: x.Dot.Lane, Seq: r.uint(), Index: r.index()}
		if r.err != nil {
			break
		}
		if err := checkRow(&x.Row); err != nil {
			return nil, err
		}
		if x.Verb != delta.Inc || x.Killer.Compare(x.Dot) <= 0 {
			return nil, fmt.Errorf("%w: dead row of %v", ErrMalformed, x.Dot)
		}
		dead = append(dead, x)
	}
	return dead, r.end()
}

// checkRow checks what can be checked of a survivor without state: it could
// have come from a delta.
func checkRow(x *Row) error {
	bad := func(what string) error { return fmt.Errorf("%w: row of %v: %s", ErrMalformed, x.Dot, what) }
	entity, path, tag, err := merge.ParseKey(x.Key)
	if err != nil || delta.CheckEntity(entity) != nil {
		return bad("key")
	}
	if _, err := delta.ParsePath(string(path)); err != nil {
		return bad("path")
	}
	d := delta.Delta{Entity: entity, Path: path, Verb: x.Verb, Value: x.Value}
	switch {
	case !x.Verb.Survives(), x.Dot.Seq == 0, x.Dot.Seq > clock.MaxSeq, x.Time > clock.MaxTimestamp, x.Txn > x.Dot.Index:
		return bad("dot or verb")
	case delta.CheckValue(x.Value) != nil || len(x.Creator) > delta.MaxCreatorBytes:
		return bad("value or creator")
	case delta.TagOf(x.Dot.Lane, x.Creator, &d) != tag:
		return bad("tag")
	}
	if _, inc := x.Value.Inc(); x.Verb == delta.Inc && !inc {
		return bad("inc")
	}
	return nil
}

// A reader takes a message apart. The first error sticks.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = ErrMalformed
	}
	r.b = nil
}

func (r *reader) uint() uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *reader) index() uint32 {
	n := r.uint()
	if n > 1<<32-1 {
		r.fail()
	}
	return uint32(n)
}

func (r *reader) lane(lanes int) int {
	n := r.uint()
	if n >= uint64(lanes) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) row(lanes []clock.LaneID) (x Row) {
	x.Key, x.Lane = r.bytes(), r.lane(len(lanes))
	x.Dot.Seq, x.Dot.Index, x.Txn, x.Time = r.uint(), r.index(), r.index(), clock.Timestamp(r.uint())
	x.Verb = delta.Verb(r.take(1)[0])
	x.Creator, x.Value = string(r.bytes()), r.bytes()
	if r.err == nil {
		x.Dot.Lane = lanes[x.Lane]
	}
	return x
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return make([]byte, min(n, 64)) // fixed sizes only
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	return r.take(int(n))
}

func (r *reader) bool() bool {
	v := r.take(1)[0]
	if v > 1 {
		r.fail()
	}
	return v == 1
}

func (r *reader) sum() digest.Sum { return digest.FromBytes([digest.Size]byte(r.take(digest.Size))) }

// count reads the number of elements of at least size bytes each.
func (r *reader) count(size, limit int) int {
	n := r.uint()
	if n > uint64(limit) || n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	return r.err
}

// ErrRefused reports a state that does not hold what its server said of it.
var ErrRefused = errors.New("compaction: served state does not hold")
