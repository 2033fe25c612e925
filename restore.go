package rhizome

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/rhizome-p2p/rhizome/backup"
	"github.com/rhizome-p2p/rhizome/gossip/p2p"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
	"github.com/rhizome-p2p/rhizome/storage/pebblestore"
)

// Errors of backups; see package backup.
var (
	ErrNotBackup     = backup.ErrNotBackup
	ErrBackupCorrupt = backup.ErrCorrupt
	ErrBackupVersion = backup.ErrVersion

	// ErrOccupied reports a directory that is no repo and holds something that a
	// repo would replace.
	ErrOccupied = errors.New("directory holds something else")
)

// restoringDir is where a backup becomes a store. While it is there and
// repo.json is not, what stands under the name of the data directory is that of
// a restore that did not end.
const restoringDir = "restoring"

// restoreBatchBytes is how much goes to the store at once.
const restoreBatchBytes = 4 << 20

// RestoreOptions say how to restore.
type RestoreOptions struct {
	// NewIdentity gives the repo an identity of its own even where the backup
	// has one: for a host that is to run beside the one that was backed up.
	NewIdentity bool

	// Progress, if not nil, is told how many bytes of the file were read.
	Progress func(bytes uint64)

	// Logger gets what a person may want to know; nil discards it.
	Logger *slog.Logger
}

// A RestoreReport says what a restore made.
type RestoreReport struct {
	Node        string // the peer id of the repo that was made
	NewIdentity bool
	Header      BackupHeader
	Summary     BackupSummary
}

// Restore makes a repo in dir from a backup. dir must hold no repo; it becomes
// one when all of the file has been read and checked, and not before: whatever
// ends a restore early, another one begins anew.
//
// The repo goes on with nobody's lane. Its first write opens a new one, and what
// the backup lacks comes from peers.
func Restore(ctx context.Context, dir string, in io.Reader, o RestoreOptions) (rep RestoreReport, err error) {
	if _, err := os.Stat(filepath.Join(dir, repoFile)); err == nil {
		return rep, fmt.Errorf("%w in %s", ErrExists, dir)
	}
	r, err := backup.NewReader(in)
	if err != nil {
		return rep, err
	}
	s := &restoring{dir: dir, opts: o, r: r, stage: filepath.Join(dir, restoringDir)}
	if s.opts.Logger == nil {
		s.opts.Logger = slog.New(slog.DiscardHandler)
	}
	if err := s.identity(); err != nil {
		return rep, err
	}
	if err := s.run(ctx); err != nil {
		return rep, err
	}
	rep = RestoreReport{Node: s.id, NewIdentity: s.fresh, Header: *r.Header(), Summary: r.Read()}
	return rep, nil
}

// restoring is one restore.
type restoring struct {
	dir, stage string
	opts       RestoreOptions
	r          *backup.Reader
	genesis    genesis
	seed       []byte
	fresh      bool // the identity is a new one
	id         string
}

// identity reads the header, and makes an identity where none is to be taken
// from there.
func (s *restoring) identity() (err error) {
	h := s.r.Header()
	if s.genesis, err = parseGenesis(h.Genesis); err != nil {
		return fmt.Errorf("%w: %w", ErrBackupCorrupt, err)
	}
	s.seed, s.fresh = h.Identity, s.opts.NewIdentity || len(h.Identity) == 0
	if s.fresh {
		s.seed = make([]byte, ed25519.SeedSize)
		if _, err := rand.Read(s.seed); err != nil {
			return fmt.Errorf("make identity: %w", err)
		}
	}
	s.id, err = p2p.PeerID(ed25519.NewKeyFromSeed(s.seed).Public().(ed25519.PublicKey))
	return err
}

func (s *restoring) run(ctx context.Context) (err error) {
	lock, err := lockForRepo(s.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := clearRestore(s.dir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dir, dataDir)); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%w: %s", ErrOccupied, filepath.Join(s.dir, dataDir)), ignoreNotExist(err))
	}
	if err := s.make(ctx); err != nil {
		return errors.Join(err, clearRestore(s.dir))
	}
	// The repo is there. What staged it is empty.
	return os.RemoveAll(s.stage)
}

