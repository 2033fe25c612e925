// Package catalog reads what a space says of itself: its schemas, resolvers,
// views and settings. They are entities like all others, replicated with the
// log; their names begin with "$".
//
//	$schema/NAME#/N     version N of a schema: one object, as package schema has it
//	$resolver/NAME#/N   version N of a resolver: one object, see Definition
//	$module/HASH#/I     the I-th piece of a WebAssembly module, named by its SHA-256
//	$view/NAME          a view: one object, see View
//	$space#/require_schema  true: writes to entities without a schema are refused
//
// A Catalog is what a state comes to: compiled, immutable, and a function of
// that state and of the Go functions that the program registered. Whatever the
// state holds, Load makes a catalog of it: what cannot be used is in Problems,
// and the newest version that can be is active. So nodes that hold the same
// state read it in the same way, whatever they went through to get there.
//
// # Boundary
//
// Admit says whether a local transaction may be written. It judges nothing that
// came from peers: what one honest node accepts, every honest node accepts.
package catalog

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/merge/schema"
)

// Names of entities that a space keeps about itself.
const (
	Prefix         = "$"
	SchemaPrefix   = "$schema/"
	ResolverPrefix = "$resolver/"
	ModulePrefix   = "$module/"
	ViewPrefix     = "$view/"
	Space          = "$space"

	// RequireSchema is the path in Space that makes schemas required.
	RequireSchema delta.Path = "/require_schema"
)

// IsSystem reports whether an entity is one that a space keeps about itself.
func IsSystem(entity string) bool { return strings.HasPrefix(entity, Prefix) }

// VersionPath returns where a version stands in its entity.
func VersionPath(n int) delta.Path { return delta.Path("/" + strconv.Itoa(n)) }

// Options are what a catalog is made with beside the state.
type Options struct {
	// Author tells who wrote a lane; nil where nobody knows.
	Author func(clock.LaneID) string
	// Compile makes resolvers of what the log carries; nil can make none.
	Compile Compiler
	// Before is an earlier catalog, nil for none. What it has compiled is not
	// compiled again.
	Before *Catalog
	// Shallow takes modules for whole without reading them: for a catalog that
	// nothing is read by.
	Shallow bool
	// Go are resolvers that the program brings, without the prefix GoPrefix.
	Go map[string]Own
}

// An Own is a resolver of the program.
type Own struct {
	// Version counts those that had the name.
	Version int
	// Resolver is nil for one that was retired.
	Resolver merge.Resolver
}

// GoPrefix marks in a schema a resolver that the program brings. It does not
// replicate: a node of a program without it shows an error in its place.
const GoPrefix = "go:"

// A Catalog is what a space says of itself. It does not change.
type Catalog struct {
	Schemas *schema.Catalog
	// Resolvers are those that the log carries and those of the program, by name.
	Resolvers []Resolver
	// RequireSchema says that writes to entities without a schema are refused.
	RequireSchema bool

	versions []*schema.Schema
	options  Options
	// sum is that of all schemas and resolvers that are in force.
	sum      [sha256.Size]byte
	made     map[Definition]merge.Resolver
	named    map[string]*Resolver
	views    []*View
	problems []Problem
}

// A Problem is something in the state that cannot be used.
type Problem struct {
	Key  string
	Text string
	// InForce says that what stands there is in force all the same: a property of
	// it has an error.
	InForce bool
}

func (c *Catalog) problem(entity string, p delta.Path, err error) {
	c.problems = append(c.problems, Problem{delta.Key(entity, p), err.Error(), false})
}

// Problems returns what cannot be used, by key.
func (c *Catalog) Problems() []Problem { return c.problems }

// Load makes a catalog of a state. An error is one of reading the state.
func Load(v merge.View, o Options) (*Catalog, error) {
	c := &Catalog{options: o, named: make(map[string]*Resolver), made: make(map[Definition]merge.Resolver)}
	defer func() { c.options.Before = nil }()
	for _, load := range []func(merge.View) error{c.loadResolvers, c.loadSchemas, c.loadViews, c.loadSpace} {
		if err := load(v); err != nil {
			return nil, fmt.Errorf("load catalog: %w", err)
		}
	}
	slices.SortFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Text, b.Text))
	})
	return c, nil
}

// A version is a document of one version of a schema or of a resolver, as the
// state has it. Where several were written at once, all of them are there.
type version struct {
	number int
	text   []byte // JSON
}

