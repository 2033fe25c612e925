package rhizome

import (
	"bufio"
	"context"
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
const (
	childEnv  = "RHIZOME_TEST_WRITE_TO"
	childJoin = "RHIZOME_TEST_JOIN"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeForEver(dir)
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
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, childJoin+"="+inv)
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
	for n := 0; lines.Scan(); n++ {
		if n == acks {
			_ = cmd.Process.Kill()
		}
		text, whole := strings.CutSuffix(lines.Text(), " ok")
		if !whole {
			continue // cut off by the kill
		}
		d, err := clock.ParseDot(text)
		if err != nil {
			t.Fatal(err)
		}
		acked[d] = true
	}
	_ = cmd.Wait() // killed
	if len(acked) == 0 || stderr.Len() > 0 {
		t.Fatalf("child: %d writes, %s", len(acked), stderr.String())
	}
}
