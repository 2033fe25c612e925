package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden file anew")

func testHeader() *Header {
	return &Header{
		Genesis: []byte("genesis"), Name: "test", Time: time.Unix(1_700_000_000, 0).UTC(), Node: "12D3", Author: "ab",
		Root: bytes.Repeat([]byte{1}, 32), Digest: bytes.Repeat([]byte{2}, 32), Entries: 3, Lanes: 2, Rows: 1,
		Network: bytes.Repeat([]byte{3}, 32), Identity: bytes.Repeat([]byte{4}, 32), Peers: []string{"/ip4/10.0.0.1/tcp/1"},
	}
}

func write(t testing.TB, pairs []Pair) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		if err := w.Add(p.Key, p.Value); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := w.Close()
	if err != nil || sum.Bytes != uint64(out.Len()) || sum.Pairs != uint64(len(pairs)) {
		t.Fatalf("%+v %v", sum, err)
	}
	return out.Bytes()
}

// readAll reads a file to its end.
func readAll(r io.Reader) (pairs []Pair, sum Summary, err error) {
	b, err := NewReader(r)
	if err != nil {
		return nil, sum, err
	}
	for p, err := range b.Pairs() {
		if err != nil {
			return pairs, b.Read(), err
		}
		pairs = append(pairs, Pair{bytes.Clone(p.Key), bytes.Clone(p.Value)})
	}
	return pairs, b.Read(), nil
}

func equal(a, b []Pair) bool {
	return slices.EqualFunc(a, b, func(x, y Pair) bool { return bytes.Equal(x.Key, y.Key) && bytes.Equal(x.Value, y.Value) })
}

// few are pairs of which most differ from their neighbours in one place.
func few(n int) (out []Pair) {
	for i := range n {
		out = append(out, Pair{fmt.Appendf(nil, "key %06d", i), fmt.Appendf(nil, "value %d", i*i)})
	}
	return out
}

// What is written is read again, whatever the pairs are and however the stream
// is cut into reads.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		keys := rapid.SliceOfDistinct(rapid.SliceOfN(rapid.Byte(), 1, 8), func(b []byte) string { return string(b) }).Draw(rt, "keys")
		slices.SortFunc(keys, bytes.Compare)
		var pairs []Pair
		for _, k := range keys {
			v := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "value")
			if rapid.IntRange(0, 9).Draw(rt, "large") == 0 {
				v = make([]byte, rapid.IntRange(0, 2*blockBytes).Draw(rt, "size"))
			}
			pairs = append(pairs, Pair{k, v})
		}
		text := write(t, pairs)
		got, sum, err := readAll(iotest.HalfReader(bytes.NewReader(text)))
		if err != nil || !equal(got, pairs) || sum.Bytes == 0 || sum.Pairs != uint64(len(pairs)) {
			rt.Fatalf("%d pairs of %d, %+v, %v", len(got), len(pairs), sum, err)
		}
	})
}

