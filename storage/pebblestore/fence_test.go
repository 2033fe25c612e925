package pebblestore

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rhizome-p2p/rhizome/storage"
)

var errDisk = errors.New("disk error")

// Each operation that changes the disk falls the fence when it fails; then
// all of them succeed and none does anything.
func TestFence(t *testing.T) {
	const c = vfs.WriteCategoryUnspecified
	ops := map[string]func(fs vfs.FS, f, dir vfs.File) error{
		"Create":        func(fs vfs.FS, _, _ vfs.File) error { return second(fs.Create("/new", c)) },
		"OpenReadWrite": func(fs vfs.FS, _, _ vfs.File) error { return second(fs.OpenReadWrite("/new", c)) },
		"ReuseForWrite": func(fs vfs.FS, _, _ vfs.File) error { return second(fs.ReuseForWrite("/old", "/new", c)) },
		"Link":          func(fs vfs.FS, _, _ vfs.File) error { return fs.Link("/old", "/new") },
		"Rename":        func(fs vfs.FS, _, _ vfs.File) error { return fs.Rename("/old", "/new") },
		"MkdirAll":      func(fs vfs.FS, _, _ vfs.File) error { return fs.MkdirAll("/new", 0o755) },
		"Write":         func(_ vfs.FS, f, _ vfs.File) error { return second(f.Write([]byte("data"))) },
		"WriteAt":       func(_ vfs.FS, f, _ vfs.File) error { return second(f.WriteAt([]byte("data"), 0)) },
		"Sync":          func(_ vfs.FS, f, _ vfs.File) error { return f.Sync() },
		"SyncData":      func(_ vfs.FS, f, _ vfs.File) error { return f.SyncData() },
		"SyncTo":        func(_ vfs.FS, f, _ vfs.File) error { return second(f.SyncTo(4)) },
		"SyncDir":       func(_ vfs.FS, _, d vfs.File) error { return d.Sync() },
		"Close":         func(_ vfs.FS, f, _ vfs.File) error { return f.Close() },
	}
	harmless := map[string]func(fs vfs.FS, f, dir vfs.File) error{
		"Remove":      func(fs vfs.FS, _, _ vfs.File) error { return fs.Remove("/old") },
		"RemoveAll":   func(fs vfs.FS, _, _ vfs.File) error { return fs.RemoveAll("/old") },
		"Preallocate": func(_ vfs.FS, f, _ vfs.File) error { return f.Preallocate(0, 4) },
	}
	for name, op := range ops {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			var inject errorfs.Toggle
			inject.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
					return errDisk
				}
				return nil
			})
			var heard error
			fs := newFence(failingFS{errorfs.Wrap(mem, &inject), &inject}, func(err error) { heard = err })
			old, err := fs.OpenReadWrite("/old", c)
			if err != nil {
				t.Fatal(err)
			}
			dir, err := fs.OpenDir("/")
			if err != nil {
				t.Fatal(err)
			}
			inject.On()
			if err := op(fs, old, dir); err != nil {
				t.Errorf("the failed operation says %v", err)
			}
			inject.Off()
			if !errors.Is(heard, errDisk) || !fs.down.Load() {
				t.Errorf("heard of %v", heard)
			}
			before := mem.String()
			for _, all := range []map[string]func(fs vfs.FS, f, dir vfs.File) error{ops, harmless} {
				for name, op := range all {
					if name == "Close" {
						continue
					}
					if err := op(fs, old, dir); err != nil {
						t.Errorf("%s behind the fence: %v", name, err)
					}
				}
			}
			if after := mem.String(); after != before {
				t.Errorf("the disk changed behind the fence:\n%s", after)
			}
		})
	}
	t.Run("harmless", func(t *testing.T) {
		fs := newFence(vfs.NewMem(), func(err error) { t.Errorf("heard of %v", err) })
		f, err := fs.Create("/file", c)
		if err != nil {
			t.Fatal(err)
		}
		if err := fs.Remove("/absent"); err == nil {
			t.Error("the error of Remove is hidden")
		}
		if err := f.Preallocate(0, 1<<20); err != nil {
			t.Error(err)
		}
		if err := errors.Join(f.Close(), fs.RemoveAll("/file")); err != nil {
			t.Error(err)
		}
		if vfs.Root(fs) == fs.FS && fs.private {
			t.Error("a memory file system has no modes")
		}
	})
}

// A failingFS also fails what errorfs lets through: opening for both, writing
// at a place, and the sync of a prefix.
type failingFS struct {
	vfs.FS
	on *errorfs.Toggle
}

func (f failingFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := f.on.MaybeError(errorfs.Op{Kind: errorfs.OpCreate}); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenReadWrite(name, c, opts...)
	return failingFile{file, f.on}, err
}

func (f failingFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return failingFile{file, f.on}, err
}

type failingFile struct {
	vfs.File
	on *errorfs.Toggle
}

func (f failingFile) fail() error { return f.on.MaybeError(errorfs.Op{Kind: errorfs.OpFileWrite}) }

func (f failingFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fail(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f failingFile) Sync() error { return errors.Join(f.fail(), f.File.Sync()) }

func (f failingFile) SyncTo(n int64) (bool, error) { return false, f.fail() }

func (f failingFile) Close() error { return f.fail() }

func second[T any](_ T, err error) error { return err }

// A write that is cut short is a failed write.
func TestShortWrite(t *testing.T) {
	var heard error
	f := newFence(vfs.NewMem(), func(err error) { heard = err })
	file := &fencedFile{File: shortFile{}, fence: f, name: "file"}
	if n, err := file.Write(make([]byte, 4)); n != 4 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if !errors.Is(heard, io.ErrShortWrite) {
		t.Errorf("heard of %v", heard)
	}
}

type shortFile struct{ vfs.File }

func (shortFile) Write(p []byte) (int, error) { return len(p) - 1, nil }

// Pebble's log goes to the logger at its level; Fatalf fails the store and
// returns.
func TestLogger(t *testing.T) {
	var out bytes.Buffer
	handler := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})
	db, err := Open("/store", Options{FS: vfs.NewMem(), Logger: slog.New(handler)})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "level=DEBUG msg=\"pebble: ") {
		t.Errorf("nothing of Pebble's in the log:\n%s", out.String())
	}
	l := logger{db}
	l.Errorf("bad %d", 7)
	l.Fatalf("gone: %w", errDisk)
	for _, want := range []string{`level=ERROR msg="pebble: bad 7"`, `level=ERROR msg="storage failed"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, out.String())
		}
	}
	if _, err := db.Apply(db.NewBatch()); !errors.Is(err, storage.ErrFailed) || !errors.Is(err, errDisk) {
		t.Errorf("apply after Fatalf: %v", err)
	}
	if _, err := db.DiskBytes(); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("disk bytes after Fatalf: %v", err)
	}
	if _, err := all(db.Scan(nil, nil)); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("scan after Fatalf: %v", err)
	}
	if err := db.Close(); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("close after Fatalf: %v", err)
	}
}

func all(seq func(func(storage.KV, error) bool)) (n int, err error) {
	for _, err = range seq {
		n++
	}
	return n, err
}
