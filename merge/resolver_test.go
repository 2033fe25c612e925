package merge

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// palettes are values that some resolvers take and others refuse.
var palettes = map[string][]delta.Value{
	"numbers": {delta.Int(1), delta.Int(-7), delta.Int(1 << 62), valueOf(0.1), valueOf(0.2), valueOf(1e300), valueOf(-1e300), valueOf(1.0)},
	"texts":   {delta.String("a"), delta.String("b"), delta.String(""), delta.String("ab"), delta.String("é")},
	"arrays":  {valueOf([]any{1, 2}), valueOf([]any{2, 3, 2}), valueOf([]any{}), valueOf([]any{"x", nil})},
	"mixed":   {delta.Null, delta.Int(1), delta.String("x"), valueOf([]any{1}), delta.Ref("e"), delta.Bool(true)},
}

func authorOf(l clock.LaneID) string { return fmt.Sprintf("author-%d", l[0]%3) }

// A naive resolver is what a resolver of that name must come to, worked out
// another way from survivors in any order. A false ok is an error.
type naive func(in []naiveSurvivor) (value any, absent, ok bool)

type naiveSurvivor struct {
	Survivor
	x any
}

func oldestFirst(in []naiveSurvivor) []naiveSurvivor {
	return slices.SortedFunc(slices.Values(in), func(a, b naiveSurvivor) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.Dot.Lane[:], b.Dot.Lane[:]), cmp.Compare(a.Dot.Seq, b.Dot.Seq), cmp.Compare(a.Dot.Index, b.Dot.Index))
	})
}

func ratOf(x any) *big.Rat {
	switch x := x.(type) {
	case int64:
		return new(big.Rat).SetInt64(x)
	case float64:
		return new(big.Rat).SetFloat64(x)
	}
	return nil
}

func naiveSum(in []naiveSurvivor) (t *big.Rat, whole, ok bool) {
	t, whole = new(big.Rat), true
	for _, s := range in {
		r := ratOf(s.x)
		if r == nil {
			return nil, false, false
		}
		_, isInt := s.x.(int64)
		whole = whole && isInt
		t.Add(t, r)
	}
	return t, whole, true
}

func naiveExtreme(sign int) naive {
	return func(in []naiveSurvivor) (any, bool, bool) {
		if len(in) == 0 {
			return nil, true, true
		}
		best := in[0]
		for _, s := range in {
			c := 0
			x, xText := s.x.(string)
			y, yText := best.x.(string)
			a, b := ratOf(s.x), ratOf(best.x)
			switch {
			case xText && yText:
				c = strings.Compare(x, y)
			case a != nil && b != nil:
				c = cmp.Or(a.Cmp(b), bytes.Compare(valueOf(s.x), valueOf(best.x)))
			default:
				return nil, false, false
			}
			if c*sign > 0 {
				best = s
			}
		}
		return best.x, false, true
	}
}

func naiveDistinct(xs []any) []any {
	byText := map[string]any{}
	for _, x := range xs {
		byText[string(valueOf(x))] = x
	}
	out := []any{}
	for _, k := range slices.Sorted(maps.Keys(byText)) {
		out = append(out, byText[k])
	}
	return out
}

func naiveElements(least func(n int) int) naive {
	return func(in []naiveSurvivor) (any, bool, bool) {
		if len(in) == 0 {
			return nil, true, true
		}
		var all []any
		for _, s := range in {
			list, ok := s.x.([]any)
			if !ok {
				return nil, false, false
			}
			all = append(all, list...)
		}
		kept := []any{}
		for _, x := range naiveDistinct(all) {
			n := 0
			for _, s := range in {
				if slices.ContainsFunc(s.x.([]any), func(y any) bool { return reflect.DeepEqual(x, y) }) {
					n++
				}
			}
			if n >= least(len(in)) {
				kept = append(kept, x)
			}
		}
		return kept, false, true
	}
}

func naiveConcat(separator string, sortedByBytes bool) naive {
	return func(in []naiveSurvivor) (any, bool, bool) {
		if len(in) == 0 {
			return nil, true, true
		}
		var texts []string
		for _, s := range oldestFirst(in) {
			x, ok := s.x.(string)
			if !ok {
				return nil, false, false
			}
			texts = append(texts, x)
		}
		if sortedByBytes {
			slices.Sort(texts)
		}
		return strings.Join(texts, separator), false, true
	}
}

func naiveMajority(met func(votes, of int) bool) naive {
	return func(in []naiveSurvivor) (any, bool, bool) {
		newest := map[string]naiveSurvivor{}
		for _, s := range oldestFirst(in) {
			who := authorOf(s.Dot.Lane)
			if s.Creator != "" && s.Verb != delta.Inc {
				who = s.Creator
			}
			newest[who] = s
		}
		if len(newest) == 0 {
			return nil, true, true
		}
		votes := map[string]int{}
		for _, s := range newest {
			votes[string(valueOf(s.x))]++
		}
		var best naiveSurvivor
		for _, s := range oldestFirst(slices.Collect(maps.Values(newest))) {
			if votes[string(valueOf(s.x))] >= votes[string(valueOf(best.x))] {
				best = s
			}
		}
		if !met(votes[string(valueOf(best.x))], len(newest)) {
			return nil, false, true
		}
		return best.x, false, true
	}
}

