package simnet

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome/node"
)

// A Shrinker makes a schedule that fails smaller, for as long as the same
// invariant breaks.
type Shrinker struct {
	// Options hold the invariants; a schedule stands for the rest of them.
	Options Options

	// Runs bounds how many schedules are tried. Zero means 2000.
	Runs int

	// Log, if not nil, is told of progress.
	Log func(format string, args ...any)

	invariant string
	left      int
}

// Shrink returns a schedule that breaks the same invariant as the one given and
// that is minimal, unless the bound on runs was reached: without any one of its
// acts, hosts, transactions or operations it does not break it any more.
//
// Its core is delta debugging (Zeller and Hildebrandt, "Simplifying and
// Isolating Failure-Inducing Input", TSE 2002, algorithm ddmin), over one kind
// of thing after the other until none gives way.
func (x *Shrinker) Shrink(s *Schedule) (*Schedule, *Failure, error) {
	x.left = x.Runs
	if x.left == 0 {
		x.left = 2000
	}
	first := x.run(s)
	if first == nil {
		return nil, nil, errors.New("simnet: shrink: the schedule breaks nothing")
	}
	x.invariant = first.Invariant
	for {
		before := s.size()
		s = x.pass(s)
		x.log("%d hosts, %d acts, %v: %d runs left", len(s.Hosts), len(s.Acts), s.Virtual, x.left)
		if s.size() >= before || x.left <= 0 {
			return s, x.run(s), nil
		}
	}
}

func (x *Shrinker) log(format string, args ...any) {
	if x.Log != nil {
		x.Log(format, args...)
	}
}

// size counts what can be taken away.
func (s *Schedule) size() (n int) {
	n = len(s.Hosts) + int(s.Virtual/time.Second)
	for i := range s.Acts {
		n++
		for _, txn := range s.Acts[i].Txns {
			n += 1 + len(txn)
		}
	}
	return n
}

// run runs a schedule and returns what broke, nil where nothing did. A panic is
// a failure too.
func (x *Shrinker) run(s *Schedule) (f *Failure) {
	defer func() {
		if p := recover(); p != nil {
			f = &Failure{Invariant: "panic", Text: fmt.Sprint(p)}
		}
	}()
	o := x.Options
	o.Replay, o.Record, o.Trace = s, nil, nil
	_, err := Run(o)
	if err != nil && !errors.As(err, &f) {
		f = &Failure{Invariant: "options", Text: err.Error()}
	}
	return f
}

// fails reports whether a schedule breaks the invariant.
func (x *Shrinker) fails(s *Schedule) bool {
	if x.left <= 0 {
		return false
	}
	x.left--
	f := x.run(s)
	return f != nil && f.Invariant == x.invariant
}

// pass tries to take away things of each kind once.
func (x *Shrinker) pass(s *Schedule) *Schedule {
	s = x.shorten(s)
	s = x.kinds(s)
	s = with(s, func(c *Schedule) {
		c.Acts = ddmin(s.Acts, func(a []Act) bool { return x.fails(with(s, func(c *Schedule) { c.Acts = a })) })
	})
	s = x.hosts(s)
	s = x.shorten(s)
	s = x.operations(s)
	return x.round(x.plain(s))
}

// with returns a changed copy.
func with(s *Schedule, change func(*Schedule)) *Schedule {
	c := *s
	change(&c)
	return &c
}

// shorten ends the run soon after the last act, or earlier.
func (x *Shrinker) shorten(s *Schedule) *Schedule {
	for _, v := range []time.Duration{s.last() + time.Millisecond, s.last() + time.Second, s.last() + s.CheckEvery, s.Virtual / 2, s.Virtual * 3 / 4} {
		v = v.Round(time.Millisecond)
		if v <= 0 || v >= s.Virtual {
			continue
		}
		if c := with(s, func(c *Schedule) { c.Virtual = v; c.Acts = until(s.Acts, v) }); x.fails(c) {
			return c
		}
	}
	return s
}

func (s *Schedule) last() (t time.Duration) {
	for i := range s.Acts {
		t = max(t, s.Acts[i].At)
	}
	return t
}

func until(acts []Act, t time.Duration) (out []Act) {
	for _, a := range acts {
		if a.At < t {
			out = append(out, a)
		}
	}
	return out
}

// kinds takes away all acts of a kind at once: most faults have no part in a
// failure.
func (x *Shrinker) kinds(s *Schedule) *Schedule {
	var kinds []Fault
	for i := range s.Acts {
		if !slices.Contains(kinds, s.Acts[i].Fault) {
			kinds = append(kinds, s.Acts[i].Fault)
		}
	}
	kept := ddmin(kinds, func(kinds []Fault) bool { return x.fails(s.only(kinds)) })
	return s.only(kept)
}

// only returns the schedule with acts of some kinds alone.
func (s *Schedule) only(kinds []Fault) *Schedule {
	return with(s, func(c *Schedule) {
		c.Acts = nil
		for _, a := range s.Acts {
			if slices.Contains(kinds, a.Fault) {
				c.Acts = append(c.Acts, a)
			}
		}
	})
}

