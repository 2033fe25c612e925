package pebblestore

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A fence is the file system that Pebble works on. It stands between Pebble
// and the disk because Pebble cannot be told about a write error without
// harm: one in the log panics in the middle of a commit with its locks held,
// one in the manifest calls Fatalf, one while syncing a directory panics in a
// background goroutine, and one in a flush stalls writers for ever.
//
// So the first write that fails falls the fence: onFail hears of it, and that
// operation and all later ones that would change the disk do nothing and
// report success. Pebble then winds down by itself, without panics or hangs,
// while the store above refuses every call. The disk holds what was written
// before the first error, just as if the machine had stopped there, which is
// the state that Pebble's recovery is made for.
//
// Invariant: down is set before the failed operation returns. Whatever
// Pebble does in the belief that it succeeded therefore comes after, and so
// does the check that Commit.Wait makes.
type fence struct {
	vfs.FS
	down atomic.Bool
	// anew says that a file which is reused is to give back its space.
	anew   atomic.Bool
	onFail func(error)

	// private makes files 0600 and directories 0700, whatever the umask.
	private bool
}

func newFence(fs vfs.FS, onFail func(error)) *fence {
	// Only the operating system's files have modes.
	return &fence{FS: fs, onFail: onFail, private: vfs.Root(fs) == vfs.Default}
}

// do runs one operation that changes the disk, unless the fence is down, and
// hides its error.
func (f *fence) do(what, name string, op func() error) {
	if f.down.Load() {
		return
	}
	if err := op(); err != nil {
		f.fail(what, name, err)
	}
}

func (f *fence) fail(what, name string, err error) {
	// Not the other way round: onFail must not be late for anybody who saw a
	// false success. It may be called more than once.
	f.onFail(fmt.Errorf("%s %s: %w", what, name, err))
	f.down.Store(true)
}

// create runs an operation that makes a file for writing. Behind a fence that
// is down, the file is in memory and nothing is written to it.
func (f *fence) create(what, name string, op func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	f.do(what, name, func() (err error) {
		if file, err = op(); err == nil && f.private {
			err = os.Chmod(name, 0o600)
		}
		return err
	})
	if file == nil {
		var err error
		if file, err = vfs.NewMem().Create("fenced", vfs.WriteCategoryUnspecified); err != nil {
			return nil, err
		}
	}
	fenced := &fencedFile{File: file, fence: f, name: name}
	if isLog(name) {
		return newLogFile(fenced), nil
	}
	return fenced, nil
}

func (f *fence) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f.settle(name)
	return f.create("create", name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

// settle syncs the directory before a marker in it comes or goes. Pebble
// creates a manifest, creates the marker that names it, removes the old
// marker, and syncs the directory once at the end. Where directory entries
// reach the disk in another order, a crash in between leaves a marker of no
// manifest, or no marker, which to Pebble means that there is no database.
func (f *fence) settle(name string) {
	if strings.HasPrefix(f.PathBase(name), "marker.") {
		dir := f.PathDir(name)
		f.do("sync", dir, func() error { return syncDir(f.FS, dir) })
	}
}

func (f *fence) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.create("open", name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

func (f *fence) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create("reuse", newname, func() (vfs.File, error) {
		if f.anew.Load() {
			if err := f.FS.Remove(oldname); err != nil {
				return nil, err
			}
			return f.FS.Create(newname, c)
		}
		return f.FS.ReuseForWrite(oldname, newname, c)
	})
}

func (f *fence) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{File: file, fence: f, name: name}, nil
}

func (f *fence) Link(oldname, newname string) error {
	f.do("link", newname, func() error { return f.FS.Link(oldname, newname) })
	return nil
}

func (f *fence) Rename(oldname, newname string) error {
	f.do("rename", oldname, func() error { return f.FS.Rename(oldname, newname) })
	return nil
}

// Remove and RemoveAll report their errors: a file too many does no harm, and
// Pebble goes on from them.
func (f *fence) Remove(name string) error {
	f.settle(name)
	if f.down.Load() {
		return nil
	}
	return f.FS.Remove(name)
}

func (f *fence) RemoveAll(name string) error {
	if f.down.Load() {
		return nil
	}
	return f.FS.RemoveAll(name)
}

func (f *fence) MkdirAll(dir string, perm os.FileMode) error {
	if f.private {
		perm = 0o700
	}
	f.do("make directory", dir, func() error { return f.FS.MkdirAll(dir, perm) })
	return nil
}

func (f *fence) Lock(name string) (io.Closer, error) {
	l, err := f.FS.Lock(name)
	if err == nil && f.private {
		f.do("chmod", name, func() error { return os.Chmod(name, 0o600) })
	}
	return l, err
}

func (f *fence) Unwrap() vfs.FS { return f.FS }

// A fencedFile is a file open for writing, or a directory open for syncing.
type fencedFile struct {
	vfs.File
	fence *fence
	name  string
}

func (f *fencedFile) Write(p []byte) (int, error) {
	f.fence.do("write", f.name, func() error { return whole(len(p))(f.File.Write(p)) })
	return len(p), nil
}

func (f *fencedFile) WriteAt(p []byte, off int64) (int, error) {
	f.fence.do("write", f.name, func() error { return whole(len(p))(f.File.WriteAt(p, off)) })
	return len(p), nil
}

// whole makes a short write an error.
func whole(want int) func(int, error) error {
	return func(n int, err error) error {
		if err == nil && n < want {
			return io.ErrShortWrite
		}
		return err
	}
}

func (f *fencedFile) Sync() error {
	f.fence.do("sync", f.name, f.File.Sync)
	return nil
}

func (f *fencedFile) SyncData() error {
	f.fence.do("sync", f.name, f.File.SyncData)
	return nil
}

func (f *fencedFile) SyncTo(length int64) (fullSync bool, err error) {
	f.fence.do("sync", f.name, func() (err error) {
		fullSync, err = f.File.SyncTo(length)
		return err
	})
	return fullSync, nil
}

// Preallocate is a hint: without the space, a write will say so.
func (f *fencedFile) Preallocate(offset, length int64) error {
	if !f.fence.down.Load() {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

func (f *fencedFile) Close() error {
	err := f.File.Close() // also behind the fence: it holds a descriptor
	f.fence.do("close", f.name, func() error { return err })
	return nil
}
