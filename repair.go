package rhizome

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Errors of a repair.
var (
	// ErrCorrupt reports stored bytes that are wrong.
	ErrCorrupt = storage.ErrCorrupt

	// ErrNoPeers reports a repair that reached nobody in time.
	ErrNoPeers = errors.New("no peer could be reached")

	// ErrNotAgreed reports a repair whose peers were reached, but with which
	// there was no agreement in time.
	ErrNotAgreed = errors.New("no agreement with the peers that were reached")
)

// RepairOptions say which repo to repair and how.
type RepairOptions struct {
	// Dir is the repo's directory. Required.
	Dir string

	// Timeout is how long to wait for peers while nothing goes forward. Zero
	// means one minute.
	Timeout time.Duration

	// Force repairs a repo that nothing is wrong with.
	Force bool

	// Listen and Bootstrap are as in Options.
	Listen, Bootstrap []string

	// Progress, if not nil, is told what is being done and how much of it is.
	Progress func(doing string, done uint64)

	// Logger gets what a person may want to know; nil discards it.
	Logger *slog.Logger
}

// A RepairReport says what a repair found and did.
type RepairReport struct {
	// Healthy says that nothing was wrong, and nothing was done.
	Healthy bool
	// Reindexed says that the index of references alone was wrong, and was built
	// anew: no peer was needed.
	Reindexed bool
	// Problems are what was wrong.
	Problems []string
	// Aside is where the damaged data is kept.
	Aside string
	// Files is how many files the damaged store has, and Unreadable those of
	// which not all could be read.
	Files      int
	Unreadable []string
	// Salvaged counts the signed entries that could be read. Returned are those
	// among them that no peer had, and ReturnedOwn those that this node wrote.
	Salvaged, Returned, ReturnedOwn uint64
	// Lost are the ends of lanes that were there before and that neither the
	// damaged store nor a peer could give.
	Lost []LostEntries
	// Peers is with how many peers there was agreement.
	Peers int
	// Entries, Rows and Digest are those of the repaired repo.
	Entries, Rows uint64
	Digest        string
}

// LostEntries are a stretch of a lane that is gone.
type LostEntries struct {
	Lane     clock.LaneID
	Author   delta.Author
	Own      bool
	From, To uint64
	// Readable counts those of them that can be read in the damaged data but
	// come after one that cannot, so that no node would take them. Rewritten are
	// those of them whose edits this node, which had made them, made again.
	Readable, Rewritten uint64
}

const (
	// repairingDir is where a repair works; nothing in it is of worth until
	// repairFile is there.
	repairingDir = "repairing"

	// repairFile says that what stands in repairingDir is to take the place of
	// the data. Whoever opens the repo next does the rest.
	repairFile = "repair.json"

	// asidePrefix begins the name under which damaged data is kept.
	asidePrefix = "data.damaged-"

	// scratchDir holds salvaged entries, by their keys.
	scratchDir = "salvaged"
)

// defaultRepairTimeout is long enough for a peer that is just starting.
const defaultRepairTimeout = time.Minute

// Repair gives a damaged repo a new store, under the same identity: what peers
// hold comes from them, and what they lack comes from the signed entries that
// can still be read. The damaged data is kept beside it.
//
// Until all of that is done and verified, nothing changes: a repair that fails
// or is ended leaves the repo as it was. With ErrNoPeers or ErrNotAgreed it can
// be tried again whenever peers are there.
func Repair(ctx context.Context, o RepairOptions) (rep RepairReport, err error) {
	if o.Timeout == 0 {
		o.Timeout = defaultRepairTimeout
	}
	if o.Progress == nil {
		o.Progress = func(string, uint64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r, err := openRepo(o.Dir, 0)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	p := &repairing{repo: r, opts: o, rep: &rep, stage: filepath.Join(o.Dir, repairingDir)}
	if err := p.examine(ctx); err != nil || rep.Healthy || rep.Reindexed {
		return rep, err
	}
	if err := p.prepare(); err != nil {
		return rep, err
	}
	if err := p.rebuild(ctx); err != nil {
		return rep, errors.Join(err, os.RemoveAll(p.stage))
	}
	return rep, p.exchange()
}

// repairing is one repair.
type repairing struct {
	repo  *repo
	opts  RepairOptions
	rep   *RepairReport
	stage string
}

// open opens a node on the repo, which stays locked whatever becomes of it.
func (p *repairing) open(o Options) (*Node, error) {
	o.Dir, o.Logger = p.opts.Dir, p.opts.Logger
	n := &Node{opts: o, log: o.Logger, closed: make(chan struct{}), repo: p.repo, plugins: newPlugins()}
	return n, n.start(nil)
}

// examine looks whether anything is wrong.
func (p *repairing) examine(ctx context.Context) error {
	// The marker stays: nothing is written to any lane.
	n, err := p.open(Options{Offline: true, data: dataDir})
	if errors.Is(err, storage.ErrCorrupt) || err != nil && p.opts.Force && !errors.Is(err, storage.ErrLocked) {
		p.problem(err)
		return nil
	}
	if err != nil {
		return err
	}
	v, err := n.Verify(ctx, func(done, _ uint64) { p.opts.Progress("examined", done) })
	p.rep.Problems = v.Problems
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), n.end())
	}
	if err == nil && v.Index > 0 && v.Index >= len(v.Problems) {
		err = p.reindex(ctx, n)
	}
	for _, e := range []error{err, n.Err(), n.end()} {
		if e != nil {
			p.problem(e)
		}
	}
	p.rep.Healthy = len(p.rep.Problems) == 0 && !p.opts.Force
	p.rep.Reindexed = p.rep.Reindexed && len(p.rep.Problems) == len(v.Problems) && !p.opts.Force
	return nil
}

