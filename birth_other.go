//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package rhizome

import (
	"fmt"
	"syscall"
)

func birthOf(path string) (b birth, err error) {
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		return b, fmt.Errorf("stat %s: %w", path, err)
	}
	return birth{Device: uint64(s.Dev), Inode: s.Ino}, nil
}
