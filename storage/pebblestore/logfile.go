package pebblestore

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A logFile is a log that is overwritten, not appended to. Syncing bytes that a file
// has had before takes half the time of syncing new ones: the file system need not
// write down that they are there. Pebble reuses logs for that reason. Here a new one,
// too, is written ahead with zeros, which read as the end of the log, just as space
// does that was set aside for it.
//
// Pebble promises WriteAt only of files opened for reading and writing; those that are
// created or used again are, on every file system that is used here.
//
// Invariant: zeros go only behind all that was written; a log is written from its
// beginning on, by one goroutine.
type logFile struct {
	*fencedFile
	zeros []byte

	written int64 // where the log ends
	ahead   int64 // up to where the file has been written

	large bool  // syncs have had more bytes than it pays for, of late
	since int64 // where the log ended when that was last looked at
	syncs atomic.Int64
}

const (
	// A file is written ahead by as much as it has, within these bounds: a repo that
	// is written to once takes little space, and a busy one seldom waits for it.
	leastAhead = 64 << 10
	mostAhead  = 1 << 20

	// aheadPerSync is how many bytes a sync may have for it to pay. Where they are
	// more, writing them twice costs more than the syncs gain.
	aheadPerSync = 64 << 10

	// aheadWindow is over how many bytes that is looked at.
	aheadWindow = 256 << 10
)

// isLog reports whether a file is a log of Pebble's.
func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

// newLogFile returns a log over a file that is to be written from its beginning on,
// of which something may be there already.
func newLogFile(f *fencedFile) vfs.File {
	l := &logFile{fencedFile: f}
	if info, err := f.Stat(); err == nil {
		l.ahead = info.Size()
	}
	return l
}

func (l *logFile) Write(p []byte) (int, error) {
	n, err := l.fencedFile.Write(p)
	l.written += int64(n)
	if l.written > l.ahead {
		l.ahead = l.written
		l.writeAhead()
	}
	return n, err
}

func (l *logFile) SyncData() error {
	l.syncs.Add(1)
	return l.fencedFile.SyncData()
}

// writeAhead writes zeros behind the log, if that pays. That they cannot be written
// does no harm: the log says so itself when it comes there.
func (l *logFile) writeAhead() {
	if bytes := l.written - l.since; bytes >= aheadWindow {
		l.large = bytes > aheadPerSync*l.syncs.Swap(0)
		l.since = l.written
	}
	if l.large || l.fence.down.Load() {
		return
	}
	n := min(max(l.written, leastAhead), mostAhead)
	if int64(len(l.zeros)) < n {
		l.zeros = make([]byte, n)
	}
	clear(l.zeros) // a vfs.File may change what it is given
	if wrote, err := l.File.WriteAt(l.zeros[:n], l.written); err == nil {
		l.ahead += int64(wrote)
	}
}
