package plugin

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// TestExpressions: an expression sees what the documentation says, and what it
// returns becomes the value, an absence or an error.
func TestExpressions(t *testing.T) {
	in := inputOf(int64(7), "text", 2.5, []byte{1}, nil, map[string]any{"b": true, "a": []any{int64(1)}}, map[string]any{"$ref": "host/a"})
	in.Deps = map[string]any{"price": int64(3), "tax": 0.5, "gone": nil}
	record := map[string]any{
		"value": int64(7), "verb": "add", "time": int64(7), "creator": "c0", "author": "a0", "dot": in.Survivors[0].Dot.String(),
	}
	for _, tt := range []struct {
		expr string
		want any
	}{
		{`entity + path`, "host/web-1/load"},
		{`survivors[0]`, record},
		{`survivors.size() == values.size() && survivors.all(i, s, s.value == values[i])`, true},
		{`values`, in.Values},
		{`deps`, in.Deps},
		{`deps.price * 2`, int64(6)},
		{`has(deps.nothing) ? 1 : 2`, int64(2)},
		{`values[5].a[0] + size(values[5])`, int64(3)},
		{`values[6]`, map[string]any{"$ref": "host/a"}},
		{`{"$bytes": "AQI="}`, []byte{1, 2}},
		{`b"ab"`, []byte("ab")},
		{`3u`, int64(3)},
		{`null`, nil},
		{`[1, 2.5, "x", true, null]`, []any{int64(1), 2.5, "x", true, nil}},
		{`values.filter(v, type_is_int(v))`, nil}, // no such function
		{`survivors.filter(s, s.creator == "c1").map(s, s.time)`, []any{int64(6), int64(3)}},
		{`[3, 1, 2].sort()`, []any{int64(1), int64(2), int64(3)}},
		{`survivors.sortBy(s, s.creator).map(s, s.time)`, []any{int64(7), int64(4), int64(1), int64(6), int64(3), int64(5), int64(2)}},
		{`["a", "b", "a"].distinct().join("-")`, "a-b"},
		{`"a,b".split(",").map(x, x.upperAscii()).reverse()`, []any{"B", "A"}},
		{`math.greatest([3, 9, 2]) - math.least(4, 2)`, int64(7)},
		{`sets.intersects([1], [2, 1])`, true},
		{`[[1], [2, 3]].flatten()`, []any{int64(1), int64(2), int64(3)}},
		{`lists.range(3).transformMapEntry(i, v, {string(v): i + 1})`, map[string]any{"0": int64(1), "1": int64(2), "2": int64(3)}},
		{`{"a": 1, "b": 2}.transformMap(k, v, v * 2)`, map[string]any{"a": int64(2), "b": int64(4)}},
		{`cel.bind(x, 20, x + x + 2)`, int64(42)},
		{`values[5] == {"a": [1], "b": true} && values[5] != {"a": [1], "b": false} && "a" in values[5] && !("c" in values[5])`, true},
		{
			`cel.bind(long, lists.range(5000).map(i, "x").join(), cel.bind(m, {string(long): 1}, [m.map(k, k.size())[0], m == m ? 1 : 0, m.transformList(k, v, v)[0]]))`,
			[]any{int64(5000), int64(1), int64(1)},
		},
		{`"abcabc".replace("b", "--").indexOf("c") + "abcabc".lastIndexOf("b")`, int64(7)},
	} {
		if tt.want == nil && tt.expr != `null` {
			if _, err := CompileCEL(tt.expr, Limits{}); err == nil {
				t.Errorf("%s: it compiles", tt.expr)
			}
			continue
		}
		out, err := expr(t, tt.expr).Resolve(in)
		if err != nil || out.Absent || !reflect.DeepEqual(out.Value, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.expr, out.Value, err, tt.want)
		}
	}
}

