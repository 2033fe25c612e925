package oplog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Rows that are found here and there give the lanes and what their authors
// signed, and nothing else.
func TestWreck(t *testing.T) {
	mem := storage.NewMemory()
	l, err := Open(mem, testPrefix, testSpace)
	if err != nil {
		t.Fatal(err)
	}
	a, b := writerNamed("a"), writerNamed("b")
	l.AddLane(a.LaneKey)
	l.AddLane(b.LaneKey)
	var head clock.Head
	var entries []*delta.Entry
	for i := range 5 {
		e := a.write(t, head, string(rune('0'+i)), nil)
		head = clock.Head{Seq: e.Seq, Hash: e.Hash}
		entries = append(entries, e)
		stored := e
		if i == 2 {
			stored = unsigned(e)
		}
		stored.Local = true
		batch := mem.NewBatch()
		if err := l.Append(batch, stored); err != nil {
			t.Fatal(err)
		}
		l.Flush(batch, int64(i))
		if err := storage.ApplySync(mem, batch); err != nil {
			t.Fatal(err)
		}
	}
	w := NewWreck(testPrefix, testSpace)
	scan := func(lo, hi []byte) (out []storage.KV) {
		for kv, err := range mem.Scan(lo, hi) {
			if err != nil {
				t.Fatal(err)
			}
			if len(kv.Key) != len(lo) {
				t.Errorf("key %x among those of %d bytes", kv.Key, len(lo))
			}
			out = append(out, storage.KV{Key: bytes.Clone(kv.Key), Value: bytes.Clone(kv.Value)})
		}
		return out
	}
	rows := scan(w.EntryRange())
	if _, _, err := w.Entry(rows[0].Key, rows[0].Value); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("an entry of a lane that is not known yet: %v", err)
	}
	lanes := scan(w.LaneRange())
	for _, kv := range append(lanes, lanes...) {
		if err := w.AddLane(kv.Key, kv.Value); err != nil {
			t.Fatal(err)
		}
	}
	found := w.Lanes()
	if len(found) != 1 && len(found) != 2 || found[0].Key != a.LaneKey || found[0].Seq != 5 || found[0].ID != a.signer.Lane {
		t.Fatalf("lanes %+v", found)
	}
	// An older row of the lane says less, one of another lane contradicts.
	old := append(append(bytes.Clone(a.Author[:]), a.Incarnation[:]...), 0, 3)
	if err := w.AddLane(lanes[0].Key, old); err != nil || w.Lanes()[0].Seq != 5 {
		t.Errorf("an older row: %v, %+v", err, w.Lanes()[0])
	}
	other := append(append(bytes.Clone(b.Author[:]), b.Incarnation[:]...), 0, 3)
	for name, kv := range map[string]storage.KV{
		"another lane": {Key: lanes[0].Key, Value: other},
		"cut":          {Key: lanes[0].Key, Value: old[:40]},
		"key":          {Key: lanes[0].Key[1:], Value: old},
	} {
		if err := w.AddLane(kv.Key, kv.Value); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, kv := range rows {
		lane, e, err := w.Entry(kv.Key, kv.Value)
		if i == 2 {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("an unsigned entry: %v", err)
			}
			continue
		}
		if err != nil || lane.Key != a.LaneKey || e.Hash != entries[i].Hash || !e.Local {
			t.Errorf("entry %d: %v", i+1, err)
		}
		if !bytes.Equal(w.EntryKey(lane, e.Seq), kv.Key) {
			t.Errorf("key of entry %d", i+1)
		}
		for at := range kv.Value { // no bit of it can differ, but for where it was applied
			bad := bytes.Clone(kv.Value)
			bad[at] ^= 0x40
			if _, o, err := w.Entry(kv.Key, bad); err == nil && o.Hash != e.Hash {
				t.Errorf("entry %d, byte %d: another entry passes", i+1, at)
			}
		}
	}
	// Without the lane's row, a signature tells whose entries they are.
	blind := NewWreck(testPrefix, testSpace)
	blind.Guess([]delta.LaneKey{b.LaneKey, a.LaneKey})
	for _, kv := range rows {
		_, _, _ = blind.Entry(kv.Key, kv.Value) // the unsigned one fails as above
	}
	if got := blind.Lanes(); len(got) != 1 || got[0].Key != a.LaneKey || got[0].Seq != 5 {
		t.Errorf("guessed %+v", got)
	}
	wrong := NewWreck(testPrefix, testSpace)
	wrong.Guess([]delta.LaneKey{b.LaneKey})
	for range 2 * maxTries {
		if _, _, err := wrong.Entry(rows[0].Key, rows[0].Value); err == nil {
			t.Fatal("an entry of a lane that nobody named")
		}
	}
	kept := bytes.Clone(rows[0].Value)
	Disown(rows[0].Key[len(testPrefix):], kept)
	if _, e, err := w.Entry(rows[0].Key, kept); err != nil || e.Local {
		t.Errorf("a disowned entry: %+v %v", e, err)
	}
	row := bytes.Clone(lanes[0].Value)
	if Disown(lanes[0].Key[len(testPrefix):], row); !bytes.Equal(row, lanes[0].Value) {
		t.Error("a lane is disowned")
	}
	if _, _, err := w.Entry(rows[0].Key[1:], rows[0].Value); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("a key of another length: %v", err)
	}
	if _, _, err := w.Entry(rows[0].Key, nil); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("an empty row: %v", err)
	}
}
