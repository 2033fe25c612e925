package simnet

import "runtime/debug"

const (
	// gcPercent lets a world's garbage grow to twice what lives: most of it dies
	// young, and what lives in a large world costs much to look through.
	gcPercent = 200

	// memoryLimit is where garbage is collected however little there is, so that
	// what the largest worlds take stays below 4 GiB.
	memoryLimit = 3 << 30
)

// TuneMemory sets the process's garbage collector to what suits worlds, and
// returns what undoes it. It is for programs that run worlds and little else;
// Run does not call it.
func TuneMemory() (restore func()) {
	percent, limit := debug.SetGCPercent(gcPercent), debug.SetMemoryLimit(memoryLimit)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}
