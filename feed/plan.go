package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// A plan is the operations of one transaction, and what is to be reported once it
// is committed.
type plan struct {
	ops    []node.Op
	report Report

	// fresh are the deltas that the transaction writes, and marked those that
	// they negate, by id.
	fresh  map[string]*Delta
	marked map[string]bool
}

// plan looks at what is here and says what the deltas, each with another id, add
// to it.
func (im *Importer) plan(ctx context.Context, items []item) (*plan, error) {
	p := &plan{fresh: make(map[string]*Delta), marked: make(map[string]bool)}
	for i := range items {
		d := &items[i].delta
		held, found, err := im.held(ctx, d.ID)
		switch {
		case err != nil:
			return nil, err
		case !found:
			p.fresh[d.ID] = d
			for _, id := range d.Negated() {
				p.marked[id] = true
			}
		case slices.ContainsFunc(held, func(h Delta) bool { return h.Same(d) }):
			p.report.Skipped++
		default:
			p.tell(&items[i], "/id", "another delta is here under this id: see "+delta.Key(edgeOf(d.ID), deltaPath))
		}
	}
	for i := range items {
		if _, ok := p.fresh[items[i].delta.ID]; !ok {
			continue
		}
		if err := im.write(ctx, p, &items[i]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// tell reports a problem of a delta once the plan is committed.
func (p *plan) tell(it *item, at delta.Path, text string) {
	p.report.add(Problem{it.line, it.delta.ID, at, text})
}

// held returns the deltas under an id. Found without any says that something
// else stands there.
func (im *Importer) held(ctx context.Context, id string) (held []Delta, found bool, err error) {
	r, err := im.node.Read(ctx, edgeOf(id), deltaPath, node.ReadOptions{Raw: true})
	if errors.Is(err, node.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", edgeOf(id), err)
	}
	return deltasOf(&r), true, nil
}

// write plans the edge of a delta and the bags that refer to it.
func (im *Importer) write(ctx context.Context, p *plan, it *item) error {
	d, edge := &it.delta, edgeOf(it.delta.ID)
	p.report.Written++
	p.ops = append(p.ops, node.Op{
		Kind: node.OpPut, Entity: edge, Path: deltaPath, Value: it.value, Whole: true, IfMatch: node.AbsentETag,
	})
	marked, err := im.marked(ctx, d.ID)
	if err != nil {
		return err
	}
	negation := d.negation()
	if marked && negation {
		p.tell(it, "", "was negated before it came, and is a negation itself: that changes nothing, it stands")
	}
	if negation {
		p.report.Negations++
		for i := range d.Pointers {
			if err := im.hide(ctx, p, it, i); err != nil {
				return err
			}
		}
		for _, at := range d.marks() {
			p.ops = append(p.ops, at.bag(node.OpAdd, edge))
		}
	} else if marked || p.marked[d.ID] {
		return nil
	}
	for _, at := range d.members() {
		p.ops = append(p.ops, at.bag(node.OpAdd, edge))
	}
	return nil
}

// marked reports whether a mark says that a delta is negated.
func (im *Importer) marked(ctx context.Context, id string) (bool, error) {
	_, err := im.node.Read(ctx, markOf(id), "", node.ReadOptions{Raw: true})
	if err != nil && !errors.Is(err, node.ErrNotFound) {
		return false, fmt.Errorf("read %s: %w", markOf(id), err)
	}
	return err == nil, nil
}

// hide plans what a delta's i-th pointer hides, if it negates.
func (im *Importer) hide(ctx context.Context, p *plan, it *item, i int) (err error) {
	to := &it.delta.Pointers[i]
	if to.Role != Negates {
		return nil
	}
	var held []Delta
	fresh := p.fresh[to.Entity]
	if fresh != nil {
		held = []Delta{*fresh}
	} else if held, _, err = im.held(ctx, to.Entity); err != nil {
		return err
	}
	if slices.ContainsFunc(held, func(h Delta) bool { return h.negation() }) {
		at := delta.Path("/pointers").Child(strconv.Itoa(i))
		p.tell(it, at, fmt.Sprintf("negates %q, a negation itself: that changes nothing, %q stands", to.Entity, to.Entity))
		return nil
	}
	if fresh != nil {
		return nil // it is written hidden
	}
	for j := range held {
		members := held[j].members()
		if len(members) > maxWindow {
			continue // Close removes them, in transactions of their own
		}
		for _, at := range members {
			p.ops = append(p.ops, at.bag(node.OpRemove, edgeOf(to.Entity)))
		}
	}
	return nil
}
