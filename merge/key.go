package merge

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A row's key orders entities bytewise, then the paths of an entity with every
// path before what lies below it:
//
//	name(entity) | name(segment)… | 00 00 | tag
//
// where name(s) is s with 00 written as 00 ff, closed by 00 01. So all rows at
// and below a path have one prefix, and so have all rows exactly at it.

func appendName(b []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			break
		}
		b = append(append(b, s[:i]...), 0x00, 0xff)
		s = s[i+1:]
	}
	return append(append(b, s...), 0x00, 0x01)
}

// AppendPrefix appends the prefix of all rows at and below a path.
func AppendPrefix(b []byte, entity string, p delta.Path) []byte {
	// Room for a tag and some names: most keys are made in one allocation.
	b = slices.Grow(b, len(entity)+len(p)+32)
	b = appendName(b, entity)
	for len(p) > 0 {
		n := 1 + strings.IndexByte(string(p[1:]), '/')
		if n == 0 {
			n = len(p)
		}
		b = appendName(b, segment(p[:n]))
		p = p[n:]
	}
	return b
}

// segment returns the name in a path of one segment.
func segment(p delta.Path) string {
	if strings.IndexByte(string(p), '~') < 0 {
		return string(p[1:])
	}
	return p.Segments()[0]
}

// AppendExact appends the prefix of all rows exactly at a path.
func AppendExact(b []byte, entity string, p delta.Path) []byte {
	return append(AppendPrefix(b, entity, p), 0x00, 0x00)
}

// comparePaths orders paths of an entity as the keys of their rows: a path before
// what lies below it.
func comparePaths(a, b delta.Path) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == '~' || b[i] == '~' {
			return bytes.Compare(AppendExact(nil, "", a), AppendExact(nil, "", b))
		}
		if a[i] != b[i] {
			switch {
			case a[i] == '/': // a name that has ended comes first
				return -1
			case b[i] == '/':
				return 1
			}
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}

// AppendKey appends the key of a row.
func AppendKey(b []byte, entity string, p delta.Path, t delta.Tag) []byte {
	return append(AppendExact(b, entity, p), t...)
}

var errKey = errors.New("merge: malformed row key")

// endOfName returns the length of the first name of a key.
func endOfName(b []byte) (int, error) {
	for at := 0; ; at += 2 {
		i := bytes.IndexByte(b[at:], 0)
		if at += i; i < 0 || at+1 == len(b) {
			return 0, errKey
		}
		switch b[at+1] {
		case 0x01:
			return at + 2, nil
		case 0xff:
		default:
			return 0, errKey
		}
	}
}

// cutName takes a name off the front of a key.
func cutName(b []byte) (name string, rest []byte, err error) {
	var out []byte
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 || i+1 == len(b) {
			return "", nil, errKey
		}
		mark := b[i+1]
		if mark == 0x01 && out == nil {
			return string(b[:i]), b[i+2:], nil
		}
		out = append(out, b[:i]...)
		b = b[i+2:]
		switch mark {
		case 0x01:
			return string(out), b, nil
		case 0xff:
			out = append(out, 0)
		default:
			return "", nil, errKey
		}
	}
}

// EntityOf returns the entity of a row key and the length of its prefix.
func EntityOf(key []byte) (entity string, prefix int, err error) {
	entity, rest, err := cutName(key)
	return entity, len(key) - len(rest), err
}

// Prefixes calls f with the key of a row and each of its prefixes that names a
// path: the entity, every step down, and the exact path. None comes twice.
func Prefixes(key []byte, f func([]byte)) error {
	f(key)
	for at := 0; ; {
		n, err := endOfName(key[at:])
		if err != nil {
			return err
		}
		at += n
		f(key[:at])
		if len(key) >= at+2 && key[at] == 0 && key[at+1] == 0 {
			if len(key) > at+2 {
				f(key[:at+2])
			}
			return nil
		}
	}
}

// EntityPrefix returns the length of the prefix that all rows of a key's entity
// have.
func EntityPrefix(key []byte) (int, error) { return endOfName(key) }

// ParseKey takes a row's key apart.
func ParseKey(key []byte) (entity string, p delta.Path, t delta.Tag, err error) {
	entity, rest, err := cutName(key)
	for err == nil {
		if len(rest) >= 2 && rest[0] == 0 && rest[1] == 0 {
			return entity, p, delta.Tag(rest[2:]), nil
		}
		var s string
		if s, rest, err = cutName(rest); err == nil {
			p = p.Child(s)
		}
	}
	return "", "", "", err
}
