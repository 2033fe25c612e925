package rhizome

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
	"github.com/rhizome-p2p/rhizome/storage/pebblestore"
)

const (
	// returnEntries and returnBytes bound what is taken in in one step.
	returnEntries = 512
	returnBytes   = 4 << 20

	// rewriteBytes bounds what is written again at once. What one entry has
	// overwritten of another is known within that much.
	rewriteBytes = 32 << 20

	// agreePause is how long a repair waits between two looks at its peers.
	agreePause = 100 * time.Millisecond

	// gatherTime is how long a repair that agrees with one peer waits for the
	// others that are known: one alone may know little.
	gatherTime = 2 * time.Second
)

// rebuild makes a new store in the stage, of what peers hold and of what can be
// read of the damaged one, and verifies it.
func (p *repairing) rebuild(ctx context.Context) (err error) {
	scratch, err := pebblestore.Open(filepath.Join(p.stage, scratchDir), pebblestore.Options{Logger: p.opts.Logger})
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	wreck, err := p.gather(ctx, scratch)
	if err != nil {
		return err
	}
	return p.complete(ctx, wreck, scratch)
}

// gather fills the new store from peers, and gives them and it what they lack.
func (p *repairing) gather(ctx context.Context, scratch storage.DB) (wreck *oplog.Wreck, err error) {
	n, err := p.open(Options{
		Listen: p.opts.Listen, Bootstrap: p.opts.Bootstrap, data: filepath.Join(repairingDir, dataDir),
	})
	if err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	defer func() { err = errors.Join(err, n.end()) }()
	if err := p.agree(ctx, n); err != nil {
		return nil, err
	}
	if wreck, err = p.salvage(ctx, n, scratch); err != nil {
		return nil, err
	}
	if err := p.giveBack(ctx, n, wreck, scratch); err != nil {
		return nil, err
	}
	return wreck, p.agree(ctx, n)
}

// complete does without peers what is left: what is written again must not get
// out before the repair is past its commit point, or another try would write it
// once more.
func (p *repairing) complete(ctx context.Context, w *oplog.Wreck, scratch storage.DB) (err error) {
	n, err := p.open(Options{Offline: true, data: filepath.Join(repairingDir, dataDir)})
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	defer func() { err = errors.Join(err, n.end()) }()
	if err := p.lost(n, w, scratch); err != nil {
		return err
	}
	v, err := n.Verify(ctx, func(done, _ uint64) { p.opts.Progress("verified", done) })
	if err == nil && len(v.Problems) > 0 {
		err = fmt.Errorf("the new store has %d problems: %s", len(v.Problems), v.Problems[0])
	}
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	s, err := n.Status(ctx, false)
	p.rep.Entries, p.rep.Rows, p.rep.Digest = s.Entries, s.Rows, s.Digest
	return err
}

