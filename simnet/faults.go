package simnet

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Fault names a kind of thing that goes wrong.
type Fault string

// The faults. Their rates are per host and virtual minute, but for those of
// messages, which are chances per message.
const (
	Loss       Fault = "loss"       // a published message vanishes on a hop
	Duplicate  Fault = "duplicate"  // one comes twice
	Reorder    Fault = "reorder"    // one comes late
	Replay     Fault = "replay"     // one comes again much later
	Corrupt    Fault = "corrupt"    // bits of a message flip
	Truncate   Fault = "truncate"   // the end of a message is missing
	SlowLink   Fault = "slow-link"  // a link takes seconds
	Break      Fault = "break"      // a session ends
	Partition  Fault = "partition"  // two groups of hosts cannot reach each other
	OneWay     Fault = "one-way"    // one host cannot reach another, which can reach it
	Flap       Fault = "flap"       // a host's links come and go
	Away       Fault = "away"       // a host is gone for (virtual) months, and edits meanwhile
	Crash      Fault = "crash"      // a process is killed; unsynced writes are lost
	TornCrash  Fault = "torn-crash" // killed; some unsynced writes are kept
	CleanStop  Fault = "stop"       // a process ends cleanly and comes back
	StaleDisk  Fault = "stale-disk" // a host comes back with an old copy of its disk
	Clone      Fault = "clone"      // a copy of a host runs beside it
	DiskFull   Fault = "disk-full"  // a write fails; the process is restarted later
	SlowDisk   Fault = "slow-disk"  // syncs take a hundred times as long
	Skew       Fault = "skew"       // a clock is off by up to minutes
	ClockJump  Fault = "clock-jump" // a clock jumps by hours
	Drift      Fault = "drift"      // a clock runs fast or slow
	Freeze     Fault = "freeze"     // a clock stands still
	Pause      Fault = "pause"      // a process does nothing for seconds
	Equivocate Fault = "equivocate" // a copy goes on with the same lane: a fork
)

// AllFaults lists every fault.
var AllFaults = []Fault{
	Loss, Duplicate, Reorder, Replay, Corrupt, Truncate, SlowLink, Break, Partition, OneWay, Flap, Away,
	Crash, TornCrash, CleanStop, StaleDisk, Clone, DiskFull, SlowDisk, Skew, ClockJump, Drift, Freeze, Pause, Equivocate,
}

// onMessages are the faults whose rate is a chance per message.
var onMessages = []Fault{Loss, Duplicate, Reorder, Replay, Corrupt, Truncate}

// once are the faults that lanes never recover from, and so happen at most a
// few times in a run.
var once = []Fault{Clone, Equivocate, StaleDisk}

// Rates says how often each fault happens. A fault that is missing never does.
type Rates map[Fault]float64

// DrawRates draws the rates of faults from a seed: some are off, some rare,
// some frequent, so that many seeds together meet many mixtures (Groce et al.,
// "Swarm Testing", ISSTA 2012).
func DrawRates(rng *rand.Rand, faults []Fault) Rates {
	r := make(Rates)
	for _, f := range faults {
		scale := [...]float64{0, 0.2, 1, 3}[rng.IntN(4)]
		if scale == 0 {
			continue
		}
		if slices.Contains(onMessages, f) {
			r[f] = 0.01 * scale
		} else {
			r[f] = 0.3 * scale
		}
	}
	return r
}

// ParseFaults reads a list of fault names: "all", "none", or names with
// commas, each optionally with a rate ("loss=0.1,crash").
func ParseFaults(s string) (faults []Fault, pinned Rates, err error) {
	pinned = make(Rates)
	switch s {
	case "all", "":
		return AllFaults, pinned, nil
	case "none":
		return nil, pinned, nil
	}
	for _, part := range strings.Split(s, ",") {
		name, rate, has := strings.Cut(strings.TrimSpace(part), "=")
		f := Fault(name)
		if !slices.Contains(AllFaults, f) {
			return nil, nil, fmt.Errorf("unknown fault %q: there are %s", name, names(AllFaults))
		}
		faults = append(faults, f)
		if has {
			var v float64
			if _, err := fmt.Sscanf(rate, "%g", &v); err != nil || v < 0 {
				return nil, nil, fmt.Errorf("fault %s: rate %q is not a number from 0 up", name, rate)
			}
			pinned[f] = v
		}
	}
	return faults, pinned, nil
}

func names(faults []Fault) string {
	s := make([]string, len(faults))
	for i, f := range faults {
		s[i] = string(f)
	}
	return strings.Join(s, ", ")
}

