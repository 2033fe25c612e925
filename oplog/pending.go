package oplog

import (
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/internal/plant"
)

// Pending holds entries that came before their causes. It is bounded and not
// durable: it spares a round of anti-entropy, no more. The zero Pending is
// ready to use.
type Pending struct {
	waiting map[clock.EntryID][]*waiter // by the entry waited for
	held    map[clock.EntryID]*waiter   // by the waiting entry
	authors map[delta.Author]int
	bytes   int
}

type waiter struct {
	entry  *delta.Entry
	author delta.Author
}

// Len returns how many entries wait.
func (p *Pending) Len() int { return len(p.held) }

// Add lets an entry wait for another. It reports false where the entry waits
// already or the bounds are reached, and the entry is dropped.
func (p *Pending) Add(e *delta.Entry, author delta.Author, missing clock.EntryID) bool {
	if _, ok := p.held[e.ID()]; ok || p.authors[author] >= MaxPendingEntries || p.bytes+pendingBytes(e) > MaxPendingBytes {
		return false
	}
	if p.held == nil {
		p.waiting = make(map[clock.EntryID][]*waiter)
		p.held = make(map[clock.EntryID]*waiter)
		p.authors = make(map[delta.Author]int)
	}
	w := &waiter{e, author}
	p.held[e.ID()] = w
	p.waiting[missing] = append(p.waiting[missing], w)
	p.authors[author]++
	p.bytes += pendingBytes(e)
	return true
}

// Release takes out the entries that waited for one that is now admitted.
func (p *Pending) Release(id clock.EntryID) []*delta.Entry {
	ws := p.waiting[id]
	if len(ws) == 0 {
		return nil
	}
	delete(p.waiting, id)
	out := make([]*delta.Entry, 0, len(ws))
	for _, w := range ws {
		if plant.Is(plant.DropPending) {
			continue
		}
		p.forget(w)
		out = append(out, w.entry)
	}
	return out
}

// ReleaseLane takes out the entries that waited for any of a lane, in order:
// what a closing calls for.
func (p *Pending) ReleaseLane(l clock.LaneID) []*delta.Entry {
	var ids []clock.EntryID
	for id := range p.waiting {
		if id.Lane == l {
			ids = append(ids, id)
		}
	}
	sortIDs(ids)
	var out []*delta.Entry
	for _, id := range ids {
		out = append(out, p.Release(id)...)
	}
	return out
}

// ReleaseAll takes out everything, in order: what it waited for may be covered
// by now.
func (p *Pending) ReleaseAll() []*delta.Entry {
	ids := make([]clock.EntryID, 0, len(p.waiting))
	for id := range p.waiting {
		ids = append(ids, id)
	}
	sortIDs(ids)
	var out []*delta.Entry
	for _, id := range ids {
		out = append(out, p.Release(id)...)
	}
	return out
}

// Sweep drops what is covered by now; it came by another way.
func (p *Pending) Sweep(covered func(clock.EntryID) bool) {
	for id, w := range p.held {
		if covered(id) {
			p.forget(w)
		}
	}
	for missing, ws := range p.waiting {
		ws = slices.DeleteFunc(ws, func(w *waiter) bool { return p.held[w.entry.ID()] != w })
		if p.waiting[missing] = ws; len(ws) == 0 {
			delete(p.waiting, missing)
		}
	}
}

// pendingBytes is what an entry counts for.
func pendingBytes(e *delta.Entry) int { return len(e.Raw) + pendingOverhead }

func (p *Pending) forget(w *waiter) {
	delete(p.held, w.entry.ID())
	if p.authors[w.author]--; p.authors[w.author] == 0 {
		delete(p.authors, w.author)
	}
	p.bytes -= pendingBytes(w.entry)
}
