package workload

import (
	"fmt"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/node"
	"github.com/rhizome-p2p/rhizome/simnet"
)

// Schemas writes documents, and every now and then another version of the schema
// that they have or of the resolver that it names: so hosts that are apart hold
// different versions, and add the same one twice. A version renames, splits and
// retypes what those before it wrote.
type Schemas struct{}

// Act implements Workload.
func (Schemas) Act(w simnet.Writer) ([][]node.Op, time.Duration) {
	r := w.Rand
	wait := time.Duration(r.ExpFloat64() * float64(2*time.Second))
	switch r.IntN(20) {
	case 0:
		return [][]node.Op{{schemaOp(w)}}, wait
	case 1:
		return [][]node.Op{{resolverOp(w)}}, wait
	}
	var ops []node.Op
	for range 1 + r.IntN(3) {
		op := node.Op{Kind: node.OpPut, Entity: fmt.Sprintf("doc/%d", r.IntN(6)), Path: docPaths[r.IntN(len(docPaths))]}
		switch r.IntN(6) {
		case 0:
			op.Kind, op.Path = node.OpRm, ""
		case 1:
			op.Kind, op.Path, op.Value = node.OpAdd, "/bag", int64(r.IntN(4))
		case 2:
			op.Value = fmt.Sprintf("%d %s", r.IntN(100), w.Name())
		default:
			op.Value = int64(r.IntN(100))
		}
		ops = append(ops, op)
	}
	return [][]node.Op{ops}, wait
}

// docPaths are what the versions call the properties of a document.
var docPaths = []delta.Path{"/v1", "/v2", "/v3", "/v4", "/first", "/n"}

// versions counts the versions that an entity has on a writer's host.
func versions(w simnet.Writer, entity string) int {
	r, _, err := merge.Read(w.Replica().View(), entity, "")
	if err != nil {
		return 0
	}
	return len(r.Properties)
}

// schemaOp adds the next version, which has a name of its own for the value, and
// moves to it what the version before wrote.
func schemaOp(w simnet.Writer) node.Op {
	n := versions(w, catalog.SchemaPrefix+"doc") + 1
	at := fmt.Sprintf("/v%d", n)
	prop := func(id, path string, more map[string]any) map[string]any {
		out := map[string]any{"id": id, "path": path}
		for k, v := range more { // into a map: the order does not matter
			out[k] = v
		}
		return out
	}
	doc := map[string]any{
		"name": "doc", "version": int64(n), "entities": []any{"doc/*"},
		"properties": []any{
			prop("value", at, map[string]any{"default": int64(w.Rand.IntN(3))}),
			prop("bag", "/bag", map[string]any{"verb": "bag", "resolver": []any{"max", "sum", "set"}[w.Rand.IntN(3)]}),
			prop("first", "/first", nil),
			prop("n", "/n", map[string]any{"type": map[string]any{"type": "integer"}}),
			prop("twice", "/twice", map[string]any{
				"computed": true, "resolver": "twice", "depends": []any{"bag", map[string]any{"id": "n", "optional": true}},
			}),
		},
	}
	if n > 1 {
		before := fmt.Sprintf("/v%d", n-1)
		doc["migrate"] = []any{[]map[string]any{
			{"rename": map[string]any{"from": before, "to": at}},
			{"split": map[string]any{"from": before, "to": []any{at, "/first"}, "separator": " "}},
			{"retype": map[string]any{"path": "/n", "to": "integer"}},
		}[w.Rand.IntN(3)]}
	}
	return node.Op{Kind: node.OpPut, Entity: catalog.SchemaPrefix + "doc", Path: catalog.VersionPath(n), Value: doc, Whole: true}
}

// resolverOp adds another version of the resolver: each has a factor.
func resolverOp(w simnet.Writer) node.Op {
	n := versions(w, catalog.ResolverPrefix+"twice") + 1
	def := map[string]any{"kind": "cel", "expression": fmt.Sprintf("%d", w.Rand.IntN(5))}
	if w.Rand.IntN(6) == 0 {
		def = map[string]any{"kind": "retired"}
	}
	return node.Op{Kind: node.OpPut, Entity: catalog.ResolverPrefix + "twice", Path: catalog.VersionPath(n), Value: def, Whole: true}
}

// factors compiles what resolverOp wrote: no more than a number to multiply by.
type factors struct{}

// CEL implements catalog.Compiler.
func (factors) CEL(expression string) (merge.Resolver, error) {
	var factor int64
	if _, err := fmt.Sscan(expression, &factor); err != nil {
		return nil, err
	}
	return merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
		n, ok := in.Deps["bag"].(int64)
		if !ok {
			return merge.Output{}, merge.Failf(merge.ErrorFailed, "bag is no number")
		}
		return merge.Output{Value: factor * n}, nil
	}), nil
}

// WASM implements catalog.Compiler.
func (factors) WASM([]byte) (merge.Resolver, error) { return nil, fmt.Errorf("no modules here") }

// SameReads holds that hosts with one digest read every document in the same
// way, by the newest schema that they hold: that what a read shows is a function
// of the state.
func SameReads(w *simnet.World) error {
	var first []string
	var sum digest.Sum
	name := ""
	for _, h := range w.Hosts() {
		if h.Replica() == nil || name != "" && h.Replica().Digest() != sum {
			continue
		}
		got, err := reads(h)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name(), err)
		}
		if name == "" {
			first, name, sum = got, h.Name(), h.Replica().Digest()
		}
		for i := range min(len(got), len(first)) {
			if got[i] != first[i] {
				return fmt.Errorf("%s reads %s, %s reads %s", h.Name(), got[i], name, first[i])
			}
		}
		if len(got) != len(first) {
			return fmt.Errorf("%s reads %d documents, %s %d", h.Name(), len(got), name, len(first))
		}
	}
	return nil
}

func reads(h simnet.Host) ([]string, error) {
	view := h.Replica().View()
	c, err := catalog.Load(view, catalog.Options{Compile: factors{}})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range c.Problems() {
		out = append(out, p.Key+": "+p.Text)
	}
	var entities []string
	err = view.Rows([]byte("doc/"), func(key []byte, _ []merge.Survivor) error {
		entity, _, err := merge.EntityOf(key)
		entities = append(entities, entity)
		return err
	})
	for _, entity := range slices.Compact(entities) {
		if err != nil {
			break
		}
		var r merge.Reading
		r, _, err = merge.ReadWith(view, entity, "", c.Rules(entity))
		out = append(out, fmt.Sprintf("%s by %q as %s with %v", entity, r.Rules, delta.AppendAnyJSON(nil, r.Value), r.Errors))
	}
	return out, err
}
