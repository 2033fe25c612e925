package merge

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
)

// ReadWith is Read by the rules of an entity; nil rules are none. Properties
// without a rule read by their verb. An entity that has no survivors is not
// there, whatever the rules give.
//
// A property that cannot be told has an error in place of a value, and so have
// those that depend on it; all others read as ever.
//
// Below the path of a rule, what is read is that part of the rule's property:
// the errors of the property come with it, and where the part is inside one
// value, such as a default, the reading has one property there that has no
// survivors.
func ReadWith(v View, entity string, p delta.Path, rules *Rules) (Reading, bool, error) {
	if rules == nil {
		return Read(v, entity, p)
	}
	e := evaluation{
		view: v, entity: entity, at: p, rules: rules, index: rules.indexed(),
		values: make(map[string]any), failed: make(map[string]*PropertyError), errs: make(map[delta.Path]error),
	}
	found, err := e.run()
	if err != nil || !found {
		return Reading{}, false, err
	}
	e.r.Rules = rules.Name
	return e.r, true, nil
}

// An evaluation is one read by rules.
type evaluation struct {
	view   View
	entity string
	at     delta.Path
	rules  *Rules
	index  *ruleIndex

	// root is the path from which what is read is put together, and scope the one
	// at and below which properties bear on it. Invariant: scope is root or "".
	root, scope delta.Path
	r           Reading
	// made are the properties to which only a rule gives a value or an error.
	made []Property
	// values and failed hold, by id, what became of the rules so far.
	values map[string]any
	failed map[string]*PropertyError
	// errs are what went wrong when survivors were moved.
	errs map[delta.Path]error
	// broken is why the state could not be read; nothing is shown then.
	broken error
}

func (e *evaluation) run() (found bool, err error) {
	e.root = e.index.rootOf(e.at)
	if e.index.local {
		e.scope = e.root
	}
	if err := e.r.scan(e.view, e.entity, e.scope, e.within()); err != nil {
		return false, err
	}
	e.keep()
	if len(e.r.Properties) == 0 {
		// Below a path, an entity that lives may still have what rules give.
		there := false
		if e.scope != "" {
			there, err = e.exists()
		}
		if !there || err != nil {
			return false, err
		}
	}
	e.move()
	for i := range e.r.Properties {
		if p := &e.r.Properties[i]; e.index.ruleFor(p.Path) == nil {
			e.free(p)
		}
	}
	for _, rule := range e.index.cyclic {
		e.settle(rule, e.find(rule.Path), Failf(ErrorDependency, "it waits for itself"))
	}
	matched := e.matched()
	for _, rule := range e.index.order {
		if under(e.scope, rule.Path) {
			matched = e.readBelow(rule.Path, matched)
			e.property(rule)
		}
	}
	e.readBelow("", matched)
	e.collect()
	return len(e.r.Properties) > 0, e.broken
}

// exists reports whether the entity has any survivor that is to be read.
func (e *evaluation) exists() (bool, error) {
	if e.rules.Keep == nil {
		return Exists(e.view, e.entity)
	}
	found := errors.New("found")
	err := e.view.Rows(AppendPrefix(nil, e.entity, ""), func(key []byte, row []Survivor) error {
		_, p, _, err := ParseKey(key)
		if err == nil && slices.ContainsFunc(row, func(s Survivor) bool { return e.rules.Keep(p, &s) }) {
			return found
		}
		return err
	})
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}

// within says which survivors the ETag is of: those that are read at or below
// the path. It is nil where that is all that are scanned.
func (e *evaluation) within() func(delta.Path, *Survivor) bool {
	switch {
	case e.at == e.scope && (e.at == "" || len(e.rules.Moves) == 0):
		return nil
	case len(e.rules.Moves) == 0:
		return func(p delta.Path, _ *Survivor) bool { return under(e.at, p) }
	}
	return func(p delta.Path, s *Survivor) bool {
		x := Standing{Places: e.rules.places(p, s)}
		return x.readsIn(e.at)
	}
}

