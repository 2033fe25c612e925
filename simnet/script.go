package simnet

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/node"
)

// What an Act can be besides a fault.
const (
	actWrite  Fault = "write"  // the workload commits transactions at a host
	actBackup Fault = "backup" // a copy of a host's disk is kept for a StaleDisk
)

// An Act is one thing that chance decided in a run: that a fault befell a host
// or a message, or that a host wrote. The fields that its kind does not need
// are zero.
type Act struct {
	At    time.Duration
	Fault Fault
	// Host is whom it befell; of a message, who sent it to To. Of a copy that is
	// made, To is the name.
	Host, To string
	// For is how long it lasts, how late a message comes, by how much a clock is
	// off, how long a process stays away, or waits with a compaction.
	For time.Duration
	// By is a number that the kind gives a meaning: parts per million of drift,
	// a place in a message, how many unsynced writes are kept, how many thousandths
	// of its history a host drops (negated: also what no peer is known to hold).
	By int64
	// Nth counts the messages from Host to To that this fault could have struck
	// at the same moment before.
	Nth int
	// Side is one side of a partition.
	Side []string
	Txns [][]node.Op
}

// A Schedule is all that chance decided in a run, in order, and the options
// that the rest follows from. Options.Record makes one; Options.Replay runs it.
//
// A schedule from which acts were taken is one too. What the rest of it meets
// may then differ a little from the run it came from: an act that can no longer
// happen does not, and a fault of a message strikes the first from and to the
// same hosts within a second.
type Schedule struct {
	Seed       uint64 // of keys, latencies, waits
	Hosts      []string
	Degree     int
	Virtual    time.Duration
	Settle     time.Duration
	CheckEvery time.Duration
	Retention  compaction.Policy
	Acts       []Act
}

// Record runs a world and returns the schedule of its run.
func Record(o Options) (*Schedule, Report, error) {
	o.Record = new(Schedule)
	r, err := Run(o)
	return o.Record, r, err
}

// hostName names the i-th host of a new world.
func (o *Options) hostName(i int) string {
	if o.Replay != nil {
		return o.Replay.Hosts[i]
	}
	return fmt.Sprintf("h%d", i)
}

// A Failure is an invariant that broke.
type Failure struct {
	At        time.Duration
	Invariant string
	Text      string
}

// Error says what broke, and when.
func (f *Failure) Error() string { return fmt.Sprintf("at %v: %s: %s", f.At, f.Invariant, f.Text) }

// Broken makes the error of an Invariant, with a name by which failures of one
// kind are told from others.
func Broken(invariant, format string, args ...any) error {
	return &broken{invariant, fmt.Sprintf(format, args...)}
}

type broken struct{ invariant, text string }

func (b *broken) Error() string { return b.text }

// host returns the host with a name, nil where there is none.
func (w *World) host(name string) *host {
	for _, h := range w.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

// A tape takes down what chance decides. A nil one does not.
type tape struct {
	to *Schedule
	counter
}

func newTape(w *World, to *Schedule) *tape {
	o := &w.opts
	*to = Schedule{Seed: o.Seed, Degree: o.Degree, Virtual: o.Virtual, Settle: o.Settle, CheckEvery: o.CheckEvery, Retention: o.Retention}
	for _, h := range w.hosts {
		to.Hosts = append(to.Hosts, h.name)
	}
	return &tape{to: to}
}

func (t *tape) add(a Act) {
	if t != nil {
		t.to.Acts = append(t.to.Acts, a)
	}
}

func (t *tape) nth(now time.Duration, f Fault, from, to string) int {
	if t == nil {
		return 0
	}
	return t.count(now, route{f, from, to})
}

// route is where a fault of messages can strike.
type route struct {
	f        Fault
	from, to string
}

// A counter numbers the messages of one moment.
type counter struct {
	moment time.Duration
	seen   []route
}

// count says how many messages of this moment took the route before.
func (c *counter) count(now time.Duration, r route) (n int) {
	if c.moment != now {
		c.moment, c.seen = now, c.seen[:0]
	}
	for i := range c.seen {
		if c.seen[i] == r {
			n++
		}
	}
	c.seen = append(c.seen, r)
	return n
}

// A player is a schedule that is run.
type player struct {
	counter
	hits map[route][]Act // of messages, yet to strike, in order
}

// overdue is how long a fault waits for its message where the schedule was
// changed.
const overdue = time.Second

// play schedules what a schedule says.
func (w *World) play(s *Schedule) {
	w.script = &player{hits: make(map[route][]Act)}
	for _, a := range s.Acts {
		if slices.Contains(onMessages, a.Fault) {
			r := route{a.Fault, a.Host, a.To}
			w.script.hits[r] = append(w.script.hits[r], a)
			continue
		}
		w.at(a.At, evDraw, -1, func() { w.enact(a) })
	}
}

// enact does what a schedule says, where it can be done.
func (w *World) enact(a Act) {
	h := w.host(a.Host)
	if h == nil || w.now >= w.healAt() {
		return
	}
	switch a.Fault {
	case actWrite:
		if h.up() && h.pausedUntil <= w.now {
			w.write(h, a.Txns)
		}
	case actBackup:
		if h.up() {
			w.backUp(h)
		}
	case TornCrash:
		a.By = min(a.By, int64(len(h.out)))
		w.perform(h, a)
	default:
		w.perform(h, a)
	}
}

// hit says whether the schedule has a fault for a message.
func (p *player) hit(now time.Duration, f Fault, from, to string) (Act, bool) {
	r := route{f, from, to}
	due := p.hits[r]
	if len(due) == 0 || due[0].At > now {
		return Act{}, false
	}
	nth := p.count(now, r)
	for len(due) > 0 && due[0].At < now-overdue {
		due = due[1:]
	}
	p.hits[r] = due
	if len(due) == 0 || due[0].At > now || due[0].At == now && due[0].Nth > nth {
		return Act{}, false
	}
	p.hits[r] = due[1:]
	return due[0], true
}

// newFailure makes a failure. An error among the args that names the invariant
// itself knows it better.
func newFailure(at time.Duration, invariant, format string, args []any) *Failure {
	for _, a := range args {
		var b *broken
		if err, ok := a.(error); ok && errors.As(err, &b) {
			invariant = b.invariant
		}
	}
	return &Failure{At: at, Invariant: invariant, Text: fmt.Sprintf(format, args...)}
}
