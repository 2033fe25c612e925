package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/synthesize"
)

// digest is the SHA-256 of the state that the fragments come to.
const digest = "6ef0c5dd39bf1c14c53e1017b4dcc472143a2f6bfce33d30ef04c44567c3e6bb"

// The fragments are what the drop-ins are converted into.
func TestConvert(t *testing.T) {
	want, err := convert(os.DirFS("testdata/dropins"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fragments(t) {
		if string(want[f.Name]) != string(f.Text) {
			t.Errorf("%s is not what its drop-in is converted into", f.Name)
		}
		delete(want, f.Name)
	}
	for name := range want {
		t.Errorf("%s is missing: go run ./examples/synthesize writes it", name)
	}
}

func fragments(t *testing.T) []synthesize.File {
	t.Helper()
	files, err := synthesize.ReadDir("testdata/fragments")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// lastWriteWins takes the newest value.
func lastWriteWins(use string, _ map[string]any) (merge.Resolver, error) {
	return merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
		return merge.Output{Value: in.Values[0]}, nil
	}), nil
}

func fold(t *testing.T, files []synthesize.File, onConflict string) (*synthesize.Result, error) {
	t.Helper()
	policy, err := synthesize.ParsePolicy(onConflict, lastWriteWins)
	if err != nil {
		t.Fatal(err)
	}
	var all []synthesize.Fragment
	for _, f := range files {
		parsed, err := synthesize.Parse(f.Name, f.Text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parsed...)
	}
	return synthesize.Fold(all, &synthesize.Options{Policy: policy})
}

// The same fragments come to one digest in a thousand orders, with files that
// are there again under other names.
func TestShuffles(t *testing.T) {
	files := fragments(t)
	for seed := range 1000 {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		some := slices.Clone(files)
		for range r.IntN(len(files)) {
			f := files[r.IntN(len(files))]
			some = append(some, synthesize.File{Name: fmt.Sprintf("%x%s", r.Uint64(), path.Ext(f.Name)), Text: f.Text})
		}
		r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		result, err := fold(t, some, "last-write-wins")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if sum := sha256.Sum256(result.State); hex.EncodeToString(sum[:]) != digest {
			t.Fatalf("seed %d: the digest is %x, want %s", seed, sum, digest)
		}
		if result.Distinct != len(files) || len(result.Conflicts) != 2 {
			t.Fatalf("seed %d: %d distinct fragments, %d conflicts", seed, result.Distinct, len(result.Conflicts))
		}
	}
}

// What the administrator overrides is a conflict until a rule decides it, and
// the newest is what comes last in the order of names. What two packages agree
// on is none.
func TestOverrides(t *testing.T) {
	_, err := fold(t, fragments(t), "fail")
	var c *synthesize.ConflictError
	if !errors.As(err, &c) {
		t.Fatal(err)
	}
	var got []string
	for _, x := range c.Conflicts {
		got = append(got, x.Path)
	}
	if want := []string{"/sysctl/kernel.perf_event_paranoid/value", "/sysctl/user.max_user_namespaces/value"}; !slices.Equal(got, want) {
		t.Errorf("conflicts at %s, want %s", got, want)
	}
	r, err := fold(t, fragments(t), "last-write-wins")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"user.max_user_namespaces":{"value":28633}`, `"kernel.pid_max":{"value":4194304}`, `"/run/user":{"d":{"group":"root","mode":"0755","user":"root"}}`,
		`"www-data":{"home":"/var/www","id":33,"shell":"/usr/sbin/nologin"}`, `"bonding":{"max_bonds":0}`,
	} {
		if !strings.Contains(string(r.State), want) {
			t.Errorf("no %s in the state", want)
		}
	}
}

// Drop-ins that cannot be converted are refused by name.
func TestConvertRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"p/etc/cron.d/x": "", "p/etc/sysctl.d/x.conf": "a", "p/etc/modprobe.d/x.conf": "options", "p/usr/lib/tmpfiles.d/x.conf": "d",
		"p/usr/lib/tmpfiles.d/y.conf": "d /a\nd /a", "p/usr/lib/sysusers.d/x.conf": "u", "p/etc/logrotate.d/x": "/a {\n", "p/etc/logrotate.d/y": "weekly\n",
	} {
		_, err := convert(fstest.MapFS{name: &fstest.MapFile{Data: []byte(text)}})
		if err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := convert(fstest.MapFS{"p/etc/sysctl.d/x.conf": &fstest.MapFile{}, "p/usr/lib/sysctl.d/x.conf": &fstest.MapFile{}})
	if err == nil || !strings.Contains(err.Error(), "a second drop-in") {
		t.Error(err)
	}
}

// Each kind of drop-in says what its lines say.
func TestKinds(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"p/etc/sysctl.d/10-a.conf", "# c\n; c\n-a.b = x y\nc=07", "[data.sysctl.'a.b']\noptional = true\nvalue = 'x y'\n\n[data.sysctl.c]\nvalue = '07'"},
		{"p/etc/modprobe.d/a.conf", "options a \\\n b=1 c\nblacklist d\nalias e f g", "[data.modprobe.options.a]\nb = 1\nc = ''"},
		{"p/etc/tmpfiles.d/a.conf", "w /a 0644 - x - b c", "argument: b c\n                group: x\n                mode: \"0644\"\nsource: 'p: /etc/tmpfiles.d/a.conf'\ntime: 100"},
		{"p/etc/sysusers.d/a.conf", "m a b\nu c 5 \"d e\" /f", "\"description\": \"d e\""},
		{"p/etc/logrotate.d/a", "/a /b\n/c {\n\trotate 3\n\tpostrotate\n\t\tx \\\n\t\ty\n\tendscript\n}", "/c:\n        postrotate: |\n            x \\\n            y\n        rotate: 3"},
	} {
		out, err := convert(fstest.MapFS{tt.name: &fstest.MapFile{Data: []byte(tt.text)}})
		if err != nil || len(out) != 1 {
			t.Errorf("%s: %v", tt.name, err)
		}
		for name, text := range out {
			if !strings.Contains(string(text), tt.want) {
				t.Errorf("%s:\n%s\nlacks\n%s", name, text, tt.want)
			}
		}
	}
}

// The program writes what convert returns.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	if err := run("testdata/dropins", dir); err != nil {
		t.Fatal(err)
	}
	files, err := synthesize.ReadDir(dir)
	if err != nil || len(files) != len(fragments(t)) {
		t.Errorf("%d files, %v", len(files), err)
	}
	if err := run("testdata/none", dir); err == nil {
		t.Error("drop-ins that are not there")
	}
}
