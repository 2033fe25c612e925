package rhizome

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rhizome-p2p/rhizome/backup"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A BackupHeader says what a backup holds; see package backup.
type BackupHeader = backup.Header

// A BackupSummary tells what was read or written of one.
type BackupSummary = backup.Summary

// BackupOptions say what goes into a backup.
type BackupOptions struct {
	// WithoutIdentity leaves the identity out: what is restored then gets one of
	// its own.
	WithoutIdentity bool
}

// checkEvery is how many pairs go by between two looks at a context.
const checkEvery = 256

// Backup writes all that the repo holds, as of one moment, while the node goes
// on. The stream holds the network's key and, unless it is left out, the
// node's identity: it is a secret. Memory is bounded whatever the repo's size.
func (n *Node) Backup(ctx context.Context, w io.Writer, o BackupOptions) (sum BackupSummary, err error) {
	book, err := n.readBook()
	if err != nil {
		return sum, err
	}
	d := n.core.Dump()
	defer func() { err = errors.Join(err, d.Close()) }()
	root, state := d.Root.Bytes(), d.Digest.Bytes()
	h := backup.Header{
		Genesis: n.repo.genesis.bytes, Name: n.repo.genesis.name, Time: time.Now().UTC().Truncate(time.Millisecond),
		Node: n.repo.id, Author: n.author().String(), Root: root[:], Digest: state[:],
		Entries: d.Entries, Lanes: d.Lanes, Rows: d.Rows, Version: Version(),
		Network: n.repo.network[:], Listen: book.Listen, Own: book.Own, Peers: book.Peers,
	}
	if !o.WithoutIdentity {
		h.Identity = n.repo.key.Seed()
	}
	buf := bufio.NewWriterSize(w, 64<<10)
	out, err := backup.NewWriter(buf, &h)
	if err != nil {
		return sum, err
	}
	count := 0
	for kv, err := range d.Pairs() {
		if err == nil {
			err = out.Add(kv.Key, kv.Value)
		}
		if count++; err == nil && count%checkEvery == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return sum, fmt.Errorf("back up: %w", err)
		}
	}
	if sum, err = out.Close(); err == nil {
		err = buf.Flush()
	}
	return sum, err
}

// author returns the author that the node writes as.
func (n *Node) author() delta.Author { return delta.Author(n.repo.key.Public().(ed25519.PublicKey)) }

// readBook returns a copy of the peer book.
func (n *Node) readBook() (peerBook, error) {
	if n.net == nil {
		return readPeers(n.opts.Dir)
	}
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	return n.net.book.clone(), nil
}
