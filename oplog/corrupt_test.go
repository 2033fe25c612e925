package oplog

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/storage"
)

// goldenRows is the store after each of the first n steps of faultWork: it has
// rows of every kind, closed lanes and open ones, signed entries and unsigned.
func goldenRows(t fataler, n int) (ws []*writer, rows map[string][]byte) {
	t.Helper()
	ws, steps := faultWork(t)
	db := storage.NewMemory()
	r := newReplica(t, db, ws...)
	for _, step := range steps[:n] {
		step(r)
		r.mustFlush()
	}
	rows = map[string][]byte{}
	for kv, err := range db.Scan(nil, nil) {
		if err != nil {
			t.Fatalf("%v", err)
		}
		rows[string(kv.Key)] = bytes.Clone(kv.Value)
	}
	return ws, rows
}

func storeOf(t fataler, rows map[string][]byte) storage.DB {
	t.Helper()
	db := storage.NewMemory()
	b := db.NewBatch()
	for k, v := range rows {
		b.Set([]byte(k), v)
	}
	if err := storage.ApplySync(db, b); err != nil {
		t.Fatalf("%v", err)
	}
	return db
}

// checkCorrupt opens a store whose rows somebody changed and reads all of it.
// Nothing panics, every error says corrupt, and what opens has the vector, the
// closings and the tips that it had.
func checkCorrupt(t fataler, rows map[string][]byte, want *Log) (opened bool) {
	t.Helper()
	db := storeOf(t, rows)
	l, err := Open(db, testPrefix, testSpace)
	if err != nil {
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("not as corrupt: %v", err)
		}
		return false
	}
	if l.Root() != want.Root() || l.Ordinal() != want.Ordinal() || !slices.Equal(l.Tips(), want.Tips()) {
		t.Fatalf("opened as\n%s\nwhich was\n%s", summary(l), summary(want))
	}
	corrupt := func(err error) {
		if err != nil && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, ErrNotFound) {
			t.Fatalf("not as corrupt: %v", err)
		}
	}
	for _, err := range l.Order(db, 1) {
		corrupt(err)
	}
	for _, err := range l.InOrder(db, 2) {
		corrupt(err)
	}
	for n := uint32(1); ; n++ {
		id, ok := l.Lanes.Lane(n)
		if !ok {
			return true
		}
		for _, err := range l.KeptLane(db, id) {
			corrupt(err)
		}
		for seq := range l.vector.Seq(id) + 1 {
			_, err := l.HashAt(clock.EntryID{Lane: id, Seq: seq})
			corrupt(err)
			_, err = l.ChainFrom(clock.EntryID{Lane: id, Seq: seq})
			corrupt(err)
		}
	}
}

// logIn opens what must open.
func logIn(t fataler, rows map[string][]byte) *Log {
	t.Helper()
	l, err := Open(storeOf(t, rows), testPrefix, testSpace)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return l
}

// Each bit of each row that a log opens from, flipped; each row cut at each
// length, or lost: an error, or no difference.
func TestCorruptRows(t *testing.T) {
	for _, steps := range []int{3, 4, 6} {
		_, rows := goldenRows(t, steps)
		want := logIn(t, rows)
		for key, value := range rows {
			kind := key[len(testPrefix)]
			try := func(what string, v []byte) {
				changed := maps.Clone(rows)
				if changed[key] = v; v == nil {
					delete(changed, key)
				}
				// The tests of lanes, proofs and tips are complete but for the
				// count of entries, which is only shown.
				if checkCorrupt(t, changed, want) && (kind == kindLane || kind == kindProof || kind == kindTips) && logIn(t, changed).Entries() == want.Entries() {
					t.Errorf("%q of %d bytes, %s: opened", kind, len(value), what)
				}
			}
			for i := range value {
				for bit := range 8 {
					v := bytes.Clone(value)
					v[i] ^= 1 << bit
					try(fmt.Sprintf("bit %d of byte %d", bit, i), v)
				}
				try(fmt.Sprintf("cut at %d", i), value[:i])
			}
			try("and one more", append(bytes.Clone(value), 0))
			try("lost", nil)
		}
	}
}

// Any bytes under any key of the log's: no panic, no wrong head.
func FuzzOpen(f *testing.F) {
	_, rows := goldenRows(f, 4)
	for key, value := range rows {
		f.Add([]byte(key[len(testPrefix):]), value)
		f.Add([]byte(key[len(testPrefix):]), value[:len(value)/2])
	}
	want := logIn(f, rows)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		changed := maps.Clone(rows)
		changed[string(testPrefix)+string(key)] = value
		checkCorrupt(t, changed, want)
	})
}

