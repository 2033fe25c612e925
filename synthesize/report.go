package synthesize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A Status says what became of a conflict.
type Status string

// What becomes of conflicts.
const (
	Open     Status = "open"     // no rule decides it
	Kept     Status = "kept"     // it stands in the state
	Resolved Status = "resolved" // a rule decided it
)

// A Conflict is different values at one path, or values at a path and members
// below it.
type Conflict struct {
	Path   string `json:"path"`
	Status Status `json:"status"`
	// Rule is the resolver that decided, or could not.
	Rule string `json:"rule,omitempty"`
	// Reason says why the resolver could not decide.
	Reason string `json:"reason,omitempty"`
	// Values are the different ones, in the order of their canonical bytes.
	Values []Contender `json:"values"`
}

// A Contender is one of the values in a conflict and who says so.
type Contender struct {
	// Value is in canonical form.
	Value json.RawMessage `json:"value"`
	// Sources are sorted by file and line.
	Sources []Source `json:"sources"`
}

// String describes the conflict in one line.
func (c *Conflict) String() string {
	var b strings.Builder
	b.WriteString(pathText(c.Path) + ":")
	for i, v := range c.Values {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, " %s in ", shorten(string(v.Value)))
		for j, s := range v.Sources {
			if j > 0 {
				b.WriteString(", ")
			}
			b.WriteString(s.String())
		}
	}
	switch {
	case c.Reason != "":
		fmt.Fprintf(&b, " (%s: %s)", c.Rule, c.Reason)
	case c.Rule != "":
		fmt.Fprintf(&b, " (%s)", c.Rule)
	}
	return visible(b.String())
}

// A claim is what one fragment says in a conflict.
type claim struct {
	value any
	rank  int
	at    delta.Path // where it stands in the fragment
}

// conflict lists who says what at a path.
func (f *folding) conflict(p delta.Path, claims []claim) Conflict {
	sources := map[string][]Source{}
	for _, c := range claims {
		text := string(canonical(c.value))
		for _, copied := range f.set.members[c.rank].copies {
			sources[text] = append(sources[text], copied.says(c.at))
		}
	}
	c := Conflict{Path: string(p)}
	for _, text := range sortedKeys(sources) {
		by := sources[text]
		slices.SortFunc(by, Source.compare)
		c.Values = append(c.Values, Contender{json.RawMessage(text), slices.Compact(by)})
	}
	return c
}

// same returns the conflict of different values at one path.
func (f *folding) same(p *merge.Property) Conflict {
	var claims []claim
	for i := range p.Survivors {
		s := &p.Survivors[i]
		rank := rankOf(s.Dot.Lane)
		at := p.Path
		for _, l := range f.at(p.Path) {
			if l.rank == rank && string(l.value) == string(s.Value) {
				at = l.from
			}
		}
		claims = append(claims, claim{anyOf(s.Value), rank, at})
	}
	return f.conflict(p.Path, claims)
}

// at returns the leaves at a path that stay.
func (f *folding) at(p delta.Path) []leaf {
	key := merge.AppendKey(nil, entity, p, "")
	i, _ := slices.BinarySearchFunc(f.stay, key, func(l leaf, key []byte) int { return bytes.Compare(l.key, key) })
	n := i
	for n < len(f.stay) && f.stay[n].path == p {
		n++
	}
	return f.stay[i:n]
}

// whole returns the conflict of values at a path with members below it: each
// fragment says the whole of what it has there.
func (f *folding) whole(p delta.Path, values, members []leaf) Conflict {
	var claims []claim
	for _, l := range values {
		claims = append(claims, claim{anyOf(l.value), l.rank, l.from})
	}
	objects := map[int]*tree{} // by rank
	first := map[int]delta.Path{}
	for _, l := range members {
		if objects[l.rank] == nil {
			objects[l.rank], first[l.rank] = newTree(), p
			if l.from != l.path {
				first[l.rank] = l.from
			}
		}
		objects[l.rank].put(l.path[len(p):], l.value)
	}
	for _, rank := range slices.Sorted(maps.Keys(objects)) {
		claims = append(claims, claim{objects[rank].root, rank, first[rank]})
	}
	return f.conflict(p, claims)
}

// A Report tells what became of a set of fragments, for tools. It may depend
// on the names of files, which the state does not.
type Report struct {
	Fragments int `json:"fragments"`
	Distinct  int `json:"distinct"`
	// Conflicts are sorted by path.
	Conflicts []Conflict `json:"conflicts"`
	// Mistakes are what is wrong with fragments or the state.
	Mistakes []Mistake `json:"mistakes"`
}

// A Mistake is what a FragmentError or a StateError says.
type Mistake struct {
	File string  `json:"file,omitempty"`
	Line int     `json:"line,omitempty"`
	Path *string `json:"path,omitempty"`
	Text string  `json:"text"`
}

// NewReport returns the report of a result, or of the error that there is
// instead.
func NewReport(r *Result, err error) *Report {
	out := &Report{Conflicts: []Conflict{}, Mistakes: []Mistake{}}
	if r != nil {
		out.Fragments, out.Distinct = r.Fragments, r.Distinct
		out.Conflicts = append(out.Conflicts, r.Conflicts...)
	}
	out.add(err)
	return out
}

func (r *Report) add(err error) {
	var many Errors
	if errors.As(err, &many) {
		for _, e := range many {
			r.add(e)
		}
		return
	}
	var conflict *ConflictError
	var fragment *FragmentError
	switch {
	case err == nil:
	case errors.As(err, &conflict):
		r.Fragments, r.Distinct = conflict.Fragments, conflict.Distinct
		r.Conflicts = append(r.Conflicts, conflict.Conflicts...)
	case errors.As(err, &fragment):
		m := Mistake{File: fragment.File, Line: fragment.Line, Text: fragment.Err.Error()}
		if fragment.Known {
			m.Path = &fragment.Path
		}
		r.Mistakes = append(r.Mistakes, m)
	default:
		r.Mistakes = append(r.Mistakes, Mistake{Text: err.Error()})
	}
}

// JSON returns the report as indented text that ends in a new line.
func (r *Report) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}
