package cli

import (
	"fmt"

	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/synthesize"
)

func builtin(use string, _ map[string]any) (merge.Resolver, error) {
	pick := map[string]func(in *merge.Input) any{
		"last-write-wins":  func(in *merge.Input) any { return in.Values[0] },
		"first-write-wins": func(in *merge.Input) any { return in.Values[len(in.Values)-1] },
	}[use]
	if pick == nil {
		return nil, fmt.Errorf("unknown resolver %q", use)
	}
	return merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) { return merge.Output{Value: pick(in)}, nil }), nil
}

func compileSchema([]byte) (synthesize.Schema, error) {
	return nil, fmt.Errorf("this program has no schemas")
}
