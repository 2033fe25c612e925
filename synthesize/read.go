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
	rules := *f.rules
	rules.Moves = nil // they are applied: see set.flatten
	rules.Author = f.author
	rules.Properties = slices.Clone(rules.Properties)
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
		rule := ruleOf(&rules, p.Path)
		switch {
		case rule != nil && rule.Resolver != nil:
			c.Status, c.Rule = Resolved, rule.Use
		case f.policy.Resolver != nil:
			c.Status, c.Rule = Resolved, f.policy.Use
			decide(&rules, p.Path, f.policy.Resolver, f.policy.Use)
		case f.policy.Keep:
			c.Status = Kept
			decide(&rules, p.Path, merge.ResolverFunc(keep), "keep")
		default:
			c.Status = Open
		}
		f.conflicts = append(f.conflicts, c)
	}
	return &rules, nil
}

// decide has a resolver decide the property at a path, whatever else rules say
// of it.
func decide(rules *merge.Rules, p delta.Path, r merge.Resolver, use string) {
	rule := merge.Rule{ID: string(p)}
	if old := ruleOf(rules, p); old != nil {
		rule = *old
		if old.Path == p {
			old.Resolver, old.Use = r, use
			return
		}
	}
	rule.Path, rule.Resolver, rule.Use = p, r, use
	rules.Properties = append(rules.Properties, rule)
}

// read returns what the rules make of the state. What a resolver cannot decide
// is a conflict that is open, or else an error of the state.
func (f *folding) read(state *merge.MemState, rules *merge.Rules) (*tree, error) {
	r, _, err := merge.Read(state, entity, "")
	if err != nil {
		return nil, err
	}
	doc := newTree()
	var errs Errors
	for i := range r.Properties {
		p := &r.Properties[i]
		rule := ruleOf(rules, p.Path)
		if rule == nil || rule.Resolver == nil {
			doc.set(p.Path, p.Value)
			continue
		}
		out, err := resolve(rules, rule, p)
		switch {
		case err != nil && !f.reopen(p.Path, err):
			errs = append(errs, &StateError{err})
		case err == nil && !out.Absent:
			doc.set(p.Path, out.Value)
		}
		if out.Alarm != "" {
			f.alarms = append(f.alarms, pathText(string(p.Path))+": "+out.Alarm)
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
