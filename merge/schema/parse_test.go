package schema

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// orderText is the document of the package comment, made whole.
const orderText = `{
  "name": "order", "version": 2, "description": "What a customer buys.",
  "entities": ["order/*", "archive/**"],
  "additional": true,
  "proto": "syntax = \"proto3\"; message Money { string currency = 1; int64 units = 2; Money change = 3; }",
  "properties": [
    {"id": "price", "path": "/price", "description": "Before tax.", "type": {"type": "number", "minimum": 0},
     "verb": "register", "resolver": "last-write-wins", "required": true},
    {"id": "paid", "path": "/paid", "type": {"$proto": "Money"}},
    {"id": "tags", "path": "/tags", "type": {"type": "string"}, "verb": "bag", "resolver": {"use": "concat", "separator": ", "}},
    {"id": "buyer", "path": "/buyer", "ref": {"to": ["person/*"], "dangling": "null"}},
    {"id": "notes", "path": "/notes/*/text", "type": {"type": "string"}},
    {"id": "state", "path": "/state", "type": {"enum": ["open", "paid"]}},
    {"id": "tax", "path": "/tax", "type": {"type": "number"}},
    {"id": "total", "path": "/total", "computed": true, "type": {"type": "number"},
     "resolver": "order-total", "depends": ["price", {"id": "tax", "optional": true}]}
  ],
  "migrate": [
    {"rename": {"from": "/cost", "to": "/price"}},
    {"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}},
    {"retype": {"path": "/price", "to": "number"}},
    {"default": {"path": "/state", "value": "open"}}
  ]
}`

func mustParse(t testing.TB, text string) *Schema {
	t.Helper()
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return s
}

// schemaOf returns a document with the properties, and more members.
func schemaOf(properties string, more ...string) string {
	return fmt.Sprintf(`{"name": "s", "version": 1, "entities": ["e/*"], "properties": [%s]%s}`,
		properties, strings.Join(append([]string{""}, more...), ", "))
}

// TestParse: a document comes back as it was written.
func TestParse(t *testing.T) {
	s := mustParse(t, orderText)
	if s.String() != "order@2" || s.Closed || len(s.Properties) != 8 || len(s.Migrate) != 4 || len(s.Entities) != 2 {
		t.Errorf("read %+v", s)
	}
	total := s.Properties[7]
	if !total.Computed || total.Resolver.Use != "order-total" || total.Depends[0] != (merge.Dep{ID: "price"}) || total.Depends[1] != (merge.Dep{ID: "tax", Optional: true}) {
		t.Errorf("read total as %+v", total)
	}
	if tags := s.Properties[2]; tags.Verb != Bag || tags.Resolver.Params["separator"] != ", " {
		t.Errorf("read tags as %+v", tags)
	}
	if f := s.Properties[3].Ref; f.Dangling != merge.DanglingNull || f.To[0] != "person/*" {
		t.Errorf("read buyer as %+v", f)
	}
}

// TestCanonical: documents that mean the same have one canonical form, which
// parses to itself.
func TestCanonical(t *testing.T) {
	a := mustParse(t, orderText).Canonical()
	if again := mustParse(t, string(a)).Canonical(); !bytes.Equal(a, again) {
		t.Errorf("canonical form of\n%s is\n%s", a, again)
	}
	x := mustParse(t, `{"name":"s","version":1,"entities":["b","a"],"properties":[
		{"id":"y","path":"/y"},{"id":"x","path":"/x","resolver":"r","depends":[{"id":"z"},"y"]},{"id":"z","path":"/z","ref":{"to":["b","a"]}}]}`)
	y := mustParse(t, `{"name":"s","version":1,"entities":["a","b"],"additional":true,"properties":[
		{"id":"z","path":"/z","ref":{"to":["a","b"],"dangling":"keep"}},
		{"id":"x","path":"/x","verb":"register","resolver":{"use":"r"},"depends":["y",{"id":"z","optional":false}],"required":false},
		{"id":"y","path":"/y"}],"migrate":[]}`)
	if !bytes.Equal(x.Canonical(), y.Canonical()) {
		t.Errorf("two forms of one schema:\n%s\n%s", x.Canonical(), y.Canonical())
	}
	z := mustParse(t, schemaOf(`{"id":"a","path":"/a","default":null,"required":true}`, `"additional":false`))
	if got := string(z.Canonical()); !strings.Contains(got, `"default":null`) || !strings.Contains(got, `"additional":false`) {
		t.Errorf("canonical form lost something: %s", got)
	}
	if got := string((&Schema{Migrate: []Migration{{}}}).Canonical()); !strings.Contains(got, `"migrate":[{}]`) {
		t.Errorf("canonical form of a schema of nothing: %s", got)
	}
}

