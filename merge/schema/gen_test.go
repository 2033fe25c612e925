package schema

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
)

var rewrite = flag.Bool("rewrite", false, "rewrite what the generators are expected to write")

// The schemas of the generated files: every way in which a property reads, and
// every form of a type.
func generated(t testing.TB) []*Compiled {
	proto := string(delta.AppendAnyJSON(nil, protoText))
	texts := []string{
		orderText,
		`{"name":"every-thing","version":1,"entities":["every/*"],"description":"Two lines,\nand */ no end.","additional":false,"proto":` + proto + `,"properties":[
			{"id":"any","path":"/any"},
			{"id":"all","path":"/all","resolver":"all","type":{"type":["string","null"]}},
			{"id":"mean","path":"/deep/er/mean","resolver":"mean","required":true},
			{"id":"own","path":"/deep/own","resolver":"cel:x","type":{"type":"string"}},
			{"id":"conflict","path":"/deep/conflict-free","resolver":"conflict","type":{"enum":["a","b",1,null,0.5,-1]}},
			{"id":"bag","path":"/bag","verb":"bag","type":{"type":"string"}},
			{"id":"bagOfUnions","path":"/unions","verb":"bag","resolver":"set","type":{"anyOf":[{"type":"string"},{"type":"integer"},{"type":"number"}]}},
			{"id":"joined","path":"/joined","verb":"bag","resolver":"concat"},
			{"id":"lists","path":"/lists","resolver":"union","type":{"type":"array","items":{"type":"string"}}},
			{"id":"choice","path":"/choice","verb":"ballot","type":{"type":"string","enum":["yes","no"]}},
			{"id":"count","path":"/count","verb":"counter","type":{"type":"integer","minimum":0}},
			{"id":"friends","path":"/friends","verb":"bag","ref":{"dangling":"null"}},
			{"id":"owner","path":"/owner","ref":{},"required":true},
			{"id":"bytes","path":"/bytes","type":{"type":"object","properties":{"$bytes":{"type":"string"}},"required":["$bytes"],"additionalProperties":false}},
			{"id":"money","path":"/money","type":{"$proto":"Money"}},
			{"id":"wild","path":"/wild/*/on/*","type":{"type":"boolean"}},
			{"id":"tame","path":"/wild/tame/on/me","type":{"type":"string"}},
			{"id":"never","path":"/never","type":false},
			{"id":"quoted","path":"/it's \"q\"/~1","description":"A name to quote.","type":{"const":"\"\u2028"}},
			{"id":"tree","path":"/tree","type":{"$schema":"https://json-schema.org/draft/2020-12/schema","$defs":{"node":{"description":"A node.","type":"object",
				"properties":{"left":{"$ref":"#/$defs/node"},"right":{"$ref":"#/$defs/node"},"value":{"type":"number","description":"What it holds."}},"required":["value","more"],"additionalProperties":false}},
				"$ref":"#/$defs/node"}},
			{"id":"json","path":"/json","type":{"anyOf":[{"type":["null","boolean","number","string"]},{"type":"array","items":{"$ref":"#"}},{"type":"object","additionalProperties":{"$ref":"#"}}]}},
			{"id":"pair","path":"/pair","type":{"type":"array","prefixItems":[{"type":"string"},{"type":["integer","null"]}],"items":false}},
			{"id":"rest","path":"/rest","type":{"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"boolean"}}},
			{"id":"both","path":"/both","type":{"allOf":[{"type":"object","properties":{"a":{"type":"string"}}},{"type":"object","properties":{"b":{"type":"string"}},"required":["b"]}]}},
			{"id":"open","path":"/open","type":{"type":"object","patternProperties":{"^x":true}}},
			{"id":"shut","path":"/shut","type":{"type":"object","additionalProperties":false}},
			{"id":"map","path":"/map","type":{"type":"object","additionalProperties":{"type":"string"}}},
			{"id":"fixed","path":"/fixed","type":{"const":{"a":[1,9007199254740993,{"$ref":"x"}]}}},
			{"id":"anchored","path":"/anchored","type":{"$defs":{"x":{"$anchor":"x","type":"string"}},"$ref":"#x"}},
			{"id":"sum","path":"/sum","computed":true,"resolver":"sum","depends":["mean"],"type":{"type":"number"},"default":0}
		]}`,
		`{"name":"every.thing","version":1,"entities":["twin/*"]}`,
		`{"name":"record","version":1,"entities":["record/*"],"properties":[{"id":"total","path":"","verb":"counter"}]}`,
		`{"name":"_","version":1,"entities":["list/*"],"properties":[{"id":"x","path":"/*","type":{"type":"string"}}]}`,
	}
	var all []*Compiled
	for _, text := range texts {
		c := NewCatalog([]*Schema{mustParse(t, text)}, lookup, nil)
		all = append(all, c.Schemas()...)
	}
	return all
}

