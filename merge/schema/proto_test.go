package schema

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

const protoText = `
syntax = "proto3";
package shop.v1;
import "google/protobuf/timestamp.proto";
import "google/protobuf/any.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";

enum State { OPEN = 0; PAID = 1; }
message Money {
  string currency = 1;
  int64 units = 2;
  int32 nanos = 3;
  State state = 4;
  repeated Money parts = 5;
  map<string, double> rates = 6;
  google.protobuf.Timestamp at = 7;
  google.protobuf.Any more = 8;
  bytes raw = 9;
  google.protobuf.Value free = 10;
  google.protobuf.Int64Value maybe = 11;
  google.protobuf.NullValue nothing = 12;
  bool final = 13;
  message Inner { float share = 1; }
  Inner inner_part = 14;
  google.protobuf.ListValue list = 15;
  google.protobuf.Struct object = 16;
}
`

func mustProto(t testing.TB, text string) *protoFile {
	t.Helper()
	f, err := compileProto(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestMessages: a message is found by its name, with and without the package.
func TestMessages(t *testing.T) {
	f := mustProto(t, protoText)
	for name, want := range map[string]string{
		"Money": "shop.v1.Money", "shop.v1.Money": "shop.v1.Money", ".shop.v1.Money": "shop.v1.Money",
		"Money.Inner": "shop.v1.Money.Inner", "State": "", "v1.Money": "", "": "", "google.protobuf.Any": "",
	} {
		d := f.message(name)
		if d == nil && want != "" || d != nil && string(d.FullName()) != want {
			t.Errorf("message %q is %v, want %q", name, d, want)
		}
	}
	if d := mustProto(t, `message M {}`).message(".M"); d == nil {
		t.Error("no message without a package")
	}
}

// TestProtoValues: an object is a message by the JSON mapping, and bytes are
// one in its binary form.
func TestProtoValues(t *testing.T) {
	f := mustProto(t, protoText)
	d := f.message("Money")
	m := dynamicpb.NewMessage(d)
	if err := protojson.Unmarshal([]byte(`{"currency":"NOK","units":"9007199254740993"}`), m); err != nil {
		t.Fatal(err)
	}
	binary, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		value any
		want  string
	}{
		{mustJSON(t, `{"currency":"NOK","units":9007199254740993,"nanos":5.0,"state":"PAID","parts":[{"units":"7"}],"rates":{"EUR":0.1}}`), ""},
		{mustJSON(t, `{"at":"2024-01-02T03:04:05Z","raw":"aGk=","free":[1,null],"maybe":5,"nothing":null,"inner_part":{"share":"NaN"}}`), ""},
		{mustJSON(t, `{"more":{"@type":"type.googleapis.com/shop.v1.Money","units":1}}`), ""},
		{mustJSON(t, `{"more":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}`), "unable to resolve"},
		{map[string]any{}, ""},
		{binary, ""},
		{[]byte{0xff}, "is no shop.v1.Money"},
		{mustJSON(t, `{"colour":1}`), `is no shop.v1.Money: unknown field "colour"`},
		{mustJSON(t, `{"nanos":2147483648}`), "invalid value for int32 field nanos: 2147483648"},
		{mustJSON(t, `{"state":"LOST"}`), "invalid value for enum"},
		{mustJSON(t, `[]`), "is no shop.v1.Money"},
		{"text", "is no shop.v1.Money"},
		{map[string]any{"raw": []byte{1}}, "is no shop.v1.Money"},
	} {
		got := f.check(d, c.value)
		if c.want == "" && got != nil || c.want != "" && (got == nil || !strings.Contains(got.text, c.want)) {
			t.Errorf("%v: %v, want %q", c.value, got, c.want)
		}
		if got != nil && strings.ContainsAny(got.text, "\u00a0\n") {
			t.Errorf("%q has what differs from build to build", got.text)
		}
	}
}

// TestProtoErrors: what the compiler finds is told with line and column, all of
// it; names that are not there and imports of files are refused.
func TestProtoErrors(t *testing.T) {
	for text, want := range map[string]string{
		"message M { optional Foo a = 1; }":                                   "1:22",
		"syntax = \"proto3\";\nmessage M { int32 a = 1; int32 b = 1; }":       "2:",
		"syntax = \"proto3\"; message A { X a = 1; }\nmessage B { Y b = 1; }": "2:13",
		`import "google/protobuf/compiler/plugin.proto";`:                     "only the well-known",
		`import "../x.proto";`:                                                "only the well-known",
		`syntax = "proto3"; message M { int32 a = 1 [foo = 2]; }`:             "foo",
		`syntax = "proto9";`:                                                  "syntax value",
		`message M { required int32 a = 1 [default = "x"]; }`:                 "1:",
	} {
		if _, err := compileProto(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	f := mustProto(t, `syntax = "proto2"; message M { required int32 a = 1; }`)
	if got := f.check(f.message("M"), map[string]any{}); got == nil || !strings.Contains(got.text, "required") {
		t.Errorf("a message without what it requires: %v", got)
	}
}

// FuzzProto: no text brings the compiler down.
func FuzzProto(f *testing.F) {
	f.Add(protoText)
	f.Add(`edition = "2023"; message M { string a = 1 [features.field_presence = LEGACY_REQUIRED]; }`)
	f.Add(`syntax = "proto2"; message M { extensions 1 to 9; optional group G = 10 {} } extend M { optional int32 x = 5; }`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := compileProto(text)
		if err != nil {
			return
		}
		all := p.file.Messages()
		for i := range all.Len() {
			p.check(all.Get(i), map[string]any{"a": "x"})
			messageSchemas(all.Get(i))
		}
	})
}
