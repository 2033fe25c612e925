package node

import (
	"iter"

	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A Dump is all that the store holds of the space, as of one moment. It must be
// closed.
type Dump struct {
	// Root is the vector's and Digest the state's.
	Root, Digest digest.Sum
	// Entries and Lanes count the log, Rows the survivors.
	Entries, Lanes, Rows uint64

	snap   storage.Snapshot
	prefix []byte
}

// Dump pins the store between two steps, so that log, state and what is
// counted of them agree. What it pins may still be on its way to the disk: that
// is no harm to whoever opens it elsewhere, since nobody goes on there with the
// lane that it was written to.
func (r *Replica) Dump() *Dump {
	return &Dump{
		Root: r.log.Root(), Digest: r.Digest(), Entries: r.log.Entries(), Lanes: uint64(r.log.Vector().Len()),
		Rows: r.Survivors(), snap: r.db.Snapshot(), prefix: r.log.Prefix(),
	}
}

// Dump is Replica.Dump in the replica's turn. It also works on a node that is
// read-only.
func (n *Node) Dump() (d *Dump) {
	n.query(func() { d = n.replica.Dump() })
	return d
}

// Pairs yields what is stored, keys rising and without the space's prefix. What
// a peer's state left behind while it was on its way is left out. The slices
// are valid until the next step; an error comes last.
func (d *Dump) Pairs() iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) {
		staged := append(append([]byte{}, d.prefix...), kindStaged)
		for _, part := range [][2][]byte{
			{d.prefix, staged}, {storage.PrefixEnd(staged), storage.PrefixEnd(d.prefix)},
		} {
			for kv, err := range d.snap.Scan(part[0], part[1]) {
				if err == nil {
					kv.Key = kv.Key[len(d.prefix):]
				}
				if !yield(kv, err) || err != nil {
					return
				}
			}
		}
	}
}

// Close releases the moment.
func (d *Dump) Close() error { return d.snap.Close() }
