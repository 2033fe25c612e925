package plugin

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/merge"
)

// TestModules: what a module does wrong during a call is reported with its kind.
func TestModules(t *testing.T) {
	r := NewRuntime(patient)
	for _, tt := range []struct {
		name string
		kind merge.ErrorKind
		text string // part of the error
	}{
		{"loop", merge.ErrorCost, "more than 20000000 instructions"},
		{"alloc_loop", merge.ErrorCost, "instructions"},
		{"start_loop", merge.ErrorCost, "instructions"},
		{"tree", merge.ErrorCost, "instructions"},
		{"memory_bomb", merge.ErrorMemory, "refused more than 16777216 bytes of memory, then wasm error: unreachable"},
		{"recursion", merge.ErrorMemory, "stack overflow"},
		{"trap", merge.ErrorFailed, "integer divide by zero"},
		{"bad_alloc", merge.ErrorOutput, "not in the memory"},
		{"bad_pointer", merge.ErrorOutput, "not in the memory"},
		{"long_result", merge.ErrorOutput, "4294967295 bytes"},
		{"echo", merge.ErrorOutput, `an object with one of`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := module(t, r, tt.name)
			_, err := m.Resolve(inputOf(int64(1), int64(2)))
			if kindOf(t, err) != tt.kind || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want kind %s and %q", err, tt.kind, tt.text)
			}
		})
	}
}

// TestCallTime: where the limit of instructions is far away, time stops what has
// loops and what has none.
func TestCallTime(t *testing.T) {
	r := NewRuntime(Limits{CallTime: 50 * time.Millisecond, Instructions: 1 << 50})
	for _, name := range []string{"loop", "alloc_loop", "start_loop", "tree"} {
		start := time.Now()
		_, err := module(t, r, name).Resolve(inputOf())
		if took := time.Since(start); kindOf(t, err) != merge.ErrorTime || took > 10*time.Second {
			t.Errorf("%s: after %v: %v", name, took, err)
		}
	}
}

// TestInstructions: a module is stopped at the same instruction each time, and is
// given as many as it needs, neither less nor more.
func TestInstructions(t *testing.T) {
	in := inputOf(int64(3), int64(1), int64(2))
	need := func(limit uint64) bool {
		_, err := module(t, NewRuntime(Limits{Instructions: limit, CallTime: time.Minute}), "median").Resolve(in)
		if err != nil && kindOf(t, err) != merge.ErrorCost {
			t.Fatal(err)
		}
		return err == nil
	}
	least, most := uint64(1), uint64(1<<30)
	for least < most {
		if mid := (least + most) / 2; need(mid) {
			most = mid
		} else {
			least = mid + 1
		}
	}
	for range 10 {
		if !need(least) || need(least-1) {
			t.Fatalf("the limit of %d does not divide", least)
		}
	}
	t.Logf("%d instructions", least)
}

// TestMemoryWithinLimit: a module that is refused memory and copes has a value.
func TestMemoryWithinLimit(t *testing.T) {
	out, err := module(t, NewRuntime(patient), "memory_touch").Resolve(inputOf())
	if err != nil || out.Value != "enough" {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestRefusedModules: what is no resolver is refused when it is compiled, by a
// reason that names what is wrong.
func TestRefusedModules(t *testing.T) {
	r := NewRuntime(patient)
	median := fixture(t, "median")
	for _, tt := range []struct {
		name   string
		module []byte
		text   string
	}{
		{"wasi_random", nil, `imports "random_get" from "wasi_snapshot_preview1"`},
		{"wasi_clock", nil, `imports "clock_time_get" from "wasi_snapshot_preview1"`},
		{"import_memory", nil, `imports "memory" from "env"`},
		{"wrong_resolve", nil, `"resolve" is not of type (i32, i32) -> i64`},
		{"wrong_alloc", nil, `"alloc" is not of type (i32) -> i32`},
		{"no_resolve", nil, `no function "resolve"`},
		{"no_memory", nil, `no memory "memory"`},
		{"large_memory", nil, "512 pages, at most 256"},
		{"open_table", nil, "a table must have a maximum"},
		{"vectors", nil, "instruction 0xfd is not offered"},
		{"empty", []byte{}, "not a WebAssembly module"},
		{"version 2", []byte("\x00asm\x02\x00\x00\x00"), "not a WebAssembly module"},
		{"nothing in it", []byte(wasmHeader), `no memory "memory"`},
		{"cut in a section", median[:len(median)-20], "malformed"},
		{"without its end", median[:400], "malformed"},
		{"too large", make([]byte, MaxModuleBytes+1), "at most 8388608"},
		{"unknown section", append([]byte(wasmHeader), 13, 0), "section 13"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.module == nil {
				tt.module = fixture(t, tt.name)
			}
			m, err := r.Compile(t.Context(), tt.module)
			if err == nil || m != nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %q", err, tt.text)
			}
		})
	}
}

