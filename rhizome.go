// Package rhizome is the embedding API: a replicated database node in the
// program's own process.
//
//	n, err := rhizome.Open(ctx, rhizome.Options{Dir: dir, Create: true})
//	…
//	defer n.Close()
//	_, err = n.Put(ctx, "host/web-1", map[string]any{"cpu": map[string]any{"cores": int64(8)}})
//	r, err := n.Get(ctx, "host/web-1", "/cpu/cores") // r.Value is int64(8)
//	invite, err := n.Invite(ctx)                     // for Options.Join elsewhere
//
// A Node reads and writes at once, with or without peers. What Commit has
// returned is on disk; peers get it by gossip, or by anti-entropy whenever they
// are back. All nodes that hold the same entries show the same state.
//
// # Values
//
// A value is nil, bool, int64, float64, string, []byte, []any or
// map[string]any, as delta.ParseJSON returns them. Putting a map merges it leaf
// by leaf; a map with the one key "$ref" is a reference to an entity.
//
// # Concurrency
//
// A Node may be used from any number of goroutines. Reads never wait for
// writes. Concurrent commits share a signature and a flush.
package rhizome

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/storage"
	"github.com/rhizome-p2p/rhizome/storage/pebblestore"
)

// The types of package node that callers meet.
type (
	Op           = node.Op
	OpKind       = node.OpKind
	Receipt      = node.Receipt
	Reading      = node.Reading
	Survivor     = node.Survivor
	Change       = node.Change
	ChangeDelta  = node.ChangeDelta
	LogEntry     = node.LogEntry
	Status       = node.Status
	PeerStatus   = node.PeerStatus
	Alarm        = node.Alarm
	Fork         = node.Fork
	VerifyReport = node.VerifyReport

	ReadOptions       = node.ReadOptions
	Key               = node.Key
	KeyRead           = node.KeyRead
	ViewItem          = node.ViewItem
	Explanation       = node.Explanation
	ExplainedProperty = node.ExplainedProperty
	KilledSurvivor    = node.KilledSurvivor
	Killer            = node.Killer

	StorageStatus  = node.StorageStatus
	Retention      = node.Retention
	CompactOptions = node.CompactOptions
	CompactReport  = node.CompactReport
	DiffReport     = node.DiffReport
	DiffRow        = node.DiffRow
	Checkpoint     = node.Checkpoint
	GoneError      = node.GoneError
	HorizonError   = node.HorizonError
)

// The operations that a transaction is made of.
const (
	OpPut    = node.OpPut
	OpRm     = node.OpRm
	OpAdd    = node.OpAdd
	OpRemove = node.OpRemove
	OpInc    = node.OpInc
	OpVote   = node.OpVote
	OpNegate = node.OpNegate
	OpUndo   = node.OpUndo

	AbsentETag = node.AbsentETag
)

// The errors of a node; see package node.
var (
	ErrNotFound     = node.ErrNotFound
	ErrInvalid      = node.ErrInvalid
	ErrTooLarge     = node.ErrTooLarge
	ErrPrecondition = node.ErrPrecondition
	ErrConflict     = node.ErrConflict
	ErrClosed       = node.ErrClosed
	ErrReadOnly     = node.ErrReadOnly
	ErrCursor       = node.ErrCursor
	ErrGone         = node.ErrGone
	ErrHorizon      = node.ErrHorizon
	ErrBusy         = node.ErrBusy
)

