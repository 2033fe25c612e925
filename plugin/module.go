package plugin

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/rhizome-p2p/rhizome/merge"
)

// pageBytes is the unit in which the memory of a module grows.
const pageBytes = 64 << 10

// A Module is a resolver that a WebAssembly module computes.
type Module struct {
	owner  *Runtime
	code   *code
	closed atomic.Bool
}

// Close says that its holder needs the module no more, so that it may leave the
// cache. Calls that run end as they would have, and a reader that still has the
// module may go on calling it.
func (m *Module) Close() error {
	if m.closed.CompareAndSwap(false, true) {
		m.owner.release(m.code)
	}
	return nil
}

// Resolve calls the module, in an instance that lives for this call alone.
func (m *Module) Resolve(in *merge.Input) (out merge.Output, err error) {
	// The library recovers what modules cause; this is for its own faults.
	defer func() {
		if p := recover(); p != nil {
			out, err = merge.Output{}, merge.Failf(merge.ErrorFailed, "wasm: %v", p)
		}
	}()
	text, err := appendInput(nil, in)
	if err != nil {
		return merge.Output{}, err
	}
	memory := <-m.owner.places
	defer func() {
		memory.reset()
		m.owner.places <- memory
	}()
	result, err := m.call(text, memory)
	if err != nil {
		return merge.Output{}, err
	}
	return parseOutput(result)
}

// call hands the module a text and returns what it answers, a part of the memory.
func (m *Module) call(text []byte, memory *boundedMemory) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), m.owner.limits.CallTime)
	defer cancel()
	instance, err := m.code.runtime.InstantiateModule(
		experimental.WithMemoryAllocator(ctx, memory), m.code.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, m.explain(ctx, err, memory, nil)
	}
	defer func() { _ = instance.Close(context.Background()) }() // it has no resources but its memory
	result, err := exchange(ctx, instance, text)
	if err != nil {
		return nil, m.explain(ctx, err, memory, instance.ExportedGlobal(usedExport))
	}
	return result, nil
}

// exchange does the steps of the interface.
func exchange(ctx context.Context, instance api.Module, text []byte) ([]byte, error) {
	if start := instance.ExportedFunction(startExport); start != nil {
		if _, err := start.Call(ctx); err != nil {
			return nil, err
		}
	}
	place, err := instance.ExportedFunction("alloc").Call(ctx, uint64(len(text)))
	if err != nil {
		return nil, err
	}
	ptr := api.DecodeU32(place[0])
	if !instance.Memory().Write(ptr, text) {
		return nil, merge.Failf(merge.ErrorOutput, "wasm: alloc returned %d for %d bytes, which is not in the memory", ptr, len(text))
	}
	packed, err := instance.ExportedFunction("resolve").Call(ctx, uint64(ptr), uint64(len(text)))
	if err != nil {
		return nil, err
	}
	ptr, size := uint32(packed[0]>>32), uint32(packed[0])
	if size > maxOutputBytes {
		return nil, merge.Failf(merge.ErrorOutput, "wasm: a result of %d bytes, at most %d are allowed", size, maxOutputBytes)
	}
	result, ok := instance.Memory().Read(ptr, size)
	if !ok {
		return nil, merge.Failf(merge.ErrorOutput, "wasm: a result of %d bytes at %d, which is not in the memory", size, ptr)
	}
	return result, nil
}

// explain says of which kind an error is. Used is the count of instructions, nil
// where there was none.
func (m *Module) explain(ctx context.Context, err error, memory *boundedMemory, used api.Global) error {
	var own *merge.PropertyError
	if errors.As(err, &own) {
		return own
	}
	text, _, _ := strings.Cut(err.Error(), "\n") // what follows is a stack trace
	switch {
	case used != nil && used.Get() > m.owner.limits.Instructions:
		return merge.Failf(merge.ErrorCost, "wasm: more than %d instructions", m.owner.limits.Instructions)
	case ctx.Err() != nil:
		return merge.Failf(merge.ErrorTime, "wasm: not done within %v", m.owner.limits.CallTime)
	case memory.refused:
		return merge.Failf(merge.ErrorMemory, "wasm: it was refused more than %d bytes of memory, then %s", memory.most, shorten(text))
	case strings.Contains(text, "stack overflow"):
		return merge.Failf(merge.ErrorMemory, "wasm: stack overflow")
	}
	return merge.Failf(merge.ErrorFailed, "wasm: %s", shorten(text))
}

// A boundedMemory is the memory of one instance at a time. It remembers whether
// the module wanted more than it may have.
type boundedMemory struct {
	most    uint64
	bytes   []byte
	refused bool
}

// Allocate returns the memory itself: a module has one.
func (b *boundedMemory) Allocate(_, _ uint64) experimental.LinearMemory { return b }

// Reallocate grows the memory, at least to the double, so that a module that
// grows page by page does not copy it each time. What is new is zero.
func (b *boundedMemory) Reallocate(size uint64) []byte {
	if size > b.most {
		b.refused = true
		return nil
	}
	if size > uint64(cap(b.bytes)) {
		grown := make([]byte, len(b.bytes), min(max(size, 2*uint64(cap(b.bytes))), b.most))
		copy(grown, b.bytes)
		b.bytes = grown
	}
	old := len(b.bytes)
	b.bytes = b.bytes[:size]
	if uint64(old) < size {
		clear(b.bytes[old:])
	}
	return b.bytes
}

// Free does nothing: the result is read after it.
func (b *boundedMemory) Free() {}

// reset makes the memory ready for the next instance. Most modules need little,
// and clearing that is faster than asking for it anew; much is given back.
func (b *boundedMemory) reset() {
	b.refused = false
	b.bytes = b.bytes[:0]
	if cap(b.bytes) > keptBytes {
		b.bytes = nil
	}
}
