package merge

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// params reads the parameters of a resolver, and remembers what is wrong with
// them.
type params struct {
	left map[string]any
	errs []error
}

func newParams(given map[string]any) *params { return &params{left: maps.Clone(given)} }

func (p *params) take(name string) (any, bool) {
	x, ok := p.left[name]
	delete(p.left, name)
	return x, ok
}

func (p *params) wrong(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

func (p *params) text(name, otherwise string) string {
	x, ok := p.take(name)
	if !ok {
		return otherwise
	}
	s, ok := x.(string)
	if !ok {
		p.wrong("%s is %s, want a text", name, kindOf(x))
	}
	return s
}

// choice reads one of a few texts, of which the first is the default.
func (p *params) choice(name string, of ...string) string {
	s := p.text(name, of[0])
	if !slices.Contains(of, s) {
		p.wrong("%s is %q, want one of %s", name, s, strings.Join(of, ", "))
	}
	return s
}

// texts reads a list of texts, which must not be empty.
func (p *params) texts(name string) []string {
	x, _ := p.take(name)
	list, _ := x.([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	if len(out) == 0 || len(out) != len(list) {
		p.wrong("%s is missing: want an array of texts", name)
	}
	return out
}

// A quorum is how many votes a value must have: votes of them, or more than half.
type quorum struct {
	votes int64
	half  bool
}

func (q quorum) met(votes, of int) bool {
	if q.half {
		return 2*votes > of
	}
	return int64(votes) >= q.votes
}

// String says how many votes are wanted.
func (q quorum) String() string {
	if q.half {
		return "more than half"
	}
	return fmt.Sprint(q.votes)
}

func (p *params) quorum() quorum {
	x, ok := p.take("quorum")
	switch n, isInt := x.(int64); {
	case !ok:
		return quorum{votes: 1}
	case isInt && n > 0:
		return quorum{votes: n}
	case x == "majority":
		return quorum{half: true}
	}
	p.wrong(`quorum: want a number of votes, at least 1, or "majority"`)
	return quorum{}
}

// end reports what was wrong, parameters that nobody asked for among it.
func (p *params) end() error {
	for _, name := range slices.Sorted(maps.Keys(p.left)) {
		p.wrong("it has no parameter %q", name)
	}
	return errors.Join(p.errs...)
}
