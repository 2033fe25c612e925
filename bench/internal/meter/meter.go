// Package meter reads what a process and its machine use: time that two
// processes can compare, peak memory, bytes on the wire, bytes on disk.
package meter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Now returns the nanoseconds of the monotonic clock, which all processes of a
// machine share.
func Now() (int64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, fmt.Errorf("monotonic clock: %w", err)
	}
	return t.Nano(), nil
}

// PeakRSS returns the most memory that a process has had resident, in bytes.
func PeakRSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("peak memory: %w", err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("peak memory: process %d has no VmHWM", pid)
}

// DiskBytes returns what the files of a directory take.
func DiskBytes(dir string) (total int64, err error) {
	gone := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) { // the store removes files meanwhile
			return nil
		}
		return err
	}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return gone(err)
		}
		i, err := d.Info()
		if err == nil {
			total += i.Size()
		}
		return gone(err)
	})
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", dir, err)
	}
	return total, nil
}

// Traffic is what went over the TCP connections of a process, as the kernel
// counts it: payload, without headers and what was sent twice.
type Traffic struct {
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
}

// sampleEvery is how often the sockets are looked at. What a connection carried
// between the last look and its end is not counted; connections between peers
// last to the end.
const sampleEvery = 20 * time.Millisecond

// A Wire counts the traffic of this process from the time it was made.
type Wire struct {
	stop  chan struct{}
	ended chan struct{}
	ask   chan chan wireState
}

type wireState struct {
	traffic Traffic
	err     error
}

// NewWire begins to count.
func NewWire() *Wire {
	w := &Wire{stop: make(chan struct{}), ended: make(chan struct{}), ask: make(chan chan wireState)}
	go w.run()
	return w
}

// run owns the counts of each socket, which stay when a socket is closed.
func (w *Wire) run() {
	defer close(w.ended)
	seen := make(map[string]Traffic)
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			_ = sampleSockets(seen) // the last look tells of errors
		case reply := <-w.ask:
			s := wireState{err: sampleSockets(seen)}
			for _, t := range seen {
				s.traffic.Sent += t.Sent
				s.traffic.Received += t.Received
			}
			reply <- s
		}
	}
}

// Traffic returns what was counted until now.
func (w *Wire) Traffic() (Traffic, error) {
	reply := make(chan wireState)
	select {
	case w.ask <- reply:
		s := <-reply
		return s.traffic, s.err
	case <-w.ended:
		return Traffic{}, errors.New("the wire is no longer counted")
	}
}

// Close ends the counting.
func (w *Wire) Close() {
	close(w.stop)
	<-w.ended
}
