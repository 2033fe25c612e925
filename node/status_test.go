package node

import "testing"

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
