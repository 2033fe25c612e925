package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"
	"strconv"
	"strings"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Get reads all at and below a path of an entity, or ErrNotFound: Read with no
// options.
func (n *Node) Get(ctx context.Context, entity string, p delta.Path) (Reading, error) {
	return n.Read(ctx, entity, p, ReadOptions{})
}

func checkKey(entity string, p delta.Path) error {
	if err := delta.CheckEntity(entity); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if _, err := delta.ParsePath(string(p)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// reading adds the provenance to a reading of the kernel; nil cids leave the CIDs
// out.
func (n *Node) reading(r storage.Reader, cids map[clock.EntryID]string, entity string, p delta.Path, in *merge.Reading) (Reading, error) {
	out := Reading{
		Entity: entity, Path: p, Value: in.Value, Conflicts: in.Conflicts, ETag: etagText(in.ETag),
		Rules: in.Rules, Absent: in.Absent, Errors: in.Errors,
	}
	for i := range in.Properties {
		prop := &in.Properties[i]
		for j := range prop.Survivors {
			s := &prop.Survivors[j]
			cid := ""
			if cids != nil {
				var err error
				if cid, err = n.cidOf(r, s.Dot.Entry(), cids); err != nil {
					return out, err
				}
			}
			key, _ := n.store.Lanes.Key(s.Dot.Lane)
			v := Survivor{
				Path: prop.Path, Verb: s.Verb, Value: s.Value, Dot: s.Dot, CID: cid,
				Author: key.Author, Creator: s.Creator, Time: s.Time, Shown: prop.Shown[j],
				Txn: clock.Dot{Lane: s.Dot.Lane, Seq: s.Dot.Seq, Index: s.Txn},
			}
			if inc, ok := s.Value.Inc(); ok && s.Verb == delta.Inc {
				v.Value, v.Total = delta.Int(inc.Amount), inc.Total
			}
			out.Survivors = append(out.Survivors, v)
		}
	}
	return out, nil
}

// maxKnownCIDs bounds the CIDs that one export remembers.
const maxKnownCIDs = 4096

// cidOf returns the CID of an entry, "" where the log no longer holds it.
func (n *Node) cidOf(r storage.Reader, id clock.EntryID, known map[clock.EntryID]string) (string, error) {
	if c, ok := known[id]; ok {
		return c, nil
	}
	h, err := n.store.HashOf(r, id)
	if err != nil && !errors.Is(err, oplog.ErrNotFound) {
		return "", err
	}
	c := ""
	if err == nil {
		c = delta.CID(h).String()
	}
	if len(known) >= maxKnownCIDs {
		clear(known)
	}
	known[id] = c
	return c, nil
}

// incoming lists the keys whose survivors refer to an entity.
func (n *Node) incoming(entity string) (out []string, err error) {
	lo := n.rows.key(kindRef, merge.AppendPrefix(nil, entity, ""))
	for kv, err := range n.db.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return nil, fmt.Errorf("scan references: %w", err)
		}
		from, p, _, err := merge.ParseKey(kv.Key[len(lo):])
		if err != nil {
			return nil, err
		}
		if k := delta.Key(from, p); len(out) == 0 || out[len(out)-1] != k {
			out = append(out, k)
		}
	}
	return out, nil
}

// List returns, in byte order, the ids of entities with a prefix that come
// after another; more says that the limit cut the list. Zero means 1000.
func (n *Node) List(ctx context.Context, prefix, after string, limit int) (out []string, more bool, err error) {
	if limit <= 0 {
		limit = 1000
	}
	for entity, err := range n.rows.entities(ctx, prefix, after) {
		if err != nil {
			return nil, false, err
		}
		if hidden(prefix, entity) {
			continue
		}
		if len(out) == limit {
			return out, true, nil
		}
		out = append(out, entity)
	}
	return out, false, nil
}

// hidden reports whether a list of entities with a prefix leaves one out: what
// the space says of itself is listed where it is asked for.
func hidden(prefix, entity string) bool { return catalog.IsSystem(entity) && !catalog.IsSystem(prefix) }

// namePrefix returns the start of the keys of all entities with a prefix.
func namePrefix(prefix string) []byte {
	k := merge.AppendPrefix(nil, prefix, "")
	return k[:len(k)-2] // without the end of the name
}

