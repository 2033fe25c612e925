package simnet

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/rhizome-p2p/rhizome/compaction"
)

// Options say what world to make. Its run follows from them alone.
type Options struct {
	// Peers is how many hosts there are. Zero means 5.
	Peers int

	// Seed is where all randomness comes from.
	Seed uint64

	// Virtual is how long the workload and the faults go on, in virtual time.
	// Zero means a minute. The world then heals, and settles.
	Virtual time.Duration

	// Settle bounds the virtual time from the healing until all are equal. Zero
	// means five minutes.
	Settle time.Duration

	// Faults are the faults that may happen; their rates are drawn from the
	// seed, but for those that Rates pins.
	Faults []Fault
	Rates  Rates

	// Workload is what the hosts do; package workload has some. Required.
	Workload Workload

	// Writers is how many of the hosts run the workload. Zero means all, up to
	// 64.
	Writers int

	// Degree is to how many others a host keeps sessions. Zero means 6.
	Degree int

	// Retention is how much raw history hosts keep by themselves. No mode means
	// all of it: then they drop only what the fault Compact makes them.
	Retention compaction.Policy

	// Invariants are checked, besides the built-in ones, every CheckEvery and at
	// the end.
	Invariants []Invariant

	// AtEnd are checked once, when all hosts are equal.
	AtEnd []Invariant

	// CheckEvery is how often invariants are checked, in virtual time. Zero
	// means 10 s; more often costs time.
	CheckEvery time.Duration

	// Record, if not nil, becomes the schedule of what happens in the run.
	Record *Schedule

	// Replay, if not nil, is what happens: no workload acts, no fault is drawn,
	// and the schedule's own options stand for those here that make a world.
	Replay *Schedule

	// crashAt kills the process that comes to this boundary of the world, counted
	// from 1; 0 kills none.
	crashAt uint64

	// unchecked leaves all invariants to those who are told what clients are.
	unchecked bool

	// Trace, if not nil, gets a line for every event.
	Trace io.Writer

	// Listener, if not nil, is told what clients of the hosts are.
	Listener Listener

	// Heard, if not nil, is told of each publication that reaches a host for the
	// first time: the host's number, and how long it was on its way.
	Heard func(host int, after time.Duration)

	// Watch, if not nil, is told now and then how far the run is. Its error ends
	// the run.
	Watch func(at time.Duration, events uint64) error
}

func (o *Options) fill() error {
	var errs []error
	if s := o.Replay; s != nil {
		o.Peers, o.Seed, o.Virtual, o.Settle, o.Degree = len(s.Hosts), s.Seed, s.Virtual, s.Settle, s.Degree
		o.CheckEvery, o.Writers, o.Faults, o.Rates, o.Retention = s.CheckEvery, 0, nil, nil, s.Retention
		if o.Peers == 0 {
			errs = append(errs, errors.New("simnet: the schedule names no host"))
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"Peers", o.Peers}, {"Writers", o.Writers}, {"Degree", o.Degree}} {
		if n.value < 0 {
			errs = append(errs, errors.New("simnet: "+n.name+" is negative"))
		}
	}
	if o.Virtual < 0 || o.Settle < 0 || o.CheckEvery < 0 {
		errs = append(errs, errors.New("simnet: a duration is negative"))
	}
	if err := o.Retention.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("simnet: %w", err))
	}
	if o.Peers == 0 {
		o.Peers = 5
	}
	if o.Virtual == 0 {
		o.Virtual = time.Minute
	}
	if o.Settle == 0 {
		o.Settle = 5 * time.Minute
	}
	if o.Workload == nil && o.Replay == nil {
		errs = append(errs, errors.New("simnet: Workload is nil"))
	}
	if o.Writers == 0 || o.Writers > o.Peers {
		o.Writers = min(o.Peers, 64)
	}
	if o.Degree == 0 {
		o.Degree = 6
	}
	if o.CheckEvery == 0 {
		o.CheckEvery = 10 * time.Second
	}
	return errors.Join(errs...)
}

// fork returns a source of randomness for one purpose: what one subsystem
// draws does not change what another does.
func fork(seed uint64, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, purpose*0x9e3779b97f4a7c15+1))
}
