package delta

import (
	"bytes"
	"crypto/ed25519"
	"strconv"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
)

// benchEntry is what most entries are: one assign of a 100-byte value over one
// earlier value.
func benchEntry(tb testing.TB) (*Entry, LaneKey) {
	tb.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	k := LaneKey{Author: Author(key.Public().(ed25519.PublicKey)), Incarnation: [16]byte{1}}
	s := Signer{Space: clock.Hash{9}, Key: key}
	s.Lane = k.ID(s.Space)
	e, err := s.Build(clock.Head{Seq: 41, Hash: clock.Hash{8}}, 1<<60, Body{Txns: []Txn{{Deltas: []Delta{{
		Entity: "host/web-1", Path: "/cpu/cores", Verb: Assign, Value: String(string(bytes.Repeat([]byte{'x'}, 98))),
		Kills: []Kill{{Dots: []clock.Dot{{Lane: s.Lane, Seq: 40}}}},
	}}}}})
	if err != nil {
		tb.Fatal(err)
	}
	return e, k
}

func BenchmarkParseBody(b *testing.B) {
	e, _ := benchEntry(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(e.Raw)))
	for b.Loop() {
		if _, err := ParseBody(e.Raw, e.ID()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEntry(b *testing.B) {
	e, _ := benchEntry(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseEntry(e.Header, e.Raw, e.Sig); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	e, _ := benchEntry(b)
	raw := AppendHeader(nil, &e.Header)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseHeader(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendBody(b *testing.B) {
	e, _ := benchEntry(b)
	buf := make([]byte, 0, len(e.Raw))
	b.ReportAllocs()
	b.SetBytes(int64(len(e.Raw)))
	for b.Loop() {
		buf = AppendBody(buf[:0], e.Lane, &e.Body)
	}
}

func BenchmarkHashHeader(b *testing.B) {
	e, _ := benchEntry(b)
	b.ReportAllocs()
	for b.Loop() {
		HashHeader(&e.Header)
	}
}

func BenchmarkVerify(b *testing.B) {
	e, k := benchEntry(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := Verify(k, &e.Header, e.Sig); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	e, k := benchEntry(b)
	for _, size := range []int{16, 64, 256, 1024} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			var batch Batch
			for b.Loop() {
				for range size {
					batch.Add(k, &e.Header, e.Sig)
				}
				if errs := batch.Verify(); errs != nil {
					b.Fatal(errs)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/sig")
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	e, _ := benchEntry(b)
	s := Signer{Space: e.Space, Lane: e.Lane, Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Build(clock.Head{Seq: 41}, e.Time, e.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// Reading an entry's parts allocates no more than its slices and strings.
func TestAllocations(t *testing.T) {
	e, k := benchEntry(t)
	plain, err := ParseBody(AppendBody(nil, e.Lane, &Body{Txns: []Txn{{Deltas: []Delta{{
		Entity: "e", Verb: Add, Value: Null,
	}}}}}), e.ID())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		most float64
		f    func()
	}{
		{"parse entry", 8, func() { _, _ = ParseEntry(e.Header, e.Raw, e.Sig) }},
		{"hash header", 0, func() { HashHeader(&e.Header) }},
		{"verify", 0, func() { _ = Verify(k, &e.Header, e.Sig) }},
		{"dot and kills", 0, func() { _, _ = e.Dot(0), plain.Txns[0].Deltas[0].Kills }},
		{"hits", 0, func() { e.Body.Txns[0].Deltas[0].Kills[0].Hits(e.Dot(3)) }},
	} {
		if n := testing.AllocsPerRun(100, c.f); n > c.most {
			t.Errorf("%s: %v allocations, at most %v", c.name, n, c.most)
		}
	}
	if plain.Txns[0].Deltas[0].Kills != nil || plain.Deps != nil {
		t.Error("empty lists are not nil")
	}
}
