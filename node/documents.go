package node

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A document is all rows of one entity, as one scan came upon them: a merge.View
// that looks elsewhere for other entities, to which this one may refer. Its keys
// are valid until the scan goes on.
type document struct {
	entity string
	under  []byte // the prefix of its keys, nil where there is no entity yet
	keys   [][]byte
	rows   [][]merge.Survivor
	others merge.View

	names []byte // what keys share
}

// Row implements merge.View.
func (d *document) Row(key []byte) ([]merge.Survivor, error) {
	if !bytes.HasPrefix(key, d.under) {
		return d.others.Row(key)
	}
	if i, ok := slices.BinarySearchFunc(d.keys, key, bytes.Compare); ok {
		return d.rows[i], nil
	}
	return nil, nil
}

// Rows implements merge.View.
func (d *document) Rows(prefix []byte, f func(key []byte, row []merge.Survivor) error) error {
	if !bytes.HasPrefix(prefix, d.under) {
		return d.others.Rows(prefix, f)
	}
	i, _ := slices.BinarySearchFunc(d.keys, prefix, bytes.Compare)
	for ; i < len(d.keys) && bytes.HasPrefix(d.keys[i], prefix); i++ {
		if err := f(d.keys[i], d.rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) begin(entity string, under []byte) {
	d.entity, d.under = entity, append(d.under[:0], under...)
	d.keys, d.rows, d.names = d.keys[:0], nil, d.names[:0]
}

func (d *document) add(key []byte, row []merge.Survivor) {
	at := len(d.names)
	d.names = append(d.names, key...) // earlier keys may stay where they were
	d.keys = append(d.keys, d.names[at:len(d.names):len(d.names)])
	d.rows = append(d.rows, row)
}

// documents yields the entities with a prefix that come after another, in byte
// order and in one scan, each with all of its rows. What it yields is valid until
// the next.
func (v *rows) documents(ctx context.Context, prefix, after string) iter.Seq2[*document, error] {
	return func(yield func(*document, error) bool) {
		all := v.key(kindState, nil)
		d := &document{others: v}
		for kv, err := range v.r.Scan(v.after(prefix, after), storage.PrefixEnd(all)) {
			if err != nil {
				yield(nil, fmt.Errorf("scan rows: %w", err))
				return
			}
			key := kv.Key[len(all):]
			if d.under == nil || !bytes.HasPrefix(key, d.under) {
				if d.under != nil && !yield(d, nil) {
					return
				}
				entity, n, err := merge.EntityOf(key)
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					yield(nil, err)
					return
				}
				if !strings.HasPrefix(entity, prefix) {
					return
				}
				d.begin(entity, key[:n])
			}
			row, err := merge.ParseRow(bytes.Clone(kv.Value), v.lanes)
			if err != nil {
				yield(nil, err)
				return
			}
			d.add(key, row)
		}
		if d.under != nil {
			yield(d, nil)
		}
	}
}

// after returns where the rows begin of the entities with a prefix that come after
// another.
func (v *rows) after(prefix, after string) []byte {
	if after != "" && after >= prefix {
		return storage.PrefixEnd(v.key(kindState, merge.AppendPrefix(nil, after, "")))
	}
	return v.key(kindState, namePrefix(prefix))
}

// stepsInEntity is how many rows of one entity a list goes over before it seeks
// the next one: a seek costs as much as some dozen steps.
const stepsInEntity = 32

// entities yields the ids of entities with a prefix that come after another, in
// byte order.
func (v *rows) entities(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		all := v.key(kindState, nil)
		for lo := v.after(prefix, after); lo != nil; {
			var under []byte // the prefix of the keys of the entity yielded last
			from, steps := lo, 0
			lo = nil
			for kv, err := range v.r.Scan(from, storage.PrefixEnd(all)) {
				if err != nil {
					yield("", fmt.Errorf("list: %w", err))
					return
				}
				key := kv.Key[len(all):]
				if under != nil && bytes.HasPrefix(key, under) {
					if steps++; steps == stepsInEntity {
						lo = storage.PrefixEnd(append(all, under...))
						break
					}
					continue
				}
				entity, n, err := merge.EntityOf(key)
				if err == nil {
					err = ctx.Err()
				}
				if err == nil && !strings.HasPrefix(entity, prefix) {
					return
				}
				if !yield(entity, err) || err != nil {
					return
				}
				under, steps = append(under[:0], key[:n]...), 0
			}
		}
	}
}
