package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

// A peer that goes away and comes back on its port is reached again within the
// promised time, whoever of the two knows the other's address.
func TestRedial(t *testing.T) {
	a := start(t, func(c *Config, _ *inbox) { c.Listen = nil })
	b := start(t, nil)
	b.cfg.Listen = []string{strings.TrimSuffix(b.addr(t), "/p2p/"+b.ID())}
	connect(t, a, b)
	for range 3 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		next(t, "end", a.ended)
		next(t, "end", b.ended)
		if p := a.Peers(); len(p) != 1 || p[0].ID != b.ID() || p[0].LastSeen.IsZero() {
			t.Errorf("peers %+v", p)
		}
		began := time.Now()
		b.open(t)
		next(t, "session", a.opened)
		if d := time.Since(began); d > backoffFew+subscribedWait {
			t.Errorf("reached again after %v", d)
		}
		next(t, "session", b.opened)
	}
}

// A listener learns where its dialler listens, and dials it when it is lost.
func TestLearn(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	a.cfg.Listen = []string{strings.TrimSuffix(a.addr(t), "/p2p/"+a.ID())}
	connect(t, a, b)
	eventually(t, "b knows a's address", func() bool {
		p := b.Peers()
		return len(p) == 1 && p[0].Connected && slices.Equal(p[0].Addrs, a.Addrs())
	})
	a.Close()
	next(t, "end", b.ended)
	eventually(t, "a is gone", func() bool { return !b.Peers()[0].Connected })
	a.open(t) // knows nobody
	if s := next(t, "session", b.opened); !s.Outbound() {
		t.Error("b did not dial")
	}
}

// A removed peer is not dialled, nor learnt again; adding it brings it back.
func TestRemovePeer(t *testing.T) {
	a := start(t, func(c *Config, _ *inbox) { c.Listen = nil })
	b := start(t, nil)
	ab, _ := connect(t, a, b)
	if err := a.RemovePeer(b.ID()); err != nil {
		t.Fatal(err)
	}
	if p := a.Peers(); len(p) != 1 || len(p[0].Addrs) != 0 || !p[0].Connected {
		t.Errorf("peers %+v", p)
	}
	ab.Close(nil)
	eventually(t, "the peer is forgotten", func() bool { return len(a.Peers()) == 0 })
	if err := a.RemovePeer(b.ID()); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("remove: %v", err)
	}
	next(t, "end", b.ended)
	none(t, "session", a.opened)

	connect(t, a, b)
	if err := a.RemovePeer("/ip4/127.0.0.1/tcp/1/p2p/" + b.ID()); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("remove: %v", err)
	}
	if err := a.RemovePeer(b.addr(t)); err != nil {
		t.Error(err)
	}
	if p := a.Peers(); len(p) != 1 || len(p[0].Addrs) != 0 {
		t.Errorf("peers %+v", p)
	}
	for _, s := range []string{"", "nobody", "/ip4/127.0.0.1/tcp/1"} {
		if err := a.RemovePeer(s); err == nil {
			t.Errorf("removed %q", s)
		}
	}
}

// A removed peer that connects is served, but its address is not learnt again.
func TestRemovedStaysUnlearnt(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	connect(t, b, a)
	addrs := func() []string {
		if p := a.Peers(); len(p) == 1 {
			return p[0].Addrs
		}
		return nil
	}
	eventually(t, "b is learnt", func() bool { return len(addrs()) > 0 })
	if err := a.RemovePeer(b.ID()); err != nil {
		t.Fatal(err)
	}
	a.connTo(t, b.ID()).Close()
	next(t, "end", b.ended)
	next(t, "session", b.opened)
	publish(t, b, "x")
	heard(t, a, b, "x")
	if got := addrs(); len(got) > 0 {
		t.Errorf("learnt %v", got)
	}
}

// What is no address of an Ed25519 peer is refused with what it should be, and
// our own address is ours.
func TestAddPeerMistakes(t *testing.T) {
	a := start(t, nil)
	rsa := "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
	for _, s := range []string{"", "x", "/ip4/127.0.0.1/tcp/1", "/p2p/" + a.ID(), "/ip4/127.0.0.1/tcp/1/p2p/" + rsa} {
		if err := a.AddPeer(s); err == nil || errors.Is(err, ErrSelf) {
			t.Errorf("added %q: %v", s, err)
		}
	}
	if err := a.AddPeer(a.addr(t)); !errors.Is(err, ErrSelf) {
		t.Errorf("added itself: %v", err)
	}
	if p := a.Peers(); len(p) != 0 {
		t.Errorf("peers %+v", p)
	}
}

