package rhizome

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
)

// backUp returns a backup of a node.
func backUp(t testing.TB, n *Node, o BackupOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	sum, err := n.Backup(t.Context(), &out, o)
	if err != nil || sum.Bytes != uint64(out.Len()) {
		t.Fatalf("%+v %v", sum, err)
	}
	return out.Bytes()
}

// restore restores a backup into a new directory.
func restore(t testing.TB, text []byte, o RestoreOptions) (dir string, rep RestoreReport) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "restored")
	rep, err := Restore(t.Context(), dir, bytes.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return dir, rep
}

// edit puts, overwrites and removes n times and notes each transaction.
func edit(t testing.TB, n *Node, tag string, times int, written map[clock.Dot]bool) {
	t.Helper()
	for i := range times {
		op := Op{Kind: OpPut, Entity: fmt.Sprintf("k/%d", i%37), Value: fmt.Sprintf("%s %d", tag, i)}
		switch i % 11 {
		case 8:
			op.Kind = OpRm
		case 9:
			op = Op{Kind: OpInc, Entity: "counter", N: 1}
		case 10:
			op.Kind = OpAdd
		}
		rec, err := n.Commit(t.Context(), "", []Op{op})
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		if rec.Deltas > 0 {
			written[rec.Txn] = true
		}
	}
}

func mustVerify(t testing.TB, n *Node) {
	t.Helper()
	r, err := n.Verify(t.Context(), nil)
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("verify: %+v %v", r.Problems, err)
	}
}

func mustNotFork(t testing.TB, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		s := status(t, n, false)
		if len(s.Forks) > 0 {
			t.Errorf("%s: closed lanes: %+v", n.ID(), s.Forks)
		}
		for _, a := range s.Alarms {
			t.Errorf("%s: alarm %s: %s", n.ID(), a.Kind, a.Text)
		}
	}
}

// A backup holds all of a repo: state, history and identity come back, under
// another log id.
func TestBackupAndRestore(t *testing.T) {
	a := open(t, Options{Dir: t.TempDir(), Create: true, Offline: true, SpaceName: "things"})
	written := make(map[clock.Dot]bool)
	edit(t, a, "a", 200, written)
	before := status(t, a, false)
	text := backUp(t, a, BackupOptions{})
	edit(t, a, "later", 10, make(map[clock.Dot]bool))

	dir, rep := restore(t, text, RestoreOptions{})
	if rep.Node != a.ID() || rep.NewIdentity || rep.Header.Name != "things" || rep.Header.Entries != before.Entries ||
		rep.Header.Rows != before.Rows || fmt.Sprintf("%x", rep.Header.Digest) != before.Digest ||
		fmt.Sprintf("%x", rep.Header.Root) != before.Frontier {
		t.Errorf("report %+v, the node says %+v", rep, before)
	}
	b := open(t, Options{Dir: dir, Offline: true})
	after := status(t, b, false)
	if after.Digest != before.Digest || after.Entries != before.Entries || after.Node != before.Node || after.Space != before.Space {
		t.Errorf("restored %+v, want %+v", after, before)
	}
	mustVerify(t, b)
	if missing := notInLog(t, b, written); len(missing) > 0 {
		t.Errorf("%d entries of the history are not there", len(missing))
	}
	if _, err := b.Log(t.Context(), "", a.Cursor(), 0); !errors.Is(err, ErrCursor) {
		t.Errorf("a cursor of the old repo: %v", err)
	}
	if _, err := b.Put(t.Context(), "new", "value"); err != nil {
		t.Fatal(err)
	}
	if s := status(t, b, false); s.Lanes != before.Lanes+1 {
		t.Errorf("%d lanes after a write, there were %d: it went on with a lane of the backup", s.Lanes, before.Lanes)
	}
}

