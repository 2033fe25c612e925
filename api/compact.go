package api

import (
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/clock"
)

// A Storage tells what compaction has done and may do. Sizes are estimates, of
// keys and values before they are compressed.
type Storage struct {
	// FloorEntries is how many entries were applied and are not held.
	FloorEntries uint64 `json:"floor_entries"`
	// History is the cursor behind which the log is whole, and PastFrom the time
	// from which on the past can be read; both are missing where nothing was
	// dropped.
	History  string     `json:"history,omitempty"`
	PastFrom *time.Time `json:"past_from,omitempty"`

	RawBytes         uint64 `json:"raw_bytes"`
	LiveBytes        uint64 `json:"live_bytes"`
	ReclaimableBytes uint64 `json:"reclaimable_bytes"`
	GrowthPerDay     uint64 `json:"growth_bytes_per_day"`

	Retention     Retention `json:"retention"`
	Checkpoints   uint64    `json:"checkpoints"`
	StatesServed  uint64    `json:"states_served"`
	StatesAdopted uint64    `json:"states_adopted"`
}

// A Retention says how much raw history is kept. Age and size go with a window.
type Retention struct {
	Mode  string `json:"mode"`
	Age   string `json:"age,omitempty"`
	Bytes uint64 `json:"bytes,omitempty"`
}

// StorageOf returns a storage status as JSON has it.
func StorageOf(s *rhizome.StorageStatus) Storage {
	out := Storage{
		FloorEntries: s.Floor, History: s.History, RawBytes: s.RawBytes, LiveBytes: s.LiveBytes,
		ReclaimableBytes: s.ReclaimableBytes, GrowthPerDay: s.GrowthPerDay, Retention: Retention{Mode: string(s.Retention.Mode)},
		Checkpoints: s.Checkpoints, StatesServed: s.StatesServed, StatesAdopted: s.StatesAdopted,
	}
	if out.Retention.Mode == "window" {
		out.Retention.Age, out.Retention.Bytes = s.Retention.Age.String(), s.Retention.Bytes
	}
	if !s.Past.IsZero() {
		t := s.Past.UTC()
		out.PastFrom = &t
	}
	return out
}

// A CompactReport tells what a compaction did, or would do.
type CompactReport struct {
	DryRun bool `json:"dry_run"`
	// Checkpoint is the number of its record, 0 where there was none to make.
	Checkpoint uint64 `json:"checkpoint"`
	// Cursor is that of the newest entry that was dropped.
	Cursor string `json:"cursor,omitempty"`
	// Floor is LANE:SEQ for each lane that has one, as it is afterwards.
	Floor   []string `json:"floor"`
	Dropped uint64   `json:"dropped_entries"`
	// Freed is by how much the repo became smaller; with dry_run an estimate.
	Freed uint64 `json:"freed_bytes"`
	// UnseenBy are the peers that are not known to hold all that was dropped.
	UnseenBy []string `json:"unseen_by"`
	// Held says that own entries stayed because no peer is known to hold them.
	Held bool `json:"held"`
	// WorkMillis is what dropping took, and ReclaimMillis what giving the space
	// back took.
	WorkMillis    float64 `json:"work_ms"`
	ReclaimMillis float64 `json:"reclaim_ms"`
}

// CompactReportOf returns a report as JSON has it.
func CompactReportOf(r *rhizome.CompactReport) *CompactReport {
	return &CompactReport{
		DryRun: r.DryRun, Checkpoint: r.Checkpoint, Cursor: r.Cursor, Floor: ids(r.Floor), Dropped: r.Dropped, Freed: r.Freed,
		UnseenBy: append([]string{}, r.UnseenBy...), Held: r.Held, WorkMillis: millis(r.Work), ReclaimMillis: millis(r.Reclaim),
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// A CompactProgress tells how many parts of the store have given space back. The
// last one of a response has Report or Problem.
type CompactProgress struct {
	Done    int            `json:"done"`
	Total   int            `json:"total"`
	Report  *CompactReport `json:"report,omitempty"`
	Problem *Problem       `json:"problem,omitempty"`
}

// A Checkpoint is the record of one compaction.
type Checkpoint struct {
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"`
	// Done says that the entries are gone; otherwise they go soon.
	Done    bool   `json:"done"`
	Entries uint64 `json:"entries"` // dropped
	Bytes   uint64 `json:"bytes"`   // of them, about
	// FloorRoot is the root of the vector to which floors rose, of as many Lanes.
	FloorRoot string `json:"floor_root"`
	Lanes     int    `json:"lanes"`
	// Frontier is the root of the node's vector then, Digest and Rows those of
	// its state: compaction changes none of them.
	Frontier string `json:"frontier"`
	Digest   string `json:"digest"`
	Rows     uint64 `json:"rows"`
}

// Checkpoints holds the records that are kept, the oldest first.
type Checkpoints struct {
	Checkpoints []Checkpoint `json:"checkpoints"`
}

// CheckpointsOf returns checkpoints as JSON has them.
func CheckpointsOf(all []rhizome.Checkpoint) Checkpoints {
	out := Checkpoints{Checkpoints: make([]Checkpoint, 0, len(all))}
	for i := range all {
		c := &all[i]
		o := Checkpoint{
			Number: c.Number, Time: time.UnixMilli(c.Time).UTC(), Done: c.Done, Entries: c.Entries, Bytes: c.Bytes,
			Frontier: c.Root.String(), Digest: c.Digest.String(), Rows: c.Rows, Lanes: len(c.Cut),
		}
		var floor clock.Vector
		for _, h := range c.Cut {
			floor.Set(h.Lane, h.Head)
		}
		o.FloorRoot = floor.Root().String()
		out.Checkpoints = append(out.Checkpoints, o)
	}
	return out
}
