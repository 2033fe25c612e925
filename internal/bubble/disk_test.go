package bubble

import (
	"runtime"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A disk is a file system in memory that forgets in a crash what was not
// synced. Syncs of Pebble's log take a while, so that there is something to
// forget; other syncs are at once, since Pebble waits for some of them with a
// lock held, and the time of a bubble stands still while somebody else waits for
// that lock.
type disk struct {
	*vfs.MemFS
	syncTakes time.Duration
}

func newDisk(syncTakes time.Duration) *disk { return &disk{vfs.NewCrashableMem(), syncTakes} }

// crash returns what is left of the disk after a loss of power now.
func (d *disk) crash() *disk { return &disk{d.MemFS.CrashClone(vfs.CrashCloneCfg{}), d.syncTakes} }

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.MemFS }

// Create implements vfs.FS.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.slow(name)(d.MemFS.Create(name, c))
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.slow(newname)(d.MemFS.ReuseForWrite(oldname, newname, c))
}

func (d *disk) slow(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil || !strings.HasSuffix(name, ".log") {
			return f, err
		}
		return &slowFile{f, d.syncTakes}, nil
	}
}

// A slowFile is a log of Pebble's.
type slowFile struct {
	vfs.File
	takes time.Duration
}

func (f *slowFile) Sync() error {
	f.seek()
	return f.File.Sync()
}

func (f *slowFile) SyncData() error {
	f.seek()
	return f.File.SyncData()
}

func (f *slowFile) SyncTo(length int64) (bool, error) {
	f.seek()
	return f.File.SyncTo(length)
}

// seek takes its time where the log's own goroutine calls, which holds no lock
// then. A log that is being closed is synced with Pebble's main lock held.
func (f *slowFile) seek() {
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for more := true; more; {
		var at runtime.Frame
		if at, more = frames.Next(); strings.HasSuffix(at.Function, "record.(*LogWriter).flushLoop") {
			pass(f.takes)
			return
		}
	}
}

// pass lets virtual time pass. Outside of a bubble nothing in this package
// waits.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}
