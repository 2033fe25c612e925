package rhizome

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/storage/pebblestore"
)

// fill makes a repo whose log holds entries of one put each, as so many
// single writes would leave it, without waiting for each to be durable.
func fill(tb testing.TB, dir string, entries int) {
	tb.Helper()
	if err := Init(dir, "bench"); err != nil {
		tb.Fatal(err)
	}
	write(tb, dir, entries, func(i int, r *mathrand.Rand) Op {
		return Op{Kind: OpPut, Entity: fmt.Sprintf("key/%08d", i), Value: raw100(r)}
	})
}

// write adds entries of one operation each to a repo.
func write(tb testing.TB, dir string, entries int, op func(i int, r *mathrand.Rand) Op) {
	tb.Helper()
	r, err := openRepo(dir, 0)
	if err != nil {
		tb.Fatal(err)
	}
	store, err := pebblestore.Open(filepath.Join(dir, dataDir), pebblestore.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	spread := mathrand.New(mathrand.NewPCG(1, uint64(entries)))
	replica, err := node.OpenReplica(node.ReplicaConfig{
		DB: store, Prefix: spacePrefix, Space: r.genesis.id(), Key: r.key, Random: rand.Reader, Spread: spread, Node: r.id,
	})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range entries {
		step, err := replica.Write(time.Now().UnixMilli(), []node.Request{{Ops: []Op{op(i, spread)}}})
		if err != nil {
			tb.Fatal(err)
		}
		if i == entries-1 {
			if err := step.Commit.Wait(); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := store.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := r.close(); err != nil {
		tb.Fatal(err)
	}
}

// noise is 100 characters that hold 75 bytes of randomness.
func noise(r *mathrand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	var v [100]byte
	for i := range v {
		v[i] = letters[r.IntN(len(letters))]
	}
	return string(v[:])
}

// raw100 is 100 random bytes, which do not compress at all.
func raw100(r *mathrand.Rand) []byte {
	v := make([]byte, 100)
	for i := range v {
		v[i] = byte(r.Uint32())
	}
	return v
}

// A wire passes TCP connections on to a node and counts their bytes.
type wire struct {
	addr  string // to dial instead of the node's
	bytes atomic.Int64
}

func newWire(tb testing.TB, target string) *wire {
	tb.Helper()
	parts := strings.Split(target, "/") // /ip4/ADDR/tcp/PORT/p2p/ID
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	w := &wire{}
	target = net.JoinHostPort(parts[2], parts[4])
	parts[2], parts[4] = "127.0.0.1", fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	w.addr = strings.Join(parts, "/")
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			go w.pipe(in, out)
			go w.pipe(out, in)
		}
	}()
	return w
}

func (w *wire) pipe(dst, src net.Conn) {
	n, _ := io.Copy(dst, counting{src, &w.bytes})
	_ = n
	_ = dst.Close()
	_ = src.Close()
}

type counting struct {
	io.Reader
	n *atomic.Int64
}

func (c counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// BenchmarkFreshPeer measures how long a fresh peer takes, from Open to equal
// digests, for so many entries of one put of 100 bytes each, and what goes over
// the wire.
func BenchmarkFreshPeer(b *testing.B) {
	for _, entries := range []int{1000, 50_000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) { benchFresh(b, entries) })
	}
}

func benchFresh(b *testing.B, entries int) {
	dir := b.TempDir()
	fill(b, dir, entries)
	a := open(b, Options{Dir: dir})
	want := digestOf(b, a)
	var total time.Duration
	var bytes int64
	for b.Loop() {
		w := newWire(b, a.Addrs()[0])
		inv := invite{network: a.repo.network, genesis: a.repo.genesis, addrs: []string{w.addr}}
		start := time.Now()
		n := open(b, Options{Dir: b.TempDir(), Create: true, Join: inv.String()})
		waitDigest(b, n, want)
		total += time.Since(start)
		bytes += w.bytes.Load()
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(total.Seconds()/float64(b.N), "s/fresh")
	b.ReportMetric(float64(bytes)/float64(b.N*entries*100), "wire/payload")
	b.ReportMetric(float64(b.N*entries)/total.Seconds(), "entries/s")
}

// BenchmarkVisible measures the time from the start of a put to its showing in
// the changes feed of a peer, durable on both sides.
func BenchmarkVisible(b *testing.B) {
	ctx := b.Context()
	a := open(b, Options{Dir: b.TempDir(), Create: true})
	inv, err := a.Invite(ctx)
	if err != nil {
		b.Fatal(err)
	}
	n := open(b, Options{Dir: b.TempDir(), Create: true, Join: inv})
	waitDigest(b, n, digestOf(b, a))
	eventually(b, 10*time.Second, "convergence", func() bool { return status(b, a, true).Converged })
	seen := make(chan time.Time, 1)
	watching := make(chan struct{})
	go func() {
		close(watching)
		for _, err := range n.Changes(ctx, "", "0") {
			if err != nil {
				return
			}
			seen <- time.Now()
		}
	}()
	<-watching
	var took []time.Duration
	r := mathrand.New(mathrand.NewPCG(1, 1))
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if _, err := a.Put(ctx, fmt.Sprintf("key/%d", i), noise(r)); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-seen).Sub(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func open(tb testing.TB, o Options) *Node {
	tb.Helper()
	// A repo that is opened again takes the ports that it had.
	if book, err := readPeers(o.Dir); err != nil || len(o.Listen)+len(book.Listen) == 0 {
		o.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	}
	n, err := Open(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	var once sync.Once
	tb.Cleanup(func() { once.Do(func() { _ = n.Close() }) })
	return n
}

func status(tb testing.TB, n *Node, fresh bool) Status {
	tb.Helper()
	s, err := n.Status(context.Background(), fresh)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func digestOf(tb testing.TB, n *Node) string { return status(tb, n, false).Digest }

// waitDigest waits until a node's state has a digest.
func waitDigest(tb testing.TB, n *Node, want string) {
	tb.Helper()
	eventually(tb, 2*time.Minute, "digest "+want, func() bool { return digestOf(tb, n) == want })
}
