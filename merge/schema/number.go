package schema

import (
	"math"
	"math/big"
	"strconv"
)

// JSON has one kind of number, and two that print alike are the same. So a
// float64 stands for the decimal that it prints as, exactly: 0.1 is a tenth.
// All bounds are worked out once, as an int64 and as a float64, so that a check
// compares machine numbers.

// ratOf returns the number that x prints as; ok is false where x is none.
func ratOf(x any) (r *big.Rat, ok bool) {
	switch x := x.(type) {
	case int64:
		return new(big.Rat).SetInt64(x), true
	case float64:
		return new(big.Rat).SetString(strconv.FormatFloat(x, 'g', -1, 64))
	}
	return nil, false
}

// A bound is one end of a range of numbers.
type bound struct {
	text string // the number, as it was written
	// i and f are the last numbers of their kind that are inside; none of the
	// integers is where noInt is set.
	i     int64
	noInt bool
	f     float64
}

// newBound works out a bound. Upper bounds are lower ones of a mirrored world.
func newBound(x any, upper, exclusive bool) *bound {
	r, ok := ratOf(x)
	if !ok {
		return nil
	}
	if upper {
		r.Neg(r)
	}
	b := &bound{text: numberText(x)}
	inside := func(f float64) bool {
		y, _ := ratOf(f)
		c := y.Cmp(r)
		return c > 0 || c == 0 && !exclusive
	}
	b.f, _ = r.Float64()
	for !inside(b.f) && !math.IsInf(math.Nextafter(b.f, math.Inf(1)), 0) {
		b.f = math.Nextafter(b.f, math.Inf(1))
	}
	for down := math.Nextafter(b.f, math.Inf(-1)); !math.IsInf(down, 0) && inside(down); down = math.Nextafter(down, math.Inf(-1)) {
		b.f = down
	}
	if !inside(b.f) {
		b.f = math.Inf(1)
	}
	b.i, b.noInt = leastInt(r, exclusive, upper)
	if upper {
		b.i, b.f = ^b.i+1, -b.f
	}
	return b
}

// leastInt returns the least integer that is inside a lower bound. Where
// mirrored is set the integers are those that have an int64 as their negative.
func leastInt(r *big.Rat, exclusive, mirrored bool) (n int64, none bool) {
	least := new(big.Int).Div(r.Num(), r.Denom()) // rounded down
	if !r.IsInt() || exclusive {
		least.Add(least, big.NewInt(1))
	}
	low, high := big.NewInt(math.MinInt64), big.NewInt(math.MaxInt64)
	if mirrored {
		low, high = new(big.Int).Neg(high), new(big.Int).Neg(low)
	}
	if least.Cmp(high) > 0 {
		return 0, true
	}
	if least.Cmp(low) < 0 {
		least = low
	}
	if !least.IsInt64() {
		return math.MinInt64, false // 2^63, which is its own negative in 64 bits
	}
	return least.Int64(), false
}

// A constant is a number that values are compared with.
type constant struct {
	i     int64
	isInt bool
	f     float64
	isF   bool
}

func newConstant(x any) (c constant, ok bool) {
	r, ok := ratOf(x)
	if !ok {
		return c, false
	}
	if r.IsInt() && r.Num().IsInt64() {
		c.i, c.isInt = r.Num().Int64(), true
	}
	f, _ := r.Float64()
	if y, ok := ratOf(f); ok && y.Cmp(r) == 0 {
		c.f, c.isF = f, true
	}
	return c, true
}

func numberText(x any) string {
	switch x := x.(type) {
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return ""
}