// All mistakes of a config are reported at once.
func TestConfigMistakes(t *testing.T) {
	_, err := New(Config{Listen: []string{"nowhere"}, Peers: []string{"nobody"}, MaxMessageBytes: -1})
	for _, part := range []string{"Key", "NetworkKey", "Handler", "MaxMessageBytes", "nowhere", "nobody"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
}

// Another network key means another network.
func TestNetworkKey(t *testing.T) {
	b := start(t, nil)
	a := start(t, func(c *Config, _ *inbox) { c.NetworkKey[31]++ })
	if err := a.AddPeer(b.addr(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two dials failed", func() bool { return a.attempts(b.id) > 2 })
	none(t, "session", a.opened)
	none(t, "session", b.opened)
	if p := b.Peers(); len(p) != 0 {
		t.Errorf("peers %+v", p)
	}
}

// attempts is how often a peer was dialled since it was last connected.
func (n *node) attempts(id peer.ID) int {
	p := n.Host.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.known[id]; k != nil {
		return k.attempts
	}
	return 0
}

// Identities that are not Ed25519 keys are refused in both directions.
func TestForeignKeys(t *testing.T) {
	b := start(t, nil)
	where, err := multiaddr.NewMultiaddr(b.addr(t))
	if err != nil {
		t.Fatal(err)
	}
	where, _ = peer.SplitAddr(where)
	for _, kind := range []int{crypto.RSA, crypto.Secp256k1, crypto.ECDSA} {
		priv, _, err := crypto.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		f, err := libp2p.New(libp2p.Identity(priv), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
			libp2p.PrivateNetwork(testNetwork[:]), libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New),
			libp2p.Muxer(yamux.ID, yamux.DefaultTransport), libp2p.DisableRelay(), libp2p.ForceReachabilityPrivate(),
			libp2p.PrometheusRegisterer(prometheus.NewRegistry()), libp2p.DisableMetrics())
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.Peerstore().AddAddr(b.id, where, peerstore.TempAddrTTL)
		if c, err := f.Network().DialPeer(t.Context(), b.id); err == nil {
			// The dialler learns of the refusal by the connection's end.
			eventually(t, "the connection is closed", c.IsClosed)
		}
		b.net.Peerstore().AddAddrs(f.ID(), f.Addrs(), peerstore.TempAddrTTL)
		if _, err := b.net.Network().DialPeer(t.Context(), f.ID()); err == nil {
			t.Errorf("dialled a peer with key type %d", kind)
		}
		if b.net.Network().Connectedness(f.ID()) == network.Connected {
			t.Errorf("connected with key type %d", kind)
		}
	}
	none(t, "session", b.opened)
}

// The wait grows from within a second to its cap, which depends on how many
// peers are known, and is never the same for all.
func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attempts, known := rapid.IntRange(0, 1<<30).Draw(t, "attempts"), rapid.IntRange(0, 2*fewPeers).Draw(t, "known")
		d, limit := backoff(attempts, known), backoffMany
		if known < fewPeers {
			limit = backoffFew
		}
		if d < backoffFirst/2 || d > limit || (attempts <= 1 && d > time.Second) {
			t.Fatalf("waits %v after %d attempts with %d peers", d, attempts, known)
		}
		if attempts > 16 && d < limit/2 {
			t.Fatalf("waits only %v after %d attempts", d, attempts)
		}
	})
}

