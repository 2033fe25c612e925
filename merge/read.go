package merge

import (
	"bytes"
	"cmp"
	"math/big"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
)

// A Property is the survivors at one path, and what a lossy read shows.
type Property struct {
	Path delta.Path
	// Survivors are in last-write-wins order, the newest first.
	Survivors []Survivor
	// Shown says for each survivor whether the lossy value shows it.
	Shown []bool
	// Value is the lossy value, as delta.Value.Any returns it.
	Value any
	// Conflict says that the value hides a survivor which differs from it: a
	// concurrent assignment of another value, or another verb at the path. The
	// votes that lose a ballot are no conflict.
	Conflict bool
}

// A Reading is a read of all at and below a path, lossless and lossy.
type Reading struct {
	Properties []Property
	// Value is the lossy document; meaningless where there are no properties.
	Value any
	// Conflicts are the paths at which the document hides something.
	Conflicts []delta.Path
	// ETag changes whenever a survivor here does.
	ETag digest.Sum
}

// Read reads all at and below a path. Found is false where nothing lives.
func Read(v View, entity string, p delta.Path) (r Reading, found bool, err error) {
	var exact []byte // the prefix of the rows of the last property
	err = v.Rows(AppendPrefix(nil, entity, p), func(key []byte, row []Survivor) error {
		if len(exact) == 0 || !bytes.HasPrefix(key, exact) {
			_, path, tag, err := ParseKey(key)
			if err != nil {
				return err
			}
			exact = append(exact[:0], key[:len(key)-len(tag)]...)
			r.Properties = append(r.Properties, Property{Path: path})
		}
		for i := range row {
			r.ETag = r.ETag.Plus(row[i].Sum(key))
		}
		last := &r.Properties[len(r.Properties)-1]
		last.Survivors = append(last.Survivors, row...)
		return nil
	})
	if err != nil || len(r.Properties) == 0 {
		return Reading{}, false, err
	}
	r.finish(p)
	return r, true, nil
}

// finish resolves the properties and folds them into one document.
func (r *Reading) finish(root delta.Path) {
	for i := range r.Properties {
		r.Properties[i].resolve()
	}
	t := tree{conflicts: &r.Conflicts}
	r.Value, _ = t.fold(root, r.Properties)
	slices.Sort(r.Conflicts)
	r.Conflicts = slices.Compact(r.Conflicts)
}

// resolve computes the lossy value. Where verbs meet at one path, that of the
// newest survivor says how the property reads.
func (p *Property) resolve() {
	slices.SortFunc(p.Survivors, func(a, b Survivor) int { return b.compare(&a) })
	p.Shown = make([]bool, len(p.Survivors))
	switch verb := p.Survivors[0].Verb; verb {
	case delta.Add:
		p.Value = p.set()
	case delta.Inc:
		p.Value = p.sum()
	case delta.Vote:
		p.Value = p.plurality()
	default:
		p.Value = anyOf(p.Survivors[0].Value)
		for i := range p.Survivors {
			same := bytes.Equal(p.Survivors[i].Value, p.Survivors[0].Value)
			p.Shown[i] = i == 0
			p.Conflict = p.Conflict || !same
		}
	}
	for i := range p.Survivors {
		p.Conflict = p.Conflict || p.Survivors[i].Verb != p.Survivors[0].Verb
	}
}

// anyOf decodes a value that admission has already checked.
func anyOf(v delta.Value) any {
	x, err := v.Any()
	if err != nil {
		return nil
	}
	return x
}

// set returns the distinct values of a bag in the order of their bytes.
func (p *Property) set() any {
	var values []delta.Value
	for i := range p.Survivors {
		if p.Survivors[i].Verb == delta.Add {
			p.Shown[i] = true
			values = append(values, p.Survivors[i].Value)
		}
	}
	slices.SortFunc(values, func(a, b delta.Value) int { return bytes.Compare(a, b) })
	values = slices.CompactFunc(values, func(a, b delta.Value) bool { return bytes.Equal(a, b) })
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = anyOf(v)
	}
	return out
}

// sum returns the total of a counter: an int64, or a float64 where concurrent
// increments together pass int64.
func (p *Property) sum() any {
	total := new(big.Int)
	for i := range p.Survivors {
		if inc, ok := p.Survivors[i].Value.Inc(); ok && p.Survivors[i].Verb == delta.Inc {
			p.Shown[i] = true
			total.Add(total, big.NewInt(inc.Total))
		}
	}
	if total.IsInt64() {
		return total.Int64()
	}
	f, _ := new(big.Float).SetInt(total).Float64()
	return f
}

// plurality returns the value that most creators hold; among equals, the one
// whose newest vote is newest. A creator with concurrent values counts once,
// for the newest.
func (p *Property) plurality() any {
	type choice struct {
		value  delta.Value
		newest int // index of its newest vote: lower is newer
		votes  int
	}
	var choices []choice
	at := map[string]int{} // of each value in choices
	seen := map[string]bool{}
	for i := range p.Survivors {
		s := &p.Survivors[i]
		who := s.Creator
		if who == "" {
			// The claim is empty: the lane's author voted for itself.
			who = "\x00" + string(s.Dot.Lane[:])
		}
		if s.Verb != delta.Vote || seen[who] {
			continue
		}
		seen[who] = true
		c, ok := at[string(s.Value)]
		if !ok {
			c = len(choices)
			at[string(s.Value)] = c
			choices = append(choices, choice{value: s.Value, newest: i})
		}
		choices[c].votes++
	}
	best := slices.MaxFunc(choices, func(a, b choice) int {
		return cmp.Or(cmp.Compare(a.votes, b.votes), cmp.Compare(b.newest, a.newest))
	})
	for i := range p.Survivors {
		s := &p.Survivors[i]
		p.Shown[i] = s.Verb == delta.Vote && bytes.Equal(s.Value, best.value)
	}
	return anyOf(best.value)
}

// A tree folds properties, sorted by key and so a path before what is below
// it, into a document.
type tree struct{ conflicts *[]delta.Path }

// fold returns the document at a path and its newest survivor.
func (t *tree) fold(at delta.Path, props []Property) (any, *Survivor) {
	var own *Property
	if len(props) > 0 && props[0].Path == at {
		own, props = &props[0], props[1:]
		if own.Conflict {
			*t.conflicts = append(*t.conflicts, at)
		}
	}
	if len(props) == 0 {
		return own.Value, &own.Survivors[0]
	}
	object := map[string]any{}
	var newest *Survivor
	for len(props) > 0 {
		child := childOf(at, props[0].Path)
		n := 1
		for n < len(props) && under(child, props[n].Path) {
			n++
		}
		value, s := t.fold(child, props[:n])
		object[segment(child[len(at):])] = value
		if newest == nil || s.newer(newest) {
			newest = s
		}
		props = props[n:]
	}
	if own == nil {
		return object, newest
	}
	*t.conflicts = append(*t.conflicts, at)
	if own.Survivors[0].newer(newest) {
		return own.Value, &own.Survivors[0]
	}
	return object, newest
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
