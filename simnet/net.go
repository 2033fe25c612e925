package simnet

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome/gossip"
)

// A link is a session between two hosts: an ordered, reliable stream each way,
// as TCP is. What would corrupt it ends it, as authenticated encryption does.
type link struct {
	ends         [2]*end
	open         bool
	latency      time.Duration
	slowUntil    time.Duration
	backoff      time.Duration // until when it is not taken into a mesh
	cloggedUntil time.Duration
}

// An end is one side of a link.
type end struct {
	link *link
	side int
	host *host
	peer *host  // at the other end
	gen  uint64 // of the host's process
	id   gossip.SessionID
	// arrives is when the last message sent to this end does: order is kept.
	arrives time.Duration
	inbox   [][]byte
	// dead says that a message to this end was lost: a stream delivers nothing
	// behind it.
	dead bool
	mesh bool // the host passes on publications along it
	// whole is until when lost datagrams hold up what the host sends.
	whole time.Duration
}

func (e *end) other() *end { return e.link.ends[1-e.side] }

// A cut keeps some hosts from reaching others until it ends.
type cut struct {
	between func(from, to *host) bool
	oneWay  bool
	until   time.Duration
}

func (c *cut) blocks(from, to *host) bool {
	return c.between(from, to) || !c.oneWay && c.between(to, from)
}

func (w *World) addCut(c *cut, lasts time.Duration) {
	c.until = w.now + lasts
	w.cuts = append(w.cuts, c)
}

// blockedUntil returns when a host can reach another again; zero where it can
// now.
func (w *World) blockedUntil(from, to *host) (until time.Duration) {
	w.cuts = slices.DeleteFunc(w.cuts, func(c *cut) bool { return c.until <= w.now })
	for _, c := range w.cuts {
		if c.blocks(from, to) {
			until = max(until, c.until)
		}
	}
	return until
}

const (
	// giveUp is how long a stream bears silence before it ends.
	giveUp = 10 * time.Second

	leastLatency = 500 * time.Microsecond
	mostLatency  = 80 * time.Millisecond
)

// dial connects two hosts after a while, or later.
func (w *World) dial(h *host, to int, wait time.Duration) {
	gen := h.gen
	w.after(wait, evConnect, h.at, func() {
		if h.gen != gen || !h.up() {
			return
		}
		peer := w.hosts[to]
		if h.linkTo(peer) != nil {
			return
		}
		if !peer.up() || w.blockedUntil(h, peer) > 0 || w.blockedUntil(peer, h) > 0 {
			w.dial(h, to, h.span(time.Second, 5*time.Second))
			return
		}
		w.connect(h, peer)
	})
}

// span draws a duration between two. Each host draws for itself, and the
// latency between two is theirs: what befalls one host moves no other's times,
// so that a schedule from which acts are taken still means the same.
func (h *host) span(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(h.net.Int64N(int64(hi-lo)))
}

func (w *World) latency(a, b *host) time.Duration {
	r := fork(w.opts.Seed, seedOf(a.name+" to "+b.name))
	return leastLatency + time.Duration(r.Int64N(int64(mostLatency-leastLatency)))
}

// A Link is a session that the world keeps between two hosts, by their numbers.
type Link struct {
	Dials, To int
	Latency   time.Duration
}

// Links returns the sessions that the world keeps.
func (w *World) Links() (links []Link) {
	for _, h := range w.hosts {
		for _, to := range h.dials {
			links = append(links, Link{h.at, to, w.latency(h, w.hosts[to])})
		}
	}
	return links
}

func (w *World) connect(a, b *host) {
	l := &link{open: true, latency: w.latency(a, b)}
	for side, h := range []*host{a, b} {
		w.sessions++
		e := &end{link: l, side: side, host: h, gen: h.gen, id: w.sessions}
		e.peer = a
		if h == a {
			e.peer = b
		}
		l.ends[side] = e
		h.sessions = append(h.sessions, e)
	}
	for side, h := range []*host{a, b} {
		if l.open {
			other := l.ends[1-side].host
			h.did(h.r.Opened(h.millis(), l.ends[side].id, other.node, "/sim/"+other.name, side == 0))
		}
	}
	w.tend(a)
	w.tend(b)
}