// reindex mends the index of references, where nothing else is wrong, and sees
// that nothing is then.
func (p *repairing) reindex(ctx context.Context, n *Node) error {
	if err := n.core.Reindex(ctx); err != nil {
		return err
	}
	v, err := n.Verify(ctx, func(done, _ uint64) { p.opts.Progress("examined again", done) })
	p.rep.Reindexed = err == nil && len(v.Problems) == 0
	return err
}

// problem notes an error; what stands behind its first line is for programs.
func (p *repairing) problem(err error) {
	text, _, _ := strings.Cut(err.Error(), "\n")
	p.rep.Problems = append(p.rep.Problems, text)
}

// prepare makes an empty stage.
func (p *repairing) prepare() error {
	if err := os.RemoveAll(p.stage); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	if err := errors.Join(os.Mkdir(p.stage, 0o700), syncDir(p.opts.Dir)); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}

// journal is the content of repairFile.
type journal struct {
	Aside string `json:"aside"`
}

// exchange puts the new store in the place of the damaged one.
func (p *repairing) exchange() error {
	if err := os.RemoveAll(filepath.Join(p.stage, scratchDir)); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	name := asidePrefix + time.Now().UTC().Format("20060102-150405")
	for i := 2; ; i++ {
		if _, err := os.Lstat(filepath.Join(p.opts.Dir, name)); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = fmt.Sprintf("%s-%d", name, i)
	}
	p.rep.Aside = filepath.Join(p.opts.Dir, name)
	text, err := json.Marshal(journal{name})
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	// The commit point: before it, a crash leaves the repo as it was; from here
	// on, whoever opens it next finds the new store.
	if err := writeFile(filepath.Join(p.opts.Dir, repairFile), append(text, '\n')); err != nil {
		return err
	}
	return p.repo.finishRepair()
}

// finishRepair does what is left of a repair that has come to its commit point.
// Each of its steps may have been done before.
func (r *repo) finishRepair() error {
	path := filepath.Join(r.dir, repairFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var j journal
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if err == nil && (j.Aside == "" || filepath.Base(j.Aside) != j.Aside) {
		err = errors.New("it names no directory")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", repairFile, err)
	}
	// The marker speaks of a lane that the old store wrote.
	if err := ignoreNotExist(os.Remove(filepath.Join(r.dir, cleanFile))); err != nil {
		return fmt.Errorf("finish repair: %w", err)
	}
	data, staged := filepath.Join(r.dir, dataDir), filepath.Join(r.dir, repairingDir, dataDir)
	if _, err := os.Stat(staged); err == nil {
		if err := ignoreNotExist(os.Rename(data, filepath.Join(r.dir, j.Aside))); err != nil {
			return fmt.Errorf("finish repair: %w", err)
		}
		if err := errors.Join(syncDir(r.dir), os.Rename(staged, data), syncDir(r.dir)); err != nil {
			return fmt.Errorf("finish repair: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("finish repair: %w", err)
	}
	// Its order of application is another one: old cursors mean nothing in it.
	if err := errors.Join(writeInfo(r.dir, r.genesis), r.read()); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(r.dir, repairingDir)); err != nil {
		return fmt.Errorf("finish repair: %w", err)
	}
	if err := errors.Join(os.Remove(path), syncDir(r.dir)); err != nil {
		return fmt.Errorf("finish repair: %w", err)
	}
	return nil
}
