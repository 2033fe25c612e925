package meter_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/rhizome-p2p/rhizome/bench/internal/meter"
)

// TestWire: what goes over a TCP connection of the process is counted both ways,
// and stays counted when the connection is closed.
func TestWire(t *testing.T) {
	w := meter.NewWire()
	defer w.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	echoed := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.Copy(c, c)
			_ = c.Close()
		}
		echoed <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const size = 100_000
	go func() { _, _ = c.Write(make([]byte, size)) }()
	if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	open, err := w.Traffic()
	if err != nil {
		t.Fatal(err)
	}
	// Both ends are of this process: each counts both ways. The last
	// acknowledgements may be under way, and opening a connection counts for one
	// byte.
	if open.Received != 2*size || open.Sent > 2*size+2 || open.Sent < size {
		t.Errorf("%+v of an echo of %d bytes", open, size)
	}
	_ = c.Close()
	if err := <-echoed; err != nil {
		t.Fatal(err)
	}
	closed, err := w.Traffic()
	if err != nil {
		t.Fatal(err)
	}
	if closed.Received != open.Received || closed.Sent < open.Sent {
		t.Errorf("%+v after %+v, when the connection was closed", closed, open)
	}
}

// TestPeakRSS: the peak of this process grows by what it touches.
func TestPeakRSS(t *testing.T) {
	before, err := meter.PeakRSS(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const more = 64 << 20
	touched := bytes.Repeat([]byte{1}, more)
	after, err := meter.PeakRSS(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after-before < more/2 || touched[more-1] != 1 {
		t.Errorf("%d, then %d with %d more", before, after, more)
	}
	if _, err := meter.PeakRSS(-1); err == nil {
		t.Error("no process, and no error")
	}
}

// TestDiskBytes: all files below a directory count.
func TestDiskBytes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "below/b"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := meter.DiskBytes(dir); err != nil || n != 2000 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestNow: the clock goes on.
func TestNow(t *testing.T) {
	a, err := meter.Now()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := meter.Now(); err != nil || b < a {
		t.Errorf("%d after %d, %v", b, a, err)
	}
}
