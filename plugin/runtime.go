package plugin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// ErrClosed reports a Runtime that was closed.
var ErrClosed = errors.New("plugin: the runtime is closed")

// features are those of WebAssembly 2.0 without vectors. Threads and relaxed
// vectors, which are not deterministic, are no part of it.
const features = api.CoreFeaturesV2 &^ api.CoreFeatureSIMD

// A Runtime compiles modules, each once, and limits how many calls run at a
// time. It may be used from any number of goroutines.
type Runtime struct {
	limits Limits

	// places has a memory for each call that may run at a time. Calls need the
	// processor and nothing else, so more at a time would be no faster, but hold
	// more memory.
	places chan *boundedMemory

	// compiling is held while a module is compiled, so that one that is hard to
	// compile costs its memory once.
	compiling sync.Mutex

	// mu guards what is below. It is never held during a compilation or a call.
	mu      sync.Mutex
	closed  bool
	modules map[[sha256.Size]byte]*code
	// idle are the modules in the cache that nobody holds, the one longest idle
	// first.
	idle []*code
}

// code is a compiled module. The interpreter keeps it in Go's memory, so what
// nothing refers to any more is collected; there is nothing to free.
type code struct {
	sum      [sha256.Size]byte
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	holders  int // Modules that are not closed; guarded by Runtime.mu
}

// NewRuntime returns a Runtime without modules.
func NewRuntime(l Limits) *Runtime {
	r := &Runtime{
		limits:  l.withDefaults(),
		places:  make(chan *boundedMemory, runtime.GOMAXPROCS(0)),
		modules: map[[sha256.Size]byte]*code{},
	}
	for range cap(r.places) {
		r.places <- &boundedMemory{most: uint64(r.limits.MemoryPages) * pageBytes}
	}
	return r
}

// Compile checks and compiles a module, unless it is in the cache. A compilation
// cannot be interrupted; the limits on a module bound it to about a second.
// Compile returns without a module where ctx is done by its end.
func (r *Runtime) Compile(ctx context.Context, module []byte) (*Module, error) {
	if len(module) > MaxModuleBytes {
		return nil, fmt.Errorf("plugin: module of %d bytes, at most %d are allowed", len(module), MaxModuleBytes)
	}
	sum := sha256.Sum256(module)
	if m, err := r.cached(sum); m != nil || err != nil {
		return m, err
	}
	r.compiling.Lock()
	defer r.compiling.Unlock()
	if m, err := r.cached(sum); m != nil || err != nil {
		return m, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("plugin: compile: %w", err)
	}
	c, err := compile(ctx, module, r.limits)
	if err != nil {
		return nil, fmt.Errorf("plugin: compile: %w", err)
	}
	c.sum = sum
	return r.add(c)
}

// compile turns a module into what can be instantiated. Each has a runtime of the
// library of its own, since that keeps the types of all modules that it ever saw.
func compile(ctx context.Context, module []byte, l Limits) (c *code, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = nil, fmt.Errorf("malformed module: %v", p)
		}
	}()
	prepared, err := prepare(module, l.MemoryPages, l.Instructions)
	if err != nil {
		return nil, err
	}
	c = &code{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().
		WithCoreFeatures(features).WithCloseOnContextDone(true).WithDebugInfoEnabled(false))}
	if c.compiled, err = c.runtime.CompileModule(ctx, prepared); err != nil {
		return nil, errors.New(shorten(err.Error()))
	}
	if err := checkExports(c.compiled); err != nil {
		return nil, err
	}
	return c, ctx.Err()
}

// checkExports says what a module lacks of the interface, if anything.
func checkExports(m wazero.CompiledModule) error {
	if m.ExportedMemories()["memory"] == nil {
		return errors.New(`it exports no memory "memory"`)
	}
	for _, want := range []struct {
		name    string
		params  []api.ValueType
		results []api.ValueType
		text    string
	}{
		{"alloc", []api.ValueType{api.ValueTypeI32}, []api.ValueType{api.ValueTypeI32}, "(i32) -> i32"},
		{"resolve", []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, []api.ValueType{api.ValueTypeI64}, "(i32, i32) -> i64"},
	} {
		f := m.ExportedFunctions()[want.name]
		if f == nil {
			return fmt.Errorf("it exports no function %q", want.name)
		}
		if !slices.Equal(f.ParamTypes(), want.params) || !slices.Equal(f.ResultTypes(), want.results) {
			return fmt.Errorf("its function %q is not of type %s", want.name, want.text)
		}
	}
	return nil
}

// cached returns a module of the cache, nil where it is not there.
func (r *Runtime) cached(sum [sha256.Size]byte) (*Module, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	c := r.modules[sum]
	if c == nil {
		return nil, nil
	}
	return r.hold(c), nil
}

// add puts a module into the cache.
func (r *Runtime) add(c *code) (*Module, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	r.modules[c.sum] = c
	return r.hold(c), nil
}

// hold must be called with mu held.
func (r *Runtime) hold(c *code) *Module {
	if c.holders == 0 {
		r.idle = slices.DeleteFunc(r.idle, func(i *code) bool { return i == c })
	}
	c.holders++
	return &Module{owner: r, code: c}
}

// release gives up what hold gave. The modules that were idle longest leave the
// cache.
func (r *Runtime) release(c *code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.holders--; c.holders > 0 || r.closed {
		return
	}
	r.idle = append(r.idle, c)
	for len(r.idle) > r.limits.CachedModules {
		delete(r.modules, r.idle[0].sum)
		r.idle = slices.Delete(r.idle, 0, 1)
	}
}

// Close empties the cache. Modules that somebody holds go on working.
func (r *Runtime) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.modules, r.idle = true, nil, nil
	return nil
}