// TestExpressionErrors: an expression that has no value says why.
func TestExpressionErrors(t *testing.T) {
	in := inputOf(int64(1), int64(2))
	for _, tt := range []struct {
		expr string
		kind merge.ErrorKind
		text string
	}{
		{`1 / (values[0] - 1)`, merge.ErrorFailed, "division by zero"},
		{`deps.price`, merge.ErrorFailed, "no such key: price"},
		{`{"a": 1}[lists.range(5000).map(i, "x").join()]`, merge.ErrorFailed, "a key of more than 4096 bytes"},
		{`lists.range(5000).map(i, "x").join() in deps`, merge.ErrorFailed, "a key of more than 4096 bytes"},
		{`values[7]`, merge.ErrorFailed, "index out of bounds: 7"},
		{`9223372036854775807 + values[0]`, merge.ErrorFailed, "integer overflow"},
		{`values[0] + "a"`, merge.ErrorFailed, "no such overload"},
		{`fail("they disagree: " + string(values.size()))`, merge.ErrorFailed, "they disagree: 2"},
		{`survivors.all(s, fail("inside"))`, merge.ErrorFailed, "inside"},
		{`values.map(v, v == 2 ? fail("in a macro") : v)`, merge.ErrorFailed, "in a macro"},
		{`{dyn(string(values[0])): 1}`, "", ""}, // does not compile
		{`[1, "a"].sort()`, merge.ErrorFailed, "of one type"},
		{`[0.0 / 0.0, 1.0].sort()`, merge.ErrorFailed, "NaN"},
		{`[values[0], [1]].sortBy(x, x)`, merge.ErrorFailed, "of one type"},
		{`deps.transformMap(k, v, v).transformMapEntry(k, v, {"a": 1, "b": 2}).size() + values.transformMapEntry(i, v, {"a": 1}).size()`, merge.ErrorFailed, "already exists"},
		{`0.0 / 0.0`, merge.ErrorOutput, "not a finite number"},
		{`18446744073709551615u`, merge.ErrorOutput, "past int64"},
		{`int`, merge.ErrorOutput, "a type is no value"},
		{`{1.5: 2}`, merge.ErrorFailed, "unsupported key type: double"},
		{`{1: 2}`, merge.ErrorOutput, "keys of an object"},
		{`{"$ref": 1}`, merge.ErrorOutput, "$ref"},
		{`lists.range(20).map(i, lists.range(15000))`, merge.ErrorOutput, "262144"},
		{`[` + strings.Repeat(`[1].map(a, `, 30) + `1` + strings.Repeat(`)`, 30) + `].map(b, ` + strings.Repeat("[", 40) + "b" + strings.Repeat("]", 40) + `)`, merge.ErrorOutput, "nested deeper"},
	} {
		r, err := CompileCEL(tt.expr, Limits{})
		if err != nil {
			if tt.kind != "" {
				t.Errorf("%.80s: %v", tt.expr, err)
			}
			continue
		}
		_, err = r.Resolve(in)
		if kindOf(t, err) != tt.kind || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%.80s: got %v, want %s and %q", tt.expr, err, tt.kind, tt.text)
		}
	}
	for _, e := range []string{`absent()`, `[absent()]`, `values.size() > 1 ? absent() : 1`} {
		out, err := expr(t, e).Resolve(in)
		if err != nil || !reflect.DeepEqual(out, merge.Output{Absent: true, Why: "cel"}) {
			t.Errorf("%s: got %+v, %v", e, out, err)
		}
	}
}

// nest puts an expression n times into a form: @ is what was before, # a name of
// its own.
func nest(n int, form, seed string) string {
	for i := range n {
		seed = strings.ReplaceAll(strings.ReplaceAll(form, "@", seed), "#", fmt.Sprintf("v%d", i))
	}
	return seed
}

// TestRefusedExpressions: what is no expression, or uses what is not offered, or
// is made to be hard to check, is refused at once and by name.
func TestRefusedExpressions(t *testing.T) {
	for _, tt := range []struct{ expr, text string }{
		{``, "Syntax error"},
		{`1 +`, "Syntax error"},
		{`nothing`, "undeclared reference to 'nothing'"},
		{`1 + "a"`, "no matching overload"},
		{`"a".matches("a")`, "function matches is not offered"},
		{`"%s".format([1])`, "function format is not offered"},
		{`timestamp("2020-01-01T00:00:00Z")`, "function timestamp is not offered"},
		{`duration("1h")`, "function duration is not offered"},
		{`type(1)`, "function type is not offered"},
		{`google.protobuf.Int64Value{value: 1}`, "message google.protobuf.Int64Value"},
		{`now()`, "undeclared reference to 'now'"},
		{`{values: 1}`, "the key of a map must be"},
		{nest(30, `[@].map(#, {#: #})`, "1"), "the key of a map must be"},
		{strings.Repeat("1", MaxExpressionBytes+1), "at most 16384"},
		{strings.Repeat("(", 16000), "recursion limit"},
		{strings.Repeat("[", 16000), "recursion limit"},
		{strings.Repeat("-", 16000), "Syntax error"},
		{strings.Repeat("!", 16000), "Syntax error"},
		{strings.Repeat("a.", 8000), "recursion depth"},
		{strings.Repeat("1+", 8000) + "1", "recursion depth"},
		{strings.Repeat("){", 8000), "Syntax error"},
		{strings.Repeat("a||", 5000) + "a", "undeclared"},
		{nest(9, `@.map(#, @)`, "[1,2,3,4,5,6,7,8]") + "+1", ""},
		{nest(12, `@.sortBy(#, @)`, "[1]"), ""},
		{nest(46, `[@].map(#, [#])`, "1") + "+1", "no matching overload"},
	} {
		start := time.Now()
		_, err := CompileCEL(tt.expr, Limits{})
		if err == nil || !strings.Contains(err.Error(), tt.text) || len(err.Error()) > maxTextBytes+20 {
			t.Errorf("%.60s: got %v, want %q", tt.expr, err, tt.text)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%.60s: %v", tt.expr, took)
		}
	}
}

