package datastore

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// A store of go-ds-crdt lies below a namespace of another datastore, as the
// sources of v0.6.8 have it (the constants in crdt.go, set.go and migrations.go,
// and set.valueKey):
//
//	NS/crdt_version       the format as a uvarint, one more than its number
//	NS/d                  there while the store is dirty: not all is applied
//	NS/h/…, NS/b/…        heads, and blocks that were processed
//	NS/s/s/KEY/BLOCK      elements: KEY was put in a block
//	NS/s/t/KEY/BLOCK      tombstones of elements
//	NS/s/k/KEY/v          the value that KEY has, and
//	NS/s/k/KEY/p          its priority
//
// A key whose elements all have tombstones has no v. So what stands under v is
// what the store shows, and all that an import has to read: a concurrent value
// that lost stands only in the blocks.
const (
	crdtVersion   = "crdt_version"
	crdtDirty     = "d"
	crdtValues    = "s/k"
	crdtValueName = "/v"

	// crdtNewest is the newest format that is known, that of v0.6.8.
	crdtNewest = 1
)

// ErrNoCRDT reports a datastore without a store of go-ds-crdt in a namespace. A
// NamespaceError says more.
var ErrNoCRDT = errors.New("no store of go-ds-crdt")

// A NamespaceError names the namespaces in which there are stores. It matches
// ErrNoCRDT.
type NamespaceError struct {
	Namespace ds.Key
	Found     []ds.Key
}

// Error says what was looked for, and what there is.
func (e *NamespaceError) Error() string {
	if len(e.Found) == 0 {
		return fmt.Sprintf("%v at %s, nor in any other namespace", ErrNoCRDT, e.Namespace)
	}
	names := make([]string, len(e.Found))
	for i, k := range e.Found {
		names[i] = k.String()
	}
	return fmt.Sprintf("%v at %s; there is one at %s", ErrNoCRDT, e.Namespace, strings.Join(names, ", "))
}

// Is matches ErrNoCRDT.
func (e *NamespaceError) Is(target error) bool { return target == ErrNoCRDT }

// A CRDT is a store of go-ds-crdt that is read.
type CRDT struct {
	Namespace ds.Key
	// Version is the format. Stores of format 0 may show wrong values for keys that
	// were removed once; go-ds-crdt v0.6.8 mends them when it opens them.
	Version uint64
	// Dirty says that the store had not applied all that it had heard of.
	Dirty bool

	base ds.Read
}

// OpenCRDT finds the store of go-ds-crdt in a namespace of a datastore. It only
// reads.
func OpenCRDT(ctx context.Context, base ds.Read, namespace ds.Key) (*CRDT, error) {
	namespace = ds.NewKey(namespace.String())
	c := &CRDT{Namespace: namespace, base: base}
	text, err := base.Get(ctx, namespace.ChildString(crdtVersion))
	switch {
	case errors.Is(err, ds.ErrNotFound):
		return c.unversioned(ctx)
	case err != nil:
		return nil, fmt.Errorf("read the format of the store: %w", err)
	}
	v, n := binary.Uvarint(text)
	if n <= 0 || v == 0 {
		return nil, fmt.Errorf("%s is no number of a format", namespace.ChildString(crdtVersion))
	}
	if c.Version = v - 1; c.Version > crdtNewest {
		return nil, fmt.Errorf("the store at %s has format %d, the newest that is known is %d", namespace, c.Version, crdtNewest)
	}
	c.Dirty, err = base.Has(ctx, namespace.ChildString(crdtDirty))
	return c, err
}

// unversioned looks for a store that has no number yet.
func (c *CRDT) unversioned(ctx context.Context) (*CRDT, error) {
	for _, err := range c.Values(ctx) {
		return c, err
	}
	found, err := findCRDTs(ctx, c.base)
	return nil, cmp.Or(err, error(&NamespaceError{c.Namespace, found}))
}

// findCRDTs returns the namespaces of all stores that have a number.
func findCRDTs(ctx context.Context, base ds.Read) (found []ds.Key, err error) {
	r, err := base.Query(ctx, query.Query{KeysOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		e, ok := r.NextSync()
		if !ok || e.Error != nil {
			slices.SortFunc(found, func(a, b ds.Key) int { return cmp.Compare(a.String(), b.String()) })
			return found, e.Error
		}
		if ns, ok := strings.CutSuffix(e.Key, "/"+crdtVersion); ok && (ns == "" || isKey(ns)) {
			found = append(found, ds.RawKey(ns))
		}
	}
}

// Values yields all keys with the values that the store shows, in the order in
// which its datastore gives them.
func (c *CRDT) Values(ctx context.Context) iter.Seq2[query.Entry, error] {
	return func(yield func(query.Entry, error) bool) {
		at := c.Namespace.ChildString(crdtValues).String()
		r, err := c.base.Query(ctx, query.Query{Prefix: at})
		if err != nil {
			yield(query.Entry{}, err)
			return
		}
		defer func() { _ = r.Close() }() // reading only: nothing is lost
		for {
			e, ok := r.NextSync()
			if !ok {
				return
			}
			if e.Error != nil {
				yield(query.Entry{}, fmt.Errorf("read the values of the store: %w", e.Error))
				return
			}
			// Nothing but a value ends so: the priority of a key ends in /p.
			key, ok := strings.CutSuffix(strings.TrimPrefix(e.Key, at), crdtValueName)
			if !ok {
				continue
			}
			key = ds.NewKey(key).String()
			if !yield(query.Entry{Key: key, Value: e.Value, Size: len(e.Value)}, nil) {
				return
			}
		}
	}
}