// sever ends a link; both hosts notice at once, and the one that dialled dials
// again.
func (w *World) sever(l *link) {
	if !l.open {
		return
	}
	l.open = false
	for _, e := range l.ends {
		h := e.host
		h.sessions = slices.DeleteFunc(h.sessions, func(x *end) bool { return x == e })
		if h.up() && h.gen == e.gen {
			h.did(h.r.Closed(h.millis(), e.id))
			w.tend(h)
		}
	}
	if a := l.ends[0]; a.host.up() && a.host.gen == a.gen {
		w.dial(a.host, l.ends[1].host.at, a.host.span(50*time.Millisecond, time.Second))
	}
}

// send carries a message to the other end of a session.
func (w *World) send(h *host, id gossip.SessionID, message []byte) {
	e := h.end(id)
	if e == nil {
		return
	}
	if h.hostile == "" {
		w.carry(e, message)
		return
	}
	for _, m := range h.twist(message) {
		w.carry(e, m)
	}
}

// carry carries a message from one end of a session to the other.
func (w *World) carry(e *end, message []byte) {
	h := e.host
	l, to := e.link, e.other()
	if to.dead {
		return
	}
	w.bytes += uint64(len(message))
	w.count(e, message)
	_, bad := w.hits(Corrupt, h, to.host)
	if !bad {
		_, bad = w.hits(Truncate, h, to.host)
	}
	if bad {
		to.dead = true
		w.after(l.latency, evBroken, to.host.at, func() { w.sever(l) })
		return
	}
	at := w.now + l.latency + w.resent(e, len(message))
	if l.slowUntil > w.now {
		at += h.span(time.Second, 3*time.Second)
	}
	if until := w.blockedUntil(h, to.host); until > 0 {
		if until-w.now > giveUp {
			to.dead = true
			w.after(giveUp, evBroken, to.host.at, func() { w.sever(l) })
			return
		}
		at = until + l.latency
	}
	if l.cloggedUntil > w.now {
		at = max(at, l.cloggedUntil)
	}
	at = max(at, to.arrives)
	to.arrives = at
	w.arrive(at, to, message)
}

func (w *World) arrive(at time.Duration, to *end, message []byte) {
	w.at(at, evFrame, to.host.at, func() {
		to.inbox = append(to.inbox, message)
		w.read(to)
	})
}

// read hands a host what has arrived, in order, unless its process pauses.
func (w *World) read(to *end) {
	h := to.host
	for len(to.inbox) > 0 && to.link.open && h.up() && h.gen == to.gen {
		if h.pausedUntil > w.now {
			w.at(h.pausedUntil, evFrame, h.at, func() { w.read(to) })
			return
		}
		message := to.inbox[0]
		to.inbox = to.inbox[1:]
		w.trace.note(w.now, evFrame, h.at, mark(message))
		h.did(h.r.Receive(h.millis(), to.id, message))
	}
}

// mark returns a number for a message's bytes, which tells it from others in a
// trace.
func mark(b []byte) uint64 {
	const prime = 0x9e3779b97f4a7c15
	h := uint64(len(b)) * prime
	for ; len(b) >= 8; b = b[8:] {
		h = (h ^ binary.LittleEndian.Uint64(b)) * prime
		h ^= h >> 32
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * prime
	}
	return h ^ h>>29
}

// seedOf makes a seed of a name.
func seedOf(name string) uint64 {
	f := fnv.New64a()
	f.Write([]byte(name))
	return f.Sum64()
}

// A publication is a message on the space's topic. It spreads hop by hop, each
// host passing it on once, as gossipsub does.
type publication struct {
	data    []byte
	by      *host // who published it
	mark    uint64
	at      time.Duration      // when it was published
	entries []gossip.Published // nil where the bytes are bad
	seen    []uint64           // bit set of hosts
}

