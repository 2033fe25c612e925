package api

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A Document is one entity as a line of an import or export has it:
//
//	{"id": "host/web-1", "cpu": {"cores": 8}, "os": "linux"}
//
// All members but the id are the entity's. Where that does not do, the line
// has members that begin with "$":
//
//	{"id": "x", "$value": 5}                       an entity that is no object
//	{"id": "x", "$value": {"id": 5, "$value": 6}}  one with members of these names
//	{"id": "x", "$bags": {"/tags": ["a", "b"]}}    bags, by path
//	{"id": "x", "$counters": {"/boots": 7}}        counters, by path
//	{"id": "x", "$votes": {"/owner": {"ann": 1}}}  votes, by path and creator
//
// "$value" stands in place of plain members. A line with an id alone is an
// entity with the value {}. Concurrent values are not part of a document: an
// export has what a lossy read shows.
type Document struct {
	ID string
	// HasValue says that the entity has a value beside its bags, counters and
	// votes.
	HasValue bool
	Value    any // as delta.ParseJSON returns it
	Bags     []Bag
	Counters []Counter
	Ballots  []Ballot
}

// A Bag is a bag in a document.
type Bag struct {
	Path   Path
	Values []any
}

// A Counter is a counter in a document.
type Counter struct {
	Path Path
	N    int64
}

// A Ballot is the votes at one path of a document.
type Ballot struct {
	Path  Path
	Votes []Vote
}

// A Vote is one creator's value.
type Vote struct {
	Creator string
	Value   any
}

const (
	memberID       = "id"
	memberValue    = "$value"
	memberBags     = "$bags"
	memberCounters = "$counters"
	memberVotes    = "$votes"
)

func reserved(member string) bool {
	switch member {
	case memberID, memberValue, memberBags, memberCounters, memberVotes:
		return true
	}
	return false
}

// ParseDocument reads one line.
func ParseDocument(line []byte) (d Document, err error) {
	x, err := delta.ParseJSON(line)
	if err != nil {
		return d, err
	}
	m, ok := x.(map[string]any)
	if !ok {
		return d, errors.New(`want an object with an "id"`)
	}
	id, ok := m[memberID].(string)
	if !ok {
		if _, has := m[memberID]; has {
			return d, errors.New(`"id" is not a string`)
		}
		return d, errors.New(`"id" is missing`)
	}
	if err := delta.CheckEntity(id); err != nil {
		return d, err
	}
	d.ID = id
	plain := map[string]any{}
	for k, v := range m {
		if !reserved(k) {
			plain[k] = v
		}
	}
	value, has := m[memberValue]
	switch {
	case has && len(plain) > 0:
		return d, fmt.Errorf("%q stands beside other members", memberValue)
	case has:
		d.Value, d.HasValue = value, true
	case len(plain) > 0 || len(m) == 1:
		d.Value, d.HasValue = plain, true
	}
	return d, d.parseSpecial(m)
}

func (d *Document) parseSpecial(m map[string]any) error {
	err := eachPath(m, memberBags, func(p Path, x any) error {
		values, ok := x.([]any)
		if !ok {
			return errors.New("want an array")
		}
		d.Bags = append(d.Bags, Bag{p, values})
		return nil
	})
	if err != nil {
		return err
	}
	err = eachPath(m, memberCounters, func(p Path, x any) error {
		n, ok := x.(int64)
		if !ok {
			return errors.New("want an integer")
		}
		d.Counters = append(d.Counters, Counter{p, n})
		return nil
	})
	if err != nil {
		return err
	}
	return eachPath(m, memberVotes, func(p Path, x any) error {
		votes, ok := x.(map[string]any)
		if !ok {
			return errors.New("want an object of creators")
		}
		b := Ballot{Path: p}
		for creator, v := range votes {
			b.Votes = append(b.Votes, Vote{creator, v})
		}
		slices.SortFunc(b.Votes, func(a, b Vote) int { return cmp.Compare(a.Creator, b.Creator) })
		d.Ballots = append(d.Ballots, b)
		return nil
	})
}

// eachPath calls f for the members of a "$" member, in the order of their
// paths.
func eachPath(m map[string]any, member string, f func(Path, any) error) error {
	x, ok := m[member]
	if !ok {
		return nil
	}
	at, ok := x.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: want an object of paths", member)
	}
	paths := make([]string, 0, len(at))
	for p := range at {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, s := range paths {
		p, err := delta.ParsePath(s)
		if err == nil {
			err = f(p, at[s])
		}
		if err != nil {
			return fmt.Errorf("%s %q: %w", member, s, err)
		}
	}
	return nil
}