// TestMistakes: each mistake is named with its culprit and its place.
func TestMistakes(t *testing.T) {
	long := strings.Repeat("x", MaxNameBytes+1)
	deepPath := strings.Repeat("/a", delta.MaxDepth+1)
	for _, c := range []struct{ name, text, at, want string }{
		{"no object", `[]`, "", "is an array, must be an object"},
		{"unknown member", schemaOf("", `"colour": 1`), "/colour", "unknown member"},
		{"unknown member of a property", schemaOf(`{"id":"a","path":"/a","tpye":{}}`), "/properties/0/tpye", `"tpye"`},
		{"no name", `{"version":1,"entities":["e"],"properties":[]}`, "/name", "is missing"},
		{"bad name", `{"name":"1x","version":1,"entities":["e"]}`, "/name", `"1x"`},
		{"long name", `{"name":"` + long + `","version":1,"entities":["e"]}`, "/name", "129 bytes"},
		{"no version", `{"name":"s","entities":["e"]}`, "/version", "numbered from 1"},
		{"half a version", `{"name":"s","version":1.5,"entities":["e"]}`, "/version", "is a number, must be an integer"},
		{"huge version", `{"name":"s","version":99999999999,"entities":["e"]}`, "/version", "99999999999"},
		{"no entities", `{"name":"s","version":1,"properties":[]}`, "/entities", "names no entities"},
		{"an entity that is no text", `{"name":"s","version":1,"entities":[1]}`, "/entities/0", "is an integer"},
		{"bad pattern", `{"name":"s","version":1,"entities":["a***"]}`, "/entities/0", "three stars"},
		{"empty pattern", `{"name":"s","version":1,"entities":[""]}`, "/entities/0", "pattern is empty"},
		{"long pattern", `{"name":"s","version":1,"entities":["` + strings.Repeat("a", MaxPatternBytes+1) + `"]}`, "/entities/0", "1025 bytes"},
		{"pattern of no entity", `{"name":"s","version":1,"entities":["a#b"]}`, "/entities/0", "matches nothing"},
		{"pattern twice", `{"name":"s","version":1,"entities":["a","a"]}`, "/entities/1", `"a" is there already`},
		{"additional", `{"name":"s","version":1,"entities":["e"],"additional":"no"}`, "/additional", "must be true or false"},
		{"properties", `{"name":"s","version":1,"entities":["e"],"properties":{}}`, "/properties", "must be an array"},
		{"property", schemaOf(`7`), "/properties/0", "is an integer, must be an object"},

		{"no id", schemaOf(`{"path":"/a"}`), "/properties/0/id", "is missing"},
		{"id twice", schemaOf(`{"id":"a","path":"/a"},{"id":"a","path":"/b"}`), "/properties/1/id", `"a" is there already, at /properties/0`},
		{"no path", schemaOf(`{"id":"a"}`), "/properties/0/path", `"a" has no path`},
		{"bad path", schemaOf(`{"id":"a","path":"a"}`), "/properties/0/path", "begins with /"},
		{"reserved path", schemaOf(`{"id":"a","path":"/$ref"}`), "/properties/0/path", "reserved"},
		{"deep path", schemaOf(`{"id":"a","path":"` + deepPath + `"}`), "/properties/0/path", "65 segments"},
		{"path twice", schemaOf(`{"id":"a","path":"/a"},{"id":"b","path":"/a"}`), "/properties/1/path", `property "b" is that of property "a"`},
		{"path inside", schemaOf(`{"id":"a","path":"/a"},{"id":"b","path":"/a/b"}`), "/properties/1/path", "inside"},
		{"path outside", schemaOf(`{"id":"b","path":"/a/b"},{"id":"a","path":"/a"}`), "/properties/1/path", "inside"},
		{"path inside a star", schemaOf(`{"id":"a","path":"/*/b"},{"id":"b","path":"/a"}`), "/properties/1/path", "inside"},
		{"star inside a path", schemaOf(`{"id":"a","path":"/a"},{"id":"b","path":"/*/b"}`), "/properties/1/path", "inside"},
		{"root beside others", schemaOf(`{"id":"a","path":"/a"},{"id":"b","path":""}`), "/properties/1/path", "inside"},

		{"verb", schemaOf(`{"id":"a","path":"/a","verb":"put"}`), "/properties/0/verb", `"put" of property "a"`},
		{"verb of another type", schemaOf(`{"id":"a","path":"/a","verb":1}`), "/properties/0/verb", "must be a string"},
		{"type null", schemaOf(`{"id":"a","path":"/a","type":null}`), "/properties/0/type", "is null"},
		{"type of a type", schemaOf(`{"id":"a","path":"/a","type":5}`), "/properties/0/type", "property"},
		{"unknown type", schemaOf(`{"id":"a","path":"/a","type":{"type":"strin"}}`), "/properties/0/type/type", `type of property "a"`},
		{"remote type", schemaOf(`{"id":"a","path":"/a","type":{"items":{"$ref":"http://x.example/y"}}}`), "/properties/0/type/items/$ref", "outside"},
		{"remote type in disguise", schemaOf(`{"id":"a","path":"/a","type":{"properties":{"default":{"$ref":"file:///etc/passwd"}}}}`), "/properties/0/type", "outside"},
		{"type with an address", schemaOf(`{"id":"a","path":"/a","type":{"$id":"x:y"}}`), "/properties/0/type/$id", "no address"},
		{"other dialect", schemaOf(`{"id":"a","path":"/a","type":{"$schema":"http://json-schema.org/draft-07/schema"}}`), "/properties/0/type/$schema", "2020-12"},
		{"reference to nothing", schemaOf(`{"id":"a","path":"/a","type":{"$ref":"#/$defs/x"}}`), "/properties/0/type", "not found"},
		{"bad expression", schemaOf(`{"id":"a","path":"/a","type":{"pattern":"("}}`), "/properties/0/type/pattern", "is no regex"},
		{"long expression", schemaOf(`{"id":"a","path":"/a","type":{"pattern":"(ab?){999}"}}`), "/properties/0/type/pattern", "at most 2000 are allowed"},
		{"long expression of names", schemaOf(`{"id":"a","path":"/a","type":{"patternProperties":{"(ab?){999}":true}}}`), "/properties/0/type/patternProperties", "at most 2000 are allowed"},
		{"many schemas", schemaOf(`{"id":"a","path":"/a","type":{"const":[1],"anyOf":[` + strings.Repeat("true,", MaxTypeSchemas) + `true]}}`), "/properties/0/type", "is made of 4098 schemas"},
		{"type within itself", schemaOf(`{"id":"a","path":"/a","type":{"allOf":[{"$ref":"#"}]}}`), "/properties/0/type", "refers to itself"},
		{"endless work", schemaOf(`{"id":"a","path":"/a","type":{"anyOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}]}}`), "/properties/0/type", "more than 100000"},

		{"no proto", schemaOf(`{"id":"a","path":"/a","type":{"$proto":"M"}}`), "/properties/0/type/$proto", "no .proto text"},
		{"no message", schemaOf(`{"id":"a","path":"/a","type":{"$proto":"N"}}`, `"proto":"syntax=\"proto3\"; message M {}"`), "/properties/0/type/$proto", `message "N"`},
		{"message and more", schemaOf(`{"id":"a","path":"/a","type":{"$proto":"M","type":"object"}}`, `"proto":"message M {}"`), "/properties/0/type", "nothing else"},
		{"bad proto", schemaOf(`{"id":"a","path":"/a","type":{"$proto":"M"}}`, `"proto":"message {"`), "/proto", "1:9"},
		{"proto imports", schemaOf(``, `"proto":"import \"a.proto\";"`), "/proto", `import "a.proto"`},
		{"long proto", schemaOf(``, `"proto":"`+strings.Repeat(" ", MaxProtoBytes+1)+`"`), "/proto", "65537 bytes"},
		{"deep proto", schemaOf(``, `"proto":"`+strings.Repeat("message A {", 40)+`"`), "/proto", "deeper than 32"},

		{"resolver", schemaOf(`{"id":"a","path":"/a","resolver":1}`), "/properties/0/resolver", "must be a name"},
		{"resolver without a name", schemaOf(`{"id":"a","path":"/a","resolver":{"x":1}}`), "/properties/0/resolver", "names no resolver"},
		{"computed by nothing", schemaOf(`{"id":"a","path":"/a","computed":true}`), "/properties/0", "no resolver"},
		{"computed bag", schemaOf(`{"id":"a","path":"/a","computed":true,"resolver":"r","verb":"bag"}`), "/properties/0/verb", "nobody writes it"},
		{"depends without a resolver", schemaOf(`{"id":"a","path":"/a","depends":["b"]},{"id":"b","path":"/b"}`), "/properties/0/depends", "no resolver"},
		{"depends on nothing", schemaOf(`{"id":"a","path":"/a","resolver":"r","depends":["b"]}`), "/properties/0/depends/0", `"a" depends on "b"`},
		{"depends twice", schemaOf(`{"id":"a","path":"/a","resolver":"r","depends":["b",{"id":"b"}]},{"id":"b","path":"/b"}`), "/properties/0/depends/1", "twice"},
		{"depends on a star", schemaOf(`{"id":"a","path":"/a","resolver":"r","depends":["b"]},{"id":"b","path":"/b/*"}`), "/properties/0/depends/0", `"b"`},
		{"star depends", schemaOf(`{"id":"a","path":"/a/*","resolver":"r","depends":["b"]},{"id":"b","path":"/b"}`), "/properties/0/depends", `"a" has a path with *`},
		{"star required", schemaOf(`{"id":"a","path":"/a/*","required":true}`), "/properties/0/required", `"a"`},
		{"star with a default", schemaOf(`{"id":"a","path":"/a/*","default":1}`), "/properties/0/default", `"a"`},
		{"star computed", schemaOf(`{"id":"a","path":"/a/*","computed":true,"resolver":"r"}`), "/properties/0/computed", `"a"`},
		{"bad dependency", schemaOf(`{"id":"a","path":"/a","resolver":"r","depends":[1]}`), "/properties/0/depends/0", "must be an object"},
		{
			"cycle", schemaOf(`{"id":"b","path":"/b","resolver":"r","depends":["c"]},{"id":"c","path":"/c","resolver":"r","depends":["a"]},{"id":"a","path":"/a","resolver":"r","depends":["b"]}`),
			"/properties/2/depends", "a -> b -> c -> a",
		},
		{"cycle of one", schemaOf(`{"id":"a","path":"/a","resolver":"r","depends":["a"]}`), "/properties/0/depends", "a -> a"},

		{"default of another type", schemaOf(`{"id":"a","path":"/a","type":{"type":"integer"},"default":"x"}`), "/properties/0/default", `default of property "a"`},
		{"default inside", schemaOf(`{"id":"a","path":"/a","type":{"properties":{"x":{"type":"integer"}}},"default":{"x":"y"}}`), "/properties/0/default/x", "is a string"},
		{"default of a bag", schemaOf(`{"id":"a","path":"/a","verb":"bag","default":1}`), "/properties/0/default", "array of the members"},
		{"default of a text", schemaOf(`{"id":"a","path":"/a","verb":"bag","resolver":"concat","default":1}`), "/properties/0/default", "must be a string"},
		{"default of a number", schemaOf(`{"id":"a","path":"/a","resolver":"mean","default":"1"}`), "/properties/0/default", "must be a number"},
		{"default that is no value", schemaOf(`{"id":"a","path":"/a","default":{"$ref":1}}`), "/properties/0/default", "reserved"},

		{"ref", schemaOf(`{"id":"a","path":"/a","ref":"x"}`), "/properties/0/ref", "must be an object"},
		{"ref to nothing", schemaOf(`{"id":"a","path":"/a","ref":{"to":[]}}`), "/properties/0/ref/to", "names no entities"},
		{"ref to a bad pattern", schemaOf(`{"id":"a","path":"/a","ref":{"to":["***"]}}`), "/properties/0/ref/to/0", "three stars"},
		{"dangling", schemaOf(`{"id":"a","path":"/a","ref":{"dangling":"x"}}`), "/properties/0/ref/dangling", `"x" of property "a"`},
		{"ref with a type", schemaOf(`{"id":"a","path":"/a","ref":{},"type":{}}`), "/properties/0/type", "is a reference"},
		{"counter of refs", schemaOf(`{"id":"a","path":"/a","ref":{},"verb":"counter"}`), "/properties/0/ref", "counter"},
		{"default that is no ref", schemaOf(`{"id":"a","path":"/a","ref":{"to":["b"]},"default":{"$ref":"c"}}`), "/properties/0/default", `refers to "c", must refer to b`},

		{"no migration", schemaOf(``, `"migrate":[{}]`), "/migrate/0", "has 0 members"},
		{"unknown migration", schemaOf(``, `"migrate":[{"drop":{}}]`), "/migrate/0/drop", `"drop"`},
		{"rename the root", schemaOf(``, `"migrate":[{"rename":{"from":"","to":"/a"}}]`), "/migrate/0/rename/from", "whole entity"},
		{"rename from a bad path", schemaOf(``, `"migrate":[{"rename":{"from":"x","to":"/a"}}]`), "/migrate/0/rename/from", "begins with /"},
		{"rename into itself", schemaOf(``, `"migrate":[{"rename":{"from":"/a","to":"/a/b"}}]`), "/migrate/0/rename/to", "inside"},
		{"rename with stars", schemaOf(``, `"migrate":[{"rename":{"from":"/a/*","to":"/b"}}]`), "/migrate/0/rename/to", "1 stars"},
		{"rename of a property", schemaOf(`{"id":"a","path":"/a/b"}`, `"migrate":[{"rename":{"from":"/a","to":"/b"}}]`), "/properties/0/path", "renamed away, at /migrate/0/rename/from"},
		{"split in one", schemaOf(``, `"migrate":[{"split":{"from":"/a","to":["/b"],"separator":" "}}]`), "/migrate/0/split/to", "names 1 paths"},
		{"split by nothing", schemaOf(``, `"migrate":[{"split":{"from":"/a","to":["/b","/c"]}}]`), "/migrate/0/split/separator", "missing"},
		{"split in the same", schemaOf(``, `"migrate":[{"split":{"from":"/a","to":["/b","/b"],"separator":" "}}]`), "/migrate/0/split/to/1", "are the same"},
		{"retype", schemaOf(``, `"migrate":[{"retype":{"path":"/a","to":"date"}}]`), "/migrate/0/retype/to", `"date"`},
		{"default of no property", schemaOf(``, `"migrate":[{"default":{"path":"/a","value":1}}]`), "/migrate/0/default/path", `"/a"`},
		{"default of a star", schemaOf(`{"id":"a","path":"/*"}`, `"migrate":[{"default":{"path":"/*","value":1}}]`), "/migrate/0/default/path", `"a" has a *`},
		{"default of its own", schemaOf(`{"id":"a","path":"/a","default":2}`, `"migrate":[{"default":{"path":"/a","value":1}}]`), "/migrate/0/default/path", "of its own"},
		{"default that breaks the type", schemaOf(`{"id":"a","path":"/a","type":{"type":"string"}}`, `"migrate":[{"default":{"path":"/a","value":1}}]`), "/migrate/0/default/value", `property "a"`},
		{"default of nothing", schemaOf(`{"id":"a","path":"/a"}`, `"migrate":[{"default":{"path":"/a"}}]`), "/migrate/0/default", "no value"},

		{"no JSON", `{`, "", "json"},
		{"a key twice", `{"name":"a","name":"b"}`, "", "twice"},
		{"long", `"` + strings.Repeat("x", MaxDocumentBytes) + `"`, "", "262146 bytes"},
		{"many patterns", `{"name":"s","version":1,"entities":[` + strings.Repeat(`"a",`, MaxPatterns) + `"b"]}`, "/entities", "65 elements"},
		{"many properties", schemaOf(strings.Repeat(`7,`, MaxProperties) + `7`), "/properties", "4097 elements"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Parse([]byte(c.text))
			if s != nil || err == nil {
				t.Fatalf("parsed as %v, %v", s, err)
			}
			if !tells(err, delta.Path(c.at), c.want) {
				t.Errorf("want %q at %q, have:\n%v", c.want, c.at, err)
			}
		})
	}
}

