// Package compaction decides what a replica may forget and how two replicas
// whose logs no longer reach each other find the difference of their states.
// It is pure: it neither reads nor writes a store, and time is an argument.
//
// # Cuts
//
// A replica may at any time, alone, drop the raw entries of a prefix of its own
// order of application: the state stays what it was, since survivors are a
// function of what was applied, and a peer that lacks what was dropped is
// served the state. Pick chooses how much by a Policy. A prefix of the order of
// application is a closed cut, because admission is causal.
//
// A Checkpoint records what is about to be dropped, before it is. If the
// process ends in between, the next one does it again from the record.
//
// # Differences
//
// A state that is served is compared by ranges of dots, never row by row: lanes
// are cut into stretches of seqs, each with a count and a sum of its survivors.
// Where two sums differ the stretch is cut into Fanout smaller ones, until few
// survivors are left; then their dots and sums are listed. See Ranges.
package compaction

import "time"

// Defaults of a Policy's window.
const (
	DefaultAge   = 30 * 24 * time.Hour
	DefaultBytes = 1 << 30
)
