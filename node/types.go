package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// Errors that callers act on. Each is matched with errors.Is.
var (
	// ErrNotFound reports a key, dot or entry that holds nothing here.
	ErrNotFound = errors.New("not found")

	// ErrInvalid reports input that no node would take; the text says what is
	// wrong with it.
	ErrInvalid = errors.New("invalid")

	// ErrTooLarge reports a transaction that no entry can carry: split it. It
	// matches ErrInvalid.
	ErrTooLarge = fmt.Errorf("%w: transaction too large", ErrInvalid)

	// ErrPrecondition reports an If-Match that no longer holds.
	ErrPrecondition = errors.New("precondition failed")

	// ErrConflict reports an operation that what was written since makes
	// impossible, such as an undo of something overwritten.
	ErrConflict = errors.New("conflict")

	// ErrClosed reports the use of a node that is closing or closed.
	ErrClosed = errors.New("node is closed")

	// ErrReadOnly reports a node that stopped writing because its disk failed.
	ErrReadOnly = errors.New("node is read-only")

	// ErrCursor reports a cursor that is not of this node.
	ErrCursor = fmt.Errorf("%w cursor", ErrInvalid)
)

// An OpKind says what an operation does.
type OpKind string

// The operations that a transaction is made of.
const (
	OpPut    OpKind = "put"    // merge a document leaf by leaf, or assign a value
	OpRm     OpKind = "rm"     // drop an entity or a path
	OpAdd    OpKind = "add"    // add a value to a bag
	OpRemove OpKind = "remove" // remove a value from a bag
	OpInc    OpKind = "inc"    // add N to a counter
	OpVote   OpKind = "vote"   // set the creator's value
	OpNegate OpKind = "negate" // kill the named dots
	OpUndo   OpKind = "undo"   // write back what a transaction overwrote
)

// An Op is one operation of a transaction.
type Op struct {
	Kind   OpKind
	Entity string
	Path   delta.Path
	// Value is what delta.ParseJSON returns, for put, add, remove and vote.
	Value any
	// N is the amount of an inc.
	N int64
	// Dots are the dots of a negate, or one dot of the transaction to undo.
	Dots []clock.Dot
	// IfMatch, where not empty, is the ETag that the key must have: "*" any,
	// AbsentETag none at all.
	IfMatch string
	// Whole makes a put write an object as one value, not leaf by leaf.
	Whole bool
	// SkipEqual makes a put write only the leaves that do not already hold
	// exactly this one value.
	SkipEqual bool
	// WantETag asks for the key's ETag after the operation. It costs a read.
	WantETag bool
}

// AbsentETag is the ETag of a key that holds nothing.
const AbsentETag = "absent"

// A Receipt tells what a transaction became. When it is handed out, the
// transaction is on disk.
type Receipt struct {
	// Txn is the dot of the transaction's first delta, which names it for
	// undo. It is the zero Dot where nothing had to be written.
	Txn    clock.Dot
	CID    string
	Deltas int
	// Skipped says, for an undo, which keys were left alone because they
	// changed since.
	Skipped []string
	// ETags are those of the operations' keys after each, in their order; empty
	// where the operation did not ask.
	ETags []string
}

// A Survivor is one live delta with its provenance.
type Survivor struct {
	Path    delta.Path
	Verb    delta.Verb
	Value   delta.Value // of an inc: its amount
	Total   int64       // of an inc
	Dot     clock.Dot
	CID     string // empty once the entry was compacted away
	Author  delta.Author
	Creator string // the author's claim; empty means the author
	Time    clock.Timestamp
	Txn     clock.Dot // of the first delta of its transaction
	// Shown says that the lossy read shows this survivor's value.
	Shown bool
}

// A Reading is one read of a key, lossless and lossy together.
type Reading struct {
	Entity string
	Path   delta.Path
	// Value is the lossy value as delta.Value.Any returns it.
	Value any
	// Conflicts are the paths at which the lossy value hides a concurrent
	// survivor that differs.
	Conflicts []delta.Path
	Survivors []Survivor
	// Incoming are the keys that refer to the entity. Export leaves it out.
	Incoming []string
	ETag     string
	// Rules name the schema, and the view, by which the lossy value was read.
	Rules string
	// Absent says that there is no lossy value: all that is here has an error, or
	// reads as nothing.
	Absent bool
	// Errors say which properties have no value, and why.
	Errors []*merge.PropertyError
	// Refs are the entities that the survivors refer to, as far as was asked.
	Refs []Reading
}