func tells(err error, at delta.Path, want string) bool {
	for _, m := range mistakesOf(err) {
		if m.Pointer == at && strings.Contains(m.Error(), want) {
			return true
		}
	}
	return false
}

func mistakesOf(err error) (all []*Mistake) {
	var m *Mistake
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, mistakesOf(e)...)
		}
	} else if errors.As(err, &m) {
		all = append(all, m)
	}
	return all
}

// TestAllMistakes: a document is told all that is wrong with it at once, and
// not what only follows from that.
func TestAllMistakes(t *testing.T) {
	_, err := Parse([]byte(`{"name": 5, "version": 0, "entities": ["***"], "proto": "message", "properties": [
		{"id": "a", "path": "/a", "type": {"$proto": "M"}}, {"id": "a", "path": "/a"},
		{"id": "x", "path": "/x", "resolver": "r", "depends": ["y"]}, {"id": "y", "path": "/y", "resolver": "r", "depends": ["x"]},
		{"id": "p", "path": "/p", "resolver": "r", "depends": ["q"]}, {"id": "q", "path": "/q", "resolver": "r", "depends": ["p"]}]}`))
	var at []string
	for _, m := range mistakesOf(err) {
		at = append(at, string(m.Pointer))
	}
	want := "/name /version /entities/0 /proto /properties/1/id /properties/1/path /properties/4/depends /properties/2/depends"
	if got := strings.Join(at, " "); got != want {
		t.Errorf("mistakes at %s, want %s", got, want)
	}
	many := strings.Repeat(`{},`, MaxMistakes) + `{}`
	if _, err := Parse([]byte(schemaOf(many))); len(mistakesOf(err)) != MaxMistakes || !strings.Contains(err.Error(), "and 102 more") {
		t.Errorf("%d mistakes are told: %v", len(mistakesOf(err)), err)
	}
}

