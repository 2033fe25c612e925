package synthesize

import (
	"errors"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// cover returns rules that decide or keep each conflict of values at one path,
// and notes the conflicts. Those that no rule covers stay open.
func (f *folding) cover(state *merge.MemState) (*merge.Rules, error) {
	rules := &merge.Rules{
		Name: f.rules.Name, Author: f.author, Keep: f.rules.Keep, // its Moves are applied: see set.flatten
		Properties: slices.Clone(f.rules.Properties),
	}
	for i := range rules.Properties {
		if p := &rules.Properties[i]; p.Ref != nil {
			// What is referred to is not here to be looked up.
			p.Ref = &merge.RefRule{Match: p.Ref.Match, Dangling: merge.DanglingKeep}
		}
	}
	r, _, err := merge.Read(state, entity, "")
	if err != nil {
		return nil, err
	}
	for i := range r.Properties {
		p := &r.Properties[i]
		if !p.Conflict {
			continue
		}
		c := f.same(p)
		rule := ruleOf(f.rules, p.Path)
		switch {
		case rule != nil && rule.Resolver != nil:
			c.Status, c.Rule = Resolved, rule.Use
		case f.policy.Resolver != nil:
			c.Status, c.Rule = Resolved, f.policy.Use
			f.decide(rules, p, f.policy.Resolver)
		case f.policy.Keep:
			c.Status = Kept
			f.decide(rules, p, merge.ResolverFunc(keep))
		default:
			c.Status = Open
		}
		f.conflicts = append(f.conflicts, c)
	}
	return rules, nil
}

// decide has a resolver decide a property, whatever else rules say of it.
func (f *folding) decide(rules *merge.Rules, p *merge.Property, r merge.Resolver) {
	rule := merge.Rule{ID: string(p.Path)}
	if old := ruleOf(rules, p.Path); old != nil {
		if old.Path == p.Path {
			old.Resolver = r
			return
		}
		rule = *old
	}
	rule.Path, rule.Resolver = p.Path, r
	if slices.Contains(p.Path.Segments(), "*") {
		// As a rule it would be for other properties too.
		f.apart = append(f.apart, decision{rule, p})
		return
	}
	rules.Properties = append(rules.Properties, rule)
}

// A decision is a rule for a property that no rule can name.
type decision struct {
	rule     merge.Rule
	property *merge.Property
}

// read returns what the rules make of the state. What a resolver cannot decide
// is a conflict that is open, or else an error of the state.
func (f *folding) read(state *merge.MemState, rules *merge.Rules) (*tree, error) {
	r, found, err := merge.ReadWith(state, entity, "", rules)
	if err != nil {
		return nil, err
	}
	doc := newTree()
	if found && !r.Absent {
		doc.root = r.Value
	}
	var errs Errors
	fail := func(e *merge.PropertyError) {
		if !f.reopen(e.Path, e) {
			errs = append(errs, &StateError{e})
		}
	}
	for _, e := range r.Errors {
		fail(e)
	}
	for i := range r.Properties {
		// What a resolver returns may be anything.
		p := &r.Properties[i]
		if _, err := delta.ValueOf(p.Value); err != nil && !p.Absent {
			fail(&merge.PropertyError{Path: p.Path, Property: p.ID, Kind: merge.ErrorOutput, Text: err.Error()})
		}
	}
	f.alarms = append(f.alarms, r.Alarms...)
	for i := range f.apart {
		d := &f.apart[i]
		out, err := resolve(rules, &d.rule, d.property)
		switch {
		case err != nil:
			f.reopen(d.property.Path, err)
		case out.Absent:
			doc.remove(d.property.Path)
		default:
			doc.set(d.property.Path, out.Value)
		}
	}
	return doc, errs.orNil()
}

// reopen opens the conflict at a path again, which its resolver could not
// decide. It reports whether there is one.
func (f *folding) reopen(p delta.Path, err error) bool {
	for i := range f.conflicts {
		if c := &f.conflicts[i]; c.Path == string(p) {
			c.Status, c.Reason = Open, err.Error()
			return true
		}
	}
	return false
}

// resolve asks a rule's resolver for the value of a property.
func resolve(rules *merge.Rules, rule *merge.Rule, p *merge.Property) (merge.Output, error) {
	in := merge.Input{Entity: entity, Path: p.Path, Survivors: p.Survivors, Author: rules.Author}
	for i := range p.Survivors {
		in.Values = append(in.Values, anyOf(p.Survivors[i].Value))
	}
	out, err := rule.Resolver.Resolve(&in)
	var v delta.Value
	if err == nil && !out.Absent {
		if v, err = delta.ValueOf(out.Value); err == nil {
			out.Value = anyOf(v)
			return out, nil
		}
		err = merge.Failf(merge.ErrorOutput, "%v", err)
	}
	if err != nil {
		failed := merge.Failf(merge.ErrorFailed, "%v", err)
		_ = errors.As(err, &failed) // it may say of which kind it is
		return out, &merge.PropertyError{Path: p.Path, Property: rule.ID, Kind: failed.Kind, Text: failed.Text}
	}
	return out, nil
}