// Export yields a reading of every entity with a prefix, from one snapshot, each
// property by its verb alone: what an import writes elsewhere, and not what a
// schema makes of it. Only what a schema renamed, split or retyped is given as
// the newest version has it, which takes nothing else. What the space says of
// itself is there only where the prefix asks for it.
func (n *Node) Export(ctx context.Context, prefix string) iter.Seq2[Reading, error] {
	return func(yield func(Reading, error) bool) {
		snap := n.db.Snapshot()
		defer func() { _ = snap.Close() }() // reading only: nothing is lost
		view := n.rows
		view.r = snap
		cids := make(map[clock.EntryID]string)
		for d, err := range view.documents(ctx, prefix, "") {
			if err != nil {
				yield(Reading{}, err)
				return
			}
			if hidden(prefix, d.entity) {
				continue
			}
			r, found, err := merge.ReadWith(d, d.entity, "", n.Catalog().MovesOf(d.entity))
			var out Reading
			if err == nil && found {
				out, err = n.reading(snap, cids, d.entity, "", &r)
			}
			if err != nil {
				yield(Reading{}, err)
				return
			}
			if found && !yield(out, nil) {
				return
			}
		}
	}
}

// Cursor returns the cursor of the newest change.
func (n *Node) Cursor() string { return n.cursor(n.visible.Load()) }

func (n *Node) cursor(ordinal uint64) string {
	return n.cfg.LogID + "-" + strconv.FormatUint(ordinal, 10)
}

// cursorIn returns the cursor of the i-th of an entry's transactions. One that
// is not the last has its number behind the ordinal, so that who stopped there
// gets the others.
func (n *Node) cursorIn(ordinal uint64, i, of int) string {
	c := n.cursor(ordinal)
	if i+1 < of {
		c += "." + strconv.Itoa(i+1)
	}
	return c
}

// parseCursor reads what cursor and cursorIn wrote; "" is now and "0" the
// beginning. Seen counts the transactions after at that come before the
// cursor.
func (n *Node) parseCursor(s string) (at uint64, seen int, err error) {
	switch s {
	case "":
		return n.visible.Load(), 0, nil
	case "0":
		return 0, 0, nil
	}
	id, digits, ok := strings.Cut(s, "-")
	digits, part, inside := strings.Cut(digits, ".")
	at, err = strconv.ParseUint(digits, 10, 64)
	if inside && err == nil {
		seen, err = strconv.Atoi(part)
		at--
	}
	if !ok || err != nil || seen < 0 || inside && (seen == 0 || at == ^uint64(0)) {
		return 0, 0, fmt.Errorf("%w: %q", ErrCursor, s)
	}
	if id != n.cfg.LogID {
		return 0, 0, fmt.Errorf("%w: %q was made by another node", ErrCursor, s)
	}
	if at > max(n.visible.Load(), n.history.Load()) {
		return 0, 0, fmt.Errorf("%w: %q lies past the end of the log: was the repo restored from a backup?", ErrCursor, s)
	}
	return at, seen, nil
}

// Changes yields transactions in the order in which this node applied them,
// from a cursor on ("" from now, "0" from the beginning), and then waits for
// more until ctx ends. Of a transaction only the deltas whose key has the
// prefix are shown. Where what comes next was compacted away, or came as a
// peer's state, it ends with a GoneError.
func (n *Node) Changes(ctx context.Context, prefix, since string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		at, seen, err := n.parseCursor(since)
		if err != nil {
			yield(Change{}, err)
			return
		}
		for {
			n.mu.Lock()
			changed := n.changed
			n.mu.Unlock()
			upTo := n.visible.Load()
			for e, err := range n.applied(since, at+1, upTo) {
				if err != nil {
					yield(Change{}, err)
					return
				}
				since = e.Cursor
				if e.Cursor == n.cursor(at+1) { // else the entry went when its lane was closed
					e.Txns = e.Txns[min(seen, len(e.Txns)):]
				}
				seen = 0
				for _, c := range n.changesOf(e, prefix) {
					if !yield(c, nil) {
						return
					}
				}
			}
			at = max(at, upTo)
			since = n.cursor(at)
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-n.done:
				return
			}
		}
	}
}

