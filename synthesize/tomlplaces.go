package synthesize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// A tomlWalk finds the places of what a TOML text holds, as far as the text can
// be read.
type tomlWalk struct {
	parser      unstable.Parser
	starts      []int // of the lines
	root, table *place

	// refused is that the text is more than the library should be given.
	refused error
	// again is the line of a name that stands twice in an inline table, name
	// the name and outer the line of the key that has the table; else 0.
	again, outer int
	name         string

	expression int // line of the key of the current one
}

func walkTOML(text []byte) *tomlWalk {
	w := &tomlWalk{root: &place{line: 1}, starts: []int{0}}
	for i, c := range text {
		if c == '\n' {
			w.starts = append(w.starts, i+1)
		}
	}
	w.table = w.root
	w.parser.Reset(text)
	for w.parser.NextExpression() && w.refused == nil {
		e := w.parser.Expression()
		switch e.Kind {
		case unstable.Table:
			w.table = w.descend(w.root, e.Key())
		case unstable.ArrayTable:
			list := w.descend(w.root, e.Key())
			w.table = &place{line: w.line(e.Key())}
			list.items = append(list.items, w.table)
		case unstable.KeyValue:
			w.expression = w.line(e.Key())
			w.value(w.descend(w.table, e.Key()), e.Value())
		}
	}
	return w
}

// repeated returns the line of an error that the library says is at a line. Of
// a name that stands twice in an inline table it knows only where the table
// is.
func (w *tomlWalk) repeated(line int, err error) int {
	if w.again > 0 && line == w.outer && strings.Contains(err.Error(), "key "+w.name+" ") {
		return w.again
	}
	return line
}

func (w *tomlWalk) refuse(at unstable.Range, format string, args ...any) {
	if w.refused == nil {
		w.refused = &lineError{w.lineOf(at), fmt.Errorf("toml: "+format, args...)}
	}
}

func (w *tomlWalk) lineOf(raw unstable.Range) int {
	i, found := slices.BinarySearch(w.starts, int(raw.Offset))
	if found {
		i++
	}
	return i
}

// line returns that of the first name of a key.
func (w *tomlWalk) line(key unstable.Iterator) int {
	if !key.Next() {
		return 0
	}
	return w.lineOf(key.Node().Raw)
}

// descend goes down a dotted key, and in a list of tables to the last one.
func (w *tomlWalk) descend(p *place, key unstable.Iterator) *place {
	for names := 1; key.Next(); names++ {
		n := key.Node()
		if names > maxNesting {
			w.refuse(n.Raw, "a key of more than %d names", maxNesting)
			break
		}
		if len(p.items) > 0 {
			p = p.items[len(p.items)-1]
		}
		next := p.members[string(n.Data)]
		if next == nil {
			next = &place{line: w.lineOf(n.Raw)}
			p.set(string(n.Data), next)
			if len(p.members) > maxTOMLMembers {
				w.refuse(n.Raw, "more than %d names in one table", maxTOMLMembers)
			}
		}
		p = next
	}
	return p
}

func (w *tomlWalk) value(at *place, n *unstable.Node) {
	switch n.Kind {
	case unstable.InlineTable:
		for members := n.Children(); members.Next(); {
			e := members.Node()
			w.noteRepeated(at, e.Key())
			w.value(w.descend(at, e.Key()), e.Value())
		}
	case unstable.Array:
		for items := n.Children(); items.Next(); {
			item := &place{line: at.line}
			at.items = append(at.items, item)
			if raw := items.Node().Raw; raw.Length > 0 {
				item.line = w.lineOf(raw)
			}
			w.value(item, items.Node())
		}
	}
}

// noteRepeated notes where a key of an inline table is one that it has, or goes
// into what is no table.
func (w *tomlWalk) noteRepeated(in *place, key unstable.Iterator) {
	line := w.line(key)
	for key.Next() {
		name := string(key.Node().Data)
		if in = in.members[name]; in == nil {
			return
		}
		if (key.IsLast() || len(in.members) == 0) && w.again == 0 {
			w.again, w.outer, w.name = line, w.expression, name
		}
	}
}
