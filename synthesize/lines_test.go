package synthesize

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// What cannot be read is refused with the line of the mistake, and with its
// path where it is one in a value.
func TestMistakes(t *testing.T) {
	deep := strings.Repeat("[", 80) + strings.Repeat("]", 80)
	for _, tt := range []struct {
		name, text string
		line       int
		path       string // "-" where none is known
		want       string
	}{
		{"a.json", ``, 1, "-", "ends too early"},
		{"a.json", "{\n\"a\": [1,\n2\n", 3, "-", "ends too early"},
		{"a.json", "{\"a\": 1,\n\"b\": x}", 2, "-", "invalid character 'x'"},
		{"a.json", "[1\n2]", 2, "-", "invalid character '2'"},
		{"a.json", "[1,\n\n@]", 3, "-", "invalid character '@'"},
		{"a.json", "{\"a\": \"x\ny\"}", 1, "-", "invalid character '\\n' in string"},
		{"a.json", "{\"a\": 1\n\"b\": 2}", 2, "-", "after object"},
		{"a.json", "{\"a\"\n1}", 2, "-", "after object key"},
		{"a.json", "{\"a\": 1,\n}", 2, "-", "invalid character '}'"},
		{"a.json", "{}\n\n{}", 3, "-", "more text"},
		{"a.json", "1\n,\n2", 2, "-", "more text"},
		{"a.json", "{\"a\": {\n\"b\": 1,\n\"b\": 2}}", 3, "/a/b", "stands twice"},
		{"a.json", "{\"a\": [1,\n2,\n99999999999999999999]}", 3, "/a/2", "past int64"},
		{"a.json", "{\"a\":\n1e999}", 2, "/a", "past float64"},
		{"a.json", "{\"a\": 1,\n\"b\": \"\\ud800\"}", 2, "-", "half a surrogate"},
		{"a.json", "{\"a\": 1,\n\"b\": \"\xff\"}", 2, "-", "not UTF-8"},
		{"a.json", "{\"a\": 1,\n\"b\": " + deep + "}", 2, "/b" + strings.Repeat("/0", 66), "nested deeper than 64"},
		{"a.json", "{\"a\": 1,\n\"b\": {\"$ref\": \"\"}}", 2, "/b", "entity id is empty"},
		{"a.json", "{\"a\": 1,\n\"b\": {\n\"$ref\": \"x\", \"y\": 1}}", 3, "/b/$ref", "reserved"},
		{"a.json", "{\"data\": {\"a\": 1,\n\"b\":\n{\"$bytes\": \"?\"}}}", 2, "/data/b", "not base64"},
		{"a.json", "{\"data\": 1,\n\"time\": \"yesterday\"}", 2, "/time", "not RFC 3339"},
		{"a.json", "{\"data\": 1,\n\"time\": \"1969-01-01T00:00:00Z\"}", 2, "/time", "not within"},
		{"a.json", "{\"data\": 1,\n\"time\": -1}", 2, "/time", "not within"},
		{"a.json", "{\"data\": 1,\n\"time\": 1.5}", 2, "/time", "RFC 3339 text or an integer"},
		{"a.json", "{\"data\": 1,\n\"source\": {}}", 2, "/source", "is a text"},
		{"a.json", "{\n\"" + strings.Repeat("x", 5000) + "\": 1}", 2, "/" + strings.Repeat("x", 5000), "at most 4096"},
		{"a.json", "{\n\"a\": \"" + strings.Repeat("x", 300<<10) + "\"}", 2, "/a", "at most 262144"},

		{"a.toml", "a = 1\nb = 2\na = 3", 3, "-", "already defined"},
		{"a.toml", "a = 1\n\nb = \n", 3, "-", "toml"},
		{"a.toml", "[a]\n[b]\n[a]", 3, "-", "already exists"},
		{"a.toml", "x = 1\ny = {a = 1,\n  b = 2,\n  a = 3}", 4, "-", "already defined"},
		{"a.toml", "x = 1\ny = {a = 1,\n  a.b = 2}", 3, "-", "already"},
		{"a.toml", "x = 1\n[t]\ny = [1,\n2.5,\ninf]", 5, "/t/y/2", "not a finite number"},
		{"a.toml", "[[t]]\nx = 1\n[[t]]\n\nx = nan", 5, "/t/1/x", "not a finite number"},
		{"a.toml", "x = 1\ny = 9223372036854775808", 2, "-", "64-bit"},
		{"a.toml", "x = 1\n" + strings.Repeat("a.", 100) + "a = 1", 2, "-", "more than 66 names"},
		{"a.toml", "x = 1\n" + many("x%d = 1\n", maxTOMLMembers), maxTOMLMembers + 1, "-", "more than 8192 names"},
		{"a.toml", many("[t%d]\n", maxTOMLMembers+1), maxTOMLMembers + 1, "-", "more than 8192 names"},
		{"a.yaml", many("x%d: [\n", 4000), 0, "-", "(in line 4000 at the latest)"},
		{"a.toml", "x = 1\ny = " + deep, 2, "/y" + strings.Repeat("/0", 66), "nested deeper than 64"},
		{"a.toml", "x = 1\ny = \"\xff\"", 2, "-", "UTF-8"},
		{"a.toml", "x = 1\ny = 2021-13-01", 2, "-", "date"},

		{"a.yaml", "a: 1\nb:\n  c: 1\n d: 2\ne: 3\n", 4, "-", "did not find expected key"},
		{"a.yaml", "x:\n  y:\n    - 1\n    - 2\n   - 3\nz: 1\n", 5, "-", "did not find expected key"},
		{"a.yaml", "a: 1\nb: 2: 3\nc: 4\n", 2, "-", "mapping values are not allowed"},
		{"a.yaml", "a: 1\nb: [1,\n2\nc: 3\nd: 4\n", 2, "-", "(in line 5 at the latest)"},
		{"a.yaml", "a: 1\nb: 'abc\nc: 3\n", 2, "-", "unexpected end of stream"},
		{"a.yaml", "a: 1\nb: *x\nc: 3\n", 2, "-", "unknown anchor"},
		{"a.yaml", "a: 1\nb: @x\nc: 2\n", 2, "-", "cannot start any token"},
		{"a.yaml", "a: 1\nb\nc: 2\n", 2, "-", "could not find expected ':'"},
		{"a.yaml", "a: 1\n---\nb: 2\n---\n}\n", 5, "-", "expected node content"},
		{"a.yaml", "a: 1\nb: \x01\n", 2, "-", "control characters"},
		{"a.yaml", "a: 1\nb: \xff\n", 2, "-", "not UTF-8"},
		{"a.yaml", "}", 1, "-", "expected node content"},
		{"a.yml", "a: 1\nb: 2\na: 3", 3, "/a", "stands twice"},
		{"a.yaml", "a:\n  1: x", 2, "/a", "put it in quotes"},
		{"a.yaml", "a: 1\n[x]: 2", 2, "", "a key is a text"},
		{"a.yaml", "a: 1\nb: [1, .inf]", 2, "/b/1", "not a finite number"},
		{"a.yaml", "a: 1\nb: 9223372036854775808", 2, "/b", "past int64"},
		{"a.yaml", "a: 1\nb: 99999999999999999999999", 2, "/b", "past int64"},
		{"a.yaml", "a: 1\nb: !x y", 2, "/b", "tag !x is not of JSON"},
		{"a.yaml", "a: 1\nb: !!set {x}", 2, "/b", "tag !!set is not of JSON"},
		{"a.yaml", "a: 1\nb: !x [y]", 2, "/b", "tag !x is not of JSON"},
		{"a.yaml", "a: 1\nb: !!binary '?'", 2, "/b", "not base64"},
		{"a.yaml", "a: 1\nb: !!int x", 2, "/b", "past int64, or none"},
		{"a.yaml", "a: 1\nb: !!float x", 2, "/b", "no number"},
		{"a.yaml", "a: 1\nb: !!bool x", 2, "/b", "no boolean"},
		{"a.yaml", "a: 1\nb: &b [*b]", 2, "/b" + strings.Repeat("/0", 33), "an alias within"},
		{"a.yaml", "a: 1\n<<: 3", 2, "", "brings a mapping"},
		{"a.yaml", "a: 1\n<<: [1]", 2, "", "brings a mapping"},
		{"a.yaml", "a: 1\nb: " + deep, 2, "/b" + strings.Repeat("/0", 66), "nested deeper than 64"},
		{"a.yaml", laughs(), 6, "-", "too many"},

		{"a.txt", "{}", 0, "-", "unknown kind of file"},
		{"a", "{}", 0, "-", "unknown kind of file"},
		{"a.json", strings.Repeat(" ", MaxFileBytes+1), 0, "-", "more than 4194304 bytes"},
		{"a.json", "[" + strings.Repeat("1,", MaxValues) + "1]", 1, "/262143", "more than 262144 values"},
	} {
		_, err := Parse(tt.name, []byte(tt.text))
		var e *FragmentError
		if !errors.As(err, &e) {
			t.Errorf("%s %.40q: %v", tt.name, tt.text, err)
			continue
		}
		path := e.Path
		if !e.Known {
			path = "-"
		}
		if tt.want == "too many" {
			path = "-" // where the limit is reached is no one's business
		}
		if e.Line != tt.line || path != tt.path || !strings.Contains(e.Error(), tt.want) || !strings.HasPrefix(e.Error(), tt.name) {
			t.Errorf("%s %.40q:\n%.300v\nis at line %d, path %.80s, want %d, %.80s and %q", tt.name, tt.text, err, e.Line, path, tt.line, tt.path, tt.want)
		}
	}
}

// laughs is a small text with billions of values.
func laughs() string {
	text := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := byte('b'); i < 'k'; i++ {
		text += string(i) + ": &" + string(i) + " [" + strings.Repeat("*"+string(i-1)+",", 10) + "]\n"
	}
	return text
}

// many repeats a line with a number in it.
func many(line string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, line, i)
	}
	return b.String()
}
