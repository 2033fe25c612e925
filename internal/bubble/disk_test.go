package bubble

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rhizome-p2p/rhizome/storage"
	"github.com/rhizome-p2p/rhizome/storage/pebblestore"
)

// A disk is a file system in memory that forgets in a crash what was not
// synced. What is asked to be synced of Pebble's log is safe only a while later,
// so that there is something to forget; a store over the disk says so by then
// and not before.
//
// The sync itself returns at once. Pebble waits for some syncs with its locks
// held, and a bubble's time stands still while somebody waits for a lock.
type disk struct {
	*vfs.MemFS
	takes time.Duration
}

func newDisk(takes time.Duration) *disk { return &disk{vfs.NewCrashableMem(), takes} }

// crash returns what is left of the disk after a loss of power now.
func (d *disk) crash() *disk { return &disk{d.MemFS.CrashClone(vfs.CrashCloneCfg{}), d.takes} }

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
		return &slowFile{File: f, takes: d.takes}, nil
	}
}

// A slowFile is a log of Pebble's. What is written reaches the file in memory
// when it becomes safe.
type slowFile struct {
	vfs.File
	takes time.Duration

	// mu guards what follows; nothing blocks while it is held.
	mu     sync.Mutex
	behind []byte // written, and not yet safe
	passed int    // how much has left behind, in all
	closed bool
}

func (f *slowFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = append(f.behind, b...)
	return len(b), nil
}

func (f *slowFile) Sync() error { return f.SyncData() }

func (f *slowFile) SyncTo(int64) (bool, error) { return true, f.SyncData() }

// SyncData makes what was written until now safe in a while.
func (f *slowFile) SyncData() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	upTo := f.passed + len(f.behind)
	time.AfterFunc(f.takes, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.closed {
			_ = f.settle(upTo) // a file in memory does not fail
		}
	})
	return nil
}

// settle makes the file safe up to an offset. The caller holds mu.
func (f *slowFile) settle(upTo int) error {
	n := max(0, upTo-f.passed)
	_, err := f.File.Write(f.behind[:n])
	f.behind, f.passed = f.behind[n:], f.passed+n
	return errors.Join(err, f.File.SyncData())
}

// Close makes all of the file safe at once. A crash has copied the disk before
// its process closes anything.
func (f *slowFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.settle(f.passed + len(f.behind))
	f.closed = true
	return errors.Join(err, f.File.Close())
}

// A slowStore is a store on a slow disk.
type slowStore struct {
	*pebblestore.Store
	takes time.Duration
}

// Apply implements storage.DB.
func (s slowStore) Apply(b storage.Batch) (storage.Commit, error) {
	c, err := s.Store.Apply(b)
	if err != nil {
		return nil, err
	}
	return &slowCommit{c, time.Now().Add(s.takes)}, nil
}

type slowCommit struct {
	storage.Commit
	safe time.Time
}

// Wait implements storage.Commit.
func (c *slowCommit) Wait() error {
	err := c.Commit.Wait()
	pass(time.Until(c.safe) + time.Microsecond) // what becomes safe at that moment is
	return err
}

// pass lets virtual time pass. Outside of a bubble nothing in this package
// waits.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}
