package feed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// Where the entities of a feed stand. An escaped id never begins with "$", so
// that none meets the others.
const (
	edgePrefix   = "feed/"
	markPrefix   = edgePrefix + "$negated/"
	entityPrefix = edgePrefix + "$entity/"
	hashPrefix   = "$sha256/"

	// system is how names begin that no feed writes to.
	system = "$"
)

// deltaPath is where an edge holds its delta. It is no root: an assignment there
// would kill what may stand beside it.
const deltaPath delta.Path = "/delta"

// edgeOf returns the entity that holds a delta: feed/ and the id, with %, #,
// control characters and a $ in front as %XX. An id that is too long for that
// stands as its SHA-256.
func edgeOf(id string) string { return edgePrefix + escape(id) }

// markOf returns the entity with the marks of a negated delta.
func markOf(id string) string { return markPrefix + escape(id) }

// markedBy returns the edge that the marks of an entity are about.
func markedBy(mark string) string { return edgePrefix + strings.TrimPrefix(mark, markPrefix) }

// entityOf returns the entity that a pointer shows under: the one with the same
// id, unless that cannot be one, or would let a feed write where it must not.
func entityOf(id string) string {
	if delta.CheckEntity(id) != nil || strings.HasPrefix(id, edgePrefix) || strings.HasPrefix(id, system) {
		return entityPrefix + escape(id)
	}
	return id
}

func escape(id string) string {
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		if c == '%' || c == '#' || c < ' ' || c == 0x7f || c == '$' && i == 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() > maxNameBytes {
		sum := sha256.Sum256([]byte(id))
		return hashPrefix + hex.EncodeToString(sum[:])
	}
	return b.String()
}

// A place is a bag that refers to an edge.
type place struct {
	entity string
	path   delta.Path
}

// members returns the bags under whose entities a delta shows, each once.
func (d *Delta) members() (all []place) {
	for i := range d.Pointers {
		p := &d.Pointers[i]
		if p.Context == "" || p.Role == Negates {
			continue
		}
		at := place{entityOf(p.Entity), delta.Path("").Child(p.Context)}
		if !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	return all
}

// marks returns the bags that say what a delta negates.
func (d *Delta) marks() (all []place) {
	for _, id := range d.Negated() {
		all = append(all, place{entity: markOf(id)})
	}
	return all
}

// negation reports whether a delta negates another.
func (d *Delta) negation() bool {
	return slices.ContainsFunc(d.Pointers, func(p Pointer) bool { return p.Role == Negates })
}

// bag returns the operation that puts a reference to the edge into a bag, or
// takes it out.
func (at place) bag(kind node.OpKind, edge string) node.Op {
	return node.Op{Kind: kind, Entity: at.entity, Path: at.path, Value: delta.Ref(edge)}
}

// edgeDelta returns the delta that a survivor holds, if it is that of an edge.
func edgeDelta(entity string, s *node.Survivor) (d Delta, ok bool) {
	if s.Path != deltaPath || s.Verb != delta.Assign || !strings.HasPrefix(entity, edgePrefix) {
		return d, false
	}
	x, err := s.Value.Any()
	if err != nil {
		return d, false
	}
	d, err = deltaOf(x)
	return d, err == nil && edgeOf(d.ID) == entity
}

// deltasOf returns the deltas that a reading of an edge holds: one, or more
// where different ones were written under one id at once.
func deltasOf(r *node.Reading) (out []Delta) {
	for i := range r.Survivors {
		d, ok := edgeDelta(r.Entity, &r.Survivors[i])
		if ok && !slices.ContainsFunc(out, func(o Delta) bool { return o.Same(&d) }) {
			out = append(out, d)
		}
	}
	return out
}
