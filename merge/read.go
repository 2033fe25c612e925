package merge

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
)

// A Property is the survivors at one path, and what a lossy read shows.
type Property struct {
	Path delta.Path
	// Survivors are in last-write-wins order, the newest first. There are none
	// where a rule gave the property its value.
	Survivors []Survivor
	// Shown says for each survivor whether the lossy value shows it.
	Shown []bool
	// Value is the lossy value, as delta.Value.Any returns it.
	Value any
	// Absent says that there is no value, by a rule or for Err.
	Absent bool
	// Conflict says that the value hides a survivor which differs from it: a
	// concurrent assignment of another value, or another verb at the path. The
	// votes that lose a ballot are no conflict.
	Conflict bool
	// ID is that of the property's rule, and Use its resolver; empty without.
	ID, Use string
	// Why says what decided.
	Why string
	// Deps are the values of other properties that the resolver was given.
	Deps map[string]any
	// Err is why the property has no value.
	Err *PropertyError
}

// A Reading is a read of all at and below a path, lossless and lossy.
type Reading struct {
	Properties []Property
	// Value is the lossy document; meaningless where there are no properties.
	Value any
	// Absent says that no property here has a value.
	Absent bool
	// Conflicts are the paths at which the document hides something.
	Conflicts []delta.Path
	// Errors are those of the properties here, by path.
	Errors []*PropertyError
	// Alarms are what the resolvers want a person to be told.
	Alarms []string
	// ETag changes whenever a survivor does that is read here; zero where there
	// is none.
	ETag digest.Sum
	// Rules is the name of the rules that were followed, "" for none.
	Rules string
}

// Read reads all at and below a path, each property by its verb alone. Found is
// false where nothing lives.
func Read(v View, entity string, p delta.Path) (r Reading, found bool, err error) {
	if err = r.scan(v, entity, p, nil); err != nil || len(r.Properties) == 0 {
		return Reading{}, false, err
	}
	for i := range r.Properties {
		if err := r.Properties[i].resolve(entity, nil); err != nil {
			r.Properties[i].fail(err)
		}
	}
	r.finish(p)
	return r, true, nil
}

// scan reads the rows of an entity at and below a path. The ETag is of the
// survivors within; nil takes all.
func (r *Reading) scan(v View, entity string, p delta.Path, within func(p delta.Path, s *Survivor) bool) error {
	var exact []byte // the prefix of the rows of the last property
	return v.Rows(AppendPrefix(nil, entity, p), func(key []byte, row []Survivor) error {
		if len(exact) == 0 || !bytes.HasPrefix(key, exact) {
			_, path, tag, err := ParseKey(key)
			if err != nil {
				return err
			}
			exact = append(exact[:0], key[:len(key)-len(tag)]...)
			r.Properties = append(r.Properties, Property{Path: path})
		}
		last := &r.Properties[len(r.Properties)-1]
		for i := range row {
			if within == nil || within(last.Path, &row[i]) {
				r.ETag = r.ETag.Plus(row[i].Sum(key))
			}
		}
		last.Survivors = append(last.Survivors, row...)
		return nil
	})
}

// finish folds the properties into one document.
func (r *Reading) finish(root delta.Path) {
	t := tree{conflicts: &r.Conflicts}
	r.Value, _, r.Absent = t.fold(root, r.Properties)
	slices.Sort(r.Conflicts)
	r.Conflicts = slices.Compact(r.Conflicts)
	for i := range r.Properties {
		if err := r.Properties[i].Err; err != nil {
			r.Errors = append(r.Errors, err)
		}
	}
}

// fail notes why the property has no value.
func (p *Property) fail(err error) {
	var e *PropertyError
	if !errors.As(err, &e) {
		e = Failf(ErrorFailed, "%v", err)
	}
	own := *e // resolvers may return one error many times
	own.Path, own.Property = p.Path, cmp.Or(p.ID, string(p.Path))
	p.Err, p.Absent, p.Value, p.Conflict = &own, true, nil, false
	p.Shown = make([]bool, len(p.Survivors))
}

