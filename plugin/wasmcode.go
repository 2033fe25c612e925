package plugin

import (
	"encoding/binary"
	"fmt"
)

// checkpoint is "loop end", which does nothing. The library looks whether a call's
// time is over where a loop begins, and nowhere else: not in a function that
// calls itself twice, not between ten thousand fills of the memory. So every
// function begins with one, and one stands before each instruction whose
// work an operand decides.
const checkpoint = "\x03\x40\x0b"

// rewriteCode returns the code section with checkpoints inserted.
func rewriteCode(section []byte) ([]byte, error) {
	c := &cursor{b: section}
	n := c.count("functions", maxFunctions)
	out := binary.AppendUvarint(make([]byte, 0, len(section)+len(section)/8), uint64(n))
	left := maxInstructions
	var fn []byte
	for range n {
		size := c.count("bytes in one function", maxFunctionBytes)
		f := &function{cursor: cursor{b: c.bytes(size)}, out: fn[:0], left: left}
		if c.err != nil {
			return nil, c.err
		}
		if f.rewrite(); f.err != nil {
			return nil, f.err
		}
		fn, left = f.out, f.left
		out = binary.AppendUvarint(out, uint64(len(fn)))
		out = append(out, fn...)
	}
	if len(c.b) > 0 {
		c.fail(errTruncated)
	}
	return out, c.err
}

// A function is a body that is read, and written with checkpoints.
type function struct {
	cursor
	out  []byte
	left int // instructions that the module may still have
}

func (f *function) rewrite() {
	whole := f.b
	locals := 0
	for range f.count("groups of locals", maxLocals) {
		locals += int(f.count("locals in one function", maxLocals))
		f.byte()
	}
	if locals > maxLocals {
		f.fail(fmt.Errorf("%d locals in one function, at most %d are allowed", locals, maxLocals))
	}
	f.out = append(f.out, whole[:len(whole)-len(f.b)]...)
	f.out = append(f.out, checkpoint...)
	for len(f.b) > 0 && f.err == nil {
		start := f.b
		if f.left--; f.left < 0 {
			f.fail(fmt.Errorf("more than %d instructions", maxInstructions))
			return
		}
		if bulk := f.skip(); bulk {
			f.out = append(f.out, checkpoint...)
		}
		f.out = append(f.out, start[:len(start)-len(f.b)]...)
	}
}

// skip reads one instruction, and says whether its operands decide how long it
// takes. It knows those of WebAssembly 2.0 but for vectors, which would gain
// nothing here.
func (f *function) skip() (bulk bool) {
	switch op := f.byte(); {
	case op >= 0x02 && op <= 0x04: // block, loop, if
		f.signed(5)
	case op == 0x0c || op == 0x0d: // br, br_if
		f.u32()
	case op == 0x0e: // br_table
		n := f.u32()
		f.left -= int(min(n, maxInstructions))
		for i := uint32(0); i <= n && f.err == nil; i++ {
			f.u32()
		}
	case op == 0x10 || op >= 0x20 && op <= 0x26: // call, locals, globals, table.get, table.set
		f.u32()
	case op == 0x11: // call_indirect
		f.u32()
		f.u32()
	case op == 0x1c: // select with a type
		f.bytes(f.u32())
	case op >= 0x28 && op <= 0x3e: // loads and stores
		f.u32()
		f.u32()
	case op == 0x3f: // memory.size
		f.byte()
	case op == 0x40: // memory.grow
		f.byte()
		return true
	case op == 0x41: // i32.const
		f.signed(5)
	case op == 0x42: // i64.const
		f.signed(10)
	case op == 0x43: // f32.const
		f.bytes(4)
	case op == 0x44: // f64.const
		f.bytes(8)
	case op == 0xd0: // ref.null
		f.byte()
	case op == 0xd2: // ref.func
		f.u32()
	case op == 0xfc:
		return f.skipPrefixed()
	case op <= 0x01, op == 0x05, op == 0x0b, op == 0x0f, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
		// no operands in the code
	default:
		f.fail(fmt.Errorf("instruction %#x is not offered", op))
	}
	return false
}

// skipPrefixed reads an instruction that begins with 0xfc.
func (f *function) skipPrefixed() (bulk bool) {
	switch op := f.u32(); op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // truncations
	case 9, 13, 16: // data.drop, elem.drop, table.size
		f.u32()
	case 11, 15, 17: // memory.fill, table.grow, table.fill
		f.u32()
		return true
	case 8, 10, 12, 14: // memory.init, memory.copy, table.init, table.copy
		f.u32()
		f.u32()
		return true
	default:
		f.fail(fmt.Errorf("instruction 0xfc %d is not offered", op))
	}
	return false
}
