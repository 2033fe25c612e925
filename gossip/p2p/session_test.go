package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// Frames go both ways over the one session of a connection, which the dialler
// opens.
func TestSessionExchange(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	ab, ba := connect(t, a, b)
	if !ab.Outbound() || ba.Outbound() {
		t.Errorf("outbound: dialler %v, listener %v", ab.Outbound(), ba.Outbound())
	}
	if got, want := ab.Addr(), b.addr(t); got != want {
		t.Errorf("dialler's address %s, want %s", got, want)
	}
	if !strings.HasSuffix(ba.Addr(), "/p2p/"+a.ID()) {
		t.Errorf("listener's address %s", ba.Addr())
	}
	ab.Send([]byte("ping"))
	ba.Send([]byte("pong"))
	ab.Send(nil)
	for _, want := range []frame{{ba, []byte("ping")}, {ba, nil}} {
		if got := next(t, "frame", b.received); got.s != want.s || !bytes.Equal(got.msg, want.msg) {
			t.Errorf("got %q on %p, want %q on %p", got.msg, got.s, want.msg, want.s)
		}
	}
	if got := next(t, "frame", a.received); got.s != ab || string(got.msg) != "pong" {
		t.Errorf("got %q", got.msg)
	}
	none(t, "second session", a.opened)
	none(t, "second session", b.opened)
}

// A handler that blocks holds the stream up, and when it goes on nothing is
// lost, doubled or out of order.
func TestSessionBackPressure(t *testing.T) {
	const frames, size = 2000, 20 << 10 // 40 MB: more than the socket and Yamux's window take
	gate := make(chan struct{})
	got := make(chan []byte)
	a := start(t, nil)
	b := start(t, func(_ *Config, i *inbox) {
		i.onReceived = func(_ *Session, msg []byte) { <-gate; got <- msg }
	})
	ab, _ := connect(t, a, b)
	src := rand.New(rand.NewPCG(1, 2))
	for i := range frames {
		msg := make([]byte, 8+src.IntN(size))
		binary.BigEndian.PutUint64(msg, uint64(i))
		ab.Send(msg)
	}
	if ab.Queued() == 0 {
		t.Error("everything was written while the handler was blocked")
	}
	close(gate)
	for i := range frames {
		if msg := next(t, "frame", got); binary.BigEndian.Uint64(msg) != uint64(i) {
			t.Fatalf("frame %d came as number %d", binary.BigEndian.Uint64(msg), i)
		}
	}
	eventually(t, "the queue is empty", func() bool { return ab.Queued() == 0 })
	none(t, "end", a.ended)
}

// Frames up to the limit pass; their bytes are unchanged.
func TestSessionLargeFrames(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	ab, _ := connect(t, a, b)
	for _, n := range []int{1, firstReadBytes - 1, firstReadBytes, firstReadBytes + 1, 1 << 20, defaultMessageBytes} {
		msg := bytes.Repeat([]byte{byte(n), byte(n >> 8), 7}, n/3+1)[:n]
		ab.Send(bytes.Clone(msg))
		if got := next(t, "frame", b.received); !bytes.Equal(got.msg, msg) {
			t.Errorf("frame of %d bytes came as %d other bytes", n, len(got.msg))
		}
	}
}

// A frame over the limit ends the session: at the sender before it is sent, at
// the receiver when its length is announced.
func TestSessionFrameTooLarge(t *testing.T) {
	t.Run("sender", func(t *testing.T) {
		a, b := start(t, nil), start(t, nil)
		ab, _ := connect(t, a, b)
		ab.Send(make([]byte, defaultMessageBytes+1))
		if end := next(t, "end", a.ended); !errors.Is(end.err, ErrTooLarge) {
			t.Errorf("closed with %v", end.err)
		}
		next(t, "end", b.ended)
	})
	t.Run("receiver", func(t *testing.T) {
		a := start(t, nil)
		b := start(t, func(c *Config, _ *inbox) { c.MaxMessageBytes = 100 })
		ab, _ := connect(t, a, b)
		ab.Send(make([]byte, 101))
		if end := next(t, "end", b.ended); !errors.Is(end.err, ErrTooLarge) {
			t.Errorf("closed with %v", end.err)
		}
		next(t, "end", a.ended)
		none(t, "frame", b.received)
	})
}

