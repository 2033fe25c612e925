package plugin

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// ballot is the expression of the tests: the value that most creators hold, each
// counting for its newest; of equal ones the smallest.
const ballot = `cel.bind(newest, survivors.filter(s, survivors.filter(o, o.creator == s.creator)[0].dot == s.dot),
	cel.bind(choices, newest.map(s, s.value).distinct().sort(),
		choices.size() == 0 ? absent() :
			cel.bind(most, math.greatest(choices.map(c, newest.filter(s, s.value == c).size())),
				choices.filter(c, newest.filter(s, s.value == c).size() == most)[0])))`

// ballotOf does what ballot does.
func ballotOf(in *merge.Input) (winner int64, ok bool) {
	votes := map[int64]int{}
	var seen []string
	for i := range in.Survivors {
		if who := in.CreatorOf(i); !slices.Contains(seen, who) {
			seen = append(seen, who)
			votes[in.Values[i].(int64)]++
		}
	}
	for v, n := range votes {
		if !ok || n > votes[winner] || n == votes[winner] && v < winner {
			winner, ok = v, true
		}
	}
	return winner, ok
}

// medianOf does what testdata/median.wat does.
func medianOf(in *merge.Input) (median int64, ok bool) {
	var numbers []int64
	for _, v := range in.Values {
		numbers = append(numbers, v.(int64))
	}
	if len(numbers) == 0 {
		return 0, false
	}
	slices.Sort(numbers)
	return numbers[(len(numbers)-1)/2], true
}

// integers draws the input of a property of integers.
func integers(t *rapid.T) *merge.Input {
	few := rapid.OneOf(rapid.Int64Range(-2, 2), rapid.Int64())
	var values []any
	for _, v := range rapid.SliceOfN(few, 0, 12).Draw(t, "values") {
		values = append(values, v)
	}
	in := inputOf(values...)
	for i := range in.Survivors {
		in.Survivors[i].Creator = rapid.SampledFrom([]string{"", "c0", "c1", "c2", "ü\"\\\u2028"}).Draw(t, "creator")
	}
	in.Entity = rapid.SampledFrom([]string{"host/a", `a"value":1`, "ø"}).Draw(t, "entity")
	return in
}

// TestOracles: on ten thousand random properties the expression and the module of
// the tests say what the same functions in Go say, and say it again.
func TestOracles(t *testing.T) {
	cel, wasm := expr(t, ballot), module(t, NewRuntime(Limits{CallTime: 1 << 40}), "median")
	rapid.Check(t, func(t *rapid.T) {
		for i := range 100 {
			in := integers(t)
			for _, r := range []struct {
				merge.Resolver
				oracle func(*merge.Input) (int64, bool)
			}{{cel, ballotOf}, {wasm, medianOf}} {
				want, ok := r.oracle(in)
				out, err := r.Resolve(in)
				if err != nil || out.Absent == ok || ok && out.Value != want {
					t.Fatalf("%v: got %+v, %v, want %d, %v", in.Values, out, err, want, ok)
				}
				if i%10 > 0 {
					continue
				}
				again, err := r.Resolve(in)
				if err != nil || !reflect.DeepEqual(out, again) {
					t.Fatalf("%v: got %+v, then %+v, %v", in.Values, out, again, err)
				}
			}
		}
	})
}

// anyValue draws a value.
func anyValue(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just(any(nil)), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.Float64Range(-1e9, 1e9), func(f float64) any { return f }),
		rapid.Map(rapid.StringN(0, 5, 20), func(s string) any { return s }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 4), func(b []byte) any { return b }),
	)
	if depth == 0 {
		return scalar
	}
	inner := anyValue(depth - 1)
	return rapid.OneOf(scalar,
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(rapid.StringN(0, 3, 9), inner, 0, 6), func(m map[string]any) any { return m }))
}

// copied returns an equal value whose maps were filled in another order.
func copied(x any) any {
	v, err := delta.ValueOf(x)
	if err != nil {
		panic(err)
	}
	y, _ := v.Any()
	return y
}

