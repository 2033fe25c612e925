package plugin

import (
	"encoding/binary"
	"fmt"
)

// The names under which a prepared module exports its count of instructions, and
// what was its start function, which is called like the others.
const (
	usedExport  = "rhizome.used"
	startExport = "rhizome.start"
)

// cutInstructions and compareInstructions are what cut and compare add.
const (
	cutInstructions     = 4
	compareInstructions = 8
)

// A meter makes a module count the instructions that it executes, and trap when
// there are too many. So it stops after the same instruction on every node,
// however fast that is.
//
// It adds a global. Code is cut into segments: runs of instructions of which the
// first is executed if and only if all are, unless there is a trap. Each segment
// begins with adding its length to the global. Where a loop or a function
// begins, and before an instruction whose operand decides how long it takes, the
// sum is compared. What this adds to the code is counted too.
type meter struct {
	most      uint64
	start     int64    // the start function, -1 for none
	params    []uint32 // of each type
	functions []uint32 // the type of each function
	globals   uint32   // those of the module itself
	emitted   int      // instructions in the prepared module
}

// addGlobal returns the section of globals with one more: a mutable i64 of 0.
func (m *meter) addGlobal(c *cursor) ([]byte, error) {
	m.globals = c.count("globals", maxGlobals)
	out := binary.AppendUvarint(nil, uint64(m.globals)+1)
	out = append(out, c.b...)
	return append(out, 0x7e, 1, 0x42, 0, 0x0b), c.err
}

// addExports returns the section of exports with what the host must get at.
func (m *meter) addExports(c *cursor) ([]byte, error) {
	n := uint64(c.count("exports", maxExports)) + 1
	if m.start >= 0 {
		n++
	}
	out := binary.AppendUvarint(nil, n)
	out = append(out, c.b...)
	export := func(name string, kind byte, index uint64) {
		out = append(append(out, byte(len(name))), name...)
		out = binary.AppendUvarint(append(out, kind), index)
	}
	export(usedExport, 3, uint64(m.globals))
	if m.start >= 0 {
		export(startExport, 0, uint64(m.start))
	}
	return out, c.err
}

// rewriteCode returns the code section of a module that counts.
func (m *meter) rewriteCode(c *cursor) ([]byte, error) {
	n := c.count("functions", maxFunctions)
	out := binary.AppendUvarint(make([]byte, 0, 2*len(c.b)), uint64(n))
	if c.err == nil && int(n) != len(m.functions) {
		return nil, errTruncated
	}
	var fn []byte
	for i := range n {
		size := c.count("bytes in one function", maxFunctionBytes)
		f := &function{cursor: cursor{b: c.bytes(size)}, meter: m, out: fn[:0]}
		if c.err != nil {
			return nil, c.err
		}
		if f.rewrite(m.params[m.functions[i]]); f.err != nil {
			return nil, f.err
		}
		fn = f.out
		out = binary.AppendUvarint(out, uint64(len(fn)))
		out = append(out, fn...)
	}
	if len(c.b) > 0 {
		c.fail(errTruncated)
	}
	return out, c.err
}

// A function is a body that is read and rewritten.
type function struct {
	cursor
	*meter
	out []byte
	// spare is a local of the rewritten function that its code does not know.
	spare uint32
	// segment is what was read of the present segment, n instructions.
	segment []byte
	n       uint64
}

func (f *function) rewrite(params uint32) {
	groups := f.count("groups of locals", maxLocals)
	whole := f.b
	locals := uint32(0)
	for range groups {
		locals += f.count("locals in one function", maxLocals)
		f.byte()
		if locals > maxLocals {
			f.fail(fmt.Errorf("%d locals in one function, at most %d are allowed", locals, maxLocals))
		}
		if f.err != nil {
			return
		}
	}
	f.spare = params + locals
	f.out = binary.AppendUvarint(f.out, uint64(groups)+1)
	f.out = append(f.out, whole[:len(whole)-len(f.b)]...)
	f.out = append(f.out, 1, 0x7f)
	f.n = 1 + uint64(locals)/4 // what the call costs
	f.cut()
	f.compare()
	for len(f.b) > 0 && f.err == nil {
		f.instruction()
	}
	f.cut()
}

// instruction takes over one instruction, and cuts the code where its segment
// ends.
func (f *function) instruction() {
	start := f.b
	op, bulk := f.skip()
	if bulk >= 0 {
		f.cut()
		f.addOperand(bulk)
		f.compare()
	}
	f.segment = append(f.segment, start[:len(start)-len(f.b)]...)
	f.n++
	if f.emitted++; f.emitted > maxInstructions {
		f.fail(fmt.Errorf("more than %d instructions, with those that count them", maxInstructions))
	}
	switch op {
	case 0x03: // loop
		f.cut()
		f.compare()
	case 0x00, 0x04, 0x05, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f: // unreachable, if, else, end, the branches, return
		f.cut()
	}
}

