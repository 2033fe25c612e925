package schema

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A pattern matches entities.
type pattern struct {
	text string
	// literal is how many bytes of it stand for themselves.
	literal int
	// prefix is what all that it matches begins with. What follows is nothing
	// (exact), any text (deep), text without a slash (flat), or whatever the
	// expression says.
	prefix string
	tail   tail
	re     *regexp.Regexp
}

type tail uint8

const (
	tailExact tail = iota
	tailDeep
	tailFlat
	tailRegexp
)

func parsePattern(s string) (*pattern, error) {
	switch {
	case s == "":
		return nil, errors.New("pattern is empty")
	case len(s) > MaxPatternBytes:
		return nil, fmt.Errorf("pattern of %d bytes, at most %d are allowed", len(s), MaxPatternBytes)
	case strings.Contains(s, "***"):
		return nil, fmt.Errorf("pattern %q: three stars mean nothing; * is a name, ** any text", s)
	}
	if err := delta.CheckEntity(s); err != nil {
		return nil, fmt.Errorf("pattern %q matches nothing: %w", s, err)
	}
	p := &pattern{text: s, literal: len(s) - strings.Count(s, "*")}
	star := strings.IndexByte(s, '*')
	if star < 0 {
		star = len(s)
	}
	p.prefix = s[:star]
	switch s[star:] {
	case "":
		return p, nil
	case "*":
		p.tail = tailFlat
		return p, nil
	case "**":
		p.tail = tailDeep
		return p, nil
	}
	var err error
	p.tail = tailRegexp
	if p.re, err = regexp.Compile(expression(s[star:])); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", s, err)
	}
	return p, nil
}

// expression writes what begins with a star as a regular expression.
func expression(rest string) string {
	var b strings.Builder
	b.WriteString("(?s)^")
	for rest != "" {
		i := strings.IndexByte(rest, '*')
		switch {
		case i < 0:
			b.WriteString(regexp.QuoteMeta(rest))
			rest = ""
		case strings.HasPrefix(rest, "**"):
			b.WriteString(".*")
			rest = rest[2:]
		case i == 0:
			b.WriteString("[^/]+")
			rest = rest[1:]
		default:
			b.WriteString(regexp.QuoteMeta(rest[:i]))
			rest = rest[i:]
		}
	}
	b.WriteString("$")
	return b.String()
}

func (p *pattern) match(entity string) bool {
	rest, ok := strings.CutPrefix(entity, p.prefix)
	if !ok {
		return false
	}
	switch p.tail {
	case tailExact:
		return rest == ""
	case tailDeep:
		return true
	case tailFlat:
		return rest != "" && strings.IndexByte(rest, '/') < 0
	}
	return p.re.MatchString(rest)
}
