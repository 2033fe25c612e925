package node

import (
	"fmt"
	"testing"

	"github.com/rhizome-p2p/rhizome/storage"
)

// A sink is a store that takes what is written and forgets it, so that a write to
// a fresh key costs what the replica does, and nothing of a disk.
type sink struct{ *storage.Memory }

type noBatch struct{}

func (noBatch) Set(_, _ []byte)         {}
func (noBatch) Delete(_ []byte)         {}
func (noBatch) DeleteRange(_, _ []byte) {}
func (noBatch) Bytes() int              { return 0 }
func (noBatch) Wait() error             { return nil }

func (sink) NewBatch() storage.Batch                     { return noBatch{} }
func (sink) Apply(storage.Batch) (storage.Commit, error) { return noBatch{}, nil }

// BenchmarkWrite measures what a replica takes to make an entry of fresh keys of
// 100 bytes each, without storing it: as one transaction, or as one of each key.
func BenchmarkWrite(b *testing.B) {
	for _, c := range []struct{ requests, ops int }{{1, 1}, {64, 1}, {1, 100}, {1, 1000}} {
		b.Run(fmt.Sprintf("%dx%d", c.requests, c.ops), func(b *testing.B) {
			r, err := OpenReplica(configOver(sink{storage.NewMemory()}, "n").Replica)
			if err != nil {
				b.Fatal(err)
			}
			value := fmt.Sprintf("%0100d", 7)
			key := 0
			b.ReportAllocs()
			for b.Loop() {
				reqs := make([]Request, c.requests)
				for i := range reqs {
					ops := make([]Op, c.ops)
					for j := range ops {
						key++
						ops[j] = Op{Kind: OpPut, Entity: fmt.Sprintf("key/%010d", key), Value: value}
					}
					reqs[i].Ops = ops
				}
				step, err := r.Write(int64(key), reqs)
				if err != nil || step.Results[0].Err != nil {
					b.Fatal(err, step.Results[0].Err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(key), "ns/key")
		})
	}
}
