package synthesize

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// A file is replaced as a whole: it keeps its permissions, a link to it stays,
// and nothing is left beside it.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out.json")
	check := func(want string, mode fs.FileMode) {
		t.Helper()
		text, err := os.ReadFile(name)
		info, _ := os.Stat(name)
		if err != nil || string(text) != want || info.Mode().Perm() != mode {
			t.Errorf("%q with mode %v, %v; want %q with %v", text, info.Mode(), err, want, mode)
		}
	}
	for _, text := range []string{"one", "one", "two"} {
		if err := WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		check(text, 0o644&^umask(t, dir))
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "link.json")
	link(t, "out.json", other)
	if err := WriteFile(other, []byte("three")); err != nil {
		t.Fatal(err)
	}
	check("three", 0o600)
	if info, err := os.Lstat(other); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("%v are left, %v", left, err)
	}
	for _, bad := range []string{dir, filepath.Join(dir, "none", "out.json"), filepath.Join(name, "x")} {
		if err := WriteFile(bad, nil); err == nil {
			t.Errorf("%s was written", bad)
		}
	}
	link(t, "nowhere", filepath.Join(dir, "dangling"))
	if err := WriteFile(filepath.Join(dir, "dangling"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// umask returns what new files lack.
func umask(t *testing.T, dir string) fs.FileMode {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "probe"), os.O_CREATE, 0o777)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		t.Fatal(err)
	}
	return 0o777 &^ info.Mode().Perm()
}

// Inside sees through links, and tells a name apart that only begins alike.
func TestInside(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "in", "sub", "a.json"), "1")
	put(t, filepath.Join(dir, "into", "a.json"), "1")
	link(t, "in", filepath.Join(dir, "alias"))
	link(t, "../in/sub/a.json", filepath.Join(dir, "into", "link.json"))
	for file, want := range map[string]bool{
		"in/out.json": true, "in/sub/out.json": true, "alias/out.json": true, "into/link.json": true, "in/sub/../x": true,
		"out.json": false, "into/out.json": false, "in/../out.json": false, "..x": false,
	} {
		got, err := Inside(filepath.Join(dir, "in"), dir+"/"+file)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", file, got, err)
		}
	}
	for _, names := range [][2]string{{"none", "x"}, {"in", "none/x"}} {
		if _, err := Inside(filepath.Join(dir, names[0]), filepath.Join(dir, names[1])); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v", names, err)
		}
	}
	link(t, "nowhere", filepath.Join(dir, "dangling"))
	if _, err := Inside(filepath.Join(dir, "in"), filepath.Join(dir, "dangling")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Whatever step fails, the old content stands, and nothing is left behind; only
// once the new content has its name can an error leave that.
func TestWriteFaults(t *testing.T) {
	steps := []string{"stat", "create", "write", "chmod", "sync", "close", "rename", "syncdir"}
	for i, fails := range steps {
		for _, there := range []bool{true, false} {
			d := &faultyDisk{files: map[string]string{}, fails: fails}
			if there {
				d.files["dir/out"] = "old"
			}
			err := writeFile(d, "dir/out", "x", []byte("new"))
			if fails == "chmod" && !there {
				if err != nil || d.files["dir/out"] != "new" {
					t.Errorf("a new file is not changed in mode: %v", err)
				}
				continue
			}
			if !errors.Is(err, errBad) {
				t.Errorf("%s: %v", fails, err)
			}
			want := map[bool]string{true: "old"}[there]
			if fails == "syncdir" {
				want = "new"
			}
			if d.files["dir/out"] != want || len(d.files) > 1 {
				t.Errorf("%s fails: %v, want %q", fails, d.files, want)
			}
			if there && !slices.Equal(d.did, steps[:i+1]) && !slices.Equal(d.did, append(slices.Clone(steps[:i+1]), "close")) {
				t.Errorf("%s fails: did %v", fails, d.did)
			}
		}
	}
	d := &faultyDisk{files: map[string]string{"dir/out": "old"}}
	if err := writeFile(d, "dir/out", "x", []byte("new")); err != nil || !slices.Equal(d.did, steps) {
		t.Errorf("without a fault: %v, did %v", err, d.did)
	}
}

// A faultyDisk holds files in memory and fails at one step.
type faultyDisk struct {
	files map[string]string
	fails string
	did   []string
}

func (d *faultyDisk) step(name string) error {
	d.did = append(d.did, name)
	if name == d.fails {
		return errBad
	}
	return nil
}

func (d *faultyDisk) Stat(name string) (fs.FileInfo, error) {
	if err := d.step("stat"); err != nil {
		return nil, err
	}
	if _, ok := d.files[name]; !ok {
		return nil, fs.ErrNotExist
	}
	return fs.Stat(fstest.MapFS{"x": &fstest.MapFile{Mode: 0o600}}, "x")
}

func (d *faultyDisk) Create(name string, mode fs.FileMode) (file, error) {
	if err := d.step("create"); err != nil {
		return nil, err
	}
	if mode != newFileMode || !strings.HasPrefix(filepath.Base(name), ".") || filepath.Dir(name) != "dir" {
		return nil, errors.New("not a hidden file beside the output")
	}
	d.files[name] = ""
	return &faultyFile{d, name}, nil
}

func (d *faultyDisk) Rename(from, to string) error {
	if err := d.step("rename"); err != nil {
		return err
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

func (d *faultyDisk) Remove(name string) error { delete(d.files, name); return nil }

func (d *faultyDisk) SyncDir(string) error { return d.step("syncdir") }

type faultyFile struct {
	d    *faultyDisk
	name string
}

func (f *faultyFile) Write(b []byte) (int, error) {
	err := f.d.step("write")
	if err != nil {
		b = b[:1] // as a full disk does
	}
	f.d.files[f.name] += string(b)
	return len(b), err
}

func (f *faultyFile) Chmod(fs.FileMode) error { return f.d.step("chmod") }
func (f *faultyFile) Sync() error             { return f.d.step("sync") }
func (f *faultyFile) Close() error            { return f.d.step("close") }

// One file has many names: relative, absolute, and by links.
func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for from, to := range map[string]string{"link": "file", "here": "."} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	if same, err := SameFile("x", filepath.Join(dir, "here", "x")); err != nil || !same {
		t.Errorf("a file that is not there: %v %v", same, err)
	}
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"./file": true, filepath.Join(dir, "file"): true, "link": true, "here/link": true, "other": false} {
		if same, err := SameFile("file", name); err != nil || same != want {
			t.Errorf("%s: %v %v", name, same, err)
		}
	}
	if _, err := SameFile("file", "none/x"); err == nil {
		t.Error("a directory that is not there")
	}
}
