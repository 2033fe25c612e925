package feed

import (
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A Report tells what became of a feed. What was read was either written, or
// skipped, or is among the problems; a negation of a negation is written and
// reported.
type Report struct {
	Read    uint64 // deltas and what stood in the place of one
	Written uint64 // deltas that are new here
	// Skipped deltas were here already, or came from this very space.
	Skipped   uint64
	Negations uint64 // of those written
	// Changes counts the deltas of this space that had to be written.
	Changes uint64
	// Problems are in the order of their lines, once the import is closed.
	// Unlisted counts those past the first 10,000.
	Problems []Problem
	Unlisted uint64
}

// A Problem is one delta, or what stood in the place of one, that was not taken,
// or not with the effect that its text asks for.
type Problem struct {
	Line int
	ID   string     // where it is known
	At   delta.Path // a JSON pointer into its text; empty: the whole of it
	Text string
}

// String returns the problem in one line.
func (p *Problem) String() string {
	e := ShapeError{ID: p.ID, At: p.At, Reason: p.Text}
	return fmt.Sprintf("line %d: %v", p.Line, e.Error())
}

// problemOf returns what an error says of a delta.
func problemOf(line int, id string, err error) Problem {
	var e *ShapeError
	if errors.As(err, &e) {
		if e.ID != "" {
			id = e.ID
		}
		return Problem{line, id, e.At, e.Reason}
	}
	return Problem{Line: line, ID: id, Text: err.Error()}
}

func (r *Report) add(p Problem) {
	if len(r.Problems) == maxProblems {
		r.Unlisted++
		return
	}
	r.Problems = append(r.Problems, p)
}