// Options say which repo to open and how.
type Options struct {
	// Dir is the repo's directory. Required.
	Dir string

	// Create makes the repo where there is none: of the space that Join names,
	// else of a new one called SpaceName.
	Create    bool
	SpaceName string

	// Join is an invite of another node. A repo that exists must be of the
	// invite's space.
	Join string

	// Offline opens the repo without a network.
	Offline bool

	// Listen are multiaddrs to listen on. None means those of the last time,
	// and at first a free port on all interfaces.
	Listen []string

	// Bootstrap are addresses of peers to dial, beside those that are known.
	Bootstrap []string

	// LockWait is how long to wait for a repo that another process has open.
	LockWait time.Duration

	// CacheBytes is the size of the block cache; zero means 64 MiB. More makes
	// reads of large repos faster.
	CacheBytes int64

	// Retention says how much raw history is kept; the zero value keeps 30 days
	// or 1 GiB, whichever is less. The newest state is the same whatever is
	// kept: it is how far back the log, undo and reads of the past reach.
	Retention Retention

	// Resolvers are those that the program brings. A schema names them with the
	// prefix "go:". They do not replicate: nodes of programs without them show an
	// error in their place.
	Resolvers map[string]merge.Resolver

	// ViewBytes is what the views that are kept up to date may take in memory
	// together; zero means 256 MiB. One that does not fit is worked out each time
	// it is read.
	ViewBytes uint64

	// Logger gets what a person may want to know; nil discards it.
	Logger *slog.Logger

	// resume overrides the marker; only tests of forks set it.
	resume *node.Resume

	// data is where the store lies, below Dir. A repair has another place for a
	// new one; the marker, which speaks of the usual one, is then left alone.
	data string
}

func (o *Options) validate() error {
	if o.Dir == "" {
		return errors.New("rhizome: Options.Dir is empty")
	}
	if err := o.Retention.Validate(); err != nil {
		return fmt.Errorf("rhizome: Options.Retention: %w", err)
	}
	return nil
}

// ParseRetention makes a retention of texts: a mode (archive, window, minimal),
// an age (720h, 30d) and a size (512MiB). An empty text is the default.
func ParseRetention(mode, age, bytes string) (Retention, error) {
	return node.ParseRetention(mode, age, bytes)
}

// A Node is an open repo.
type Node struct {
	core  *node.Node
	opts  Options
	log   *slog.Logger
	repo  *repo
	store *pebblestore.Store
	net   *network // nil offline

	plugins plugins

	closed chan struct{} // by Close
	once   sync.Once
}

// Open opens a repo and starts its node.
func Open(ctx context.Context, opts Options) (*Node, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	n := &Node{opts: opts, log: opts.Logger, closed: make(chan struct{}), plugins: newPlugins()}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	var inv *invite
	if opts.Join != "" {
		i, err := parseInvite(opts.Join)
		if err != nil {
			return nil, err
		}
		inv = &i
	}
	if err := n.openRepo(inv); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, n.repo.close())
	}
	if err := n.start(inv); err != nil {
		return nil, errors.Join(err, n.repo.close())
	}
	return n, nil
}

// openRepo opens the repo, after making it where that is wanted.
func (n *Node) openRepo(inv *invite) error {
	r, err := openRepo(n.opts.Dir, n.opts.LockWait)
	if errors.Is(err, ErrNoRepo) && n.opts.Create {
		if inv != nil {
			err = createRepo(n.opts.Dir, inv.genesis, inv.network)
		} else {
			err = Init(n.opts.Dir, n.opts.SpaceName)
		}
		if err == nil || errors.Is(err, ErrExists) {
			r, err = openRepo(n.opts.Dir, n.opts.LockWait)
		}
	}
	if err != nil {
		return err
	}
	if inv != nil && r.genesis.id() != inv.genesis.id() {
		return errors.Join(fmt.Errorf("%w: %q, the invite is to %q", ErrOtherSpace, r.genesis.name, inv.genesis.name), r.close())
	}
	n.repo = r
	return nil
}

// start opens store, replica and network; on an error it releases what it
// took, but for the repo.
func (n *Node) start(inv *invite) (err error) {
	var resume *node.Resume
	data := n.opts.data
	if data == "" {
		data = dataDir
		if resume, err = takeMarker(n.opts.Dir); err != nil {
			return err
		}
	}
	corrupt := make(chan error, 1)
	n.store, err = pebblestore.Open(filepath.Join(n.opts.Dir, data), pebblestore.Options{
		CacheBytes:   n.opts.CacheBytes,
		Logger:       n.log,
		OnCorruption: func(err error) { corrupt <- err }, // called once
	})
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	known, err := n.knownPeers()
	if err != nil {
		return errors.Join(err, n.store.Close())
	}
	if n.core, err = n.newNode(resume, len(known) > 0 || inv != nil || len(n.opts.Bootstrap) > 0); err != nil {
		return errors.Join(err, n.store.Close())
	}
	go n.tellCorruption(corrupt)
	if n.opts.Offline {
		return nil
	}
	if err := n.connect(inv); err != nil {
		close(n.closed)
		n.core.Close()
		return errors.Join(err, n.store.Close())
	}
	return nil
}

