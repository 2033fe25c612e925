package merge

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// ErrNoResolver reports a resolver's name that nobody knows.
var ErrNoResolver = errors.New("unknown resolver")

// The names of the built-in resolvers.
const (
	LastWriteWins  = "last-write-wins"  // the newest value
	FirstWriteWins = "first-write-wins" // the oldest value
	Min            = "min"              // the least number, or text
	Max            = "max"              // the greatest number, or text
	Sum            = "sum"              // of numbers, rounded once
	Mean           = "mean"             // of numbers, rounded once
	Majority       = "majority"         // what most creators hold; quorum
	Concat         = "concat"           // texts one behind the other; separator, order
	Set            = "set"              // the distinct values, sorted
	Union          = "union"            // of arrays, sorted
	Intersection   = "intersection"     // of arrays, sorted
	All            = "all"              // every value, the oldest first
	PreferAuthor   = "prefer-author"    // the newest of the first of authors who has any
	Conflict       = "conflict"         // the value all agree on, else null and an alarm
)

// builtins makes each built-in resolver of its parameters. All of them are pure
// functions of the survivors as a multiset: what they sort by is time, dot and
// value, never place, and so order, repetition of a delta, and batching cannot
// matter.
var builtins = map[string]func(p *params) Resolver{
	LastWriteWins:  func(*params) Resolver { return ResolverFunc(lastWrite) },
	FirstWriteWins: func(*params) Resolver { return ResolverFunc(firstWrite) },
	Min: func(*params) Resolver {
		return ResolverFunc(func(in *Input) (Output, error) { return extreme(in, -1) })
	},
	Max: func(*params) Resolver {
		return ResolverFunc(func(in *Input) (Output, error) { return extreme(in, +1) })
	},
	Sum:      func(*params) Resolver { return ResolverFunc(sum) },
	Mean:     func(*params) Resolver { return ResolverFunc(mean) },
	Majority: func(p *params) Resolver { return majority(p.quorum()) },
	Concat: func(p *params) Resolver {
		return concat{p.text("separator", ""), p.choice("order", "sorted", "causal")}
	},
	Set:          func(*params) Resolver { return ResolverFunc(distinct) },
	Union:        func(*params) Resolver { return ResolverFunc(union) },
	Intersection: func(*params) Resolver { return ResolverFunc(intersection) },
	All:          func(*params) Resolver { return ResolverFunc(all) },
	PreferAuthor: func(p *params) Resolver { return preferAuthor(p.texts("authors")) },
	Conflict:     func(*params) Resolver { return ResolverFunc(conflict) },
}

// Builtins returns the names of the built-in resolvers, in order.
func Builtins() []string { return slices.Sorted(maps.Keys(builtins)) }

// Builtin returns a built-in resolver. It refuses parameters that the resolver
// does not have, and a name that it does not know with ErrNoResolver.
func Builtin(use string, params map[string]any) (Resolver, error) {
	build, ok := builtins[use]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrNoResolver, use)
	}
	p := newParams(params)
	r := build(p)
	if err := p.end(); err != nil {
		return nil, fmt.Errorf("resolver %s: %w", use, err)
	}
	return r, nil
}

// value returns the i-th survivor's value.
func (in *Input) value(i int) any {
	if in.Values != nil {
		return in.Values[i]
	}
	return in.Survivors[i].reads()
}

// reads returns what a survivor's value reads as: of an inc the lane's total.
func (s *Survivor) reads() any {
	if s.Verb == delta.Inc {
		if inc, ok := s.Value.Inc(); ok {
			return inc.Total
		}
	}
	return anyOf(s.Value)
}

// encoded returns what the survivor reads as in canonical bytes: of an inc not
// its value, whose bytes an array of two integers may have, too.
func (s *Survivor) encoded() delta.Value {
	if s.Verb == delta.Inc {
		if inc, ok := s.Value.Inc(); ok {
			return delta.Int(inc.Total)
		}
	}
	return s.Value
}

// same reports whether two survivors read as the same value.
func (in *Input) same(i, j int) bool {
	return bytes.Equal(in.Survivors[i].encoded(), in.Survivors[j].encoded())
}

// show marks the survivors whose value is that of the i-th one.
func (in *Input) show(i int) (shown []bool, differ bool) {
	shown = make([]bool, len(in.Survivors))
	for j := range in.Survivors {
		shown[j] = in.same(j, i)
		differ = differ || !shown[j]
	}
	return shown, differ
}

// one is the output of a resolver that takes the i-th survivor's value.
func (in *Input) one(i int, why string) Output {
	out := Output{Value: in.value(i), Shown: make([]bool, len(in.Survivors)), Why: why}
	out.Shown[i] = true
	for j := range in.Survivors {
		out.Conflict = out.Conflict || !in.same(j, i)
	}
	return out
}

func lastWrite(in *Input) (Output, error) {
	if len(in.Survivors) == 0 {
		return Output{Absent: true}, nil
	}
	return in.one(0, "the newest"), nil
}

func firstWrite(in *Input) (Output, error) {
	if len(in.Survivors) == 0 {
		return Output{Absent: true}, nil
	}
	return in.one(len(in.Survivors)-1, "the oldest"), nil
}

