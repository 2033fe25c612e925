package rhizome

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/rhizome-p2p/rhizome/backup"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Diff compares the state of this node with that of a connected peer, named by
// its id, and changes neither: what differs is found by sums of ranges, as when a
// state is served.
func (n *Node) Diff(ctx context.Context, peer string) (DiffReport, error) {
	if n.net == nil {
		return DiffReport{}, fmt.Errorf("%w: no session to peer %s: the node has no network", ErrNotFound, peer)
	}
	return n.core.Diff(ctx, peer)
}

// DiffBackup compares the state of this node with that of a backup. A backup
// that is damaged or of another space is an error, and nothing is reported.
func (n *Node) DiffBackup(ctx context.Context, in io.Reader) (DiffReport, error) {
	r, err := backup.NewReader(in)
	if err != nil {
		return DiffReport{}, err
	}
	g, err := parseGenesis(r.Header().Genesis)
	if err != nil {
		return DiffReport{}, err
	}
	if g.id() != n.repo.genesis.id() {
		return DiffReport{}, fmt.Errorf("%w: the backup is of %q, this node of %q", ErrOtherSpace, g.name, n.repo.genesis.name)
	}
	var pairs iter.Seq2[storage.KV, error] = func(yield func(storage.KV, error) bool) {
		for p, err := range r.Pairs() {
			if !yield(storage.KV{Key: p.Key, Value: p.Value}, err) || err != nil {
				return
			}
		}
	}
	return n.core.DiffPairs(ctx, "backup", pairs)
}
