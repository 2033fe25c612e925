package synthesize

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// newFileMode is that of an output that was not there, less the umask.
const newFileMode fs.FileMode = 0o644

// Inside reports whether a file that is there or to be written lies in a
// directory or below it, whatever links lead to either.
func Inside(dir, file string) (bool, error) {
	dir, err := realPath(dir)
	if err != nil {
		return false, err
	}
	if file, err = target(file); err != nil {
		return false, err
	}
	if file, err = realPath(filepath.Dir(file)); err != nil {
		return false, err
	}
	rel, err := filepath.Rel(dir, file)
	if err != nil {
		return false, nil // another volume
	}
	return rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)), nil
}

// SameFile reports whether two names lead to one file that is there or to be
// written.
func SameFile(a, b string) (bool, error) {
	var real [2]string
	for i, name := range []string{a, b} {
		name, err := target(name)
		if err != nil {
			return false, err
		}
		dir, err := realPath(filepath.Dir(name))
		if err != nil {
			return false, err
		}
		real[i] = filepath.Join(dir, filepath.Base(name))
	}
	return real[0] == real[1], nil
}

func realPath(name string) (string, error) {
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(name)
}

// target returns the file that a name leads to, or would be.
func target(name string) (string, error) {
	if info, err := os.Lstat(name); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return name, nil // what is not there cannot be a link
	}
	return filepath.EvalSymlinks(name)
}

// WriteFile replaces a file as a whole, or makes it: whoever reads it sees the
// old content or the new one, also after a crash. A file that is there keeps its
// permissions; a link stays, and what it leads to is replaced.
//
// Before the rename an error or a crash leaves the old content, and at most a
// hidden file beside it. Behind it the new content stands; an error then says
// that it may yet be lost with the machine's power.
func WriteFile(name string, data []byte) error {
	name, err := target(name)
	if err != nil {
		return err
	}
	return writeFile(osDisk{}, name, rand.Text(), data)
}

// A disk is what WriteFile needs of a file system.
type disk interface {
	Stat(name string) (fs.FileInfo, error)
	Create(name string, mode fs.FileMode) (file, error)
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(name string) error
}

type file interface {
	io.WriteCloser
	Chmod(mode fs.FileMode) error
	Sync() error
}

func writeFile(d disk, name, random string, data []byte) error {
	mode := newFileMode
	old, err := d.Stat(name)
	switch {
	case err == nil && !old.Mode().IsRegular():
		return fmt.Errorf("write %s: %w", name, ErrNotRegular)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		old = nil
	}

	temp := filepath.Join(filepath.Dir(name), ".synthesize-"+random)
	f, err := d.Create(temp, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && old != nil {
		err = f.Chmod(old.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.Rename(temp, name) // the commit point
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), d.Remove(temp))
	}
	if err := d.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("write %s: it is written, but may be lost with the machine's power: %w", name, err)
	}
	return nil
}

// An osDisk is the file system of the machine.
type osDisk struct{}

func (osDisk) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (osDisk) Create(name string, mode fs.FileMode) (file, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) Remove(name string) error { return os.Remove(name) }

func (osDisk) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