// make stages the store and, once it is known to be good, makes the repo of it.
func (s *restoring) make(ctx context.Context) error {
	if err := errors.Join(os.Mkdir(s.stage, 0o700), syncDir(s.dir)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	staged := filepath.Join(s.stage, dataDir)
	db, err := pebblestore.Open(staged, pebblestore.Options{Logger: s.opts.Logger})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := s.fill(ctx, db); err != nil {
		return errors.Join(fmt.Errorf("restore: %w", err), db.Close())
	}
	if err := errors.Join(s.check(db), db.Close()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := os.Rename(staged, filepath.Join(s.dir, dataDir)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return s.files()
}

// fill writes the pairs to the store. When it returns, they are on disk.
func (s *restoring) fill(ctx context.Context, db storage.DB) error {
	b := db.NewBatch()
	var before storage.Commit
	apply := func() error {
		c, err := db.Apply(b)
		if err == nil && before != nil {
			err = before.Wait() // one batch on its way while another is read
		}
		before, b = c, db.NewBatch()
		if s.opts.Progress != nil {
			s.opts.Progress(s.r.Read().Bytes)
		}
		return errors.Join(err, ctx.Err())
	}
	var key []byte
	for p, err := range s.r.Pairs() {
		if err != nil {
			return err
		}
		if s.fresh {
			oplog.Disown(p.Key, p.Value)
		}
		key = append(append(key[:0], spacePrefix...), p.Key...)
		b.Set(key, p.Value)
		if b.Bytes() >= restoreBatchBytes {
			if err := apply(); err != nil {
				return err
			}
		}
	}
	if err := apply(); err != nil {
		return err
	}
	return before.Wait()
}

// check opens the replica that the store holds: it must be the one that the
// header speaks of.
func (s *restoring) check(db storage.DB) error {
	r, err := node.OpenReplica(node.ReplicaConfig{
		DB: db, Prefix: spacePrefix, Space: s.genesis.id(), Key: ed25519.NewKeyFromSeed(s.seed),
		Random: rand.Reader, Spread: mathrand.New(mathrand.NewPCG(1, 2)), Node: s.id, // it sends nothing
	})
	if err != nil {
		return fmt.Errorf("what the backup holds does not open: %w", err)
	}
	root, state := r.Log().Root().Bytes(), r.Digest().Bytes()
	if h := s.r.Header(); !bytes.Equal(root[:], h.Root) || !bytes.Equal(state[:], h.Digest) {
		return fmt.Errorf("%w: it opens with digest %v, its header says %x", ErrBackupCorrupt, r.Digest(), h.Digest)
	}
	return nil
}

// files writes what else a repo has.
func (s *restoring) files() error {
	// A marker that an earlier repo left here says nothing of this one.
	if err := ignoreNotExist(os.Remove(filepath.Join(s.dir, cleanFile))); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := writeHex(filepath.Join(s.dir, identityFile), s.seed); err != nil {
		return err
	}
	h := s.r.Header()
	if err := writeHex(filepath.Join(s.dir, networkFile), h.Network); err != nil {
		return err
	}
	book := peerBook{Listen: h.Listen, Peers: h.Peers}
	if s.fresh { // the other one may be alive, and listen there
		book = peerBook{Peers: slices.Concat(h.Own, h.Peers)}
		book.Peers = book.Peers[:min(len(book.Peers), maxBook)]
	}
	if err := writePeers(s.dir, &book); err != nil {
		return err
	}
	// The commit point: with this file the directory is a repo.
	return writeInfo(s.dir, s.genesis)
}

// lockForRepo makes a directory and takes the lock of the repo that is to be
// there, if there is none yet.
func lockForRepo(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create repo: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create repo: %w", err)
	}
	lock, err := acquire(filepath.Join(dir, lockFile), 0)
	if err != nil {
		return nil, fmt.Errorf("create repo %s: %w", dir, err)
	}
	if _, err = os.Stat(filepath.Join(dir, repoFile)); err == nil {
		return nil, errors.Join(fmt.Errorf("%w in %s", ErrExists, dir), lock.Close())
	}
	return lock, nil
}

// clearRestore removes what a restore that did not end left in a directory that
// is no repo. The data goes first: it is only known for what it is as long as
// the stage is there.
func clearRestore(dir string) error {
	stage := filepath.Join(dir, restoringDir)
	if _, err := os.Stat(stage); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, dataDir)), syncDir(dir)); err != nil {
		return fmt.Errorf("remove a restore that did not end: %w", err)
	}
	if err := errors.Join(os.RemoveAll(stage), syncDir(dir)); err != nil {
		return fmt.Errorf("remove a restore that did not end: %w", err)
	}
	return nil
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
