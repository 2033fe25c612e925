package delta

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// AppendCanonicalJSON appends what Any or ParseJSON returns in the canonical
// form of RFC 8785: no white space, keys in the order of their UTF-16 code
// units, floats as ECMAScript prints them, and as few escapes as there can be.
// It departs from the RFC in one thing: an int64 prints exactly, also where a
// float64 could not hold it. Byte strings and references are the objects that
// AppendAnyJSON writes too. It knows no other types.
//
// A float without a fraction prints as an integer, and negative zero as 0, so
// ParseJSON gives back an int64 for it. Floats from 2^63 on and below 10^21
// print as whole numbers that ParseJSON refuses, since they are past int64.
func AppendCanonicalJSON(b []byte, x any) []byte { return canonicalJSON.append(b, x) }

var canonicalJSON = jsonForm{appendCanonicalFloat, appendCanonicalString, compareUTF16}

// appendCanonicalFloat prints a number as Number::toString of ECMA-262 does:
// the shortest digits that give it back, with an exponent below 1e-6 and from
// 1e21 on.
func appendCanonicalFloat(b []byte, f float64) []byte {
	a := math.Abs(f)
	switch {
	case a == 0:
		return append(b, '0') // of negative zero too
	case a >= 1e-6 && a < 1e21:
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	// An exponent of one digit has two in Go: 1e-07.
	if i := start + bytes.IndexByte(b[start:], 'e') + 2; i < len(b) && b[i] == '0' {
		b = slices.Delete(b, i, i+1)
	}
	return b
}

// canonicalEscapes are the escapes of control characters that have two letters.
var canonicalEscapes = [0x20]byte{'\b': 'b', '\t': 't', '\n': 'n', '\f': 'f', '\r': 'r'}

func appendCanonicalString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case canonicalEscapes[c] != 0:
			b = append(b, '\\', canonicalEscapes[c])
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}

// compareUTF16 orders texts by their UTF-16 code units. That is not the order
// of their bytes: what takes two units begins with 0xd800 to 0xdbff, and so
// stands before the characters from 0xe000 to 0xffff.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		r, n := utf8.DecodeRuneInString(a)
		s, m := utf8.DecodeRuneInString(b)
		if r != s {
			return cmp.Or(cmp.Compare(firstUnit(r), firstUnit(s)), cmp.Compare(r, s))
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(len(a), len(b))
}

// firstUnit returns the first UTF-16 code unit of a character.
func firstUnit(r rune) rune {
	if r < 0x10000 {
		return r
	}
	return 0xd800 + (r-0x10000)>>10
}
