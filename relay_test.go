package rhizome

import (
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"
)

// Where each is connected to each, a publication goes over the wire once for each
// receiver: nobody passes it on.
func TestNobodyPassesOn(t *testing.T) {
	ctx := t.Context()
	first := open(t, Options{Dir: t.TempDir(), Create: true})
	inv, err := first.Invite(ctx)
	if err != nil {
		t.Fatal(err)
	}
	nodes := []*Node{first}
	for range 3 {
		nodes = append(nodes, open(t, Options{Dir: t.TempDir(), Create: true, Join: inv}))
	}
	eventually(t, 30*time.Second, "all know that each is connected to each", func() bool {
		for _, n := range nodes {
			for _, o := range nodes {
				if n != o && !n.core.Covers(o.ID()) {
					return false
				}
			}
		}
		return true
	})
	const puts = 50
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			r := mathrand.New(mathrand.NewPCG(uint64(i), 1))
			for j := range puts {
				if _, err := n.Put(ctx, fmt.Sprintf("k/%d/%d", i, j), noise(r)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, 30*time.Second, "all have all", func() bool {
		for _, n := range nodes {
			if status(t, n, false).Rows != puts*uint64(len(nodes)) {
				return false
			}
		}
		return true
	})
	for _, n := range nodes {
		c := n.net.host.Carried()
		sent := status(t, n, false).Sync.PublishedOut
		if c.Duplicates != 0 || c.Copies > sent*uint64(len(nodes)-1) || c.Delivered == 0 {
			t.Errorf("gossip carried %+v for %d publications", c, sent)
		}
	}
}