// extreme returns the value that is least (sign -1) or greatest (sign +1).
// Numbers that are equal but of two types, as 1 and 1.0, go by their bytes.
func extreme(in *Input, sign int) (Output, error) {
	if len(in.Survivors) == 0 {
		return Output{Absent: true}, nil
	}
	best := 0
	for i := range in.Survivors {
		c, err := Compare(in.value(i), in.value(best))
		if err != nil {
			return Output{}, err
		}
		if c = cmp.Or(c, bytes.Compare(in.Survivors[i].encoded(), in.Survivors[best].encoded())); c*sign > 0 {
			best = i
		}
	}
	out := Output{Value: in.value(best), Why: "the least"}
	if sign > 0 {
		out.Why = "the greatest"
	}
	out.Shown, _ = in.show(best)
	return out, nil
}

// Compare compares numbers exactly, and texts bytewise. Other values it cannot
// compare.
func Compare(a, b any) (int, error) {
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y), nil
		}
	}
	if isNumber(a) && isNumber(b) {
		return compareNumbers(a, b), nil
	}
	return 0, Failf(ErrorType, "%s and %s cannot be compared: want numbers or texts alone", kindOf(a), kindOf(b))
}

// distinct returns the distinct values in the order of their bytes.
func distinct(in *Input) (Output, error) {
	values := make([]delta.Value, len(in.Survivors))
	for i := range in.Survivors {
		values[i] = in.Survivors[i].encoded()
	}
	return Output{Value: sorted(values), Why: "the distinct values"}, nil
}

// sorted returns values without repetition, in the order of their bytes.
func sorted(values []delta.Value) []any {
	slices.SortFunc(values, func(a, b delta.Value) int { return bytes.Compare(a, b) })
	values = slices.CompactFunc(values, func(a, b delta.Value) bool { return bytes.Equal(a, b) })
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = anyOf(v)
	}
	return out
}

// encoded encodes what was decoded from a value.
func encoded(x any) delta.Value {
	v, err := delta.ValueOf(x)
	if err != nil {
		return delta.Null
	}
	return v
}

// elements counts, for each element of the arrays, in how many of them it is.
func elements(in *Input) (map[string]int, error) {
	count := make(map[string]int)
	for i := range in.Survivors {
		list, ok := in.value(i).([]any)
		if !ok {
			return nil, Failf(ErrorType, "%s among the values: want arrays alone", kindOf(in.value(i)))
		}
		seen := make(map[string]bool, len(list))
		for _, x := range list {
			if v := string(encoded(x)); !seen[v] {
				seen[v] = true
				count[v]++
			}
		}
	}
	return count, nil
}

func union(in *Input) (Output, error) { return collected(in, 1, "what is in any") }

func intersection(in *Input) (Output, error) {
	return collected(in, len(in.Survivors), "what is in all")
}

// collected returns the elements that at least so many arrays hold.
func collected(in *Input, least int, why string) (Output, error) {
	if len(in.Survivors) == 0 {
		return Output{Absent: true}, nil
	}
	count, err := elements(in)
	if err != nil {
		return Output{}, err
	}
	var values []delta.Value
	for v, n := range count { // sorted below
		if n >= least {
			values = append(values, delta.Value(v))
		}
	}
	return Output{Value: sorted(values), Why: why}, nil
}

func all(in *Input) (Output, error) {
	out := make([]any, len(in.Survivors))
	for i := range in.Survivors {
		out[len(out)-1-i] = in.value(i)
	}
	return Output{Value: out, Why: "every value"}, nil
}

// conflict returns the value that all survivors hold, else null and an alarm.
func conflict(in *Input) (Output, error) {
	if len(in.Survivors) == 0 {
		return Output{Absent: true}, nil
	}
	shown, differ := in.show(0)
	if !differ {
		return Output{Value: in.value(0), Shown: shown, Why: "all agree"}, nil
	}
	return Output{
		Shown: make([]bool, len(in.Survivors)), Conflict: true, Why: "they differ",
		Alarm: fmt.Sprintf("%s has %d values that contradict each other", delta.Key(in.Entity, in.Path), len(in.Survivors)),
	}, nil
}

// preferAuthor holds the authors, the most trusted first.
type preferAuthor []string

// Resolve implements Resolver.
func (authors preferAuthor) Resolve(in *Input) (Output, error) {
	for rank, a := range authors {
		for i := range in.Survivors {
			if in.AuthorOf(i) == a {
				return in.one(i, fmt.Sprintf("the newest of author %d of %d", rank+1, len(authors))), nil
			}
		}
	}
	out, err := lastWrite(in)
	out.Why = "none of the authors wrote it: the newest"
	return out, err
}

// A concat puts texts one behind the other.
type concat struct{ separator, order string }

// Resolve implements Resolver.
func (c concat) Resolve(in *Input) (Output, error) {
	if len(in.Survivors) == 0 {
		return Output{Absent: true}, nil
	}
	texts := make([]string, len(in.Survivors))
	for i := range in.Survivors {
		s, ok := in.value(i).(string)
		if !ok {
			return Output{}, Failf(ErrorType, "%s among the values: want texts alone", kindOf(in.value(i)))
		}
		texts[len(texts)-1-i] = s
	}
	why := "the oldest first"
	if c.order == "sorted" {
		slices.Sort(texts)
		why = "in the order of their bytes"
	}
	size := 0
	for _, s := range texts {
		size += len(s) + len(c.separator)
	}
	if size > delta.MaxValueBytes {
		return Output{}, Failf(ErrorOutput, "%d bytes of text, a value has at most %d", size, delta.MaxValueBytes)
	}
	return Output{Value: strings.Join(texts, c.separator), Why: why}, nil
}
