package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// Export yields as deltas what the entities with a prefix hold: of an edge the
// delta that was imported, as it came, and of whatever belongs to no feed one for
// each survivor, as it stands: what schemas make of it is left out, and so are
// names that begin with "$". It ends with the first error of yield.
//
// The order is that of the entities' bytes, and so the same on nodes that hold
// the same; memory is bounded. Whoever needs the order of time sorts.
func Export(ctx context.Context, from Source, prefix string, yield func(Delta) error) error {
	x := exporter{from: from, edges: make(map[string][]place)}
	for r, err := range from.Export(ctx, prefix) {
		if err != nil {
			return err
		}
		if strings.HasPrefix(r.Entity, system) {
			continue
		}
		if r.Rules != "" {
			// A schema has moved something. A dot names its survivor for ever, and so
			// goes with what stands.
			r, err = from.Read(ctx, r.Entity, "", node.ReadOptions{Raw: true})
			if errors.Is(err, node.ErrNotFound) {
				continue // it went meanwhile
			}
			if err != nil {
				return fmt.Errorf("export: %w", err)
			}
		}
		if err := x.entity(ctx, &r, yield); err != nil {
			return err
		}
	}
	return nil
}

type exporter struct {
	from Source
	// edges are the bags that refer to edges, by edge: those looked up last.
	edges map[string][]place
}

func (x *exporter) entity(ctx context.Context, r *node.Reading, yield func(Delta) error) error {
	for _, d := range deltasOf(r) {
		if err := yield(d); err != nil {
			return err
		}
	}
	for i := range r.Survivors {
		s := &r.Survivors[i]
		if _, ok := edgeDelta(r.Entity, s); ok {
			continue
		}
		follows, err := x.follows(ctx, r.Entity, s)
		if err != nil {
			return err
		}
		if follows {
			continue
		}
		d, err := nativeDelta(r.Entity, s)
		if err != nil {
			return err
		}
		if err := yield(d); err != nil {
			return err
		}
	}
	return nil
}

// follows reports whether a survivor is a reference to an edge that follows from
// the delta there.
func (x *exporter) follows(ctx context.Context, entity string, s *node.Survivor) (bool, error) {
	edge, ok := s.Value.Ref()
	if !ok || s.Verb != delta.Add || !strings.HasPrefix(edge, edgePrefix) {
		return false, nil
	}
	all, known := x.edges[edge]
	if !known {
		r, err := x.from.Read(ctx, edge, deltaPath, node.ReadOptions{Raw: true})
		if err != nil && !errors.Is(err, node.ErrNotFound) {
			return false, fmt.Errorf("read %s: %w", edge, err)
		}
		for _, d := range deltasOf(&r) {
			all = append(append(all, d.members()...), d.marks()...)
		}
		if len(x.edges) == maxEdges {
			clear(x.edges)
		}
		x.edges[edge] = all
	}
	return slices.Contains(all, place{entity, s.Path}), nil
}
