package digest

import (
	"crypto/sha256"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// number is a sum as big integer arithmetic has it.
func number(s Sum) *big.Int {
	b := s.Bytes()
	slices.Reverse(b[:])
	return new(big.Int).SetBytes(b[:])
}

func anySum() *rapid.Generator[Sum] {
	word := rapid.OneOf(rapid.Uint64(), rapid.Just(uint64(0)), rapid.Just(^uint64(0)))
	return rapid.Custom(func(t *rapid.T) (s Sum) {
		for i := range s {
			s[i] = word.Draw(t, "word")
		}
		return s
	})
}

// Plus and Minus are arithmetic modulo 2^256, so that they undo each other.
func TestArithmetic(t *testing.T) {
	modulus := new(big.Int).Lsh(big.NewInt(1), 256)
	rapid.Check(t, func(t *rapid.T) {
		a, b := anySum().Draw(t, "a"), anySum().Draw(t, "b")
		plus := new(big.Int).Add(number(a), number(b))
		if plus.Mod(plus, modulus); number(a.Plus(b)).Cmp(plus) != 0 {
			t.Fatalf("%v + %v = %v", a, b, a.Plus(b))
		}
		minus := new(big.Int).Sub(number(a), number(b))
		if minus.Mod(minus, modulus); number(a.Minus(b)).Cmp(minus) != 0 {
			t.Fatalf("%v - %v = %v", a, b, a.Minus(b))
		}
		if a.Plus(b).Minus(b) != a || a.Minus(b).Plus(b) != a || a.Minus(a) != (Sum{}) {
			t.Fatalf("%v and %v do not undo", a, b)
		}
	})
}

// The sum of a set does not depend on the order of its members, nor on members
// that came and went.
func TestOrderIndependence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.SliceOfNDistinct(rapid.String(), 1, 20, rapid.ID[string]).Draw(t, "members")
		var sum, other Sum
		for _, m := range members {
			sum = sum.Plus(Of([]byte(m)))
		}
		for _, m := range rapid.Permutation(members).Draw(t, "permuted") {
			other = other.Plus(Of([]byte(m)))
		}
		if sum != other {
			t.Fatalf("%v, permuted %v", sum, other)
		}
		if less := sum.Minus(Of([]byte(members[0]))); less == sum {
			t.Fatal("a member less, and the same sum")
		}
	})
}

// A sum comes back from bytes and text; other texts are errors.
func TestSumText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySum().Draw(t, "sum")
		text, err := s.MarshalText()
		if err != nil || string(text) != s.String() {
			t.Fatal(string(text), err)
		}
		var got Sum
		if err := got.UnmarshalText(text); err != nil || got != s || FromBytes(s.Bytes()) != s {
			t.Fatalf("%v came back as %v, %v", s, got, err)
		}
		for _, bad := range []string{"", s.String()[1:], s.String() + "00", "zz" + s.String()[2:]} {
			if got.UnmarshalText([]byte(bad)) == nil || got != s {
				t.Fatalf("%q is accepted as %v", bad, got)
			}
		}
	})
	if Of([]byte("x")).Bytes() != sha256.Sum256([]byte("x")) {
		t.Error("one member is not its own hash")
	}
}

func BenchmarkOf(b *testing.B) {
	row := make([]byte, 128)
	var s Sum
	b.ReportAllocs()
	for b.Loop() {
		s = s.Plus(Of(row))
	}
}
