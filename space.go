package rhizome

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/merge/schema"
)

// Catalog returns what the space says of itself: its schemas, resolvers and
// views, compiled. It does not change; a later call may return another one.
func (n *Node) Catalog() *catalog.Catalog { return n.core.Catalog() }

// AddSchema adds a version of a schema: a JSON document of the form that package
// merge/schema has. It replicates like all else, and reads go by it as soon as
// it is there. An error names all that is wrong with it.
func (n *Node) AddSchema(ctx context.Context, doc []byte) (*schema.Schema, Receipt, error) {
	s, err := schema.Parse(doc)
	if err != nil {
		return nil, Receipt{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	x, err := delta.ParseJSON(s.Canonical())
	if err != nil {
		return nil, Receipt{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r, err := n.putWhole(ctx, catalog.SchemaPrefix+s.Name, catalog.VersionPath(s.Version), x)
	return s, r, err
}

// CheckSchema says what is wrong with a schema as the next version of its name,
// and writes nothing.
func (n *Node) CheckSchema(_ context.Context, doc []byte) (*schema.Schema, error) {
	s, err := schema.Parse(doc)
	if err == nil {
		err = n.Catalog().CheckSchema(s)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return s, nil
}

// RequireSchema says whether writes to entities without a schema are refused,
// on every node of the space.
func (n *Node) RequireSchema(ctx context.Context, on bool) (Receipt, error) {
	return n.putWhole(ctx, catalog.Space, catalog.RequireSchema, on)
}

func (n *Node) putWhole(ctx context.Context, entity string, p delta.Path, x any) (Receipt, error) {
	return n.Commit(ctx, "", []Op{{Kind: OpPut, Entity: entity, Path: p, Value: x, Whole: true}})
}

// drop drops an entity that must be there.
func (n *Node) drop(ctx context.Context, entity string) (Receipt, error) {
	return n.Commit(ctx, "", []Op{{Kind: OpRm, Entity: entity, IfMatch: "*"}})
}

// RemoveSchema drops all versions of a schema. What was written by it stays, and
// reads by the verbs alone.
func (n *Node) RemoveSchema(ctx context.Context, name string) (Receipt, error) {
	return n.removeNamed(ctx, "schema", catalog.SchemaPrefix, name)
}

// RemoveView drops a view.
func (n *Node) RemoveView(ctx context.Context, name string) (Receipt, error) {
	return n.removeNamed(ctx, "view", catalog.ViewPrefix, name)
}

func (n *Node) removeNamed(ctx context.Context, kind, prefix, name string) (Receipt, error) {
	if err := catalog.CheckName(name); err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r, err := n.drop(ctx, prefix+name)
	if errors.Is(err, ErrPrecondition) {
		return r, fmt.Errorf("%w: %s %s", ErrNotFound, kind, name)
	}
	return r, err
}

// AddView adds a view, or replaces it: a JSON document of the form of
// catalog.View.
func (n *Node) AddView(ctx context.Context, name string, doc []byte) (Receipt, error) {
	if _, err := catalog.ParseView(name, doc); err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	x, err := delta.ParseJSON(doc)
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return n.putWhole(ctx, catalog.ViewPrefix+name, "", x)
}

// ShowView returns what a view shows, in the order of entities, those after one:
// at most limit or 1,000 of them; more says that there are others. At is a cut,
// as in ReadOptions.
func (n *Node) ShowView(ctx context.Context, name, after string, limit int, at string) (items []ViewItem, more bool, err error) {
	return n.core.ShowView(ctx, name, after, limit, at)
}

// WatchView yields what a view shows, then an item that is Ready, and then what
// changes in it, until ctx ends. Of an entity that changes faster than it is
// taken, the newest is yielded. It ends with ErrNotFound when the view is
// removed.
func (n *Node) WatchView(ctx context.Context, name string) iter.Seq2[ViewItem, error] {
	return n.core.WatchView(ctx, name)
}

// AddCEL adds a version of a resolver that is a CEL expression (package plugin),
// and returns its number.
func (n *Node) AddCEL(ctx context.Context, name, description, expression string) (version int, r Receipt, err error) {
	if _, err := n.plugins.CEL(expression); err != nil {
		return 0, r, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return n.addResolver(ctx, name, map[string]any{
		"kind": string(catalog.CEL), "description": description, "expression": expression,
	})
}

// AddWASM adds a version of a resolver that is a WebAssembly module (package
// plugin), and returns its number. The module travels in pieces; those that the
// space holds already are not written again.
func (n *Node) AddWASM(ctx context.Context, name, description string, module []byte) (version int, r Receipt, err error) {
	if _, err := n.plugins.WASM(module); err != nil {
		return 0, r, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	hash, pieces := catalog.SplitModule(module)
	for i := 0; i < len(pieces); i += catalog.PiecesPerTransaction {
		var ops []Op
		for j := i; j < min(i+catalog.PiecesPerTransaction, len(pieces)); j++ {
			x, err := pieces[j].Any()
			if err != nil {
				return 0, r, err
			}
			ops = append(ops, Op{
				Kind: OpPut, Entity: catalog.ModulePrefix + hash, Path: delta.Path(fmt.Sprintf("/%d", j)), Value: x, SkipEqual: true,
			})
		}
		if _, err := n.Commit(ctx, "", ops); err != nil {
			return 0, r, err
		}
	}
	return n.addResolver(ctx, name, map[string]any{
		"kind": string(catalog.WASM), "description": description, "module": hash, "size": int64(len(module)),
	})
}

// RetireResolver ends a resolver: schemas that name it show an error in its
// place, until another version is added.
func (n *Node) RetireResolver(ctx context.Context, name string) (version int, r Receipt, err error) {
	if n.Catalog().NextVersion(name) == 1 {
		return 0, r, fmt.Errorf("%w: resolver %s", ErrNotFound, name)
	}
	return n.addResolver(ctx, name, map[string]any{"kind": string(catalog.Retired)})
}

func (n *Node) addResolver(ctx context.Context, name string, def map[string]any) (version int, r Receipt, err error) {
	if def["description"] == "" {
		delete(def, "description")
	}
	if err := catalog.CheckName(name); err != nil {
		return 0, r, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	version = n.Catalog().NextVersion(name)
	r, err = n.putWhole(ctx, catalog.ResolverPrefix+name, catalog.VersionPath(version), def)
	return version, r, err
}

// Register brings a resolver of the program, which schemas and views name with
// the prefix "go:", or puts it in the place of the one of that name; nil retires
// it. When it returns, reads go by it; none fails meanwhile. It does not
// replicate.
func (n *Node) Register(name string, r merge.Resolver) error { return n.core.Register(name, r) }

// Explain says why a key reads as it does: the survivors, the rule of each
// property and what it had to go by, and what was killed since the horizon, by
// whom. Of the options it takes View and Raw.
func (n *Node) Explain(ctx context.Context, entity string, p delta.Path, o ReadOptions) (Explanation, error) {
	return n.core.Explain(ctx, entity, p, o)
}

// ReadRange reads the entities with a prefix that come after another, in byte
// order: at most limit or 1,000 of them, and about 8 MiB; more says that there are
// others. Of a view it reads those that are part of it.
func (n *Node) ReadRange(ctx context.Context, prefix, after string, limit int, o ReadOptions) (read []KeyRead, more bool, err error) {
	return n.core.ReadRange(ctx, prefix, after, limit, o)
}

// Scan yields what ReadRange reads, without a bound and from one snapshot, which
// is held until it ends; Close of the node waits for that.
func (n *Node) Scan(ctx context.Context, prefix, after string, o ReadOptions) iter.Seq2[Reading, error] {
	return n.core.Scan(ctx, prefix, after, o)
}

// GetMany reads many keys at once, from one snapshot, in their order: no more than
// 64 MiB of values.
func (n *Node) GetMany(ctx context.Context, keys []Key, o ReadOptions) ([]KeyRead, error) {
	return n.core.GetMany(ctx, keys, o)
}
