package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// A ban ends by itself, and a thousand of them do not pile up.
func TestGateBan(t *testing.T) {
	g := &gate{banned: make(map[peer.ID]time.Time)}
	g.ban("a", time.Now().Add(time.Hour))
	g.ban("b", time.Now().Add(-time.Second))
	if g.allowed("a") || !g.allowed("b") || !g.allowed("c") || len(g.banned) != 1 {
		t.Errorf("banned: %v", g.banned)
	}
	for i := range 3 * maxPeers {
		g.ban(peer.ID(fmt.Sprint(i)), time.Now().Add(time.Hour))
	}
	if len(g.banned) > maxPeers {
		t.Errorf("%d bans", len(g.banned))
	}
}

// Only an address with a port of its own choosing can be moved to a free one.
func TestAnyPort(t *testing.T) {
	for in, want := range map[string]string{
		"/ip4/127.0.0.1/tcp/4001":       "/ip4/127.0.0.1/tcp/0",
		"/ip6/::/udp/4001/quic-v1":      "/ip6/::/udp/0/quic-v1",
		"/ip4/127.0.0.1/tcp/4001/tcp/7": "/ip4/127.0.0.1/tcp/0/tcp/7",
		"/ip4/127.0.0.1/tcp/0":          "",
		"/ip4/127.0.0.1":                "",
	} {
		got, ok := anyPort(multiaddr.StringCast(in))
		if ok != (want != "") || (ok && got.String() != want) {
			t.Errorf("%s becomes %v, %v", in, got, ok)
		}
	}
	if !portTaken(fmt.Errorf("x: %w", syscall.EADDRINUSE)) || !portTaken(errors.New("address already in use")) || portTaken(errors.New("x")) {
		t.Error("portTaken")
	}
}

// A key's peer id is its host's; an address names its peer if it could be
// dialled; the listen addresses are those of Addrs without the id.
func TestNames(t *testing.T) {
	a := start(t, nil)
	id, err := PeerID(a.cfg.Key.Public().(ed25519.PublicKey))
	if err != nil || id != a.ID() {
		t.Errorf("id %s, %v; want %s", id, err, a.ID())
	}
	if _, err := PeerID(nil); err == nil {
		t.Error("an id without a key")
	}
	if id, err := PeerOf(a.addr(t)); err != nil || id != a.ID() {
		t.Errorf("id %s, %v; want %s", id, err, a.ID())
	}
	for _, s := range []string{"", "/p2p/" + a.ID(), "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"} {
		if id, err := PeerOf(s); err == nil {
			t.Errorf("%q names %s", s, id)
		}
	}
	if got := a.ListenAddrs(); !slices.Equal(got, []string{strings.TrimSuffix(a.addr(t), "/p2p/"+a.ID())}) {
		t.Errorf("listens on %v", got)
	}
}

// Peers that share no topic, or have none, still get their session.
func TestNoSharedTopic(t *testing.T) {
	a := start(t, nil)
	b := start(t, func(c *Config, _ *inbox) { c.Topics = []string{"/rhizome/other"} })
	c := start(t, func(c *Config, _ *inbox) { c.Topics = nil })
	connect(t, a, b)
	connect(t, c, a)
}

// A member that does not speak our protocol is dropped and tried again.
func TestForeignProtocol(t *testing.T) {
	// The one that dials listens nowhere: else the other, which learns of it,
	// may come back with a session of its own.
	a, b := start(t, func(c *Config, _ *inbox) { c.Listen = nil }), start(t, nil)
	b.net.RemoveStreamHandler(syncProtocol)
	if err := a.AddPeer(b.addr(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it was tried twice", func() bool { return a.attempts(b.id) > 1 })
	none(t, "session", a.opened)
	b.net.SetStreamHandler(syncProtocol, b.acceptSession)
	next(t, "session", a.opened)
}

// A handler that waits for New must not keep a failing New from returning.
func TestNewFailsWithPeersAround(t *testing.T) {
	a := start(t, nil)
	where := strings.TrimSuffix(a.addr(t), "/p2p/"+a.ID())
	cfg := a.cfg
	cfg.Handler = struct{ Handler }{} // crashes when called
	cfg.Listen = []string{where, "/ip4/192.0.2.1/tcp/4001"}
	if h, err := New(cfg); err == nil {
		h.Close()
		t.Error("listens on another machine's address")
	}
}
