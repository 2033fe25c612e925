package schema

import (
	"fmt"
	"strconv"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A reading says what a lossy read of a property shows, in terms of its type.
type reading uint8

const (
	readsOne    reading = iota // a value of the type
	readsMany                  // an array of such values
	readsNumber                // any number
	readsText                  // any string
	readsOrNull                // a value of the type, or null
	readsAny                   // what the resolver makes of it
)

// readings are those of the resolvers that are built in.
var readings = map[string]reading{
	"last-write-wins": readsOne, "first-write-wins": readsOne, "min": readsOne, "max": readsOne,
	"majority": readsOne, "prefer-author": readsOne,
	"sum": readsNumber, "mean": readsNumber,
	"concat": readsText,
	"set":    readsMany, "all": readsMany, "union": readsMany, "intersection": readsMany,
	"conflict": readsOrNull,
}

func (p *Property) reading() reading {
	switch {
	case p.Computed:
		return readsOne
	case p.Resolver == nil && p.Verb == Bag:
		return readsMany
	case p.Resolver == nil, p.Verb == Counter:
		return readsOne // of a counter the total, whoever sums it up
	}
	r, ok := readings[p.Resolver.Use]
	if !ok {
		return readsAny
	}
	if m, ok := p.Type.(map[string]any); ok && m["type"] == "array" && (p.Resolver.Use == "union" || p.Resolver.Use == "intersection") {
		return readsOne // sets of what is in the arrays
	}
	return r
}

// check says what is wrong with what a property shows, if anything.
func (r reading) check(t *valueType, v any) *fault {
	switch r {
	case readsOne:
		return t.check(v)
	case readsOrNull:
		if v == nil {
			return nil
		}
		return t.check(v)
	case readsMany:
		return checkEach(t, v)
	case readsNumber:
		switch v.(type) {
		case int64, float64:
			return nil
		}
		return &fault{"", fmt.Sprintf("is %s, must be a number", describe(v))}
	case readsText:
		if _, ok := v.(string); !ok {
			return &fault{"", fmt.Sprintf("is %s, must be a string", describe(v))}
		}
	}
	return nil
}

// checkEach checks the members of a bag.
func checkEach(t *valueType, v any) *fault {
	l, ok := v.([]any)
	if !ok {
		return &fault{"", fmt.Sprintf("is %s, must be an array of the members", describe(v))}
	}
	for i, x := range l {
		if f := t.check(x); f != nil {
			return f.inside(delta.Path("/" + strconv.Itoa(i)))
		}
	}
	return nil
}
