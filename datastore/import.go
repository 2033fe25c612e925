package datastore

import (
	"bytes"
	"context"
	"fmt"

	ds "github.com/ipfs/go-datastore"

	"github.com/rhizome-p2p/rhizome"
)

// An ImportReport tells what an import did, or has done so far.
type ImportReport struct {
	Read    uint64 // keys
	Written uint64 // of them
	Bytes   uint64 // of the values read
	// Refused are the first keys that do not fit, and why: too long, or with too
	// large a value. Unlisted is how many more there are.
	Refused  []error
	Unlisted uint64
}

const (
	// maxRefused is how many keys an import lists: as many as a person reads.
	maxRefused = 100

	// importKeys is how many keys an import compares and writes at once: of the
	// largest values, what one read of many keys may take.
	importKeys = 60
)

// ImportCRDT writes what a store of go-ds-crdt shows into a datastore: the store
// in a namespace of base, which is only read. What the datastore holds already is
// not written again, so an import that was interrupted can be run again. Keys that
// do not fit are left out and reported. Progress, if not nil, is called after
// each step.
//
// An import overwrites: it is for before the datastore is used, or for keys that
// nobody has changed there since.
func ImportCRDT(ctx context.Context, base ds.Read, namespace ds.Key, to *Datastore, progress func(ImportReport)) (ImportReport, error) {
	var r ImportReport
	from, err := OpenCRDT(ctx, base, namespace)
	if err != nil {
		return r, err
	}
	var step []write
	size := 0
	flush := func() error {
		n, err := to.writeNew(ctx, step)
		r.Written += n
		step, size = step[:0], 0
		if err == nil && progress != nil {
			progress(r)
		}
		return err
	}
	for e, err := range from.Values(ctx) {
		if err != nil {
			return r, err
		}
		r.Read++
		r.Bytes += uint64(e.Size)
		name, err := to.admit(ds.NewKey(e.Key), e.Value)
		if err != nil {
			if len(r.Refused) < maxRefused {
				r.Refused = append(r.Refused, err)
			} else {
				r.Unlisted++
			}
			continue
		}
		step = append(step, write{name: name, value: bytes.Clone(e.Value)})
		if size += e.Size; len(step) == importKeys || size > batchBytes {
			if err := flush(); err != nil {
				return r, err
			}
		}
	}
	return r, flush()
}

// writeNew writes the values that are not there already, and returns how many.
func (d *Datastore) writeNew(ctx context.Context, writes []write) (n uint64, err error) {
	if len(writes) == 0 {
		return 0, nil
	}
	if err := d.check(ctx); err != nil {
		return 0, err
	}
	keys := make([]rhizome.Key, len(writes))
	for i := range writes {
		keys[i].Entity = writes[i].name
	}
	read, err := d.node.GetMany(ctx, keys, rhizome.ReadOptions{Raw: true, NoCIDs: true})
	if err != nil {
		return 0, fmt.Errorf("datastore: %w", err)
	}
	var news []write
	for i, w := range writes {
		f, ok, err := pick(read[i].Reading.Survivors)
		if err != nil {
			return 0, err
		}
		if !ok || !bytes.Equal(f.value, w.value) {
			news = append(news, w)
		}
	}
	for len(news) > 0 {
		k, err := d.writeSome(ctx, news)
		if err != nil {
			return n, err
		}
		n += uint64(k)
		news = news[k:]
	}
	return n, nil
}