// TestNothingCarriesOver: a module that counts its calls always gets to the same
// number.
func TestNothingCarriesOver(t *testing.T) {
	m := module(t, NewRuntime(patient), "counter")
	for range 50 {
		out, err := m.Resolve(inputOf())
		if err != nil || out.Value != int64(2) {
			t.Fatalf("got %v, %v", out.Value, err)
		}
	}
}

// TestMedian: the module of the example gives medians, absence and errors.
func TestMedian(t *testing.T) {
	m := module(t, NewRuntime(patient), "median")
	in := inputOf(int64(5), int64(-3), int64(9223372036854775807), int64(-9223372036854775808))
	in.Entity, in.Path = `"value":1,`, `/"value":7`
	in.Deps = map[string]any{"value": int64(100)}
	for _, tt := range []struct {
		in   *merge.Input
		want merge.Output
		kind merge.ErrorKind
	}{
		{inputOf(), merge.Output{Absent: true}, ""},
		{inputOf(int64(0)), merge.Output{Value: int64(0), Why: "median"}, ""},
		{inputOf(int64(-9223372036854775808)), merge.Output{Value: int64(-9223372036854775808), Why: "median"}, ""},
		{in, merge.Output{Value: int64(-3), Why: "median"}, ""},
		{inputOf(int64(1), "a"), merge.Output{}, merge.ErrorFailed},
		{inputOf(1.5), merge.Output{}, merge.ErrorFailed},
	} {
		out, err := m.Resolve(tt.in)
		if kindOf(t, err) != tt.kind || !reflect.DeepEqual(out, tt.want) {
			t.Errorf("%v: got %+v, %v, want %+v", tt.in.Values, out, err, tt.want)
		}
	}
}

// TestManySurvivors: a thousand survivors are within the limits of a module that
// is not careful about its time.
func TestManySurvivors(t *testing.T) {
	var values []any
	for i := range 1000 {
		values = append(values, int64(i*7919%1000))
	}
	out, err := module(t, NewRuntime(Limits{CallTime: time.Minute}), "median").Resolve(inputOf(values...))
	if err != nil || out.Value != int64(499) {
		t.Errorf("got %v, %v", out.Value, err)
	}
}

// TestLargeInput: an input that would fill the memory of a module is refused
// before there is one.
func TestLargeInput(t *testing.T) {
	var values []any
	for range 20 {
		values = append(values, strings.Repeat("x", 250<<10))
	}
	_, err := module(t, NewRuntime(patient), "median").Resolve(inputOf(values...))
	if kindOf(t, err) != merge.ErrorMemory {
		t.Errorf("got %v", err)
	}
}

