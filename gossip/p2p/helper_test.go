package p2p

import (
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// probe begins the messages that only show that a way is open.
const probe = "~"

const testTopic = "/rhizome/test"

var testNetwork = [32]byte{1, 2, 3}

type frame struct {
	s   *Session
	msg []byte
}

type ending struct {
	s   *Session
	err error
}

type message struct {
	topic, from, data string
}

// inbox is a Handler that passes everything on to channels.
type inbox struct {
	opened   chan *Session
	received chan frame
	ended    chan ending
	heard    chan message
	twin     chan string
	probed   chan struct{}

	onReceived func(s *Session, msg []byte) // instead of the channel
	validate   func(data []byte) Verdict    // nil accepts all
	onGossip   func(m message)              // instead of the channel
}

func newInbox() *inbox {
	return &inbox{
		opened:   make(chan *Session, 1024),
		received: make(chan frame, 1024),
		ended:    make(chan ending, 1024),
		heard:    make(chan message, 16384),
		twin:     make(chan string, 1024),
		probed:   make(chan struct{}, 1),
	}
}

func (i *inbox) Opened(s *Session)            { i.opened <- s }
func (i *inbox) Closed(s *Session, err error) { i.ended <- ending{s, err} }
func (i *inbox) Twin(addr string)             { i.twin <- addr }

func (i *inbox) Received(s *Session, msg []byte) {
	if i.onReceived != nil {
		i.onReceived(s, msg)
		return
	}
	i.received <- frame{s, msg}
}

func (i *inbox) Validate(_, _ string, data []byte) (any, Verdict) {
	if i.validate != nil {
		return string(data), i.validate(data)
	}
	return string(data), Accept
}

func (i *inbox) Gossiped(topic, from string, decoded any) {
	m := message{topic, from, decoded.(string)}
	if strings.HasPrefix(m.data, probe) {
		select {
		case i.probed <- struct{}{}:
		default:
		}
		return
	}
	if i.onGossip != nil {
		i.onGossip(m)
		return
	}
	i.heard <- m
}

// node is a host with its handler.
type node struct {
	*Host
	*inbox
	cfg Config
}

// start runs a host on a free loopback port; change may edit its config.
func start(t testing.TB, change func(*Config, *inbox)) *node {
	t.Helper()
	n := &node{inbox: newInbox()}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n.cfg = Config{
		Key:        key,
		NetworkKey: testNetwork,
		Listen:     []string{"/ip4/127.0.0.1/tcp/0"},
		Topics:     []string{testTopic},
		Handler:    n.inbox,
		Logger:     slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&n.cfg, n.inbox)
	}
	n.open(t)
	return n
}

// open starts the host of n.cfg, first or again.
func (n *node) open(t testing.TB) {
	t.Helper()
	h, err := New(n.cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Host = h
	t.Cleanup(func() { h.Close() })
}

func (n *node) addr(t testing.TB) string {
	t.Helper()
	addrs := n.Addrs()
	if len(addrs) == 0 {
		t.Fatal("host listens nowhere")
	}
	return addrs[0]
}

// connTo returns the one connection with a peer.
func (n *node) connTo(t testing.TB, id string) network.Conn {
	t.Helper()
	p, err := peer.Decode(id)
	if err != nil {
		t.Fatal(err)
	}
	conns := n.net.Network().ConnsToPeer(p)
	if len(conns) != 1 {
		t.Fatalf("%d connections, want 1", len(conns))
	}
	return conns[0]
}

// logWriter sends a host's log to the test's. Hosts are closed, and so silent,
// before the test ends.
type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// next waits for what must come.
func next[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		t.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// none holds when nothing is in c.
func none[T any](t testing.TB, what string, c <-chan T) {
	t.Helper()
	select {
	case v := <-c:
		t.Fatalf("unexpected %s: %v", what, v)
	default:
	}
}

// connect makes a dial b and returns both ends of the session.
func connect(t testing.TB, a, b *node) (ab, ba *Session) {
	t.Helper()
	if err := a.AddPeer(b.addr(t)); err != nil {
		t.Fatal(err)
	}
	ab, ba = next(t, "session at the dialler", a.opened), next(t, "session at the listener", b.opened)
	if ab.Peer() != b.ID() || ba.Peer() != a.ID() {
		t.Fatalf("session is with %s and %s, want %s and %s", ab.Peer(), ba.Peer(), b.ID(), a.ID())
	}
	return ab, ba
}

// eventually waits for a condition that has no channel to wait on.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-timer.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
