package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A Retention says what compaction drops by itself.
type Retention = compaction.Policy

// A Checkpoint is the record of one compaction.
type Checkpoint = compaction.Checkpoint

// ParseRetention makes a retention of texts: a mode (archive, window, minimal),
// an age (720h, 30d) and a size (512MiB). An empty text is the default.
func ParseRetention(mode, age, bytes string) (Retention, error) {
	return compaction.ParsePolicy(mode, age, bytes)
}

// CompactOptions say what Compact drops. The zero value drops all that may go.
type CompactOptions struct {
	// To is the cut up to which raw entries go: "" or "now" for all of them, a
	// time (RFC 3339), an age ("720h", "30d"), a cursor, or LANE:SEQ for an
	// entry and its causal past. What is dropped is a prefix of the order in
	// which this node applied its entries: the longest within the cut.
	To string

	// Force lets own entries go that no peer is known to hold. Peers then get
	// what they did with the state, the entries themselves they never get.
	Force bool

	// DryRun changes nothing and says what would be dropped.
	DryRun bool

	// Known are the ids of peers that are known though they may never have been
	// met.
	Known []string

	// Progress, if not nil, is told how many of the parts of the store have
	// given their space back.
	Progress func(done, total int)
}

// A CompactReport tells what a compaction did.
type CompactReport struct {
	DryRun bool
	// Checkpoint is the number of its record, 0 where there was nothing to drop.
	Checkpoint uint64
	// Cursor is that of the newest entry that was dropped.
	Cursor string
	// Floor is, for each lane that has one, the seq up to which raw entries are
	// dropped: afterwards, or with DryRun as it would be.
	Floor   []clock.EntryID
	Dropped uint64 // raw entries
	// Freed is by how many bytes the repo became smaller on its disk, with
	// DryRun about how many bytes of raw entries would go.
	Freed uint64
	// UnseenBy are the peers that are not known to hold all that was dropped.
	// They get it as state.
	UnseenBy []string
	// Held says that own entries which no peer is known to hold kept the cut
	// smaller than it was asked to be; Force lets them go.
	Held bool
	// Work is what recording and dropping took, which grows with the number of
	// lanes alone, and Reclaim what giving the space back took, which holds
	// nobody up.
	Work, Reclaim time.Duration
}

// Compact records a checkpoint, drops raw entries and gives their space back to
// the file system. Reads, writes and sync go on meanwhile. What can be read of
// the newest state is the same before and after; the past and the log can be
// read from the cut on. It returns ErrBusy while a peer's state is being taken
// over.
func (n *Node) Compact(ctx context.Context, o CompactOptions) (rep CompactReport, err error) {
	rep.DryRun = o.DryRun
	q := CompactRequest{Force: o.Force}
	some, err := n.resolveCompact(ctx, o.To, &q)
	if err != nil {
		return rep, err
	}
	before, err := n.db.DiskBytes()
	if err != nil {
		return rep, fmt.Errorf("compact: %w", err)
	}
	began := time.Now()
	if err := n.checkpoint(&rep, q, o.Known, some); err != nil || o.DryRun {
		return rep, err
	}
	if rep.Checkpoint > 0 {
		// The record is on disk: from here on a crash finds it and drops the
		// rest when the repo is opened.
		_, err := n.commitStep(n.replica.Truncate)
		if err != nil {
			return rep, err
		}
	}
	n.query(func() { rep.Floor = n.replica.log.Floors() })
	rep.Work = time.Since(began)
	began = time.Now()
	if err := n.reclaim(ctx, o.Progress); err != nil {
		return rep, fmt.Errorf("compact: give space back: %w", err)
	}
	rep.Reclaim = time.Since(began)
	after, err := n.db.DiskBytes()
	rep.Freed = before - min(before, after)
	return rep, err
}

// resolveCompact finds the ordinal of a cut; some is false where all of it is
// dropped already.
func (n *Node) resolveCompact(ctx context.Context, text string, q *CompactRequest) (some bool, err error) {
	m := n.pin()
	defer m.close()
	form, _, _, err := n.parseCut(text, time.Now())
	if err != nil || form == cutNow {
		return true, err
	}
	if form == cutCursor {
		q.To, _, err = n.parseCursor(text)
		return q.To > 0, err
	}
	c, err := m.cutAt(ctx, text)
	if errors.Is(err, ErrHorizon) && form == cutTime {
		return false, nil
	}
	if err == nil {
		q.To, err = m.prefixOf(ctx, c)
	}
	return q.To > 0, err
}