// TestOutputs: of what a module may print, only the documented forms are results.
func TestOutputs(t *testing.T) {
	for _, tt := range []struct {
		text string
		want merge.Output
		kind merge.ErrorKind
	}{
		{`{"value":1}`, merge.Output{Value: int64(1)}, ""},
		{`{"value":null,"why":"because"}`, merge.Output{Why: "because"}, ""},
		{`{"value":{"$bytes":"AQI="}}`, merge.Output{Value: []byte{1, 2}}, ""},
		{`{"value":{"$ref":"host/a"}}`, merge.Output{Value: map[string]any{"$ref": "host/a"}}, ""},
		{`{"absent":true}`, merge.Output{Absent: true}, ""},
		{`{"error":"no"}`, merge.Output{}, merge.ErrorFailed},
		{`{"absent":false}`, merge.Output{}, merge.ErrorOutput},
		{`{"error":1}`, merge.Output{}, merge.ErrorOutput},
		{`{"value":1,"why":2}`, merge.Output{}, merge.ErrorOutput},
		{`{"value":1,"absent":true}`, merge.Output{}, merge.ErrorOutput},
		{`{"value":1,"more":true}`, merge.Output{}, merge.ErrorOutput},
		{`{"why":"x"}`, merge.Output{}, merge.ErrorOutput},
		{`{}`, merge.Output{}, merge.ErrorOutput},
		{`[]`, merge.Output{}, merge.ErrorOutput},
		{``, merge.Output{}, merge.ErrorOutput},
		{`{"value":NaN}`, merge.Output{}, merge.ErrorOutput},
		{`{"value":1e999}`, merge.Output{}, merge.ErrorOutput},
		{`{"value":9223372036854775808}`, merge.Output{}, merge.ErrorOutput},
		{`{"value":1,"value":2}`, merge.Output{}, merge.ErrorOutput},
		{`{"value":{"$ref":1}}`, merge.Output{}, merge.ErrorOutput},
		{`{"value":"` + strings.Repeat("x", 300<<10) + `"}`, merge.Output{}, merge.ErrorOutput},
		{`{"value":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, merge.Output{}, merge.ErrorOutput},
		{"{\"value\":\"\xff\"}", merge.Output{}, merge.ErrorOutput},
	} {
		out, err := parseOutput([]byte(tt.text))
		if kindOf(t, err) != tt.kind || !reflect.DeepEqual(out, tt.want) {
			t.Errorf("%.60s: got %+v, %v", tt.text, out, err)
		}
	}
	_, err := parseOutput([]byte(`{"error":"` + strings.Repeat("ä", 4000) + `"}`))
	if got := err.Error(); len(got) > 1100 || !strings.HasSuffix(got, "ä…") {
		t.Errorf("a long text is not cut: %d bytes", len(got))
	}
}

// TestCache: a module is compiled once, stays while somebody holds it, and leaves
// the cache when it was idle longest; who still has it can call it.
func TestCache(t *testing.T) {
	r := NewRuntime(Limits{CachedModules: 1})
	a, b := module(t, r, "median"), module(t, r, "median")
	if a.code != b.code {
		t.Error("one module was compiled twice")
	}
	first := a.code
	for _, m := range []*Module{a, a, b} { // the second time says nothing
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if c := module(t, r, "median"); c.code != first {
		t.Error("a module that is idle was compiled again")
	} else if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := module(t, r, "counter").Close(); err != nil {
		t.Fatal(err)
	}
	if c := module(t, r, "median"); c.code == first {
		t.Error("the module that was idle longest is still there")
	}
	if len(r.idle) != 1 || len(r.modules) != 2 {
		t.Errorf("%d idle of %d modules", len(r.idle), len(r.modules))
	}
	if out, err := a.Resolve(inputOf(int64(3))); err != nil || out.Value != int64(3) {
		t.Errorf("a closed module: %v, %v", out, err)
	}

	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Compile(t.Context(), fixture(t, "median")); err == nil {
		t.Error("a closed runtime compiles")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if out, err := a.Resolve(inputOf(int64(3))); err != nil || out.Value != int64(3) {
		t.Errorf("a module of a closed runtime: %v, %v", out, err)
	}
}

// TestCompileIsGivenUp: whoever gives up the compilation gets no module.
func TestCompileIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if m, err := NewRuntime(patient).Compile(ctx, fixture(t, "median")); m != nil || err == nil {
		t.Errorf("got %v, %v", m, err)
	}
}

// TestInstructionForms: a module means the same after it was rewritten, whatever
// instructions it uses.
func TestInstructionForms(t *testing.T) {
	out, err := module(t, NewRuntime(patient), "instructions").Resolve(inputOf())
	if err != nil || out.Value != int64(53) {
		t.Errorf("got %v, %v", out.Value, err)
	}
}