// A backup is of one moment, however much is written meanwhile.
func TestBackupIsOfOneMoment(t *testing.T) {
	a := open(t, Options{Dir: t.TempDir(), Create: true, Offline: true})
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := a.Put(t.Context(), fmt.Sprintf("w%d/%d", w, i%20), int64(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var texts [][]byte
	for range 5 {
		eventually(t, 10*time.Second, "more writes", func() bool {
			return status(t, a, false).Entries > uint64(100*len(texts)+100)
		})
		texts = append(texts, backUp(t, a, BackupOptions{}))
	}
	close(stop)
	writers.Wait()
	for _, text := range texts {
		dir, _ := restore(t, text, RestoreOptions{})
		b := open(t, Options{Dir: dir, Offline: true})
		mustVerify(t, b)
		mustClose(t, b)
	}
}

// A node whose repo is lost comes back from a backup that lacks its last
// entries. A peer has those; nothing is lost, and no lane forks, also where the
// restored node writes before it meets anybody.
func TestRestoredNodeCatchesUp(t *testing.T) {
	dirA := filepath.Join(t.TempDir(), "a")
	a := open(t, Options{Dir: dirA, Create: true})
	b := join(t, Options{}, a)
	written := make(map[clock.Dot]bool)
	edit(t, a, "a", 60, written)
	edit(t, b, "b", 60, written)
	settled(t, 10*time.Second, a, b)
	text := backUp(t, a, BackupOptions{})
	edit(t, a, "a after the backup", 60, written)
	settled(t, 10*time.Second, a, b)
	mustClose(t, a)
	if err := os.RemoveAll(dirA); err != nil {
		t.Fatal(err)
	}
	edit(t, b, "b alone", 30, written)

	// In the place of the old one, where even its path is the same.
	if _, err := Restore(t.Context(), dirA, bytes.NewReader(text), RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	off := open(t, Options{Dir: dirA, Offline: true})
	edit(t, off, "restored, offline", 30, written)
	mustClose(t, off)
	a = open(t, Options{Dir: dirA})
	edit(t, a, "restored", 30, written)
	settled(t, 10*time.Second, a, b)
	for _, n := range []*Node{a, b} {
		if missing := notInLog(t, n, written); len(missing) > 0 {
			t.Errorf("%d edits are lost, such as %v", len(missing), missing[0])
		}
		mustVerify(t, n)
	}
	mustNotFork(t, a, b)
}

// A backup restored under a new identity runs beside the node that it is of.
func TestRestoreBesideTheOriginal(t *testing.T) {
	a := open(t, Options{Dir: t.TempDir(), Create: true})
	written := make(map[clock.Dot]bool)
	edit(t, a, "a", 40, written)
	for name, o := range map[string]struct {
		BackupOptions
		RestoreOptions
	}{
		"new identity":     {RestoreOptions: RestoreOptions{NewIdentity: true}},
		"without identity": {BackupOptions: BackupOptions{WithoutIdentity: true}},
	} {
		text := backUp(t, a, o.BackupOptions)
		edit(t, a, "a goes on", 40, written)
		dir, rep := restore(t, text, o.RestoreOptions)
		c := open(t, Options{Dir: dir})
		if !rep.NewIdentity || c.ID() == a.ID() || rep.Node != c.ID() {
			t.Errorf("%s: %+v", name, rep)
		}
		edit(t, c, "beside", 40, written)
		settled(t, 10*time.Second, a, c)
		if missing := notInLog(t, c, written); len(missing) > 0 {
			t.Errorf("%s: %d edits are not there", name, len(missing))
		}
		mustNotFork(t, a, c)
		mustClose(t, c)
	}
	if bytes.Contains(backUp(t, a, BackupOptions{WithoutIdentity: true}), a.repo.key.Seed()) {
		t.Error("the identity is in a backup without it")
	}
}

// What cannot be restored leaves no repo, and nothing that a second try trips
// over.
func TestRestoreRefuses(t *testing.T) {
	a := open(t, Options{Dir: t.TempDir(), Create: true, Offline: true})
	edit(t, a, "a", 50, make(map[clock.Dot]bool))
	text := backUp(t, a, BackupOptions{})
	flipped := bytes.Clone(text)
	flipped[len(text)/2] ^= 8
	newer := bytes.Clone(text)
	newer[len("rhizome backup\n")+1]++
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := filepath.Join(t.TempDir(), "repo")
	for name, c := range map[string]struct {
		ctx  context.Context
		text []byte
		want error
	}{
		"nothing":     {t.Context(), nil, ErrNotBackup},
		"other":       {t.Context(), []byte("{\"format\": 1, \"genesis\": \"\"}\n"), ErrNotBackup},
		"cut":         {t.Context(), text[:len(text)-1], ErrBackupCorrupt},
		"flipped":     {t.Context(), flipped, ErrBackupCorrupt},
		"newer":       {t.Context(), newer, ErrBackupVersion},
		"interrupted": {ctx, text, context.Canceled},
	} {
		if _, err := Restore(c.ctx, dir, bytes.NewReader(c.text), RestoreOptions{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := Open(t.Context(), Options{Dir: dir, Offline: true}); !errors.Is(err, ErrNoRepo) {
			t.Errorf("%s: it left a repo: %v", name, err)
		}
		for _, left := range []string{dataDir, restoringDir} {
			if _, err := os.Stat(filepath.Join(dir, left)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: it left %s: %v", name, left, err)
			}
		}
	}
	// Somebody's data is not ours to remove.
	if err := os.MkdirAll(filepath.Join(dir, dataDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), dir, bytes.NewReader(text), RestoreOptions{}); !errors.Is(err, ErrOccupied) {
		t.Errorf("over somebody's data: %v", err)
	}
	// That of a restore that crashed is.
	if err := os.Mkdir(filepath.Join(dir, restoringDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), dir, bytes.NewReader(text), RestoreOptions{}); err != nil {
		t.Errorf("after a crash: %v", err)
	}
	if _, err := Restore(t.Context(), dir, bytes.NewReader(text), RestoreOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("over a repo: %v", err)
	}
	b := open(t, Options{Dir: dir, Offline: true})
	mustVerify(t, b)
}

// A restore that crashes anywhere leaves no repo, or the whole one; another one
// then makes it.
func TestRestoreCrash(t *testing.T) {
	a := open(t, Options{Dir: t.TempDir(), Create: true, Offline: true})
	edit(t, a, "a", 50, make(map[clock.Dot]bool))
	text := backUp(t, a, BackupOptions{})
	whole, _ := restore(t, text, RestoreOptions{})
	// What there may be on the disk, in the order in which it comes about.
	for i, leave := range [][]string{
		{restoringDir},
		{restoringDir, dataDir},
		{restoringDir, dataDir, identityFile},
		{restoringDir, dataDir, identityFile, networkFile, peersFile},
	} {
		dir := copyDir(t, whole)
		for _, name := range []string{dataDir, identityFile, networkFile, peersFile, repoFile} {
			if !slices.Contains(leave, name) {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.MkdirAll(filepath.Join(dir, restoringDir, dataDir), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Options{Dir: dir, Offline: true}); !errors.Is(err, ErrNoRepo) {
			t.Errorf("crash %d: %v", i, err)
		}
		again := copyDir(t, dir)
		if _, err := Restore(t.Context(), dir, bytes.NewReader(text), RestoreOptions{}); err != nil {
			t.Errorf("crash %d: %v", i, err)
			continue
		}
		b := open(t, Options{Dir: dir, Offline: true})
		mustVerify(t, b)
		mustClose(t, b)
		// A new repo may be made there as well.
		c := open(t, Options{Dir: again, Create: true, Offline: true})
		if s := status(t, c, false); s.Entries != 0 {
			t.Errorf("crash %d: a new repo holds %d entries", i, s.Entries)
		}
		mustClose(t, c)
	}
}

// A backup that cannot be written says so.
func TestBackupFails(t *testing.T) {
	a := open(t, Options{Dir: t.TempDir(), Create: true, Offline: true})
	edit(t, a, "a", 300, make(map[clock.Dot]bool))
	r, w := io.Pipe()
	full := errors.New("full")
	_ = r.CloseWithError(full)
	if _, err := a.Backup(t.Context(), w, BackupOptions{}); !errors.Is(err, full) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Backup(ctx, io.Discard, BackupOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
