package rhizome

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// A marker says that a repo was closed cleanly, and which lane its author may
// go on with. It is bound to the machine, the directory and the marker file
// itself, so that a copied or restored repo does not go on with somebody's
// lane. It is removed, durably, when the repo is opened and written last when
// it is closed: whatever happens in between leaves none, and the next process
// opens a new lane.
type marker struct {
	Machine     string `json:"machine"`
	Directory   birth  `json:"directory"`
	File        birth  `json:"file"` // of the marker itself
	Path        string `json:"path"`
	Author      string `json:"author"`
	Incarnation string `json:"incarnation"`
	Seq         uint64 `json:"seq"`
	Hash        string `json:"hash"`
}

// A birth tells a file from every copy of it: where its inode lies, and when it
// was made, which no tool can set.
type birth struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Nanos  int64  `json:"nanos"` // 0 where the system does not say
}

// takeMarker reads and removes the marker. It returns nil where there is none
// or it was made for another place.
func takeMarker(dir string) (*node.Resume, error) {
	path := filepath.Join(dir, cleanFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read marker: %w", err)
	}
	file, err := birthOf(path)
	if err != nil {
		return nil, fmt.Errorf("read marker: %w", err)
	}
	if err := errors.Join(os.Remove(path), syncDir(dir)); err != nil {
		return nil, fmt.Errorf("remove marker: %w", err)
	}
	var m marker
	if json.Unmarshal(b, &m) != nil {
		return nil, nil // not one that we wrote: no proof of a clean close
	}
	here, err := markerFor(dir)
	if err != nil {
		return nil, err
	}
	if m.File != file || m.Machine != here.Machine || m.Directory != here.Directory || m.Path != here.Path {
		return nil, nil
	}
	return m.resume(), nil
}

// readMarker returns the lane that the marker names, whether it holds or not,
// and leaves it where it is.
func readMarker(dir string) (delta.LaneKey, bool) {
	b, err := os.ReadFile(filepath.Join(dir, cleanFile))
	var m marker
	if err != nil || json.Unmarshal(b, &m) != nil {
		return delta.LaneKey{}, false
	}
	r := m.resume()
	if r == nil {
		return delta.LaneKey{}, false
	}
	return r.Key, true
}

func (m *marker) resume() *node.Resume {
	var r node.Resume
	if !parseHex(r.Key.Author[:], m.Author) || !parseHex(r.Key.Incarnation[:], m.Incarnation) || !parseHex(r.Head.Hash[:], m.Hash) {
		return nil
	}
	r.Head.Seq = m.Seq
	return &r
}

func parseHex(dst []byte, s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && copy(dst, b) == len(dst) && len(b) == len(dst)
}

// writeMarker is the last act of a clean close.
func writeMarker(dir string, r *node.Resume) (err error) {
	m, err := markerFor(dir)
	if err != nil {
		return err
	}
	m.Author, m.Incarnation = delta.Author(r.Key.Author).String(), hex.EncodeToString(r.Key.Incarnation[:])
	m.Seq, m.Hash = r.Head.Seq, clock.Hash(r.Head.Hash).String()
	tmp := filepath.Join(dir, cleanFile+".new")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write marker: %w", err)
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write marker: %w", err)
	}
	m.File, err = birthOf(tmp) // a rename keeps it, a copy does not
	if err == nil {
		var b []byte
		if b, err = json.Marshal(m); err == nil {
			_, err = f.Write(append(b, '\n'))
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write marker: %w", err)
	}
	// The commit point: with this name the lane may be gone on with.
	if err := os.Rename(tmp, filepath.Join(dir, cleanFile)); err != nil {
		return fmt.Errorf("write marker: %w", err)
	}
	return syncDir(dir)
}

func markerFor(dir string) (m marker, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return m, fmt.Errorf("marker: %w", err)
	}
	if m.Directory, err = birthOf(abs); err != nil {
		return m, fmt.Errorf("marker: %w", err)
	}
	m.Path = abs
	m.Machine = machineID()
	return m, nil
}

// machineID names the machine, by its host name where it has no better one.
func machineID() string {
	if b, err := os.ReadFile("/etc/machine-id"); err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b))
	}
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return ""
}
