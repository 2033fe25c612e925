package datastore

import (
	"strings"

	ds "github.com/ipfs/go-datastore"

	"github.com/rhizome-p2p/rhizome/delta"
)

// AppendDocument appends what a datastore of a namespace holds of a key, as the
// document that rhizome import reads, with the end of its line. It refuses what
// Put does.
func AppendDocument(line []byte, namespace, key ds.Key, value []byte) ([]byte, error) {
	names, err := newSpace(namespace)
	if err != nil {
		return line, err
	}
	d := Datastore{space: names}
	name, err := d.admit(key, value)
	if err != nil {
		return line, err
	}
	doc := map[string]any{"id": name, "$value": value}
	if len(value) > registerBytes {
		delete(doc, "$value")
		for p, part := range partsOf(value) {
			at := p.Segments()
			parts, _ := doc[at[0]].(map[string]any)
			if parts == nil {
				parts = make(map[string]any)
				doc[at[0]] = parts
			}
			parts[strings.Join(at[1:], "/")] = part
		}
	}
	return append(delta.AppendAnyJSON(line, doc), '\n'), nil
}
