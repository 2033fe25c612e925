package plugin

import (
	"math/bits"
	"unicode/utf8"

	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// sizes measures values: a byte of text counts 1, and so does each element,
// however deep. The library's own bounds of depth and count would make it
// saturate on values that Rhizome allows.
var sizes = types.NewSizeCalculator(types.SizeCalculatorStringUnitLength(1),
	types.SizeCalculatorMaxDepth(maxWeighDepth), types.SizeCalculatorMaxTraversal(maxWeight))

// weigh returns the size of all that is in a value, shared parts as often as
// they occur.
func weigh(v ref.Val) uint64 { return uint64(sizes.AggregateSize(v)) }

// price returns what a call costs, in the steps of Limits.Cost. It is known from
// the arguments, before the call: what is too expensive is never begun. A step
// comes to at most some 100 ns or 100 bytes.
//
// The library's own prices are not used. They are taken after the call, and a
// call whose overload is known only at run time, as of all that works on
// survivors, costs 1, whatever it does.
func price(function string, args []ref.Val) uint64 {
	switch function {
	case "_+_":
		if _, ok := args[0].(traits.Lister); ok {
			return 1 // the two lists are linked, not copied
		}
	case "_==_", "_!=_":
		return 1 + min(weigh(args[0]), weigh(args[1]))/10
	case "@in":
		if _, ok := args[1].(traits.Lister); ok {
			return 1 + length(args[1]) + weigh(args[1])/10
		}
		return 1
	case "size":
		return 1 + textLength(args[0])/10
	case "cel.@mapInsert":
		if _, ok := args[0].(traits.MutableMapper); !ok {
			return 1 + length(args[0])
		}
		return 1
	case "join":
		return joinPrice(args)
	case "replace":
		return replacePrice(args)
	case "split":
		return 1 + length(args[0])
	case "indexOf", "lastIndexOf":
		return 1 + cost.SafeMultiply(length(args[0]), length(args[1]))/10 + length(args[0])
	case "lists.range":
		if n, ok := args[0].(types.Int); ok && n > 0 {
			return 1 + uint64(n)
		}
	case "flatten":
		return 1 + weigh(args[0])
	case "sort", "@sortByAssociatedKeys":
		n := length(args[0])
		return 1 + cost.SafeMultiply(uint64(bits.Len64(n)), n+weigh(args[len(args)-1])/10)
	case "distinct":
		return 1 + pairs(args[0], args[0])/2
	case "sets.contains", "sets.intersects", "hasAny", "hasAll", "hasOnly":
		return 1 + pairs(args[0], args[1])
	case "sets.equivalent", "hasExactly":
		return 1 + 2*pairs(args[0], args[1])
	}
	return linear(args)
}

// linear is the price of a function that looks at its arguments once.
func linear(args []ref.Val) uint64 {
	total := uint64(1)
	for _, a := range args {
		if n := textLength(a); n > 0 {
			total += n / 10
		} else if _, ok := a.(traits.Lister); ok {
			total += length(a)
		}
	}
	return total
}

// pairs is the price of comparing each element of one list to each of another.
func pairs(a, b ref.Val) uint64 {
	return cost.SafeMultiply(length(a), length(b)+weigh(b)/10)
}

func joinPrice(args []ref.Val) uint64 {
	n := length(args[0])
	total := cost.SafeAdd(1+n, weigh(args[0])/10)
	if len(args) > 1 {
		total = cost.SafeAdd(total, cost.SafeMultiply(n, textLength(args[1]))/10)
	}
	return total
}

func replacePrice(args []ref.Val) uint64 {
	s, old, repl := textLength(args[0]), textLength(args[1]), textLength(args[2])
	times := s / max(old, 1)
	if old == 0 {
		times = s + 1
	}
	return cost.SafeAdd(1+s/10, cost.SafeMultiply(times, repl)/10)
}

// textLength returns the bytes of a text or byte string, 0 of anything else.
func textLength(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	}
	return 0
}

// length returns what size() does, 0 of what has no size.
func length(v ref.Val) uint64 {
	if s, ok := v.(types.String); ok {
		return uint64(utf8.RuneCountInString(string(s)))
	}
	if s, ok := v.(traits.Sizer); ok {
		if n, ok := s.Size().(types.Int); ok {
			return uint64(n)
		}
	}
	return 0
}

// priced returns the function of a call that costs more than limit refused.
func priced(function string, o *functions.Overload, limit uint64) *functions.Overload {
	out := *o
	check := func(args ...ref.Val) {
		if price(function, args) > limit {
			panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: "one call of " + function})
		}
	}
	if f := o.Unary; f != nil {
		out.Unary = func(a ref.Val) ref.Val { check(a); return f(a) }
	}
	if f := o.Binary; f != nil {
		out.Binary = func(a, b ref.Val) ref.Val { check(a, b); return f(a, b) }
	}
	if f := o.Function; f != nil {
		out.Function = func(args ...ref.Val) ref.Val { check(args...); return f(args...) }
	}
	return &out
}

// A priceList tells the library what calls cost.
type priceList struct{}

// CallCost returns the price of a call.
func (priceList) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	p := price(function, args)
	return &p
}
