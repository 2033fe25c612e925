package merge

import (
	"slices"
	"strings"
	"sync"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// Rules say how the properties of one entity read: what a schema comes to, once
// it is compiled. They do not change after that, and may be used from any number
// of goroutines. They decide nothing but what a read shows.
type Rules struct {
	// Name is that of the schema and its version, as host@2.
	Name string
	// Moves are applied to each survivor in this order, before all else.
	Moves []Move
	// Origins returns the paths beside p and those below it at and below which
	// what Moves have read at or below p may stand, alone or inside a value above
	// such a path; none for most. It may return too many, and nil stands for all
	// paths.
	Origins func(p delta.Path) []delta.Path
	// Properties are in any order, ids and paths being unique.
	Properties []Rule
	// Keep says which survivors are read; nil takes all.
	Keep func(p delta.Path, s *Survivor) bool
	// Author tells who wrote a lane; nil where nobody knows.
	Author func(clock.LaneID) string

	once  sync.Once
	index ruleIndex
}

// A Rule says how one property reads.
type Rule struct {
	ID string
	// Path names the property. A segment "*" stands for any one name; such a
	// rule is for each property that it matches, at whose path or below it
	// something stands, and nothing depends on it. Of two rules that match a path,
	// the one whose segment is literal at the first difference counts.
	Path delta.Path
	// Resolver is nil for the default of the survivors' verb.
	Resolver Resolver
	// Use is the resolver's name, for people.
	Use  string
	Deps []Dep
	// Computed says that the value is the resolver's alone: survivors at the
	// path are passed over, and the resolver is given none.
	Computed bool
	// Check says what is wrong with a survivor's value, if anything; nil takes
	// all. Survivors that it refuses are as if they were not there, and where
	// none is left the property has an error. Of a property whose value is an
	// object that stands leaf by leaf, it checks the object.
	Check func(value any) error
	// Result says what is wrong with a resolved value, if anything; nil takes all.
	Result func(value any) error
	// Default is what an entity that exists shows where the property has no
	// value.
	Default    any
	HasDefault bool
	Required   bool
	// Ref is nil where the property refers to nothing.
	Ref *RefRule
}

// A Dep is a property that another one needs.
type Dep struct {
	ID       string
	Optional bool
}

// A RefRule says what a property may refer to, and how a reference to nothing
// reads.
type RefRule struct {
	Match    func(entity string) bool // nil takes all
	Dangling Dangling
}

// Dangling says how a reference to an entity that is not there reads.
type Dangling string

// The ways to read a dangling reference.
const (
	DanglingKeep  Dangling = "keep"  // as the reference that it is
	DanglingNull  Dangling = "null"  // as null
	DanglingOmit  Dangling = "omit"  // as if it were not there
	DanglingError Dangling = "error" // as an error
)

// A Move rewrites survivors at read time: what a later version of a schema calls
// or shapes otherwise. It is given a survivor's place and value and returns what
// stands in its stead: nothing, the same, or several. An error is that of the
// properties at the paths that it returns with it; what else the survivor held
// is not shown.
type Move func(p delta.Path, value any) ([]Moved, error)

// A Moved is where a survivor is read, and as what.
type Moved struct {
	Path  delta.Path
	Value any
}

// A ruleIndex is what is worked out once about rules.
type ruleIndex struct {
	// order holds the rules without wildcards, each behind those it depends on
	// and those below its path.
	order []*Rule
	// cyclic are the rules that wait for each other.
	cyclic []*Rule
	byPath map[delta.Path]*Rule
	wild   []wildRule
	// local says that a property reads the same whatever else its entity holds.
	local bool
}

type wildRule struct {
	*Rule
	segments []string
}

func (r *Rules) indexed() *ruleIndex {
	r.once.Do(r.buildIndex)
	return &r.index
}

func (r *Rules) buildIndex() {
	x := &r.index
	x.byPath = make(map[delta.Path]*Rule)
	x.local = len(r.Moves) == 0
	byID := make(map[string]*Rule)
	var literal []*Rule
	for i := range r.Properties {
		rule := &r.Properties[i]
		x.local = x.local && len(rule.Deps) == 0
		if segments := rule.Path.Segments(); slices.Contains(segments, "*") {
			x.wild = append(x.wild, wildRule{rule, segments})
			continue
		}
		x.byPath[rule.Path], byID[rule.ID] = rule, rule
		literal = append(literal, rule)
	}
	const begun, done = 1, 2
	state := make(map[*Rule]int)
	var visit func(rule *Rule) bool
	visit = func(rule *Rule) (free bool) {
		switch state[rule] {
		case begun:
			return false
		case done:
			return true
		}
		state[rule] = begun
		free = true
		for _, d := range rule.Deps {
			if o := byID[d.ID]; o != nil {
				free = visit(o) && free
			}
		}
		for _, o := range literal {
			if o != rule && under(rule.Path, o.Path) {
				free = visit(o) && free
			}
		}
		state[rule] = done
		if free {
			x.order = append(x.order, rule)
		} else {
			x.cyclic = append(x.cyclic, rule)
		}
		return free
	}
	for _, rule := range literal {
		visit(rule)
	}
}

// rootOf returns the path at and below which all lies that bears on a path, as
// long as no property needs another: that of the outermost rule above it, whose
// value may be an object that has the path inside it, else the path itself.
func (x *ruleIndex) rootOf(p delta.Path) delta.Path {
	for _, up := range p.Ancestors() {
		if x.ruleFor(up) != nil {
			return up
		}
	}
	return p
}

// ruleFor returns the rule that is for a path, nil where there is none.
func (x *ruleIndex) ruleFor(p delta.Path) *Rule {
	if rule := x.byPath[p]; rule != nil {
		return rule
	}
	return x.wildFor(p)
}

// wildFor returns the rule with a wildcard that is for a path, nil where there
// is none.
func (x *ruleIndex) wildFor(p delta.Path) *Rule {
	if len(x.wild) == 0 {
		return nil
	}
	n := strings.Count(string(p), "/")
	var segments []string
	var best *wildRule
	for i := range x.wild {
		w := &x.wild[i]
		if len(w.segments) != n {
			continue
		}
		if segments == nil {
			segments = p.Segments()
		}
		if w.match(segments) && (best == nil || w.before(best)) {
			best = w
		}
	}
	if best == nil {
		return nil
	}
	return best.Rule
}

func (w *wildRule) match(segments []string) bool {
	for i, s := range w.segments {
		if s != "*" && s != segments[i] {
			return false
		}
	}
	return true
}

// before reports whether w is literal where it first differs from o, which
// matches the same path.
func (w *wildRule) before(o *wildRule) bool {
	for i, s := range w.segments {
		if s != o.segments[i] {
			return s != "*"
		}
	}
	return false
}
