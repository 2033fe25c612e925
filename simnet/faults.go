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

	EffectCrash Fault = "effect-crash" // a process is killed between two effects of a step
	Join        Fault = "join"         // a new host joins
	Leave       Fault = "leave"        // a host leaves, and comes back when the faults end
	Clog        Fault = "clog"         // a link holds what it is given, and lets it out at once
	Partial     Fault = "partial"      // a host and some others cannot reach each other; the rest reach both

	Lie          Fault = "lie"           // a hostile host changes bits of what it says
	Flood        Fault = "flood"         // one says all ten times
	Withhold     Fault = "withhold"      // one tells what it has and sends none of it
	Eclipse      Fault = "eclipse"       // several that withhold surround a host
	OtherVersion Fault = "other-version" // a host speaks another version of the protocol

	DatagramLoss Fault = "datagram-loss" // a datagram is lost and sent again: what it is part of comes late

	Compact Fault = "compact" // a host drops some of its history
)

// AllFaults lists every fault.
var AllFaults = []Fault{
	Loss, Duplicate, Reorder, Replay, Corrupt, Truncate, SlowLink, Break, Partition, OneWay, Flap, Away,
	Crash, TornCrash, CleanStop, StaleDisk, Clone, DiskFull, SlowDisk, Skew, ClockJump, Drift, Freeze, Pause, Equivocate,
	EffectCrash, Join, Leave, Clog, Partial,
	Lie, Flood, Withhold, Eclipse, OtherVersion, DatagramLoss, Compact,
}

// onMessages are the faults whose rate is a chance per message.
var onMessages = []Fault{Loss, Duplicate, Reorder, Replay, Corrupt, Truncate, DatagramLoss}

// once are the faults that last to the end of a run, and so happen at most a few
// times in one.
var once = []Fault{Clone, Equivocate, StaleDisk, Join, Leave, Lie, Flood, Withhold, Eclipse, OtherVersion}

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
		switch {
		case slices.Contains(onMessages, f):
			r[f] = 0.01 * scale
		case f == Compact: // it does no harm, and so may be frequent
			r[f] = 3 * scale
		default:
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

// hits says whether a fault of messages befalls one on its way, and how.
func (w *World) hits(f Fault, from, to *host) (Act, bool) {
	if w.healed {
		return Act{}, false
	}
	var a Act
	if w.script != nil {
		var ok bool
		if a, ok = w.script.hit(w.now, f, from.name, to.name); !ok {
			return a, false
		}
	} else {
		rate := w.rates[f]
		nth := w.tape.nth(w.now, f, from.name, to.name)
		if rate == 0 || w.luck.Float64() >= rate {
			return Act{}, false
		}
		a = Act{At: w.now, Fault: f, Host: from.name, To: to.name, Nth: nth}
		switch f {
		case Reorder:
			a.For = time.Duration(w.luck.Int64N(int64(2 * time.Second)))
		case Duplicate:
			a.For = time.Duration(w.luck.Int64N(int64(time.Second)))
		case Replay:
			a.For = 10*time.Second + time.Duration(w.luck.Int64N(int64(50*time.Second)))
		case Corrupt, Truncate:
			a.By = w.luck.Int64N(1 << 16)
		case DatagramLoss:
			// How often in a row it is lost.
			for a.By = 1; a.By < maxLostInARow && w.luck.Float64() < rate; a.By++ {
			}
		}
	}
	w.fired[f]++
	w.tape.add(a)
	return a, true
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
	w.after(wait, evDraw, -1, func() {
		w.strike(f)
		w.nextFault(f, perMinute)
	})
}

// strike makes a fault befall a host drawn at random.
func (w *World) strike(f Fault) {
	h := w.hosts[w.chaos.IntN(len(w.hosts))]
	if a, ok := w.drawAct(f, h); ok && w.perform(h, a) && f == Compact {
		w.crashAmid(h, a)
	}
}

// perform makes a fault befall a host, if it can, and reports whether it did.
func (w *World) perform(h *host, a Act) bool {
	if !w.befall(h, a) {
		return false
	}
	if a.Fault != DiskFull && a.Fault != EffectCrash { // counted when a write fails, or the process dies
		w.fired[a.Fault]++
	}
	w.happen(evFault, h.at)
	w.trace.say(w.now, "fault %s at %s", a.Fault, h.name)
	w.tape.add(a)
	return true
}

// span draws a duration between two.
func (w *World) span(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.chaos.Int64N(int64(hi-lo)))
}