// However many peers announce themselves, the known ones stay bounded, and those
// that the caller added stay known.
func TestPeersBounded(t *testing.T) {
	a := start(t, func(c *Config, _ *inbox) { c.Listen = nil })
	p := a.Host.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	id := func(i int) peer.ID { return peer.ID(fmt.Sprint("peer ", i)) }
	p.get(id(0)).added = true
	for i := 1; i < 2*maxPeers; i++ {
		p.get(id(i)).seen = time.Unix(int64(i), 0)
	}
	if len(p.known) != maxPeers || p.known[id(0)] == nil || p.known[id(1)] != nil || p.known[id(2*maxPeers-1)] == nil {
		t.Errorf("%d peers known", len(p.known))
	}
	for _, k := range p.known {
		k.added = true
	}
	if p.get(id(-1)) != nil {
		t.Error("room for one more among added peers")
	}
	k := new(known)
	for i := range 2 * maxAddrsPerPeer {
		k.add(multiaddr.StringCast(fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", i+1)))
	}
	k.worked(k.addrs[3])
	if len(k.addrs) != maxAddrsPerPeer || k.addrs[0].String() != "/ip4/192.0.2.1/tcp/4" || k.addrs[1].String() != "/ip4/192.0.2.1/tcp/1" {
		t.Errorf("addresses %v", k.addrs)
	}
	clear(p.known)
}

// A peer's loopback is believed only by those who came by loopback.
func TestLearnable(t *testing.T) {
	m := multiaddr.StringCast
	all := []multiaddr.Multiaddr{m("/ip4/127.0.0.1/tcp/1"), m("/ip4/10.0.0.1/tcp/1"), m("/ip6/::/tcp/1"), m("/ip6/::1/tcp/1"), m("/ip6/fe80::1/tcp/1"), m("/ip4/0.0.0.0/tcp/1")}
	for remote, want := range map[string]string{
		"/ip4/127.0.0.1/tcp/9": "[/ip4/127.0.0.1/tcp/1 /ip4/10.0.0.1/tcp/1 /ip6/::1/tcp/1]",
		"/ip4/10.0.0.1/tcp/9":  "[/ip4/10.0.0.1/tcp/1]",
	} {
		if got := fmt.Sprint(learnable(slices.Clone(all), m(remote))); got != want {
			t.Errorf("from %s: %s, want %s", remote, got, want)
		}
	}
	for in, want := range map[string]string{
		"/ip4/0.0.0.0/tcp/1":   "/ip4/127.0.0.1/tcp/1",
		"/ip6/::/tcp/1":        "/ip6/::1/tcp/1",
		"/ip4/192.0.2.1/tcp/1": "/ip4/192.0.2.1/tcp/1",
	} {
		if got := onLoopback(m(in)).String(); got != want {
			t.Errorf("%s is dialled at %s, want %s", in, got, want)
		}
	}
}

// A taken port gives way to a free one, and other failures do not.
func TestDisplaced(t *testing.T) {
	a := start(t, nil)
	taken := strings.TrimSuffix(a.addr(t), "/p2p/"+a.ID())
	b := start(t, func(c *Config, _ *inbox) { c.Listen = []string{taken} })
	if got := b.Displaced(); !slices.Equal(got, []string{taken}) {
		t.Errorf("displaced %v", got)
	}
	if len(b.Addrs()) != 1 || b.Addrs()[0] == a.addr(t) || !strings.HasPrefix(b.Addrs()[0], "/ip4/127.0.0.1/tcp/") {
		t.Errorf("listens on %v", b.Addrs())
	}
	connect(t, a, b)
	if d := a.Displaced(); len(d) != 0 {
		t.Errorf("displaced %v", d)
	}
	cfg := a.cfg
	cfg.Listen = []string{"/ip4/192.0.2.1/tcp/4001"} // not an address of this machine
	if h, err := New(cfg); err == nil {
		h.Close()
		t.Error("listens on another machine's address")
	}
}

// Close is idempotent, ends what is open, waits for the handler, and leaves a
// host that refuses.
func TestClose(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	a := start(t, nil)
	b := start(t, func(_ *Config, i *inbox) {
		i.onReceived = func(*Session, []byte) { close(entered); <-release }
	})
	ab, _ := connect(t, a, b)
	ab.Send([]byte("x"))
	next(t, "frame", entered)
	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- b.Close() }()
	}
	next(t, "end", a.ended)
	none(t, "return of Close while the handler runs", closed)
	close(release)
	for range 2 {
		if err := next(t, "return of Close", closed); err != nil {
			t.Error(err)
		}
	}
	if end := <-b.ended; !errors.Is(end.err, ErrClosed) {
		t.Errorf("closed with %v", end.err)
	}
	if err := b.Publish(testTopic, []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	if _, err := b.ProbeTwin(context.Background(), a.addr(t)[:strings.Index(a.addr(t), "/p2p/")]); !errors.Is(err, ErrClosed) {
		t.Errorf("probe: %v", err)
	}
}

// A copy of a host beside its original finds it, by the address that displaced
// it or by one under its own id, and both are told; a host does not take itself
// for its twin.
func TestTwin(t *testing.T) {
	a := start(t, nil)
	where := strings.TrimSuffix(a.addr(t), "/p2p/"+a.ID())
	none(t, "twin", a.twin)
	for name, change := range map[string]func(c *Config){
		"displaced": func(c *Config) { c.Listen = []string{where} },
		"own id":    func(c *Config) { c.Peers = []string{a.addr(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, func(c *Config, _ *inbox) { c.Key = a.cfg.Key; change(c) })
			if got := next(t, "twin at the copy", b.twin); got != a.addr(t) {
				t.Errorf("twin at %s, want %s", got, a.addr(t))
			}
			if got := next(t, "twin at the original", a.twin); !strings.HasSuffix(got, a.ID()) {
				t.Errorf("twin at %s", got)
			}
			if twin, err := b.ProbeTwin(t.Context(), a.addr(t)); !twin || err != nil {
				t.Errorf("probe: %v, %v", twin, err)
			}
			<-a.twin
			if twin, err := b.ProbeTwin(t.Context(), b.addr(t)); twin || err != nil {
				t.Errorf("probe of itself: %v, %v", twin, err)
			}
			none(t, "twin", a.twin)
			none(t, "session", a.opened)
		})
	}
	stranger := start(t, nil)
	if twin, err := stranger.ProbeTwin(t.Context(), where); twin || err == nil {
		t.Errorf("probe of a stranger: %v, %v", twin, err)
	}
	for _, s := range []string{"", "x", "/p2p/" + stranger.ID(), a.addr(t)} {
		if _, err := stranger.ProbeTwin(t.Context(), s); err == nil {
			t.Errorf("probed %q", s)
		}
	}
	none(t, "twin", stranger.twin)
}

// A member of the network without our key cannot raise the alarm.
func TestTwinForged(t *testing.T) {
	a, liar := start(t, nil), start(t, nil)
	connect(t, liar, a)
	s, err := liar.openStream(liar.connTo(t, a.ID()), twinProtocol)
	if err != nil {
		t.Fatal(err)
	}
	far := make([]byte, instanceSize)
	if _, err := s.Read(far); err != nil {
		t.Fatal(err)
	}
	proof := twinProof([instanceSize]byte(far), [instanceSize]byte{1}, liar.id)
	answer := append([]byte{1}, make([]byte, instanceSize-1)...)
	s.Write(append(answer, ed25519.Sign(liar.cfg.Key, proof)...))
	if n, err := s.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("the forged probe was acknowledged")
	}
	none(t, "twin", a.twin)
}

