package node

import (
	"testing"

	"github.com/rhizome-p2p/rhizome/gossip"
)

// A status names an address of the peer that reached us, not one that is good
// only on the peer's own host.
func TestReachable(t *testing.T) {
	listens := []string{"/ip4/127.0.0.1/tcp/7/p2p/X", "/ip4/10.0.0.2/tcp/7/p2p/X"}
	for session, want := range map[string]string{
		"/ip4/10.0.0.2/tcp/50123/p2p/X":  "/ip4/10.0.0.2/tcp/7/p2p/X",
		"/ip4/127.0.0.1/tcp/50123/p2p/X": "/ip4/127.0.0.1/tcp/7/p2p/X",
		"/ip4/10.0.0.9/tcp/50123/p2p/X":  "/ip4/10.0.0.9/tcp/50123/p2p/X",
		"somewhere":                      "somewhere",
	} {
		if got := reachable(listens, session); got != want {
			t.Errorf("%s: %s, want %s", session, got, want)
		}
	}
	if got := reachable(nil, "/ip4/10.0.0.9/tcp/1"); got != "/ip4/10.0.0.9/tcp/1" {
		t.Error(got)
	}
}

// Two sessions of one peer are one peer, converged where both are.
func TestPeersJoined(t *testing.T) {
	var s Status
	new(Node).fillPeers(&s, []gossip.PeerState{
		{Node: "b", Addr: "x", Converged: true, LastSeenMilli: 5},
		{Node: "c", Addr: "y", Converged: true},
		{Node: "b", Addr: "z", MissingHere: 2, MissingThere: 1, LastSeenMilli: 9},
	}, true)
	if len(s.Peers) != 2 || s.Converged {
		t.Fatalf("%+v", s)
	}
	if p := s.Peers[0]; p.Converged || p.Addr != "x" || p.MissingHere != 2 || p.MissingThere != 1 || p.LastSeen.UnixMilli() != 9 {
		t.Errorf("%+v", p)
	}
}
