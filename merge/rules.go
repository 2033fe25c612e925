package merge

import (
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
	// Properties are in an order in which each comes after those it depends on.
	Properties []Rule
	// Author tells who wrote a lane; nil where nobody knows.
	Author func(clock.LaneID) string
}

// A Rule says how one property reads.
type Rule struct {
	ID string
	// Path names the property. A segment "*" stands for any one name; such a
	// rule is for each property that it matches, and nothing depends on it. Of
	// two rules that match a path, the one whose segment is literal at the first
	// difference counts. No rule's path lies inside another's.
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
