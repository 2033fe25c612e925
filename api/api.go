// Package api is the surface that programs and the command line share: the
// JSON shapes that go over HTTP, the error classes, the forms of operations
// and of documents, and the address file of a running node.
//
// Package api/server serves it, api/client speaks it; docs/api.md describes
// it. Nothing here touches the log: all goes through Node.
//
// # Values
//
// Values are JSON. Integers are exact in the range of int64, floats always
// carry a point or an exponent. A reference to an entity is {"$ref": ENTITY}, a
// byte string {"$bytes": BASE64}.
//
// # Keys
//
// A key is an entity id, optionally with a JSON pointer (RFC 6901) behind a
// "#": host/web-1, host/web-1#/cpu/cores.
package api

import (
	"context"
	"io"
	"iter"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/merge/schema"
)

// A Node is what the API serves. *rhizome.Node is one.
type Node interface {
	Commit(ctx context.Context, creator string, ops []rhizome.Op) (rhizome.Receipt, error)
	Get(ctx context.Context, entity string, path Path) (rhizome.Reading, error)
	List(ctx context.Context, prefix, after string, limit int) (entities []string, more bool, err error)
	Export(ctx context.Context, prefix string) iter.Seq2[rhizome.Reading, error]
	Read(ctx context.Context, entity string, path Path, o rhizome.ReadOptions) (rhizome.Reading, error)
	GetMany(ctx context.Context, keys []rhizome.Key, o rhizome.ReadOptions) ([]rhizome.KeyRead, error)
	ReadRange(ctx context.Context, prefix, after string, limit int, o rhizome.ReadOptions) (read []rhizome.KeyRead, more bool, err error)
	Explain(ctx context.Context, entity string, path Path, o rhizome.ReadOptions) (rhizome.Explanation, error)
	ExportAt(ctx context.Context, prefix, at string) iter.Seq2[rhizome.Reading, error]
	Changes(ctx context.Context, prefix, since string) iter.Seq2[rhizome.Change, error]
	Cursor() string
	LogStart() string
	Log(ctx context.Context, lane, since string, limit int) ([]rhizome.LogEntry, error)
	Show(ctx context.Context, ref string) (rhizome.LogEntry, error)
	Status(ctx context.Context, fresh bool) (rhizome.Status, error)
	Peers(ctx context.Context) ([]rhizome.PeerStatus, error)
	AddPeer(ctx context.Context, addr string) error
	RemovePeer(ctx context.Context, idOrAddr string) error
	Invite(ctx context.Context) (string, error)
	Compact(ctx context.Context, o rhizome.CompactOptions) (rhizome.CompactReport, error)
	Checkpoints(ctx context.Context) ([]rhizome.Checkpoint, error)
	Diff(ctx context.Context, peer string) (rhizome.DiffReport, error)
	DiffBackup(ctx context.Context, in io.Reader) (rhizome.DiffReport, error)
	Verify(ctx context.Context, progress func(done, total uint64)) (rhizome.VerifyReport, error)
	Backup(ctx context.Context, w io.Writer, o rhizome.BackupOptions) (rhizome.BackupSummary, error)
	Catalog() *catalog.Catalog
	AddSchema(ctx context.Context, doc []byte) (*schema.Schema, rhizome.Receipt, error)
	CheckSchema(ctx context.Context, doc []byte) (*schema.Schema, error)
	RemoveSchema(ctx context.Context, name string) (rhizome.Receipt, error)
	RequireSchema(ctx context.Context, on bool) (rhizome.Receipt, error)
	AddCEL(ctx context.Context, name, description, expression string) (version int, r rhizome.Receipt, err error)
	AddWASM(ctx context.Context, name, description string, module []byte) (version int, r rhizome.Receipt, err error)
	RetireResolver(ctx context.Context, name string) (version int, r rhizome.Receipt, err error)
	AddView(ctx context.Context, name string, doc []byte) (rhizome.Receipt, error)
	RemoveView(ctx context.Context, name string) (rhizome.Receipt, error)
	ShowView(ctx context.Context, name, after string, limit int, at string) (items []rhizome.ViewItem, more bool, err error)
	WatchView(ctx context.Context, name string) iter.Seq2[rhizome.ViewItem, error]
	ID() string
	Addrs() []string
	Done() <-chan struct{}
	Err() error
}
