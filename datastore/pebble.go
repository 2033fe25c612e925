package datastore

import (
	"context"
	"errors"
	"iter"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/rhizome-p2p/rhizome/storage"
	"github.com/rhizome-p2p/rhizome/storage/pebblestore"
)

var (
	// ErrNoPebble reports a directory without a Pebble database.
	ErrNoPebble = pebblestore.ErrNoPebble

	// ErrLocked reports a database that is open already.
	ErrLocked = storage.ErrLocked
)

// A PebbleReader reads a datastore of go-ds-pebble, which keeps each key as it is.
type PebbleReader struct{ db *pebblestore.Foreign }

var _ ds.Read = (*PebbleReader)(nil)

// OpenPebble opens the directory of a go-ds-pebble that nobody else has open, to
// be read. Nothing in it changes.
func OpenPebble(dir string) (*PebbleReader, error) {
	db, err := pebblestore.OpenForeign(dir)
	if err != nil {
		return nil, err
	}
	return &PebbleReader{db}, nil
}

// Close closes the database.
func (p *PebbleReader) Close() error { return p.db.Close() }

// Get returns the value of a key, or ds.ErrNotFound.
func (p *PebbleReader) Get(ctx context.Context, key ds.Key) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v, err := p.db.Get(key.Bytes())
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ds.ErrNotFound
	}
	return v, err
}

// Has reports whether a key has a value.
func (p *PebbleReader) Has(ctx context.Context, key ds.Key) (bool, error) {
	return ds.GetBackedHas(ctx, p, key)
}

// GetSize returns the length of the value of a key, or -1 and ds.ErrNotFound.
func (p *PebbleReader) GetSize(ctx context.Context, key ds.Key) (int, error) {
	return ds.GetBackedSize(ctx, p, key)
}

// Query returns the entries that a query asks for, by key where it does not say
// otherwise.
func (p *PebbleReader) Query(ctx context.Context, q query.Query) (query.Results, error) {
	next, stop := iter.Pull2(p.entries(ctx, &q))
	r := query.ResultsFromIterator(q, query.Iterator{
		Next: func() (query.Result, bool) {
			e, err, ok := next()
			return query.Result{Entry: e, Error: err}, ok
		},
		Close: func() error { stop(); return nil },
	})
	return query.NaiveQueryApply(q, r), nil
}

func (p *PebbleReader) entries(ctx context.Context, q *query.Query) iter.Seq2[query.Entry, error] {
	lo := []byte(below(q.Prefix))
	return func(yield func(query.Entry, error) bool) {
		for kv, err := range p.db.Scan(lo, storage.PrefixEnd(lo)) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(query.Entry{}, err)
				return
			}
			e := query.Entry{Key: string(kv.Key), Size: len(kv.Value)}
			if !q.KeysOnly {
				e.Value = append([]byte{}, kv.Value...)
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}
