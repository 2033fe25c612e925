package feed

import (
	"fmt"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// The roles of a delta that Export makes of a survivor.
const (
	roleEntity = "entity" // the entity; its context is the path without its first slash
	rolePath   = "path"   // the path as a JSON pointer, exactly
	roleVerb   = "verb"   // assign, add, vote or inc
	roleValue  = "value"  // null, a bool, a number, a string, or the entity referred to; of an inc the total
	roleJSON   = "json"   // in the place of value: an array, an object or bytes as JSON text
)

// nativeDelta returns a survivor that no feed brought as a delta. Its id is the
// dot, which names the survivor for ever and nowhere else; so whoever imports it
// writes it once.
func nativeDelta(entity string, s *node.Survivor) (Delta, error) {
	d := Delta{ID: s.Dot.String(), Time: s.Time.Time(), Creator: s.Creator, Host: s.Author.String()}
	if d.Creator == "" {
		d.Creator = d.Host
	}
	subject := Pointer{Role: roleEntity, Entity: entity}
	if len(s.Path) > 1 {
		subject.Context = string(s.Path[1:])
		if at, _ := subject.check(); at != "" {
			subject.Context = "" // too long as one name; the path says it
		}
	}
	value, err := nativeValue(s)
	if err != nil {
		return d, fmt.Errorf("export %s: %w", delta.Key(entity, s.Path), err)
	}
	d.Pointers = []Pointer{
		subject, {Role: rolePath, Value: string(s.Path)}, {Role: roleVerb, Value: s.Verb.String()}, value,
	}
	return d, nil
}

func nativeValue(s *node.Survivor) (Pointer, error) {
	if s.Verb == delta.Inc {
		return Pointer{Role: roleValue, Value: s.Total}, nil
	}
	if to, ok := s.Value.Ref(); ok {
		return Pointer{Role: roleValue, Entity: to}, nil
	}
	switch s.Value.Kind() {
	case delta.KindArray, delta.KindObject, delta.KindBytes:
		text, err := delta.AppendJSON(nil, s.Value)
		return Pointer{Role: roleJSON, Value: string(text)}, err
	}
	x, err := s.Value.Any()
	return Pointer{Role: roleValue, Value: x}, err
}