// hostile are expressions that want more steps or memory than they may have: of
// some the library's own prices are far from what they cost.
var hostile = []struct {
	expr string
	kind merge.ErrorKind
}{
	{`survivors.map(s, survivors.map(q, survivors.map(r, 1)))`, merge.ErrorCost},
	{`survivors.exists_one(a, survivors.exists_one(b, values.exists_one(c, false)))`, merge.ErrorCost},
	{`survivors.all(a, survivors.all(b, values.all(c, true)))`, merge.ErrorCost},
	{`survivors.filter(a, values.filter(b, b in values).size() > 0)`, merge.ErrorCost},
	{`lists.range(9223372036854775807)`, merge.ErrorCost},
	{`lists.range(300000).exists_one(i, ` + strings.Repeat("true && ", 1500) + `false)`, merge.ErrorCost},
	{`lists.range(300000).exists_one(i, ` + strings.Repeat("true ? true : ", 40) + `false)`, merge.ErrorCost},
	{`lists.range(300000).map(i, [` + strings.Repeat("0,", 5000) + `])`, merge.ErrorCost},
	{`lists.range(300000).map(i, {` + strings.Repeat("'a':0,", 1500) + `})`, merge.ErrorCost},
	{`lists.range(900000).transformMapEntry(i, v, {string(i): v})`, merge.ErrorCost},
	// A text of megabytes, and functions that multiply it.
	{text(23, `x.size()`), merge.ErrorCost},
	{text(18, `x.replace("", x)`), merge.ErrorCost},
	{text(18, `x.split("").map(e, x).join(x)`), merge.ErrorCost},
	{text(20, `x.indexOf(x + "y")`), merge.ErrorCost},
	{text(16, `lists.range(100000).map(i, dyn(x) + dyn("y"))`), merge.ErrorCost},
	{text(18, `lists.range(500000).exists(i, deps[x] == 1)`), merge.ErrorCost},
	{text(18, `lists.range(500000).exists(i, fail(x) == 1)`), merge.ErrorCost},
	{text(18, `lists.range(500000).exists(i, {"a": 1}[x] == 1)`), merge.ErrorCost},
	{text(18, `lists.range(500000).exists(i, int(x) == 1)`), merge.ErrorCost},
	{text(20, `lists.range(500000).all(i, !(x in deps) || true)`), merge.ErrorCost},
	{text(20, `cel.bind(m, {string(x): 1}, lists.range(500000).all(i, m[x] == 1 || true))`), merge.ErrorCost},
	// A list that holds itself twice, again and again.
	{doubled(23, `[#, #]`, `x == x`), merge.ErrorMemory},
	{doubled(23, `# + # + # + #`, `x.size()`), merge.ErrorMemory},
	{doubled(22, `[#, #]`, `x == x && x == x && x == x`), merge.ErrorCost},
	{doubled(20, `{"a": #, "b": #}`, `x == x && x == x && x == x`), merge.ErrorCost},
	{doubled(20, `[#, #]`, `lists.range(500000).exists(i, deps[dyn(x)] == 1)`), merge.ErrorCost},
	{doubled(20, `[#, #]`, `lists.range(500000).exists(i, {"a": 1}[dyn(x)] == 1)`), merge.ErrorCost},
	{doubled(20, `[#, #]`, `lists.range(500000).exists(i, [1][dyn(x)] == 1)`), merge.ErrorCost},
	{doubled(20, `[#, #]`, `lists.range(500000).exists(i, has(dyn(x).a))`), merge.ErrorCost},
	{doubled(20, `[#, #]`, `lists.range(500000).exists(i, dyn(x) < dyn(x))`), merge.ErrorCost},
	{doubled(20, `[#, #]`, `lists.range(500000).exists(i, dyn(x) in deps)`), merge.ErrorCost},
	{doubled(22, `# + #`, `x.distinct()`), merge.ErrorCost},
	{doubled(22, `# + #`, `x.sort()`), merge.ErrorCost},
	{doubled(22, `# + #`, `x.map(y, 1)`), merge.ErrorCost},
	{doubled(18, `# + #`, `x.all(y, !("no" in x))`), merge.ErrorCost},
	{doubled(16, `# + #`, `sets.equivalent(x, x)`), merge.ErrorCost},
	{doubled(20, `# + #`, `[x].flatten()`), merge.ErrorCost},
}

