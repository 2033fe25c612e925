package anomaly

import (
	"errors"
	"testing"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/node"
)

// constraints are the anomalies of what must hold between values.
func constraints() []anomaly {
	return []anomaly{
		{
			name:  "A dangling reference",
			meets: "One node deletes a thing while another refers to it. Merged, the reference leads nowhere.",
			elsewhere: []source{
				{"cr-sqlite", "Foreign keys are allowed in replicated tables and not checked.", "https://vlcn.io/docs/cr-sqlite/constraints"},
				{"PowerSync", "No foreign keys and no cascading deletes on the client.", "https://docs.powersync.com/client-sdks/cascading-delete"},
			},
			verdict: shown,
			here:    "The reference stays and leads nowhere; nobody is kept from deleting. How it reads is for the schema to say: as it is, as null, as if it were not there, or as an error. Written again, the thing is referred to as before.",
			how:     "A node cannot refuse what another one has accepted. References are values of their own, with an index of who refers to what.",
			fails:   "a dangling reference reads as it is where the schema wants null.",
			test:    danglingReference,
		},
		{
			name:  "A unique name taken twice",
			meets: "Two nodes each find a name free and take it. Afterwards both have it.",
			elsewhere: []source{
				{"cr-sqlite", "Replicated tables may not have unique constraints besides the primary key.", "https://vlcn.io/docs/cr-sqlite/constraints"},
			},
			verdict: shown,
			here:    "Both get it, and no node can know better without asking all others. Where the name is the key itself, the two claims are a conflict at one path, which every node shows, and of which all pick the same. Two things that hold the name as a value are no conflict, and nothing shows that they have it both. What must be unique at once needs one node to decide.",
			how:     "`If-Match: absent` is judged by the node that is asked.",
			fails:   "`merge.Fold` has a value take the place of all in its row.",
			test:    uniqueName,
		},
	}
}

const taskSchema = `{
	"name": "task", "version": 1, "entities": ["task/*"],
	"properties": [
		{"id": "by", "path": "/by", "ref": {"to": ["person/*"], "dangling": "null"}},
		{"id": "strict", "path": "/strict", "ref": {"to": ["person/*"], "dangling": "error"}}
	]
}`

func danglingReference(t *testing.T) {
	ctx := t.Context()
	ann := func() map[string]any { return map[string]any{"$ref": "person/ann"} }
	a := openNode(t, rhizome.Options{Dir: t.TempDir(), Create: true, Listen: loopback})
	if _, _, err := a.AddSchema(ctx, []byte(taskSchema)); err != nil {
		t.Fatal(err)
	}
	putNode(t, a, "person/ann", map[string]any{"name": "Ann"})
	dir := t.TempDir()
	b := joined(t, dir, a)
	same(t, a, b)
	closeNode(t, b)
	b = openNode(t, rhizome.Options{Dir: dir, Offline: true})
	putNode(t, b, "task/1", map[string]any{"by": ann(), "strict": ann()})
	putNode(t, b, "note/1", map[string]any{"by": ann()})
	if _, err := a.Commit(ctx, "", []rhizome.Op{{Kind: rhizome.OpRm, Entity: "person/ann"}}); err != nil {
		t.Fatal(err)
	}
	closeNode(t, b)
	b = openNode(t, rhizome.Options{Dir: dir})
	same(t, a, b)
	for _, n := range []*rhizome.Node{a, b} {
		r, err := n.Get(ctx, "task/1", "")
		if err != nil {
			t.Fatal(err)
		}
		doc, _ := r.Value.(map[string]any)
		by, there := doc["by"]
		if _, strict := doc["strict"]; by != nil || !there || strict || len(r.Errors) != 1 || r.Errors[0].Path != "/strict" {
			t.Errorf("%s reads by the schema %v, errors %v", n.ID(), r.Value, r.Errors)
		}
		r, err = n.Get(ctx, "note/1", "/by")
		if err != nil || len(r.Survivors) != 1 {
			t.Fatalf("%+v %v", r, err)
		}
		if to, ok := r.Survivors[0].Value.Ref(); !ok || to != "person/ann" {
			t.Errorf("%s reads without a schema %v", n.ID(), r.Value)
		}
	}
}

func uniqueName(t *testing.T) {
	w, h := newWorld(t, "a", "b")
	a, b := h[0], h[1]
	claim := func(h *host) {
		op := put("name/ann", "/of", "user of "+h.name)
		op.IfMatch = node.AbsentETag
		h.do(op, put("user/"+h.name, "/name", "ann"))
		if _, err := h.try(op); !errors.Is(err, node.ErrPrecondition) {
			t.Errorf("%s gives the name twice: %v", h.name, err)
		}
		w.tick(1000)
	}
	claim(a)
	claim(b)
	w.meet(a, b)
	w.want(`{"of":"user of b"}`, "name/ann", "", a, b)
	w.wantValues([]string{`"user of a"`, `"user of b"`}, true, "name/ann", "/of", a, b)
	for _, u := range []string{"user/a", "user/b"} {
		w.wantValues([]string{`"ann"`}, false, u, "/name", a, b)
	}
}
