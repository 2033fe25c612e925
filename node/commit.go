package node

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// commits groups concurrent writes: while one caller, the leader, makes an entry
// or waits for the disk, others queue; then the first of them leads for all that
// queued. So a flush and a signature are shared by as many as come, and a
// caller alone writes without passing through another goroutine. One group is
// made while the one before it is on its way to the disk.
type commits struct {
	mu      sync.Mutex
	waiting []*pendingWrite
	leading bool // somebody leads, or has been told to
	closed  bool
	calls   sync.WaitGroup

	// flushed is closed once the group that was made last is on disk. It is the
	// leader's.
	flushed chan struct{}

	// ended are pendingWrites that ended as they should: nothing is left in their
	// channels, and nobody else knows them.
	ended sync.Pool
}

type pendingWrite struct {
	req  Request
	lead chan struct{} // tells the caller to lead
	done chan Result
}

// pending returns a pendingWrite to fill in.
func (c *commits) pending() *pendingWrite {
	if w, ok := c.ended.Get().(*pendingWrite); ok {
		return w
	}
	return &pendingWrite{lead: make(chan struct{}, 1), done: make(chan Result, 1)}
}

// maxGroup bounds how many transactions are committed together.
const maxGroup = 4096

// enter queues a write. It reports false where the node is closing.
func (c *commits) enter(w *pendingWrite) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.calls.Add(1)
	c.waiting = append(c.waiting, w)
	if !c.leading {
		c.leading = true
		w.lead <- struct{}{}
	}
	return true
}

// begin admits a call that does not queue; calls.Done ends it. It reports false
// where the node is closing.
func (c *commits) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.calls.Add(1)
	}
	return !c.closed
}

// gather lets those that are about to queue do so, while there is a group on its
// way to the disk that the leader's would have to wait for anyway.
func (c *commits) gather(flushed <-chan struct{}) {
	for last := 0; ; {
		select {
		case <-flushed:
			return
		default:
		}
		c.mu.Lock()
		n := len(c.waiting)
		c.mu.Unlock()
		if n == last {
			return
		}
		last = n
		runtime.Gosched()
	}
}

// take removes what has queued; the caller leads.
func (c *commits) take() []*pendingWrite {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.waiting), maxGroup)
	group := c.waiting[:n:n]
	c.waiting = slices.Clone(c.waiting[n:])
	return group
}

// pass hands the lead on.
func (c *commits) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passLocked()
}

func (c *commits) passLocked() {
	c.leading = len(c.waiting) > 0
	if c.leading {
		c.waiting[0].lead <- struct{}{}
	}
}

// abandon takes a write out of the queue; false where a leader has it already.
func (c *commits) abandon(w *pendingWrite) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.waiting, w)
	if i < 0 {
		return false
	}
	c.waiting = slices.Delete(c.waiting, i, i+1)
	select {
	case <-w.lead:
		c.passLocked()
	default:
	}
	return true
}

// close refuses new writes and waits for those under way. It reports true the
// first time.
func (c *commits) close() bool {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	c.calls.Wait()
	return first
}

// Commit commits one transaction and returns when it is on disk. It takes the
// operations and their values over until then. A ctx that ends takes the
// transaction back as long as it still queues; once it is being written, Commit
// waits for the outcome.
func (n *Node) Commit(ctx context.Context, creator string, ops []Op) (Receipt, error) {
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	system := touchesCatalog(ops)
	w := n.commits.pending()
	w.req = Request{creator, ops}
	if !n.commits.enter(w) {
		return Receipt{}, ErrClosed
	}
	defer n.commits.calls.Done()
	var res Result
	select {
	case <-w.lead:
		n.lead()
		res = <-w.done
	case res = <-w.done:
	case <-ctx.Done():
		if n.commits.abandon(w) {
			return Receipt{}, ctx.Err()
		}
		res = <-w.done
	}
	w.req = Request{}
	n.commits.ended.Put(w)
	return n.committed(res, system)
}

// committed returns what became of a write. Where it may have changed what the
// space says of itself, reads go by that from now on.
func (n *Node) committed(res Result, system bool) (Receipt, error) {
	if res.Err == nil && system {
		if err := n.refresh(); err != nil {
			n.Alarm("catalog", "what the space says of itself cannot be read: "+err.Error(), "run rhizome verify")
		}
	}
	return res.Receipt, res.Err
}

// lead commits what has queued, hands the lead on once the group before is on
// disk, and waits until this one is.
func (n *Node) lead() {
	before := n.commits.flushed
	n.commits.gather(before)
	group := n.commits.take()
	reqs := make([]Request, len(group))
	for i, w := range group {
		reqs[i] = w.req
	}
	n.turn.Lock()
	step, err := n.try(func(now int64) (Step, error) { return n.replica.Write(now, reqs) })
	ordinal := n.replica.log.Ordinal()
	synced := make(chan struct{})
	if err == nil {
		// The effects take their place in the queue now, and what comes after
		// them rests on this commit too.
		rest := step
		rest.Commit, rest.Results = nil, nil
		n.queue <- outcome{step: rest, ordinal: ordinal, synced: synced}
	}
	n.turn.Unlock()
	if before != nil {
		<-before
	}
	n.commits.flushed = synced
	n.commits.pass()
	if err == nil {
		err = n.durable(&step)
	}
	close(synced)
	if err != nil {
		for _, w := range group {
			w.done <- Result{Err: err}
		}
		return
	}
	n.show(ordinal)
	for i, w := range group {
		w.done <- step.Results[i]
	}
}
