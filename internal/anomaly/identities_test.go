package anomaly

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome"
)

// identities are the anomalies of nodes that are not one.
func identities() []anomaly {
	return []anomaly{
		{
			name:  "A copied repository",
			meets: "The directory of a node is copied and both run. They number their writes alike, and others take the writes of the one for those of the other.",
			elsewhere: []source{
				{"cr-sqlite", "A database file that is copied keeps its site id; a new one has to be written into it by hand.", "https://github.com/vlcn-io/cr-sqlite/issues/145"},
				{"Yrs", "Two documents with one client id were not told apart, when somebody asked in 2023; Yjs takes another id when it meets its own.", "https://github.com/y-crdt/y-crdt/issues/361"},
			},
			verdict: no,
			here:    "The copy opens a lane of its own with its first write, and nothing of either is lost. They share an identity, of which both are told when they meet (alarm `twin`); `rhizome id rotate` ends that.",
			how:     "A lane is gone on with only by the repo that closed it cleanly, which a marker proves by the file that it is; a copy of the marker is not it.",
			fails:   "`takeMarker` takes the marker for proof wherever it lies.",
			test:    copiedRepo,
		},
		{
			name:  "Two writers under one name",
			meets: "In spite of all, two nodes do go on under one name: a disk was cloned with all that marks it. Other nodes hold the write of the one or of the other under the same number, and never become equal.",
			elsewhere: []source{
				{"Riak", "A version vector whose actor reuses a number loses new data, since older data seems to be of a later time.", "https://github.com/basho/riak_kv/pull/1094"},
			},
			verdict: shown,
			here:    "The fork is found as soon as the branches meet, proved, and the lane closed on every node. The writers write again, in lanes of their own, what they had alive. All become equal; each side's values, and all that was counted, are there; the alarm `fork` says so.",
			how:     "Entries are signed and linked by hashes. See [ADR 0009](adr/0009-forks.md), also for the trust that it asks for.",
			fails:   "`Replica.closeLane` does not write again what the lane had alive.",
			test:    forkedLane,
		},
		{
			name:  "A restored backup",
			meets: "A node is restored from a backup and goes on with numbers that it has used before. Its new writes are taken for old ones and vanish.",
			elsewhere: []source{
				{"Riak", "A replica that lost data, by corruption or a restore, issued version numbers anew: such writes lost against the old ones and were repaired out of existence.", "https://github.com/basho/riak_kv/issues/679"},
				{"Corrosion", "A backup has to be cleaned of what is its node's own before another one restores it.", "https://github.com/superfly/corrosion/pull/15"},
			},
			verdict: no,
			here:    "What the node writes after the restore is there on every node, beside what it wrote after the backup; that comes back to it from its peers.",
			how:     "A restored repo goes on with no lane of the backup: its first write opens a new one.",
			fails:   "a replica that has no marker goes on with the last lane that it finds.",
			test:    restoredBackup,
		},
	}
}

// waitMillis is how long whole nodes on loopback may need; what they do takes a
// fraction of it.
const waitMillis = 60_000

// loopback is where whole nodes listen.
var loopback = []string{"/ip4/127.0.0.1/tcp/0"}

func openNode(t *testing.T, o rhizome.Options) *rhizome.Node {
	t.Helper()
	n, err := rhizome.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() }) // closed before, mostly
	return n
}

func closeNode(t *testing.T, n *rhizome.Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// joined opens a new node in dir that joins another.
func joined(t *testing.T, dir string, to *rhizome.Node) *rhizome.Node {
	t.Helper()
	invite, err := to.Invite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return openNode(t, rhizome.Options{Dir: dir, Create: true, Join: invite, Listen: loopback})
}

func putNode(t *testing.T, n *rhizome.Node, entity string, x any) {
	t.Helper()
	if _, err := n.Put(t.Context(), entity, x); err != nil {
		t.Fatal(err)
	}
}

func statusOf(t *testing.T, n *rhizome.Node) rhizome.Status {
	t.Helper()
	s, err := n.Status(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// until waits for what other goroutines bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	late := time.After(waitMillis * time.Millisecond)
	for !ok() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("not within %d ms: %s", waitMillis, what)
		}
	}
}

// same waits until nodes have one vector and one state.
func same(t *testing.T, nodes ...*rhizome.Node) {
	t.Helper()
	until(t, "all nodes are equal", func() bool {
		first := statusOf(t, nodes[0])
		return !slices.ContainsFunc(nodes, func(n *rhizome.Node) bool {
			s := statusOf(t, n)
			return s.Digest != first.Digest || s.Frontier != first.Frontier
		})
	})
}