// drawAct draws how a fault befalls a host; false where it cannot now.
func (w *World) drawAct(f Fault, h *host) (Act, bool) {
	a := Act{At: w.now, Fault: f, Host: h.name}
	switch f {
	case Break, SlowLink, Clog:
		if len(h.sessions) == 0 {
			return a, false
		}
		a.To = h.sessions[w.chaos.IntN(len(h.sessions))].other().host.name
		switch f {
		case SlowLink:
			a.For = w.span(2*time.Second, 30*time.Second)
		case Clog:
			a.For = w.span(time.Second, giveUp)
		}
	case Partition, Partial:
		for _, x := range w.hosts {
			if w.chaos.IntN(2) == 0 {
				a.Side = append(a.Side, x.name)
			}
		}
		a.For = w.span(2*time.Second, 40*time.Second)
	case OneWay:
		a.To = w.hosts[w.chaos.IntN(len(w.hosts))].name
		a.For = w.span(time.Second, 20*time.Second)
		return a, a.To != h.name
	case SlowDisk:
		a.For = w.span(time.Second, 20*time.Second)
	case Pause:
		a.For = w.span(time.Second, 15*time.Second)
	case Skew:
		a.For = w.span(0, 8*time.Minute) - 4*time.Minute
	case ClockJump:
		a.For = w.span(0, 6*time.Hour) - 3*time.Hour
	case Drift:
		a.By = w.chaos.Int64N(20_000) - 10_000
	case Freeze:
		a.For = w.span(time.Second, time.Minute)
	case Away:
		a.For = w.span(10*time.Second, 40*time.Second)
	case TornCrash:
		a.By = w.chaos.Int64N(int64(len(h.out)) + 1)
		a.For = w.downtime()
	case EffectCrash:
		a.By = 1 + w.chaos.Int64N(mostEffects)
		a.For = w.downtime()
	case Crash, CleanStop, DiskFull, StaleDisk:
		a.For = w.downtime()
	case Join:
		a.To = fmt.Sprintf("n%d", len(w.hosts))
	case Clone, Equivocate:
		a.To = fmt.Sprintf("%s'%d", h.name, len(w.hosts))
	case Lie, Flood, Withhold, Eclipse, OtherVersion:
		a.To = fmt.Sprintf("x%d", len(w.hosts))
	case Compact:
		w.drawCompact(&a)
	}
	return a, true
}

// downtime draws how long a process that ended stays away.
func (w *World) downtime() time.Duration { return w.span(100*time.Millisecond, 20*time.Second) }

func (w *World) befall(h *host, a Act) bool {
	other := w.host(a.To)
	named := namesOf(a.Side)
	switch a.Fault {
	case Break, SlowLink, Clog:
		if other == nil || h.linkTo(other) == nil {
			return false
		}
		switch l := h.linkTo(other); a.Fault {
		case Break:
			w.sever(l)
		case SlowLink:
			l.slowUntil = w.now + a.For
		case Clog:
			l.cloggedUntil = w.now + a.For
		}
	case Partition:
		w.partition(a)
	case Partial:
		w.addCut(&cut{between: func(a, b *host) bool { return a == h && b != h && named[b.name] }}, a.For)
	case OneWay:
		if other == nil || other == h {
			return false
		}
		w.addCut(&cut{oneWay: true, between: func(a, b *host) bool { return a == h && b == other }}, a.For)
	case Flap:
		w.flap(h)
	case SlowDisk, Pause:
		if !h.up() {
			return false // and leaves no mark that a replay would lack
		}
		if a.Fault == SlowDisk {
			h.slowDisk = w.now + a.For
		} else {
			h.pausedUntil = w.now + a.For
		}
	case Skew:
		h.skew = a.For
	case ClockJump:
		h.skew += a.For
	case Drift:
		h.drift = float64(a.By) / 1e6
	case Freeze:
		h.frozenAt, h.frozenUntil = h.wall(), w.now+a.For
	case Crash, TornCrash, CleanStop, DiskFull, EffectCrash, StaleDisk, Away:
		return w.takeDown(h, a)
	case Join:
		return w.join(h, a)
	case Leave:
		return w.leave(h)
	case Clone, Equivocate:
		return w.clone(h, a)
	case Lie, Flood, Withhold, Eclipse, OtherVersion:
		return w.intrude(h, a)
	case Compact:
		return w.compact(h, a)
	default:
		return false
	}
	return true
}

// partition cuts the hosts into two groups for a while. A copy made later is on
// the side of nobody in particular.
func (w *World) partition(a Act) {
	named := namesOf(a.Side)
	side := make([]bool, len(w.hosts))
	for i, h := range w.hosts {
		side[i] = named[h.name]
	}
	w.addCut(&cut{between: func(a, b *host) bool { return side[a.at%len(side)] != side[b.at%len(side)] }}, a.For)
}

func namesOf(hosts []string) map[string]bool {
	named := make(map[string]bool, len(hosts))
	for _, name := range hosts {
		named[name] = true
	}
	return named
}

// flap cuts a host off several times in a row.
func (w *World) flap(h *host) {
	for i := range 5 {
		w.after(time.Duration(i)*2*time.Second, evFault, h.at, func() {
			w.addCut(&cut{between: func(a, b *host) bool { return (a == h) != (b == h) }}, time.Second)
		})
	}
}
