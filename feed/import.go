package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// An Importer writes the deltas of a feed into a node. They are gathered, and
// committed by creator in transactions of some hundreds, each delta whole or not
// at all. An import can be run again: what is here is skipped.
//
// An error of its methods is the node's or the context's and ends the import;
// what was committed before it is in. What is wrong with a delta goes into the
// report, and the rest goes on.
type Importer struct {
	node   Node
	report Report

	// What is read but not committed, in the order of the lines.
	window []item
	bytes  int
	ids    map[string]bool
	// sorted is how many problems are those of lines that were committed.
	sorted int

	// own says of lanes whether they are of this space.
	own map[clock.LaneID]bool
}

// An item is a delta that waits to be committed.
type item struct {
	line  int
	delta Delta
	value delta.Value
}

// NewImporter returns an importer into a node.
func NewImporter(n Node) *Importer {
	return &Importer{node: n, ids: make(map[string]bool), own: make(map[clock.LaneID]bool)}
}

// Report returns how far the import got.
func (im *Importer) Report() Report { return im.report }

// Import reads a whole feed and closes the import.
func Import(ctx context.Context, n Node, r io.Reader) (Report, error) {
	im, in := NewImporter(n), NewReader(r)
	for {
		line, text, err := in.Next()
		if err == nil || errors.As(err, new(*ShapeError)) {
			err = im.AddText(ctx, line, text, err)
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		err = errors.Join(err, im.Close(ctx)) // what came before is good
		return im.Report(), err
	}
}

// AddText adds a delta by its text, or what Reader.Next says in the place of one.
func (im *Importer) AddText(ctx context.Context, line int, text []byte, err error) error {
	var d Delta
	if err == nil {
		d, err = Parse(text)
	}
	if err != nil {
		im.report.Read++
		im.report.add(problemOf(line, "", err))
		return nil
	}
	return im.Add(ctx, line, d)
}

// Add adds a delta that stood on a line.
func (im *Importer) Add(ctx context.Context, line int, d Delta) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	it := item{line: line, delta: d}
	err := d.check()
	if err == nil {
		it.value, err = delta.ValueOf(d.value())
	}
	if err != nil {
		im.report.Read++
		im.report.add(problemOf(line, d.ID, err))
		return nil
	}
	native, err := im.native(ctx, d.ID)
	if err != nil {
		return err
	}
	if native {
		im.report.Read++
		im.report.Skipped++
		return nil
	}
	// Each id stands once in a window, so that the first line of two wins.
	if im.ids[d.ID] || len(im.window) == maxWindow || im.bytes+len(it.value) > maxWindowBytes {
		if err := im.flush(ctx); err != nil {
			return err
		}
	}
	im.report.Read++
	im.window, im.bytes, im.ids[d.ID] = append(im.window, it), im.bytes+len(it.value), true
	return nil
}

// native reports whether an id is the dot of a delta of this space: then Export
// made the delta, of what is here or was overwritten since.
func (im *Importer) native(ctx context.Context, id string) (bool, error) {
	dot, err := clock.ParseDot(id)
	if err != nil {
		return false, nil //nolint:nilerr // an id of whatever else
	}
	own, known := im.own[dot.Lane]
	if known {
		return own, nil
	}
	_, err = im.node.Log(ctx, dot.Lane.String(), "", 1)
	if err != nil && !errors.Is(err, node.ErrNotFound) {
		return false, fmt.Errorf("look for lane %v: %w", dot.Lane, err)
	}
	im.own[dot.Lane] = err == nil
	return err == nil, nil
}

// Close commits what is left, and hides what negations that came from elsewhere
// hide. The report is complete then.
func (im *Importer) Close(ctx context.Context) error {
	if err := im.flush(ctx); err != nil {
		return err
	}
	n, err := Reconcile(ctx, im.node)
	im.report.Changes += n
	return err
}

// flush commits the window, creator by creator. Each transaction is planned on
// what those before it wrote, so that their order does not matter.
func (im *Importer) flush(ctx context.Context) error {
	window := im.window
	im.window, im.bytes = nil, 0
	clear(im.ids)
	slices.SortStableFunc(window, func(a, b item) int { return cmp.Compare(a.delta.Creator, b.delta.Creator) })
	for len(window) > 0 {
		n := 1
		for n < len(window) && window[n].delta.Creator == window[0].delta.Creator {
			n++
		}
		if err := im.commit(ctx, window[:n], 1); err != nil {
			return err
		}
		window = window[n:]
	}
	slices.SortStableFunc(im.report.Problems[im.sorted:], func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	im.sorted = len(im.report.Problems)
	return nil
}

// commit writes the deltas of one creator as one transaction, or, where they are
// too much for one or somebody wrote one of them meanwhile, half by half.
func (im *Importer) commit(ctx context.Context, items []item, try int) error {
	p, err := im.plan(ctx, items)
	if err != nil {
		return err
	}
	var receipt node.Receipt
	if len(p.ops) > 0 {
		receipt, err = im.node.Commit(ctx, items[0].delta.Creator, p.ops)
	}
	switch raced := errors.Is(err, node.ErrPrecondition); {
	case err == nil:
		p.report.Changes = uint64(receipt.Deltas)
		im.settle(&p.report)
		return nil
	case !raced && !errors.Is(err, node.ErrInvalid):
		return fmt.Errorf("lines %d to %d: %w", items[0].line, items[len(items)-1].line, err)
	case len(items) > 1:
		half := len(items) / 2
		if err := im.commit(ctx, items[:half], try); err != nil {
			return err
		}
		return im.commit(ctx, items[half:], try)
	case raced && try < maxTries:
		return im.commit(ctx, items, try+1)
	}
	im.report.add(problemOf(items[0].line, items[0].delta.ID, err))
	return nil
}

// settle adds what one transaction came to.
func (im *Importer) settle(r *Report) {
	im.report.Written += r.Written
	im.report.Skipped += r.Skipped
	im.report.Negations += r.Negations
	im.report.Changes += r.Changes
	for _, p := range r.Problems {
		im.report.add(p)
	}
}