// hosts takes away hosts, and what befell them.
func (x *Shrinker) hosts(s *Schedule) *Schedule {
	kept := ddmin(s.Hosts, func(hosts []string) bool { return x.fails(s.among(hosts)) })
	s = s.among(kept)
	for _, gone := range slices.Backward(s.Hosts) {
		if gone != s.Hosts[0] {
			s = x.prefer(s, func(c *Schedule) { c.merge(gone, s.Hosts[0]) })
		}
	}
	return x.reseed(s)
}

// otherSeeds is how many seeds are tried with one act or host less.
const otherSeeds = 6

// reseed takes away a host or an act where that only works with other latencies
// and waits: who dials whom depends on who is there.
func (x *Shrinker) reseed(s *Schedule) *Schedule {
	for seed := range uint64(otherSeeds) {
		for _, gone := range slices.Backward(s.Hosts) {
			if len(s.Hosts) == 1 {
				break
			}
			rest := slices.DeleteFunc(slices.Clone(s.Hosts), func(h string) bool { return h == gone })
			s = x.prefer(s, func(c *Schedule) { *c = *s.among(rest); c.Seed = seed + 1 })
		}
		for i := len(s.Acts) - 1; i >= 0 && len(s.Acts) > 1; i-- {
			s = x.prefer(s, func(c *Schedule) { c.Acts, c.Seed = slices.Delete(c.Acts, i, i+1), seed+1 })
		}
	}
	return s
}

// merge lets one host do what another did, and takes that one away.
func (s *Schedule) merge(gone, into string) {
	s.Hosts = slices.DeleteFunc(slices.Clone(s.Hosts), func(h string) bool { return h == gone })
	for i := range s.Acts {
		if a := &s.Acts[i]; a.Host == gone {
			a.Host = into
		}
	}
}

// among returns the schedule with some of its hosts alone, and the copies that
// are made of them.
func (s *Schedule) among(hosts []string) *Schedule {
	known := slices.Clone(hosts)
	return with(s, func(c *Schedule) {
		c.Hosts, c.Acts = hosts, nil
		for _, a := range s.Acts {
			first := slices.Contains(s.Hosts, a.To) // there from the beginning
			if !slices.Contains(known, a.Host) || first && !slices.Contains(known, a.To) {
				continue
			}
			if a.To != "" && !first {
				known = append(known, a.To) // it may be this act that makes it
			}
			c.Acts = append(c.Acts, a)
		}
	})
}

// operations takes away transactions and operations within each write.
func (x *Shrinker) operations(s *Schedule) *Schedule {
	for i := range s.Acts {
		if len(s.Acts[i].Txns) == 0 {
			continue
		}
		put := func(txns [][]node.Op) *Schedule {
			return with(s, func(c *Schedule) { c.Acts = slices.Clone(s.Acts); c.Acts[i].Txns = txns })
		}
		s = put(ddmin(s.Acts[i].Txns, func(txns [][]node.Op) bool { return x.fails(put(txns)) }))
		for j := range s.Acts[i].Txns {
			ops := func(ops []node.Op) [][]node.Op {
				txns := slices.Clone(s.Acts[i].Txns)
				txns[j] = ops
				return txns
			}
			s = put(ops(ddmin(s.Acts[i].Txns[j], func(o []node.Op) bool { return x.fails(put(ops(o))) })))
		}
	}
	return s
}

// plain makes writes that could be any write one that says nothing.
func (x *Shrinker) plain(s *Schedule) *Schedule {
	plainest := [][]node.Op{{{Kind: node.OpPut, Entity: "k", Value: int64(1)}}}
	for i := range s.Acts {
		if s.Acts[i].Fault != actWrite {
			continue
		}
		s = x.prefer(s, func(c *Schedule) { c.Acts[i].Txns = plainest })
	}
	return s
}

// round makes times easier to read, where they do not matter so much.
func (x *Shrinker) round(s *Schedule) *Schedule {
	for _, unit := range []time.Duration{time.Second, 100 * time.Millisecond, time.Millisecond} {
		s = x.prefer(s, func(c *Schedule) { c.Virtual = (s.Virtual + unit - 1) / unit * unit })
		for i := range s.Acts {
			s = x.prefer(s, func(c *Schedule) {
				a := &c.Acts[i]
				a.At, a.For, a.Nth = min(a.At.Round(unit), s.Virtual-time.Millisecond), a.For.Round(unit), 0
				slices.SortStableFunc(c.Acts, func(a, b Act) int { return cmp.Compare(a.At, b.At) })
			})
		}
	}
	return s
}

// prefer changes a schedule where it then still breaks the invariant.
func (x *Shrinker) prefer(s *Schedule, change func(*Schedule)) *Schedule {
	c := with(s, func(c *Schedule) { c.Acts = slices.Clone(s.Acts); change(c) })
	if c.String() != s.String() && x.fails(c) {
		return c
	}
	return s
}

// ddmin returns a part of items for which fails still holds, and of which no
// single item can be left out. At least one stays.
func ddmin[T any](items []T, fails func([]T) bool) []T {
	for n := 2; len(items) >= 2; {
		n = min(n, len(items))
		reduced := false
		for i := range n {
			lo, hi := i*len(items)/n, (i+1)*len(items)/n
			rest := slices.Concat(items[:lo], items[hi:])
			if fails(rest) {
				items, n, reduced = rest, max(n-1, 2), true
				break
			}
		}
		if reduced {
			continue
		}
		if n == len(items) {
			break
		}
		n *= 2
	}
	return items
}
