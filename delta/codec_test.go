package delta

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
)

// A link is the content of CBOR tag 42 as the general library sees it.
type link []byte

// oracle is a general CBOR library held to the rules of DAG-CBOR.
func oracle() (cbor.DecMode, cbor.EncMode) {
	tags := cbor.NewTagSet()
	must(tags.Add(cbor.TagOptions{DecTag: cbor.DecTagRequired, EncTag: cbor.EncTagRequired}, reflect.TypeFor[link](), 42))
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, IntDec: cbor.IntDecConvertSignedOrFail,
		DefaultMapType: reflect.TypeFor[map[string]any](), UTF8: cbor.UTF8RejectInvalid,
		NaN: cbor.NaNDecodeForbidden, Inf: cbor.InfDecodeForbidden, BignumTag: cbor.BignumTagForbidden,
		MaxNestedLevels: 4 * MaxDepth, MaxArrayElements: 1 << 20, MaxMapPairs: 1 << 20,
	}.DecModeWithTags(tags)
	must(err)
	enc, err := cbor.EncOptions{
		Sort: cbor.SortLengthFirst, ShortestFloat: cbor.ShortestFloatNone, IndefLength: cbor.IndefLengthForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncModeWithTags(tags)
	must(err)
	return dec, enc
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

var oracleDec, oracleEnc = oracle()

// A failer is what testing and rapid have in common.
type failer interface {
	Helper()
	Fatalf(string, ...any)
}

// checkOracle holds bytes that we write or accept to the general library: it
// reads them, and writes what it read as the same bytes.
func checkOracle(t failer, b []byte) any {
	t.Helper()
	var x any
	if err := oracleDec.Unmarshal(b, &x); err != nil {
		t.Fatalf("%x: a general library refuses it: %v", b, err)
	}
	again, err := oracleEnc.Marshal(x)
	if err != nil || !bytes.Equal(again, b) {
		t.Fatalf("a general library writes\n%x as\n%x, %v", b, again, err)
	}
	return x
}

func linkTo(h clock.Hash) any {
	return link(append([]byte{0}, CID(h).Bytes()...))
}

func headerAny(h *Header) any {
	var prev any
	if h.Seq > 1 {
		prev = linkTo(h.Prev)
	}
	return []any{int64(1), h.Space[:], h.Lane[:], int64(h.Seq), prev, int64(h.Time), linkTo(h.Body)}
}

// bodyAny is a body as the package documentation draws it.
func bodyAny(own clock.LaneID, b *Body) any {
	named := map[clock.LaneID]bool{}
	kills := func(f func(*Kill)) {
		for _, x := range b.Txns {
			for _, d := range x.Deltas {
				for i := range d.Kills {
					f(&d.Kills[i])
				}
			}
		}
	}
	kills(func(k *Kill) {
		for _, d := range slices.Concat(k.Dots, k.Bounds) {
			named[d.Lane] = true
		}
	})
	for _, d := range b.Deps {
		named[d.Lane] = true
	}
	delete(named, own)
	table := append([]clock.LaneID{own}, slices.SortedFunc(maps.Keys(named), clock.LaneID.Compare)...)
	number := func(l clock.LaneID) any { return int64(slices.Index(table, l)) }
	dots := func(in []clock.Dot) any {
		out := []any{}
		for _, d := range in {
			out = append(out, number(d.Lane), int64(d.Seq), int64(d.Index))
		}
		return out
	}
	lanes, deps, txns := []any{}, []any{}, []any{}
	for _, l := range table[1:] {
		lanes = append(lanes, l[:])
	}
	for _, d := range b.Deps {
		deps = append(deps, []any{number(d.Lane), int64(d.Seq), d.Hash[:]})
	}
	for _, x := range b.Txns {
		deltas := []any{}
		for _, d := range x.Deltas {
			value, err := d.Value.Any()
			must(err)
			kills := []any{}
			for _, k := range d.Kills {
				var scope any = int64(k.Scope)
				switch k.Scope {
				case ScopePath:
					scope = string(k.Path)
				case ScopeTag:
					scope = []byte(k.Tag)
				}
				kills = append(kills, []any{scope, dots(k.Dots), dots(k.Bounds)})
			}
			deltas = append(deltas, []any{d.Entity, string(d.Path), int64(d.Verb), value, kills})
		}
		txns = append(txns, []any{x.Creator, deltas})
	}
	return []any{lanes, deps, txns}
}

// A header comes back as it was; a general library reads the same from it, and
// its CID is what go-cid makes of the block.
func TestHeaderRoundTrip(t *testing.T) {
	prefix := cid.Prefix{Version: 1, Codec: cid.DagCBOR, MhType: multihash.SHA2_256, MhLength: 32}
	rapid.Check(t, func(t *rapid.T) {
		h := anyHeader().Draw(t, "header")
		raw := AppendHeader([]byte("x"), &h)[1:]
		got, err := ParseHeader(raw)
		if err != nil || got != h {
			t.Fatalf("%+v came back as %+v, %v", h, got, err)
		}
		if len(raw) > headerBytes {
			t.Fatalf("header of %d bytes", len(raw))
		}
		if x := checkOracle(t, raw); !reflect.DeepEqual(x, headerAny(&h)) {
			t.Fatalf("read as %v", x)
		}
		want, err := prefix.Sum(raw)
		if err != nil || !want.Equals(CID(HashHeader(&h))) {
			t.Fatalf("CID %v, go-cid has %v, %v", CID(HashHeader(&h)), want, err)
		}
		back, err := ParseCID(want.String())
		if err != nil || back != HashHeader(&h) {
			t.Fatalf("ParseCID(%v) = %v, %v", want, back, err)
		}
	})
}

// A body comes back as it was, and a general library reads the same from it.
func TestBodyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := clock.EntryID{Lane: anyLane().Draw(t, "lane"), Seq: rapid.Uint64Range(1, 9).Draw(t, "seq")}
		body := anyBody(id).Draw(t, "body")
		raw := AppendBody(nil, id.Lane, &body)
		got, err := ParseBody(raw, id)
		if err != nil || !reflect.DeepEqual(got, body) {
			t.Fatalf("%+v came back as\n%+v, %v", body, got, err)
		}
		if x := checkOracle(t, raw); !reflect.DeepEqual(x, bodyAny(id.Lane, &body)) {
			t.Fatalf("read as\n%v, want\n%v", x, bodyAny(id.Lane, &body))
		}
		again := body
		if again.Canonicalize(); !reflect.DeepEqual(again, body) {
			t.Fatalf("canonical once\n%+v, twice\n%+v", body, again)
		}
	})
}

