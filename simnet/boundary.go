package simnet

import (
	"slices"

	"github.com/rhizome-p2p/rhizome/storage"
)

// boundary is where a process may be killed: before the disk has synced what a
// call wrote, when it has, and behind each effect that goes out. It reports
// whether the process lives on.
func (h *host) boundary() bool {
	h.w.boundaries++
	if h.fuse > 0 {
		if h.fuse--; h.fuse == 0 {
			h.w.fired[EffectCrash]++
			h.w.trace.say(h.w.now, "killed between effects: %s", h.name)
			h.stop(0)
			h.w.restartLater(h, nil, h.fuseFor)
			return false
		}
	}
	if h.w.boundaries == h.w.opts.crashAt {
		h.stop(0)
		h.w.restartLater(h, nil, crashedFor)
		return false
	}
	return true
}

// mostEffects bounds the boundaries that a process still passes before an
// EffectCrash kills it.
const mostEffects = 40

// join lets a new honest host join by way of another.
func (w *World) join(h *host, a Act) bool {
	if h.hostile != "" || w.host(a.To) != nil {
		return false
	}
	c := w.newHost(a.To, a.To, storage.NewMemory())
	c.dials = []int{h.at}
	for range 2 {
		if to := c.net.IntN(w.opts.Peers); !slices.Contains(c.dials, to) {
			c.dials = append(c.dials, to)
		}
	}
	c.work = fork(w.opts.Seed, uint64(1000+c.at))
	c.start(nil)
	w.startWork(c)
	return true
}

// leave ends a process for as long as faults last.
func (w *World) leave(h *host) bool {
	if !h.up() || h.hostile != "" {
		return false
	}
	h.stop(len(h.out))
	return true
}
