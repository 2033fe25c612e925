package delta

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
)

// AppendHeader appends the header block.
func AppendHeader(b []byte, h *Header) []byte {
	b = appendHead(b, majorArray, 7)
	b = appendHead(b, majorUint, Version)
	b = appendBytes(b, h.Space[:])
	b = appendBytes(b, h.Lane[:])
	b = appendHead(b, majorUint, h.Seq)
	if h.Seq == 1 {
		b = append(b, cborNull)
	} else {
		b = appendLink(b, h.Prev)
	}
	b = appendHead(b, majorUint, uint64(h.Time))
	return appendLink(b, h.Body)
}

// HashHeader returns the entry's hash: the SHA-256 of the header block.
func HashHeader(h *Header) clock.Hash {
	var buf [headerBytes]byte
	return sha256.Sum256(AppendHeader(buf[:0], h))
}

// ParseHeader reads a header block.
func ParseHeader(b []byte) (h Header, err error) {
	r := reader{b: b}
	r.tuple(7, "header")
	if v := r.uint("version"); r.err == nil && v != Version {
		r.fail("version %d, this program reads %d", v, Version)
	}
	r.fixed(h.Space[:], "space")
	r.fixed(h.Lane[:], "lane")
	h.Seq = r.uint("seq")
	switch {
	case r.err != nil:
	case h.Seq == 0:
		r.fail("seq 0")
	case h.Seq == 1 && r.peek() != cborNull:
		r.fail("prev in the first entry of a lane")
	case h.Seq == 1:
		r.b = r.b[1:]
	default:
		r.link((*[32]byte)(&h.Prev), "prev")
	}
	h.Time = clock.Timestamp(r.uint("hlc"))
	r.link((*[32]byte)(&h.Body), "body")
	if err := r.end("header"); err != nil {
		return Header{}, err
	}
	return h, nil
}

// laneTable numbers the lanes that a body names.
type laneTable struct {
	own   clock.LaneID
	lanes []clock.LaneID // rising
}

func (t *laneTable) add(l clock.LaneID) {
	if l != t.own {
		t.lanes = append(t.lanes, l)
	}
}

func (t *laneTable) sort() {
	slices.SortFunc(t.lanes, clock.LaneID.Compare)
	t.lanes = slices.Compact(t.lanes)
}

func (t *laneTable) number(l clock.LaneID) uint64 {
	if l == t.own {
		return 0
	}
	i, _ := slices.BinarySearchFunc(t.lanes, l, clock.LaneID.Compare)
	return uint64(i) + 1
}

func (t *laneTable) collect(b *Body) {
	for i := range b.Deps {
		t.add(b.Deps[i].Lane)
	}
	for i := range b.Txns {
		for j := range b.Txns[i].Deltas {
			for _, k := range b.Txns[i].Deltas[j].Kills {
				for _, d := range k.Dots {
					t.add(d.Lane)
				}
				for _, d := range k.Bounds {
					t.add(d.Lane)
				}
			}
		}
	}
	t.sort()
}

// AppendBody appends the body block of an entry of the given lane. The body
// must be in canonical form; see Body.Canonicalize.
func AppendBody(b []byte, own clock.LaneID, body *Body) []byte {
	t := laneTable{own: own}
	t.collect(body)
	b = appendHead(b, majorArray, 3)
	b = appendHead(b, majorArray, uint64(len(t.lanes)))
	for _, l := range t.lanes {
		b = appendBytes(b, l[:])
	}
	b = appendHead(b, majorArray, uint64(len(body.Deps)))
	for i := range body.Deps {
		d := &body.Deps[i]
		b = appendHead(b, majorArray, 3)
		b = appendHead(b, majorUint, t.number(d.Lane))
		b = appendHead(b, majorUint, d.Seq)
		b = appendBytes(b, d.Hash[:])
	}
	b = appendHead(b, majorArray, uint64(len(body.Txns)))
	for i := range body.Txns {
		x := &body.Txns[i]
		b = appendHead(b, majorArray, 2)
		b = appendText(b, x.Creator)
		b = appendHead(b, majorArray, uint64(len(x.Deltas)))
		for j := range x.Deltas {
			b = t.appendDelta(b, &x.Deltas[j])
		}
	}
	return b
}

func (t *laneTable) appendDelta(b []byte, d *Delta) []byte {
	b = appendHead(b, majorArray, 5)
	b = appendText(b, d.Entity)
	b = appendText(b, string(d.Path))
	b = appendHead(b, majorUint, uint64(d.Verb))
	b = append(b, d.Value...)
	b = appendHead(b, majorArray, uint64(len(d.Kills)))
	for i := range d.Kills {
		k := &d.Kills[i]
		b = appendHead(b, majorArray, 3)
		switch k.Scope {
		case ScopePath:
			b = appendText(b, string(k.Path))
		case ScopeTag:
			b = appendBytes(b, []byte(k.Tag))
		default:
			b = appendHead(b, majorUint, uint64(k.Scope))
		}
		b = t.appendDots(b, k.Dots)
		b = t.appendDots(b, k.Bounds)
	}
	return b
}