// What is read as a record is what would be written.
func FuzzRecord(f *testing.F) {
	_, rows := goldenRows(f, 4)
	for key, value := range rows {
		if key[len(testPrefix)] == kindEntry {
			f.Add(value, uint64(key[len(key)-1]))
		}
	}
	s := &Store{space: testSpace}
	f.Fuzz(func(t *testing.T, b []byte, seq uint64) {
		r, err := s.parseRecord(clock.EntryID{Seq: seq}, b)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if e, err := r.Entry(); err == nil && !bytes.Equal(appendRecord(nil, e, r.Ordinal), b) {
			t.Fatalf("%x is read and written as %x", b, appendRecord(nil, e, r.Ordinal))
		}
	})
}

var update = flag.Bool("update", false, "write the newest of testdata anew")

// What is written now is version 2, byte by byte. A change to these bytes is a
// change of the format.
func TestGolden(t *testing.T) {
	const path = "testdata/v2/log.txt"
	_, rows := goldenRows(t, 5)
	var b strings.Builder
	fmt.Fprintf(&b, "# A log under the prefix %x: key value, in hexadecimal.\n", testPrefix)
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&b, "%x %x\n", key, rows[key])
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(golden) != b.String() {
		t.Error("what is written now differs from version 2")
	}
}

// A log that an older version wrote opens and holds what it held.
func TestGoldenOpens(t *testing.T) {
	for version, kinds := range map[string][]byte{
		"v1": {kindEntry, kindKept, kindLane, kindOrder, kindProof, kindTips},
		"v2": {kindEntry, kindKept, kindLane, kindOrder, kindProof, kindTips, kindMark},
	} {
		t.Run(version, func(t *testing.T) { checkGolden(t, "testdata/"+version+"/log.txt", kinds) })
	}
}

func checkGolden(t *testing.T, path string, want []byte) {
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ws, _ := goldenRows(t, 5)
	db := storage.NewMemory()
	batch := db.NewBatch()
	kinds := map[byte]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(golden)), "\n")[1:] {
		var k, v []byte
		if _, err := fmt.Sscanf(line, "%x %x", &k, &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		kinds[k[len(testPrefix)]] = true
		batch.Set(k, v)
	}
	if err := storage.ApplySync(db, batch); err != nil {
		t.Fatal(err)
	}
	for _, kind := range want {
		if !kinds[kind] {
			t.Errorf("no row of kind %q", kind)
		}
	}
	r := newReplica(t, db, ws...)
	r.check()
	var got []string
	for _, e := range r.admitted() {
		s, _ := e.Body.Txns[0].Deltas[0].Value.Text()
		got = append(got, s)
	}
	if want := []string{"a1", "a2", "b1", "b2"}; !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
	a, b1 := ws[0].signer.Lane, ws[1].signer.Lane
	if at, _ := r.ClosedAt(a); at != 3 || r.vector.Seq(a) != 2 || r.vector.Seq(b1) != 2 {
		t.Errorf("lane a closed at %d, vector %v", at, &r.vector)
	}
	kept := 0
	for rec, err := range r.KeptLane(db, a) {
		if kept++; err != nil || rec.Seq != 3 {
			t.Errorf("kept %d, %v", rec.Seq, err)
		}
	}
	if rec, err := r.Kept(db, clock.EntryID{Lane: a, Seq: 3}); err != nil || rec.Seq != 3 || kept != 1 {
		t.Errorf("%d kept; %v", kept, err)
	}
	if p, err := r.Proof(a); err != nil || p.Verify(testSpace) != nil || p.Seq() != 3 {
		t.Errorf("proof: %v", err)
	}
}

// Two changes at once are no worse than one.
func TestCorruptAnything(t *testing.T) {
	_, rows := goldenRows(t, 6)
	want := logIn(t, rows)
	keys := slices.Sorted(maps.Keys(rows))
	rapid.Check(t, func(t *rapid.T) {
		changed := maps.Clone(rows)
		for range 2 {
			key := rapid.SampledFrom(keys).Draw(t, "row")
			v := bytes.Clone(rows[key])
			v[rapid.IntRange(0, len(v)-1).Draw(t, "at")] ^= rapid.ByteRange(1, 255).Draw(t, "flip")
			changed[key] = v
		}
		checkCorrupt(t, changed, want)
	})
}

