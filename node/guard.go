package node

import (
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/merge/schema"
)

// A guard holds what this replica writes itself to what the space says of
// itself. It judges nothing that peers wrote, and no transaction that only undoes
// or negates: that brings back what was there, under whatever schema.
type guard struct {
	catalog *catalog.Catalog
	// at is what state.system was when the catalog was loaded.
	at uint64
}

// before brings the guard's catalog up to the state as it stands, which a
// transaction is about to change.
func (r *Replica) before() error {
	g := &r.guard
	if g.catalog != nil && g.at == r.state.system {
		return nil
	}
	c, err := catalog.Load(r.state, catalog.Options{Compile: boundary{r.cfg.Compile}, Before: g.catalog, Shallow: true})
	if err != nil {
		return err
	}
	g.catalog, g.at = c, r.state.system
	return nil
}

// admitLocal says why a transaction may not be written, if it may not. The state
// shows it already.
func (r *Replica) admitLocal(deltas []delta.Delta) error {
	err := r.guard.catalog.Admit(r.state, deltas)
	var v *schema.Violation
	if errors.As(err, &v) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// boundary compiles no more than it takes to tell whether something may be
// written: a module is compiled before its resolver is written, not while
// others wait.
type boundary struct{ catalog.Compiler }

// CEL implements catalog.Compiler.
func (b boundary) CEL(expression string) (merge.Resolver, error) {
	if b.Compiler == nil {
		return merge.ResolverFunc(unused), nil
	}
	return b.Compiler.CEL(expression)
}

// WASM implements catalog.Compiler.
func (boundary) WASM([]byte) (merge.Resolver, error) { return merge.ResolverFunc(unused), nil }

// unused stands for a resolver where nothing is read by it.
func unused(*merge.Input) (merge.Output, error) {
	return merge.Output{}, merge.Failf(merge.ErrorUnknown, "nothing is read here")
}
