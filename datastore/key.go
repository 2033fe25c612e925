package datastore

import (
	"errors"
	"fmt"
	"strings"

	ds "github.com/ipfs/go-datastore"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A name is the entity id of a key: the namespace without its first slash, and
// the key, each byte written by itself:
//
//	0x22 "          "0
//	0x23 #          "1
//	0x80 to 0xff    the character of that number: 0xe9 is U+00E9
//	any other       as it is
//
// So names are UTF-8 without a "#", as ids have to be, whatever bytes the key
// has. Two keys have two names, names are ordered as keys are, and the keys below
// a prefix are those whose names begin with the prefix's name.

// appendName appends the name of a part of a key.
func appendName(b []byte, part string) []byte {
	for i := range len(part) {
		switch c := part[i]; {
		case c == '"':
			b = append(b, `"0`...)
		case c == '#':
			b = append(b, `"1`...)
		case c < 0x80:
			b = append(b, c)
		default:
			b = append(b, 0xc0|c>>6, 0x80|c&0x3f)
		}
	}
	return b
}

var errName = errors.New("is the name of no key")

// parseName takes back what appendName did.
func parseName(name string) (string, error) {
	plain := true
	for i := range len(name) {
		plain = plain && name[i] < 0x80 && name[i] != '"' && name[i] != '#'
	}
	if plain {
		return name, nil
	}
	b := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '#':
			return "", errName
		case c < 0x80 && c != '"':
			b = append(b, c)
			continue
		case i+1 == len(name):
			return "", errName
		}
		switch c, next := name[i], name[i+1]; {
		case c == '"' && (next == '0' || next == '1'):
			b = append(b, '"'+next-'0')
		case (c == 0xc2 || c == 0xc3) && next&0xc0 == 0x80:
			b = append(b, c<<6|next&0x3f)
		default:
			return "", errName
		}
		i++
	}
	return string(b), nil
}

// A space is the names of one namespace.
type space struct{ prefix string }

func newSpace(namespace ds.Key) (space, error) {
	s := space{string(appendName(nil, strings.TrimPrefix(ds.NewKey(namespace.String()).String(), "/")))}
	if catalog.IsSystem(s.prefix) {
		return s, fmt.Errorf("datastore: namespace %s: names that begin with $ are kept for what a space says of itself", namespace)
	}
	if len(s.prefix) > delta.MaxEntityBytes/2 {
		return s, fmt.Errorf("datastore: namespace of %d bytes: at most %d are allowed", len(s.prefix), delta.MaxEntityBytes/2)
	}
	return s, nil
}

// name returns the name of a key.
func (s space) name(k ds.Key) (string, error) {
	name := s.start(k.String())
	if len(name) > delta.MaxEntityBytes {
		return "", &KeyError{Key: k, Bytes: len(name)}
	}
	return name, nil
}

// start returns how the names begin of keys that begin so.
func (s space) start(keys string) string {
	b := make([]byte, 0, len(s.prefix)+len(keys)+8)
	return string(appendName(append(b, s.prefix...), keys))
}

// key returns the key of a name. ok is false where the name is of no key.
func (s space) key(name string) (k ds.Key, ok bool) {
	rest, ok := strings.CutPrefix(name, s.prefix)
	if !ok {
		return k, false
	}
	text, err := parseName(rest)
	if err != nil || !isKey(text) {
		return k, false
	}
	return ds.RawKey(text), true
}

// isKey reports whether a text is a key that ds.RawKey takes, without a panic.
func isKey(s string) bool {
	return s == "/" || len(s) > 1 && s[0] == '/' && s[len(s)-1] != '/'
}
