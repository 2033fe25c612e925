package merge

import (
	"fmt"
	"math"
	"math/big"
)

// exactBits holds any sum of fewer than 2^64 float64s exactly: their bits lie
// between 2^-1074 and 2^1024.
const exactBits = 1074 + 1024 + 64

func isNumber(x any) bool {
	switch x.(type) {
	case int64, float64:
		return true
	}
	return false
}

// kindOf names the type of a value for people.
func kindOf(x any) string {
	switch x := x.(type) {
	case nil:
		return "null"
	case bool:
		return "a bool"
	case int64:
		return "an integer"
	case float64:
		return "a number"
	case string:
		return "a text"
	case []byte:
		return "a byte string"
	case []any:
		return "an array"
	case map[string]any:
		if _, ok := RefOf(x); ok {
			return "a reference"
		}
		return "an object"
	}
	return fmt.Sprintf("%T", x)
}

// compareNumbers compares exactly: an int64 past 2^53 is not rounded.
func compareNumbers(a, b any) int { return exact(a).Cmp(exact(b)) }

func exact(x any) *big.Float {
	f := new(big.Float).SetPrec(exactBits)
	switch x := x.(type) {
	case int64:
		f.SetInt64(x)
	case float64:
		f.SetFloat64(x)
	}
	return f
}

// total adds numbers without rounding, so that no order of them matters. whole
// says that all are integers.
func total(in *Input) (t *big.Float, whole bool, err error) {
	t, whole = new(big.Float).SetPrec(exactBits), true
	small := int64(0) // the sum of integers as long as it fits
	for i := range in.Survivors {
		x := in.value(i)
		if !isNumber(x) {
			return nil, false, Failf(ErrorType, "%s among the values: want numbers alone", kindOf(x))
		}
		k, isInt := x.(int64)
		whole = whole && isInt
		if s, ok := plus(small, k); isInt && ok {
			small = s
			continue
		}
		t.Add(t, exact(x))
	}
	return t.Add(t, new(big.Float).SetPrec(exactBits).SetInt64(small)), whole, nil
}

// sum returns the exact sum, rounded once: an integer where all are and it is
// within int64, else a number.
func sum(in *Input) (Output, error) {
	t, whole, err := total(in)
	if err != nil {
		return Output{}, err
	}
	out := Output{Why: "the sum"}
	if whole {
		if n, acc := t.Int64(); acc == big.Exact {
			out.Value = n
			return out, nil
		}
	}
	out.Value, err = rounded(t)
	return out, err
}

// mean returns the exact mean, rounded once.
func mean(in *Input) (Output, error) {
	if len(in.Survivors) == 0 {
		return Output{Absent: true}, nil
	}
	t, _, err := total(in)
	if err != nil {
		return Output{}, err
	}
	r, _ := t.Rat(nil)
	f, _ := r.Quo(r, new(big.Rat).SetInt64(int64(len(in.Survivors)))).Float64()
	return Output{Value: f, Why: "the mean"}, nil
}

func rounded(t *big.Float) (any, error) {
	f, _ := t.Float64()
	if math.IsInf(f, 0) {
		return nil, Failf(ErrorOutput, "the sum is past float64")
	}
	return f, nil
}
