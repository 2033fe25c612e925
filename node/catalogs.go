package node

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/merge"
)

// catalogs keeps the catalog that reads go by. A new one is made beside them,
// when what the space says of itself has changed, and takes the place of the old
// one at once: a read goes by one of the two, and waits for neither.
type catalogs struct {
	now atomic.Pointer[catalog.Catalog]
	// seen is what state.system was after the newest step.
	seen atomic.Uint64

	// making guards what follows: one catalog is made at a time.
	making sync.Mutex
	made   uint64 // the value of seen that now was made for, plus one; 0 for none
	// own are the resolvers of the program. The map is replaced, never changed.
	own map[string]catalog.Own
}

// Catalog returns what the space says of itself: its schemas, resolvers and
// views. It does not change; a later call may return another one.
func (n *Node) Catalog() *catalog.Catalog { return n.catalogs.now.Load() }

// authorOf tells who wrote a lane.
func (n *Node) authorOf(l clock.LaneID) string {
	key, ok := n.store.Lanes.Key(l)
	if !ok {
		return ""
	}
	return key.Author.String()
}

// Register brings a resolver of the program, which schemas and views name with
// the prefix catalog.GoPrefix, or puts it in the place of the one of that name;
// nil retires it. When it returns, reads go by it; none fails meanwhile.
func (n *Node) Register(name string, r merge.Resolver) error {
	if err := catalog.CheckName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	c := &n.catalogs
	c.making.Lock()
	own := maps.Clone(c.own)
	if own == nil {
		own = make(map[string]catalog.Own)
	}
	own[name] = catalog.Own{Version: own[name].Version + 1, Resolver: r}
	c.own, c.made = own, 0
	c.making.Unlock()
	return n.refresh()
}

// refresh makes the catalog of the newest state, unless it is made. When it
// returns, reads see all that was written before it was called.
func (n *Node) refresh() error {
	c := &n.catalogs
	c.making.Lock()
	defer c.making.Unlock()
	want := c.seen.Load() + 1
	if c.made == want {
		return nil
	}
	next, err := catalog.Load(&n.rows, catalog.Options{
		Author: n.authorOf, Compile: n.cfg.Replica.Compile, Go: c.own, Before: c.now.Load(),
	})
	if err != nil {
		return err
	}
	for _, p := range next.Problems() {
		if p.InForce {
			continue // whoever reads the property is told
		}
		n.Alarm("catalog", p.Key+": "+p.Text, "write a version that mends it: see rhizome schema ls, resolver ls and view ls")
	}
	c.now.Store(next)
	c.made = want
	n.views.reset(next)
	return nil
}

// noticeCatalog has the catalog made anew where a step changed what the space
// says of itself; the caller holds turn.
func (n *Node) noticeCatalog() {
	if g := n.replica.state.system; n.catalogs.seen.Swap(g) != g {
		n.jobs.Go(func() {
			if err := n.refresh(); err != nil {
				n.Alarm("catalog", "what the space says of itself cannot be read: "+err.Error(), "run rhizome verify")
			}
		})
	}
}

// touchesCatalog reports whether operations may change what the space says of
// itself. An undo or a negation may.
func touchesCatalog(ops []Op) bool {
	for i := range ops {
		if catalog.IsSystem(ops[i].Entity) || ops[i].Kind == OpUndo || ops[i].Kind == OpNegate {
			return true
		}
	}
	return false
}