func (r Rates) sorted() []Fault { return slices.Sorted(maps.Keys(r)) }

// hits says whether a fault of messages befalls one.
func (w *World) hits(f Fault) bool {
	rate := w.rates[f]
	if w.healed || rate == 0 || w.net.Float64() >= rate {
		return false
	}
	w.fired[f]++
	return true
}

// scheduleFaults draws when the faults that befall hosts happen.
func (w *World) scheduleFaults() {
	for _, f := range w.rates.sorted() {
		if slices.Contains(onMessages, f) {
			continue
		}
		perMinute := w.rates[f] * min(float64(len(w.hosts)), 16)
		if slices.Contains(once, f) {
			perMinute = w.rates[f] / w.opts.Virtual.Minutes() * 2
		}
		w.nextFault(f, perMinute)
	}
}

// nextFault schedules the next occurrence after an exponential wait.
func (w *World) nextFault(f Fault, perMinute float64) {
	if perMinute <= 0 {
		return
	}
	wait := time.Duration(w.chaos.ExpFloat64() / perMinute * float64(time.Minute))
	if w.now+wait >= w.healAt() {
		return
	}
	w.after(wait, evFault, -1, func() {
		w.strike(f)
		w.nextFault(f, perMinute)
	})
}

// strike makes a fault befall a host drawn at random.
func (w *World) strike(f Fault) {
	h := w.hosts[w.chaos.IntN(len(w.hosts))]
	if w.befall(f, h) {
		w.fired[f]++
		w.trace.say(w.now, "fault %s at %s", f, h.name)
	}
}

// span draws a duration between two.
func (w *World) span(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.chaos.Int64N(int64(hi-lo)))
}

func (w *World) befall(f Fault, h *host) bool {
	switch f {
	case Break:
		return w.breakOne(h)
	case SlowLink:
		return w.slowOne(h)
	case Partition:
		return w.partition()
	case OneWay:
		return w.oneWay(h)
	case Flap:
		return w.flap(h)
	case SlowDisk:
		h.slowDisk = w.now + w.span(time.Second, 20*time.Second)
		return h.up()
	case Pause:
		h.pausedUntil = w.now + w.span(time.Second, 15*time.Second)
		return h.up()
	case Skew, ClockJump, Drift, Freeze:
		return w.bendClock(f, h)
	case Crash, TornCrash, CleanStop, DiskFull, Away, StaleDisk:
		return w.takeDown(f, h)
	case Clone, Equivocate:
		return w.clone(f, h)
	}
	return false
}

func (w *World) breakOne(h *host) bool {
	if len(h.sessions) == 0 {
		return false
	}
	w.sever(h.sessions[w.chaos.IntN(len(h.sessions))].link)
	return true
}

func (w *World) slowOne(h *host) bool {
	if len(h.sessions) == 0 {
		return false
	}
	l := h.sessions[w.chaos.IntN(len(h.sessions))].link
	l.slowUntil = w.now + w.span(2*time.Second, 30*time.Second)
	return true
}

// partition cuts the hosts into two groups for a while.
func (w *World) partition() bool {
	side := make([]bool, len(w.hosts))
	for i := range side {
		side[i] = w.chaos.IntN(2) == 0
	}
	c := &cut{between: func(a, b *host) bool { return side[a.at%len(side)] != side[b.at%len(side)] }}
	w.addCut(c, w.span(2*time.Second, 40*time.Second))
	return true
}

func (w *World) oneWay(h *host) bool {
	other := w.hosts[w.chaos.IntN(len(w.hosts))]
	if other == h {
		return false
	}
	w.addCut(&cut{oneWay: true, between: func(a, b *host) bool { return a == h && b == other }}, w.span(time.Second, 20*time.Second))
	return true
}

// flap cuts a host off several times in a row.
func (w *World) flap(h *host) bool {
	for i := range 5 {
		w.after(time.Duration(i)*2*time.Second, evFault, h.at, func() {
			w.addCut(&cut{between: func(a, b *host) bool { return (a == h) != (b == h) }}, time.Second)
		})
	}
	return true
}

func (w *World) bendClock(f Fault, h *host) bool {
	switch f {
	case Skew:
		h.skew = w.span(0, 8*time.Minute) - 4*time.Minute
	case ClockJump:
		h.skew += w.span(0, 6*time.Hour) - 3*time.Hour
	case Drift:
		h.drift = (w.chaos.Float64() - 0.5) / 50
	case Freeze:
		h.frozenAt, h.frozenUntil = h.wall(), w.now+w.span(time.Second, time.Minute)
	}
	return true
}
