package synthesize

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/rhizome-p2p/rhizome/delta"
)

// parseTOML reads a TOML document. Dates and times become texts, as RFC 3339
// writes them; those without an offset lack it there too.
func parseTOML(text []byte) ([]document, error) {
	w := walkTOML(text)
	if w.refused != nil {
		return nil, w.refused
	}
	var m map[string]any
	if err := toml.Unmarshal(text, &m); err != nil {
		var d *toml.DecodeError
		if !errors.As(err, &d) {
			return nil, &lineError{err: err}
		}
		line, _ := d.Position()
		return nil, &lineError{w.repeated(line, err), err}
	}
	if m == nil {
		m = map[string]any{}
	}
	x, err := tomlValue(m, 0)
	if err != nil {
		var v *valueError
		if errors.As(err, &v) {
			return nil, &lineError{w.root.find(v.path).line, err}
		}
		return nil, err
	}
	return []document{{x, w.root}}, nil
}

func tomlValue(x any, depth int) (any, error) {
	if depth > maxNesting {
		return nil, &valueError{err: fmt.Errorf("toml: nested deeper than %d", delta.MaxDepth)}
	}
	switch x := x.(type) {
	case bool, int64, string:
		return x, nil
	case float64:
		n, err := number(x)
		if err != nil {
			return nil, &valueError{err: fmt.Errorf("toml: %w", err)}
		}
		return n, nil
	case time.Time:
		return x.Format(time.RFC3339Nano), nil
	case toml.LocalDate, toml.LocalTime, toml.LocalDateTime:
		return fmt.Sprint(x), nil
	case []any:
		for i := range x {
			var err error
			if x[i], err = tomlValue(x[i], depth+1); err != nil {
				return nil, inside(strconv.Itoa(i), err)
			}
		}
		return x, nil
	case map[string]any:
		for _, k := range sortedKeys(x) {
			var err error
			if x[k], err = tomlValue(x[k], depth+1); err != nil {
				return nil, inside(k, err)
			}
		}
		return x, nil
	}
	return nil, &valueError{err: fmt.Errorf("toml: a value of the unknown type %T", x)}
}