func (w *World) newPublication(by *host, data []byte) *publication {
	p := &publication{data: data, by: by, mark: mark(data), at: w.now}
	// Verified once for the world: the outcome depends on the bytes alone.
	entries, err := gossip.ParsePublished(w.space, data)
	if err == nil {
		p.entries = entries
		for i := range entries {
			w.good.add(entries[i].Key, &entries[i].Entry.Header, entries[i].Entry.Sig)
		}
	}
	return p
}

// first reports whether the host sees the publication for the first time.
func (p *publication) first(h *host) bool {
	if p.reached(h) {
		return false
	}
	word, bit := h.at/64, uint64(1)<<(h.at%64)
	for len(p.seen) <= word {
		p.seen = append(p.seen, 0)
	}
	p.seen[word] |= bit
	return true
}

// reached reports whether the host has seen the publication.
func (p *publication) reached(h *host) bool {
	return h.at/64 < len(p.seen) && p.seen[h.at/64]&(1<<(h.at%64)) != 0
}

// spread passes a publication on to a host's neighbours: its own to all, others'
// along its mesh, but for what reaches them all from its author.
func (w *World) spread(h *host, p *publication, from *host) {
	if from != nil && from == p.by {
		if covered, _ := h.r.Machine().Covered(); covered[from.name] {
			return
		}
	}
	for _, e := range h.sessions {
		if from == nil || e.mesh && e.peer != from {
			w.hop(p, e)
		}
	}
}

// hop passes a publication on along one session.
func (w *World) hop(p *publication, e *end) {
	from, to := e.host, e.peer
	w.bytes += uint64(len(p.data))
	w.copies++
	w.copyBytes += uint64(len(p.data))
	if _, lost := w.hits(Loss, from, to); lost || w.blockedUntil(from, to) > 0 {
		return
	}
	if from.hostile == Lie && from.net.IntN(3) == 0 {
		p = w.newPublication(p.by, from.lie(p.data))
	}
	if a, ok := w.hits(Corrupt, from, to); ok {
		p = w.newPublication(p.by, flip(p.data, a.By))
	} else if a, ok := w.hits(Truncate, from, to); ok {
		p = w.newPublication(p.by, p.data[:a.By%int64(len(p.data))])
	}
	delay := e.link.latency + w.resent(e, len(p.data))
	if a, ok := w.hits(Reorder, from, to); ok {
		delay += a.For
	}
	w.gossipTo(delay, p, from, to, false)
	if a, ok := w.hits(Duplicate, from, to); ok {
		w.gossipTo(delay+a.For, p, from, to, false)
	}
	if a, ok := w.hits(Replay, from, to); ok {
		w.gossipTo(a.For, p, from, to, true)
	}
}

// flip returns the bytes with one bit changed.
func flip(b []byte, at int64) []byte {
	b = slices.Clone(b)
	b[at/8%int64(len(b))] ^= 1 << (at % 8)
	return b
}

// gossipTo carries a publication to a host. The host takes it where it has not
// seen it yet, or has forgotten that, as it has when one comes again late.
func (w *World) gossipTo(delay time.Duration, p *publication, from, to *host, again bool) {
	if !again && p.reached(to) {
		return
	}
	w.after(delay, evGossip, to.at, func() {
		if !to.up() {
			return
		}
		if to.pausedUntil > w.now {
			w.gossipTo(to.pausedUntil-w.now, p, from, to, again)
			return
		}
		if !p.first(to) && !again {
			return
		}
		w.trace.note(w.now, evGossip, to.at, p.mark)
		if p.entries == nil {
			w.rejected++
			return
		}
		w.heard++
		if w.opts.Heard != nil {
			w.opts.Heard(to.at, w.now-p.at)
		}
		to.did(to.r.Published(to.millis(), p.entries))
		if to.up() && !to.keeps() {
			w.spread(to, p, from)
		}
	})
}
