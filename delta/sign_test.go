package delta

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
)

// A signed is one thing to verify, and whether it is good.
type signed struct {
	name string
	key  LaneKey
	head Header
	sig  []byte
	good bool
}

// smallOrder lists every encoding, canonical or not, of the eight points of
// small order (ZIP-215 accepts all of them as keys and as R).
func smallOrder() [][]byte {
	var out [][]byte
	for _, s := range []string{
		"01" + strings.Repeat("00", 31), "ec" + strings.Repeat("ff", 30) + "7f", strings.Repeat("00", 32),
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ee" + strings.Repeat("ff", 30) + "7f", "ed" + strings.Repeat("ff", 30) + "7f",
	} {
		for _, sign := range []byte{0, 0x80} {
			b, err := hex.DecodeString(s)
			must(err)
			b[31] |= sign
			out = append(out, b)
		}
	}
	return out
}

func laneOf(author []byte) (LaneKey, Header) {
	k := LaneKey{Author: Author(author), Incarnation: [16]byte{4}}
	h := Header{Space: clock.Hash{5}, Seq: 2, Prev: clock.Hash{6}, Time: 7, Body: clock.Hash{8}}
	h.Lane = k.ID(h.Space)
	return k, h
}

// mixedOrder signs with a key that is an honest key plus a point of order
// eight: with the cofactor it verifies, without it does not.
func mixedOrder() signed {
	secret := sha512.Sum512([]byte("secret"))
	nonce := sha512.Sum512([]byte("nonce"))
	var a, r, k, s scalar.Scalar
	_, err := a.SetBytesModOrderWide(secret[:])
	must(err)
	_, err = r.SetBytesModOrderWide(nonce[:])
	must(err)
	var pub, rPoint curve.EdwardsPoint
	pub.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, &a)
	pub.Add(&pub, curve.EIGHT_TORSION[1])
	rPoint.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, &r)
	var pubBytes, rBytes curve.CompressedEdwardsY
	pubBytes.SetEdwardsPoint(&pub)
	rBytes.SetEdwardsPoint(&rPoint)
	key, h := laneOf(pubBytes[:])
	// The defect of the cofactorless equation is k times a point of order
	// eight; take a header for which that is not the neutral element.
	for {
		sum := sha512.Sum512(slices.Concat(rBytes[:], pubBytes[:], AppendHeader(nil, &h)))
		_, err = k.SetBytesModOrderWide(sum[:])
		must(err)
		var kBytes [32]byte
		must(k.ToBytes(kBytes[:]))
		if kBytes[0]%8 != 0 {
			break
		}
		h.Time++
	}
	s.Mul(&k, &a)
	s.Add(&s, &r)
	var sBytes [32]byte
	must(s.ToBytes(sBytes[:]))
	return signed{"mixed order", key, h, slices.Concat(rBytes[:], sBytes[:]), true}
}

// cases are signatures of every sort that implementations disagree on.
func cases() []signed {
	s, k := testSigner()
	h := Header{Space: s.Space, Lane: s.Lane, Seq: 1, Time: 2}
	sig := Sign(s.Key, &h)
	other := h
	other.Time++
	_, key2, err := ed25519.GenerateKey(strings.NewReader(strings.Repeat("k", 64)))
	must(err)
	foreign := LaneKey{Author: Author(key2.Public().(ed25519.PublicKey)), Incarnation: k.Incarnation}
	stolen := h
	stolen.Lane[0]++
	flipped := slices.Clone(sig)
	flipped[3]++
	// S plus the group order: the same signature under another name.
	order, err := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	must(err)
	high := slices.Clone(sig)
	carry := 0
	for i := range 32 {
		carry += int(high[32+i]) + int(order[i])
		high[32+i] = byte(carry)
		carry >>= 8
	}
	out := []signed{
		{"honest", k, h, sig, true},
		{"other header", k, other, sig, false},
		{"other signer", k, h, Sign(key2, &h), false},
		{"other author", foreign, h, sig, false},
		{"other lane", k, stolen, Sign(s.Key, &stolen), false},
		{"flipped", k, h, flipped, false},
		{"S past the order", k, h, high, false},
		{"empty", k, h, nil, false},
		{"short", k, h, sig[:63], false},
		{"long", k, h, append(slices.Clone(sig), 0), false},
		mixedOrder(),
	}
	for i, a := range smallOrder() {
		for j, r := range smallOrder() {
			key, h := laneOf(a)
			name := "small order " + string(rune('a'+i)) + string(rune('a'+j))
			out = append(out, signed{name, key, h, slices.Concat(r, make([]byte, 32)), true})
		}
	}
	// y = 2 is on no point of the curve.
	key, hh := laneOf(append([]byte{2}, make([]byte, 31)...))
	return append(out, signed{"no point", key, hh, make([]byte, 64), false})
}

// Verify accepts what ZIP-215 accepts, and nothing signed by another author or
// for another lane.
func TestVerify(t *testing.T) {
	for _, c := range cases() {
		err := Verify(c.key, &c.head, c.sig)
		if (err == nil) != c.good || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	s, k := testSigner()
	if err := Verify(k, &Header{Space: s.Space, Lane: s.Lane}, make([]byte, 63)); !strings.Contains(err.Error(), "63 bytes, want 64") {
		t.Error(err)
	}
	m := mixedOrder()
	if ed25519.Verify(m.key.Author[:], AppendHeader(nil, &m.head), m.sig) {
		t.Error("the mixed-order case does not tell the rules apart")
	}
	if k.Author.String() != hex.EncodeToString(k.Author[:]) {
		t.Error(k.Author)
	} else if text, err := k.Author.MarshalText(); err != nil || string(text) != k.Author.String() {
		t.Error(string(text), err)
	}
}

// A batch of any cases in any order says of each what Verify says, and is empty
// afterwards.
func TestBatchAgrees(t *testing.T) {
	all := cases()
	var b Batch
	if b.Verify() != nil || b.Len() != 0 {
		t.Error("the empty batch is bad")
	}
	check := func(t failer, in []signed) {
		for _, c := range in {
			b.Add(c.key, &c.head, c.sig)
		}
		if b.Len() != len(in) {
			t.Fatalf("%d added, %d there", len(in), b.Len())
		}
		errs := b.Verify()
		if (errs == nil) != !slices.ContainsFunc(in, func(c signed) bool { return !c.good }) {
			t.Fatalf("errors: %v", errs)
		}
		for i, c := range in {
			if errs == nil {
				break
			}
			single := Verify(c.key, &c.head, c.sig)
			if (single == nil) != (errs[i] == nil) || single != nil && single.Error() != errs[i].Error() {
				t.Fatalf("%s: alone %v, in the batch %v", c.name, single, errs[i])
			}
		}
		if b.Len() != 0 || b.Verify() != nil {
			t.Fatalf("the batch is not empty")
		}
	}
	for _, c := range all {
		check(t, []signed{c})
	}
	check(t, all)
	var good []signed
	for _, c := range all {
		if c.good {
			good = append(good, c)
		}
	}
	check(t, good)
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.SliceOfN(rapid.SampledFrom(all), 1, 12).Draw(t, "cases"))
	})
}