// TestEqualInputs: inputs that are equal, however they came about, give equal
// outputs, and equal errors.
func TestEqualInputs(t *testing.T) {
	resolvers := []merge.Resolver{
		expr(t, `values`), expr(t, `survivors`), expr(t, `deps`),
		expr(t, `values.map(v, v.map(k, k))`),
		expr(t, `values.filter(v, v.all(k, k in v))`),
		expr(t, `values.map(v, {string(v): v})`),
		expr(t, `deps.transformMap(k, v, [k, v]).map(k, k)`),
		expr(t, `values.distinct()`), expr(t, `values.sort()`), expr(t, `values.flatten()`),
		expr(t, `values.map(a, values.map(b, a == b))`), expr(t, `values[0][values[1]]`), expr(t, `deps[values[0]]`),
		expr(t, `values.sortBy(v, string(v))`), expr(t, `values[0] + values[1]`), expr(t, `values[0] < values[1]`),
		module(t, NewRuntime(Limits{CallTime: 1 << 40}), "median"), module(t, NewRuntime(Limits{CallTime: 1 << 40}), "echo"),
	}
	rapid.Check(t, func(t *rapid.T) {
		var values, others []any
		for _, v := range rapid.SliceOfN(anyValue(2), 2, 5).Draw(t, "values") {
			if _, err := delta.ValueOf(v); err != nil {
				return // a key of JSON's own forms
			}
			values, others = append(values, v), append(others, copied(v))
		}
		one, two := inputOf(values...), inputOf(others...)
		one.Deps, two.Deps = map[string]any{}, map[string]any{}
		for i := range values {
			one.Deps[fmt.Sprint("d", i)] = one.Values[i]
			two.Deps[fmt.Sprint("d", len(values)-1-i)] = two.Values[len(values)-1-i]
		}
		for i, r := range resolvers {
			a, aerr := r.Resolve(one)
			b, berr := r.Resolve(two)
			if !reflect.DeepEqual(a, b) || fmt.Sprint(aerr) != fmt.Sprint(berr) {
				t.Fatalf("resolver %d: %v, %v and then %v, %v", i, a, aerr, b, berr)
			}
		}
	})
}

// FuzzCompile: bytes that claim to be a module are refused, or are a resolver that
// ends with a value or an error.
func FuzzCompile(f *testing.F) {
	for _, name := range []string{"median", "counter", "loop", "memory_bomb", "recursion", "wasi_clock", "open_table", "bad_pointer", "memory_touch"} {
		f.Add(fixture(f, name))
	}
	f.Add([]byte(wasmHeader))
	f.Add([]byte("garbage"))
	r := NewRuntime(Limits{CallTime: 20_000_000, CachedModules: -1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := r.Compile(context.Background(), b)
		if err != nil {
			return
		}
		defer func() { _ = m.Close() }() // it never fails
		if _, err := m.Resolve(inputOf(int64(1), "x")); err != nil {
			kindOf(t, err)
		}
	})
}

// FuzzCompileCEL: a text is refused, or is a resolver that says the same each
// time.
func FuzzCompileCEL(f *testing.F) {
	f.Add(ballot)
	f.Add(`1`)
	f.Add(`(((`)
	for _, h := range hostile[:8] {
		f.Add(h.expr)
	}
	f.Add(`{"b": 1, "a": values}.transformMapEntry(k, v, {string(k): [v, 1.5, b"x", 3u]})`)
	f.Add(`values.sortBy(v, string(v)).map(x, x.startsWith("a") ? fail(x) : x.replace("a", "b").split("").join("-"))`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := CompileCEL(text, Limits{Cost: 20_000})
		if err != nil {
			return
		}
		in := inputOf(int64(1), "x", map[string]any{"b": int64(1), "a": []any{}})
		in.Deps = map[string]any{"q": int64(1), "p": "x"}
		a, aerr := r.Resolve(in)
		b, berr := r.Resolve(in)
		if !reflect.DeepEqual(a, b) || fmt.Sprint(aerr) != fmt.Sprint(berr) {
			t.Errorf("%v, %v and then %v, %v", a, aerr, b, berr)
		}
		if aerr != nil {
			kindOf(t, aerr)
		}
	})
}

// BenchmarkResolve measures a call with ten survivors.
func BenchmarkResolve(b *testing.B) {
	in := inputOf(int64(1), int64(2), int64(3), int64(4), int64(5), int64(6), int64(7), int64(8), int64(9), int64(10))
	for _, bb := range []struct {
		name string
		r    merge.Resolver
	}{
		{"cel/newest", expr(b, `values[0]`)},
		{"cel/sum-of-even", expr(b, `survivors.filter(s, s.value % 2 == 0).map(s, s.value)`)},
		{"cel/ballot", expr(b, ballot)},
		{"wasm/counter", module(b, NewRuntime(Limits{}), "counter")},
		{"wasm/median", module(b, NewRuntime(Limits{}), "median")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bb.r.Resolve(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
