package rhizome

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
)

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(within)
	for !cond() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func join(t testing.TB, o Options, to *Node) *Node {
	t.Helper()
	var err error
	if o.Join, err = to.Invite(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.Create = true
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	return open(t, o)
}

func mustClose(t testing.TB, n *Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// settled waits until all nodes are connected, converged and equal.
func settled(t testing.TB, within time.Duration, nodes ...*Node) {
	t.Helper()
	eventually(t, within, "equal digests on all nodes", func() bool {
		for _, n := range nodes {
			s := status(t, n, true)
			if !s.Converged || s.Digest != digestOf(t, nodes[0]) {
				return false
			}
		}
		return true
	})
}

// What two nodes wrote while the other was away is there on both within five
// seconds of their meeting: nothing is lost, and what is concurrent shows.
func TestEditedApart(t *testing.T) {
	ctx := t.Context()
	dirs := [2]string{t.TempDir(), t.TempDir()}
	a := open(t, Options{Dir: dirs[0], Create: true})
	b := join(t, Options{Dir: dirs[1]}, a)
	for i := range 100 {
		if _, err := a.Put(ctx, fmt.Sprintf("shared/%d", i), int64(-1)); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, 10*time.Second, a, b)
	mustClose(t, a)
	mustClose(t, b)

	const edits = 1000
	written := make(map[clock.Dot]bool)
	for side := range 2 {
		n := open(t, Options{Dir: dirs[side]})
		r := mathrand.New(mathrand.NewPCG(uint64(side), 7))
		for i := range edits {
			op := Op{Kind: OpPut, Entity: fmt.Sprintf("shared/%d", r.IntN(100)), Value: fmt.Sprintf("side %d edit %d", side, i)}
			if i%10 == 9 {
				op.Kind = OpRm
			}
			rec, err := n.Commit(ctx, "", []Op{op})
			if err != nil {
				t.Fatal(err)
			}
			if rec.Deltas > 0 {
				written[rec.Txn] = true
			}
		}
		mustClose(t, n)
	}

	a, b = open(t, Options{Dir: dirs[0]}), open(t, Options{Dir: dirs[1]})
	eventually(t, 5*time.Second, "sessions stand", func() bool {
		s := status(t, a, false)
		return slices.ContainsFunc(s.Peers, func(p PeerStatus) bool { return p.Connected })
	})
	settled(t, 5*time.Second, a, b)

	conflicts := 0
	for r, err := range a.Export(ctx, "shared/") {
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Survivors) > 1 {
			conflicts++
		}
	}
	if conflicts == 0 {
		t.Error("no concurrent values are visible")
	}
	for _, n := range []*Node{a, b} {
		if missing := notInLog(t, n, written); len(missing) > 0 {
			t.Errorf("%d edits are not in the log, such as %v", len(missing), missing[0])
		}
	}
}

// notInLog returns the transactions that a node's log lacks.
func notInLog(t testing.TB, n *Node, txns map[clock.Dot]bool) (missing []clock.Dot) {
	t.Helper()
	seen := make(map[clock.Dot]bool)
	for since := "0"; ; {
		entries, err := n.Log(t.Context(), "", since, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			for _, c := range e.Txns {
				seen[c.Txn] = true
			}
			since = e.Cursor
		}
	}
	for d := range txns {
		if !seen[d] {
			missing = append(missing, d)
		}
	}
	return missing
}

// A host that joins through the second also reaches the first.
func TestThirdJoinsThroughSecond(t *testing.T) {
	a := open(t, Options{Dir: t.TempDir(), Create: true})
	b := join(t, Options{}, a)
	if _, err := a.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	settled(t, 10*time.Second, a, b)
	inv, err := parseInvite(must(b.Invite(t.Context())))
	if err != nil {
		t.Fatal(err)
	}
	if inv.addrs = b.Addrs(); slices.ContainsFunc(inv.addrs, func(s string) bool { return strings.Contains(s, a.ID()) }) {
		t.Fatal("the invite already names the first host")
	}
	c := join(t, Options{}, b)
	eventually(t, 10*time.Second, "third and first connected", func() bool {
		s := status(t, c, false)
		return slices.ContainsFunc(s.Peers, func(p PeerStatus) bool { return p.ID == a.ID() && p.Connected })
	})
	settled(t, 10*time.Second, a, b, c)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// copyDir copies a repo as a person would.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	// CopyFS widens the modes; a repo's are private.
	if err := filepath.WalkDir(to, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(p, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	return to
}

func hasAlarm(t testing.TB, n *Node, kind string) bool {
	t.Helper()
	return slices.ContainsFunc(status(t, n, false).Alarms, func(a Alarm) bool { return a.Kind == kind })
}

// A copied repo beside its original opens a lane of its own, so that nothing
// forks, and both are told that they share an identity.
func TestCopiedRepo(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	third := open(t, Options{Dir: t.TempDir(), Create: true})
	a := join(t, Options{Dir: dir}, third)
	if _, err := a.Put(ctx, "k", "before"); err != nil {
		t.Fatal(err)
	}
	settled(t, 10*time.Second, a, third)
	mustClose(t, a)
	dup := copyDir(t, dir)

	a, b := open(t, Options{Dir: dir}), open(t, Options{Dir: dup})
	if a.ID() != b.ID() {
		t.Fatal("the copy has another identity")
	}
	for i, n := range []*Node{a, b} {
		if _, err := n.Put(ctx, fmt.Sprintf("by/%d", i), int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 60*time.Second, "both are told", func() bool { return hasAlarm(t, a, "twin") && hasAlarm(t, b, "twin") })
	eventually(t, 20*time.Second, "all have all", func() bool {
		return digestOf(t, a) == digestOf(t, third) && digestOf(t, b) == digestOf(t, third)
	})
	if s := status(t, third, false); len(s.Forks) > 0 || s.Lanes != 2 {
		t.Errorf("%d forks, %d lanes; want none and 2", len(s.Forks), s.Lanes)
	}
	mustClose(t, b)
	id, err := RotateID(dup)
	if err != nil || id == a.ID() {
		t.Errorf("rotate: %q, %v", id, err)
	}
}

// With the marker bypassed, two copies write to one lane. The fork is found and
// proved, the lane closed everywhere, all converge, and each owner finds its
// own edits in the state.
func TestForkedLane(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	third := open(t, Options{Dir: t.TempDir(), Create: true})
	a := join(t, Options{Dir: dir}, third)
	for i := range 20 {
		if _, err := a.Commit(ctx, "", []Op{
			{Kind: OpPut, Entity: fmt.Sprintf("k/%d", i), Value: "before"},
			{Kind: OpInc, Entity: "count", N: 1},
		}); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, 10*time.Second, a, third)
	resume := a.core.Resumable()
	mustClose(t, a)
	dup := copyDir(t, dir)

	sides := [2]string{dir, dup}
	for i, d := range sides {
		n := open(t, Options{Dir: d, Offline: true, resume: resume})
		for j := range 10 {
			if _, err := n.Commit(ctx, "", []Op{
				{Kind: OpPut, Entity: fmt.Sprintf("k/%d", j+5*i), Value: fmt.Sprintf("side %d", i)},
				{Kind: OpInc, Entity: "count", N: int64(i + 1)},
			}); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, n)
	}
	a = open(t, Options{Dir: dir})
	b := open(t, Options{Dir: dup})
	nodes := []*Node{a, b, third}
	eventually(t, 60*time.Second, "the lane is closed and all are equal", func() bool {
		for _, n := range nodes {
			s := status(t, n, false)
			if len(s.Forks) != 1 || s.Digest != digestOf(t, third) || s.Frontier != status(t, third, false).Frontier {
				return false
			}
		}
		r, err := third.Get(ctx, "count", "")
		return err == nil && r.Value == int64(20+10+20)
	})
	for i := range sides {
		for j := range 10 {
			r, err := third.Get(ctx, fmt.Sprintf("k/%d", j+5*i), "")
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("side %d", i)
			if !slices.ContainsFunc(r.Survivors, func(s Survivor) bool { v, _ := s.Value.Text(); return v == want }) {
				t.Errorf("%s: %q is lost: %+v", r.Entity, want, r.Survivors)
			}
		}
	}
}

// Errors of Open say what is wrong, and match.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	if _, err := Open(ctx, Options{Dir: dir}); !errors.Is(err, ErrNoRepo) {
		t.Errorf("no repo: %v", err)
	}
	n := open(t, Options{Dir: dir, Create: true, Offline: true})
	if _, err := Open(ctx, Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("locked: %v", err)
	}
	if err := Init(dir, ""); !errors.Is(err, ErrLocked) && !errors.Is(err, ErrExists) {
		t.Errorf("init: %v", err)
	}
	mustClose(t, n)
	other := open(t, Options{Dir: t.TempDir(), Create: true, Offline: true, SpaceName: "other"})
	inv := must(other.Invite(ctx))
	if _, err := Open(ctx, Options{Dir: dir, Join: inv}); !errors.Is(err, ErrOtherSpace) {
		t.Errorf("other space: %v", err)
	}
	if _, err := Open(ctx, Options{Dir: dir, Join: inv[:len(inv)-3]}); !errors.Is(err, ErrInvite) {
		t.Errorf("cut invite: %v", err)
	}
	path := filepath.Join(dir, repoFile)
	text := strings.Replace(string(must(os.ReadFile(path))), `"format":1`, `"format":99`, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, Options{Dir: dir}); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("newer format: %v", err)
	}
}

// Files are private to their owner, whatever the umask.
func TestPrivateFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	n := open(t, Options{Dir: dir, Create: true})
	if _, err := n.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	mustClose(t, n)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A clean close lets the next process go on with the lane; anything else opens
// a new one.
func TestCleanCloseMarker(t *testing.T) {
	dir := t.TempDir()
	lanes := func(want int, how string) {
		t.Helper()
		n := open(t, Options{Dir: dir, Create: true, Offline: true})
		if _, err := n.Put(t.Context(), "k", how); err != nil {
			t.Fatal(err)
		}
		if got := status(t, n, false).Lanes; got != want {
			t.Errorf("%s: %d lanes, want %d", how, got, want)
		}
		mustClose(t, n)
	}
	lanes(1, "first")
	lanes(1, "after a clean close")
	marker := filepath.Join(dir, cleanFile)
	text := must(os.ReadFile(marker))
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	lanes(2, "without a marker")
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(marker, text, 0o600); err != nil {
		t.Fatal(err)
	}
	lanes(3, "with a marker put back")
}
