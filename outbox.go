package rhizome

import (
	"sync"
	"time"

	"github.com/rhizome-p2p/rhizome/gossip"
)

// An outbox puts what is published in quick succession into few messages. What
// comes after a pause goes out at once; what follows it waits, for no longer than
// the linger, and then goes together. Among many peers each message is passed on
// many times over, and each of its entries names what its writer has seen since the
// entry before: few larger messages cost the network and its members less.
type outbox struct {
	send func(messages [][]byte)

	mu      sync.Mutex
	waiting [][]byte
	bytes   int
	sent    time.Time // when the last message went out
	due     bool      // a timer will send what waits, if nothing has by then
}

// Linger is none with one peer or two, to whom a message goes once, and grows with
// their number from there on.
const (
	lingerFrom    = 3
	lingerPerPeer = 2 * time.Millisecond
	lingerMost    = 25 * time.Millisecond
)

func linger(peers int) time.Duration {
	if peers < lingerFrom {
		return 0
	}
	return min(time.Duration(peers)*lingerPerPeer, lingerMost)
}

// put sends a message, or lets it wait for the next.
func (o *outbox) put(message []byte, linger time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes+len(message) > gossip.MaxPublishBytes {
		o.flush()
	}
	o.waiting = append(o.waiting, message)
	o.bytes += len(message)
	switch rest := linger - time.Since(o.sent); {
	case rest <= 0:
		o.flush()
	case !o.due:
		o.due = true
		time.AfterFunc(rest, o.drain)
	}
}

// drain sends what waits.
func (o *outbox) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
}

// flush sends what waits; the caller holds mu, which keeps messages in order.
func (o *outbox) flush() {
	if len(o.waiting) > 0 {
		o.send(o.waiting)
		o.waiting, o.bytes, o.sent, o.due = nil, 0, time.Now(), false
	}
}
