package simnet

// CrashAt makes the process die that comes to the n-th boundary of the world.
func (o *Options) CrashAt(n uint64) { o.crashAt = n }

// Boundaries returns how many boundaries processes have passed.
func (w *World) Boundaries() uint64 { return w.boundaries }