// sort brings the survivors into canonical order.
func (p *Property) sort() {
	slices.SortFunc(p.Survivors, func(a, b Survivor) int { return b.compare(&a) })
}

// byVerb are the resolvers of properties without a rule.
var byVerb = map[delta.Verb]struct {
	use string
	Resolver
}{
	delta.Assign: {LastWriteWins, ResolverFunc(lastWrite)},
	delta.Add:    {Set, ResolverFunc(distinct)},
	delta.Inc:    {Sum, ResolverFunc(sum)},
	delta.Vote:   {Majority, majority{votes: 1}},
}

// resolve computes the lossy value by the survivors' verb. Where verbs meet at
// one path, that of the newest survivor says how the property reads, and the
// others are hidden.
func (p *Property) resolve(entity string, author func(clock.LaneID) string) error {
	p.sort()
	verb := p.Survivors[0].Verb
	in := Input{Entity: entity, Path: p.Path, Survivors: p.Survivors, Author: author}
	mixed := slices.ContainsFunc(p.Survivors, func(s Survivor) bool { return s.Verb != verb })
	if mixed {
		in.Survivors = nil
		for i := range p.Survivors {
			if p.Survivors[i].Verb == verb {
				in.Survivors = append(in.Survivors, p.Survivors[i])
			}
		}
	}
	d := byVerb[verb]
	out, err := d.Resolve(&in)
	if err != nil {
		return err
	}
	p.Use, p.Why, p.Value, p.Conflict = d.use, out.Why, out.Value, out.Conflict || mixed
	p.Shown = make([]bool, len(p.Survivors))
	for i, j := 0, 0; i < len(p.Survivors); i++ {
		if p.Survivors[i].Verb == verb {
			p.Shown[i] = out.Shown == nil || out.Shown[j]
			j++
		}
	}
	return nil
}

// anyOf decodes a value that admission has already checked.
func anyOf(v delta.Value) any {
	x, err := v.Any()
	if err != nil {
		return nil
	}
	return x
}

// A tree folds properties, sorted by key and so a path before what is below
// it, into a document.
type tree struct{ conflicts *[]delta.Path }

// fold returns the document at a path and its newest survivor, nil where rules
// made all of it. absent says that no property of it has a value.
func (t *tree) fold(at delta.Path, props []Property) (value any, newest *Survivor, absent bool) {
	var own *Property
	if len(props) > 0 && props[0].Path == at {
		own, props = &props[0], props[1:]
		if own.Conflict {
			*t.conflicts = append(*t.conflicts, at)
		}
	}
	if own != nil && len(props) == 0 {
		return own.Value, own.newest(), own.Absent
	}
	object := map[string]any{}
	for len(props) > 0 {
		child := childOf(at, props[0].Path)
		n := 1
		for n < len(props) && under(child, props[n].Path) {
			n++
		}
		value, s, none := t.fold(child, props[:n])
		if !none {
			object[segment(child[len(at):])] = value
		}
		if s != nil && (newest == nil || s.newer(newest)) {
			newest = s
		}
		props = props[n:]
	}
	empty := len(object) == 0
	if own == nil || own.Absent && len(own.Survivors) == 0 {
		return object, newest, empty
	}
	s := own.newest()
	if s != nil && newest != nil { // what only rules made stands in nobody's way
		*t.conflicts = append(*t.conflicts, at)
	}
	if newest == nil || s == nil && empty || s != nil && s.newer(newest) {
		return own.Value, s, own.Absent
	}
	return object, newest, empty
}

// newest returns the newest survivor, nil where there is none.
func (p *Property) newest() *Survivor {
	if len(p.Survivors) == 0 {
		return nil
	}
	return &p.Survivors[0]
}

// childOf returns the path one step below at, on the way to p.
func childOf(at, p delta.Path) delta.Path {
	for i := len(at) + 1; i < len(p); i++ {
		if p[i] == '/' {
			return p[:i]
		}
	}
	return p
}

func under(at, p delta.Path) bool {
	return p == at || len(p) > len(at) && p[:len(at)] == at && p[len(at)] == '/'
}