// Writer and reader agree on what a file is called.
func TestSummary(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range few(200_000) {
		if err := w.Add(p.Key, p.Value); err != nil {
			t.Fatal(err)
		}
	}
	want, err := w.Close()
	if err != nil || want.Blocks < 3 {
		t.Fatalf("%+v %v", want, err)
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range f.Pairs() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	got := f.Read()
	if got != want || n != 200_000 {
		t.Errorf("read %+v, wrote %+v", got, want)
	}
	if h := f.Header(); h.Name != "test" || !h.Time.Equal(testHeader().Time) || h.Rows != 1 {
		t.Errorf("header %+v", h)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// No bit of a file can flip and no end of it be missing without an error that
// says so, and what was yielded before is true.
func TestDamage(t *testing.T) {
	pairs := few(50)
	text := write(t, pairs)
	bad := func(err error) bool {
		return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotBackup) || errors.Is(err, ErrVersion)
	}
	for cut := range text {
		if got, _, err := readAll(bytes.NewReader(text[:cut])); !bad(err) || !equal(got, pairs[:len(got)]) {
			t.Fatalf("cut at %d of %d: %v", cut, len(text), err)
		}
	}
	for bit := range len(text) * 8 {
		text[bit/8] ^= 1 << (bit % 8)
		if got, _, err := readAll(bytes.NewReader(text)); !bad(err) || len(got) > 0 && !equal(got, pairs[:len(got)]) {
			t.Fatalf("bit %d of byte %d of %d: %v", bit%8, bit/8, len(text), err)
		}
		text[bit/8] ^= 1 << (bit % 8)
	}
	if _, _, err := readAll(bytes.NewReader(append(text, 0))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte behind the end: %v", err)
	}
}

// A block may be taken out, doubled or moved whole: its own checksum holds, and
// the end tells.
func TestBlocksInOtherOrder(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	var pairs []Pair
	for i := range 3 {
		v := make([]byte, blockBytes)
		_, _ = r.Read(v)
		pairs = append(pairs, Pair{[]byte{byte(i + 1)}, v})
	}
	text := write(t, pairs)
	b, err := NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	at := []uint64{b.Read().Bytes} // where each block begins, and the end
	for range b.Pairs() {
		at = append(at, b.Read().Bytes)
	}
	block := func(i int) []byte { return text[at[i]:at[i+1]] }
	head, end := text[:at[0]], text[at[3]:]
	for name, parts := range map[string][][]byte{
		"left out": {head, block(0), block(2), end},
		"first":    {head, block(1), block(2), end},
		"doubled":  {head, block(0), block(0), block(1), block(2), end},
		"moved":    {head, block(1), block(0), block(2), end},
		"no end":   {head, block(0), block(1), block(2)},
		"no head":  {head[:headBytes], block(0), end},
		"two":      {text, text},
	} {
		if _, _, err := readAll(bytes.NewReader(slices.Concat(parts...))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Files that are something else, or of another format, are told apart.
func TestForeign(t *testing.T) {
	for _, text := range []string{"", "rhizome", "{}", strings.Repeat("x", 100)} {
		if _, err := NewReader(strings.NewReader(text)); !errors.Is(err, ErrNotBackup) {
			t.Errorf("%q: %v", text, err)
		}
	}
	text := write(t, nil)
	text[headBytes-1] = 9
	var v *VersionError
	if _, err := NewReader(bytes.NewReader(text)); !errors.Is(err, ErrVersion) || !errors.As(err, &v) || v.Format != 9 {
		t.Error(err)
	}
	failing := errors.New("the disk is gone")
	for n := range int64(len(text)) {
		_, _, err := readAll(io.MultiReader(io.LimitReader(bytes.NewReader(write(t, few(3))), n), iotest.ErrReader(failing)))
		if !errors.Is(err, failing) || errors.Is(err, ErrCorrupt) {
			t.Fatalf("a reader that fails after %d: %v", n, err)
		}
	}
}

// A writer refuses what no reader would take, and an error of its stream stays.
func TestWriterRefuses(t *testing.T) {
	w, err := NewWriter(io.Discard, testHeader())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(nil, nil); !errors.Is(err, ErrPair) {
		t.Error(err)
	}
	if err := w.Add([]byte("b"), nil); err != nil {
		t.Error(err)
	}
	for _, k := range []string{"a", "b"} {
		if err := w.Add([]byte(k), nil); !errors.Is(err, ErrPair) {
			t.Error(err)
		}
	}
	if err := w.Add([]byte("c"), make([]byte, maxPairBytes)); !errors.Is(err, ErrPair) {
		t.Error(err)
	}
	if _, err := w.Close(); err != nil {
		t.Error(err)
	}
	h := testHeader()
	h.Peers = []string{strings.Repeat("x", maxHeaderBytes)}
	if _, err := NewWriter(io.Discard, h); err == nil {
		t.Error("a header without bounds")
	}
	whole := len(write(t, few(3)))
	for room := range whole {
		l := &limited{room: room}
		w, err := NewWriter(l, testHeader())
		if err == nil {
			for _, p := range few(3) {
				_ = w.Add(p.Key, p.Value) // Close says it again
			}
			_, err = w.Close()
		}
		if !errors.Is(err, errFull) {
			t.Fatalf("room for %d of %d: %v", room, whole, err)
		}
	}
}

var errFull = errors.New("full")

type limited struct{ room int }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.room {
		return 0, errFull
	}
	l.room -= len(p)
	return len(p), nil
}

// An old file opens. The golden one is of the first version.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "v1.backup")
	if *update {
		if err := os.WriteFile(path, write(t, few(20)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []Pair
	for p, err := range f.Pairs() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, Pair{bytes.Clone(p.Key), bytes.Clone(p.Value)})
	}
	h, want := f.Header(), testHeader()
	if !equal(got, few(20)) || !bytes.Equal(h.Identity, want.Identity) || h.Node != want.Node || h.Peers[0] != want.Peers[0] {
		t.Errorf("%d pairs, header %+v", len(got), h)
	}
}

// FuzzReader: no bytes make the reader panic or hand out what a writer could
// not have written.
func FuzzReader(f *testing.F) {
	f.Add(write(f, few(20)))
	f.Add(write(f, nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		pairs, _, err := readAll(bytes.NewReader(text))
		if err != nil {
			return
		}
		again := write(t, pairs)
		got, _, err := readAll(bytes.NewReader(again))
		if err != nil || !equal(got, pairs) {
			t.Fatalf("%v", err)
		}
	})
}

// FuzzBlock: the same for what stands in a block, behind checksums that hold.
func FuzzBlock(f *testing.F) {
	text := write(f, few(20))
	b, err := NewReader(bytes.NewReader(text))
	if err != nil {
		f.Fatal(err)
	}
	head := text[:b.Read().Bytes]
	for range b.Pairs() {
		break
	}
	f.Add(bytes.Clone(b.payload), uint64(20))
	f.Fuzz(func(t *testing.T, payload []byte, pairs uint64) {
		var out bytes.Buffer
		w := &Writer{w: &out, hash: sha256.New()}
		w.write(head)
		w.section(sectionBlock, payload)
		w.sum.Blocks, w.sum.Pairs = 1, pairs
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, sum, err := readAll(&out)
		if err == nil && (sum.Pairs != pairs || uint64(len(got)) != pairs) || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d pairs of %d: %v", len(got), pairs, err)
		}
	})
}
