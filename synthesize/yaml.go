package synthesize

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rhizome-p2p/rhizome/delta"
)

// parseYAML reads the documents of a YAML stream. Only what JSON could say too
// is taken: keys are texts, a key stands once, numbers are finite and integers
// exact. Timestamps stay the texts that they are, and !!binary becomes a byte
// string. Aliases and merge keys are followed, within MaxValues. A document
// with nothing in it, as behind a last "---", is none.
func parseYAML(text []byte) ([]document, error) {
	if n := validUTF8(text); n < len(text) {
		return nil, &lineError{1 + bytes.Count(text[:n], newline), errors.New("yaml: not UTF-8")}
	}
	var docs []document
	r := yamlReader{}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, yamlMistake(text, err)
		}
		if len(n.Content) == 0 || isNothing(n.Content[0]) {
			continue
		}
		at := &place{line: n.Content[0].Line}
		x, err := r.value(n.Content[0], at, 0)
		if err != nil {
			return nil, err
		}
		docs = append(docs, document{x, at})
	}
}

// isNothing reports whether a node is one of no characters.
func isNothing(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.ShortTag() == nullTag && n.Style == 0 && n.Anchor == ""
}

const (
	nullTag  = "!!null"
	mergeTag = "!!merge"
)

// A yamlReader makes values of nodes and counts what they come to.
type yamlReader struct{ values, bytes int }