// TestPathsThatMeet: paths of one length may match the same, and the one that
// is literal first counts.
func TestPathsThatMeet(t *testing.T) {
	s := mustParse(t, schemaOf(`{"id":"star","path":"/n/*/t"},{"id":"one","path":"/n/a/t"},{"id":"both","path":"/*/b/t"}`))
	for path, want := range map[delta.Path]string{"/n/x/t": "star", "/n/a/t": "one", "/n/b/t": "star", "/m/b/t": "both", "/n/a/t/below": "one"} {
		where, i, size := s.built.tree.find(path)
		if where != within || s.Properties[i].ID != want || path[:size] != firstSegments(path, 3) {
			t.Errorf("%s is %v %d %d, want %s", path, where, i, size, want)
		}
	}
	for path, want := range map[delta.Path]place{"": above, "/n": above, "/m": above, "/m/c": outside, "/m/b": above, "/n/a/u": outside} {
		if where, _, _ := s.built.tree.find(path); where != want {
			t.Errorf("%s is %v, want %v", path, where, want)
		}
	}
}

// firstSegments returns the first n segments of a path.
func firstSegments(p delta.Path, n int) delta.Path {
	var out delta.Path
	for _, s := range p.Segments()[:n] {
		out = out.Child(s)
	}
	return out
}

