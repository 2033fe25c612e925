package history

import (
	"fmt"
	"slices"
	"strings"
)

// A Step of a witness is an operation, and why it is before the next one.
type Step struct {
	Op
	// Why leads to the next step; empty in the last one. A cycle leads back to
	// the first.
	Why string
	// By, where not nil, is the read that shows it.
	By *Op
}

// A Violation says which bad pattern a history holds, and where: as few
// operations as show it.
type Violation struct {
	Model   Model
	Pattern Pattern
	// Guarantees are those of sessions that are broken by it, too.
	Guarantees []Model
	Text       string
	Steps      []Step
	Notes      []string

	read int32 // that misses something, or -1
}

// Error returns all of it, a line for each step.
func (v *Violation) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "history: not %s: %s: %s", v.Model, v.Pattern, v.Text)
	if len(v.Guarantees) > 0 {
		names := make([]string, len(v.Guarantees))
		for i, g := range v.Guarantees {
			names[i] = string(g)
		}
		fmt.Fprintf(&b, " (broken: %s)", strings.Join(names, ", "))
	}
	for _, s := range v.Steps {
		fmt.Fprintf(&b, "\n  %v", s.Op)
		if s.Why != "" {
			fmt.Fprintf(&b, "\n    %s", s.Why)
		}
		if s.By != nil {
			fmt.Fprintf(&b, " as is shown by %v", *s.By)
		}
	}
	for _, n := range v.Notes {
		fmt.Fprintf(&b, "\n  %s", n)
	}
	return b.String()
}

func (x *index) violation(p Pattern, steps []Step, format string, args ...any) *Violation {
	return &Violation{Pattern: p, Steps: steps, Text: fmt.Sprintf(format, args...), read: -1}
}

// steps makes the steps of a witness of a way or a cycle.
func (x *index) steps(path []edge) (out []Step) {
	for _, e := range path {
		s := Step{Op: x.ops[e.from], Why: e.kind.String()}
		if e.kind >= byOverwrite {
			by := x.ops[e.why]
			s.By = &by
		}
		out = append(out, s)
	}
	if n := len(path); n > 0 {
		end := Step{Op: x.ops[path[n-1].to]}
		if path[n-1].to == path[0].from {
			end.Why = "which closes the cycle"
		}
		out = append(out, end)
	}
	return slices.Clip(out)
}