// wantNode holds what a plain read of an entity shows on nodes.
func wantNode(t *testing.T, want any, entity string, nodes ...*rhizome.Node) {
	t.Helper()
	for _, n := range nodes {
		if r, err := n.Get(t.Context(), entity, ""); err != nil || r.Value != want {
			t.Errorf("%s reads %s as %v (%v), want %v", n.ID(), entity, r.Value, err, want)
		}
	}
}

// wantUnforked holds that no lane was closed.
func wantUnforked(t *testing.T, nodes ...*rhizome.Node) {
	t.Helper()
	for _, n := range nodes {
		if s := statusOf(t, n); len(s.Forks) > 0 {
			t.Errorf("%s: lanes have forked: %+v", n.ID(), s.Forks)
		}
	}
}

func copiedRepo(t *testing.T) {
	dir, twin := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	third := openNode(t, rhizome.Options{Dir: t.TempDir(), Create: true, Listen: loopback})
	a := joined(t, dir, third)
	putNode(t, a, "before", int64(1))
	same(t, a, third)
	closeNode(t, a)
	copyDir(t, dir, twin)

	// The copy writes first, so that it has the number that the other would take.
	nodes := []*rhizome.Node{third}
	for i, d := range []string{twin, dir} {
		n := openNode(t, rhizome.Options{Dir: d, Offline: true})
		putNode(t, n, fmt.Sprintf("by/%d", i), int64(i))
		closeNode(t, n)
		nodes = append(nodes, openNode(t, rhizome.Options{Dir: d}))
	}
	same(t, nodes...)
	for i := range 2 {
		wantNode(t, int64(i), fmt.Sprintf("by/%d", i), nodes...)
	}
	wantUnforked(t, nodes...)
	if s := statusOf(t, third); s.Lanes != 2 {
		t.Errorf("%d lanes, want that of the repo and that of the copy", s.Lanes)
	}
}

// copyDir copies a directory as a person would, keeping the modes private.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(to, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(p, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
}

func forkedLane(t *testing.T) {
	w, h := newWorld(t, "a", "third")
	a, third := h[0], h[1]
	a.do(put("k", "/before", "both"), inc("count", "/n", 10))
	b := a.fork("b")
	a.do(put("k", "/a", "of a"), inc("count", "/n", 1))
	b.do(put("k", "/b", "of b"), inc("count", "/n", 5))
	a.do(put("k", "/a2", "of a"))
	b.do(put("k", "/b2", "of b"))
	w.join(a, third)
	w.settle(a, third)
	w.join(third, b)
	w.settle(a, b, third)
	w.want(`{"a":"of a","a2":"of a","b":"of b","b2":"of b","before":"both"}`, "k", "", a, b, third)
	w.want(`{"n":16}`, "count", "", a, b, third)
	for _, h := range []*host{a, b, third} {
		if len(h.r.Log().ClosedLanes()) != 1 || !slices.Contains(h.alarms, "fork") {
			t.Errorf("%s closed %d lanes and raised %q", h.name, len(h.r.Log().ClosedLanes()), h.alarms)
		}
	}
}

func restoredBackup(t *testing.T) {
	ctx := t.Context()
	dir, restored := t.TempDir(), filepath.Join(t.TempDir(), "restored")
	peer := openNode(t, rhizome.Options{Dir: t.TempDir(), Create: true, Listen: loopback})
	a := joined(t, dir, peer)
	putNode(t, a, "k/1", "before the backup")
	var file bytes.Buffer
	if _, err := a.Backup(ctx, &file, rhizome.BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	putNode(t, a, "k/2", "after the backup")
	same(t, a, peer)
	closeNode(t, a)

	if _, err := rhizome.Restore(ctx, restored, &file, rhizome.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	b := openNode(t, rhizome.Options{Dir: restored, Offline: true})
	putNode(t, b, "k/3", "after the restore") // before it has heard of anything
	closeNode(t, b)
	b = openNode(t, rhizome.Options{Dir: restored})
	same(t, b, peer)
	for i, want := range []string{"before the backup", "after the backup", "after the restore"} {
		wantNode(t, want, fmt.Sprintf("k/%d", i+1), b, peer)
	}
	wantUnforked(t, b, peer)
}