// text returns an expression in which x is a text that is doubled n times.
func text(n int, rest string) string {
	return `cel.bind(x, ` + nest(n, `[@].map(#, # + #)[0]`, `"x"`) + `, ` + rest + `)`
}

// doubled returns one in which x is a list.
func doubled(n int, form, rest string) string {
	return `cel.bind(x, ` + nest(n, `[@].map(#, `+form+`)[0]`, `["x"]`) + `, ` + rest + `)`
}

// large returns the input of a property with a thousand survivors.
func large() *merge.Input {
	values := make([]any, 1000)
	for i := range values {
		values[i] = strings.Repeat("x", 200) + fmt.Sprint(i)
	}
	return inputOf(values...)
}

// TestHostileExpressions: an expression that wants too much is stopped by its cost,
// long before it has made a quarter of a gigabyte.

func TestHostileExpressions(t *testing.T) {
	in := large()
	for _, tt := range hostile {
		name := tt.expr[:min(len(tt.expr), 20)] + "…" + tt.expr[max(0, len(tt.expr)-40):]
		r, err := CompileCEL(tt.expr, Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err = r.Resolve(in)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
		if kindOf(t, err) != tt.kind || took > time.Minute || allocated > 256 {
			t.Errorf("%s: %v and %d MiB, then %v; want %s", name, took, allocated, err, tt.kind)
		}
		t.Logf("%-62s %8v %4d MiB", name, took.Round(time.Microsecond), allocated)
	}
}

// within says whether an expression can be evaluated within a limit.
func within(t *testing.T, text string, limit uint64) bool {
	t.Helper()
	r, err := CompileCEL(text, Limits{Cost: limit})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Resolve(large())
	if err != nil && kindOf(t, err) != merge.ErrorCost {
		t.Fatal(err)
	}
	return err == nil
}

// leastCost returns the least limit within which an expression can be evaluated.
func leastCost(t *testing.T, text string) uint64 {
	t.Helper()
	least, most := uint64(1), uint64(1<<32)
	for least < most {
		if mid := (least + most) / 2; within(t, text, mid) {
			most = mid
		} else {
			least = mid + 1
		}
	}
	return least
}

// TestCostLimit: the same expression stops at the same place on each node, and a
// smaller limit stops it earlier.
func TestCostLimit(t *testing.T) {
	const e = `survivors.map(s, s.value).distinct().size() + values.size()`
	least := leastCost(t, e)
	for range 20 {
		if !within(t, e, least) || within(t, e, least-1) {
			t.Fatalf("the limit of %d does not divide", least)
		}
	}
}

// TestErrorsCost: an error that is dropped costs what its text did.
func TestErrorsCost(t *testing.T) {
	with, without := leastCost(t, text(12, `deps[x] == 1 || true`)), leastCost(t, text(12, `(x in deps) || true`))
	if with < without+400 {
		t.Errorf("%d steps with the error, %d without", with, without)
	}
}

// TestWeight: however much an expression may cost, no value of it outgrows the
// memory.
func TestWeight(t *testing.T) {
	for _, e := range []string{text(22, `x + x + x + x + x`), `lists.range(500000).map(i, "` + strings.Repeat("x", 100) + `")`} {
		r, err := CompileCEL(e, Limits{Cost: 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Resolve(inputOf()); kindOf(t, err) != merge.ErrorMemory {
			t.Errorf("%.40s: %v", e, err)
		}
	}
}

// TestMapOrder: whatever walks a map walks it in the order of its keys.
func TestMapOrder(t *testing.T) {
	deps, sorted := map[string]any{}, []any{}
	for i := range 40 {
		deps[fmt.Sprintf("k%02d", 39-i)] = map[string]any{"z": int64(i), "a": int64(i), "m": map[string]any{"y": 1.0, "b": 2.0}}
		sorted = append(sorted, fmt.Sprintf("k%02d", i))
	}
	inner := []any{"a", "m", "z"}
	for _, tt := range []struct {
		expr string
		want any
	}{
		{`deps.map(k, k)`, sorted},
		{`deps.transformList(k, v, k)`, sorted},
		{`deps.map(k, deps[k].map(j, j))[7]`, inner},
		{`deps.map(k, deps[k].m.map(j, j))[7]`, []any{"b", "y"}},
		{`values[0].map(k, k)`, inner},
		{`survivors[0].map(k, k)`, []any{"author", "creator", "dot", "time", "value", "verb"}},
		{`survivors[0].value.transformList(k, v, k)`, inner},
		{`{"b": 1, "a": 2, "c": 3}.map(k, k)`, []any{"a", "b", "c"}},
		{`{"b": {"z": 1, "y": 2}, "a": {"x": 1, "w": 2}}.map(k, k)`, []any{"a", "b"}},
		{`[{"b": 1, "a": 2}][0].map(k, k)`, []any{"a", "b"}},
		{`[{"b": 1, "a": 2}].map(m, m.map(k, k))[0]`, []any{"a", "b"}},
		{`(true ? {"b": 1, "a": 2} : {}).map(k, k)`, []any{"a", "b"}},
		{`cel.bind(m, {"b": 1, "a": 2}, m.filter(k, true))`, []any{"a", "b"}},
		{`deps.transformMap(k, v, v).map(k, k)`, sorted},
		{`deps.transformMapEntry(k, v, {string(k): v}).map(k, k)`, sorted},
		{`lists.range(12).transformMapEntry(i, v, {int(v): i}).map(k, k)[11]`, int64(11)},
		{
			`{2u: 0, 1: 0, true: 0, "a": 0, -3: 0, 1u: 0, false: 0, "": 0, 18446744073709551615u: 0}.map(k, string(k)).join(",")`,
			"false,true,-3,1,1,2,18446744073709551615,,a",
		},
		{`deps.exists_one(k, k == "k03") ? deps.map(k, deps[k].z)[0] : 0`, int64(39)},
	} {
		r := expr(t, tt.expr)
		for range 300 {
			in := inputOf(map[string]any{"z": int64(1), "a": int64(2), "m": int64(3)})
			in.Deps = deps
			out, err := r.Resolve(in)
			if err != nil || !reflect.DeepEqual(out.Value, tt.want) {
				t.Errorf("%s: got %v, %v, want %v", tt.expr, out.Value, err, tt.want)
				break
			}
		}
	}
}

// TestSortIsStable: elements with equal keys stay in their order.
func TestSortIsStable(t *testing.T) {
	out, err := expr(t, `lists.range(200).sortBy(i, i % 2)`).Resolve(inputOf())
	list, _ := out.Value.([]any)
	if err != nil || len(list) != 200 {
		t.Fatalf("got %v, %v", out.Value, err)
	}
	for i, x := range list {
		if want := int64(2*i%200 + i/100); x != want {
			t.Fatalf("element %d is %v, want %d", i, x, want)
		}
	}
}

// TestKeyOrder: the order of keys is one, and ints and uints mix in it.
func TestKeyOrder(t *testing.T) {
	out, err := expr(t, `{0: 0, 9223372036854775807: 0, 9223372036854775807u: 0, 9223372036854775808u: 0, -1: 0, 0u: 0}.transformList(k, v, string(k))`).Resolve(inputOf())
	want := []any{"-1", "0", "0", fmt.Sprint(int64(math.MaxInt64)), fmt.Sprint(int64(math.MaxInt64)), "9223372036854775808"}
	if err != nil || !reflect.DeepEqual(out.Value, want) {
		t.Errorf("got %v, %v", out.Value, err)
	}
}

// TestValuesAreRead: an expression does not change what it is given.
func TestValuesAreRead(t *testing.T) {
	in := inputOf([]any{int64(3), int64(1)}, map[string]any{"b": []any{"x"}})
	want := fmt.Sprint(in.Values...)
	out, err := expr(t, `[values[0].sort(), values[0].reverse(), values[1].b + ["y"], values]`).Resolve(in)
	if err != nil || fmt.Sprint(in.Values...) != want {
		t.Errorf("now %v, %v", in.Values, err)
	}
	if v, err := delta.ValueOf(out.Value); err != nil || len(v) == 0 {
		t.Error(err)
	}
}
