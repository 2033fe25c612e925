package rhizome

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/storage"
)

// files returns the files of a store whose names have a part, the largest first.
func files(t testing.TB, dir, part string) (out []string) {
	t.Helper()
	size := int64(-1)
	err := filepath.WalkDir(filepath.Join(dir, dataDir), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(d.Name(), part) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Size() > size {
			size = info.Size()
			out = append([]string{p}, out...)
		} else {
			out = append(out, p)
		}
		return nil
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("no file with %s: %v", part, err)
	}
	return out
}

// flipAt inverts a bit of a file, at so many thousandths of its length.
func flipAt(t testing.TB, path string, thousandths int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)*thousandths/1000] ^= 0x10
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// reopen opens and closes a repo, by which what is in the log goes into tables.
func reopen(t testing.TB, dir string) {
	t.Helper()
	mustClose(t, open(t, Options{Dir: dir, Offline: true}))
}

// snapshot returns what the files of a repo hold, but for those of the store
// that opening it writes.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func digestEqual(t testing.TB, a, b *Node) {
	t.Helper()
	if x, y := digestOf(t, a), digestOf(t, b); x != y {
		t.Errorf("digests %s and %s", x, y)
	}
}

// A repo whose tables are damaged comes back from a peer and from what can be
// read: what it had written and no peer has survives, wherever the damage is.
func TestRepair(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir, Create: true})
	b := join(t, Options{}, a)
	shared, unsent := make(map[clock.Dot]bool), make(map[clock.Dot]bool)
	edit(t, a, "a", 150, shared)
	edit(t, b, "b", 150, shared)
	settled(t, 10*time.Second, a, b)
	id := a.ID()
	mustClose(t, a)
	off := open(t, Options{Dir: dir, Offline: true})
	edit(t, off, "unsent", 150, unsent)
	cursor := off.Cursor()
	mustClose(t, off)
	reopen(t, dir)

	for name, damage := range map[string]func(dir string){
		"rows": func(dir string) { // what sorts behind the entries
			for _, f := range files(t, dir, ".sst") {
				flipAt(t, f, 800)
			}
		},
		"manifest": func(dir string) {
			for _, f := range files(t, dir, "MANIFEST") {
				if err := os.WriteFile(f, []byte(strings.Repeat("x", 500)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			broken := copyDir(t, dir)
			damage(broken)
			rep, err := Repair(t.Context(), RepairOptions{Dir: broken, Timeout: 20 * time.Second})
			if err != nil {
				t.Fatalf("%v\n%+v", err, rep)
			}
			t.Logf("%+v", rep)
			if rep.Healthy || len(rep.Problems) == 0 || len(rep.Lost) > 0 || rep.Peers != 1 || rep.Digest == "" {
				t.Errorf("report %+v", rep)
			}
			if _, err := os.Stat(rep.Aside); err != nil {
				t.Errorf("the damaged data: %v", err)
			}
			for _, left := range []string{repairingDir, repairFile} {
				if _, err := os.Stat(filepath.Join(broken, left)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is left: %v", left, err)
				}
			}
			c := open(t, Options{Dir: broken})
			settled(t, 10*time.Second, c, b)
			mustVerify(t, c)
			digestEqual(t, c, b)
			for what, txns := range map[string]map[clock.Dot]bool{"shared": shared, "unsent": unsent} {
				for _, n := range []*Node{b, c} {
					if missing := notInLog(t, n, txns); len(missing) > 0 {
						t.Errorf("%d %s edits are lost", len(missing), what)
					}
				}
			}
			if c.ID() != id {
				t.Errorf("it is %s now, it was %s", c.ID(), id)
			}
			if _, err := c.Log(t.Context(), "", cursor, 0); !errors.Is(err, ErrCursor) {
				t.Errorf("a cursor of before: %v", err)
			}
			edit(t, c, "after", 10, shared)
			settled(t, 10*time.Second, c, b)
			mustNotFork(t, b, c)
			mustClose(t, c)
		})
	}
}

// Where entries themselves are damaged, those before are saved and the others
// are named; the repo is whole either way.
func TestRepairLosesNoMoreThanIsUnreadable(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir, Create: true})
	b := join(t, Options{}, a)
	settled(t, 10*time.Second, a, b)
	mustClose(t, a)
	off := open(t, Options{Dir: dir, Offline: true})
	unsent := make(map[clock.Dot]bool)
	edit(t, off, "unsent", 400, unsent)
	for _, v := range []string{"first", "last"} {
		if _, err := off.Put(t.Context(), "end", v); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, off)
	reopen(t, dir)
	flipAt(t, files(t, dir, ".sst")[0], 400) // entries are the larger part
	rep, err := Repair(t.Context(), RepairOptions{Dir: dir, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Lost) != 1 || !rep.Lost[0].Own || len(rep.Unreadable) == 0 {
		t.Fatalf("report %+v", rep)
	}
	l := rep.Lost[0]
	if rep.ReturnedOwn != l.From-1 || rep.Salvaged != rep.ReturnedOwn+l.Readable || l.Readable == 0 || l.To-l.From+1-l.Readable > 30 {
		t.Errorf("report %+v", rep)
	}
	c := open(t, Options{Dir: dir})
	settled(t, 10*time.Second, c, b)
	mustVerify(t, c)
	if missing := notInLog(t, b, unsent); uint64(len(missing))+2 != l.To-l.From+1 {
		t.Errorf("%d edits are lost, the report says %d", len(missing)+2, l.To-l.From+1)
	}
	// What came after the gap is there all the same, and what it overwrote is not.
	if r, err := b.Get(t.Context(), "end", ""); err != nil || r.Value != "last" || len(r.Survivors) != 1 || l.Rewritten != l.Readable {
		t.Errorf("behind the gap: %+v %v, report %+v", r.Value, err, rep)
	}
	edit(t, c, "after", 10, unsent)
	settled(t, 10*time.Second, c, b)
	mustNotFork(t, b, c)
}