// compareGolden compares with a file of testdata, and writes it with -rewrite.
func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; see it with git diff after -rewrite:\n%s", file, got)
	}
}

// TestGenTypeScript: the types are those of testdata, which compile under tsc
// --strict, with use.ts that uses them.
func TestGenTypeScript(t *testing.T) {
	all := generated(t)
	got := GenTypeScript(all)
	compareGolden(t, "schemas.ts", got)
	all[0], all[1] = all[1], all[0]
	if again := GenTypeScript(all); !bytes.Equal(again, got) {
		t.Error("the order of schemas matters")
	}
	if got := string(GenTypeScript(nil)); !strings.Contains(got, "export {};") {
		t.Errorf("no schemas make no module: %s", got)
	}
}

// TestGenJSONSchema: the schemas are those of testdata, and are schemas.
func TestGenJSONSchema(t *testing.T) {
	for _, c := range generated(t) {
		got := GenJSONSchema(c)
		compareGolden(t, c.Schema.Name+".schema.json", got)
		if !json.Valid(got) {
			t.Errorf("%s: no JSON", c.Schema)
		}
		if _, f := compileLibrary(mustJSON(t, string(got))); f != nil {
			t.Errorf("%s: %v", c.Schema, f)
		}
	}
}

// TestJSONSchemaSays: the generated schema takes what reads show, and nothing
// else.
func TestJSONSchemaSays(t *testing.T) {
	all := generated(t)
	for _, x := range []struct {
		of   int
		doc  string
		want string
	}{
		{0, `{"price":5,"tags":"a, b","buyer":null,"notes":{"a":{"text":"x"}},"paid":{"units":"5"},"more":1}`, ""},
		{0, `{}`, `lacks the member "price"`},
		{0, `{"price":5,"tags":["a"]}`, "/tags: is an array"},
		{0, `{"price":5,"notes":{"a":{"text":1}}}`, "/notes/a/text: is a number"},
		{0, `{"price":5,"paid":{"units":true}}`, "/paid: is none of"},
		{0, `{"price":5,"paid":{"$bytes":"AA=="}}`, ""},
		{1, `{"deep":{"er":{"mean":1}},"owner":{"$ref":"x"},"tree":{"value":1,"more":1,"left":{"value":2}}}`, `/tree/left: lacks the member "more"`},
		{1, `{"deep":{"er":{"mean":1}},"owner":{"$ref":"x"},"json":[{"a":[1]}],"anchored":"x","all":["a",null]}`, ""},
		{1, `{"deep":{"er":{"mean":1}},"owner":{"$ref":"x"},"colour":1}`, "not allowed"},
		{1, `{"deep":{"er":{"mean":1}},"owner":{"$ref":"x"},"never":1}`, "/never"},
		{1, `{"deep":{"er":{"mean":1}},"owner":{"$ref":"x"},"anchored":1}`, "/anchored: is a number"},
		{1, `{"deep":{"er":{}},"owner":{"$ref":"x"}}`, `/deep/er: lacks the member "mean"`},
		{3, `5`, ""},
		{3, `"5"`, "is a string"},
	} {
		s, f := compileLibrary(mustJSON(t, string(GenJSONSchema(all[x.of]))))
		if f == nil {
			f = checkLibrary(s, mustJSON(t, x.doc))
		}
		if x.want == "" && f != nil || x.want != "" && (f == nil || !strings.Contains(f.Error(), x.want)) {
			t.Errorf("%s as %s: %v, want %q", x.doc, all[x.of].Schema, f, x.want)
		}
	}
}

