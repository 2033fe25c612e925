package synthesize

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

// A directory gives its files by name, those of directories below it and those
// that links lead to within it, and no hidden ones.
func TestReadDir(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.json": "1", "a/z.yaml": "2", "a.toml": "", ".hidden": "x", ".d/c.json": "3", "a/.x.json": "4", "deep/er/c.yml": "5",
	} {
		put(t, filepath.Join(dir, name), text)
	}
	link(t, "../b.json", filepath.Join(dir, "a", "link.json"))
	link(t, ".d/c.json", filepath.Join(dir, "mounted.json"))
	files, err := ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Name+"="+string(f.Text))
	}
	const want = "a.toml= a/link.json=1 a/z.yaml=2 b.json=1 deep/er/c.yml=5 mounted.json=3"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, " "), want)
	}
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// What is no file of fragments is refused by name, and all of it at once.
func TestReadDirRefuses(t *testing.T) {
	outside := t.TempDir()
	put(t, filepath.Join(outside, "o.json"), "1")
	dir := t.TempDir()
	put(t, filepath.Join(dir, "ok.json"), "1")
	put(t, filepath.Join(dir, "notes.txt"), "1")
	put(t, filepath.Join(dir, "no"), "1")
	put(t, filepath.Join(dir, "sub", "big.json"), strings.Repeat(" ", MaxFileBytes+1))
	link(t, filepath.Join(outside, "o.json"), filepath.Join(dir, "out.json"))
	link(t, "nowhere.json", filepath.Join(dir, "dangling.json"))
	link(t, "sub", filepath.Join(dir, "todir.json"))
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := ReadDir(dir)
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatal(err)
	}
	want := []string{
		"dangling.json: a link that leads nowhere, or out", "no: unknown kind", "notes.txt: unknown kind", "out.json: a link that leads nowhere, or out",
		"pipe.json: no regular file", "sub/big.json: more than", "todir.json: no regular file",
	}
	if len(errs) != len(want) {
		t.Errorf("%d mistakes, want %d:\n%v", len(errs), len(want), err)
	}
	for i := range errs {
		if !strings.HasPrefix(errs[i].Error(), want[i]) {
			t.Errorf("%v, want %s", errs[i], want[i])
		}
	}
}

// Reading fails where the directory cannot be read, or holds too much.
func TestReadDirFails(t *testing.T) {
	if _, err := ReadDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	many := fstest.MapFS{}
	for i := range MaxFiles + 1 {
		many[fmt.Sprintf("%d.json", i)] = &fstest.MapFile{}
	}
	if _, err := readFS(many); err == nil || !strings.Contains(err.Error(), "more than 16384 files") {
		t.Error(err)
	}
	large := fstest.MapFS{}
	for i := range MaxTotalBytes/MaxFileBytes + 2 {
		large[fmt.Sprintf("%d.json", i)] = &fstest.MapFile{Data: make([]byte, MaxFileBytes)}
	}
	if _, err := readFS(large); err == nil || !strings.Contains(err.Error(), "67108864 bytes in all") {
		t.Error(err)
	}
	deep := fstest.MapFS{strings.Repeat("d/", MaxDirDepth+1) + "a.json": &fstest.MapFile{}}
	if _, err := readFS(deep); err == nil || !strings.Contains(err.Error(), "nested deeper than 32") {
		t.Error(err)
	}
	for _, bad := range []string{"stat", "open", "list"} {
		if _, err := readFS(badFS{fstest.MapFS{"d/a.json": &fstest.MapFile{}}, bad}); !errors.Is(err, errBad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// What is no directory is refused at once, whatever it is.
func TestReadDirOfNone(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), "1")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	link(t, "pipe", filepath.Join(dir, "link"))
	for _, name := range []string{"file", "pipe", "link"} {
		if _, err := ReadDir(filepath.Join(dir, name)); !errors.Is(err, ErrNotDir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadDir("/dev/null"); !errors.Is(err, ErrNotDir) {
		t.Error(err)
	}
}

// A pipe that has taken the place of a file after it was looked at is refused,
// and nothing waits for a writer.
func TestReadDirSwapped(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.json"), "1")
	if err := syscall.Mkfifo(filepath.Join(dir, ".pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := openDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	_, err = readFS(swappedFS{rootFS{root}})
	if err == nil || err.Error() != "a.json: "+ErrNotRegular.Error() {
		t.Error(err)
	}
}

// A swappedFS has a pipe where it told of a file.
type swappedFS struct{ rootFS }

func (s swappedFS) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".json") {
		name = ".pipe"
	}
	return s.rootFS.Open(name)
}

// A file is read whole, also by a link; what is no regular one, or is too large,
// is refused at once.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, at("file"), "text")
	put(t, at("full"), strings.Repeat(" ", MaxFileBytes))
	put(t, at("large"), strings.Repeat(" ", MaxFileBytes+1))
	link(t, "file", at("link"))
	link(t, "pipe", at("topipe"))
	if err := syscall.Mkfifo(at("pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"file": 4, "link": 4, "full": MaxFileBytes} {
		if text, err := ReadFile(at(name)); err != nil || len(text) != want {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
	for _, name := range []string{at("pipe"), at("topipe"), dir, "/dev/zero"} {
		if _, err := ReadFile(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadFile(at("large")); err == nil || !strings.Contains(err.Error(), "more than 4194304 bytes") {
		t.Error(err)
	}
	if _, err := ReadFile(at("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

var errBad = errors.New("bad sector")

// A badFS is a file system in which one thing fails.
type badFS struct {
	fstest.MapFS
	fails string
}

func (b badFS) Open(name string) (fs.File, error) {
	if b.fails == "open" && strings.HasSuffix(name, ".json") {
		return nil, errBad
	}
	return b.MapFS.Open(name)
}

func (b badFS) Stat(name string) (fs.FileInfo, error) {
	if b.fails == "stat" {
		return nil, errBad
	}
	return b.MapFS.Stat(name)
}

func (b badFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if b.fails == "list" && name == "d" {
		return nil, errBad
	}
	return b.MapFS.ReadDir(name)
}
