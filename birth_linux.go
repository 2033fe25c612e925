package rhizome

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func birthOf(path string) (b birth, err error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &s); err != nil {
		return b, fmt.Errorf("stat %s: %w", path, err)
	}
	b.Device, b.Inode = unix.Mkdev(s.Dev_major, s.Dev_minor), s.Ino
	if s.Mask&unix.STATX_BTIME != 0 {
		b.Nanos = s.Btime.Sec*1e9 + int64(s.Btime.Nsec)
	}
	return b, nil
}
