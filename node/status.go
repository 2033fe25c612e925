package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/gossip"
)

// Fill completes a status that only the caller knows parts of: the names and
// addresses. With fresh, every peer is asked first, for as long as ctx allows
// and 2 seconds at most; one that does not answer counts as not converged.
func (n *Node) Fill(ctx context.Context, s *Status, fresh bool) error {
	answered := true
	if fresh {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		answered = n.ask(ctx)
		cancel()
	}
	var peers []gossip.PeerState
	var err error
	n.query(func() {
		r := n.replica
		s.Digest = r.Digest().String()
		s.Frontier = r.log.Root().String()
		s.Lanes = r.log.Vector().Len()
		s.Entries = r.log.Entries()
		s.Rows = r.Survivors()
		s.Tips = len(r.log.Tips())
		s.Pending = r.log.Pending.Len()
		for _, l := range r.log.ClosedLanes() {
			at, _ := r.log.ClosedAt(l)
			key, _ := r.log.Lanes.Key(l)
			s.Forks = append(s.Forks, Fork{Lane: l, Author: key.Author, Seq: at})
		}
		peers = r.machine.Peers()
		s.Storage, err = r.storageStatus(time.Now().UnixMilli())
	})
	if err == nil {
		s.Storage.LiveBytes, err = n.rows.sizeOf(s.Rows)
	}
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	s.Storage.History = n.LogStart()
	for i := range s.Forks {
		for _, err := range n.store.KeptLane(n.db, s.Forks[i].Lane) {
			if err != nil {
				return err
			}
			s.Forks[i].Kept++
		}
	}
	n.fillPeers(s, peers, answered)
	s.Author = n.replica.author
	s.Space = hex.EncodeToString(n.cfg.Replica.Space[:])
	s.Alarms = n.Alarms()
	s.Sync = n.traffic.sync()
	s.ReadOnly = n.failed() != nil
	s.Uptime = time.Since(n.start)
	if s.DiskBytes, err = n.db.DiskBytes(); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return nil
}

// fillPeers joins the sessions of one peer, of which two hosts that dial each
// other at once have two, and decides what converged means.
func (n *Node) fillPeers(s *Status, peers []gossip.PeerState, answered bool) {
	for _, p := range peers {
		st := PeerStatus{
			ID: p.Node, Addr: reachable(p.Addrs, p.Addr), Connected: true, Converged: p.Converged,
			MissingHere: p.MissingHere, MissingThere: p.MissingThere, LastSeen: time.UnixMilli(p.LastSeenMilli),
		}
		i := slices.IndexFunc(s.Peers, func(o PeerStatus) bool { return o.ID == st.ID })
		if i < 0 {
			s.Peers = append(s.Peers, st)
			continue
		}
		o := &s.Peers[i]
		o.Converged = o.Converged && st.Converged
		o.MissingHere, o.MissingThere = max(o.MissingHere, st.MissingHere), max(o.MissingThere, st.MissingThere)
		if st.LastSeen.After(o.LastSeen) {
			o.LastSeen = st.LastSeen
		}
	}
	s.Converged = answered
	for i := range s.Peers {
		s.Converged = s.Converged && s.Peers[i].Converged
	}
}

// reachable picks, of the addresses on which a peer says it listens, one on the
// host that its session comes from; the session's own port may be none that it
// listens on.
func reachable(listens []string, session string) string {
	parts := strings.SplitN(session, "/", 4) // "", protocol, host, rest
	for _, a := range listens {
		if p := strings.SplitN(a, "/", 4); len(p) == 4 && len(parts) == 4 && p[1] == parts[1] && p[2] == parts[2] {
			return a
		}
	}
	if session == "" && len(listens) > 0 {
		return listens[0]
	}
	return session
}

// ask asks every peer how it stands and waits for the answers.
func (n *Node) ask(ctx context.Context) bool {
	done := make(chan struct{})
	ok := n.do(func(now int64) (Step, error) {
		n.nonce++
		n.askers = append(n.askers, asker{n.nonce, done})
		return n.replica.Ask(now, n.nonce)
	})
	if !ok {
		return false
	}
	select {
	case <-done:
		return true
	case <-n.done:
		return false
	case <-ctx.Done():
	}
	n.query(func() {
		n.askers = slices.DeleteFunc(n.askers, func(a asker) bool { return a.done == done })
	})
	return false
}

// answer tells those whose question all peers have answered. The caller holds turn.
func (n *Node) answer() {
	kept := n.askers[:0]
	for _, a := range n.askers {
		if n.replica.machine.Fresh(a.nonce) {
			close(a.done)
			continue
		}
		kept = append(kept, a)
	}
	n.askers = kept
}