// checkBody holds any bytes to: refused as malformed, or the one encoding of
// what they mean.
func checkBody(t failer, b []byte, id clock.EntryID) {
	t.Helper()
	body, err := ParseBody(b, id)
	if err != nil {
		if !errors.Is(err, ErrMalformed) {
			t.Fatalf("%v", err)
		}
		return
	}
	if again := AppendBody(nil, id.Lane, &body); !bytes.Equal(again, b) {
		t.Fatalf("%+v is read from\n%x and written as\n%x", body, b, again)
	}
	checkOracle(t, b)
	was := AppendBody(nil, id.Lane, &body)
	if body.Canonicalize(); !bytes.Equal(AppendBody(nil, id.Lane, &body), was) {
		t.Fatalf("%x is accepted and not canonical", b)
	}
}

func checkHeader(t failer, b []byte) {
	t.Helper()
	h, err := ParseHeader(b)
	if err != nil {
		if !errors.Is(err, ErrMalformed) || h != (Header{}) {
			t.Fatalf("%v, %v", h, err)
		}
		return
	}
	if again := AppendHeader(nil, &h); !bytes.Equal(again, b) {
		t.Fatalf("%+v is read from\n%x and written as\n%x", h, b, again)
	}
	checkOracle(t, b)
}

// Every truncation is refused; every change of one byte is refused or gives the
// one encoding of something else.
func TestMutations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := clock.EntryID{Lane: anyLane().Draw(t, "lane"), Seq: rapid.Uint64Range(1, 9).Draw(t, "seq")}
		body := anyBody(id).Draw(t, "body")
		raw := AppendBody(nil, id.Lane, &body)
		h := anyHeader().Draw(t, "header")
		head := AppendHeader(nil, &h)
		for i := range raw {
			if _, err := ParseBody(raw[:i], id); err == nil {
				t.Fatalf("%d of %d body bytes are accepted", i, len(raw))
			}
		}
		for i := range head {
			if _, err := ParseHeader(head[:i]); err == nil {
				t.Fatalf("%d of %d header bytes are accepted", i, len(head))
			}
		}
		if _, err := ParseBody(append(raw, 0), id); err == nil {
			t.Fatalf("a trailing byte is accepted")
		}
		flip := rapid.ByteRange(1, 255).Draw(t, "flip")
		for i := range raw {
			raw[i] ^= flip
			checkBody(t, raw, id)
			raw[i] ^= flip
		}
		for i := range head {
			head[i] ^= flip
			checkHeader(t, head)
			head[i] ^= flip
		}
	})
}

func FuzzHeader(f *testing.F) {
	s, _ := testSigner()
	for _, seq := range []uint64{1, 2, clock.MaxSeq} {
		f.Add(AppendHeader(nil, &Header{Space: s.Space, Lane: s.Lane, Seq: seq, Time: 1 << 60}))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkHeader(t, b) })
}

func FuzzBody(f *testing.F) {
	id := clock.EntryID{Lane: clock.LaneID{3}, Seq: 5}
	f.Add([]byte{0x83, 0x80, 0x80, 0x80})
	gen := anyBody(id)
	for seed := range 20 {
		b := gen.Example(seed)
		f.Add(AppendBody(nil, id.Lane, &b))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkBody(t, b, id) })
}

func FuzzParseCID(f *testing.F) {
	f.Add(CID(clock.Hash{1}).String())
	f.Add("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseCID(s)
		if err != nil {
			return
		}
		if again, err := ParseCID(CID(h).String()); err != nil || again != h {
			t.Fatalf("%q is %v, and again %v, %v", s, h, again, err)
		}
	})
}

// Only CIDs of dag-cbor blocks under sha2-256 name entries.
func TestBadCID(t *testing.T) {
	sum := sha256.Sum256(nil)
	mh, err := multihash.Encode(sum[:], multihash.SHA2_256)
	must(err)
	short, err := multihash.Encode(sum[:20], multihash.SHA2_256)
	must(err)
	other, err := multihash.Encode(sum[:], multihash.SHA3_256)
	must(err)
	for _, s := range []string{
		"", "x", "bafy", cid.NewCidV0(mh).String(), cid.NewCidV1(cid.Raw, mh).String(),
		cid.NewCidV1(cid.DagCBOR, short).String(), cid.NewCidV1(cid.DagCBOR, other).String(),
		CID(clock.Hash{1}).String() + "a", strings.Repeat("b", 1000),
	} {
		if h, err := ParseCID(s); err == nil {
			t.Errorf("ParseCID(%q) = %v", s, h)
		}
	}
}
