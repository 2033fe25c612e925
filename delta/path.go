package delta

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Path is a JSON pointer (RFC 6901) inside an entity; the empty path is the
// entity's root.
type Path string

// ParsePath checks that s is a JSON pointer in its one canonical form. The
// names $ref and $bytes are reserved: a document put together from properties
// of these names would read as a reference or a byte string.
func ParsePath(s string) (Path, error) {
	if len(s) > MaxPathBytes {
		return "", fmt.Errorf("path of %d bytes, at most %d are allowed", len(s), MaxPathBytes)
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("path %q: not UTF-8", s)
	}
	if err := checkPointer(s); err != nil {
		return "", err
	}
	return Path(s), nil
}

// checkPointer says what is wrong with a text as a path, if anything.
func checkPointer(s string) error {
	if s != "" && s[0] != '/' {
		return fmt.Errorf("path %q: a JSON pointer begins with /", s)
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '~':
			if i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1' {
				return fmt.Errorf("path %q: ~ stands for itself as ~0, and for / as ~1", s)
			}
		case '/':
			if i+1 < len(s) && s[i+1] == '$' && reserved(segmentAt(s[i+1:])) {
				return fmt.Errorf("path %q: %s is reserved", s, segmentAt(s[i+1:]))
			}
		}
	}
	return nil
}

func segmentAt(s string) string {
	name, _, _ := strings.Cut(s, "/")
	return name
}

// reserved reports whether an object's only key may not be name, unless the
// object is a reference or a byte string.
func reserved(name string) bool { return name == refKey || name == bytesKey }

var (
	escapeSegment   = strings.NewReplacer("~", "~0", "/", "~1")
	unescapeSegment = strings.NewReplacer("~1", "/", "~0", "~")
)

// Child returns the path of a member of the object at p.
func (p Path) Child(name string) Path {
	if strings.ContainsAny(name, "~/") {
		name = escapeSegment.Replace(name)
	}
	return p + "/" + Path(name)
}

// Segments returns the names on the way from the root.
func (p Path) Segments() []string {
	if p == "" {
		return nil
	}
	s := strings.Split(string(p[1:]), "/")
	for i := range s {
		if strings.IndexByte(s[i], '~') >= 0 {
			s[i] = unescapeSegment.Replace(s[i])
		}
	}
	return s
}

// Ancestors returns the paths above p, the root first.
func (p Path) Ancestors() []Path {
	if p == "" {
		return nil
	}
	var up []Path
	for i := range len(p) {
		if p[i] == '/' {
			up = append(up, p[:i])
		}
	}
	return up
}

// CheckEntity says what is wrong with an entity id, if anything.
func CheckEntity(id string) error {
	switch {
	case len(id) > MaxEntityBytes:
		return fmt.Errorf("entity id of %d bytes, at most %d are allowed", len(id), MaxEntityBytes)
	case !utf8.ValidString(id):
		return fmt.Errorf("entity id %q is not UTF-8", id)
	}
	return checkName(id)
}

// checkName says what is wrong with a text as an entity id, if anything.
func checkName(s string) error {
	if s == "" {
		return errors.New("entity id is empty")
	}
	if strings.IndexByte(s, '#') >= 0 {
		return fmt.Errorf("entity id %q contains #, which separates an id from a path", s)
	}
	return nil
}

// ParseKey splits a key into an entity id and a path: "host/web-1" or
// "host/web-1#/cpu/cores".
func ParseKey(s string) (entity string, p Path, err error) {
	entity, pointer, _ := strings.Cut(s, "#")
	if err := CheckEntity(entity); err != nil {
		return "", "", fmt.Errorf("key %q: %w", s, err)
	}
	if p, err = ParsePath(pointer); err != nil {
		return "", "", fmt.Errorf("key %q: %w", s, err)
	}
	return entity, p, nil
}

// Key returns what ParseKey reads.
func Key(entity string, p Path) string {
	if p == "" {
		return entity
	}
	return entity + "#" + string(p)
}