// keep leaves out the survivors that are not to be read.
func (e *evaluation) keep() {
	if e.rules.Keep == nil {
		return
	}
	kept := e.r.Properties[:0]
	for _, p := range e.r.Properties {
		p.Survivors = slices.DeleteFunc(p.Survivors, func(s Survivor) bool { return !e.rules.Keep(p.Path, &s) })
		if len(p.Survivors) > 0 {
			kept = append(kept, p)
		}
	}
	e.r.Properties = kept
}

// move reads each survivor where and as what the newest version of the schema
// has it.
func (e *evaluation) move() {
	if len(e.rules.Moves) == 0 {
		return
	}
	at := make(map[delta.Path]int)
	var moved []Property
	for i := range e.r.Properties {
		p := &e.r.Properties[i]
		for j := range p.Survivors {
			for _, x := range e.rules.places(p.Path, &p.Survivors[j]) {
				if x.Err != nil {
					e.errs[x.Path] = x.Err
					continue
				}
				k, ok := at[x.Path]
				if !ok {
					k = len(moved)
					at[x.Path] = k
					moved = append(moved, Property{Path: x.Path})
				}
				moved[k].Survivors = append(moved[k].Survivors, x.Survivor)
			}
		}
	}
	for p := range e.errs { // each only gets a place of its own
		if _, ok := at[p]; !ok {
			moved = append(moved, Property{Path: p})
		}
	}
	e.r.Properties = moved
	sortByKey(e.r.Properties)
}

// as returns the survivor with another value.
func (s *Survivor) as(x any) Survivor {
	out := *s
	v := encoded(x)
	if s.Verb == delta.Inc {
		if total, ok := s.reads().(int64); ok && bytes.Equal(v, delta.Int(total)) {
			return out
		}
		out.Verb = delta.Assign
	}
	out.Value = v
	return out
}

// sortByKey sorts properties as their rows are.
func sortByKey(props []Property) {
	slices.SortFunc(props, func(a, b Property) int { return comparePaths(a.Path, b.Path) })
}

// Exists reports whether an entity has any survivor.
func Exists(v View, entity string) (bool, error) {
	found := errors.New("found")
	err := v.Rows(AppendPrefix(nil, entity, ""), func([]byte, []Survivor) error { return found })
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}

// free reads a property that no rule names.
func (e *evaluation) free(p *Property) {
	err := e.errs[p.Path]
	if err == nil {
		err = p.resolve(e.entity, e.rules.Author)
	}
	if err != nil {
		if p.fail(err); len(p.Survivors) == 0 {
			e.made = append(e.made, *p)
		}
	}
}

// property reads the property of a rule.
func (e *evaluation) property(rule *Rule) {
	p := e.find(rule.Path)
	deps, err := e.deps(rule)
	if err != nil {
		e.settle(rule, p, err)
		return
	}
	below := e.members(rule.Path)
	if p == nil && (len(below) == 0 || len(rule.Deps) > 0) {
		p = &Property{Path: rule.Path, Absent: true}
		if len(rule.Deps) > 0 && rule.Resolver != nil {
			err = e.own(rule, p, deps)
		}
		e.settle(rule, p, err)
		return
	}
	if p != nil {
		err = e.own(rule, p, deps)
	}
	if err == nil && len(below) > 0 {
		var has bool
		has, err = e.object(rule, p, below)
		if p == nil && has {
			return // its value is put together of those below it
		}
	}
	e.settle(rule, p, err)
}

// own resolves the survivors that stand at the property's own path.
func (e *evaluation) own(rule *Rule, p *Property, deps map[string]any) error {
	p.ID, p.Use, p.Deps = rule.ID, rule.Use, deps
	if err := e.errs[p.Path]; err != nil {
		return err
	}
	p.sort()
	in := Input{Entity: e.entity, Path: p.Path, Survivors: p.Survivors, Deps: deps, Author: e.rules.Author}
	taken, refusal := in.check(rule)
	if refusal != nil && len(in.Survivors) == 0 && !rule.Computed {
		return refusal
	}
	if rule.Resolver == nil {
		return e.byVerb(p, in.Survivors, taken)
	}
	if in.Values == nil {
		in.Values = make([]any, len(in.Survivors))
		for i := range in.Survivors {
			in.Values[i] = in.Survivors[i].reads()
		}
	}
	out, err := call(rule.Resolver, &in)
	if err != nil {
		return err
	}
	if out.Alarm != "" {
		e.r.Alarms = append(e.r.Alarms, out.Alarm)
	}
	p.Why, p.Value, p.Absent = out.Why+passedOver(taken), out.Value, out.Absent
	p.Conflict = out.Conflict || refusal != nil
	p.spread(taken, out.Shown)
	return nil
}

