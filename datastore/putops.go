package datastore

import (
	ds "github.com/ipfs/go-datastore"

	"github.com/rhizome-p2p/rhizome"
)

// PutOps returns the operations of one transaction that make a value all that a
// datastore of a namespace holds of a key: a put of the value or, of one that no
// single register can hold, a removal and the puts of its parts. It refuses what
// Put does. For programs that reach a node by its API.
func PutOps(namespace, key ds.Key, value []byte) ([]rhizome.Op, error) {
	names, err := newSpace(namespace)
	if err != nil {
		return nil, err
	}
	d := Datastore{space: names}
	name, err := d.admit(key, value)
	if err != nil {
		return nil, err
	}
	return putOps(name, value), nil
}