func (t *laneTable) appendDots(b []byte, dots []clock.Dot) []byte {
	b = appendHead(b, majorArray, uint64(3*len(dots)))
	for _, d := range dots {
		b = appendHead(b, majorUint, t.number(d.Lane))
		b = appendHead(b, majorUint, d.Seq)
		b = appendHead(b, majorUint, uint64(d.Index))
	}
	return b
}

// A bodyReader reads the body of the entry (own, seq).
type bodyReader struct {
	reader
	laneTable
	named []uint64 // a bit for each of lanes that something named
	seq   uint64
	index uint32 // of the delta being read
}

// ParseBody reads the body block of entry id and checks all that can be
// checked without state. Values of the result share memory with b.
func ParseBody(b []byte, id clock.EntryID) (Body, error) { return parseBody(b, id, new(Body)) }

// parseBody reads a body that is likely to be the expected one, whose names it then
// shares.
func parseBody(b []byte, id clock.EntryID, expected *Body) (body Body, err error) {
	if len(b) > MaxBodyBytes {
		return body, malformed("body of %d bytes, at most %d are allowed", len(b), MaxBodyBytes)
	}
	r := bodyReader{reader: reader{b: b}, laneTable: laneTable{own: id.Lane}, seq: id.Seq}
	r.tuple(3, "body")
	r.readLanes()
	r.readDeps(&body)
	n := r.array("transactions")
	if n > 0 {
		body.Txns = make([]Txn, 0, min(n, 1024))
	}
	for i := 0; i < n && r.err == nil; i++ {
		var deltas []Delta
		if i < len(expected.Txns) {
			deltas = expected.Txns[i].Deltas
		}
		body.Txns = append(body.Txns, r.readTxn(deltas))
	}
	r.checkLanes()
	if err := r.end("body"); err != nil {
		return Body{}, err
	}
	return body, nil
}

// checkLanes refuses lanes that nothing named: the table is what the rest of
// the body asks for, no more.
func (r *bodyReader) checkLanes() {
	for i := range r.lanes {
		if r.err == nil && r.named[i/64]&(1<<(i%64)) == 0 {
			r.fail("lane %v is listed and not named", r.lanes[i])
		}
	}
}

func (r *bodyReader) readLanes() {
	n := r.array("lanes")
	if n > MaxLanes {
		r.fail("%d lanes, at most %d are allowed", n, MaxLanes)
	}
	if n > 0 && r.err == nil {
		r.lanes = make([]clock.LaneID, 0, min(n, len(r.b)/len(r.own)+1))
		r.named = make([]uint64, (n+63)/64)
	}
	for i := 0; i < n && r.err == nil; i++ {
		var l clock.LaneID
		r.fixed(l[:], "lane")
		if l == r.own || i > 0 && r.lanes[i-1].Compare(l) >= 0 {
			r.fail("lanes out of order")
		}
		r.lanes = append(r.lanes, l)
	}
}

func (r *bodyReader) readDeps(body *Body) {
	n := r.array("deps")
	if n > MaxDeps {
		r.fail("%d deps, at most %d are allowed", n, MaxDeps)
	}
	if n > 0 && r.err == nil {
		body.Deps = make([]Dep, 0, n)
	}
	for i := 0; i < n && r.err == nil; i++ {
		var d Dep
		r.tuple(3, "dep")
		d.Lane = r.laneNumber()
		d.Seq = r.uint("dep seq")
		r.fixed(d.Hash[:], "dep hash")
		if r.err == nil && (d.Lane == r.own || d.Seq == 0) {
			r.fail("dep on the entry's own lane or on seq 0")
		}
		if i > 0 && body.Deps[i-1].Lane.Compare(d.Lane) >= 0 {
			r.fail("deps out of order")
		}
		body.Deps = append(body.Deps, d)
	}
}

func (r *bodyReader) laneNumber() clock.LaneID {
	switch n := r.uint("lane number"); {
	case r.err != nil:
	case n == 0:
		return r.own
	case n <= uint64(len(r.lanes)):
		r.named[(n-1)/64] |= 1 << ((n - 1) % 64)
		return r.lanes[n-1]
	default:
		r.fail("lane number %d of %d", n, len(r.lanes))
	}
	return clock.LaneID{}
}

func (r *bodyReader) readTxn(expected []Delta) (x Txn) {
	r.tuple(2, "transaction")
	x.Creator = r.text(MaxCreatorBytes, "creator")
	n := r.array("deltas")
	if n == 0 {
		r.fail("empty transaction")
	}
	x.Deltas = make([]Delta, 0, min(n, 1024))
	for i := 0; i < n && r.err == nil; i++ {
		var d Delta
		if i < len(expected) {
			d.Entity, d.Path = expected[i].Entity, expected[i].Path
		}
		r.readDelta(&d)
		x.Deltas = append(x.Deltas, d)
		r.index++
	}
	return x
}