// Options replace the transport: the rest works over QUIC as it does over TCP.
func TestOtherTransport(t *testing.T) {
	over := func(c *Config, _ *inbox) {
		c.NetworkKey = [32]byte{}
		c.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
		c.Options = []libp2p.Option{libp2p.Transport(quic.NewTransport)}
	}
	a, b := start(t, over), start(t, over)
	ab, _ := connect(t, a, b)
	ab.Send([]byte("x"))
	next(t, "frame", b.received)
	publish(t, a, "y")
	heard(t, b, a, "y")
	ab.Close(nil)
	next(t, "end", a.ended)
	next(t, "end", b.ended)
	next(t, "session", a.opened)
	next(t, "session", b.opened)
}

// Two hosts that dial each other at the same moment may end up with two
// connections. When one of them dies, gossip still passes both ways.
func TestSimultaneousDial(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	var met sync.WaitGroup
	met.Add(2)
	hold := func(n *node) {
		var once sync.Once
		n.gate.beforeDial = func() { once.Do(func() { met.Done(); met.Wait() }) }
	}
	hold(a)
	hold(b)
	for _, err := range []error{a.AddPeer(b.addr(t)), b.AddPeer(a.addr(t))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var sessions []*Session
	for range 2 {
		sessions = append(sessions, next(t, "session", a.opened))
		next(t, "session", b.opened)
	}
	if sessions[0].Outbound() == sessions[1].Outbound() {
		t.Fatal("not a simultaneous dial")
	}
	sessions[0].Close(nil)
	next(t, "end", a.ended)
	next(t, "end", b.ended)
	meshed(t, a, b)
	meshed(t, b, a)
}

// Nothing of libp2p's shows up in the process's own metrics.
func TestNoGlobalMetrics(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	connect(t, a, b)
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if name := f.GetName(); !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("metric %s", name)
		}
	}
}
