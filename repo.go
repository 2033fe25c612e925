package rhizome

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip/p2p"
)

// Format is the version of the repo's layout that this program writes.
const Format = 1

// Errors of a repo.
var (
	// ErrNoRepo reports a directory that holds no repo.
	ErrNoRepo = errors.New("no repo")

	// ErrExists reports a repo where none was expected.
	ErrExists = errors.New("a repo exists already")

	// ErrLocked reports a repo that another process has open.
	ErrLocked = errors.New("repo is locked by another process")

	// ErrNewerFormat reports a repo that a newer program wrote.
	ErrNewerFormat = errors.New("repo has a newer format")

	// ErrOtherSpace reports an invite to another space than the repo's.
	ErrOtherSpace = errors.New("repo belongs to another space")
)

// The files of a repo. All are private to their owner.
const (
	repoFile     = "repo.json" // written last: a directory without it is no repo
	identityFile = "identity"  // the Ed25519 seed in hexadecimal
	networkFile  = "network"   // the pre-shared key in hexadecimal
	peersFile    = "peers.json"
	cleanFile    = "clean" // the marker of a clean close
	lockFile     = "lock"
	dataDir      = "data"
)

// repoInfo is the content of repo.json.
type repoInfo struct {
	Format  int    `json:"format"`
	Genesis []byte `json:"genesis"` // DAG-CBOR [1, name, nonce]
	LogID   string `json:"log"`
}

// A genesis begins a space. The space's id is the hash of its bytes.
type genesis struct {
	name  string
	bytes []byte
}

func newGenesis(name string) (genesis, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return genesis{}, fmt.Errorf("make space: %w", err)
	}
	b, err := delta.ValueOf([]any{int64(1), name, nonce})
	return genesis{name, b}, err
}

func parseGenesis(b []byte) (genesis, error) {
	x, err := delta.Value(b).Any()
	if err != nil {
		return genesis{}, fmt.Errorf("genesis: %w", err)
	}
	l, ok := x.([]any)
	if !ok || len(l) != 3 || l[0] != int64(1) {
		return genesis{}, errors.New("genesis: not of a version that this program reads")
	}
	name, ok := l[1].(string)
	if !ok {
		return genesis{}, errors.New("genesis: no name")
	}
	return genesis{name, b}, nil
}

func (g *genesis) id() clock.Hash { return sha256.Sum256(g.bytes) }

// repo is an open, locked repo directory.
type repo struct {
	dir     string
	lock    *os.File
	info    repoInfo
	genesis genesis
	key     ed25519.PrivateKey
	network [32]byte
	id      string // the peer id
}

// openRepo locks and reads a repo. It waits for the lock as long as said.
func openRepo(dir string, wait time.Duration) (*repo, error) {
	if _, err := os.Stat(filepath.Join(dir, repoFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNoRepo, dir)
	} else if err != nil {
		return nil, fmt.Errorf("open repo: %w", err)
	}
	lock, err := acquire(filepath.Join(dir, lockFile), wait)
	if err != nil {
		return nil, fmt.Errorf("open repo %s: %w", dir, err)
	}
	r := &repo{dir: dir, lock: lock}
	if err := r.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("open repo %s: %w", dir, err), lock.Close())
	}
	if err := r.finishRepair(); err != nil {
		return nil, errors.Join(fmt.Errorf("open repo %s: %w", dir, err), lock.Close())
	}
	return r, nil
}

func (r *repo) read() error {
	b, err := os.ReadFile(filepath.Join(r.dir, repoFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &r.info); err != nil {
		return fmt.Errorf("%s: %w", repoFile, err)
	}
	if r.info.Format > Format {
		return fmt.Errorf("%w: %d, this program reads up to %d", ErrNewerFormat, r.info.Format, Format)
	}
	if r.genesis, err = parseGenesis(r.info.Genesis); err != nil {
		return fmt.Errorf("%s: %w", repoFile, err)
	}
	seed, err := readHex(filepath.Join(r.dir, identityFile), ed25519.SeedSize)
	if err != nil {
		return err
	}
	r.key = ed25519.NewKeyFromSeed(seed)
	network, err := readHex(filepath.Join(r.dir, networkFile), len(r.network))
	if err != nil {
		return err
	}
	copy(r.network[:], network)
	r.id, err = p2p.PeerID(r.key.Public().(ed25519.PublicKey))
	return err
}

func (r *repo) close() error { return r.lock.Close() }

// createRepo makes a repo. It can be run again after a crash at any point: what
// makes the directory a repo is written last.
func createRepo(dir string, g genesis, network [32]byte) error {
	lock, err := lockForRepo(dir)
	if err != nil {
		return err
	}
	if err := clearRestore(dir); err != nil {
		return errors.Join(err, lock.Close())
	}
	return errors.Join(writeRepo(dir, g, network), lock.Close())
}

func writeRepo(dir string, g genesis, network [32]byte) error {
	if err := writeIdentity(dir); err != nil {
		return err
	}
	if err := writeHex(filepath.Join(dir, networkFile), network[:]); err != nil {
		return err
	}
	return writeInfo(dir, g)
}

func writeInfo(dir string, g genesis) error {
	logID := make([]byte, 4)
	if _, err := rand.Read(logID); err != nil {
		return fmt.Errorf("write %s: %w", repoFile, err)
	}
	info, err := json.Marshal(repoInfo{Format: Format, Genesis: g.bytes, LogID: hex.EncodeToString(logID)})
	if err != nil {
		return fmt.Errorf("write %s: %w", repoFile, err)
	}
	return writeFile(filepath.Join(dir, repoFile), append(info, '\n'))
}

func writeIdentity(dir string) error {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return fmt.Errorf("make identity: %w", err)
	}
	return writeHex(filepath.Join(dir, identityFile), seed)
}

// Init makes a new space in a new repo.
func Init(dir, spaceName string) error {
	g, err := newGenesis(spaceName)
	if err != nil {
		return err
	}
	var network [32]byte
	if _, err := rand.Read(network[:]); err != nil {
		return fmt.Errorf("make network key: %w", err)
	}
	return createRepo(dir, g, network)
}

// RotateID gives a repo that no process has open a new identity, and so a new
// author and a new lane: what a copied repo needs.
func RotateID(dir string) (newID string, err error) {
	r, err := openRepo(dir, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	// What was told under the old identity goes first: its cursors, and the
	// addresses that end in it.
	if err := r.renew(); err != nil {
		return "", err
	}
	if err := writeIdentity(dir); err != nil {
		return "", err
	}
	if err := r.read(); err != nil {
		return "", err
	}
	return r.id, nil
}

// renew gives the log another name and forgets the own addresses.
func (r *repo) renew() error {
	if err := writeInfo(r.dir, r.genesis); err != nil {
		return err
	}
	book, err := readPeers(r.dir)
	if err != nil {
		return err
	}
	book.Own = nil
	return writePeers(r.dir, &book)
}

func readHex(path string, size int) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	v, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(v) != size {
		return nil, fmt.Errorf("%s: not %d bytes in hexadecimal", filepath.Base(path), size)
	}
	return v, nil
}

func writeHex(path string, b []byte) error {
	return writeFile(path, []byte(hex.EncodeToString(b)+"\n"))
}

// writeFile replaces a file durably: it is there as it was or as it is to be.
func writeFile(path string, b []byte) (err error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	// The commit point: from here on a crash shows the new content.
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return errors.Join(d.Sync(), d.Close())
}