// applied yields the entries with ordinals from lo to hi, or a GoneError where
// they are not all held; since is what the caller names the place before them.
func (n *Node) applied(since string, lo, hi uint64) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		// A compaction meanwhile takes nothing out of a snapshot.
		snap := n.db.Snapshot()
		defer func() { _ = snap.Close() }() // reading only: nothing is lost
		if err := n.whole(snap, since, lo-1); err != nil {
			yield(LogEntry{}, err)
			return
		}
		if lo > hi {
			return
		}
		for r, err := range n.store.InOrder(snap, lo) {
			if err != nil {
				yield(LogEntry{}, err)
				return
			}
			if r.Ordinal > hi {
				return
			}
			e, err := n.logEntry(&r)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// whole reports a GoneError where what came after an ordinal is not all held in
// what a reader sees.
func (n *Node) whole(r storage.Reader, since string, after uint64) error {
	history, err := n.store.HistoryIn(r)
	if err != nil || after >= history {
		return err
	}
	return &GoneError{What: "what came after cursor " + since, Cursor: n.cursor(history)}
}

// LogStart returns the cursor behind which the log is whole: before it, entries
// were compacted away, or their effects came as a peer's state. It is "" where
// nothing is missing.
func (n *Node) LogStart() string {
	if history := n.history.Load(); history > 0 {
		return n.cursor(history)
	}
	return ""
}

// logEntry decodes a record for people.
func (n *Node) logEntry(r *oplog.Record) (LogEntry, error) {
	raw := append([]byte(nil), r.Raw...) // values outlive the record
	rec := *r
	rec.Raw = raw
	e, err := rec.Entry()
	if err != nil {
		return LogEntry{}, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	key, _ := n.store.Lanes.Key(e.Lane)
	out := LogEntry{
		Cursor: n.cursor(r.Ordinal), ID: e.ID(), CID: delta.CID(e.Hash).String(), Body: delta.CID(e.Header.Body).String(),
		Author: key.Author, Time: e.Time, Signed: len(r.Sig) > 0, Bytes: len(raw) + len(delta.AppendHeader(nil, &e.Header)),
	}
	if e.Seq > 1 {
		out.Prev = delta.CID(e.Prev).String()
	}
	for i := range e.Body.Deps {
		out.Deps = append(out.Deps, e.Body.Deps[i].EntryID)
	}
	index := 0
	for i := range e.Body.Txns {
		x := &e.Body.Txns[i]
		c := Change{
			Cursor: n.cursorIn(r.Ordinal, i, len(e.Body.Txns)), Txn: e.Dot(index), CID: out.CID, Author: key.Author, Creator: x.Creator, Time: e.Time,
		}
		for j := range x.Deltas {
			d := &x.Deltas[j]
			v := d.Value
			if inc, ok := v.Inc(); ok && d.Verb == delta.Inc {
				v = delta.Int(inc.Amount)
			}
			c.Deltas = append(c.Deltas, ChangeDelta{
				Entity: d.Entity, Path: d.Path, Verb: d.Verb, Value: v, Kills: len(d.Kills), Dot: e.Dot(index),
			})
			index++
		}
		out.Txns = append(out.Txns, c)
	}
	return out, nil
}

// changesOf returns the transactions of an entry that touch a prefix.
func (n *Node) changesOf(e LogEntry, prefix string) []Change {
	var out []Change
	for _, c := range e.Txns {
		if prefix != "" {
			var kept []ChangeDelta
			for _, d := range c.Deltas {
				if strings.HasPrefix(delta.Key(d.Entity, d.Path), prefix) {
					kept = append(kept, d)
				}
			}
			c.Deltas = kept
		}
		if len(c.Deltas) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// Log returns entries: with a lane that lane's, by seq and with what a closing
// set aside; else all after a cursor, in the order of application. "" is where
// LogStart says. After another cursor below that it returns a GoneError. Zero
// means 1000.
func (n *Node) Log(ctx context.Context, lane, since string, limit int) (out []LogEntry, err error) {
	if limit <= 0 {
		limit = 1000
	}
	var at uint64
	switch {
	case since != "":
		if at, _, err = n.parseCursor(since); err != nil {
			return nil, err
		}
	case lane == "":
		if at, err = n.store.HistoryIn(n.db); err != nil {
			return nil, err
		}
	}
	if lane != "" {
		return n.laneLog(lane, since, at, limit)
	}
	out, err = n.logAfter(at, limit)
	if since == "" && errors.Is(err, ErrGone) {
		return n.Log(ctx, lane, since, limit) // a compaction came between
	}
	return out, err
}

func (n *Node) logAfter(at uint64, limit int) (out []LogEntry, err error) {
	for e, err := range n.applied(n.cursor(at), at+1, n.visible.Load()) {
		if err != nil {
			return nil, err
		}
		if out = append(out, e); len(out) == limit {
			break
		}
	}
	return out, nil
}

func (n *Node) laneLog(lane, from string, since uint64, limit int) (out []LogEntry, err error) {
	id, err := clock.ParseLane(lane)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if _, ok := n.store.Lanes.Key(id); !ok {
		return nil, fmt.Errorf("%w: lane %s", ErrNotFound, lane)
	}
	snap := n.db.Snapshot()
	defer func() { _ = snap.Close() }() // reading only: nothing is lost
	if from != "" {
		if err := n.whole(snap, from, since); err != nil {
			return nil, err
		}
	}
	for i, seq := range []iter.Seq2[oplog.Record, error]{n.store.Lane(snap, id, 0), n.store.KeptLane(snap, id)} {
		for r, err := range seq {
			if err != nil {
				return nil, err
			}
			if r.Ordinal <= since || len(out) == limit {
				continue
			}
			e, err := n.logEntry(&r)
			if err != nil {
				return nil, err
			}
			e.Closed = i == 1
			out = append(out, e)
		}
	}
	return out, nil
}

// Show returns one entry by CID, lane:seq or a dot in it, with its full causal
// past.
func (n *Node) Show(ctx context.Context, ref string) (LogEntry, error) {
	rec, closed, err := n.resolve(ctx, ref)
	if err != nil {
		return LogEntry{}, err
	}
	e, err := n.logEntry(&rec)
	if err != nil {
		return LogEntry{}, err
	}
	e.Closed = closed
	e.Past, e.PastCut, err = n.past(ctx, &rec)
	return e, err
}

func (n *Node) resolve(ctx context.Context, ref string) (rec oplog.Record, closed bool, err error) {
	if strings.Count(ref, ":") == 0 {
		return n.findCID(ctx, ref)
	}
	id, err := clock.ParseEntryID(ref)
	if strings.Count(ref, ":") == 2 {
		var d clock.Dot
		d, err = clock.ParseDot(ref)
		id = d.Entry()
	}
	if err != nil {
		return rec, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	rec, err = n.store.Record(n.db, id)
	if errors.Is(err, oplog.ErrNotFound) {
		rec, err = n.store.Kept(n.db, id)
		closed = true
	}
	if errors.Is(err, oplog.ErrNotFound) {
		return rec, false, n.missing(id)
	}
	return rec, closed, err
}

// missing says why an entry is not held.
func (n *Node) missing(id clock.EntryID) error {
	var floor uint64
	n.query(func() { floor = n.replica.log.Floor(id.Lane) })
	if id.Seq > 0 && id.Seq <= floor {
		return &GoneError{What: "entry " + id.String(), Cursor: n.LogStart()}
	}
	return fmt.Errorf("%w: entry %v", ErrNotFound, id)
}

// findCID looks through the log: CIDs are for people, who ask rarely, and an
// index of random keys would cost every write.
func (n *Node) findCID(ctx context.Context, ref string) (oplog.Record, bool, error) {
	want, err := delta.ParseCID(ref)
	if err != nil {
		return oplog.Record{}, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	for r, err := range n.store.InOrder(n.db, 0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return oplog.Record{}, false, err
		}
		if r.Body == want || delta.HashHeader(&r.Header) == want {
			r.Raw, r.Sig = append([]byte(nil), r.Raw...), append([]byte(nil), r.Sig...)
			return r, false, nil
		}
	}
	if start := n.LogStart(); start != "" {
		return oplog.Record{}, false, fmt.Errorf("%w: no entry with CID %s here, in what raw history is held: from cursor %s on", ErrNotFound, ref, start)
	}
	return oplog.Record{}, false, fmt.Errorf("%w: no entry with CID %s here", ErrNotFound, ref)
}

// past walks an entry's prev and deps to its full causal past. Cut says that the
// walk met entries that are no longer held, so that the past is at least this.
func (n *Node) past(ctx context.Context, rec *oplog.Record) (out []clock.EntryID, cut bool, err error) {
	seen := map[clock.LaneID]uint64{} // all up to here is in the past
	type todo struct{ id clock.EntryID }
	e, err := rec.Entry()
	if err != nil {
		return nil, false, err
	}
	var stack []todo
	push := func(id clock.EntryID) {
		if id.Seq > seen[id.Lane] {
			stack = append(stack, todo{id})
		}
	}
	push(clock.EntryID{Lane: e.Lane, Seq: e.Seq - 1})
	for i := range e.Body.Deps {
		push(e.Body.Deps[i].EntryID)
	}
	for len(stack) > 0 {
		id := stack[len(stack)-1].id
		stack = stack[:len(stack)-1]
		from := seen[id.Lane] + 1
		if id.Seq < from {
			continue
		}
		seen[id.Lane] = id.Seq
		held := from // the seq that comes next, where it is held
		for r, err := range n.store.Lane(n.db, id.Lane, from) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, false, err
			}
			if r.Seq > id.Seq {
				break
			}
			cut = cut || r.Seq != held
			held = r.Seq + 1
			x, err := r.Entry()
			if err != nil {
				return nil, false, err
			}
			for i := range x.Body.Deps {
				push(x.Body.Deps[i].EntryID)
			}
		}
		cut = cut || held <= id.Seq
	}
	out = make([]clock.EntryID, 0, len(seen))
	for l, s := range seen {
		out = append(out, clock.EntryID{Lane: l, Seq: s})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Lane.Compare(out[j].Lane) < 0 })
	return out, cut, nil
}
