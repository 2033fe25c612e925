package plugin

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/merge"
)

// A wasmModule is put together by hand: what no text compiler would write.
type wasmModule struct {
	types    []byte // beyond those of alloc, resolve and () -> ()
	typeN    int
	extra    []byte // sections between the memory and the exports
	locals   int    // of each function of bodies
	resolve  string // code of resolve, which returns 0 behind it
	bodies   []string
	data     []byte // a section after the code
	noMemory bool
}

func vec(n int, body []byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(n)), body...)
}

func section(id byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{id}, uint64(len(body))), body...)
}

func body(locals int, code string) []byte {
	b := []byte{0}
	if locals > 0 {
		b = append(binary.AppendUvarint([]byte{1}, uint64(locals)), 0x7f)
	}
	b = append(append(b, code...), 0x0b)
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

func (w wasmModule) bytes() []byte {
	types := append([]byte{0x60, 1, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 1, 0x7e, 0x60, 0, 0}, w.types...)
	n := 2 + len(w.bodies)
	code := append(body(0, "\x41\x80\x08"), body(0, w.resolve+"\x42\x00")...)
	for _, b := range w.bodies {
		code = append(code, body(w.locals, b)...)
	}
	out := []byte(wasmHeader)
	out = append(out, section(sectionType, vec(3+w.typeN, types))...)
	out = append(out, section(sectionFunction, vec(n, append([]byte{0, 1}, bytes.Repeat([]byte{2}, len(w.bodies))...)))...)
	if !w.noMemory {
		out = append(out, section(sectionMemory, []byte{1, 0, 255, 1})...) // 255 pages
	}
	out = append(out, w.extra...)
	out = append(out, section(sectionExport, []byte("\x03\x06memory\x02\x00\x05alloc\x00\x00\x07resolve\x00\x01"))...)
	out = append(out, section(sectionCode, vec(n, code))...)
	return append(out, w.data...)
}

// parts splits a long code into functions of the allowed size.
func parts(code string, total int) (out []string) {
	per := maxFunctionBytes / (2 * len(code))
	for ; total > 0; total -= per {
		out = append(out, strings.Repeat(code, min(per, total)))
	}
	return out
}

// TestHostileCompilation: shapes of code that are hard to compile are compiled
// within seconds and a bounded heap, or refused.
func TestHostileCompilation(t *testing.T) {
	const many = maxInstructions / 20
	for _, tt := range []struct {
		name   string
		module wasmModule
		text   string // the refusal, "" where there is none
	}{
		{"one after the other", wasmModule{bodies: parts("\x41\x00\x1a", 4*many)}, ""},
		{"loops", wasmModule{bodies: parts("\x03\x40\x0b", many)}, ""},
		{"branches", wasmModule{bodies: parts("\x41\x00\x04\x40\x05\x0b", many)}, ""},
		{"nested", wasmModule{bodies: []string{strings.Repeat("\x02\x40", 40_000) + strings.Repeat("\x0b", 40_000)}}, ""},
		{"wide branch table", wasmModule{bodies: []string{"\x41\x00\x0e\xa0\x8d\x06" + strings.Repeat("\x00", 100_001)}}, ""},
		{"many functions", wasmModule{bodies: slicesRepeat("\x41\x00\x1a", maxFunctions-2)}, ""},
		{"too many instructions", wasmModule{bodies: parts("\x01", 2*maxInstructions)}, "more than 2097152 instructions"},
		{"too many targets", wasmModule{bodies: slicesRepeat("\x41\x00\x0e\xa0\x8d\x06"+strings.Repeat("\x00", 100_001), 22)}, "instructions"},
		{"too many functions", wasmModule{bodies: slicesRepeat("", maxFunctions)}, "functions, at most"},
		{"a large function", wasmModule{bodies: []string{strings.Repeat("\x01", maxFunctionBytes+1)}}, "bytes in one function"},
		{"too many locals", wasmModule{locals: maxLocals + 1, bodies: []string{""}}, "locals"},
		{"wide type", wasmModule{typeN: 1, types: append([]byte{0x60, 0, 100}, bytes.Repeat([]byte{0x7f}, 100)...)}, "results of a function"},
		{"many types", wasmModule{typeN: 5000, types: bytes.Repeat([]byte{0x60, 0, 0}, 5000)}, "types"},
		{"no type of a function", wasmModule{typeN: 1, types: []byte{0x5f, 0, 0}}, "not that of a function"},
		{"many globals", wasmModule{extra: section(sectionGlobal, vec(5000, bytes.Repeat([]byte{0x7f, 0, 0x41, 0, 0x0b}, 5000)))}, "globals"},
		{"large table", wasmModule{noMemory: true, extra: section(sectionTable, []byte{1, 0x70, 1, 1, 0xff, 0xff, 0xff, 0x0f})}, "a table must have a maximum"},
		{"many element segments", wasmModule{extra: section(sectionElement, vec(5000, make([]byte, 5000)))}, "element segments"},
		{"large element segment", wasmModule{extra: section(sectionElement, vec(1, make([]byte, maxElementBytes)))}, "bytes of element segments"},
		{"many data segments", wasmModule{data: section(sectionData, vec(5000, bytes.Repeat([]byte{1, 0}, 5000)))}, "data segments"},
		{"two memories", wasmModule{noMemory: true, extra: section(sectionMemory, []byte{2, 0, 1, 0, 1})}, "2 memories"},
		{"shared memory", wasmModule{noMemory: true, extra: section(sectionMemory, []byte{1, 3, 1, 1})}, "shared"},
		{"unknown instruction", wasmModule{bodies: []string{"\xfe\x00"}}, "0xfe is not offered"},
		{"unknown long instruction", wasmModule{bodies: []string{"\xfc\x7f"}}, "0xfc 127 is not offered"},
		{"endless number", wasmModule{bodies: []string{"\x41\xff\xff\xff\xff\xff\xff\x00"}}, "malformed"},
		{"the global of the count", wasmModule{bodies: []string{"\x42\x00\x24\x00"}}, "malformed"},
		{"the local of the count", wasmModule{bodies: []string{"\x20\x00\x1a"}}, "malformed"},
		{"wrong types", wasmModule{bodies: []string{"\x6a"}}, "cannot pop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRuntime(patient)
			start := time.Now()
			m, err := r.Compile(t.Context(), tt.module.bytes())
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if tt.text == "" && err != nil || tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("error %v, want %q", err, tt.text)
			}
			if err == nil {
				if _, err := m.Resolve(inputOf()); kindOf(t, err) != merge.ErrorOutput {
					t.Errorf("an empty result: %v", err)
				}
			}
		})
	}
}

func slicesRepeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// TestStraightCode: code without loops or calls, whose instructions each take
// long, is stopped.
func TestStraightCode(t *testing.T) {
	fill := "\x41\x00\x41\x00\x41\x80\x80\xfc\x07\xfc\x0b\x00" // 255 pages with zeros
	r := NewRuntime(patient)
	m, err := r.Compile(t.Context(), wasmModule{resolve: "\x10\x02", bodies: []string{strings.Repeat(fill, 5000)}}.bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Resolve(inputOf()); kindOf(t, err) != merge.ErrorCost {
		t.Error(err)
	}
}

// TestWideFrames: the deepest recursion with the most locals is stopped.
func TestWideFrames(t *testing.T) {
	m, err := NewRuntime(patient).Compile(t.Context(),
		wasmModule{resolve: "\x10\x02", locals: maxLocals, bodies: []string{"\x10\x02"}}.bytes())
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	if _, err := m.Resolve(inputOf()); kindOf(t, err) != merge.ErrorMemory {
		t.Error(err)
	}
	if after := heap(); after > before+64<<20 {
		t.Errorf("%d MiB before, %d after", before>>20, after>>20)
	}
}

// TestLocalsCost: a call costs what its locals do.
func TestLocalsCost(t *testing.T) {
	b := wasmModule{resolve: "\x10\x02", locals: maxLocals, bodies: []string{""}}.bytes()
	for limit, want := range map[uint64]merge.ErrorKind{maxLocals / 8: merge.ErrorCost, maxLocals: merge.ErrorOutput} {
		m, err := NewRuntime(Limits{Instructions: limit}).Compile(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Resolve(inputOf()); kindOf(t, err) != want {
			t.Errorf("with %d: %v", limit, err)
		}
	}
}

// heap returns the bytes that are in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestNothingElseIsDisturbed: while hostile resolvers of all sorts run, others
// give right answers, and in the end no memory is kept.
func TestNothingElseIsDisturbed(t *testing.T) {
	r := NewRuntime(Limits{CallTime: time.Minute})
	hostile := []merge.Resolver{
		module(t, r, "loop"), module(t, r, "memory_bomb"), module(t, r, "recursion"), module(t, r, "tree"), module(t, r, "bad_pointer"),
		expr(t, `lists.range(1000).map(a, lists.range(1000).map(b, b))`),
		expr(t, `[["x"].map(a, a+a)[0]].map(b, b+b+b+b+b+b+b+b)[0] + fail("no")`),
		expr(t, `lists.range(900000).map(i, "x")`),
	}
	sum, median := expr(t, `values.map(v, v * 2)`), module(t, r, "median")
	in := inputOf(int64(9), int64(1), int64(5))
	before := heap()

	var others, all sync.WaitGroup
	var stop atomic.Bool
	var calls atomic.Int64
	for _, h := range hostile {
		others.Go(func() {
			for range 5 {
				if _, err := h.Resolve(in); err == nil {
					t.Error("a hostile resolver has a value")
				}
			}
		})
	}
	for range 2 {
		all.Go(func() {
			for !stop.Load() {
				if out, err := median.Resolve(in); err != nil || out.Value != int64(5) {
					t.Errorf("median: %v, %v", out.Value, err)
				}
				if out, err := sum.Resolve(in); err != nil || len(out.Value.([]any)) != 3 {
					t.Errorf("cel: %v, %v", out.Value, err)
				}
				calls.Add(1)
			}
		})
	}
	others.Wait()
	stop.Store(true)
	all.Wait()
	if calls.Load() < 5 {
		t.Errorf("the others came to %d calls", calls.Load())
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("%d KiB before, %d KiB after", before>>10, after>>10)
	}
}
