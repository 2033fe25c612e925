package simnet

import "github.com/rhizome-p2p/rhizome/node"

// A Listener is told what a client of a host is told. With it a workload can
// record what its clients have seen.
type Listener interface {
	// Answered gives the results of one call of Act at a host, one for each of
	// its transactions, when they are durable. Calls are answered in their order.
	Answered(h Host, results []node.Result)
	// Killed says that the process of a host has ended: nobody gets an answer any
	// more to what was not answered.
	Killed(h Host)
}

// waiter is called when the first so many steps of a process are durable.
type waiter struct {
	steps uint64
	f     func()
}

// durability counts what a process has written, and what of it is on its disk.
type durability struct {
	written, durable uint64 // steps
	waiting          []waiter
}

func (d *durability) done() {
	d.durable++
	for len(d.waiting) > 0 && d.waiting[0].steps <= d.durable {
		f := d.waiting[0].f
		d.waiting = d.waiting[1:]
		f()
	}
}

// WhenDurable calls f when all that the host holds now is on its disk, and never
// where its process is killed before.
func (h Host) WhenDurable(f func()) {
	if d := &h.h.durability; d.durable < d.written {
		d.waiting = append(d.waiting, waiter{d.written, f})
		return
	}
	f()
}

// answered tells the listener of the results of a step.
func (h *host) answered(s *node.Step) {
	if l := h.w.opts.Listener; l != nil && len(s.Results) > 0 {
		l.Answered(Host{h}, s.Results)
	}
}

// killed tells it that the process has ended.
func (h *host) killed() {
	h.durability = durability{}
	if l := h.w.opts.Listener; l != nil {
		l.Killed(Host{h})
	}
}