// Wherever a table is damaged: what the report says is lost is lost, what it
// does not say is there, and the repo is whole.
func TestRepairAnywhere(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	a := open(t, Options{Dir: dirA, Create: true})
	b := join(t, Options{Dir: dirB}, a)
	shared, unsent := make(map[clock.Dot]bool), make(map[clock.Dot]bool)
	edit(t, a, "a", 60, shared)
	settled(t, 10*time.Second, a, b)
	mustClose(t, b)
	mustClose(t, a)
	off := open(t, Options{Dir: dirA, Offline: true})
	edit(t, off, "unsent", 60, unsent)
	mustClose(t, off)
	reopen(t, dirA)
	for at := 40; at < 1000; at += 120 {
		peer := open(t, Options{Dir: copyDir(t, dirB)})
		broken := copyDir(t, dirA)
		for _, f := range files(t, broken, ".sst") {
			flipAt(t, f, at)
		}
		rep, err := Repair(t.Context(), RepairOptions{Dir: broken, Timeout: 20 * time.Second, Force: true, Bootstrap: peer.Addrs()})
		if err != nil {
			t.Fatalf("at %d: %v", at, err)
		}
		lost := uint64(0)
		for _, l := range rep.Lost {
			lost += l.To - l.From + 1
		}
		c := open(t, Options{Dir: broken, Offline: true})
		mustVerify(t, c)
		if lost == 0 {
			digestEqual(t, c, peer)
		}
		if missing := notInLog(t, peer, unsent); uint64(len(missing)) != lost {
			t.Errorf("at %d: %d edits are lost, the report says %d: %+v", at, len(missing), lost, rep)
		}
		if missing := notInLog(t, c, shared); len(missing) > 0 {
			t.Errorf("at %d: %d edits that the peer has are lost", at, len(missing))
		}
		t.Logf("at %d: %d problems, %d entries read, %d returned, %d lost", at, len(rep.Problems), rep.Salvaged, rep.Returned, lost)
		mustClose(t, c)
		mustClose(t, peer)
	}
}