// cut writes the segment, and before it the code that adds its length.
func (f *function) cut() {
	if f.n == 0 {
		return
	}
	f.out = f.appendGlobal(f.out, 0x23)
	f.out = appendI64(f.out, f.n+cutInstructions)
	f.out = append(f.out, 0x7c) // i64.add
	f.out = f.appendGlobal(f.out, 0x24)
	f.out = append(f.out, f.segment...)
	f.segment, f.n = f.segment[:0], 0
	f.emitted += cutInstructions
}

// addOperand writes the code that adds the i32 on top of the stack, in
// units of the instruction that it is for.
func (f *function) addOperand(shift int) {
	f.out = binary.AppendUvarint(append(f.out, 0x22), uint64(f.spare)) // local.tee
	f.out = binary.AppendUvarint(append(f.out, 0x20), uint64(f.spare)) // local.get
	f.out = append(f.out, 0xad)                                        // i64.extend_i32_u
	f.out = appendI64(f.out, uint64(max(shift-bulkShift, 0)))
	f.out = append(f.out, 0x86) // i64.shl
	f.out = appendI64(f.out, uint64(max(bulkShift-shift, 0)))
	f.out = append(f.out, 0x88) // i64.shr_u
	f.out = f.appendGlobal(f.out, 0x23)
	f.out = append(f.out, 0x7c) // i64.add
	f.out = f.appendGlobal(f.out, 0x24)
	f.emitted += 10
}

// compare writes the code that traps where too much was counted, and a loop
// that does nothing: where a loop begins, and nowhere else, the library looks
// whether the time of the call is over.
func (f *function) compare() {
	f.out = f.appendGlobal(f.out, 0x23)
	f.out = appendI64(f.out, f.most)
	f.out = append(f.out, 0x56, 0x04, 0x40, 0x00, 0x0b) // i64.gt_u, if, unreachable, end
	f.out = append(f.out, 0x03, 0x40, 0x0b)             // loop, end
	f.n += compareInstructions
	f.emitted += compareInstructions
}

// appendGlobal appends global.get (0x23) or global.set (0x24) of the count.
func (f *function) appendGlobal(b []byte, op byte) []byte {
	return binary.AppendUvarint(append(b, op), uint64(f.globals))
}

// appendI64 appends i64.const.
func appendI64(b []byte, n uint64) []byte {
	b = append(b, 0x42)
	for {
		low := byte(n & 0x7f)
		if n >>= 7; n == 0 && low&0x40 == 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

// skip reads one instruction. Where the i32 on top of the stack decides how long
// it takes, bulk says of how many bytes one of that is, as a power of two; else
// it is negative. skip knows the instructions of WebAssembly 2.0 but for
// vectors, which would gain nothing here.
func (f *function) skip() (op byte, bulk int) {
	switch op = f.byte(); {
	case op >= 0x02 && op <= 0x04: // block, loop, if
		f.signed(5)
	case op == 0x0c || op == 0x0d: // br, br_if
		f.u32()
	case op == 0x0e: // br_table
		n := f.u32()
		f.emitted += int(min(n, maxInstructions))
		for i := uint32(0); i <= n && f.err == nil; i++ {
			f.u32()
		}
	case op == 0x10 || op == 0x25 || op == 0x26: // call, table.get, table.set
		f.u32()
	case op >= 0x20 && op <= 0x22: // locals
		f.hidden(f.spare)
	case op == 0x23 || op == 0x24: // globals
		f.hidden(f.globals)
	case op == 0x11: // call_indirect
		f.u32()
		f.u32()
	case op == 0x1c: // select with a type
		f.bytes(f.u32())
	case op >= 0x28 && op <= 0x3e: // loads and stores
		f.u32()
		f.u32()
	case op == 0x3f || op == 0x40: // memory.size, and memory.grow, which the cap of the memory bounds
		f.byte()
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
		return op, f.skipPrefixed()
	case op <= 0x01, op == 0x05, op == 0x0b, op == 0x0f, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
		// no operands in the code
	default:
		f.fail(fmt.Errorf("instruction %#x is not offered", op))
	}
	return op, -1
}

// hidden reads an index that must be below that of what was added.
func (f *function) hidden(added uint32) {
	if f.u32() >= added {
		f.fail(errTruncated)
	}
}

// skipPrefixed reads an instruction that begins with 0xfc.
func (f *function) skipPrefixed() (bulk int) {
	switch op := f.u32(); op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // truncations
		return -1
	case 9, 13, 16: // data.drop, elem.drop, table.size
		f.u32()
		return -1
	case 8, 10: // memory.init, memory.copy
		f.u32()
		f.u32()
		return 0
	case 11: // memory.fill
		f.u32()
		return 0
	case 12, 14: // table.init, table.copy
		f.u32()
		f.u32()
		return 3
	case 15, 17: // table.grow, table.fill
		f.u32()
		return 3
	default:
		f.fail(fmt.Errorf("instruction 0xfc %d is not offered", op))
		return -1
	}
}