// byVerb resolves the survivors that a rule has taken as if there were none.
func (e *evaluation) byVerb(p *Property, survivors []Survivor, taken []bool) error {
	q := Property{Path: p.Path, Survivors: survivors}
	if err := q.resolve(e.entity, e.rules.Author); err != nil {
		return err
	}
	p.Use, p.Why, p.Value, p.Absent = q.Use, q.Why+passedOver(taken), q.Value, false
	p.Conflict = q.Conflict || taken != nil
	p.spread(taken, q.Shown)
	return nil
}

// passedOver says how many survivors a rule did not take; nil stands for none.
func passedOver(taken []bool) string {
	n := 0
	for _, ok := range taken {
		if !ok {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", with %d passed over that may not stand there", n)
}

// spread notes which of all survivors are shown, given which of those taken
// are; nil stands for all, both times.
func (p *Property) spread(taken, shown []bool) {
	p.Shown = make([]bool, len(p.Survivors))
	for i, j := 0, 0; i < len(p.Shown); i++ {
		if taken != nil && !taken[i] {
			continue
		}
		p.Shown[i] = shown == nil || j < len(shown) && shown[j]
		j++
	}
}

// check leaves out the survivors whose value a rule refuses. taken is nil where
// it refuses none.
func (in *Input) check(rule *Rule) (taken []bool, refusal error) {
	if rule.Computed && len(in.Survivors) > 0 {
		taken, in.Survivors = make([]bool, len(in.Survivors)), nil
		return taken, Failf(ErrorType, "it is computed, and was written")
	}
	if rule.Check == nil {
		return nil, nil
	}
	in.Values = make([]any, len(in.Survivors))
	for i := range in.Survivors {
		in.Values[i] = in.Survivors[i].reads()
		err := rule.Check(in.Values[i])
		if err != nil && refusal == nil {
			refusal = Failf(ErrorType, "%v", err)
			taken = make([]bool, len(in.Survivors))
			for j := range i {
				taken[j] = true
			}
		}
		if taken != nil {
			taken[i] = err == nil
		}
	}
	if taken == nil {
		return nil, nil
	}
	var survivors []Survivor
	var values []any
	for i, ok := range taken {
		if ok {
			survivors, values = append(survivors, in.Survivors[i]), append(values, in.Values[i])
		}
	}
	in.Survivors, in.Values = survivors, values
	return taken, refusal
}

// call calls a resolver, which may be anybody's.
func call(r Resolver, in *Input) (out Output, err error) {
	defer func() {
		if x := recover(); x != nil {
			err = Failf(ErrorFailed, "the resolver panicked: %v", x)
		}
	}()
	return r.Resolve(in)
}

// object checks a property whose value stands leaf by leaf below its path, and
// reports whether it has one. One that breaks its type reads as nothing.
func (e *evaluation) object(rule *Rule, own *Property, below []Property) (has bool, err error) {
	props := below
	if own != nil {
		props = append([]Property{*own}, below...)
	}
	var hidden []delta.Path
	t := tree{conflicts: &hidden}
	value, _, absent := t.fold(rule.Path, props)
	if absent {
		return false, nil
	}
	for _, check := range []func(any) error{rule.Check, rule.Result} {
		if check == nil {
			continue
		}
		if err := check(value); err != nil {
			for i := range below {
				below[i].Absent = true
				below[i].Shown = make([]bool, len(below[i].Survivors))
			}
			return false, Failf(ErrorType, "%v", err)
		}
	}
	e.values[rule.ID] = value
	return true, nil
}

// deps gathers what a rule's resolver depends on.
func (e *evaluation) deps(rule *Rule) (map[string]any, error) {
	if len(rule.Deps) == 0 {
		return nil, nil
	}
	deps := make(map[string]any, len(rule.Deps))
	for _, d := range rule.Deps {
		if failed := e.failed[d.ID]; failed != nil {
			return nil, Failf(ErrorDependency, "%s: %s: %s", d.ID, failed.Kind, failed.Text)
		}
		x, ok := e.values[d.ID]
		switch {
		case ok:
			deps[d.ID] = x
		case !d.Optional:
			return nil, Failf(ErrorDependency, "%s has no value", d.ID)
		}
	}
	return deps, nil
}

// settle notes what became of a rule's property: after its resolver its type,
// its reference, its default.
func (e *evaluation) settle(rule *Rule, p *Property, err error) {
	if p == nil {
		p = &Property{Path: rule.Path, Absent: true}
	}
	p.ID = rule.ID
	if err == nil && !p.Absent && rule.Result != nil {
		if wrong := rule.Result(p.Value); wrong != nil {
			err = Failf(ErrorType, "%v", wrong)
		}
	}
	if err == nil && !p.Absent && rule.Ref != nil {
		err = e.refer(rule.Ref, p)
	}
	if err == nil && p.Absent {
		switch {
		case rule.HasDefault:
			p.Value, p.Absent, p.Why = clone(rule.Default), false, "the default" // readers may change theirs
		case rule.Required:
			err = Failf(ErrorMissing, "it is required, and has no value")
		}
	}
	if err != nil {
		p.fail(err)
		e.failed[rule.ID] = p.Err
	} else if !p.Absent {
		if _, ok := e.values[rule.ID]; !ok {
			e.values[rule.ID] = p.Value
		}
	}
	if len(p.Survivors) == 0 && (err != nil || !p.Absent) {
		e.made = append(e.made, *p)
	}
}

// find returns the property with survivors at a path, or the place of one that
// a move failed for; nil where there is none.
func (e *evaluation) find(p delta.Path) *Property {
	i, ok := e.search(p)
	if !ok {
		return nil
	}
	return &e.r.Properties[i]
}

func (e *evaluation) search(p delta.Path) (int, bool) {
	lo, hi := 0, len(e.r.Properties)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if comparePaths(e.r.Properties[mid].Path, p) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(e.r.Properties) && e.r.Properties[lo].Path == p
}

// members returns the properties with survivors below a path.
func (e *evaluation) members(p delta.Path) []Property {
	i, ok := e.search(p)
	if ok {
		i++
	}
	n := i
	for n < len(e.r.Properties) && under(p, e.r.Properties[n].Path) {
		n++
	}
	return e.r.Properties[i:n]
}

// refer looks at the references that a property's value is or holds.
func (e *evaluation) refer(rule *RefRule, p *Property) error {
	list, many := p.Value.([]any)
	if !many {
		list = []any{p.Value}
	}
	kept := make([]any, 0, len(list))
	for _, x := range list {
		target, ok := RefOf(x)
		if !ok || rule.Match != nil && !rule.Match(target) {
			return Failf(ErrorType, "%s does not refer to what it may: %s", delta.AppendAnyJSON(nil, x), kindOf(x))
		}
		there, err := Exists(e.view, target)
		if err != nil {
			e.broken = fmt.Errorf("look up %s: %w", target, err)
			return e.broken
		}
		switch {
		case there || rule.Dangling == DanglingKeep || rule.Dangling == "":
			kept = append(kept, x)
		case rule.Dangling == DanglingNull:
			kept = append(kept, nil)
		case rule.Dangling == DanglingError:
			return Failf(ErrorRef, "it refers to %s, which is not there", target)
		}
	}
	switch {
	case many:
		p.Value = kept
	case len(kept) == 0:
		p.Value, p.Absent = nil, true
	default:
		p.Value = kept[0]
	}
	return nil
}

// RefOf returns the entity that a value refers to.
func RefOf(x any) (entity string, ok bool) {
	m, isMap := x.(map[string]any)
	if !isMap || len(m) != 1 {
		return "", false
	}
	entity, ok = m["$ref"].(string)
	return entity, ok && delta.CheckEntity(entity) == nil
}
