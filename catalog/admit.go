package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/merge/schema"
)

// Admit says why a local transaction may not be written, if it may not. The
// catalog is that of the state before it; v shows the state with its deltas. What
// the space says of itself is judged delta by delta, each as if those before it
// were there. An error that is not of reading the state names the key and what is
// wrong there.
func (c *Catalog) Admit(v merge.View, deltas []delta.Delta) error {
	bare := len(c.Schemas.Schemas()) == 0 && !c.RequireSchema
	a := admission{Catalog: c}
	var entities []string
	byEntity := make(map[string][]delta.Delta)
	for i := range deltas {
		d := &deltas[i]
		if IsSystem(d.Entity) {
			if err := a.system(d); err != nil {
				return refuse(d, "", err)
			}
			continue
		}
		if bare {
			continue
		}
		if byEntity[d.Entity] == nil {
			entities = append(entities, d.Entity)
		}
		byEntity[d.Entity] = append(byEntity[d.Entity], *d)
	}
	for _, entity := range entities {
		if err := c.admitEntity(v, entity, byEntity[entity]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Catalog) admitEntity(v merge.View, entity string, deltas []delta.Delta) error {
	if s := c.For(entity); s != nil {
		return s.Admit(v, entity, deltas)
	}
	if !c.RequireSchema {
		return nil
	}
	for i := range deltas {
		if deltas[i].Verb.Survives() {
			return refuse(&deltas[i], "", errors.New("no schema is for this entity, and this space requires one"))
		}
	}
	return nil
}

// An admission is one transaction that is judged, with what it has added so far.
type admission struct {
	*Catalog
	schemas   []*schema.Schema
	resolvers map[string]int  // the newest version of each
	ended     map[string]bool // whether that is a retirement
}

func refuse(d *delta.Delta, property string, err error) error {
	return &schema.Violation{Key: delta.Key(d.Entity, d.Path), Property: property, Text: err.Error()}
}

// system checks a write to what the space says of itself.
func (a *admission) system(d *delta.Delta) error {
	if !d.Verb.Survives() {
		return nil
	}
	if d.Verb != delta.Assign {
		return fmt.Errorf("names that begin with %s are the space's own: %v is not for them", Prefix, d.Verb)
	}
	for _, kind := range []struct {
		prefix string
		admit  func(name string, d *delta.Delta) error
	}{
		{SchemaPrefix, a.schema},
		{ResolverPrefix, a.resolver},
		{ModulePrefix, admitPiece},
		{ViewPrefix, a.view},
	} {
		if name, ok := strings.CutPrefix(d.Entity, kind.prefix); ok {
			if err := CheckName(name); err != nil {
				return err
			}
			return kind.admit(name, d)
		}
	}
	if d.Entity == Space && d.Path == RequireSchema && d.Value.Kind() == delta.KindBool {
		return nil
	}
	return fmt.Errorf("names that begin with %s are the space's own, and this is none of them", Prefix)
}

// CheckName says what is wrong with the name of a schema, resolver, view or
// module, if anything.
func CheckName(name string) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}
	if name == "" || len(name) > MaxNameBytes || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("name %.40q: want 1 to %d letters, digits, '.', '_' and '-'", name, MaxNameBytes)
	}
	return nil
}

// text returns an assigned object as JSON.
func text(d *delta.Delta) ([]byte, error) {
	if d.Value.Kind() != delta.KindObject {
		return nil, fmt.Errorf("want one object that is written whole, not %v", d.Value.Kind())
	}
	return delta.AppendJSON(nil, d.Value)
}

func (a *admission) schema(name string, d *delta.Delta) error {
	n, err := versionNumber(d.Path)
	if err != nil {
		return err
	}
	doc, err := text(d)
	if err != nil {
		return err
	}
	next, err := parseSchema(name, version{n, doc})
	if err != nil {
		return err
	}
	if err := schema.Check(slices.Concat(a.versions, a.schemas), next, a.lookup); err != nil {
		return err
	}
	a.schemas = append(a.schemas, next)
	return nil
}

// lookup is Lookup, with the resolvers that the transaction adds.
func (a *admission) lookup(use string, params map[string]any) (merge.Resolver, error) {
	if a.ended[use] {
		return nil, fmt.Errorf("%w %q: no version of it is active", merge.ErrNoResolver, use)
	}
	if a.resolvers[use] > 0 && len(params) == 0 {
		return merge.ResolverFunc(func(*merge.Input) (merge.Output, error) { return merge.Output{Absent: true}, nil }), nil
	}
	return a.Lookup(use, params)
}

// CheckSchema says why a schema may not be added, if it may not.
func (c *Catalog) CheckSchema(next *schema.Schema) error {
	return schema.Check(c.versions, next, c.Lookup)
}

// NextVersion returns the number of a resolver's next version.
func (c *Catalog) NextVersion(name string) int {
	if r := c.named[name]; r != nil && len(r.Versions) > 0 {
		return r.Versions[len(r.Versions)-1].Number + 1
	}
	return 1
}

func (a *admission) resolver(name string, d *delta.Delta) error {
	n, err := versionNumber(d.Path)
	if err != nil {
		return err
	}
	if next := max(a.NextVersion(name), a.resolvers[name]+1); n != next {
		return fmt.Errorf("the next version of %s is %d", name, next)
	}
	if slices.Contains(merge.Builtins(), name) {
		return fmt.Errorf("%s is built in", name)
	}
	doc, err := text(d)
	if err != nil {
		return err
	}
	def, err := ParseDefinition(doc)
	if err != nil {
		return err
	}
	if def.Kind == CEL && a.options.Compile != nil {
		if _, err := a.options.Compile.CEL(def.Expression); err != nil {
			return err
		}
	}
	if a.resolvers == nil {
		a.resolvers, a.ended = make(map[string]int), make(map[string]bool)
	}
	a.resolvers[name], a.ended[name] = n, def.Kind == Retired
	return nil
}

// admitPiece takes a piece of a module. Whether the pieces make the module that
// the name says, shows when all are there.
func admitPiece(_ string, d *delta.Delta) error {
	if d.Value.Kind() != delta.KindBytes || len(d.Value) > PieceBytes+8 {
		return fmt.Errorf("want a byte string of at most %d bytes", PieceBytes)
	}
	if _, err := versionNumber(d.Path); err != nil && d.Path != "/0" {
		return err
	}
	return nil
}

func (a *admission) view(name string, d *delta.Delta) error {
	if d.Path != "" {
		return errors.New("a view is written whole")
	}
	doc, err := text(d)
	if err != nil {
		return err
	}
	view, err := ParseView(name, doc)
	if err != nil {
		return err
	}
	for _, err := range view.lookUp(a.lookup) {
		if !strings.HasPrefix(err.use, GoPrefix) { // another program may bring it
			return err
		}
	}
	return nil
}
