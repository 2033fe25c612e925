package report

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// measured are the modules whose versions are told.
var measured = []string{
	"github.com/rhizome-p2p/rhizome",
	"github.com/ipfs/go-ds-crdt",
	"github.com/ipfs/go-ds-pebble",
	"github.com/hsanjuan/ipfs-lite",
	"github.com/ipfs/boxo",
	"github.com/libp2p/go-libp2p",
	"github.com/libp2p/go-libp2p-pubsub",
	"github.com/cockroachdb/pebble/v2",
}

// New begins a report of what will be measured in a directory.
func New(dir, command string) (*Report, error) {
	m := Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), CPU: procValue("/proc/cpuinfo", "model name"),
		Go: runtime.Version(), LoadBefore: load(),
	}
	if text, _, ok := strings.Cut(procValue("/proc/meminfo", "MemTotal"), " "); ok {
		if kb, err := strconv.ParseInt(text, 10, 64); err == nil {
			m.MemoryMiB = kb >> 10
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(u.Release[:])
	var err error
	if m.FileSystem, err = fileSystem(dir); err != nil {
		return nil, err
	}
	return &Report{Started: time.Now().UTC().Truncate(time.Second), Command: command, Machine: m, Modules: modules(), Errors: []string{}}, nil
}

// Finish notes what is known only at the end.
func (r *Report) Finish() {
	r.Seconds = time.Since(r.Started).Truncate(time.Second).Seconds()
	r.Machine.LoadAfter = load()
}

func modules() (out []Module) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, path := range measured {
		i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == path })
		if i < 0 {
			continue
		}
		v := info.Deps[i].Version
		if path == measured[0] {
			v = revision(info)
		}
		out = append(out, Module{Path: path, Version: v})
	}
	return out
}

// revision is the state of the tree that the program was built from.
func revision(info *debug.BuildInfo) string {
	v := "of this tree"
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			v += " with changes"
		}
	}
	return v
}

// procValue returns the first value of a name in a file of names and values, or
// "unknown".
func procValue(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(text)); err == nil && len(f) >= 3 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}
