package simnet_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/history"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/node"
	. "github.com/rhizome-p2p/rhizome/simnet"
)

var historyFlag = flag.String("history", "", "with -seed: write the history of TestHistories to this file")

const (
	historyClients = 3 // at each host
	historyKeys    = 6
)

// A recorder is a workload of clients that write and read registers, and keeps
// what they are told. A client calls one operation after the other.
//
// A read is kept when all that its host held is durable: until then a client may
// be shown what a crash takes back (docs/history.md).
type recorder struct {
	dirty bool          // reads are kept at once
	every time.Duration // the mean wait between two calls at a host

	calls   []*call // in the order in which they were made
	writing map[string][]*call
	busy    map[string]*call // of a client, what it waits for
}

type call struct {
	host string
	op   history.Op
	kept bool
}

func newRecorder() *recorder {
	return &recorder{every: 200 * time.Millisecond, writing: make(map[string][]*call), busy: make(map[string]*call)}
}

// Act implements Workload.
func (c *recorder) Act(w Writer) ([][]node.Op, time.Duration) {
	wait := time.Duration(w.Rand.ExpFloat64() * float64(c.every))
	client := fmt.Sprintf("%s/c%d", w.Name(), w.Rand.IntN(historyClients))
	key := fmt.Sprint("r", w.Rand.IntN(historyKeys))
	write, lossless := w.Rand.IntN(3) == 0, w.Rand.IntN(2) == 0
	if c.busy[client] != nil {
		return nil, wait
	}
	if !write {
		c.read(w.Host, client, key, lossless)
		return nil, wait
	}
	o := history.Op{Session: client, Kind: history.KindWrite, Key: key, Value: fmt.Sprintf("%s-%d", w.Name(), w.Acts)}
	x := c.call(w.Host, o)
	c.writing[w.Name()] = append(c.writing[w.Name()], x)
	return [][]node.Op{{{Kind: node.OpPut, Entity: key, Value: o.Value}}}, wait
}

func (c *recorder) call(h Host, o history.Op) *call {
	x := &call{host: h.Name(), op: o}
	c.calls = append(c.calls, x)
	c.busy[o.Session] = x
	return x
}

func (c *recorder) keep(x *call) {
	x.kept = true
	delete(c.busy, x.op.Session)
}

func (c *recorder) read(h Host, client, key string, lossless bool) {
	o, err := readRegister(h, key, lossless)
	if err != nil {
		o.Values = []string{err.Error()} // a value out of thin air
	}
	o.Session = client
	x := c.call(h, o)
	if c.dirty {
		c.keep(x)
		return
	}
	h.WhenDurable(func() { c.keep(x) })
}

// readRegister reads a key at a host.
func readRegister(h Host, key string, lossless bool) (history.Op, error) {
	o := history.Op{Kind: history.KindRead, Key: key, Lossless: lossless}
	r, found, err := merge.Read(h.Replica().View(), key, "")
	if err != nil || !found {
		return o, err
	}
	for _, p := range r.Properties {
		for i := range p.Survivors {
			x, err := p.Survivors[i].Value.Any()
			if err != nil {
				return o, err
			}
			v := fmt.Sprint(x)
			if lossless {
				o.Values = append(o.Values, v)
			}
			if lossless && p.Shown[i] {
				o.Shown = v
			}
		}
	}
	if !lossless {
		o.Values = []string{fmt.Sprint(r.Value)}
	}
	return o, nil
}

// Answered implements Listener.
func (c *recorder) Answered(h Host, results []node.Result) {
	waiting := c.writing[h.Name()]
	for i := range results {
		if results[i].Err != nil {
			waiting[i].op.Unknown = true
		}
		c.keep(waiting[i])
	}
	c.writing[h.Name()] = waiting[len(results):]
}

// Killed implements Listener.
func (c *recorder) Killed(h Host) {
	for _, x := range c.writing[h.Name()] {
		x.op.Unknown = true
		c.keep(x)
	}
	delete(c.writing, h.Name())
	for client, x := range c.busy { // the reads; nothing is kept of them
		if x.host == h.Name() {
			delete(c.busy, client)
		}
	}
}

// final lets each client read all, so that what it wrote must still be there.
func (c *recorder) final(w *World) error {
	for _, h := range w.Hosts() {
		for client := range historyClients {
			for key := range historyKeys {
				c.read(h, fmt.Sprintf("%s/c%d", h.Name(), client), fmt.Sprint("r", key), true)
			}
		}
	}
	return nil
}