// A queue that grows over its bound ends the session, and Send never blocks.
func TestSessionOverflow(t *testing.T) {
	release := make(chan struct{})
	a := start(t, nil)
	b := start(t, func(_ *Config, i *inbox) { i.onReceived = func(*Session, []byte) { <-release } })
	ab, _ := connect(t, a, b)
	msg := make([]byte, 4<<20)
	for range 4 * maxQueueBytes / len(msg) {
		ab.Send(msg)
	}
	if end := next(t, "end", a.ended); !errors.Is(end.err, ErrOverflow) {
		t.Errorf("closed with %v", end.err)
	}
	ab.Send(msg) // does nothing
	if n := ab.Queued(); n != 0 {
		t.Errorf("%d bytes queued after the end", n)
	}
	close(release)
	next(t, "end", b.ended)
}

// Close ends both sides once each, with our reason on our side, also from within
// the handler; nothing is received after Closed, and the dialler comes back.
func TestSessionClose(t *testing.T) {
	reason := errors.New("protocol violation")
	a := start(t, nil)
	b := start(t, func(_ *Config, i *inbox) {
		i.onReceived = func(s *Session, msg []byte) { s.Close(reason); s.Close(errors.New("too late")) }
	})
	ab, ba := connect(t, a, b)
	for range 100 {
		ab.Send([]byte("x"))
	}
	if end := next(t, "end", b.ended); end.s != ba || end.err != reason {
		t.Errorf("closed with %v", end.err)
	}
	if end := next(t, "end", a.ended); end.s != ab || end.err == nil {
		t.Errorf("closed with %v", end.err)
	}
	again := next(t, "new session", a.opened)
	if again.ID() == ab.ID() {
		t.Error("a session id came twice")
	}
	next(t, "new session", b.opened)
	again.Close(nil)
	if end := next(t, "end", a.ended); end.s != again || !errors.Is(end.err, ErrClosed) {
		t.Errorf("closed with %v", end.err)
	}
}

// Whatever is framed is read back, in whatever pieces it arrives; what is cut
// short is an error, and no length is believed before its bytes are there.
func TestReadFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 3*firstReadBytes).Draw(t, "n")
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(i * 31)
		}
		got, err := readFrame(iotest.HalfReader(bytes.NewReader(want)), n)
		if err != nil || !bytes.Equal(got, want) || cap(got) != n {
			t.Fatalf("read %d of %d bytes, cap %d: %v", len(got), n, cap(got), err)
		}
		if n > 0 {
			cut := rapid.IntRange(0, n-1).Draw(t, "cut")
			if _, err := readFrame(bytes.NewReader(want[:cut]), n); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("cut at %d of %d: %v", cut, n, err)
			}
		}
	})
	allocs := testing.AllocsPerRun(10, func() { readFrame(bytes.NewReader(nil), 1<<40) })
	if allocs > 5 {
		t.Errorf("%v allocations for a length without bytes", allocs)
	}
}

// A stream that the listener opens is reset; a dialler that opens a second one
// loses its connection.
func TestSessionOnePerConnection(t *testing.T) {
	a := start(t, func(c *Config, _ *inbox) { c.Listen = nil }) // so that a is always the dialler
	b := start(t, nil)
	ab, ba := connect(t, a, b)
	refused := func(by *node, with string) {
		t.Helper()
		s, err := by.openStream(by.connTo(t, with), syncProtocol)
		if err == nil {
			_, err = io.ReadFull(s, make([]byte, 1))
		}
		if err == nil {
			t.Error("a second stream was served")
		}
	}
	refused(b, a.ID())
	ab.Send([]byte("still here"))
	if f := next(t, "frame", b.received); f.s != ba {
		t.Error("frame on another session")
	}
	refused(a, b.ID())
	next(t, "end", a.ended)
	next(t, "end", b.ended)
}

func BenchmarkStreamThroughput(b *testing.B) {
	for _, size := range []int{200, 4 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("frame=%d", size), func(b *testing.B) {
			done := make(chan struct{}, 1<<20)
			x := start(b, nil)
			y := start(b, func(_ *Config, i *inbox) { i.onReceived = func(*Session, []byte) { done <- struct{}{} } })
			xy, _ := connect(b, x, y)
			msg := make([]byte, size)
			window := 4 << 20 / size
			b.SetBytes(int64(size))
			b.ReportAllocs()
			sent := 0
			for b.Loop() {
				if sent++; sent > window {
					<-done
				}
				xy.Send(msg)
			}
		})
	}
}
