package schema

import (
	"math"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

func splitStep(g *Split) step {
	to := make([]route, len(g.To))
	for i, p := range g.To {
		to[i] = route(p)
	}
	return step{from: route(g.From), goes: to, apply: func(bound []string, rest delta.Path, value any) ([]merge.Moved, error) {
		all := make([]merge.Moved, len(to))
		for i := range to {
			all[i].Path = to[i].build(bound)
		}
		text, ok := value.(string)
		switch {
		case rest != "":
			return all, merge.Failf(merge.ErrorType, "%s is an object, which cannot be split", route(g.From).build(bound))
		case value == nil:
			return all, nil
		case !ok:
			return all, merge.Failf(merge.ErrorType, "%s is %s, which cannot be split", route(g.From).build(bound), describe(value))
		}
		parts := strings.SplitN(text, g.Separator, len(to))
		for i, part := range parts {
			all[i].Value = part
		}
		return all[:len(parts)], nil
	}}
}

func retypeStep(g *Retype) step {
	at := route(g.Path)
	return step{from: at, apply: func(bound []string, rest delta.Path, value any) ([]merge.Moved, error) {
		out := []merge.Moved{{Path: at.build(bound)}}
		if rest != "" {
			return out, merge.Failf(merge.ErrorType, "an object is no %s", g.To)
		}
		v, ok := convert(value, g.To)
		if !ok {
			return out, merge.Failf(merge.ErrorType, "%s is no %s: %s", describe(value), g.To, excerpt(value))
		}
		out[0].Value = v
		return out, nil
	}}
}

// excerpt returns the beginning of a value as JSON.
func excerpt(v any) string {
	s := string(delta.AppendAnyJSON(nil, v))
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// convert turns a value into one of another type, if it says the same there.
// Null stays null.
func convert(v any, to string) (any, bool) {
	if v == nil {
		return nil, true
	}
	switch to {
	case "string":
		return toString(v)
	case "integer":
		n, ok := toNumber(v)
		if f, isFloat := n.(float64); isFloat {
			return toInteger(f)
		}
		return n, ok
	case "number":
		return toNumber(v)
	case "boolean":
		return toBoolean(v)
	case "array":
		if l, ok := v.([]any); ok {
			return l, true
		}
		return []any{v}, true
	}
	return nil, false
}

func toString(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool, int64:
		return string(delta.AppendAnyJSON(nil, v)), true
	case float64:
		return numberText(v), true
	}
	return nil, false
}

// toNumber reads a string as JSON does, but for space around it.
func toNumber(v any) (any, bool) {
	switch v := v.(type) {
	case int64, float64:
		return v, true
	case bool:
		if v {
			return int64(1), true
		}
		return int64(0), true
	case string:
		x, err := delta.ParseJSON([]byte(v))
		if err != nil {
			return nil, false
		}
		switch x.(type) {
		case int64, float64:
			return x, true
		}
	}
	return nil, false
}

func toInteger(f float64) (any, bool) {
	if f != math.Trunc(f) || f < math.MinInt64 || f >= math.MaxInt64 {
		return nil, false
	}
	return int64(f), true
}

func toBoolean(v any) (any, bool) {
	switch v {
	case true, "true", int64(1), 1.0:
		return true, true
	case false, "false", int64(0), 0.0:
		return false, true
	}
	return nil, false
}
