package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rhizome-p2p/rhizome/gossip"
)

// diffRetry is how long to wait where another pull is under way.
const diffRetry = 100 * time.Millisecond

// Diff compares the state of this node with that of a connected peer and
// changes neither. It waits for a pull that is under way to end.
func (n *Node) Diff(ctx context.Context, peer string) (DiffReport, error) {
	type outcome struct {
		report DiffReport
		err    error
	}
	for {
		out := make(chan outcome, 1)
		began := make(chan error, 1)
		if !n.do(func(now int64) (Step, error) {
			id, ok := n.sessionOf(peer)
			if !ok {
				began <- fmt.Errorf("%w: no session to peer %s", ErrNotFound, peer)
				return Step{}, nil
			}
			step, ok, err := n.replica.Inspect(now, id, peer, func(r DiffReport, err error) { out <- outcome{r, err} })
			if !ok {
				began <- ErrBusy
				return Step{}, err
			}
			began <- nil
			return step, err
		}) {
			return DiffReport{}, ErrClosed
		}
		var err error
		select {
		case err = <-began:
		case <-ctx.Done():
			return DiffReport{}, ctx.Err()
		case <-n.broke:
			return DiffReport{}, n.writeError() // it takes no more steps
		case <-n.done:
			return DiffReport{}, ErrClosed
		}
		if err == nil {
			select {
			case o := <-out:
				return o.report, o.err
			case <-ctx.Done():
				return DiffReport{}, ctx.Err()
			case <-n.broke:
				return DiffReport{}, n.writeError()
			case <-n.done:
				return DiffReport{}, ErrClosed
			}
		}
		if !errors.Is(err, ErrBusy) {
			return DiffReport{}, err
		}
		select {
		case <-time.After(diffRetry):
		case <-ctx.Done():
			return DiffReport{}, fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// sessionOf returns a session to a peer; the caller holds turn.
func (n *Node) sessionOf(peer string) (gossip.SessionID, bool) {
	for _, p := range n.replica.machine.Peers() {
		if p.Node == peer {
			return p.Session, true
		}
	}
	return 0, false
}