// FuzzParse: no document brings the parser down, and what parses has a
// canonical form that parses to itself.
func FuzzParse(f *testing.F) {
	f.Add([]byte(orderText))
	f.Add([]byte(schemaOf(`{"id":"a","path":"/a","type":{"$defs":{"n":{"properties":{"n":{"$ref":"#/$defs/n"}}}},"$ref":"#/$defs/n"}}`)))
	f.Add([]byte(schemaOf(`{"id":"a","path":"","verb":"counter","type":{"multipleOf":0.1,"maximum":1e300},"default":5.0}`)))
	f.Add([]byte(schemaOf(`{"id":"a","path":"/*","type":{"dependentSchemas":{"x":true},"contains":{"const":{"$bytes":"aGk="}},"unevaluatedItems":false}}`)))
	f.Add([]byte(schemaOf(``, `"proto":"edition = \"2023\"; import \"google/protobuf/any.proto\"; message M { google.protobuf.Any a = 1; map<string, M> m = 2; }"`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		if err != nil {
			if len(mistakesOf(err)) == 0 {
				t.Fatalf("no mistake in %v", err)
			}
			return
		}
		canonical := s.Canonical()
		again, err := Parse(canonical)
		if err != nil || !bytes.Equal(again.Canonical(), canonical) {
			t.Fatalf("canonical form\n%s: %v", canonical, err)
		}
		c := NewCatalog([]*Schema{s}, nil, nil)
		GenTypeScript(c.Schemas())
		for _, x := range c.Schemas() {
			GenJSONSchema(x)
		}
	})
}
