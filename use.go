package rhizome

import (
	"context"
	"iter"

	"github.com/rhizome-p2p/rhizome/delta"
)

// Commit commits one transaction: all of its operations, or none where one is
// refused. When it returns, the transaction is on disk. It takes the operations
// and their values over until then; a ctx that ends takes the transaction back
// as long as it still queues. The creator is a claim about who made it, empty
// for the node itself.
func (n *Node) Commit(ctx context.Context, creator string, ops []Op) (Receipt, error) {
	return n.core.Commit(ctx, creator, ops)
}

// Get reads all at and below a path of an entity, the empty path being its
// root, or returns ErrNotFound. Like every read of state it shows the newest,
// which may be on its way to the disk still.
func (n *Node) Get(ctx context.Context, entity string, p delta.Path) (Reading, error) {
	return n.core.Get(ctx, entity, p)
}

// List returns, in byte order, the ids of entities with a prefix that come
// after another; more says that the limit, zero for 1000, cut the list.
func (n *Node) List(ctx context.Context, prefix, after string, limit int) (ids []string, more bool, err error) {
	return n.core.List(ctx, prefix, after, limit)
}

// Export yields a reading of every entity with a prefix, from one snapshot, each
// property by its verb alone: what an import writes elsewhere. What a schema
// renamed, split or retyped is given as its newest version has it. What the space
// says of itself is there only where the prefix begins with "$".
func (n *Node) Export(ctx context.Context, prefix string) iter.Seq2[Reading, error] {
	return n.core.Export(ctx, prefix)
}

// Read reads all at and below a path of an entity, by the schema that is for it
// or as the options say.
//
// As of a cut, it is what this node would show if nothing later had come. A cut
// is "now", a time (RFC 3339) or an age ("720h", "30d"), for the largest closed
// set of entries whose clocks say that or less; a cursor, for what had been
// applied at it; or LANE:SEQ, for an entry and its causal past. It is exact at
// and above the horizon and refused below, with a HorizonError.
func (n *Node) Read(ctx context.Context, entity string, p delta.Path, o ReadOptions) (Reading, error) {
	return n.core.Read(ctx, entity, p, o)
}

// ExportAt is Export as of a cut, by the schemas of now.
func (n *Node) ExportAt(ctx context.Context, prefix, at string) iter.Seq2[Reading, error] {
	return n.core.ExportAt(ctx, prefix, at)
}

// Compact drops raw entries that are no longer wanted and gives their space
// back. Nobody is asked, and reads, writes and sync go on meanwhile: the newest
// state stays what it was, and a peer that was away gets it as state.
func (n *Node) Compact(ctx context.Context, o CompactOptions) (CompactReport, error) {
	known, err := n.knownPeers()
	if err != nil {
		return CompactReport{}, err
	}
	o.Known = append(known, o.Known...)
	return n.core.Compact(ctx, o)
}

// Checkpoints returns the records of compactions, the oldest first; the last 64
// are kept.
func (n *Node) Checkpoints(ctx context.Context) ([]Checkpoint, error) {
	return n.core.Checkpoints(ctx)
}

// Changes yields transactions, whole and durable, in the order in which this
// node applied them, from a cursor on ("" from now, "0" from the beginning),
// and then waits for more until ctx ends. Of a transaction only the deltas
// whose key has the prefix are shown. Where what comes next is no longer held,
// it ends with a GoneError: take a cursor, read all anew with Export, and go on
// from the cursor.
func (n *Node) Changes(ctx context.Context, prefix, since string) iter.Seq2[Change, error] {
	return n.core.Changes(ctx, prefix, since)
}

// Cursor returns the cursor of the newest change.
func (n *Node) Cursor() string { return n.core.Cursor() }

// LogStart returns the cursor behind which the log is whole: before it, entries
// were compacted away, or their effects came as a peer's state. It is "" where
// nothing is missing.
func (n *Node) LogStart() string { return n.core.LogStart() }

// Log returns entries, at most limit or 1000: of a lane by seq, else after a
// cursor in the order of application, "" being where LogStart says.
func (n *Node) Log(ctx context.Context, lane, since string, limit int) ([]LogEntry, error) {
	return n.core.Log(ctx, lane, since, limit)
}

// Show returns one entry, by CID, lane:seq or a dot in it, with its full
// causal past.
func (n *Node) Show(ctx context.Context, ref string) (LogEntry, error) {
	return n.core.Show(ctx, ref)
}

// Verify rereads log and state and says what is wrong with them. Progress, if
// not nil, is told how much is done of about how much.
func (n *Node) Verify(ctx context.Context, progress func(done, total uint64)) (VerifyReport, error) {
	return n.core.Verify(ctx, progress)
}

// Done is closed when the node stopped by itself; Err then says why.
func (n *Node) Done() <-chan struct{} { return n.core.Done() }

// Err says why the node stopped or became read-only, nil while all is well.
func (n *Node) Err() error { return n.core.Err() }
