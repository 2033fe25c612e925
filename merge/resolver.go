package merge

import (
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A Resolver turns the survivors of one property into the one value that a
// lossy read shows.
//
// It must be a pure function of its Input: the same input gives the same output
// on every node, whatever the order in which deltas came, and however often. It
// may be called from any number of goroutines, must not keep or change what it
// is given, and must not look at a clock, at randomness or at map order.
type Resolver interface {
	Resolve(in *Input) (Output, error)
}

// A ResolverFunc is a function that is a Resolver.
type ResolverFunc func(in *Input) (Output, error)

// Resolve calls f.
func (f ResolverFunc) Resolve(in *Input) (Output, error) { return f(in) }

// An Input is all that a resolver may look at.
type Input struct {
	Entity string
	Path   delta.Path
	// Survivors are in canonical order, the newest first: by time, then by dot.
	// There are none where the property is only computed.
	Survivors []Survivor
	// Values are those of the survivors, as delta.Value.Any returns them; of an
	// inc the lane's total.
	Values []any
	// Deps are the resolved values of the properties that the resolver depends
	// on, by id. Of the optional ones those without a value are missing.
	Deps map[string]any
	// Author tells who wrote a lane; "" where that is not known.
	Author func(clock.LaneID) string
}

// AuthorOf returns the author of the i-th survivor.
func (in *Input) AuthorOf(i int) string {
	if in.Author == nil {
		return ""
	}
	return in.Author(in.Survivors[i].Dot.Lane)
}

// CreatorOf returns the creator of the i-th survivor: who its author claims to
// have made it, else the author.
func (in *Input) CreatorOf(i int) string {
	if c := in.Survivors[i].Creator; c != "" {
		return c
	}
	return in.AuthorOf(i)
}

// An Output is what a resolver made of its input.
type Output struct {
	// Value is of the types that delta.Value.Any returns. It may share memory
	// with the input.
	Value any
	// Absent says that the property has no value.
	Absent bool
	// Shown says for each survivor whether the value shows it; nil means that
	// the value is made of all of them.
	Shown []bool
	// Conflict says that the value hides survivors that differ from it.
	Conflict bool
	// Alarm, where not empty, is what a person should be told.
	Alarm string
	// Why says in a few words what decided.
	Why string
}

// An ErrorKind says what kept a property from having a value.
type ErrorKind string

// The kinds of errors.
const (
	ErrorUnknown    ErrorKind = "unknown-resolver" // nobody here knows the resolver
	ErrorFailed     ErrorKind = "failed"           // the resolver says that it cannot
	ErrorCost       ErrorKind = "cost"             // it took more steps than allowed
	ErrorTime       ErrorKind = "time"             // it took longer than allowed
	ErrorMemory     ErrorKind = "memory"           // it wanted more memory than allowed
	ErrorOutput     ErrorKind = "output"           // what it returned is no value
	ErrorType       ErrorKind = "type"             // values that break the property's type
	ErrorMissing    ErrorKind = "missing"          // a required property has no value
	ErrorDependency ErrorKind = "dependency"       // a property that it depends on has none
	ErrorRef        ErrorKind = "dangling"         // it refers to what is not there
)

// A PropertyError says why a property has no value. Those that depend on it
// have errors of their own.
type PropertyError struct {
	Path delta.Path
	// Property is its id in the schema.
	Property string
	Kind     ErrorKind
	Text     string
}

// Error tells which property failed, and why.
func (e *PropertyError) Error() string {
	return fmt.Sprintf("property %s: %s: %s", e.Property, e.Kind, e.Text)
}

// Failf returns the error of a resolver, of a kind.
func Failf(kind ErrorKind, format string, args ...any) *PropertyError {
	return &PropertyError{Kind: kind, Text: fmt.Sprintf(format, args...)}
}