// history returns what was kept, in the order of the calls; of whole hosts, whose
// clients' calls happen one after the other, if that is asked.
func (c *recorder) history(hosts bool) (ops []history.Op) {
	for _, x := range c.calls {
		o := x.op
		if !x.kept {
			if o.Kind == history.KindRead {
				continue
			}
			o.Unknown = true // the world ended before its answer
		}
		if hosts {
			o.Session = x.host
		}
		ops = append(ops, o)
	}
	return ops
}

// clocks are the faults of clocks: with them it depends on more than causes which
// of two values a lossy read shows.
var clocks = []Fault{Skew, ClockJump, Drift, Freeze, Away}

// forgetting are the faults by which a host forgets or belies what it said:
// disks that are old, copies, forks and lies.
var forgetting = []Fault{StaleDisk, Clone, Equivocate, Lie}

// recorded are the options of a world of a seed, with its recorder, and the
// models that its history is held to.
func recorded(seed uint64) (Options, *recorder, []history.Model) {
	c := newRecorder()
	models := append(slices.Clone(history.Guarantees), history.CC)
	without := forgetting
	if seed%2 == 0 {
		without = append(slices.Clone(clocks), forgetting...)
		models = append(models, history.CCv)
	}
	o := Options{
		Seed: seed, Peers: 3 + int(seed%4), Virtual: 20 * time.Second, Workload: c, Listener: c, AtEnd: []Invariant{c.final},
		Faults: slices.DeleteFunc(slices.Clone(AllFaults), func(f Fault) bool { return slices.Contains(without, f) }),
	}
	return o, c, models
}

// judge holds what was recorded to the models: as sessions of clients, and as
// sessions of whole hosts.
func (c *recorder) judge(models []history.Model) (history.Report, error) {
	r, err := history.Examine(c.history(false), models...)
	if err == nil {
		_, err = history.Examine(c.history(true), models...)
	}
	return r, err
}

// What clients see, in worlds with any mixture of faults, is causally consistent
// and keeps the guarantees of sessions; with right clocks it is convergent; and
// each acknowledged write is there in the end, or overwritten.
func TestHistories(t *testing.T) {
	first, n := *firstFlag, *seedsFlag
	switch {
	case *seedFlag > 0:
		first, n = *seedFlag, 1
	case n == 0 && (raceEnabled || testing.Short()):
		n = 25
	case n == 0:
		n = 200
	}
	reports, judged := make([]Report, n), make([]history.Report, n)
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				o, c, models := recorded(first + uint64(i))
				var err, bad error
				reports[i], err = Run(o)
				judged[i], bad = c.judge(models)
				if err := errors.Join(err, bad); err != nil {
					t.Errorf("%v\nreplay: go test ./simnet -run '^TestHistories$' -seed %d -history FILE", err, first+uint64(i))
				}
				if *historyFlag != "" && n == 1 {
					writeHistory(t, *historyFlag, c.history(false))
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()

	fired := make(map[Fault]int)
	var sum history.Report
	proven, adopted := 0, uint64(0)
	for i := range reports {
		for f, count := range reports[i].Faults {
			fired[f] += count
		}
		j := &judged[i]
		sum.Operations, sum.Reads, sum.Overwrites, sum.Open = sum.Operations+j.Operations, sum.Reads+j.Reads, sum.Overwrites+j.Overwrites, sum.Open+j.Open
		if j.Proven {
			proven++
		}
		adopted += reports[i].StatesAdopted
	}
	t.Logf("%d worlds: %d operations, %d of them reads; %d overwrites inferred, %d open; an order was found for %d worlds; %d states adopted; faults: %v",
		n, sum.Operations, sum.Reads, sum.Overwrites, sum.Open, proven, adopted, fired)
	for _, f := range []Fault{Crash, TornCrash, Partition, Compact, Away, Leave} {
		if n >= 60 && (fired[f] == 0 || adopted == 0) {
			t.Errorf("fault %s never struck, or no state was adopted", f)
		}
	}
}

func writeHistory(t *testing.T, name string, ops []history.Op) {
	t.Helper()
	f, err := os.Create(name)
	if err == nil {
		err = errors.Join(history.Write(f, ops), f.Close())
	}
	if err != nil {
		t.Error(err)
	}
}