// checkpoint records what is to be dropped and returns when the record is on
// disk. Where there is nothing to drop, it only fills in the report.
func (n *Node) checkpoint(rep *CompactReport, q CompactRequest, known []string, some bool) error {
	var refused error
	_, err := n.commitStep(func(now int64) (Step, error) {
		r := n.replica
		r.cfg.Peers = r.cfg.Peers || len(known) > 0
		rep.Floor = r.log.Floors()
		if r.adopting() {
			refused = ErrBusy
			return Step{}, nil
		}
		ordinal := r.log.History()
		var step Step
		var c *compaction.Checkpoint
		var err error
		if some {
			if c, rep.Held, refused = r.PlanCheckpoint(now, q); refused != nil {
				return Step{}, nil // reading went wrong, and nothing was written
			}
			if r.undone != nil || c != nil && !rep.DryRun {
				if step, c, err = r.Checkpoint(now, q); err != nil {
					return Step{}, err
				}
			}
		}
		if c != nil {
			ordinal = c.Ordinal
			rep.Cursor, rep.Dropped, rep.Floor = n.cursor(ordinal), c.Entries, raised(rep.Floor, c.Cut)
			if rep.DryRun {
				rep.Freed = c.Bytes
			} else {
				rep.Checkpoint = c.Number
			}
		}
		rep.UnseenBy, refused = r.unseen(ordinal, known)
		return step, nil
	})
	return errors.Join(err, refused)
}

// raised returns floors as they are after a cut.
func raised(floors []clock.EntryID, to []clock.LaneHead) []clock.EntryID {
	at := make(map[clock.LaneID]uint64, len(floors))
	for _, f := range floors {
		at[f.Lane] = f.Seq
	}
	for _, h := range to {
		at[h.Lane] = max(at[h.Lane], h.Head.Seq)
	}
	out := make([]clock.EntryID, 0, len(at))
	for _, l := range slices.SortedFunc(maps.Keys(at), clock.LaneID.Compare) {
		out = append(out, clock.EntryID{Lane: l, Seq: at[l]})
	}
	return out
}

// unseen is UnseenBy with peers that may never have been met.
func (r *Replica) unseen(ordinal uint64, known []string) ([]string, error) {
	out, err := r.UnseenBy(ordinal)
	if err != nil || ordinal == 0 {
		return out, err
	}
	met := make(map[string]bool, len(r.seen))
	for p := range r.seen {
		met[p] = true
	}
	now, err := r.machine.Seen()
	for _, p := range now {
		met[p.Node] = true
	}
	for _, p := range known {
		if !met[p] && p != r.cfg.Node {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// commitStep runs one call of the replica and returns when what it wrote is
// durable. Its effects take their place in the queue.
func (n *Node) commitStep(f func(now int64) (Step, error)) (Step, error) {
	if !n.commits.begin() {
		return Step{}, ErrClosed
	}
	defer n.commits.calls.Done()
	n.turn.Lock()
	step, err := n.try(f)
	if err != nil {
		n.turn.Unlock()
		return step, err
	}
	ordinal, synced := n.replica.log.Ordinal(), make(chan struct{})
	rest := step
	rest.Commit = nil
	n.queue <- outcome{step: rest, ordinal: ordinal, synced: synced}
	n.turn.Unlock()
	err = n.durable(&step)
	close(synced)
	if err == nil {
		n.show(ordinal)
	}
	return step, err
}

// shrinking are the kinds of keys of which compaction and deletion leave
// something to give back, the largest first. The log's are 'e', 'o' and 'x'.
var shrinking = []byte{'e', kindDead, kindKill, kindState, kindRef, 'o', 'x', kindStaged}

// reclaim gives back what was deleted, kind by kind: writers go on meanwhile.
func (n *Node) reclaim(ctx context.Context, progress func(done, total int)) error {
	for i, kind := range shrinking {
		if err := ctx.Err(); err != nil {
			return err
		}
		if progress != nil {
			progress(i, len(shrinking))
		}
		lo := n.rows.key(kind, nil)
		if err := n.db.Reclaim(lo, storage.PrefixEnd(lo)); err != nil {
			return err
		}
	}
	return nil
}

// Checkpoints returns the records of compactions, the oldest first; the last 64
// are kept.
func (n *Node) Checkpoints(context.Context) ([]Checkpoint, error) { return n.rows.readCheckpoints() }

// KnowPeers tells that peers are known, though none may have been met: own
// entries then wait for one of them to hold them.
func (n *Node) KnowPeers() { n.query(func() { n.replica.cfg.Peers = true }) }