// AppendJSON appends the document as one line without its end.
func (d *Document) AppendJSON(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = delta.AppendAnyJSON(b, d.ID)
	member := func(name string, x any) {
		b = append(b, ',')
		b = delta.AppendAnyJSON(b, name)
		b = append(b, ':')
		b = delta.AppendAnyJSON(b, x)
	}
	if m, ok := d.plain(); ok {
		names := make([]string, 0, len(m))
		for k := range m {
			names = append(names, k)
		}
		slices.Sort(names)
		for _, k := range names {
			member(k, m[k])
		}
	} else if d.HasValue {
		member(memberValue, d.Value)
	}
	if len(d.Bags) > 0 {
		at := map[string]any{}
		for _, x := range d.Bags {
			at[string(x.Path)] = x.Values
		}
		member(memberBags, at)
	}
	if len(d.Counters) > 0 {
		at := map[string]any{}
		for _, x := range d.Counters {
			at[string(x.Path)] = x.N
		}
		member(memberCounters, at)
	}
	if len(d.Ballots) > 0 {
		at := map[string]any{}
		for _, x := range d.Ballots {
			votes := map[string]any{}
			for _, v := range x.Votes {
				votes[v.Creator] = v.Value
			}
			at[string(x.Path)] = votes
		}
		member(memberVotes, at)
	}
	return append(b, '}')
}

// plain returns the value's members where they can stand beside the id: no
// name that means something there, and no object that JSON uses for a leaf.
func (d *Document) plain() (map[string]any, bool) {
	m, ok := d.Value.(map[string]any)
	if !d.HasValue || !ok {
		return nil, false
	}
	if len(m) == 0 {
		// An id alone says {}, but not beside "$bags" and the like.
		return m, len(d.Bags)+len(d.Counters)+len(d.Ballots) == 0
	}
	for k := range m {
		if k == memberID || strings.HasPrefix(k, "$") {
			return nil, false
		}
	}
	return m, true
}

// DocumentOf returns an entity's reading as a document. It takes the
// reading's value apart.
func DocumentOf(r *rhizome.Reading) Document {
	d := Document{ID: r.Entity, HasValue: true, Value: r.Value}
	for i := 0; i < len(r.Survivors); {
		p := r.Survivors[i].Path
		n := i + 1
		for n < len(r.Survivors) && r.Survivors[n].Path == p {
			n++
		}
		d.special(p, r.Survivors[i:n], r.Survivors)
		i = n
	}
	return d
}

// special moves a bag, counter or ballot out of the document's value. What the
// lossy read hides, or shows together with something below it, stays as it
// reads.
func (d *Document) special(p Path, at, all []rhizome.Survivor) {
	verb := delta.Assign
	for i := range at {
		if at[i].Shown {
			verb = at[i].Verb
		}
	}
	if verb == delta.Assign {
		return
	}
	for i := range all {
		if strings.HasPrefix(string(all[i].Path), string(p)+"/") {
			return
		}
	}
	value, ok := lookUp(d.Value, p.Segments())
	if !ok {
		return
	}
	switch verb {
	case delta.Add:
		values, ok := value.([]any)
		if !ok {
			return
		}
		d.Bags = append(d.Bags, Bag{p, values})
	case delta.Inc:
		n, ok := value.(int64)
		if !ok {
			return // past int64: as it reads
		}
		d.Counters = append(d.Counters, Counter{p, n})
	case delta.Vote:
		d.Ballots = append(d.Ballots, Ballot{p, votesOf(at)})
	}
	d.Value, d.HasValue = prune(d.Value, p.Segments())
}

// votesOf returns each creator's newest vote. Where a creator is not named,
// it is the author.
func votesOf(at []rhizome.Survivor) []Vote {
	newest := map[string]*rhizome.Survivor{}
	for i := range at {
		s := &at[i]
		if s.Verb != delta.Vote {
			continue
		}
		who := CreatorOf(s)
		if o := newest[who]; o == nil || s.Time > o.Time || s.Time == o.Time && s.Dot.Compare(o.Dot) > 0 {
			newest[who] = s
		}
	}
	var out []Vote
	for who, s := range newest {
		x, err := s.Value.Any()
		if err != nil {
			continue // admission lets no such value in
		}
		out = append(out, Vote{who, x})
	}
	slices.SortFunc(out, func(a, b Vote) int { return cmp.Compare(a.Creator, b.Creator) })
	return out
}

// CreatorOf returns who made a survivor: the creator, else the author.
func CreatorOf(s *rhizome.Survivor) string { return creatorOf(s.Creator, s.Author) }

func creatorOf(claim string, author delta.Author) string {
	if claim != "" {
		return claim
	}
	return author.String()
}

func lookUp(x any, path []string) (any, bool) {
	for _, name := range path {
		m, ok := x.(map[string]any)
		if !ok {
			return nil, false
		}
		if x, ok = m[name]; !ok {
			return nil, false
		}
	}
	return x, true
}

// prune removes what is at the path, and the objects that this leaves empty.
func prune(x any, path []string) (rest any, left bool) {
	if len(path) == 0 {
		return nil, false
	}
	m := x.(map[string]any)
	if child, ok := prune(m[path[0]], path[1:]); ok {
		m[path[0]] = child
	} else {
		delete(m, path[0])
	}
	return m, len(m) > 0
}

// EqualValue reports whether two values as Any returns them are the same.
func EqualValue(a, b any) bool {
	x, err := delta.ValueOf(a)
	if err != nil {
		return false
	}
	y, err := delta.ValueOf(b)
	return err == nil && bytes.Equal(x, y)
}
