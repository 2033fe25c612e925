package feed

import (
	"bytes"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/rhizome-p2p/rhizome/delta"
)

// Negates is the role of a pointer that negates the delta it points at.
const Negates = "negates"

// A Delta is one delta of a feed.
type Delta struct {
	ID string
	// Time is when the creator says that it was made. Milliseconds are written
	// as a number, what is finer as RFC 3339.
	Time    time.Time
	Creator string
	// Host is the system that it was made on; empty where that is not told.
	Host string
	// Pointers are in the order of their text. It has no meaning, but some
	// implementations hash it.
	Pointers []Pointer
}

// A Pointer says what a delta points at, and in which role.
type Pointer struct {
	Role string
	// Entity is the id that it points at, and Context the property under which
	// the delta shows there; empty: under none. A pointer that negates has the
	// id of the delta here.
	Entity, Context string
	// Value is the target where Entity is empty: nil, bool, int64, float64 or
	// string.
	Value any
}

// A ShapeError says which part of a delta cannot be taken, and why.
type ShapeError struct {
	ID     string     // of the delta, where it is known
	At     delta.Path // a JSON pointer into its text
	Reason string
}

// Error returns where and why.
func (e *ShapeError) Error() string {
	text := e.Reason
	if e.At != "" {
		text = string(e.At) + ": " + text
	}
	if e.ID != "" {
		text = fmt.Sprintf("delta %q: %s", e.ID, text)
	}
	return text
}

// Negated returns the ids of the deltas that d negates, each once.
func (d *Delta) Negated() (ids []string) {
	for i := range d.Pointers {
		if p := &d.Pointers[i]; p.Role == Negates && !slices.Contains(ids, p.Entity) {
			ids = append(ids, p.Entity)
		}
	}
	return ids
}

// AppendJSON appends the delta in normal form, in one line.
func (d *Delta) AppendJSON(b []byte) []byte {
	member := func(name string, x any) {
		b = delta.AppendAnyJSON(append(b, name...), x)
	}
	member(`{"id":`, d.ID)
	member(`,"timestamp":`, timestampOf(d.Time))
	member(`,"creator":`, d.Creator)
	if d.Host != "" {
		member(`,"host":`, d.Host)
	}
	b = append(b, `,"pointers":[`...)
	for i := range d.Pointers {
		if i > 0 {
			b = append(b, ',')
		}
		b = d.Pointers[i].appendJSON(b)
	}
	return append(b, ']', '}')
}

func (p *Pointer) appendJSON(b []byte) []byte {
	b = delta.AppendAnyJSON(append(b, `{"role":`...), p.Role)
	b = append(b, `,"target":`...)
	if p.Entity == "" {
		return append(delta.AppendAnyJSON(b, p.Value), '}')
	}
	b = delta.AppendAnyJSON(append(b, `{"id":`...), p.Entity)
	if p.Context != "" {
		b = delta.AppendAnyJSON(append(b, `,"context":`...), p.Context)
	}
	return append(b, '}', '}')
}

// timestampOf returns a time as it is written.
func timestampOf(t time.Time) any {
	if t.Nanosecond()%int(time.Millisecond) == 0 {
		return t.UnixMilli()
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// value returns the normal form as delta.ValueOf takes it.
func (d *Delta) value() map[string]any {
	pointers := make([]any, len(d.Pointers))
	for i := range d.Pointers {
		p := &d.Pointers[i]
		target := p.Value
		if p.Entity != "" {
			m := map[string]any{"id": p.Entity}
			if p.Context != "" {
				m["context"] = p.Context
			}
			target = m
		}
		pointers[i] = map[string]any{"role": p.Role, "target": target}
	}
	m := map[string]any{"id": d.ID, "timestamp": timestampOf(d.Time), "creator": d.Creator, "pointers": pointers}
	if d.Host != "" {
		m["host"] = d.Host
	}
	return m
}

// Same reports whether two deltas say the same. The order of pointers says
// nothing.
func (d *Delta) Same(o *Delta) bool {
	if d.ID != o.ID || !d.Time.Equal(o.Time) || d.Creator != o.Creator || d.Host != o.Host ||
		len(d.Pointers) != len(o.Pointers) {
		return false
	}
	return slices.EqualFunc(sorted(d.Pointers), sorted(o.Pointers), bytes.Equal)
}

func sorted(ps []Pointer) [][]byte {
	texts := make([][]byte, len(ps))
	for i := range ps {
		texts[i] = ps[i].appendJSON(nil)
	}
	slices.SortFunc(texts, bytes.Compare)
	return texts
}

// check says what is wrong with a delta that was not parsed, if anything.
func (d *Delta) check() error {
	bad := func(at delta.Path, reason string) error { return &ShapeError{d.ID, at, reason} }
	for _, text := range []struct {
		at delta.Path
		s  string
	}{{"/id", d.ID}, {"/creator", d.Creator}} {
		if text.s == "" {
			return bad(text.at, "is empty")
		}
	}
	switch t := d.Time.UTC(); {
	case !utf8.ValidString(d.ID) || !utf8.ValidString(d.Creator) || !utf8.ValidString(d.Host):
		return bad("", "id, creator or host is not UTF-8")
	case len(d.Creator) > delta.MaxCreatorBytes:
		return bad("/creator", fmt.Sprintf("of %d bytes, at most %d are allowed", len(d.Creator), delta.MaxCreatorBytes))
	case t.Nanosecond()%int(time.Millisecond) != 0 && (t.Year() < 0 || t.Year() > 9999):
		return bad("/timestamp", "finer than a millisecond, and in a year that RFC 3339 has no form for")
	}
	for i := range d.Pointers {
		if at, reason := d.Pointers[i].check(); reason != "" {
			return bad(delta.Path("/pointers").Child(fmt.Sprint(i))+at, reason)
		}
	}
	return nil
}

// check says what is wrong with a pointer and where in it, if anything.
func (p *Pointer) check() (at delta.Path, reason string) {
	switch {
	case p.Role == "":
		return "/role", "is empty"
	case !utf8.ValidString(p.Role) || !utf8.ValidString(p.Entity):
		return "", "is not UTF-8"
	case p.Entity != "" && p.Value != nil:
		return "/target", "is an entity and a value at once"
	case p.Entity == "" && p.Context != "":
		return "/target", "a context is for an entity alone"
	case p.Entity == "" && p.Role == Negates:
		return "/target", "is no delta's id, which is what negates points at"
	}
	if p.Context != "" {
		if _, err := delta.ParsePath(string(delta.Path("").Child(p.Context))); err != nil {
			return "/target/context", "cannot name a property: " + err.Error()
		}
	}
	switch p.Value.(type) {
	case nil, bool, int64, float64, string:
		return "", ""
	}
	return "/target", "is neither an entity nor a string, number, bool or null"
}