// tellCorruption raises an alarm when the store finds damage, for as long as
// the node is open.
func (n *Node) tellCorruption(corrupt <-chan error) {
	select {
	case err := <-corrupt:
		n.core.Alarm("corruption", err.Error(), "run `rhizome verify`; `rhizome repair` gets the repo anew from its peers")
	case <-n.closed:
	}
}

// spacePrefix stands before all keys of a repo's one space. Prefix 0 is kept
// for what concerns the whole repo.
var spacePrefix = []byte{1}

func (n *Node) newNode(resume *node.Resume, peers bool) (*node.Node, error) {
	if n.opts.resume != nil {
		resume = n.opts.resume
	}
	var seed [32]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	n.net = newNetwork(n)
	cfg := node.Config{
		Replica: node.ReplicaConfig{
			DB: storage.DB(n.store), Prefix: spacePrefix, Space: n.repo.genesis.id(), Key: n.repo.key,
			Random: rand.Reader, Spread: mathrand.New(mathrand.NewPCG(binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:]))),
			Resume: resume, Node: n.repo.id, Instance: [16]byte(seed[16:]),
			Retention: n.opts.Retention, Peers: peers, Compile: n.plugins,
		},
		Logger:    n.log,
		LogID:     n.repo.info.LogID,
		Resolvers: n.opts.Resolvers,
		ViewBytes: n.opts.ViewBytes,
	}
	if n.opts.Offline {
		n.net = nil
	} else {
		n.net.instance = cfg.Replica.Instance
		cfg.Transport = n.net
	}
	return node.New(cfg)
}

// Close ends the node. What was committed stays; the next Open goes on with
// the same lane.
func (n *Node) Close() error { return errors.Join(n.end(), n.repo.close()) }

// end is Close but for the repo, which stays locked.
func (n *Node) end() error {
	n.once.Do(func() { close(n.closed) })
	var errs []error
	if n.net != nil {
		errs = append(errs, n.net.close())
	}
	resume := n.core.Close()
	failed := n.core.Err() != nil
	errs = append(errs, n.store.Close())
	if resume != nil && !failed && n.opts.data == "" && errors.Join(errs...) == nil {
		errs = append(errs, writeMarker(n.opts.Dir, resume))
	}
	return errors.Join(errs...)
}

// ID returns the node's peer id.
func (n *Node) ID() string { return n.repo.id }

// Addrs returns the addresses that the node listens on, none offline.
func (n *Node) Addrs() []string {
	if n.net == nil {
		return nil
	}
	return n.net.host.Addrs()
}

// Invite returns the string by which another host joins.
func (n *Node) Invite(context.Context) (string, error) {
	i := invite{network: n.repo.network, genesis: n.repo.genesis, addrs: n.Addrs()}
	if n.net == nil {
		book, err := readPeers(n.opts.Dir)
		if err != nil {
			return "", err
		}
		i.addrs = book.Own
	}
	return i.String(), nil
}

// Status tells how the node stands. With fresh, every peer is asked first.
func (n *Node) Status(ctx context.Context, fresh bool) (Status, error) {
	s := Status{Node: n.repo.id, SpaceName: n.repo.genesis.name, Repo: n.opts.Dir, Addrs: n.Addrs(), Version: Version()}
	if err := n.core.Fill(ctx, &s, fresh && n.net != nil); err != nil {
		return s, err
	}
	return s, n.addKnown(&s)
}

// Put merges a document into an entity, leaf by leaf, or assigns a value.
func (n *Node) Put(ctx context.Context, entity string, value any) (Receipt, error) {
	return n.Commit(ctx, "", []Op{{Kind: OpPut, Entity: entity, Value: value}})
}

// PutAt is Put at a path inside the entity.
func (n *Node) PutAt(ctx context.Context, entity string, p delta.Path, value any) (Receipt, error) {
	return n.Commit(ctx, "", []Op{{Kind: OpPut, Entity: entity, Path: p, Value: value}})
}
