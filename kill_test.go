package rhizome

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
)

// childEnv names the repo on which the test binary is to act as a node that
// writes until it is killed, and childJoin the invite it joins with.
// childCompact, where set, lets it drop its history all the time too.
const (
	childEnv     = "RHIZOME_TEST_WRITE_TO"
	childJoin    = "RHIZOME_TEST_JOIN"
	childCompact = "RHIZOME_TEST_COMPACT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeForEver(dir)
	}
	if config := os.Getenv(historyEnv); config != "" {
		runHistoryNode(config)
	}
	os.Exit(m.Run())
}

// writeForEver opens a node and commits from eight writers, printing each
// transaction once it is acknowledged.
func writeForEver(dir string) {
	ctx := context.Background()
	n, err := Open(ctx, Options{
		Dir: dir, Create: true, Join: os.Getenv(childJoin), Listen: []string{"/ip4/127.0.0.1/tcp/0"}, LockWait: 10 * time.Second,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if run := os.Getenv(childCompact); run != "" {
		dropForEver(ctx, n)
		putForEver(ctx, n, run)
	}
	var out sync.Mutex
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				rec, err := n.Commit(ctx, "", []Op{
					{Kind: OpPut, Entity: fmt.Sprintf("k/%d", i%50), Value: int64(i)},
					{Kind: OpInc, Entity: "count", N: 1},
					{Kind: OpAdd, Entity: "bag", Value: fmt.Sprintf("%d-%d", w, i%20)},
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(rec.Txn, "ok")
				out.Unlock()
			}
		}()
	}
	select {}
}

// A node that is killed under load, twenty times, loses no acknowledged write
// and forks no lane; all converge.
func TestKilledUnderLoad(t *testing.T) {
	const kills = 20
	a := open(t, Options{Dir: t.TempDir(), Create: true})
	inv := must(a.Invite(t.Context()))
	dir := t.TempDir()
	acked := make(map[clock.Dot]bool)
	r := mathrand.New(mathrand.NewPCG(1, 1))
	for range kills {
		killAfter(t, dir, inv, 1+r.IntN(200), acked)
	}
	b := open(t, Options{Dir: dir})
	settled(t, 30*time.Second, a, b)
	for name, n := range map[string]*Node{"the killed node": b, "its peer": a} {
		if missing := notInLog(t, n, acked); len(missing) > 0 {
			t.Errorf("%s lost %d of %d acknowledged writes, such as %v", name, len(missing), len(acked), missing[0])
		}
		s := status(t, n, true)
		if len(s.Forks) > 0 || s.Lanes > kills+1 {
			t.Errorf("%s: %d forks, %d lanes", name, len(s.Forks), s.Lanes)
		}
		report, err := n.Verify(t.Context(), nil)
		if err != nil || len(report.Problems) > 0 {
			t.Errorf("%s: verify: %v %v", name, report.Problems, err)
		}
	}
}

// killAfter runs the child and kills it, without warning, after so many
// acknowledgements.
func killAfter(t *testing.T, dir, inv string, acks int, acked map[clock.Dot]bool) {
	t.Helper()
	killLines(t, []string{childEnv + "=" + dir, childJoin + "=" + inv}, acks, func(text string) {
		d, err := clock.ParseDot(text)
		if err != nil {
			t.Fatal(err)
		}
		acked[d] = true
	})
}

// killLines runs the child and kills it after so many lines that say ok.
func killLines(t *testing.T, env []string, acks int, acked func(text string)) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	n := 0
	for ; lines.Scan(); n++ {
		if n == acks {
			_ = cmd.Process.Kill()
		}
		text, whole := strings.CutSuffix(lines.Text(), " ok")
		if !whole {
			continue // cut off by the kill
		}
		acked(text)
	}
	_ = cmd.Wait() // killed
	if n == 0 || stderr.Len() > 0 {
		t.Fatalf("child: %d writes, %s", n, stderr.String())
	}
}

// dropForEver drops a node's history again and again.
func dropForEver(ctx context.Context, n *Node) {
	go func() {
		for ctx.Err() == nil {
			if _, err := n.Compact(ctx, CompactOptions{Force: true}); err != nil && ctx.Err() == nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrClosed) {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}()
}

// putForEver writes keys of its own from eight writers and prints each once it
// is acknowledged.
func putForEver(ctx context.Context, n *Node, run string) {
	var out sync.Mutex
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("key/%s/%d/%d", run, w, i)
				_, err := n.Commit(ctx, "", []Op{
					{Kind: OpPut, Entity: key, Value: strings.Repeat(run, 200)}, {Kind: OpPut, Entity: "hot", Value: key},
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(key, "ok")
				out.Unlock()
			}
		}()
	}
	select {}
}

// A node that is killed again and again, while it and its peer drop their
// history all the time and serve each other their states, loses nothing that
// was acknowledged: it opens, forks no lane, and both end up equal.
func TestKilledWhileCompacting(t *testing.T) {
	const kills = 12
	a := open(t, Options{Dir: t.TempDir(), Create: true})
	inv := must(a.Invite(t.Context()))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	dropForEver(ctx, a)
	dir := t.TempDir()
	acked := make(map[string]bool)
	r := mathrand.New(mathrand.NewPCG(2, 2))
	for run := range kills {
		env := []string{childEnv + "=" + dir, childJoin + "=" + inv, fmt.Sprint(childCompact, "=", run)}
		killLines(t, env, 1+r.IntN(400), func(key string) { acked[key] = true })
		if _, err := a.Put(t.Context(), fmt.Sprint("peer/", run), "x"); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, Options{Dir: dir})
	settled(t, time.Minute, a, b)
	stop()
	for name, n := range map[string]*Node{"the killed node": b, "its peer": a} {
		lost := 0
		for key := range acked {
			if _, err := n.Get(t.Context(), key, ""); err != nil {
				lost++
			}
		}
		if lost > 0 || len(acked) < kills {
			t.Errorf("%s lost %d of %d acknowledged writes", name, lost, len(acked))
		}
		if s := status(t, n, true); len(s.Forks) > 0 {
			t.Errorf("%s: %d forks", name, len(s.Forks))
		}
		report, err := n.Verify(t.Context(), nil)
		if err != nil || len(report.Problems) > 0 {
			t.Errorf("%s: verify: %v %v", name, report.Problems, err)
		}
	}
	x, y := status(t, a, false).Storage, status(t, b, false).Storage
	if x.StatesServed+y.StatesServed == 0 || x.Checkpoints+y.Checkpoints == 0 {
		t.Errorf("%d states served, %d checkpoints: nothing was tested", x.StatesServed+y.StatesServed, x.Checkpoints+y.Checkpoints)
	}
	t.Logf("%d acknowledged; %d and %d states served, %d and %d adopted", len(acked), x.StatesServed, y.StatesServed, x.StatesAdopted, y.StatesAdopted)
}
