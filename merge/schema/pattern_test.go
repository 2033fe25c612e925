package schema

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPatterns: what patterns match.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"host/web", []string{"host/web"}, []string{"host/web-1", "host", "host/web/x"}},
		{"host/*", []string{"host/web", "host/w b"}, []string{"host/", "host/a/b", "hosts/a"}},
		{"host/**", []string{"host/", "host/a", "host/a/b"}, []string{"host", "hos"}},
		{"*", []string{"a", "å"}, []string{"a/b"}},
		{"**", []string{"a", "a/b", "\n"}, nil},
		{"a*b", []string{"axb", "axxb", "abb"}, []string{"ab", "a/b", "axc"}},
		{"*/log", []string{"a/log"}, []string{"/log", "a/b/log", "a/logs"}},
		{"**/log", []string{"a/log", "/log", "a/b/log"}, []string{"log", "a/logs"}},
		{"h/*/cpu/*", []string{"h/a/cpu/1"}, []string{"h/a/cpu/", "h/a/b/cpu/1", "h/a/cpu/1/2"}},
		{"h.*", []string{"h.x"}, []string{"hxx"}},
		{"h/(*)", []string{"h/(a)"}, []string{"h/a"}},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range c.yes {
			if !p.match(e) {
				t.Errorf("%q does not match %q", c.pattern, e)
			}
		}
		for _, e := range c.no {
			if p.match(e) {
				t.Errorf("%q matches %q", c.pattern, e)
			}
		}
	}
}

// naive matches a pattern by trying all there is.
func naive(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case strings.HasPrefix(p, "**"):
		return naive(p[2:], s) || s != "" && naive(p, s[1:])
	case p[0] == '*':
		return s != "" && s[0] != '/' && (naive(p[1:], s[1:]) || naive(p, s[1:]))
	}
	return s != "" && s[0] == p[0] && naive(p[1:], s[1:])
}

// TestPatternsAgree: a pattern matches what it says.
func TestPatternsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ab/*]{1,6}`).Draw(t, "pattern")
		entity := rapid.StringMatching(`[ab/]{1,6}`).Draw(t, "entity")
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		if got, want := p.match(entity), naive(text, entity); got != want {
			t.Fatalf("%q matches %q: %v", text, entity, got)
		}
	})
}
