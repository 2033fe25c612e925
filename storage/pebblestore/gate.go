package pebblestore

import (
	"math"
	"sync/atomic"
)

// A gate lets calls in until it is shut and then tells when the last of them
// has left. Unlike a lock, it can be entered again by a goroutine that is
// inside, also while it is being shut (and is then refused, not blocked).
type gate struct {
	// inside is how many calls are in, less shut once the gate is shut.
	inside atomic.Int64
	idle   chan struct{} // has room for one
}

// shut is more than calls can ever be inside.
const shut = math.MaxInt64 / 2

func newGate() *gate { return &gate{idle: make(chan struct{}, 1)} }

// enter reports whether the call may go on; then it must leave.
func (g *gate) enter() bool {
	if g.inside.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.inside.Add(-1) == -shut {
		g.signal()
	}
}

func (g *gate) signal() {
	select {
	case g.idle <- struct{}{}:
	default: // said before: a call was refused after the last one had left
	}
}

// shutting reports whether close has begun.
func (g *gate) shutting() bool { return g.inside.Load() <= 0 }

// close shuts the gate and waits until nobody is inside. It is called once.
func (g *gate) close() {
	if g.inside.Add(-shut) == -shut {
		g.signal()
	}
	<-g.idle
}
