package schema

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Messages are written as the protobuf JSON mapping has them: 64-bit integers
// are numbers or strings, enum values names or numbers, bytes are base64, and
// the well-known types have forms of their own.

// wellKnownForms are the JSON types of the messages with a form of their own;
// of the wrappers it is that of what they wrap.
var wellKnownForms = map[protoreflect.FullName][]string{
	"google.protobuf.Any":         {"object"},
	"google.protobuf.Timestamp":   {"string"},
	"google.protobuf.Duration":    {"string"},
	"google.protobuf.FieldMask":   {"string"},
	"google.protobuf.Struct":      {"object"},
	"google.protobuf.Value":       {},
	"google.protobuf.ListValue":   {"array"},
	"google.protobuf.Empty":       {"object"},
	"google.protobuf.DoubleValue": {"number", "string"},
	"google.protobuf.FloatValue":  {"number", "string"},
	"google.protobuf.Int64Value":  {"integer", "string"},
	"google.protobuf.UInt64Value": {"integer", "string"},
	"google.protobuf.Int32Value":  {"integer", "string"},
	"google.protobuf.UInt32Value": {"integer", "string"},
	"google.protobuf.BoolValue":   {"boolean"},
	"google.protobuf.StringValue": {"string"},
	"google.protobuf.BytesValue":  {"string"},
}

// scalarForm returns the JSON types of a field that is no message. Numbers are
// strings too: so the mapping writes those of 64 bits, NaN and the infinities,
// and it reads all of them.
func scalarForm(f protoreflect.FieldDescriptor) []string {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return []string{"boolean"}
	case protoreflect.StringKind, protoreflect.BytesKind:
		return []string{"string"}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return []string{"number", "string"}
	}
	return []string{"integer", "string"}
}

// message returns the name of a message's interface, which is declared once for
// each schema, or what stands for a well-known one.
func (g *typeScript) message(d protoreflect.MessageDescriptor) string {
	if form, ok := wellKnownForms[d.FullName()]; ok {
		return tsForm(form)
	}
	if name, ok := g.messages[string(d.FullName())]; ok {
		return name
	}
	name := g.name(g.name1 + " " + string(d.FullName()))
	g.messages[string(d.FullName())] = name
	g.later = append(g.later, func() {
		fmt.Fprintf(&g.out, "\n/** The message %s. */\nexport interface %s {\n", d.FullName(), name)
		fields := d.Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			need := f.Cardinality() == protoreflect.Required
			fmt.Fprintf(&g.out, "  %s%s: %s;\n", memberName(f.JSONName()), optional(need), g.field(f))
		}
		g.out.WriteString("}\n")
	})
	return name
}

func (g *typeScript) field(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return fmt.Sprintf("Record<string, %s>", g.single(f.MapValue()))
	case f.IsList():
		return grouped(g.single(f)) + "[]"
	}
	return g.single(f)
}

func (g *typeScript) single(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil:
		return g.message(f.Message())
	case f.Enum() != nil:
		var out []string
		for _, name := range enumNames(f.Enum()) {
			out = append(out, quoted(name))
		}
		if f.Enum().FullName() == "google.protobuf.NullValue" {
			return "null"
		}
		return strings.Join(append(out, "number"), " | ")
	}
	return tsForm(scalarForm(f))
}

func enumNames(d protoreflect.EnumDescriptor) []string {
	var out []string
	values := d.Values()
	for i := range values.Len() {
		out = append(out, string(values.Get(i).Name()))
	}
	return out
}

func tsForm(form []string) string {
	var out []string
	for _, kind := range form {
		switch kind {
		case "integer":
			kind = "number"
		case "object":
			kind = "{ [name: string]: unknown }"
		case "array":
			kind = "unknown[]"
		}
		out = append(out, kind)
	}
	if len(out) == 0 {
		return "unknown"
	}
	return strings.Join(out, " | ")
}

// messageSchemas returns the JSON Schemas of a message and of all that it is
// made of, under the names that messageRef gives them.
func messageSchemas(d protoreflect.MessageDescriptor) map[string]any {
	out := map[string]any{}
	for _, d := range messages(d) {
		if form, ok := wellKnownForms[d.FullName()]; ok {
			out[messageName(d)] = formSchema(form)
			continue
		}
		properties := map[string]any{}
		var required []any
		fields := d.Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			properties[f.JSONName()] = fieldSchema(f)
			if f.Cardinality() == protoreflect.Required {
				required = append(required, f.JSONName())
			}
		}
		m := map[string]any{"type": "object", "properties": properties}
		if len(required) > 0 {
			m["required"] = required
		}
		out[messageName(d)] = m
	}
	return out
}

func messageName(d protoreflect.MessageDescriptor) string { return "proto." + string(d.FullName()) }

func messageRef(d protoreflect.MessageDescriptor) map[string]any {
	return map[string]any{"$ref": "#/$defs/" + messageName(d)}
}

func formSchema(form []string) any {
	switch len(form) {
	case 0:
		return true
	case 1:
		return map[string]any{"type": form[0]}
	}
	kinds := make([]any, len(form))
	for i, k := range form {
		kinds[i] = k
	}
	return map[string]any{"type": kinds}
}

func fieldSchema(f protoreflect.FieldDescriptor) any {
	switch {
	case f.IsMap():
		return map[string]any{"type": "object", "additionalProperties": singleSchema(f.MapValue())}
	case f.IsList():
		return map[string]any{"type": "array", "items": singleSchema(f)}
	}
	return singleSchema(f)
}

func singleSchema(f protoreflect.FieldDescriptor) any {
	switch {
	case f.Message() != nil:
		return messageRef(f.Message())
	case f.Enum() != nil && f.Enum().FullName() == "google.protobuf.NullValue":
		return map[string]any{"type": "null"}
	case f.Enum() != nil:
		names := []any{}
		for _, name := range enumNames(f.Enum()) {
			names = append(names, name)
		}
		return map[string]any{"anyOf": []any{map[string]any{"enum": names}, map[string]any{"type": "integer"}}}
	}
	return formSchema(scalarForm(f))
}
