package feed

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
)

// anyName draws names that are short, so that they meet, and now and then odd.
func anyName() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"a", "b", "keanu", "neo", "the matrix"}),
		rapid.SampledFrom([]string{"x#y", "$negated/a", "feed/a", "$schema", "x%23y", "a/b~c", "é\x01", "\"q\"", "id", "context"}),
		rapid.StringN(1, 8, 40),
	)
}

func anyTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		at := time.UnixMilli(rapid.Int64Range(0, 1<<47).Draw(t, "millis")).UTC()
		if at.Year() <= 9999 && rapid.IntRange(0, 3).Draw(t, "fine") == 0 {
			at = at.Add(time.Duration(rapid.IntRange(0, 999_999).Draw(t, "nanos")))
		}
		return at
	})
}

func anyPointer(ids *rapid.Generator[string]) *rapid.Generator[Pointer] {
	return rapid.Custom(func(t *rapid.T) Pointer {
		p := Pointer{Role: anyName().Filter(func(s string) bool { return s != Negates }).Draw(t, "role")}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			return Pointer{Role: Negates, Entity: ids.Draw(t, "negated"), Context: rapid.SampledFrom([]string{"", "negated_by"}).Draw(t, "context")}
		case 1, 2, 3, 4:
			p.Entity = anyName().Draw(t, "entity")
			p.Context = rapid.OneOf(rapid.Just(""), anyName()).Filter(func(s string) bool { return s != "$ref" && s != "$bytes" }).Draw(t, "context")
		default:
			p.Value = anyPrimitive().Draw(t, "value")
		}
		return p
	})
}

func anyPrimitive() *rapid.Generator[any] {
	return rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(x bool) any { return x }),
		rapid.Map(rapid.Int64(), func(x int64) any { return x }),
		rapid.Map(rapid.Float64Range(-1e300, 1e300), func(x float64) any { return x }),
		rapid.Map(rapid.StringN(0, 8, 40), func(x string) any { return x }),
	)
}

// anyDelta draws deltas with ids of a generator.
func anyDelta(ids *rapid.Generator[string]) *rapid.Generator[Delta] {
	return rapid.Custom(func(t *rapid.T) Delta {
		return Delta{
			ID: ids.Draw(t, "id"), Time: anyTime().Draw(t, "time"), Creator: anyName().Draw(t, "creator"),
			Host:     rapid.OneOf(rapid.Just(""), anyName()).Draw(t, "host"),
			Pointers: rapid.SliceOfN(anyPointer(ids), 0, 5).Draw(t, "pointers"),
		}
	})
}

// anyFeed draws deltas of different ids, some of which negate others.
func anyFeed() *rapid.Generator[[]Delta] {
	ids := rapid.OneOf(rapid.SampledFrom([]string{"d1", "d2", "d3", "d4", "d5", "d6"}), anyName())
	return rapid.Custom(func(t *rapid.T) []Delta {
		all := rapid.SliceOfN(anyDelta(ids), 1, 8).Draw(t, "feed")
		seen := map[string]bool{}
		return slices.DeleteFunc(all, func(d Delta) bool {
			again := seen[d.ID]
			seen[d.ID] = true
			return again
		})
	})
}

// spell writes a delta in one of its spellings.
func spell(t *rapid.T, d *Delta) string {
	pick := func(names ...string) string { return rapid.SampledFrom(names).Draw(t, "spelling") }
	m := map[string]any{"id": d.ID, pick("creator", "author"): d.Creator}
	at := timestampOf(d.Time)
	if d.Time.Year() <= 9999 && pick("number", "text") == "text" {
		zone := time.FixedZone("", rapid.IntRange(-20, 20).Draw(t, "zone")*1800)
		if d.Time.In(zone).Year() <= 9999 && d.Time.In(zone).Year() >= 0 {
			at = d.Time.In(zone).Format(time.RFC3339Nano)
		}
	}
	m[pick("timestamp", "timeCreated")] = at
	if d.Host != "" {
		m[pick("host", "system")] = d.Host
	}
	if pick("array", "object") == "object" {
		m["pointers"] = spellRoles(t, d, pick)
	} else {
		list := []any{}
		for i := range d.Pointers {
			list = append(list, spellPointer(&d.Pointers[i], pick))
		}
		m["pointers"] = list
	}
	return string(delta.AppendAnyJSON(nil, m))
}

func spellPointer(p *Pointer, pick func(...string) string) any {
	m := map[string]any{pick("role", "localContext"): p.Role}
	switch {
	case p.Entity == "":
		m["target"] = p.Value
	case p.Role == Negates && p.Context == "" && pick("plain", "object") == "plain":
		m["target"] = p.Entity
	case p.Context != "" && pick("beside", "inside") == "beside":
		m["targetContext"] = p.Context
		if m["target"] = any(p.Entity); pick("plain", "object") == "object" {
			m["target"] = map[string]any{"id": p.Entity}
		}
	default:
		target := map[string]any{"id": p.Entity}
		if p.Context != "" {
			target["context"] = p.Context
		}
		m["target"] = target
	}
	return m
}

func spellRoles(t *rapid.T, d *Delta, pick func(...string) string) map[string]any {
	m := map[string]any{}
	for i := range d.Pointers {
		p := &d.Pointers[i]
		target := p.Value
		if p.Entity != "" {
			o := map[string]any{"id": p.Entity}
			if p.Context != "" {
				o["context"] = p.Context
				if p.Entity != "id" && pick("short", "long") == "short" {
					o = map[string]any{p.Entity: p.Context}
				}
			}
			target = o
		}
		list, _ := m[p.Role].([]any)
		m[p.Role] = append(list, target)
	}
	for role, x := range m {
		if list := x.([]any); len(list) == 1 && pick("alone", "list") == "alone" {
			m[role] = list[0]
		}
	}
	return m
}

// lines returns deltas in normal form, sorted.
func lines(all []Delta) []string {
	var out []string
	for i := range all {
		d := all[i]
		d.Pointers = slices.Clone(d.Pointers)
		slices.SortFunc(d.Pointers, func(a, b Pointer) int {
			return slices.Compare(a.appendJSON(nil), b.appendJSON(nil))
		})
		out = append(out, string(d.AppendJSON(nil)))
	}
	slices.Sort(out)
	return out
}

// parsed reads lines as deltas.
func parsed(t tb, texts []string) (all []Delta) {
	t.Helper()
	for _, s := range texts {
		d, err := Parse([]byte(s))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		all = append(all, d)
	}
	return all
}

func edge(id, creator, pointers string) string {
	return fmt.Sprintf(`{"id":%q,"timestamp":1700000000000,"creator":%q,"pointers":[%s]}`, id, creator, pointers)
}
