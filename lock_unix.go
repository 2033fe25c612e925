//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package rhizome

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockRetry is how often a lock that is taken is tried again.
const lockRetry = 20 * time.Millisecond

// acquire takes the lock of a file, which lasts until the file is closed or
// the process ends, however it ends.
func acquire(path string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	deadline := time.Now().Add(wait)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(ErrLocked, f.Close())
		}
		time.Sleep(lockRetry)
	}
}
