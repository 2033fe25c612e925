package catalog

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A Compiler makes resolvers of what the log carries.
type Compiler interface {
	// CEL compiles an expression.
	CEL(expression string) (merge.Resolver, error)
	// WASM compiles a module.
	WASM(module []byte) (merge.Resolver, error)
}

// A Kind says what a resolver is made of.
type Kind string

// The kinds of resolvers.
const (
	CEL     Kind = "cel"
	WASM    Kind = "wasm"
	Retired Kind = "retired" // none any more
	Go      Kind = "go"      // the program brings it; the log carries none
)

// A Definition is one version of a resolver, as the log carries it.
type Definition struct {
	Kind        Kind   `json:"kind"`
	Description string `json:"description,omitempty"`
	// Expression is that of CEL.
	Expression string `json:"expression,omitempty"`
	// Module is the SHA-256 of a WebAssembly module, in hexadecimal, and Size its
	// length in bytes.
	Module string `json:"module,omitempty"`
	Size   int    `json:"size,omitempty"`
}

// ParseDefinition reads a definition and checks its form.
func ParseDefinition(text []byte) (d Definition, err error) {
	if err := strict(text, &d); err != nil {
		return d, err
	}
	switch {
	case len(text) > MaxDefinitionBytes:
		return d, fmt.Errorf("definition of %d bytes, at most %d are allowed", len(text), MaxDefinitionBytes)
	case d.Kind != CEL && d.Kind != WASM && d.Kind != Retired:
		return d, fmt.Errorf("kind %q: want cel, wasm or retired", d.Kind)
	case (d.Expression != "") != (d.Kind == CEL):
		return d, errors.New("expression: a resolver of kind cel has one, no other does")
	case (d.Module != "") != (d.Kind == WASM) || (d.Size != 0) != (d.Kind == WASM):
		return d, errors.New("module, size: a resolver of kind wasm has both, no other does")
	case d.Kind == WASM && (d.Size < 0 || d.Size > MaxModuleBytes):
		return d, fmt.Errorf("size %d: a module has at most %d bytes", d.Size, MaxModuleBytes)
	}
	if raw, err := hex.DecodeString(d.Module); d.Kind == WASM && (err != nil || len(raw) != sha256.Size || d.Module != strings.ToLower(d.Module)) {
		return d, fmt.Errorf("module %q: want a SHA-256 in hexadecimal", d.Module)
	}
	return d, nil
}

// strict decodes one JSON object without unknown members.
func strict(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("more text after the object")
	}
	return nil
}

// A State says how far a version of a resolver is.
type State string

// The states of a version.
const (
	Active   State = "active"   // schemas that name the resolver use it
	Replaced State = "replaced" // a later version is active
	Loading  State = "loading"  // its module has not come whole
	Broken   State = "broken"   // it cannot be compiled
	Gone     State = "retired"  // the resolver is no more from here on
)

// A Resolver is one that the log carries, with its versions, rising.
type Resolver struct {
	Name     string
	Versions []ResolverVersion

	active merge.Resolver
	number int
}

// Version returns the number of the active version, 0 where there is none.
func (r *Resolver) Version() int { return r.number }

// A ResolverVersion is one version of a resolver.
type ResolverVersion struct {
	Number int
	State  State
	Definition
	// Text says what is wrong with one that is broken.
	Text string
}

func (c *Catalog) loadResolvers(v merge.View) error {
	err := each(v, ResolverPrefix, func(name string) error {
		r, err := c.loadResolver(v, name)
		if err == nil {
			c.Resolvers = append(c.Resolvers, r)
		}
		return err
	})
	for _, name := range slices.Sorted(maps.Keys(c.options.Go)) {
		c.Resolvers = append(c.Resolvers, ownResolver(name, c.options.Go[name]))
	}
	slices.SortFunc(c.Resolvers, func(a, b Resolver) int { return cmp.Compare(a.Name, b.Name) })
	for i := range c.Resolvers {
		c.named[c.Resolvers[i].Name] = &c.Resolvers[i]
	}
	return err
}

// ownResolver returns a resolver of the program as one that has a version.
func ownResolver(name string, o Own) Resolver {
	r := Resolver{Name: GoPrefix + name}
	v := ResolverVersion{Number: o.Version, State: Gone, Definition: Definition{Kind: Go}}
	if o.Resolver != nil {
		r.active, r.number, v.State = guarded{o.Resolver}, o.Version, Active
	}
	r.Versions = []ResolverVersion{v}
	return r
}

// loadResolver reads the versions of a resolver, and compiles the newest that
// can be. What comes after it, unless it is a retirement, is not ready.
func (c *Catalog) loadResolver(v merge.View, name string) (Resolver, error) {
	r := Resolver{Name: name}
	all, err := c.versionsOf(v, ResolverPrefix+name)
	if err != nil {
		return r, err
	}
	for ended := false; len(all) > 0; { // by a version that is active, or a retirement
		number := all[len(all)-1].number
		n := len(all) - 1
		for n > 0 && all[n-1].number == number {
			n--
		}
		ver, err := c.loadVersion(v, &r, all[n:], ended)
		if err != nil {
			return r, err
		}
		all, ended = all[:n], ended || ver.State == Active || ver.State == Gone
		if ver.State == Broken {
			c.problem(ResolverPrefix+name, VersionPath(number), errors.New(ver.Text))
		}
		r.Versions = append(r.Versions, ver)
	}
	slices.Reverse(r.Versions)
	return r, nil
}

