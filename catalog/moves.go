package catalog

import (
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// MovesOf returns rules that read an entity where the newest version of its
// schema has it, and each property by its verb: nil where nothing was moved. What
// cannot be moved is read as it stands.
func (c *Catalog) MovesOf(entity string) *merge.Rules {
	rules := c.Rules(entity)
	if rules == nil || len(rules.Moves) == 0 {
		return nil
	}
	out := &merge.Rules{Name: rules.Name, Origins: rules.Origins}
	for _, move := range rules.Moves {
		out.Moves = append(out.Moves, func(p delta.Path, value any) ([]merge.Moved, error) {
			if moved, err := move(p, value); err == nil {
				return moved, nil
			}
			return []merge.Moved{{Path: p, Value: value}}, nil
		})
	}
	return out
}
