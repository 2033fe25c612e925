package datastore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/datastore"
)

// A digest is what the fixture tells of a value.
type digest struct {
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

func digestOf(v []byte) digest {
	sum := sha256.Sum256(v)
	return digest{len(v), hex.EncodeToString(sum[:])}
}

// expected returns what go-ds-crdt showed of the fixture, by namespace and key.
func expected(t *testing.T) map[string]map[string]digest {
	t.Helper()
	text, err := os.ReadFile("testdata/crdt/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var in map[string]map[string]digest
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]map[string]digest)
	for namespace, all := range in {
		out[namespace] = make(map[string]digest)
		for k, v := range all {
			key, err := hex.DecodeString(k)
			if err != nil {
				t.Fatal(err)
			}
			out[namespace][string(key)] = v
		}
	}
	return out
}

// fixture opens a copy of the store that go-ds-crdt has left, and fails the test
// where a file of it is another at the end.
func fixture(t *testing.T) *datastore.PebbleReader {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/crdt/store")); err != nil {
		t.Fatal(err)
	}
	before := filesOf(t, dir)
	p, err := datastore.OpenPebble(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := datastore.OpenPebble(dir); !errors.Is(err, datastore.ErrLocked) {
		t.Errorf("opened twice: %v, want ErrLocked", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if after := filesOf(t, dir); after != before {
			t.Errorf("the directory has become\n%swas\n%s", after, before)
		}
	})
	return p
}

func filesOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(p)
		fmt.Fprintf(&b, "%s %x\n", e.Name(), sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// holds fails the test unless a datastore shows exactly what is expected.
func holds(t *testing.T, d ds.Read, want map[string]digest) {
	t.Helper()
	got, err := rest(t.Context(), d, query.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	for _, e := range got {
		if digestOf(e.Value) != want[e.Key] {
			t.Errorf("%q is %v, want %v", e.Key, digestOf(e.Value), want[e.Key])
		}
	}
}

// What go-ds-crdt v0.6.8 shows of a store that two replicas wrote to at once, an
// import shows too; a second import writes nothing.
func TestImportCRDT(t *testing.T) {
	p := fixture(t)
	for namespace, want := range expected(t) {
		d := newStore(t, openNode(t, rhizome.Options{Offline: true}), namespace, nil)
		for again, written := range []int{len(want), 0} {
			steps := uint64(0)
			r, err := datastore.ImportCRDT(t.Context(), p, ds.NewKey(namespace), d, func(r datastore.ImportReport) { steps = r.Read })
			if err != nil {
				t.Fatal(err)
			}
			if r.Read != uint64(len(want)) || r.Written != uint64(written) || len(r.Refused) > 0 || steps != r.Read {
				t.Errorf("import %d of %s: %+v, told of %d; %d were to be written of %d", again, namespace, r, steps, written, len(want))
			}
			holds(t, d, want)
		}
	}
}

// An import that was interrupted goes on where it was.
func TestImportAgain(t *testing.T) {
	p, want := fixture(t), expected(t)["/app"]
	n := openNode(t, rhizome.Options{Offline: true})
	d := newStore(t, n, "/elsewhere", nil)
	ctx, cancel := context.WithCancel(t.Context())
	first, err := datastore.ImportCRDT(ctx, p, ds.NewKey("/app"), d, func(datastore.ImportReport) { cancel() })
	if !errors.Is(err, context.Canceled) || first.Written == 0 {
		t.Fatalf("%+v, %v: it was to be interrupted", first, err)
	}
	second, err := datastore.ImportCRDT(t.Context(), p, ds.NewKey("/app"), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first.Written+second.Written != uint64(len(want)) {
		t.Errorf("%d and %d keys were written, of %d", first.Written, second.Written, len(want))
	}
	holds(t, d, want)
}

// Keys and values that do not fit are reported, and the rest is in.
func TestImportRefused(t *testing.T) {
	base := ds.NewMapDatastore()
	for k, v := range map[string][]byte{
		"/ns/crdt_version": {2}, "/ns/s/k/a/v": []byte("a"), "/ns/s/k/a/p": {2}, "/ns/s/k/v": []byte("root"),
		"/ns/s/k/large/v": make([]byte, datastore.MaxValueBytes+1), "/ns/s/k/" + strings.Repeat("x", 1100) + "/v": nil,
	} {
		if err := base.Put(t.Context(), ds.RawKey(k), v); err != nil {
			t.Fatal(err)
		}
	}
	d := newStore(t, openNode(t, rhizome.Options{Offline: true}), "/ns", nil)
	r, err := datastore.ImportCRDT(t.Context(), base, ds.NewKey("ns"), d, nil)
	if err != nil || r.Read != 4 || r.Written != 2 || len(r.Refused) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	holds(t, d, map[string]digest{"/a": digestOf([]byte("a")), "/": digestOf([]byte("root"))})
}

// What is no store of go-ds-crdt is refused, with the namespaces in which there
// are some.
func TestNoCRDT(t *testing.T) {
	p := fixture(t)
	var other *datastore.NamespaceError
	_, err := datastore.OpenCRDT(t.Context(), p, ds.NewKey("/"))
	if !errors.As(err, &other) || len(other.Found) != 2 || !strings.Contains(err.Error(), "/app, /other/ns") {
		t.Errorf("%v: want the two namespaces that there are", err)
	}
	base := ds.NewMapDatastore()
	if _, err := datastore.OpenCRDT(t.Context(), base, ds.NewKey("/")); !errors.Is(err, datastore.ErrNoCRDT) {
		t.Errorf("an empty datastore: %v, want ErrNoCRDT", err)
	}
	for version, bad := range map[string][]byte{"format 7": {8}, "no number": {}, "no number of": {0}} {
		if err := base.Put(t.Context(), ds.NewKey("/crdt_version"), bad); err != nil {
			t.Fatal(err)
		}
		if _, err := datastore.OpenCRDT(t.Context(), base, ds.NewKey("/")); err == nil || !strings.Contains(err.Error(), version) {
			t.Errorf("format % x: %v, want %q", bad, err, version)
		}
	}
	for _, dir := range []string{t.TempDir(), "crdt_test.go", "nowhere"} {
		if _, err := datastore.OpenPebble(dir); !errors.Is(err, datastore.ErrNoPebble) {
			t.Errorf("%s: %v, want ErrNoPebble", dir, err)
		}
	}
}

// A store of the first format, which has no number, is read, and one that is
// marked dirty says so.
func TestOldCRDT(t *testing.T) {
	base := ds.NewMapDatastore()
	put := func(k string, v []byte) *datastore.CRDT {
		t.Helper()
		if err := base.Put(t.Context(), ds.NewKey(k), v); err != nil {
			t.Fatal(err)
		}
		c, err := datastore.OpenCRDT(t.Context(), base, ds.NewKey("/ns"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := put("/ns/s/k/a/v", nil); c.Version != 0 || c.Dirty {
		t.Errorf("format %d, dirty %v", c.Version, c.Dirty)
	}
	put("/ns/crdt_version", []byte{2})
	if c := put("/ns/d", nil); c.Version != 1 || !c.Dirty {
		t.Errorf("format %d, dirty %v", c.Version, c.Dirty)
	}
}