// TestValidate: what is wrong with a document that is to be written.
func TestValidate(t *testing.T) {
	shop := compileOf(t, shopText)
	open := compileOf(t, schemaOf(`{"id":"a","path":"/in/a","type":{"type":"integer"}}`))
	for _, x := range []struct {
		c    *Compiled
		doc  string
		want string
	}{
		{shop, `{"price":5,"name":null,"tags":["a"],"vote":"yes","stock":3,"notes":{"x":{"text":"y"}},"total":1,"buyer":{"$ref":"person/a"}}`, ""},
		{shop, `{"price":"5","name":"x"}`, "/price: is a string, must be number"},
		{
			shop, `{"price":-5,"tags":["a",5],"colour":1,"cost":2,"box":{"width":1}}`,
			"/box/width: was renamed; write to /box/w\n/colour: is no property of schema shop@2, which takes no others\n/cost: was renamed; write to /price\n/price: -5 is below 0\n/tags/1: is an integer, must be string\n/name: is required",
		},
		{shop, `{"price":5,"name":"x","tags":"a"}`, "/tags: is a string, must be an array of the members"},
		{shop, `{"price":5,"name":"x","stock":11}`, "/stock: 11 is above 10"},
		{shop, `[]`, "document: is an array: property \"price\" of schema shop@2 is below, at /price, so that it must be an object\n/price: is required\n/name: is required"},
		{shop, `{"$ref":"a"}`, "document: is a reference: property"},
		{open, `{"in":5,"out":6}`, `/in: is an integer: property "a" of schema s@1 is below, at /in/a`},
		{open, `{"in":{},"out":6}`, ""},
		{open, `{"in":{"b":5,"a":1.0}}`, ""},
		{open, `{"in":{"a":"x"}}`, "/in/a: is a string"},
		{open, `null`, "document: is null: property"},
	} {
		err := x.c.Validate(mustJSON(t, x.doc))
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.HasPrefix(err.Error(), x.want)) {
			t.Errorf("%s: %v, want %q", x.doc, err, x.want)
		}
	}
	many := map[string]any{}
	for i := range 100 {
		many[fmt.Sprint(i)] = int64(i)
	}
	if err := shop.Validate(many); strings.Count(err.Error(), "\n") != maxFaults-1 {
		t.Errorf("%d faults are told", strings.Count(err.Error(), "\n")+1)
	}
}

// TestValidateAgrees: a document is valid where the generated JSON Schema says
// so, as long as all properties are registers that read as they are written.
func TestValidateAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Schema{Name: "s", Version: 1, Entities: []string{"e"}, Closed: rapid.Bool().Draw(t, "closed")}
		for i, p := range []delta.Path{"/a", "/b/a", "/c/*"}[:rapid.IntRange(1, 3).Draw(t, "properties")] {
			s.Properties = append(s.Properties, Property{
				ID: fmt.Sprintf("p%d", i), Path: p, Verb: Register, Type: drawPlain(t, 1), Required: i < 2 && rapid.Bool().Draw(t, "required"),
			})
		}
		c := NewCatalog([]*Schema{s}, nil, nil).Schemas()[0]
		x, err := delta.ParseJSON(GenJSONSchema(c))
		if err != nil {
			t.Fatal(err)
		}
		lib, f := compileLibrary(x)
		if f != nil {
			t.Fatalf("%s: %v", GenJSONSchema(c), f)
		}
		for range 10 {
			doc := map[string]any{"a": drawValue(t, 1), "b": drawValue(t, 2), "c": map[string]any{"a": drawValue(t, 1)}}
			for _, k := range []string{"a", "b", "c"} {
				if rapid.Bool().Draw(t, "without") {
					delete(doc, k)
				}
			}
			if _, ok := doc["b"].([]byte); ok {
				delete(doc, "b") // to the library it is the object that JSON has for bytes
			}
			mine, theirs := c.Validate(doc), checkLibrary(lib, doc)
			if (mine == nil) != (theirs == nil) {
				t.Fatalf("%v: %v, by\n%s\n%v", doc, mine, GenJSONSchema(c), theirs)
			}
		}
	})
}
