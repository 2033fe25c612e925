package schema

import "errors"

// Patterns match entities: those that any of them matches.
type Patterns []*pattern

// ParsePatterns reads patterns as a schema has them, at least one.
func ParsePatterns(texts []string) (Patterns, error) {
	if len(texts) == 0 {
		return nil, errors.New("names no entities")
	}
	var out Patterns
	var errs []error
	for _, s := range texts {
		p, err := parsePattern(s)
		errs = append(errs, err)
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

// Match reports whether any of the patterns matches an entity.
func (p Patterns) Match(entity string) bool {
	for _, x := range p {
		if x.match(entity) {
			return true
		}
	}
	return false
}

// Prefixes returns, for each pattern, what all that it matches begins with.
func (p Patterns) Prefixes() []string {
	out := make([]string, len(p))
	for i, x := range p {
		out[i] = x.prefix
	}
	return out
}
