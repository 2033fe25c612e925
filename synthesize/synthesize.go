// Package synthesize merges a set of fragments into one state, without a node:
// what a configuration comes to that many sources each know a part of.
//
// A fragment is a JSON, TOML or YAML document, or an envelope around one that
// says who wrote it and when. Parse reads the fragments of one file, Fold
// merges a set of them, ReadDir, ReadFile and WriteFile are the ends on a disk, and
// CheckRegular looks at a name there. All else is pure: the result is a function of
// the set of fragments, whatever their order, however often each is there, and
// whatever the files are called.
//
// # Fragments
//
// A document that is an object of the members data and, where they are known,
// source and time, and no others, is an envelope; any other is a plain fragment
// and all of it is its data. The source is a text. The time is RFC 3339 text or
// an integer of milliseconds since 1970; a fragment without one is the oldest.
// Fragments are in the order of their times, and of their canonical bytes where
// the times are equal: the RFC 8785 form of {"data": …, "source": …, "time": …},
// with the time in UTC and without what is not known. Those of equal canonical
// bytes are one fragment.
//
// A number is what it prints as in RFC 8785: 1.0 is the integer 1.
//
// # Folding
//
// Each fragment becomes one entry of a lane of its own, whose id is the
// fragment's rank in that order, and each leaf of its data an assignment that
// kills nothing, or, of a property that the schema calls a bag, for each member
// of the array an addition. So all fragments are concurrent, the order of the kernel
// (package merge) is that of the fragments, and what differs at a path is what
// the kernel holds as survivors there.
//
// Equal values at a path agree. Different ones are a conflict, and so is a
// value in one fragment where another has members below its path. An empty
// object takes part in no conflict with members below it: objects merge. A
// conflict is decided by the rule that covers it: the schema's resolver of the
// property at the path, else the resolver of the policy. Values against
// members are decided by the first or last writer alone, which pick a side as a
// whole; within the side that stays, each leaf is decided by itself. A conflict
// that no rule decides is an error, or, by the policy Keep, stands in the state
// as {"$conflict": [values…]}, in the order of their canonical bytes.
package synthesize

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A Schema says how properties are read and which values they take.
type Schema interface {
	// Rules are what it comes to for the entity that is synthesized.
	Rules() *merge.Rules
	// Validate says what is wrong with a whole document. It joins its faults;
	// the text of each begins with the JSON pointer of what is wrong and a colon.
	Validate(doc any) error
	// Bag reports whether the property at a path is a bag, which stands in a
	// document as an array of its members.
	Bag(p delta.Path) bool
}

// Options say how fragments are merged. The zero value is ready: no schema, and
// every conflict an error.
type Options struct {
	// Schema, where not nil, checks the fragments and the state, and its
	// resolvers decide conflicts of the properties that have one.
	Schema Schema
	// Policy is for the conflicts that the schema leaves open.
	Policy Policy
}

// A Result is the state that fragments came to.
type Result struct {
	// State is the document in the canonical form of RFC 8785, with integers
	// printed exactly.
	State []byte
	// Fragments is how many were given, Distinct how many were different.
	Fragments, Distinct int
	// Conflicts are those that a rule decided or that were kept, by path.
	Conflicts []Conflict
	// Alarms are what resolvers want a person to be told.
	Alarms []string
}

// A ConflictError reports conflicts that no rule decides.
type ConflictError struct {
	// Conflicts are all there are, also those that are decided.
	Conflicts []Conflict
	// Fragments and Distinct are as in Result.
	Fragments, Distinct int
}

// maxListed is how many conflicts a person is shown at once; reports have all.
const maxListed = 50

// Error lists the open conflicts.
func (e *ConflictError) Error() string {
	var b strings.Builder
	open := 0
	for i := range e.Conflicts {
		if e.Conflicts[i].Status != Open {
			continue
		}
		if open++; open <= maxListed {
			b.WriteString("\n" + e.Conflicts[i].String())
		}
	}
	if open > maxListed {
		fmt.Fprintf(&b, "\nand %d more", open-maxListed)
	}
	return fmt.Sprintf("conflicts that no rule decides: %d%s", open, b.String())
}

// A FragmentError reports a fragment that cannot be read or that breaks the
// schema.
type FragmentError struct {
	File string
	// Line is where the mistake is, from 1; 0 where that is not known.
	Line int
	// Path is that of the value within its document, and Known says that there
	// is one.
	Path  string
	Known bool
	Err   error
}

// Error tells file, line and path, and what is wrong.
func (e *FragmentError) Error() string {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, e.Line)
	}
	if e.Known {
		at += ": " + pathText(e.Path)
	}
	return visible(at + ": " + e.Err.Error())
}

// Unwrap returns what is wrong.
func (e *FragmentError) Unwrap() error { return e.Err }

// A StateError reports that the merged state breaks the schema, though its
// fragments do not: a required property is in none of them.
type StateError struct{ Err error }

// Error says what is wrong with the state, and where.
func (e *StateError) Error() string {
	at := "merged state: "
	if p := new(merge.PropertyError); errors.As(e.Err, &p) {
		at += pathText(string(p.Path)) + ": "
	}
	return visible(at + e.Err.Error())
}

// Unwrap returns what is wrong.
func (e *StateError) Unwrap() error { return e.Err }

// Errors are several, in order.
type Errors []error

// Error lists them line by line.
func (e Errors) Error() string { return errors.Join(e...).Error() }

// Unwrap returns them.
func (e Errors) Unwrap() []error { return e }

// orNil returns nil where there are no errors.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// ErrNoFragments reports an empty set. It is no state: most often the
// directory is the wrong one, or not there yet.
var ErrNoFragments = errors.New("no fragments")

// pathText names a path for people; the root has an empty one.
func pathText(p string) string {
	if p == "" {
		return "the root"
	}
	return p
}

// visible writes what a terminal may take as a command as Go would.
func visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// Fold merges fragments. An error is a *ConflictError, Errors of which each is a
// *FragmentError or a *StateError, or ErrNoFragments.
func Fold(fragments []Fragment, o *Options) (*Result, error) {
	if len(fragments) == 0 {
		return nil, ErrNoFragments
	}
	set := newSet(fragments)
	rules := new(merge.Rules)
	if o.Schema != nil {
		rules = o.Schema.Rules()
	}
	leaves, err := set.flatten(o.Schema)
	if err != nil {
		return nil, err
	}
	f := folding{set: set, rules: rules, policy: o.Policy}
	doc, err := f.run(leaves)
	if err != nil {
		var open *ConflictError
		if errors.As(err, &open) {
			open.Fragments, open.Distinct = len(fragments), len(set.members)
		}
		return nil, err
	}
	if o.Schema != nil {
		if err := set.confirm(o.Schema, doc); err != nil {
			return nil, err
		}
	}
	return &Result{
		State: canonical(doc), Fragments: len(fragments), Distinct: len(set.members),
		Conflicts: f.conflicts, Alarms: f.alarms,
	}, nil
}
