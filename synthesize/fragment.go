package synthesize

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A Fragment is what one document says. Parse makes them.
type Fragment struct {
	source string
	time   time.Time // the Unix epoch where it is not known
	leaves []delta.Leaf
	// canonical is what tells it from others, and orders it among those of its
	// time.
	canonical []byte

	file string
	// at is the place of the data, and root its path in the document.
	at   *place
	root delta.Path
}

// The members of an envelope.
const (
	sourceMember = "source"
	timeMember   = "time"
	dataMember   = "data"
)

// The only members of the objects that stand for references and byte strings.
const (
	refMember   = "$ref"
	bytesMember = "$bytes"
)

// newFragment makes a fragment of a document. A *valueError says where in the
// document it is wrong.
func newFragment(file string, d document) (Fragment, error) {
	f := Fragment{time: time.UnixMilli(0), file: file, at: d.at}
	identity := map[string]any{dataMember: d.value}
	if m, ok := d.value.(map[string]any); ok && isEnvelope(m) {
		identity[dataMember] = m[dataMember]
		f.root = delta.Path("").Child(dataMember)
		f.at = d.at.find(f.root)
		if x, ok := m[sourceMember]; ok {
			if f.source, ok = x.(string); !ok {
				return Fragment{}, &valueError{delta.Path("").Child(sourceMember), fmt.Errorf("the source of an envelope is a text, not %s", jsonText(x))}
			}
			identity[sourceMember] = f.source
		}
		if x, ok := m[timeMember]; ok {
			var err error
			if f.time, err = timeOf(x); err != nil {
				return Fragment{}, &valueError{delta.Path("").Child(timeMember), err}
			}
			identity[timeMember] = f.time.Format(time.RFC3339Nano)
		}
	}
	data := identity[dataMember]
	var err error
	if f.leaves, err = delta.Flatten("", data); err != nil {
		at, err := misfit("", data, err)
		return Fragment{}, &valueError{f.root + at, err}
	}
	f.canonical = canonical(identity)
	return f, nil
}

// isEnvelope reports whether an object is an envelope: it has data, and no
// members but those of an envelope.
func isEnvelope(m map[string]any) bool {
	n := 0
	for _, k := range []string{sourceMember, timeMember, dataMember} {
		if _, ok := m[k]; ok {
			n++
		}
	}
	_, ok := m[dataMember]
	return ok && n == len(m)
}

// timeOf reads the time of an envelope, in UTC.
func timeOf(x any) (time.Time, error) {
	var t time.Time
	switch x := x.(type) {
	case int64:
		if x < 0 || x > clock.MaxTimestampMillis {
			return t, fmt.Errorf("the time %d is not within 0 and %d milliseconds since 1970", x, int64(clock.MaxTimestampMillis))
		}
		return time.UnixMilli(x).UTC(), nil
	case string:
		// It takes nothing but RFC 3339, unlike time.Parse.
		if err := t.UnmarshalText([]byte(x)); err != nil {
			return t, fmt.Errorf("the time %q is not RFC 3339, as 2006-01-02T15:04:05Z is", x)
		}
		if ms := t.UnixMilli(); t.Before(time.UnixMilli(0)) || ms > clock.MaxTimestampMillis {
			return t, fmt.Errorf("the time %q is not within 1970 and %d", x, time.UnixMilli(clock.MaxTimestampMillis).UTC().Year())
		}
		return t.UTC(), nil
	}
	return t, fmt.Errorf("the time of an envelope is RFC 3339 text or an integer of milliseconds, not %s", jsonText(x))
}

// misfit returns the path of the innermost value that cannot be flattened, and
// why it cannot; why says that of the value at the given path.
func misfit(at delta.Path, x any, why error) (delta.Path, error) {
	m, ok := x.(map[string]any)
	_, ref := m[refMember]
	_, raw := m[bytesMember]
	if !ok || len(m) == 1 && (ref || raw) {
		if _, err := delta.ValueOf(x); err != nil {
			why = err
		}
		return at, why
	}
	for _, k := range sortedKeys(m) {
		child := at.Child(k)
		if _, err := delta.ParsePath(string(child)); err != nil {
			return child, err
		}
		if _, err := delta.Flatten(child, m[k]); err != nil {
			return misfit(child, m[k], err)
		}
	}
	return at, why
}

// compare orders fragments by time, then by their canonical bytes.
func (f *Fragment) compare(o *Fragment) int {
	return cmp.Or(f.time.Compare(o.time), bytes.Compare(f.canonical, o.canonical))
}

// A Source is one place that says something.
type Source struct {
	// Source and Time are those of the envelope, empty where it has none.
	Source string `json:"source,omitempty"`
	Time   string `json:"time,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
}

// String returns file and line, and the source where it is known.
func (s Source) String() string {
	text := fmt.Sprintf("%s:%d", s.File, s.Line)
	if s.Source != "" {
		text += " (" + s.Source + ")"
	}
	return text
}

func (s Source) compare(o Source) int {
	return cmp.Or(strings.Compare(s.File, o.File), cmp.Compare(s.Line, o.Line), strings.Compare(s.Source, o.Source), strings.Compare(s.Time, o.Time))
}

// says returns where the fragment says what stands at a path.
func (f *Fragment) says(p delta.Path) Source {
	s := Source{Source: f.source, File: f.file, Line: f.at.find(p).line}
	if f.time.UnixNano() != 0 {
		s.Time = f.time.Format(time.RFC3339Nano)
	}
	return s
}

// A member is a distinct fragment of a set and the places where it stands.
type member struct {
	Fragment
	copies []*Fragment // sorted by file and line
	// putOff are faults that the state has, or that other fragments mend.
	putOff []putOff
}

// A set is the distinct fragments in their order.
type set struct{ members []member }

func newSet(fragments []Fragment) *set {
	sorted := make([]*Fragment, len(fragments))
	for i := range fragments {
		sorted[i] = &fragments[i]
	}
	slices.SortFunc(sorted, func(a, b *Fragment) int {
		return cmp.Or(a.compare(b), strings.Compare(a.file, b.file), cmp.Compare(a.at.line, b.at.line))
	})
	s := new(set)
	for _, f := range sorted {
		if n := len(s.members); n > 0 && s.members[n-1].compare(f) == 0 {
			s.members[n-1].copies = append(s.members[n-1].copies, f)
			continue
		}
		s.members = append(s.members, member{Fragment: *f, copies: []*Fragment{f}})
	}
	return s
}
