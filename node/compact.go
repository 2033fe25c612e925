package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

// ErrBusy reports a compaction that was asked for while a state is being
// adopted from a peer.
var ErrBusy = errors.New("a peer's state is being adopted")

// A CompactRequest says what to drop.
type CompactRequest struct {
	// To is the ordinal up to which entries go; 0 means all.
	To uint64
	// Force lets own entries go that no peer is known to hold. Peers get what
	// they did with the state; the entries themselves are lost to them.
	Force bool
}

// keptCheckpoints is how many records stay, for people to look at.
const keptCheckpoints = 64

// compactMillis is how often the policy is asked.
const compactMillis = 60_000

func (r *Replica) checkpointKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64(r.state.key(kindCheckpoint, nil), number)
}

// readCheckpoints returns the records that a reader sees, the oldest first.
func (v *rows) readCheckpoints() (out []compaction.Checkpoint, err error) {
	lo := v.key(kindCheckpoint, nil)
	for kv, err := range v.r.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return nil, fmt.Errorf("scan checkpoints: %w", err)
		}
		if len(kv.Key) != len(lo)+8 {
			return nil, fmt.Errorf("checkpoint %x: %w", kv.Key, storage.ErrCorrupt)
		}
		c, err := compaction.ParseCheckpoint(binary.BigEndian.Uint64(kv.Key[len(lo):]), kv.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// openCheckpoints does again what a recorded compaction has left undone.
func (r *Replica) openCheckpoints() error {
	all, err := r.state.readCheckpoints()
	if err != nil {
		return err
	}
	for i := range all {
		r.checkpoints = all[i].Number
		if !all[i].Done {
			r.undone = &all[i]
		}
	}
	if r.undone == nil {
		return nil
	}
	r.begin(r.hlc.Last().Millis())
	if err := r.truncate(); err != nil {
		return err
	}
	if err := r.apply(); err != nil {
		return err
	}
	return r.step.Commit.Wait()
}

// summary tells the policy how the log stands. With force, nothing is held.
func (r *Replica) summary(force bool) (s compaction.Summary, err error) {
	s = compaction.Summary{
		Now: r.now, History: r.log.History(), Entries: r.log.Entries(), Bytes: r.log.RawBytes(), Marks: r.log.Marks(),
	}
	if !force {
		s.Hold, err = r.hold()
	}
	return s, err
}

// hold returns the ordinal of the first own entry that no peer is known to
// hold, 0 where there is none. Without any peer there is nobody to hold it for.
func (r *Replica) hold() (first uint64, err error) {
	if !r.hasPeers() {
		return 0, nil
	}
	var seen uint64
	for _, o := range r.seen {
		seen = max(seen, o)
	}
	for _, l := range r.log.Vector().Lanes() {
		if key, _ := r.log.Lanes.Key(l); key.Author != r.author {
			continue
		}
		o, err := r.log.FirstAfter(l, r.machine.Held(l), seen)
		if err != nil {
			return 0, err
		}
		if o > 0 && (first == 0 || o < first) {
			first = o
		}
	}
	return first, nil
}

func (r *Replica) hasPeers() bool {
	if r.cfg.Peers || len(r.seen) > 0 || r.machine.Met() {
		return true
	}
	for _, l := range r.log.Vector().Lanes() {
		if key, _ := r.log.Lanes.Key(l); key.Author != r.author {
			return true
		}
	}
	return false
}

// Checkpoint records what a compaction will drop. The record is nil where
// nothing is to be dropped. Truncate then drops it.
func (r *Replica) Checkpoint(nowMillis int64, q CompactRequest) (Step, *compaction.Checkpoint, error) {
	r.begin(nowMillis)
	c, err := r.planned(q)
	if err != nil || c == nil {
		return Step{}, nil, err
	}
	r.record(c)
	step, err := r.end()
	return step, c, err
}

// PlanCheckpoint is Checkpoint without recording anything.
func (r *Replica) PlanCheckpoint(nowMillis int64, q CompactRequest) (*compaction.Checkpoint, bool, error) {
	r.now = nowMillis
	s, err := r.summary(q.Force)
	if err != nil {
		return nil, false, err
	}
	cut, ok := compaction.PickAll(s, q.To)
	if !ok {
		return nil, cut.Held, nil
	}
	c, err := r.checkpointAt(cut)
	return c, cut.Held, err
}

func (r *Replica) planned(q CompactRequest) (*compaction.Checkpoint, error) {
	if r.adopting() {
		return nil, ErrBusy
	}
	if r.undone != nil {
		return r.undone, nil // recorded already
	}
	c, _, err := r.PlanCheckpoint(r.now, q)
	return c, err
}

func (r *Replica) checkpointAt(cut compaction.Cut) (*compaction.Checkpoint, error) {
	heads, err := r.log.CutAt(cut.Ordinal)
	if err != nil || len(heads) == 0 {
		return nil, err
	}
	c := &compaction.Checkpoint{
		Number: r.checkpoints + 1, Time: r.now, Ordinal: cut.Ordinal, Cut: heads,
		Root: r.log.Root(), Digest: r.Digest(), Rows: r.Survivors(),
	}
	for _, h := range heads {
		c.Entries += h.Head.Seq - r.log.Floor(h.Lane)
	}
	at := r.log.BytesAt(cut.Ordinal)
	c.Bytes = at - min(at, r.log.BytesAt(r.log.History()))
	return c, nil
}

// record writes a checkpoint into the batch.
func (r *Replica) record(c *compaction.Checkpoint) {
	if c == r.undone {
		return
	}
	r.checkpoints, r.undone = c.Number, c
	r.batch.Set(r.checkpointKey(c.Number), c.Append(nil))
	if c.Number > keptCheckpoints {
		r.batch.DeleteRange(r.checkpointKey(0), r.checkpointKey(c.Number-keptCheckpoints))
	}
}

// Truncate drops what the last checkpoint recorded, if that has not been done.
//
// The record was applied to the store before, and batches become durable in
// order: from here on a crash either finds the record alone, and the next
// process drops the rest, or finds all of it done.
func (r *Replica) Truncate(nowMillis int64) (Step, error) {
	r.begin(nowMillis)
	if r.undone == nil {
		return Step{}, nil
	}
	if err := r.truncate(); err != nil {
		return Step{}, err
	}
	return r.end()
}

func (r *Replica) truncate() error {
	c := r.undone
	cut := slices.Clone(c.Cut)
	for i := range cut {
		// A closing may have taken a lane back since. All that is left of it goes:
		// the order of application no longer lists it.
		if head := r.log.Vector().Head(cut[i].Lane); head.Seq < cut[i].Head.Seq {
			cut[i].Head = head
		}
	}
	for _, h := range cut {
		t, err := r.log.TimeOf(clock.EntryID{Lane: h.Lane, Seq: h.Head.Seq})
		if err != nil {
			return fmt.Errorf("checkpoint %d: %w", c.Number, err)
		}
		r.state.past, r.state.erasDirty = max(r.state.past, t), true
	}
	if _, err := r.log.Truncate(r.batch, cut, c.Ordinal); err != nil {
		return fmt.Errorf("checkpoint %d: %w", c.Number, err)
	}
	if c.Ordinal == r.log.Ordinal() && r.state.eras[len(r.state.eras)-1].first <= c.Ordinal {
		r.newEra()
	}
	r.dropEras(r.state.eras.over(c.Ordinal))
	done := *c
	done.Done = true
	r.batch.Set(r.checkpointKey(c.Number), done.Append(nil))
	r.undone = nil
	return nil
}

// compactTick does what the policy says is due.
func (r *Replica) compactTick() error {
	if r.undone != nil {
		return r.truncate()
	}
	if r.compactAt == 0 {
		r.compactAt = r.now + compactMillis/2
	}
	if r.compactAt-r.now > compactMillis {
		r.compactAt = r.now // the clock was set back
	}
	if r.now < r.compactAt || r.adopting() {
		return nil
	}
	r.compactAt = r.now + compactMillis
	if err := r.noteSeen(); err != nil {
		return err
	}
	r.stagedTick()
	r.eraTick()
	s, err := r.summary(false)
	if err != nil {
		return err
	}
	cut, ok := compaction.Pick(s, r.cfg.Retention)
	if !ok {
		return nil
	}
	c, err := r.checkpointAt(cut)
	if err == nil && c != nil {
		r.record(c)
	}
	return err
}

// stagedMillis is how long what a broken stream left is kept for the next one.
const stagedMillis = 10 * 60_000

// stagedTick forgets staged rows that nobody has gone on with.
func (r *Replica) stagedTick() {
	switch {
	case !r.staged():
		r.stagedSince = 0
	case r.stagedSince == 0:
		r.stagedSince = r.now
	case r.now-r.stagedSince > stagedMillis:
		r.dropStaged()
		r.stagedSince = 0
	}
}

// eraTick begins an era where the last one has become long: what a window
// keeps is cut into a few, so that each can go as a whole.
func (r *Replica) eraTick() {
	p := r.cfg.Retention.Fill()
	eras := r.state.eras
	last := eras[len(eras)-1]
	if p.Mode != compaction.Window || len(eras) >= maxEras || last.first > r.log.Ordinal() {
		return
	}
	const parts = maxEras / 2
	marks := r.log.Marks()
	at := slices.IndexFunc(marks, func(m oplog.Mark) bool { return m.Ordinal >= last.first })
	if at < 0 {
		return
	}
	if r.now-marks[at].Time >= p.Age.Milliseconds()/parts || marks[len(marks)-1].Bytes-marks[at].Bytes >= p.Bytes/parts {
		r.newEra()
	}
}

// maxSeen bounds the peers of which it is remembered what they hold.
const maxSeen = 1024

// lookSeen notes what the peers of the sessions hold now.
func (r *Replica) lookSeen() error {
	now, err := r.machine.Seen()
	if err != nil {
		return err
	}
	for _, p := range now {
		old, known := r.seen[p.Node]
		if known && p.Ordinal <= old || !known && len(r.seen) >= maxSeen {
			continue
		}
		r.seen[p.Node] = p.Ordinal
		r.newSeen[p.Node] = true
	}
	return nil
}

// noteSeen remembers, also beyond this process, what peers hold or held when
// their sessions ended.
func (r *Replica) noteSeen() error {
	if err := r.lookSeen(); err != nil {
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(r.newSeen)) {
		r.batch.Set(r.state.key(kindSeen, []byte(p)), binary.AppendUvarint(nil, r.seen[p]))
	}
	clear(r.newSeen)
	return nil
}

func (r *Replica) openSeen() error {
	lo := r.state.key(kindSeen, nil)
	for kv, err := range r.db.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return fmt.Errorf("scan what peers hold: %w", err)
		}
		if o, k := binary.Uvarint(kv.Value); k > 0 {
			r.seen[string(kv.Key[len(lo):])] = min(o, r.log.Ordinal())
		}
	}
	return nil
}

// UnseenBy lists, in order, the peers that are not known to hold everything up
// to an ordinal.
func (r *Replica) UnseenBy(ordinal uint64) ([]string, error) {
	now, err := r.machine.Seen()
	if err != nil {
		return nil, err
	}
	seen := maps.Clone(r.seen)
	for _, p := range now {
		seen[p.Node] = max(seen[p.Node], p.Ordinal)
	}
	var out []string
	for _, p := range slices.Sorted(maps.Keys(seen)) {
		if seen[p] < ordinal {
			out = append(out, p)
		}
	}
	return out, nil
}