// readDelta reads a delta. What d has of a name is what is expected there.
func (r *bodyReader) readDelta(d *Delta) {
	r.tuple(5, "delta")
	d.Entity = r.textExpected(d.Entity, MaxEntityBytes, "entity")
	if err := checkName(d.Entity); err != nil {
		r.fail("%v", err)
	}
	d.Path = r.path(d.Path)
	verb := r.uint("verb")
	if r.err == nil && (verb == 0 || verb > uint64(lastVerb)) {
		r.fail("unknown verb %d", verb)
	}
	d.Verb = Verb(verb)
	d.Value = r.value()
	n := r.array("kills")
	for ; n > 0 && r.err == nil; n-- {
		k := r.readKill()
		if i := len(d.Kills) - 1; i >= 0 && d.Kills[i].compareScope(k) >= 0 {
			r.fail("kills out of order")
		}
		d.Kills = append(d.Kills, k)
	}
	if r.err == nil {
		d.check(&r.reader)
	}
}

func (r *bodyReader) path(expected Path) Path {
	s := r.textExpected(string(expected), MaxPathBytes, "path")
	if err := checkPointer(s); err != nil {
		r.fail("%v", err)
	}
	return Path(s)
}

func (r *bodyReader) readKill() (k Kill) {
	r.tuple(3, "kill")
	switch r.peek() & 0xe0 {
	case majorText:
		k.Scope, k.Path = ScopePath, r.path("")
	case majorBytes:
		k.Scope, k.Tag = ScopeTag, Tag(r.bytes("tag"))
		if len(k.Tag) != tagSize {
			r.fail("tag of %d bytes, want %d", len(k.Tag), tagSize)
		}
	default:
		n := r.uint("scope")
		if n > uint64(ScopePrefix) {
			r.fail("unknown scope %d", n)
		}
		k.Scope = Scope(n)
	}
	k.Dots = r.readDots()
	k.Bounds = r.readDots()
	for i := 1; i < len(k.Bounds); i++ {
		if k.Bounds[i-1].Lane == k.Bounds[i].Lane {
			r.fail("two bounds on one lane")
		}
	}
	if len(k.Dots)+len(k.Bounds) == 0 {
		r.fail("kill of nothing")
	}
	return k
}

// readDots reads a list of dots. A kill of an own or later dot of its own lane
// is malformed: an entry cannot have seen itself.
func (r *bodyReader) readDots() []clock.Dot {
	n := r.array("dots")
	if n%3 != 0 {
		r.fail("dots: %d numbers are not triples", n)
	}
	if n == 0 || r.err != nil {
		return nil
	}
	dots := make([]clock.Dot, 0, n/3)
	for ; n > 0 && r.err == nil; n -= 3 {
		d := clock.Dot{Lane: r.laneNumber(), Seq: r.uint("dot seq")}
		index := r.uint("dot index")
		if index > MaxEntryBytes {
			r.fail("dot index %d", index)
		}
		d.Index = uint32(index)
		if r.err == nil && (d.Seq == 0 || d.Lane == r.own && (d.Seq > r.seq || d.Seq == r.seq && d.Index >= r.index)) {
			r.fail("kill of a dot that its author cannot have seen")
		}
		if i := len(dots) - 1; i >= 0 && dots[i].Compare(d) >= 0 {
			r.fail("dots out of order")
		}
		dots = append(dots, d)
	}
	return dots
}

// check holds a delta to what its verb allows.
func (d *Delta) check(r *reader) {
	sweeps := d.Verb == Assign || d.Verb == Drop
	for i := range d.Kills {
		k := &d.Kills[i]
		if d.Verb == Add {
			r.fail("add with a kill")
		}
		if !sweeps && (len(k.Bounds) > 0 || k.Scope == ScopePrefix || k.Scope == ScopePath) {
			r.fail("%v with a bound or a scope past its own rows", d.Verb)
		}
	}
	switch {
	case d.Verb == Inc:
		if _, ok := d.Value.Inc(); !ok {
			r.fail("inc value is not [amount, total]")
		}
	case !d.Verb.Survives() && d.Value.Kind() != KindNull:
		r.fail("%v with a value", d.Verb)
	}
}

// ParseEntry puts an entry together from its blocks. It checks the body's hash
// and form, not the signature.
func ParseEntry(h Header, raw, sig []byte) (*Entry, error) {
	if clock.Hash(sha256.Sum256(raw)) != h.Body {
		return nil, malformed("entry %v: body does not match its hash", h.ID())
	}
	body, err := ParseBody(raw, h.ID())
	if err != nil {
		return nil, fmt.Errorf("entry %v: %w", h.ID(), err)
	}
	return &Entry{Header: h, Hash: HashHeader(&h), Sig: sig, Raw: raw, Body: body}, nil
}