// ReadOptions say how to read. The zero value reads the newest by the schema
// that is for the entity.
type ReadOptions struct {
	// At is a cut, as Compact has it; "" is now. The rules are those of now.
	At string
	// View is the name of a view whose survivors, resolvers and expansion are
	// taken. The entity need not be part of it.
	View string
	// Raw reads each property by its verb alone, whatever schema there is.
	Raw bool
	// Expand is how far references are followed: in the lossy value, and of a
	// lossless reading in Refs.
	Expand int
	// NoCIDs leaves out of which entries the survivors are, so that nothing is
	// read but the entity: an entry may be a hundred times as large.
	NoCIDs bool
}

// A Change is one transaction as the node applied it.
type Change struct {
	Cursor  string
	Txn     clock.Dot
	CID     string
	Author  delta.Author
	Creator string
	Time    clock.Timestamp
	Deltas  []ChangeDelta
}

// A ChangeDelta is one delta of a change.
type ChangeDelta struct {
	Entity string
	Path   delta.Path
	Verb   delta.Verb
	Value  delta.Value
	Kills  int // how many kill lists it carries
	Dot    clock.Dot
}

// A LogEntry is one entry of the log.
type LogEntry struct {
	Cursor string
	ID     clock.EntryID
	CID    string
	Prev   string // CID, empty in the first of a lane
	Body   string // CID
	Author delta.Author
	Time   clock.Timestamp
	Deps   []clock.EntryID
	Signed bool
	Bytes  int
	// Closed says that the entry stands on a lane closed for a fork, at or
	// after the fork: kept, readable, but no part of the state.
	Closed bool
	Txns   []Change
	// Past is the entry's full causal past as a vector; only Show fills it in.
	// PastCut says that it reaches below the raw history that is held, where
	// lanes may be missing from it or stand too low.
	Past    []clock.EntryID
	PastCut bool
}

// A Status tells how a node stands.
type Status struct {
	Node      string
	Author    delta.Author
	Space     string // the id, hexadecimal
	SpaceName string
	Version   string
	Repo      string
	Addrs     []string
	// Converged means equal vectors and digests with all connected peers, each
	// asked afresh; false while peers are known and none is connected.
	Converged bool
	Digest    string
	Frontier  string // root of the vector
	Lanes     int
	Entries   uint64 // raw entries that are held
	Rows      uint64 // survivors
	Tips      int
	Storage   StorageStatus
	DiskBytes uint64
	Pending   int
	ReadOnly  bool
	Uptime    time.Duration
	Peers     []PeerStatus
	Sync      Sync
	Alarms    []Alarm
	Forks     []Fork
}

// A StorageStatus tells what compaction has done and may do. Sizes are those of
// keys and values before they are compressed, and estimates.
type StorageStatus struct {
	// Floor is how many entries lie below the floors of all lanes: they were
	// applied, here or where the state came from, and are not held.
	Floor uint64
	// History is the cursor behind which the log is whole, "" where nothing is
	// missing, and Past the newest time of what can no longer be read as of the
	// past: zero where everything can.
	History string
	Past    time.Time

	RawBytes  uint64 // of raw entries, about
	LiveBytes uint64 // of the rows of the state: their number times what the first of them take
	// ReclaimableBytes is how many bytes of raw entries a compaction now would
	// drop, without force, about.
	ReclaimableBytes uint64
	// GrowthPerDay is by how many bytes a day the raw entries grew, on average
	// over those that are held and at most a week; less than an hour of them
	// counts as an hour.
	GrowthPerDay uint64

	Retention   Retention
	Checkpoints uint64 // the number of the newest one
	// StatesServed and StatesAdopted count since the node started.
	StatesServed, StatesAdopted uint64
}

// A Sync counts what went between this node and its peers since it started.
type Sync struct {
	MessagesIn, MessagesOut   uint64 // of the sync protocol
	BytesIn, BytesOut         uint64 // in those
	PublishedIn, PublishedOut uint64 // entries that came, and messages that went, by gossip
}

// A PeerStatus tells how one peer stands to this node.
type PeerStatus struct {
	ID           string
	Addr         string
	Connected    bool
	Converged    bool
	MissingHere  uint64 // entries that the peer has and this node lacks
	MissingThere uint64
	LastSeen     time.Time
}

// An Alarm is something that a person should look at.
type Alarm struct {
	Kind string // "clock-skew", "fork", "digest", "twin", "corruption", "disk"
	Text string
	Hint string
	Time time.Time
}

// A Fork is a lane that was closed because its author signed two entries under
// one name.
type Fork struct {
	Lane   clock.LaneID
	Author delta.Author
	Seq    uint64 // the least seq that was signed twice
	Kept   int    // entries at or after it that this node keeps beside the state
}

// A VerifyReport is what a full reread of the repo found.
type VerifyReport struct {
	Entries, Rows, Lanes uint64
	Problems             []string
	// Index counts the problems that are of the index of references alone, those
	// that are not listed among them: Reindex mends them.
	Index int
}
