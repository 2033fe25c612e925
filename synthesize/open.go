package synthesize

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

var (
	// ErrNotRegular reports a name that leads to something other than a regular
	// file: a directory, a pipe, a socket or a device.
	ErrNotRegular = errors.New("no regular file, nor a link to one")

	// ErrNotDir reports a name that leads to something other than a directory.
	ErrNotDir = errors.New("no directory, nor a link to one")
)

// openFlags are for what is to be read. Until it is open nobody knows for sure
// what a name leads to, and to open a pipe without O_NONBLOCK waits for
// somebody to write to it.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

// ReadFile reads a regular file of at most MaxFileBytes, and refuses anything
// else at once: it waits for no writer, and reads no device.
func ReadFile(name string) (text []byte, err error) {
	if err := CheckRegular(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, openFlags, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", name, ErrNotRegular)
	}
	if text, err = io.ReadAll(io.LimitReader(f, MaxFileBytes+1)); err != nil {
		return nil, err
	}
	if len(text) > MaxFileBytes {
		return nil, fmt.Errorf("%s: more than %d bytes", name, MaxFileBytes)
	}
	return text, nil
}

// CheckRegular returns an error that matches ErrNotRegular where a name leads to
// something else than a regular file, and one of reading where that cannot be
// told. It opens nothing.
func CheckRegular(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, ErrNotRegular)
	}
	return err
}

// openDir opens a directory of fragments.
func openDir(name string) (*os.Root, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s: %w", name, ErrNotDir)
	}
	// The dot has the system refuse what has taken the directory's place since.
	return os.OpenRoot(name + string(filepath.Separator) + ".")
}

// A rootFS is the file system below a root. It opens nothing to tell what it is,
// and waits for nothing when it opens.
type rootFS struct{ root *os.Root }

// Open implements fs.FS.
func (r rootFS) Open(name string) (fs.File, error) { return r.root.OpenFile(name, openFlags, 0) }

// Stat implements fs.StatFS.
func (r rootFS) Stat(name string) (fs.FileInfo, error) { return r.root.Stat(name) }
