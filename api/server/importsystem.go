package server

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
)

// system commits a document of what the space says of itself: schemas, resolvers,
// modules, views, settings. What it says already is not written again.
func (im *importer) system(line int, at uint64, d *api.Document) error {
	if err := im.flush(); err != nil {
		return err
	}
	if !d.HasValue || len(d.Bags)+len(d.Counters)+len(d.Ballots) > 0 {
		return &lineError{line, api.Problemf(api.CodeValidation, "%s: want members alone", d.ID)}
	}
	ops := systemOps(d)
	if n := len(ops) - 1; n >= 0 && strings.HasPrefix(d.ID, catalog.ResolverPrefix) && retires(ops[n].Value) {
		im.retired = append(im.retired, ops[n])
		ops = ops[:n]
	}
	each := len(ops)
	if strings.HasPrefix(d.ID, catalog.ModulePrefix) {
		each = catalog.PiecesPerTransaction // a module is no use until it is whole
	}
	for part := range slices.Chunk(ops, max(each, 1)) {
		if err := im.write(im.creator, part); err != nil {
			if api.ProblemOf(err).Code == api.CodeValidation {
				err = &lineError{line, err}
			}
			return err
		}
	}
	im.progress.Docs++
	im.progress.Lines, im.progress.Bytes = uint64(line), at
	im.tell()
	return nil
}

// retires reports whether a version of a resolver ends it.
func retires(x any) bool {
	def, ok := x.(map[string]any)
	return ok && def["kind"] == string(catalog.Retired)
}

// retire ends the resolvers that are ended. Until then schemas may name them, as
// earlier versions did.
func (im *importer) retire() error {
	ops := im.retired
	im.retired = nil
	for part := range slices.Chunk(ops, maxBatchDocs) {
		if err := im.write(im.creator, part); err != nil {
			return fmt.Errorf("retire resolvers: %w", err)
		}
	}
	return nil
}

// systemOps returns what writes a document of the space's own: a view is one
// object, and of all others each member is, those with numbers in their order.
func systemOps(d *api.Document) []rhizome.Op {
	put := func(p delta.Path, x any) rhizome.Op {
		return rhizome.Op{Kind: rhizome.OpPut, Entity: d.ID, Path: p, Value: x, Whole: true, SkipEqual: true}
	}
	members, ok := d.Value.(map[string]any)
	if !ok || strings.HasPrefix(d.ID, catalog.ViewPrefix) {
		return []rhizome.Op{put("", d.Value)}
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		i, _ := strconv.Atoi(a) // what is no number comes first
		j, _ := strconv.Atoi(b)
		return cmp.Or(cmp.Compare(i, j), cmp.Compare(a, b))
	})
	ops := make([]rhizome.Op, len(names))
	for i, name := range names {
		ops[i] = put(delta.Path("").Child(name), members[name])
	}
	return ops
}