// each calls f for every entity with a prefix, in the order of names.
func each(v merge.View, prefix string, f func(name string) error) error {
	var names []string
	err := v.Rows([]byte(prefix), func(key []byte, _ []merge.Survivor) error {
		entity, _, err := merge.EntityOf(key)
		if err != nil {
			return err
		}
		if name := strings.TrimPrefix(entity, prefix); len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
		return nil
	})
	for _, name := range names {
		if err != nil {
			break
		}
		err = f(name)
	}
	return err
}

// versionsOf returns the documents of a schema's or a resolver's versions, the
// versions rising, of one version the newest first. What is no version is a
// problem.
func (c *Catalog) versionsOf(v merge.View, entity string) ([]version, error) {
	r, _, err := merge.Read(v, entity, "")
	if err != nil {
		return nil, err
	}
	var out []version
	for i := range r.Properties {
		p := &r.Properties[i]
		n, err := versionNumber(p.Path)
		if err != nil {
			c.problem(entity, p.Path, err)
			continue
		}
		if p.Conflict {
			c.problem(entity, p.Path, fmt.Errorf("version %d was written on %d nodes at once", n, len(p.Survivors)))
		}
		for j := range p.Survivors {
			text, err := delta.AppendJSON(nil, p.Survivors[j].Value)
			if err != nil {
				return nil, err
			}
			out = append(out, version{n, text})
		}
	}
	slices.SortStableFunc(out, func(a, b version) int { return cmp.Compare(a.number, b.number) })
	return out, nil
}

// versionNumber reads a path as VersionPath writes it.
func versionNumber(p delta.Path) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(string(p), "/"))
	if err != nil || n < 1 || n > MaxVersion || VersionPath(n) != p {
		return 0, fmt.Errorf("%q is not the path of a version, as /1, up to /%d", p, MaxVersion)
	}
	return n, nil
}

func (c *Catalog) loadSchemas(v merge.View) error {
	err := each(v, SchemaPrefix, func(name string) error {
		all, err := c.versionsOf(v, SchemaPrefix+name)
		for _, x := range all {
			s, err := parseSchema(name, x)
			if err != nil {
				c.problem(SchemaPrefix+name, VersionPath(x.number), err)
				continue
			}
			c.versions = append(c.versions, s)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.Schemas = schema.NewCatalog(c.versions, c.Lookup, c.options.Author)
	c.sum = c.inForce()
	for _, p := range c.Schemas.Problems() {
		key := delta.Key(SchemaPrefix+p.Schema, VersionPath(p.Version))
		c.problems = append(c.problems, Problem{key, p.Text, p.InForce})
	}
	return nil
}

// inForce sums up what decides how entities read.
func (c *Catalog) inForce() [sha256.Size]byte {
	h := sha256.New()
	for _, s := range c.versions {
		fmt.Fprintf(h, "%s\n", s.Canonical())
	}
	for i := range c.Resolvers {
		r := &c.Resolvers[i]
		for _, v := range r.Versions {
			if v.Number == r.number {
				d := &v.Definition // a description decides nothing
				fmt.Fprintf(h, "%q %d %s %q %s\n", r.Name, v.Number, d.Kind, d.Expression, d.Module)
			}
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func parseSchema(name string, x version) (*schema.Schema, error) {
	s, err := schema.Parse(x.text)
	if err != nil {
		return nil, err
	}
	if s.Name != name || s.Version != x.number {
		return nil, fmt.Errorf("the schema says that it is %s@%d", s.Name, s.Version)
	}
	return s, nil
}

func (c *Catalog) loadSpace(v merge.View) error {
	r, found, err := merge.Read(v, Space, RequireSchema)
	if err != nil || !found {
		return err
	}
	on, ok := r.Value.(bool)
	if !ok {
		c.problem(Space, RequireSchema, fmt.Errorf("want true or false"))
	}
	c.RequireSchema = on
	return nil
}

// Versions returns every version of every schema that can be read, by name and
// version.
func (c *Catalog) Versions() []*schema.Schema { return c.versions }

// Rules returns how an entity reads, nil where no schema is for it.
func (c *Catalog) Rules(entity string) *merge.Rules {
	if s := c.For(entity); s != nil {
		return s.Rules()
	}
	return nil
}

// For returns the schema of an entity, nil where none is for it. What the space
// says of itself has none.
func (c *Catalog) For(entity string) *schema.Compiled {
	if IsSystem(entity) {
		return nil
	}
	return c.Schemas.For(entity)
}

// Views returns the views, by name.
func (c *Catalog) Views() []*View { return c.views }

// View returns the view of that name, nil where there is none.
func (c *Catalog) View(name string) *View {
	for _, v := range c.views {
		if v.Name == name {
			return v
		}
	}
	return nil
}