// loadVersion reads one version, and compiles it unless a later one ended that.
// Of documents that were written at once the newest that has the form of one
// counts.
func (c *Catalog) loadVersion(v merge.View, r *Resolver, docs []version, ended bool) (ResolverVersion, error) {
	ver := ResolverVersion{Number: docs[0].number, State: Broken}
	for i := range docs {
		d, err := ParseDefinition(docs[i].text)
		if err == nil {
			ver.Definition, ver.State, ver.Text = d, Replaced, ""
			break
		}
		ver.Text = err.Error()
	}
	switch {
	case ver.State == Broken || ended:
		return ver, nil
	case ver.Kind == Retired:
		ver.State = Gone
		return ver, nil
	}
	made, err := c.compile(v, &ver.Definition)
	switch {
	case errors.Is(err, errLoading):
		ver.State = Loading
	case isRead(err):
		return ver, err
	case err != nil:
		ver.State, ver.Text = Broken, err.Error()
	default:
		ver.State, r.active, r.number = Active, made, ver.Number
	}
	return ver, nil
}

// errLoading reports a module that has not come whole.
var errLoading = errors.New("the module has not come whole")

// A readError is one of reading the state, which no definition is to blame for.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func isRead(err error) bool { return errors.As(err, new(*readError)) }

func (c *Catalog) compile(v merge.View, d *Definition) (merge.Resolver, error) {
	if c.options.Compile == nil {
		return nil, errors.New("this program runs no resolvers of that kind")
	}
	// A module is read in any case: whether it is whole is the state's to say, not
	// that of what was compiled before.
	var module []byte
	if d.Kind == WASM && !c.options.Shallow {
		var err error
		if module, err = ReadModule(v, d.Module, d.Size); err != nil {
			return nil, err
		}
	}
	key := *d
	key.Description = ""
	if b := c.options.Before; b != nil && b.made[key] != nil {
		c.made[key] = b.made[key]
	}
	if made := c.made[key]; made != nil {
		return made, nil
	}
	made, err := c.compileAnew(d, module)
	if err == nil {
		c.made[key] = made
	}
	return made, err
}

func (c *Catalog) compileAnew(d *Definition, module []byte) (merge.Resolver, error) {
	if d.Kind == CEL {
		return c.options.Compile.CEL(d.Expression)
	}
	return c.options.Compile.WASM(module)
}

// ReadModule puts a module together of its pieces.
func ReadModule(v merge.View, hash string, size int) ([]byte, error) {
	type piece struct {
		number int
		bytes  []byte
	}
	var pieces []piece
	entity := ModulePrefix + hash
	r, _, err := merge.Read(v, entity, "")
	if err != nil {
		return nil, &readError{err}
	}
	have := 0
	for i := range r.Properties {
		p := &r.Properties[i]
		n, err := strconv.Atoi(strings.TrimPrefix(string(p.Path), "/"))
		b, ok := p.Value.([]byte)
		if err != nil || !ok {
			return nil, fmt.Errorf("module %s: what stands at %q is no piece", hash, p.Path)
		}
		if have += len(b); have > MaxModuleBytes {
			return nil, fmt.Errorf("module %s has more than %d bytes", hash, MaxModuleBytes)
		}
		pieces = append(pieces, piece{n, b})
	}
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.number, b.number) })
	module := make([]byte, 0, have)
	for _, p := range pieces {
		module = append(module, p.bytes...)
	}
	if len(module) < size {
		return nil, fmt.Errorf("module %s: %d of %d bytes are here: %w", hash, len(module), size, errLoading)
	}
	if sum := sha256.Sum256(module); hex.EncodeToString(sum[:]) != hash || len(module) != size {
		return nil, fmt.Errorf("module %s: its pieces make another one, of %d bytes", hash, len(module))
	}
	return module, nil
}

// SplitModule returns a module's name and the values of its pieces.
func SplitModule(module []byte) (hash string, pieces []delta.Value) {
	sum := sha256.Sum256(module)
	for piece := range slices.Chunk(module, PieceBytes) {
		pieces = append(pieces, delta.Bytes(piece))
	}
	return hex.EncodeToString(sum[:]), pieces
}

// Lookup finds a resolver by name: one that is built in, one of the program's,
// or the active version of one that the log carries.
func (c *Catalog) Lookup(use string, params map[string]any) (merge.Resolver, error) {
	r, err := merge.Builtin(use, params)
	if !errors.Is(err, merge.ErrNoResolver) {
		return r, err
	}
	if len(params) > 0 {
		return nil, fmt.Errorf("resolver %s takes no parameters", use)
	}
	if strings.HasPrefix(use, GoPrefix) && c.named[use] == nil {
		return nil, fmt.Errorf("%w %q: this program brings none of that name", merge.ErrNoResolver, use)
	}
	if r := c.named[use]; r != nil {
		if r.active != nil {
			return r.active, nil
		}
		return nil, fmt.Errorf("%w %q: no version of it is active", merge.ErrNoResolver, use)
	}
	return nil, err
}

// guarded holds a resolver that anybody may have written to the form of an
// output.
type guarded struct{ merge.Resolver }

// Resolve implements merge.Resolver.
func (g guarded) Resolve(in *merge.Input) (merge.Output, error) {
	out, err := g.Resolver.Resolve(in)
	if err != nil || out.Absent {
		return out, err
	}
	if _, err := delta.ValueOf(out.Value); err != nil {
		return merge.Output{}, merge.Failf(merge.ErrorOutput, "%v", err)
	}
	if out.Shown != nil && len(out.Shown) != len(in.Survivors) {
		return merge.Output{}, merge.Failf(merge.ErrorOutput, "%d of %d survivors are said to be shown or not", len(out.Shown), len(in.Survivors))
	}
	return out, nil
}