// salvage copies the signed entries that can be read to the scratch store,
// which puts them in order.
func (p *repairing) salvage(ctx context.Context, n *Node, scratch storage.DB) (*oplog.Wreck, error) {
	w := oplog.NewWreck(spacePrefix, p.repo.genesis.id())
	// Where the rows of lanes are lost, peers know most of them, and the marker
	// the one that was written last.
	w.Guess(n.core.LaneKeys())
	if key, ok := readMarker(p.opts.Dir); ok {
		w.Guess([]delta.LaneKey{key})
	}
	dir := filepath.Join(p.opts.Dir, dataDir)
	lo, hi := w.LaneRange()
	_, err := pebblestore.Salvage(dir, nil, lo, hi, func(key, value []byte) error {
		_ = w.AddLane(key, value) // there may be a better one
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	b := scratch.NewBatch()
	lo, hi = w.EntryRange()
	rep, err := pebblestore.Salvage(dir, nil, lo, hi, func(key, value []byte) error {
		if _, _, err := w.Entry(key, value); err != nil {
			return ctx.Err() // unsigned ones among them: they came from peers
		}
		b.Set(key, value)
		p.rep.Salvaged++
		if b.Bytes() < returnBytes {
			return nil
		}
		err := storage.ApplySync(scratch, b)
		b = scratch.NewBatch()
		p.opts.Progress("entries read", p.rep.Salvaged)
		return errors.Join(err, ctx.Err())
	})
	if err == nil {
		err = storage.ApplySync(scratch, b)
	}
	if err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	p.rep.Files, p.rep.Unreadable = rep.Files, rep.Damaged
	// Some came more than once.
	p.rep.Salvaged = 0
	for _, err := range scratch.Scan(lo, hi) {
		if err != nil {
			return nil, fmt.Errorf("repair: %w", err)
		}
		p.rep.Salvaged++
	}
	return w, nil
}

// agree waits until the node agrees with the peers that it reaches.
func (p *repairing) agree(ctx context.Context, n *Node) error {
	tick := time.NewTicker(agreePause)
	defer tick.Stop()
	var last [4]uint64
	moved := time.Now()
	var met time.Time
	for {
		s, err := n.Status(ctx, true)
		if err != nil {
			return err
		}
		now, connected := time.Now(), 0
		mark := [4]uint64{s.Entries, s.Rows, uint64(s.Pending), s.Sync.BytesIn >> 16}
		for _, peer := range s.Peers {
			mark[2] += peer.MissingHere
			if peer.Connected {
				connected++
			}
		}
		if connected > 0 && met.IsZero() {
			met, moved = now, now
		}
		if mark != last {
			last, moved = mark, now
			p.opts.Progress("entries held", s.Entries)
		}
		p.rep.Peers = connected
		if s.Converged && connected > 0 && (connected == len(s.Peers) || now.Sub(met) >= gatherTime) {
			return nil
		}
		if now.Sub(moved) >= p.opts.Timeout {
			if met.IsZero() {
				return fmt.Errorf("%w for %v", ErrNoPeers, p.opts.Timeout)
			}
			return fmt.Errorf("%w for %v", ErrNotAgreed, p.opts.Timeout)
		}
		select {
		case <-tick.C:
		case <-n.Done():
			return fmt.Errorf("repair: %w", n.Err())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// giveBack has the node take in what peers lack: of each lane what chains on to
// what is held, again and again, since an entry may wait for one of another lane.
func (p *repairing) giveBack(ctx context.Context, n *Node, w *oplog.Wreck, scratch storage.DB) error {
	for more := true; more; {
		more = false
		for _, l := range w.Lanes() {
			taken, err := p.giveBackLane(n, w, l, scratch)
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			p.rep.Returned += taken
			if l.Key.Author == n.author() {
				p.rep.ReturnedOwn += taken
			}
			more = more || taken > 0
		}
		p.opts.Progress("entries that peers lacked", p.rep.Returned)
	}
	return nil
}

func (p *repairing) giveBackLane(n *Node, w *oplog.Wreck, l oplog.WreckLane, scratch storage.DB) (all uint64, err error) {
	for {
		head, closed := n.core.Held(l.ID)
		if closed {
			return all, nil
		}
		entries, err := p.following(w, l, head.Seq, scratch)
		if err != nil || len(entries) == 0 {
			return all, err
		}
		taken, err := n.core.Salvaged(l.Key, entries)
		if err != nil {
			return all, err
		}
		all += uint64(taken)
		if taken < len(entries) {
			return all, nil
		}
	}
}

// following returns the entries of a lane right behind a seq, as far as there
// are any, and not too many of them.
func (p *repairing) following(w *oplog.Wreck, l oplog.WreckLane, seq uint64, scratch storage.DB) (out []*delta.Entry, err error) {
	size := 0
	for kv, err := range scratch.Scan(w.EntryKey(l, seq+1), w.EntryKey(l, seq+1+returnEntries)) {
		if err != nil {
			return nil, fmt.Errorf("repair: %w", err)
		}
		_, e, err := w.Entry(kv.Key, kv.Value)
		if err != nil {
			return nil, fmt.Errorf("repair: %w", err)
		}
		if e.Seq != seq+1 || size > returnBytes {
			break
		}
		out, seq, size = append(out, e), e.Seq, size+len(e.Raw)
	}
	return out, nil
}

// lost notes what was there before and is gone. What can be read behind a gap of
// this node's own lanes is written again.
func (p *repairing) lost(n *Node, w *oplog.Wreck, scratch storage.DB) error {
	for _, l := range w.Lanes() {
		head, closed := n.core.Held(l.ID)
		if closed || head.Seq >= l.Seq {
			continue
		}
		x := LostEntries{Lane: l.ID, Author: l.Key.Author, Own: l.Key.Author == n.author(), From: head.Seq + 1, To: l.Seq}
		if err := p.behind(n, w, l, scratch, &x); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
		p.rep.Lost = append(p.rep.Lost, x)
	}
	slices.SortFunc(p.rep.Lost, func(a, b LostEntries) int { return a.Lane.Compare(b.Lane) })
	return nil
}

// behind counts what can be read of a lost stretch, and has it written again if
// this repo has written it.
func (p *repairing) behind(n *Node, w *oplog.Wreck, l oplog.WreckLane, scratch storage.DB, x *LostEntries) error {
	var again []*delta.Entry
	size := 0
	flush := func() error {
		if len(again) == 0 {
			return nil
		}
		err := n.core.WriteAgain(again)
		x.Rewritten += uint64(len(again))
		again, size = nil, 0
		return err
	}
	for kv, err := range scratch.Scan(w.EntryKey(l, x.From), w.EntryKey(l, x.To+1)) {
		if err != nil {
			return err
		}
		x.Readable++
		if !x.Own {
			continue
		}
		_, e, err := w.Entry(kv.Key, kv.Value)
		if err != nil {
			return err
		}
		if !e.Local {
			continue // a copy of this repo wrote it, and has it
		}
		again, size = append(again, e), size+len(e.Raw)
		if size > rewriteBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
