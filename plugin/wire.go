package plugin

import (
	"strconv"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// appendInput appends what a module is given; see the package documentation.
func appendInput(b []byte, in *merge.Input) ([]byte, error) {
	text := func(name, s string) {
		b = append(b, name...)
		b = delta.AppendAnyJSON(b, s)
	}
	text(`{"entity":`, in.Entity)
	text(`,"path":`, string(in.Path))
	b = append(b, `,"survivors":[`...)
	for i := range in.Survivors {
		if i > 0 {
			b = append(b, ',')
		}
		s := &in.Survivors[i]
		b = append(b, `{"value":`...)
		b = delta.AppendAnyJSON(b, in.Values[i])
		text(`,"verb":`, s.Verb.String())
		b = append(b, `,"time":`...)
		b = strconv.AppendInt(b, s.Time.Millis(), 10)
		text(`,"creator":`, in.CreatorOf(i))
		text(`,"author":`, in.AuthorOf(i))
		text(`,"dot":`, s.Dot.String())
		b = append(b, '}')
		if len(b) > maxInputBytes {
			break
		}
	}
	b = append(b, `],"deps":`...)
	if in.Deps == nil {
		b = append(b, `{}`...)
	} else {
		b = delta.AppendAnyJSON(b, in.Deps)
	}
	b = append(b, '}')
	if len(b) > maxInputBytes {
		return nil, merge.Failf(merge.ErrorMemory, "wasm: an input of more than %d bytes", maxInputBytes)
	}
	return b, nil
}

// parseOutput reads what a module returned: an object with one of value, absent
// and error, and perhaps why.
func parseOutput(text []byte) (merge.Output, error) {
	wrong := func(format string, args ...any) (merge.Output, error) {
		return merge.Output{}, merge.Failf(merge.ErrorOutput, "wasm: "+format, args...)
	}
	x, err := delta.ParseJSON(text)
	if err != nil {
		return wrong("%v", err)
	}
	object, _ := x.(map[string]any)
	value, hasValue := object["value"]
	absent, hasAbsent := object["absent"]
	failed, hasError := object["error"]
	why, hasWhy := object["why"]
	members := 0
	for _, has := range []bool{hasValue, hasAbsent, hasError, hasWhy} {
		members += boolInt(has)
	}
	if members != len(object) || members-boolInt(hasWhy) != 1 {
		return wrong(`a result is an object with one of "value", "absent" and "error", and perhaps "why"`)
	}
	reason, ok := why.(string)
	if hasWhy && !ok {
		return wrong(`"why" is not a string`)
	}
	out := merge.Output{Why: shorten(reason)}
	switch {
	case hasError:
		reason, ok := failed.(string)
		if !ok {
			return wrong(`"error" is not a string`)
		}
		return merge.Output{}, merge.Failf(merge.ErrorFailed, "%s", shorten(reason))
	case hasAbsent:
		if absent != true {
			return wrong(`"absent" is not true`)
		}
		out.Absent = true
		return out, nil
	}
	if out.Value, err = asValue(value); err != nil {
		return wrong("the result is no value: %v", err)
	}
	return out, nil
}

// asValue returns what a resolver made as delta.Value.Any returns it: {"$bytes": …}
// becomes bytes.
func asValue(x any) (any, error) {
	v, err := delta.ValueOf(x)
	if err != nil {
		return nil, err
	}
	return v.Any()
}