// value returns the value of a node. Errors are *lineErrors, at the line of the
// innermost node that is wrong, around *valueErrors.
func (r *yamlReader) value(n *yaml.Node, at *place, depth int) (any, error) {
	r.values++
	r.bytes += len(n.Value)
	switch {
	case r.values > MaxValues || r.bytes > MaxExpandedBytes:
		return nil, yamlError(n, "the values are too many, or too large, once aliases are followed: at most %d values and %d bytes are allowed", MaxValues, MaxExpandedBytes)
	case depth > maxNesting:
		return nil, yamlError(n, "nested deeper than %d, or an alias within what it stands for", delta.MaxDepth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		x, err := r.value(n.Alias, at, depth+1)
		var l *lineError
		if errors.As(err, &l) {
			// What it stands for has been read before: it is only too much now.
			l.line = n.Line
		}
		return x, err
	case yaml.ScalarNode:
		return yamlScalar(n)
	case yaml.SequenceNode:
		return r.sequence(n, at, depth)
	case yaml.MappingNode:
		return r.mapping(n, at, depth)
	}
	return nil, yamlError(n, "what stands here is no value")
}

func yamlError(n *yaml.Node, format string, args ...any) error {
	return &lineError{n.Line, &valueError{err: fmt.Errorf("yaml: "+format, args...)}}
}

func (r *yamlReader) sequence(n *yaml.Node, at *place, depth int) (any, error) {
	if tag := n.ShortTag(); tag != "!!seq" {
		return nil, yamlError(n, "tag %s is not of JSON", tag)
	}
	out := make([]any, 0, len(n.Content))
	for i, c := range n.Content {
		item := &place{line: c.Line}
		at.items = append(at.items, item)
		x, err := r.value(c, item, depth+1)
		if err != nil {
			return nil, inside(strconv.Itoa(i), err)
		}
		out = append(out, x)
	}
	return out, nil
}

func (r *yamlReader) mapping(n *yaml.Node, at *place, depth int) (any, error) {
	if tag := n.ShortTag(); tag != "!!map" {
		return nil, yamlError(n, "tag %s is not of JSON", tag)
	}
	out := make(map[string]any, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		tag := key.ShortTag()
		switch {
		case key.Kind == yaml.ScalarNode && tag == mergeTag:
			merges = append(merges, value)
			continue
		case key.Kind != yaml.ScalarNode:
			return nil, yamlError(n.Content[i], "a key is a text, not a list or a mapping")
		case tag != "!!str":
			return nil, yamlError(n.Content[i], "the key %s is %s, not a text: put it in quotes", key.Value, tag)
		}
		if _, ok := out[key.Value]; ok {
			return nil, inside(key.Value, yamlError(n.Content[i], "the key stands twice in one mapping"))
		}
		r.bytes += len(key.Value)
		member := &place{line: n.Content[i].Line}
		at.set(key.Value, member)
		x, err := r.value(value, member, depth+1)
		if err != nil {
			return nil, inside(key.Value, err)
		}
		out[key.Value] = x
	}
	for _, m := range merges {
		if err := r.merge(out, m, at, depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// merge adds what a merge key brings: the members of a mapping, or of several
// of which the first wins. Members of one's own win over all.
func (r *yamlReader) merge(out map[string]any, n *yaml.Node, at *place, depth int) error {
	var brought place
	x, err := r.value(n, &brought, depth+1)
	if err != nil {
		return err
	}
	list, many := x.([]any)
	if !many {
		list, brought.items = []any{x}, []*place{&brought}
	}
	for i, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return yamlError(n, "a merge key brings a mapping, or a list of mappings")
		}
		for _, k := range sortedKeys(m) {
			if _, ok := out[k]; !ok {
				out[k] = m[k]
				at.set(k, brought.items[i].members[k])
			}
		}
	}
	return nil
}

func yamlScalar(n *yaml.Node) (any, error) {
	switch tag := n.ShortTag(); tag {
	case nullTag:
		return nil, nil
	case "!!str", "!!timestamp":
		return n.Value, nil
	case "!!bool":
		var b bool
		if err := n.Decode(&b); err != nil {
			return nil, yamlError(n, "%s is no boolean", n.Value)
		}
		return b, nil
	case "!!int":
		var i int64
		if err := n.Decode(&i); err != nil {
			return nil, yamlError(n, "integer %s is past int64, or none", n.Value)
		}
		return i, nil
	case "!!float":
		return yamlFloat(n)
	case "!!binary":
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
		if err != nil {
			return nil, yamlError(n, "not base64: %w", err)
		}
		return map[string]any{bytesMember: base64.StdEncoding.EncodeToString(raw)}, nil
	default:
		return nil, yamlError(n, "tag %s is not of JSON", tag)
	}
}

// yamlFloat reads a float. What is written as an integer but does not fit one
// would be bent, unless it is the canonical text of the float.
func yamlFloat(n *yaml.Node) (any, error) {
	var f float64
	if err := n.Decode(&f); err != nil {
		return nil, yamlError(n, "%s is no number", n.Value)
	}
	if !strings.ContainsAny(n.Value, ".eE") && n.Style&yaml.TaggedStyle == 0 && string(canonical(f)) != n.Value {
		return nil, yamlError(n, "integer %s is past int64", n.Value)
	}
	x, err := number(f)
	if err != nil {
		return nil, yamlError(n, "%w", err)
	}
	return x, nil
}

// yamlMistake finds the line of a mistake in the text itself. The library names
// lines that are at times off by one and at times those where something began,
// so they are not used: the line is the one behind the longest beginning of the
// file, in whole lines, that is YAML. Where a list, a mapping in braces or a
// quoted text is not closed, that is the line where it begins.
func yamlMistake(text []byte, err error) error {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(what, "line "); ok {
		if _, after, ok := strings.Cut(rest, ": "); ok {
			what = after
		}
	}
	r := lineReader{rest: text}
	_ = decodeAll(&r)
	budget := maxProbeBytes
	line := r.lines
	for end := len(text) - len(r.rest); line > 1; line-- {
		end = bytes.LastIndexByte(text[:end-1], '\n') + 1
		if budget -= end; budget < 0 {
			return &lineError{err: fmt.Errorf("yaml: %s (in line %d at the latest)", what, r.lines)}
		}
		if decodeAll(bytes.NewReader(text[:end])) == nil {
			break
		}
	}
	if line < r.lines {
		what += fmt.Sprintf(" (in line %d at the latest)", r.lines)
	}
	return &lineError{line, fmt.Errorf("yaml: %s", what)}
}

// decodeAll reads a stream to its end or first mistake.
func decodeAll(r io.Reader) error {
	dec := yaml.NewDecoder(r)
	for {
		if err := dec.Decode(new(yaml.Node)); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// A lineReader hands out a text line by line, so that one can tell how much a
// parser has looked at.
type lineReader struct {
	rest  []byte
	lines int // begun
	begun bool
}

// Read returns no more than the rest of a line.
func (r *lineReader) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := bytes.IndexByte(r.rest, '\n') + 1
	if n == 0 {
		n = len(r.rest)
	}
	if !r.begun {
		r.lines++
	}
	c := copy(b, r.rest[:n])
	r.rest, r.begun = r.rest[c:], c < n
	return c, nil
}