// Without a peer nothing changes; so it is where the repair is ended.
func TestRepairWithoutPeers(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir, Create: true})
	edit(t, a, "a", 100, make(map[clock.Dot]bool))
	if _, err := Repair(t.Context(), RepairOptions{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("while a node runs: %v", err)
	}
	mustClose(t, a)
	reopen(t, dir)
	rep, err := Repair(t.Context(), RepairOptions{Dir: dir})
	if err != nil || !rep.Healthy {
		t.Errorf("of a repo that is whole: %+v %v", rep, err)
	}
	for _, f := range files(t, dir, "MANIFEST") {
		if err := os.WriteFile(f, []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(t.Context(), Options{Dir: dir, Offline: true}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("it opens: %v", err)
	}
	before := snapshot(t, dir)
	if _, err := Repair(t.Context(), RepairOptions{Dir: dir, Timeout: 300 * time.Millisecond}); !errors.Is(err, ErrNoPeers) {
		t.Errorf("without peers: %v", err)
	}
	after := snapshot(t, dir)
	delete(before, peersFile)
	delete(after, peersFile) // the ports that it listened on
	for name, text := range before {
		if after[name] != text {
			t.Errorf("%s has changed", name)
		}
		delete(after, name)
	}
	for name := range after {
		t.Errorf("%s is new", name)
	}
}

// A repair that crashes before its commit point has changed nothing, and one
// that crashes behind it is finished by whoever opens the repo next.
func TestRepairCrash(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir, Create: true, Offline: true})
	edit(t, a, "old", 20, make(map[clock.Dot]bool))
	old := digestOf(t, a)
	text := backUp(t, a, BackupOptions{})
	edit(t, a, "new", 20, make(map[clock.Dot]bool))
	cursor, fresh := a.Cursor(), digestOf(t, a)
	mustClose(t, a)
	oldDir, _ := restore(t, text, RestoreOptions{})
	// dir is the damaged one here, and the restored one what was rebuilt.
	stage := func(t *testing.T) string {
		c := copyDir(t, dir)
		if err := os.CopyFS(filepath.Join(c, repairingDir, dataDir), os.DirFS(filepath.Join(oldDir, dataDir))); err != nil {
			t.Fatal(err)
		}
		return c
	}
	journalled := func(t *testing.T) string {
		c := stage(t)
		b, err := json.Marshal(journal{asidePrefix + "x"})
		if err == nil {
			err = os.WriteFile(filepath.Join(c, repairFile), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rename := func(t *testing.T, c string, from, to []string) {
		if err := os.Rename(filepath.Join(append([]string{c}, from...)...), filepath.Join(append([]string{c}, to...)...)); err != nil {
			t.Fatal(err)
		}
	}
	for name, make := range map[string]func(t *testing.T) (dir, want string){
		"before": func(t *testing.T) (string, string) { return stage(t), fresh },
		"at":     func(t *testing.T) (string, string) { return journalled(t), old },
		"one name": func(t *testing.T) (string, string) {
			c := journalled(t)
			rename(t, c, []string{dataDir}, []string{asidePrefix + "x"})
			return c, old
		},
		"both names": func(t *testing.T) (string, string) {
			c := journalled(t)
			rename(t, c, []string{dataDir}, []string{asidePrefix + "x"})
			rename(t, c, []string{repairingDir, dataDir}, []string{dataDir})
			return c, old
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, want := make(t)
			n := open(t, Options{Dir: c, Offline: true})
			if got := digestOf(t, n); got != want {
				t.Errorf("digest %s, want %s", got, want)
			}
			_, err := n.Log(t.Context(), "", cursor, 0)
			if errors.Is(err, ErrCursor) != (want == old) {
				t.Errorf("a cursor of before: %v", err)
			}
			if _, err := os.Stat(filepath.Join(c, repairFile)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the journal is left: %v", err)
			}
			if _, err := os.Stat(filepath.Join(c, asidePrefix+"x")); (err == nil) != (want == old) {
				t.Errorf("the damaged data: %v", err)
			}
			mustClose(t, n)
		})
	}
}

// Where the index of references alone is wrong, no peer is needed.
func TestRepairIndex(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir, Create: true, Offline: true})
	for _, e := range []string{"a", "b"} {
		if _, err := a.Put(t.Context(), e, map[string]any{"to": map[string]any{"$ref": "c"}}); err != nil {
			t.Fatal(err)
		}
	}
	w := a.store.NewBatch()
	lo := append(append([]byte{}, spacePrefix...), 'r')
	w.DeleteRange(lo, storage.PrefixEnd(lo))
	if err := storage.ApplySync(a.store, w); err != nil {
		t.Fatal(err)
	}
	digest := digestOf(t, a)
	mustClose(t, a)
	rep, err := Repair(t.Context(), RepairOptions{Dir: dir})
	if err != nil || !rep.Reindexed || rep.Healthy || len(rep.Problems) != 1 || rep.Aside != "" {
		t.Errorf("%+v %v", rep, err)
	}
	a = open(t, Options{Dir: dir, Offline: true})
	mustVerify(t, a)
	if digestOf(t, a) != digest {
		t.Error("another digest")
	}
}