func naivePlace(pick func(sorted []naiveSurvivor) naiveSurvivor) naive {
	return func(in []naiveSurvivor) (any, bool, bool) {
		if len(in) == 0 {
			return nil, true, true
		}
		return pick(oldestFirst(in)).x, false, true
	}
}

// specs are the built-in resolvers, with parameters, beside what each must come
// to.
var specs = []struct {
	use    string
	params map[string]any
	naive
}{
	{LastWriteWins, nil, naivePlace(func(s []naiveSurvivor) naiveSurvivor { return s[len(s)-1] })},
	{FirstWriteWins, nil, naivePlace(func(s []naiveSurvivor) naiveSurvivor { return s[0] })},
	{Min, nil, naiveExtreme(-1)},
	{Max, nil, naiveExtreme(1)},
	{Sum, nil, func(in []naiveSurvivor) (any, bool, bool) {
		t, whole, ok := naiveSum(in)
		if ok && whole && t.Num().IsInt64() {
			return t.Num().Int64(), false, true
		}
		if !ok {
			return nil, false, false
		}
		f, _ := t.Float64()
		return f, false, true
	}},
	{Mean, nil, func(in []naiveSurvivor) (any, bool, bool) {
		if len(in) == 0 {
			return nil, true, true
		}
		t, _, ok := naiveSum(in)
		if !ok {
			return nil, false, false
		}
		f, _ := t.Mul(t, big.NewRat(1, int64(len(in)))).Float64()
		return f, false, true
	}},
	{Majority, nil, naiveMajority(func(int, int) bool { return true })},
	{Majority, map[string]any{"quorum": int64(2)}, naiveMajority(func(n, _ int) bool { return n >= 2 })},
	{Majority, map[string]any{"quorum": "majority"}, naiveMajority(func(n, of int) bool { return n > of/2 })},
	{Concat, map[string]any{"separator": ", "}, naiveConcat(", ", true)},
	{Concat, map[string]any{"separator": "|", "order": "causal"}, naiveConcat("|", false)},
	{Set, nil, func(in []naiveSurvivor) (any, bool, bool) {
		var xs []any
		for _, s := range in {
			xs = append(xs, s.x)
		}
		return naiveDistinct(xs), false, true
	}},
	{Union, nil, naiveElements(func(int) int { return 1 })},
	{Intersection, nil, naiveElements(func(n int) int { return n })},
	{All, nil, func(in []naiveSurvivor) (any, bool, bool) {
		xs := []any{}
		for _, s := range oldestFirst(in) {
			xs = append(xs, s.x)
		}
		return xs, false, true
	}},
	{PreferAuthor, map[string]any{"authors": []any{"author-2", "author-1"}}, naivePlace(func(s []naiveSurvivor) naiveSurvivor {
		for _, who := range []string{"author-2", "author-1"} {
			for i := len(s) - 1; i >= 0; i-- {
				if authorOf(s[i].Dot.Lane) == who {
					return s[i]
				}
			}
		}
		return s[len(s)-1]
	})},
	{Conflict, nil, func(in []naiveSurvivor) (any, bool, bool) {
		for _, s := range in {
			if !bytes.Equal(valueOf(s.x), valueOf(in[0].x)) {
				return nil, false, true
			}
		}
		if len(in) == 0 {
			return nil, true, true
		}
		return in[0].x, false, true
	}},
}

// everywhere makes rules that read every property of the test's paths by one
// resolver.
func everywhere(r Resolver, use string) *Rules {
	rules := &Rules{Name: "test", Author: authorOf}
	for _, p := range paths {
		rules.Properties = append(rules.Properties, Rule{ID: "at " + string(p), Path: p, Resolver: r, Use: use})
	}
	return rules
}

// Every resolver is a function of the survivors alone, and the function that its
// name says: whatever the order of delivery, repetition and batching, and
// whether the state was folded or joined of parts.
func lawResolvers(palette []delta.Value) func(k *kernel, pick chooser) error {
	return func(k *kernel, pick chooser) error {
		h := newHistory(k, pick, 2+pick(3))
		h.values = palette
		h.run(h.writers, 16)
		cuts := []vector{h.cut(), h.cut()}
		union := cuts[0].join(cuts[1])
		folded, err := h.deliver(union)
		if err != nil {
			return err
		}
		again, err := h.deliver(union)
		if err != nil {
			return err
		}
		joined, err := h.deliver(cuts[0])
		if err != nil {
			return err
		}
		part, err := h.deliver(cuts[1])
		if err != nil {
			return err
		}
		if err := joined.join(part); err != nil {
			return err
		}
		entity := choose(pick, entities)
		for i := range specs {
			spec := &specs[i]
			r, err := Builtin(spec.use, spec.params)
			if err != nil {
				return err
			}
			rules := everywhere(r, spec.use)
			want, found, err := ReadWith(folded.mem, entity, "", rules)
			if err != nil {
				return err
			}
			for _, o := range []*replica{again, joined} {
				got, _, err := ReadWith(o.mem, entity, "", rules)
				if err != nil {
					return err
				}
				if !reflect.DeepEqual(got, want) {
					return fmt.Errorf("%s %v: %v and %v", spec.use, spec.params, got, want)
				}
			}
			if !found {
				continue
			}
			if err := asNaive(pick, spec.naive, &want); err != nil {
				return fmt.Errorf("%s %v: %w", spec.use, spec.params, err)
			}
		}
		return fail(h.seen)
	}
}

