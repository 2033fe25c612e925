package storagetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/storage"
)

// A model is what a store should hold: the whole contract, slowly.
type model map[string]string

// A write is one call on a batch.
type write struct {
	kind     byte // 's'et, 'd'elete, delete 'r'ange
	key, arg string
}

func (m model) apply(ws []write) {
	for _, w := range ws {
		switch w.kind {
		case 's':
			m[w.key] = w.arg
		case 'd':
			delete(m, w.key)
		case 'r':
			maps.DeleteFunc(m, func(k, _ string) bool { return w.key <= k && k < w.arg })
		}
	}
}

// fill does the writes to b. It overwrites the slices that it handed over,
// since a store must have copied them.
func fill(b storage.Batch, ws []write) {
	for _, w := range ws {
		key, arg := []byte(w.key), []byte(w.arg)
		switch w.kind {
		case 's':
			b.Set(key, arg)
		case 'd':
			b.Delete(key)
		case 'r':
			b.DeleteRange(key, arg)
		}
		scribble(key)
		scribble(arg)
	}
}

func scribble(b []byte) {
	for i := range b {
		b[i] ^= 0xa5
	}
}

// pairs renders the pairs of [lo, hi) in key order; a nil hi is no bound.
func (m model) pairs(lo, hi []byte) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k >= string(lo) && (hi == nil || k < string(hi)) {
			out = append(out, fmt.Sprintf("%q=%q", k, m[k]))
		}
	}
	return out
}

// all is every pair of r, forwards.
func all(r storage.Reader) ([]string, error) { return scan(r, nil, nil, false) }

// scan renders the pairs of r in [lo, hi), in the order they came.
func scan(r storage.Reader, lo, hi []byte, reverse bool) ([]string, error) {
	seq := r.Scan(lo, hi)
	if reverse {
		seq = r.ScanReverse(lo, hi)
	}
	var out []string
	for kv, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, fmt.Sprintf("%q=%q", kv.Key, kv.Value))
	}
	return out, nil
}

// diff compares r with m by everything that a Reader can do.
func diff(r storage.Reader, m model, lo, hi []byte) error {
	want := m.pairs(lo, hi)
	got, err := scan(r, lo, hi, false)
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("scan [%q, %q):\n got %s\nwant %s", lo, hi, got, want)
	}
	got, err = scan(r, lo, hi, true)
	if err != nil {
		return fmt.Errorf("scan reverse: %w", err)
	}
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("scan reverse [%q, %q):\n got %s\nwant %s (reversed)", lo, hi, got, want)
	}
	for _, key := range [][]byte{lo, hi} {
		v, err := r.Get(key)
		want, ok := m[string(key)]
		switch {
		case ok && (err != nil || !bytes.Equal(v, []byte(want))):
			return fmt.Errorf("get %q: got %q, %v, want %q", key, v, err, want)
		case !ok && err != storage.ErrNotFound:
			return fmt.Errorf("get %q: got %q, %v, want ErrNotFound", key, v, err)
		}
	}
	return nil
}

// drawKey draws from few keys that are prefixes of each other and that hold
// the extreme bytes, so that bounds are hit.
func drawKey(t *rapid.T, label string) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune("a\x00b")), 0, 3, -1).Draw(t, label) +
		strings.Repeat("\xff", rapid.IntRange(0, 2).Draw(t, label+" ff"))
}

func drawWrites(t *rapid.T) []write {
	n := rapid.IntRange(0, 8).Draw(t, "writes")
	ws := make([]write, n)
	for i := range ws {
		ws[i] = write{kind: rapid.SampledFrom([]byte("sssddr")).Draw(t, "kind"), key: drawKey(t, "key")}
		switch ws[i].kind {
		case 's':
			ws[i].key += "k" // not empty
			ws[i].arg = rapid.StringN(0, 5, -1).Draw(t, "value")
		case 'd':
			ws[i].key += "k"
		case 'r':
			ws[i].arg = drawKey(t, "hi") + "\x00" // never empty
		}
	}
	return ws
}