// Rows that no single changed bit makes, each with one thing wrong.
func TestBadRows(t *testing.T) {
	_, rows := goldenRows(t, 4)
	want := logIn(t, rows)
	key := func(kind byte, rest ...byte) string { return string(testPrefix) + string(kind) + string(rest) }
	n, seq := func(b byte) []byte { return []byte{0, 0, 0, b} }, func(b byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, b} }
	entry := func(lane, at byte) string { return key(kindEntry, slices.Concat(n(lane), seq(at))...) }
	lane := func(b byte) string { return key(kindLane, n(b)...) }
	a := rows[lane(1)]
	for name, change := range map[string]func(map[string][]byte){
		"an entry above the head": func(m map[string][]byte) { m[entry(1, 3)] = m[entry(1, 2)] },
		"a lane of no number":     func(m map[string][]byte) { m[key(kindLane)] = a },
		"a lane of a long number": func(m map[string][]byte) { m[key(kindLane, 0, 0, 0, 2, 0)] = a },
		"a number left out":       func(m map[string][]byte) { m[lane(4)] = slices.Concat([]byte("another"), a[7:48], make([]byte, 35)) },
		"one lane twice":          func(m map[string][]byte) { m[lane(3)] = a },
		"a head of nothing": func(m map[string][]byte) {
			m[lane(3)] = slices.Concat([]byte("another"), a[7:48], make([]byte, 33), []byte{1})
		},
		"a hash of nothing": func(m map[string][]byte) {
			m[lane(3)] = slices.Concat([]byte("another"), a[7:48], make([]byte, 33), []byte{1, 0})
		},
		"a proof of no lane":       func(m map[string][]byte) { m[key(kindProof, n(9)...)] = m[key(kindProof, n(1)...)] },
		"another lane's proof":     func(m map[string][]byte) { m[key(kindProof, n(2)...)] = m[key(kindProof, n(1)...)] },
		"an order row cut short":   func(m map[string][]byte) { m[key(kindOrder, 1)] = nil },
		"an order row of a future": func(m map[string][]byte) { m[key(kindOrder, seq(9)...)] = []byte{1, 1, 1} },
		"no tips":                  func(m map[string][]byte) { delete(m, key(kindTips)) },
	} {
		m := maps.Clone(rows)
		change(m)
		// An order row with a short key is no business of Open's.
		if checkCorrupt(t, m, want) && name != "an order row cut short" {
			t.Errorf("%s: opened", name)
		}
	}
	m := maps.Clone(rows)
	m[key(kindEntry, slices.Concat(n(1), []byte{1})...)] = []byte{1}
	var err error
	db := storeOf(t, m)
	for _, err = range want.Lane(db, want.vector.Lanes()[0], 0) {
		if err != nil {
			break
		}
	}
	for _, e := range want.Lane(db, want.vector.Lanes()[1], 0) {
		err = errors.Join(err, e)
	}
	if !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("an entry of a short key: %v", err)
	}
	for name, b := range map[string][]byte{
		"empty run":     {1, 1, 0},
		"no first seq":  {1, 0, 1},
		"no lane":       {0, 1, 1},
		"unknown lane":  {9, 1, 1},
		"endless first": slices.Concat([]byte{1}, bytes.Repeat([]byte{0xff}, 9), []byte{1, 1}),
		"endless count": slices.Concat([]byte{1, 1}, bytes.Repeat([]byte{0xff}, 9), []byte{1}),
		"cut":           {1, 1},
	} {
		if run, _, err := want.parseRun(b, 1); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v, %v", name, run, err)
		}
	}
	hash, sig := make([]byte, 32), make([]byte, 64)
	for name, c := range map[string]struct {
		seq uint64
		row []byte
	}{
		"nothing":        {1, nil},
		"unknown flag":   {1, []byte{8, 1, 1, 0x80}},
		"prev too many":  {1, slices.Concat([]byte{2, 1, 1}, hash, []byte{0x80})},
		"prev missing":   {2, slices.Concat([]byte{0, 1, 1}, hash, []byte{0x80})},
		"seq 0":          {0, []byte{0, 1, 1, 0x80}},
		"time too great": {1, slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 9), []byte{1, 0x80})},
		"long ordinal":   {1, []byte{0, 0x81, 0, 1, 0x80}},
		"short sig":      {1, slices.Concat([]byte{1, 1, 1}, sig[1:])},
		"body too long":  {1, append([]byte{0, 1, 1}, make([]byte, 1<<20)...)},
	} {
		if r, err := want.parseRecord(clock.EntryID{Seq: c.seq}, c.row); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v, %v", name, r.Header, err)
		}
	}
}
