// Package scenario says what is measured and runs it: each system in processes
// of its own, in turn, and every value read back and compared.
package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

// A System is what is measured.
type System string

// The systems.
const (
	Ours     System = "rhizome"
	Peer     System = "peer"      // go-ds-crdt with its usual exchange
	PeerFast System = "peer-fast" // go-ds-crdt with a plain exchange
	Limit    System = "pebble"    // raw Pebble
)

// column returns the name of a system's column in the report.
func (s System) column() string {
	switch s {
	case Ours:
		return "ours"
	case PeerFast:
		return "peer_fast"
	case Limit:
		return "limit"
	}
	return "peer"
}

// family names what systems share on disk: the exchange of blocks leaves no
// trace there.
func (s System) family() string {
	if s == PeerFast {
		return string(Peer)
	}
	return string(s)
}

func (s System) isPeer() bool { return s == Peer || s == PeerFast }

// A Metric is one figure of a scenario.
type Metric struct{ Name, Unit string }

// The metrics.
var (
	rate        = Metric{"rate", "/s"}
	p50         = Metric{"p50", "ms"}
	p99         = Metric{"p99", "ms"}
	elapsed     = Metric{"time", "s"}
	openTime    = Metric{"time_open", "s"} // within time
	elapsedAll  = Metric{"time_all", "s"}
	wireBytes   = Metric{"wire_bytes", "B"}
	wireOneWay  = Metric{"wire_bytes_one_way", "B"} // of the two ways the one that carried more
	wirePayload = Metric{"wire_per_payload", "×"}
	rowsLeft    = Metric{"rows_left", ""}
	pairsLeft   = Metric{"pairs_left", ""} // of the database, with log and blocks, after compaction
	diskBytes   = Metric{"disk_bytes", "B"}
	diskBefore  = Metric{"disk_bytes_before", "B"}
	rss         = Metric{"rss", "B"}
)

// A Sample is the figures of one run of one system, by metric.
type Sample map[Metric]float64

// A Scenario is one thing that is measured.
type Scenario struct {
	Name  string
	About string
	// Durability says what is on disk when.
	Durability string
	Metrics    []Metric
	Systems    []System

	// run measures one cell. It is nil where the scenario comes in slices.
	run func(ctx context.Context, c *cell) (Sample, error)
	// sliced is a scenario whose cells run side by side, a slice of one after a
	// slice of the next.
	sliced *sliced
}

// A sliced scenario takes little time and much of the disk, whose mood changes by
// the second: each system has all of its moods.
type sliced struct {
	// slice measures one of the slices.
	slice func(ctx context.Context, c *cell, w *worker.Client, i int) (worker.Reply, error)
	// finish says what all of them have come to.
	finish func(ctx context.Context, c *cell, w *worker.Client) (Sample, error)
}

// sliceCount is how many slices a cell has.
const sliceCount = 10

var (
	everyone  = []System{Ours, Peer, PeerFast, Limit}
	replicas  = []System{Ours, Peer, PeerFast}
	unrivaled = []System{Ours, Limit}
)

const (
	perCall  = "one fsync before each call returns, on every side"
	perBatch = "one fsync before each batch returns, on every side"
	bothEnds = "an fsync before each put returns, and at the receiver before the put counts as seen"
	atTheEnd = "all of it is on the receiver's disk before the clock stops"
)

var freshMetrics = []Metric{elapsed, openTime, rate, wireBytes, wirePayload, rss}

func aboutFresh(n string) string {
	return "a replica that begins with nothing gets " + n + " keys of a put each, from its opening; raw Pebble writes them in batches of 1,000"
}

// All returns all scenarios, in the order in which they are run.
func All() []Scenario {
	return []Scenario{
		{"put-single", "2,000 puts of fresh keys by one writer", perCall, []Metric{rate, p50, p99, rss}, everyone, nil, puts(2000, 1)},
		{"put-64", "20,000 puts of fresh keys by 64 writers", perCall, []Metric{rate, p50, p99, rss}, everyone, nil, puts(20_000, 64)},
		{"batch-100", "20,000 fresh keys in batches of 100", perBatch, []Metric{rate, rss}, everyone, nil, batches(20_000, 100)},
		{"batch-1000", "50,000 fresh keys in batches of 1,000", perBatch, []Metric{rate, rss}, everyone, nil, batches(50_000, 1000)},
		{"visible", "from the start of a put to its showing at another replica, 300 puts, one after another", bothEnds, []Metric{p50, p99, rss}, replicas, visible(300), nil},
		{"burst", "5,000 puts by 64 writers, until another replica has all of them", bothEnds, []Metric{elapsed, wireBytes, rss}, replicas, burst(5000, 64), nil},
		{"fresh-1000", aboutFresh("1,000"), atTheEnd, freshMetrics, everyone, fresh(1000, 1), nil},
		{"fresh-10000", aboutFresh("10,000"), atTheEnd, freshMetrics, everyone, fresh(10_000, 1), nil},
		{"fresh-50000", aboutFresh("50,000"), atTheEnd, freshMetrics, everyone, fresh(50_000, 1), nil},
		{"fresh-1000000", aboutFresh("1,000,000") + "; the source was written by 64 writers, which share entries", atTheEnd, freshMetrics, unrivaled, fresh(1_000_000, 64), nil},
		{"resync", "two replicas with the same 10,000 keys wrote 100 more each while apart: from connecting until both have all", bothEnds, []Metric{elapsed, wireBytes, wireOneWay, rss}, replicas, resync(10_000), nil},
		{"ten", "ten replicas that know each other put 100 keys each, until all have all 1,000", bothEnds, []Metric{elapsed, wireBytes, rss}, replicas, ten(1000), nil},
		{"overwrite-remove", "one key is overwritten 3,000 times (rate) and then removed (time); rows of the state that are left", perCall, []Metric{rate, elapsed, rowsLeft, rss}, everyone, nil, overwriteRemove(3000)},
		{"put-remove", "2,000 keys, each put and removed (pairs a second); rows of the state that are left, and pairs of the whole database after compaction", perCall, []Metric{rate, rowsLeft, pairsLeft, rss}, everyone, nil, putRemove(2000)},
		{"disk", "20,000 keys put by 64 writers: the database's files before and after compaction, logs included; time is that of compaction", perCall, []Metric{diskBefore, diskBytes, elapsed, rss}, everyone, disk(20_000, 64), nil},
		{"list", "keys and values under a prefix that has 1,000 of 1,000,000 keys, 200 times, and all 1,000,000 once", "reads alone", []Metric{p50, p99, elapsedAll, rss}, everyone, list(1_000_000, 200), nil},
		{"memory", "peak of a process that takes 20,000 puts by 64 writers and lists all of them", perCall, []Metric{rss}, everyone, memory(20_000, 64), nil},
	}
}

// Select returns the scenarios of a list of names; "all" is all of them.
func Select(names string) ([]Scenario, error) {
	all := All()
	if names == "all" {
		return all, nil
	}
	var known []string
	for _, s := range all {
		known = append(known, s.Name)
	}
	wanted := strings.Split(names, ",")
	for _, n := range wanted {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("no scenario %q; there are all, %s", n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(s Scenario) bool { return !slices.Contains(wanted, s.Name) }), nil
}
