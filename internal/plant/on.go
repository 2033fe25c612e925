//go:build plant

package plant

var planted Bug

// Is reports whether a bug is planted.
func Is(b Bug) bool { return planted == b }

// Set plants a bug, or none where it is empty. Nothing of the core may run
// meanwhile.
func Set(b Bug) { planted = b }