// asNaive compares every property with what it must come to.
func asNaive(pick chooser, n naive, r *Reading) error {
	for i := range r.Properties {
		p := &r.Properties[i]
		in := make([]naiveSurvivor, 0, len(p.Survivors))
		for _, s := range p.Survivors {
			x := anyOf(s.Value)
			if inc, ok := s.Value.Inc(); ok && s.Verb == delta.Inc {
				x = inc.Total
			}
			in = slices.Insert(in, pick(len(in)+1), naiveSurvivor{s, x})
		}
		want, absent, ok := n(in)
		if ok != (p.Err == nil) {
			return fmt.Errorf("%q of %v: error %v", p.Path, in, p.Err)
		}
		if ok && (absent != p.Absent || !reflect.DeepEqual(p.Value, want)) {
			return fmt.Errorf("%q of %v: %v (absent %v), want %v (absent %v)", p.Path, in, p.Value, p.Absent, want, absent)
		}
		if !ok && (p.Value != nil || !p.Absent || !slices.Contains(r.Errors, p.Err)) {
			return fmt.Errorf("%q failed, and reads as %v", p.Path, p.Value)
		}
	}
	return nil
}

func TestResolvers(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(palettes)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hold(t, lawResolvers(palettes[name]))
		})
	}
}

// Nodes that drop their histories at different times read the same by every
// resolver as one that folds all.
func TestResolversAfterCompaction(t *testing.T) {
	hold(t, func(k *kernel, pick chooser) error {
		h := newHistory(k, pick, 2+pick(3))
		h.values = palettes["numbers"]
		keepers := make([]*keeper, len(h.writers))
		for i, w := range h.writers {
			keepers[i] = &keeper{w, vector{}}
		}
		for range 24 {
			p := choose(pick, keepers)
			switch pick(4) {
			case 0:
				p.drop(pick(len(p.log) + 1))
			case 1:
				if o := choose(pick, keepers); o != p {
					if _, err := p.pull(o); err != nil {
						return err
					}
				}
			default:
				h.write(p.writer)
			}
		}
		for range 2 {
			for _, p := range keepers {
				for _, o := range keepers {
					if p != o {
						if _, err := p.pull(o); err != nil {
							return err
						}
					}
				}
			}
		}
		all, err := h.deliver(h.whole())
		if err != nil {
			return err
		}
		for i := range specs {
			r, err := Builtin(specs[i].use, specs[i].params)
			if err != nil {
				return err
			}
			rules := everywhere(r, specs[i].use)
			want, _, err := ReadWith(all.mem, "e", "", rules)
			if err != nil {
				return err
			}
			for _, p := range keepers {
				got, _, err := ReadWith(p.mem, "e", "", rules)
				if err != nil {
					return err
				}
				if !reflect.DeepEqual(got, want) {
					return fmt.Errorf("%s: a node that compacted reads %v, want %v", specs[i].use, got.Value, want.Value)
				}
			}
		}
		return fail(h.seen)
	})
}

// A resolver refuses parameters that it does not have, and values of them that
// mean nothing; a name that nobody knows is told apart.
func TestBuiltinParameters(t *testing.T) {
	for _, c := range []struct {
		use    string
		params map[string]any
		want   string // a part of the error; empty for none
	}{
		{Sum, nil, ""},
		{Concat, map[string]any{"order": "causal"}, ""},
		{Majority, map[string]any{"quorum": int64(3)}, ""},
		{"newest", nil, `unknown resolver "newest"`},
		{Sum, map[string]any{"quorum": int64(1)}, `no parameter "quorum"`},
		{Concat, map[string]any{"order": "any"}, `order is "any", want one of sorted, causal`},
		{Concat, map[string]any{"separator": int64(1)}, "separator is an integer, want a text"},
		{Majority, map[string]any{"quorum": int64(0)}, "at least 1"},
		{Majority, map[string]any{"quorum": 1.5}, "at least 1"},
		{PreferAuthor, nil, "authors is missing"},
		{PreferAuthor, map[string]any{"authors": []any{"a", int64(1)}}, "array of texts"},
	} {
		_, err := Builtin(c.use, c.params)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %v: error %v, want %q", c.use, c.params, err, c.want)
		}
		if unknown := errors.Is(err, ErrNoResolver); unknown != (c.use == "newest") {
			t.Errorf("%s: unknown %v", c.use, unknown)
		}
	}
	if got := len(Builtins()); got != 14 {
		t.Errorf("%d built-in resolvers, want 14", got)
	}
}
