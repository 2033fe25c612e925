package synthesize

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// A File is a file of fragments that has been read.
type File struct {
	// Name is its path below the directory, with slashes.
	Name string
	Text []byte
}

// ReadDir reads the files of fragments in a directory and those below it, by
// name. Names that begin with a dot are left out; any other file must be one
// that Parse reads. A link is followed to a file within the directory alone, so
// that nothing is read that is not in it. What is wrong with files comes as
// Errors, what is no directory as ErrNotDir; any other error is one of reading.
func ReadDir(dir string) ([]File, error) {
	root, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // it was only read from
	return readFS(rootFS{root})
}

// A dirReader reads a tree of files.
type dirReader struct {
	fsys  fs.FS
	files []File
	total int
	errs  Errors
}

func readFS(fsys fs.FS) ([]File, error) {
	r := dirReader{fsys: fsys}
	if err := r.dir(".", 0); err != nil {
		return nil, err
	}
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	slices.SortFunc(r.files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return r.files, nil
}

func (r *dirReader) refuse(name, format string, args ...any) {
	r.errs = append(r.errs, &FragmentError{File: name, Err: fmt.Errorf(format, args...)})
}

func (r *dirReader) dir(name string, depth int) error {
	entries, err := fs.ReadDir(r.fsys, name)
	if err != nil {
		return err
	}
	if depth > MaxDirDepth {
		r.refuse(name, "directories nested deeper than %d", MaxDirDepth)
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		child := path.Join(name, e.Name())
		if e.IsDir() {
			err = r.dir(child, depth+1)
		} else {
			err = r.file(child, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *dirReader) file(name string, e fs.DirEntry) error {
	info, err := fs.Stat(r.fsys, name)
	switch {
	case err != nil && e.Type()&fs.ModeSymlink != 0:
		r.refuse(name, "a link that leads nowhere, or out of the directory")
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		r.refuse(name, "%w", ErrNotRegular)
		return nil
	case formats[path.Ext(name)] == nil:
		r.refuse(name, "unknown kind of file: the name ends in none of %v, nor begins with a dot", Extensions())
		return nil
	case info.Size() > MaxFileBytes:
		r.refuse(name, "more than %d bytes", MaxFileBytes)
		return nil
	case len(r.files) == MaxFiles || r.total > MaxTotalBytes:
		return fmt.Errorf("read %s: more than %d files, or %d bytes in all", name, MaxFiles, MaxTotalBytes)
	}
	f, err := r.fsys.Open(name)
	if err != nil {
		return err
	}
	// What was a file a moment ago may be a pipe by now.
	var text []byte
	if info, err = f.Stat(); err == nil && info.Mode().IsRegular() {
		text, err = io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		r.refuse(name, "%w", ErrNotRegular)
		return nil
	}
	r.files = append(r.files, File{name, text})
	r.total += len(text)
	return nil
}
