package plugin

import (
	"cmp"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/delta"
)

// Limits bound what one call of a resolver may take. The zero value of each
// field means its default.
type Limits struct {
	// Cost is how many steps a CEL expression may take, as the package
	// documentation counts them. Zero means DefaultCost. It must be the same on all
	// nodes, since it decides whether a property has a value.
	Cost uint64
	// Instructions is how many instructions of WebAssembly one call of a module
	// may execute. Zero means DefaultInstructions. It must be the same on all
	// nodes.
	Instructions uint64
	// CallTime is how long one call of a module may take, its instantiation
	// included. Zero means DefaultCallTime. It is a second net: Instructions stop
	// a module at the same place on all nodes, this one does not.
	CallTime time.Duration
	// MemoryPages is how many pages of 64 KiB the memory of a module may grow
	// to. Zero means DefaultMemoryPages. Each call that runs holds as much. It
	// must be the same on all nodes.
	MemoryPages uint32
	// CachedModules is how many compiled modules a Runtime keeps that nobody
	// uses. Zero means DefaultCachedModules, less than zero none.
	CachedModules int
}

const (
	// DefaultCost lets an expression look at each of a thousand survivors some
	// dozens of times; the worst that it can do with that takes about a second.
	DefaultCost = 1_000_000

	// DefaultInstructions take some 150 ms. The median of testdata takes 20,000
	// of them for three survivors, and 15 million for a thousand.
	DefaultInstructions = 20_000_000

	// DefaultCallTime is more than ten times what DefaultInstructions take. A
	// machine may be so busy that a call of 0.2 ms takes 100.
	DefaultCallTime = 2 * time.Second

	// DefaultMemoryPages is 16 MiB: the largest input and output, decoded.
	DefaultMemoryPages = 256

	// DefaultCachedModules is more than the versions of one schema's resolvers
	// that are read at one time.
	DefaultCachedModules = 16
)

const (
	// MaxExpressionBytes bounds the text of a CEL expression: pages of it, and
	// what is parsed in milliseconds.
	MaxExpressionBytes = 16 << 10

	// maxNesting bounds how deep an expression nests. Parser, checker and
	// evaluation recurse that deep, and the checker's time grows with its cube:
	// at 50 the worst that was found is 0.3 s, at 80 a second.
	maxNesting = 50

	// maxNodes bounds the expression after its macros are expanded, which may
	// copy their arguments.
	maxNodes = 20_000

	// maxWeight bounds each value that an expression makes, in bytes and
	// elements, shared ones as often as they occur. What walks a value may meet
	// this many before its price is charged.
	maxWeight = 16 << 20

	// maxTextBytes bounds what a resolver says about itself: an error or a reason
	// that fits on a screen.
	maxTextBytes = 1 << 10

	// maxKeyBytes bounds the key that a map is asked for, which has to be hashed.
	maxKeyBytes = 4 << 10

	// maxWeighDepth is more than an expression of maxNesting can nest values of
	// delta.MaxDepth.
	maxWeighDepth = 1000
)

const (
	// MaxModuleBytes bounds a module: what a language with a runtime of its own
	// compiles to.
	MaxModuleBytes = 8 << 20

	// maxInstructions bounds the code of a module, the targets of its branch
	// tables and the code that counts included, which is about as much as its own. The
	// interpreter keeps some 60 bytes for each, and translates so many in a
	// second at worst.
	maxInstructions = 2 << 20

	// bulkShift says that filling or copying 64 bytes counts as an instruction.
	bulkShift = 6

	// maxFunctionBytes bounds one function. The translation of a function is
	// held twice while it grows.
	maxFunctionBytes = 128 << 10

	// maxLocals bounds the locals of one function, since the interpreter lets
	// 2,000 frames stand on each other: 64 MB of locals.
	maxLocals = 4 << 10

	// maxFunctions, maxGlobals, maxSegments, maxTables, maxTableEntries and
	// maxElementBytes bound what every call must make anew, outside of the
	// memory that is capped. Compilers stay far below.
	maxFunctions    = 20_000
	maxGlobals      = 1 << 10
	maxSegments     = 4 << 10
	maxTables       = 4
	maxTableEntries = 64 << 10
	maxElementBytes = 256 << 10

	// maxTypes, maxArity and maxExports bound tables of the compilation. A block
	// of two bytes moves as many values as its type has.
	maxTypes   = 4 << 10
	maxArity   = 32
	maxExports = 1 << 10

	// keptBytes is how much memory is kept between calls for each that may run
	// at a time: what the common compilers let a module begin with, 17 pages,
	// and some.
	keptBytes = 2 << 20

	// maxInputBytes bounds the JSON that a module is given. A quarter of its
	// memory is the text, the rest is to work in.
	maxInputBytes = 4 << 20

	// maxOutputBytes bounds the JSON that a module returns: a value of
	// delta.MaxValueBytes, with each byte escaped as six, and the rest.
	maxOutputBytes = 6*delta.MaxValueBytes + 16<<10
)

// withDefaults returns l with its zeros replaced.
func (l Limits) withDefaults() Limits {
	l.Cost = cmp.Or(l.Cost, DefaultCost)
	l.Instructions = cmp.Or(l.Instructions, DefaultInstructions)
	l.CallTime = cmp.Or(l.CallTime, DefaultCallTime)
	l.MemoryPages = min(cmp.Or(l.MemoryPages, DefaultMemoryPages), 1<<16) // all that 32 bits address
	l.CachedModules = max(cmp.Or(l.CachedModules, DefaultCachedModules), 0)
	return l
}

// shorten cuts a text that is for people at the end of a character.
func shorten(s string) string {
	if len(s) <= maxTextBytes {
		return s
	}
	return strings.ToValidUTF8(s[:maxTextBytes], "") + "…"
}
