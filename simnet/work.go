package simnet

import (
	"math/rand/v2"
	"time"

	"github.com/rhizome-p2p/rhizome/node"
)

// A Workload is what hosts do. It must draw all its chances from the writer's
// Rand.
type Workload interface {
	// Act returns the transactions that a writer commits now, and how long it
	// waits until it acts again.
	Act(w Writer) (txns [][]node.Op, wait time.Duration)
}

// A Writer is a host that acts.
type Writer struct {
	Host
	Rand *rand.Rand
	// Acts counts how often it has acted before.
	Acts int
}

// startWork lets a host act as long as the world does.
func (w *World) startWork(h *host) {
	if h.work == nil || w.script != nil { // a script says who writes
		return
	}
	w.act(h, time.Duration(h.work.Int64N(int64(5*time.Second))))
}

func (w *World) act(h *host, wait time.Duration) {
	w.after(wait, evDraw, h.at, func() {
		if w.now >= w.healAt() {
			return
		}
		if !h.up() || h.pausedUntil > w.now {
			w.act(h, time.Second)
			return
		}
		txns, next := w.opts.Workload.Act(Writer{Host{h}, h.work, h.acts})
		h.acts++
		if len(txns) > 0 {
			w.write(h, txns)
		}
		w.act(h, max(next, time.Millisecond))
	})
}

// write commits transactions at a host.
func (w *World) write(h *host, txns [][]node.Op) {
	w.happen(evWork, h.at)
	w.tape.add(Act{At: w.now, Fault: actWrite, Host: h.name, Txns: txns})
	reqs := make([]node.Request, len(txns))
	for i := range txns {
		reqs[i].Ops = txns[i]
	}
	h.did(h.r.Write(h.millis(), reqs))
}
