package synthesize

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A Lookup returns the resolver of a name, set up with parameters.
type Lookup func(use string, params map[string]any) (merge.Resolver, error)

// A Policy says what becomes of conflicts that no schema decides. The zero
// Policy makes them errors.
type Policy struct {
	// Keep leaves them in the state, as {"$conflict": [values…]}.
	Keep bool
	// Resolver decides them; Use is its name.
	Resolver merge.Resolver
	Use      string
}

// The resolvers that pick a side where a value stands against members below
// it.
const (
	firstWrite = "first-write-wins"
	lastWrite  = "last-write-wins"
)

// ParsePolicy reads fail, keep, or the name of a resolver, behind which there
// may be parameters: concat:separator=;,order=sorted. What is between commas
// and has no = belongs to the value before it. A value that reads as JSON is
// what that means, any other a text.
func ParsePolicy(text string, lookup Lookup) (Policy, error) {
	switch text {
	case "", "fail":
		return Policy{}, nil
	case "keep":
		return Policy{Keep: true}, nil
	}
	use, rest, _ := strings.Cut(text, ":")
	params, err := parseParams(rest)
	if err != nil {
		return Policy{}, fmt.Errorf("resolver %s: %w", use, err)
	}
	if lookup == nil {
		return Policy{}, fmt.Errorf("resolver %s: none are known", use)
	}
	r, err := lookup(use, params)
	if err != nil {
		return Policy{}, fmt.Errorf("resolver %s: %w", use, err)
	}
	return Policy{Resolver: r, Use: use}, nil
}

func parseParams(text string) (map[string]any, error) {
	if text == "" {
		return nil, nil
	}
	var keys, values []string
	for _, part := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case ok:
			keys, values = append(keys, key), append(values, value)
		case len(keys) == 0:
			return nil, fmt.Errorf("parameter %q is not of the form key=value", part)
		default:
			values[len(values)-1] += "," + part
		}
	}
	params := make(map[string]any, len(keys))
	for i, k := range keys {
		if _, ok := params[k]; ok || k == "" {
			return nil, fmt.Errorf("parameter %q has no name, or stands twice", k)
		}
		params[k] = values[i]
		if x, err := delta.ParseJSON([]byte(values[i])); err == nil {
			params[k] = x
		}
	}
	return params, nil
}

// errNotWhole reports a resolver that cannot pick a side.
var errNotWhole = errors.New("a value stands against members below it: " + firstWrite + " and " + lastWrite + " alone decide that")

// conflictMember is the only member of an object that holds what is kept.
const conflictMember = "$conflict"

// keep is the resolver of conflicts that are kept.
func keep(in *merge.Input) (merge.Output, error) {
	return merge.Output{Value: kept(in.Values), Why: "kept"}, nil
}

// kept returns the object that holds conflicting values, each once, in the
// order of their canonical bytes.
func kept(values []any) any {
	byText := make(map[string]any, len(values))
	for _, x := range values {
		byText[string(canonical(x))] = x
	}
	list := make([]any, 0, len(byText))
	for _, text := range sortedKeys(byText) {
		list = append(list, byText[text])
	}
	return map[string]any{conflictMember: list}
}
