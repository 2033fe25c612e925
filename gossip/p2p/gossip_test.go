package p2p

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

func publish(t testing.TB, n *node, data string) {
	t.Helper()
	if err := n.Publish(testTopic, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func heard(t testing.TB, n, from *node, data string) {
	t.Helper()
	want := message{testTopic, from.ID(), data}
	if got := next(t, "message", n.heard); got != want {
		t.Fatalf("heard %v, want %v", got, want)
	}
}

// What is published once a session is open reaches the other side, at once in
// both directions, and never comes back to its publisher.
func TestGossipTwo(t *testing.T) {
	for range 5 {
		a, b := start(t, nil), start(t, nil)
		connect(t, a, b)
		publish(t, a, "from a")
		publish(t, b, "from b")
		heard(t, b, a, "from a")
		heard(t, a, b, "from b")
		publish(t, a, "from a") // the same again: sent once
		publish(t, a, "last")
		heard(t, b, a, "last")
		none(t, "message", a.heard)
	}
}

// What gossip carried is counted on both sides.
func TestCarried(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	connect(t, a, b)
	publish(t, a, "one")
	publish(t, a, "two")
	eventually(t, "both are counted", func() bool {
		from, to := a.Carried(), b.Carried()
		return from.Copies == 2 && from.Bytes > 6 && from.Delivered == 0 && to.Delivered == 2
	})
}

// A message goes through the middle of three, and from names the neighbour.
func TestGossipLine(t *testing.T) {
	a, b, c := start(t, nil), start(t, nil), start(t, nil)
	connect(t, a, b)
	connect(t, c, b)
	meshed(t, a, c)
	publish(t, a, "hello")
	heard(t, b, a, "hello")
	heard(t, c, b, "hello")
}

// meshed waits until what from publishes is relayed to to, which begins with a
// heartbeat after they connected.
func meshed(t testing.TB, from, to *node) {
	t.Helper()
	tick := time.NewTicker(heartbeat / 4)
	defer tick.Stop()
	for i := 0; ; i++ {
		publish(t, from, fmt.Sprint(probe, i))
		select {
		case <-to.probed:
			return
		case <-tick.C:
			if time.Duration(i)*heartbeat/4 > patience {
				t.Fatal("nothing is relayed")
			}
		}
	}
}

// What Validate rejects or ignores is neither handed over nor relayed.
func TestGossipVerdicts(t *testing.T) {
	a := start(t, nil)
	b := start(t, func(_ *Config, i *inbox) {
		i.validate = func(data []byte) Verdict {
			switch data[0] {
			case probe[0]:
				return Accept
			case 'i':
				return Ignore
			case 'r':
				return Reject
			}
			return Accept
		}
	})
	c := start(t, nil)
	connect(t, a, b)
	connect(t, c, b)
	meshed(t, a, c)
	for i := range 5 {
		publish(t, a, fmt.Sprintf("ignored %d", i))
		publish(t, a, fmt.Sprintf("rejected %d", i))
	}
	publish(t, a, "good")
	heard(t, b, a, "good")
	heard(t, c, b, "good")
	none(t, "message", b.heard)
	none(t, "message", c.heard)
}

// A neighbour that goes on sending what must be rejected is disconnected and
// kept out.
func TestGossipStrikes(t *testing.T) {
	a := start(t, nil)
	b := start(t, func(_ *Config, i *inbox) { i.validate = func([]byte) Verdict { return Reject } })
	_, ba := connect(t, a, b)
	for i := range strikesMax {
		publish(t, a, fmt.Sprint(i))
	}
	if end := next(t, "end", b.ended); end.s != ba {
		t.Error("another session ended")
	}
	next(t, "end", a.ended)
	if b.gate.allowed(ba.peer) {
		t.Error("the peer may come back at once")
	}
}

// Topics outside the list can neither be published on nor heard.
func TestGossipTopics(t *testing.T) {
	const other = "/rhizome/other"
	a := start(t, func(c *Config, _ *inbox) { c.Topics = append(c.Topics, other) })
	b := start(t, nil)
	if err := b.Publish(other, []byte("x")); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("publish: %v", err)
	}
	if _, err := b.Host.gossip.pubsub.Join(other); err == nil {
		t.Error("joined a topic outside the list")
	}
	connect(t, a, b)
	if err := a.Publish(other, []byte("x")); err != nil {
		t.Fatal(err)
	}
	publish(t, a, "seen")
	heard(t, b, a, "seen")
	none(t, "message", b.heard)
	if peers := b.Host.gossip.pubsub.ListPeers(other); len(peers) > 0 {
		t.Error("a subscription outside the list was noted")
	}
}

// A message at the limit passes, one above it is the caller's mistake.
func TestGossipSize(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	connect(t, a, b)
	if err := a.Publish(testTopic, make([]byte, defaultMessageBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("publish: %v", err)
	}
	publish(t, a, string(make([]byte, defaultMessageBytes)))
	if m := next(t, "message", b.heard); len(m.data) != defaultMessageBytes {
		t.Errorf("%d bytes came", len(m.data))
	}
}

// A peer that allows itself more than we do is struck, not believed.
func TestGossipSizeOfOthers(t *testing.T) {
	var asked atomic.Bool
	a := start(t, nil)
	b := start(t, func(c *Config, i *inbox) {
		c.MaxMessageBytes = 100
		i.validate = func(data []byte) Verdict { asked.Store(len(data) > 100); return Accept }
	})
	connect(t, a, b)
	publish(t, a, string(make([]byte, 101)))
	publish(t, a, "small")
	heard(t, b, a, "small")
	if asked.Load() {
		t.Error("Validate was asked about an oversized message")
	}
}

// A burst of 5,000 messages arrives whole.
func TestGossipBurst(t *testing.T) {
	const burst = 5000
	a, b := start(t, nil), start(t, nil)
	connect(t, a, b)
	for i := range burst {
		publish(t, a, fmt.Sprintf("%0250d", i))
	}
	got := make(map[string]bool)
	for range burst {
		got[next(t, "message", b.heard).data] = true
	}
	if len(got) != burst {
		t.Errorf("%d different messages, want %d", len(got), burst)
	}
	if d := a.Dropped(); d != (Dropped{}) {
		t.Errorf("dropped at the sender: %+v", d)
	}
}

// Publishing beyond the budget says so instead of filling the memory.
func TestGossipBudget(t *testing.T) {
	a := start(t, nil)
	sent := 0
	for i := range 2 * publishBurst / (4 << 20) {
		msg := make([]byte, 4<<20)
		msg[0] = byte(i)
		err := a.Publish(testTopic, msg)
		if errors.Is(err, ErrCongested) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sent += len(msg)
	}
	if sent < publishBurst || a.Dropped().Budget == 0 {
		t.Errorf("%d bytes went, %+v dropped", sent, a.Dropped())
	}
}

// A handler that does not take messages loses the ones beyond the bound, which
// are counted; the rest of the host goes on.
func TestGossipSlowHandler(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan message, 8)
	a := start(t, nil)
	b := start(t, func(_ *Config, i *inbox) { i.onGossip = func(m message) { entered <- m; <-release } })
	ab, _ := connect(t, a, b)
	publish(t, a, "first")
	next(t, "message", entered)
	put := func(data string) {
		b.Host.gossip.enqueue(gossiped{testTopic, a.id, data, inboxBytes / 2})
	}
	put("fits")
	put("fits too")
	if d := b.Dropped(); d != (Dropped{}) {
		t.Errorf("dropped %+v", d)
	}
	put("too much")
	if d := b.Dropped(); d != (Dropped{Inbox: 1}) {
		t.Errorf("dropped %+v", d)
	}
	ab.Send([]byte("frames still pass"))
	next(t, "frame", b.received)
	close(release)
	for _, want := range []string{"fits", "fits too"} {
		if m := next(t, "message", entered); m.data != want {
			t.Errorf("got %q, want %q", m.data, want)
		}
	}
	put("room again")
	next(t, "message", entered)
}

// A peer that does not take its gossip is disconnected before it costs too much
// memory, and is there again afterwards.
func TestGossipBacklog(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	connect(t, a, b)
	publish(t, a, "written")
	heard(t, b, a, "written")
	backlog := func() int {
		g := a.Host.gossip
		g.mu.Lock()
		defer g.mu.Unlock()
		if r := g.ready[b.id]; r != nil {
			return r.backlog
		}
		return 0
	}
	eventually(t, "nothing waits", func() bool { return backlog() == 0 })
	a.Host.gossip.queued(b.id, maxBacklogBytes)
	if n := backlog(); n != maxBacklogBytes {
		t.Errorf("%d bytes wait", n)
	}
	none(t, "end", a.ended)
	publish(t, a, "one byte more")
	next(t, "end", a.ended)
	next(t, "end", b.ended)
	next(t, "new session", a.opened)
	next(t, "new session", b.opened)
	if n := backlog(); n != 0 {
		t.Errorf("%d bytes wait for a new connection", n)
	}
	publish(t, a, "on we go")
	for next(t, "message", b.heard).data != "on we go" {
	}
}

// The id of a message is that of its topic and content.
func TestMessageID(t *testing.T) {
	id := func(topic, data string) string {
		return messageID(&pb.Message{Topic: &topic, Data: []byte(data)})
	}
	seen := map[string]bool{}
	for _, m := range [][2]string{{"a", "b"}, {"a", "c"}, {"ab", ""}, {"", "ab"}, {"", ""}} {
		if v := id(m[0], m[1]); len(v) != 16 || seen[v] || v != id(m[0], m[1]) {
			t.Errorf("id of %q is %x", m, v)
		} else {
			seen[v] = true
		}
	}
}

// A connection that dies beside another one must not leave the peer unheard.
func TestGossipSurvivesLostDuplicate(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	connect(t, a, b)
	a.Host.gossip.onTopicEvent(pubsub.PeerEvent{Type: pubsub.PeerLeave, Peer: b.id})
	if end := next(t, "end", a.ended); !errors.Is(end.err, errUnsubscribed) {
		t.Errorf("closed with %v", end.err)
	}
	next(t, "end", b.ended)
	next(t, "new session", a.opened)
	next(t, "new session", b.opened)
	publish(t, a, "again")
	heard(t, b, a, "again")
}

func BenchmarkGossipLatency(b *testing.B) {
	x, y := start(b, nil), start(b, nil)
	connect(b, x, y)
	msg := make([]byte, 250)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		msg := append([]byte(nil), msg...)
		copy(msg, fmt.Sprint(i))
		if err := x.Publish(testTopic, msg); err != nil {
			b.Fatal(err)
		}
		<-y.heard
	}
}
