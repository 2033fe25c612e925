package delta

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
)

var update = flag.Bool("update", false, "write the golden files anew")

const goldenFile = "testdata/v1/entries.txt"

type golden struct {
	name string
	body Body
}

// goldenBodies has every verb, scope, kind of value and list of the format.
func goldenBodies(own clock.LaneID) []golden {
	a, b := clock.LaneID{0xaa}, clock.LaneID{0xbb}
	half, err := Float(-0.5)
	must(err)
	object, err := ValueOf(map[string]any{"b": []any{nil, true, false}, "aa": map[string]any{refKey: "host/b"}, "": []byte{0, 255}})
	must(err)
	delta := func(v Verb, path Path, value Value, kills ...Kill) Delta {
		return Delta{Entity: "host/a", Path: path, Verb: v, Value: value, Kills: kills}
	}
	mine := func(seq uint64, index uint32) clock.Dot { return clock.Dot{Lane: own, Seq: seq, Index: index} }
	one := func(name string, d ...Delta) golden { return golden{name, Body{Txns: []Txn{{Deltas: d}}}} }
	return []golden{
		{"filler", Body{Deps: []Dep{{clock.EntryID{Lane: b, Seq: 1 << 40}, [16]byte{1}}, {clock.EntryID{Lane: a, Seq: 1}, [16]byte{2}}}}},
		one("assign", delta(Assign, "/cpu/cores", Int(64),
			Kill{Dots: []clock.Dot{mine(1, 0), {Lane: a, Seq: 5, Index: 300}}},
			Kill{Scope: ScopePrefix, Bounds: []clock.Dot{{Lane: b, Seq: 70000, Index: 2}, mine(1, 4)}},
			Kill{Scope: ScopePath, Path: "/cpu", Dots: []clock.Dot{{Lane: b, Seq: 9}}},
			Kill{Scope: ScopePath, Dots: []clock.Dot{{Lane: a, Seq: 1}}},
		)),
		one("add", delta(Add, "/tags", String("ünï")), delta(Add, "/tags", Bytes([]byte{1, 2}))),
		{"vote", Body{Txns: []Txn{{Creator: "ann", Deltas: []Delta{delta(Vote, "", half, Kill{Dots: []clock.Dot{mine(2, 0)}})}}}}},
		one("inc", delta(Inc, "/n", IncValue{-3, 1 << 40}.Value(), Kill{Dots: []clock.Dot{mine(1, 1)}})),
		one("remove", delta(Remove, "/tags", Null, Kill{Scope: ScopeTag, Tag: BagTag(String("x")), Dots: []clock.Dot{{Lane: a, Seq: 2, Index: 1}}})),
		one("negate", delta(Negate, "/a~1b", Null, Kill{Dots: []clock.Dot{{Lane: a, Seq: 2}}})),
		one("drop", delta(Drop, "", nil, Kill{Scope: ScopePrefix, Bounds: []clock.Dot{{Lane: a, Seq: 1 << 20, Index: 7}}})),
		{"values", Body{Txns: []Txn{
			{Deltas: []Delta{delta(Assign, "/null", Null), delta(Assign, "/ref", Ref("host/b"))}},
			{Creator: "bob", Deltas: []Delta{delta(Assign, "/object", object), delta(Assign, "/min", Int(-1<<63))}},
		}}},
	}
}

func buildGolden(t *testing.T) (entries []*Entry, text []byte) {
	t.Helper()
	s, k := testSigner()
	out := fmt.Appendf(nil, "author %v\nincarnation %x\nspace %v\nlane %v\n", k.Author, k.Incarnation, s.Space, s.Lane)
	var head clock.Head
	for i, g := range goldenBodies(s.Lane) {
		e, err := s.Build(head, clock.TimestampAt(1_700_000_000_000)+clock.Timestamp(i), g.body)
		if err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		head = clock.Head{Seq: e.Seq, Hash: e.Hash}
		out = fmt.Appendf(out, "\n%s\nheader %x\nbody %x\nhash %v\nsig %x\ncid %v\nbody-cid %v\n",
			g.name, AppendHeader(nil, &e.Header), e.Raw, e.Hash, e.Sig, CID(e.Hash), CID(e.Header.Body))
		entries = append(entries, e)
	}
	return entries, out
}

// The bytes of format 1 are fixed: what was written once is written the same,
// still reads, and still verifies.
func TestGolden(t *testing.T) {
	built, text := buildGolden(t)
	if *update {
		if err := os.WriteFile(goldenFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("built:\n%s\nwant:\n%s", text, want)
	}
	_, k := testSigner()
	for i, block := range bytes.Split(want, []byte("\n\n"))[1:] {
		var name, hash, cid, bodyCID string
		var header, body, sig []byte
		if _, err := fmt.Sscanf(string(block), "%s\nheader %x\nbody %x\nhash %s\nsig %x\ncid %s\nbody-cid %s",
			&name, &header, &body, &hash, &sig, &cid, &bodyCID); err != nil {
			t.Fatalf("%s: %v", block, err)
		}
		h, err := ParseHeader(header)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e, err := ParseEntry(h, body, sig)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(e, built[i]) {
			t.Errorf("%s reads as\n%+v, built\n%+v", name, e, built[i])
		}
		if err := Verify(k, &e.Header, e.Sig); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(AppendHeader(nil, &e.Header), header) || !bytes.Equal(AppendBody(nil, e.Lane, &e.Body), body) {
			t.Errorf("%s is written otherwise", name)
		}
		if got, err := ParseCID(cid); err != nil || got != e.Hash || hex.EncodeToString(got[:]) != hash {
			t.Errorf("%s: cid %v, %v", name, got, err)
		}
		if got, err := ParseCID(bodyCID); err != nil || got != e.Header.Body {
			t.Errorf("%s: body cid %v, %v", name, got, err)
		}
		checkOracle(t, header)
		checkOracle(t, body)
	}
}
