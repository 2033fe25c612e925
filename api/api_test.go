package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/delta"
)

var _ Node = (*rhizome.Node)(nil)

// Each class has the exit code that people and scripts rely on.
func TestExitCodes(t *testing.T) {
	for code, exit := range map[Code]int{
		CodeError: 1, CodeUsage: 2, CodeConfig: 3, CodeNotFound: 4, CodeUnreachable: 5, CodeAuth: 6, CodeValidation: 7,
		CodeConflict: 8, CodeTimeout: 9, CodeLocked: 10, CodeGone: 11, CodeHorizon: 12, CodeResolver: 13, "": 1, "else": 1,
	} {
		if got := code.Exit(); got != exit {
			t.Errorf("%s exits %d, want %d", code, got, exit)
		}
	}
	if len(ExitCodes) != 14 {
		t.Errorf("%d exit codes", len(ExitCodes))
	}
}

// An error keeps its class through wrapping.
func TestProblemOf(t *testing.T) {
	own := Problemf(CodeLocked, "locked")
	for _, c := range []struct {
		err    error
		status int
		code   Code
	}{
		{fmt.Errorf("x: %w", own), 503, CodeLocked},
		{fmt.Errorf("x: %w", rhizome.ErrNotFound), 404, CodeNotFound},
		{fmt.Errorf("x: %w", &http.MaxBytesError{Limit: 5}), 413, CodeValidation},
		{context.DeadlineExceeded, 504, CodeTimeout},
		{own.WithStatus(400), 400, CodeLocked},
		{NewProblem(CodeUsage, "", ""), 400, CodeUsage},
		{fmt.Errorf("x: %w", &rhizome.GoneError{What: "it", Cursor: "n-5"}), 410, CodeGone},
		{fmt.Errorf("x: %w", rhizome.ErrGone), 410, CodeGone},
		{fmt.Errorf("x: %w", &rhizome.HorizonError{What: "it", Cursor: "n-5"}), 410, CodeHorizon},
		{fmt.Errorf("x: %w", rhizome.ErrHorizon), 410, CodeHorizon},
		{rhizome.ErrBusy, 409, CodeConflict},
		{NewProblem(CodeTimeout, "", ""), 504, CodeTimeout},
		{NewProblem(CodeConfig, "", ""), 500, CodeConfig},
	} {
		if p := ProblemOf(c.err); p.Status != c.status || p.Code != c.code || p.Title != http.StatusText(c.status) {
			t.Errorf("%v: %+v", c.err, p)
		}
	}
	gone := ProblemOf(&rhizome.GoneError{What: "it", Cursor: "n-5"})
	if gone.Cursor != "n-5" || !strings.Contains(gone.Hint, "n-5") || gone.Type == ProblemOf(rhizome.ErrHorizon).Type {
		t.Errorf("%+v", gone)
	}
	past := ProblemOf(&rhizome.HorizonError{What: "it", Cursor: "n-5", Time: time.UnixMilli(7)})
	if past.Cursor != "n-5" || past.Time == nil || past.Time.UnixMilli() != 7 || past.Hint == "" {
		t.Errorf("%+v", past)
	}
	if own.Status != 503 {
		t.Error("WithStatus changed its receiver")
	}
}

// A value is JSON when it parses, else a string; what was meant as JSON and is
// not is a mistake.
func TestParseValue(t *testing.T) {
	for text, want := range map[string]string{
		"5": "5", "-5": "-5", " 5 ": "5", "5.0": "5.0", "1e2": "100.0", "true": "true", "null": "null",
		`"a"`: `"a"`, `"a`: `"\"a"`, "a": `"a"`, "": `""`, "007": `"007"`, "+5": `"+5"`, "-": `"-"`, "--x": `"--x"`,
		"nul": `"nul"`, "5 6": `"5 6"`, "a{": `"a{"`, "{}": "{}", "[]": "[]", `{"b":1,"a":[null]}`: `{"a":[null],"b":1}`,
		"9223372036854775807": "9223372036854775807", "ü\n": `"ü\n"`,
	} {
		if got, err := ParseValue([]byte(text)); err != nil || string(got) != want {
			t.Errorf("%q: %s %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		"{", "[", " {x}", "\n[1,", "{} {}", "9223372036854775808", "-9223372036854775809", "1e999", `{"a":1,"a":2}`,
		"\xff", "[" + strings.Repeat("[", 100) + strings.Repeat("]", 101),
	} {
		got, err := ParseValue([]byte(text))
		var p *Problem
		if !errors.As(err, &p) || p.Code != CodeValidation || p.Hint == "" {
			t.Errorf("%q: %s %v", text, got, err)
		}
	}
}

// Operations are read alike from lines and from an array; a wrong one is named.
func TestReadOps(t *testing.T) {
	lines := `{"op":"put","key":"a#/b","value":{"c":1},"skip_equal":true}
		{"op":"rm","key":"a","if_match":"x"}

		{"op":"inc","key":"n"} {"op":"inc","key":"n","n":-3}
		{"op":"negate","dots":["000102030405060708090a0b0c0d0e0f:1:0"]}
		{"op":"undo","txn":"000102030405060708090a0b0c0d0e0f:1:2"}`
	array := "[" + strings.NewReplacer("}\n", "},", "} {", "},{").Replace(strings.ReplaceAll(lines, "\n\n", "\n")) + "]"
	var want string
	for _, text := range []string{lines, array, " \n" + array + "\n "} {
		wire, err := ReadOps(iotest.OneByteReader(strings.NewReader(text)))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		ops, err := DecodeOps(wire)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%+v", ops)
		if want == "" {
			want = got
		}
		if got != want || len(ops) != 6 || ops[2].N != 1 || ops[3].N != -3 || ops[0].Path != "/b" || len(ops[5].Dots) != 1 {
			t.Errorf("%s: %s", text, got)
		}
	}
	for text, say := range map[string]string{
		``:                                   "without operations",
		`[]`:                                 "without operations",
		`{"op":"put","key":"a","value":1} x`: "operation 2",
		`[{"op":"rm","key":"a"},]`:           "operation 2",
		`[{"op":"rm","key":"a"}`:             "ends too early",
		`[{"op":"rm","key":"a"}] 1`:          "more text",
		`{"op":"put","key":"a"}`:             `"value" is missing`,
		`{"op":"put","value":1}`:             `"key" is missing`,
		`{"op":"rm","key":"a","value":1}`:    `"value" does not belong`,

		`{"op":"rm","key":"a","skip_equal":true}`:            `"skip_equal" does not belong`,
		`{"op":"put","key":"a","value":1,"n":1}`:             `"n" does not belong`,
		`{"op":"inc","key":"a","n":9223372036854775808}`:     "operation 1",
		`{"op":"inc","key":"a","n":1.5}`:                     "operation 1",
		`{"op":"put","key":"a","value":9223372036854775808}`: "past int64",
		`{"op":"put","key":"#/a","value":1}`:                 "empty",
		`{"op":"negate"}`:                                    `"dots" is missing`,
		`{"op":"negate","dots":["x"]}`:                       "operation 1",
		`{"op":"undo"}`:                                      `"txn" is missing`,
		`{"op":"undo","txn":"0:0:0","key":"a"}`:              "operation 1",
		`{"op":"nop"}`:                                       "not one of put",
		`{}`:                                                 `"op" is missing`,
		`{"op":"rm","key":"a"} {"op":"rm","key":"b","x":1}`:  "operation 2",
	} {
		ops, err := ReadOps(strings.NewReader(text))
		if err == nil {
			_, err = DecodeOps(ops)
		}
		var p *Problem
		if !errors.As(err, &p) || p.Code != CodeValidation || !strings.Contains(p.Detail, say) {
			t.Errorf("%s: %v, want %q", text, err, say)
		}
	}
	broken := errors.New("the line is cut")
	if _, err := ReadOps(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := ReadOps(io.MultiReader(strings.NewReader("["), iotest.ErrReader(&http.MaxBytesError{}))); ProblemOf(err).Status != 413 {
		t.Error(err)
	}
}

// A document reads back as it was printed, whatever is in it.
func TestDocumentRoundTrip(t *testing.T) {
	value := rapid.Deferred(func() *rapid.Generator[any] {
		return rapid.OneOf(
			rapid.Map(rapid.Int64(), func(n int64) any { return n }),
			rapid.Map(rapid.String(), func(s string) any { return strings.ToValidUTF8(s, "?") }),
			rapid.Just[any](nil), rapid.Just[any](map[string]any{}), rapid.Just[any](map[string]any{"$ref": "a"}),
			rapid.Just[any](map[string]any{"id": int64(1)}), rapid.Just[any](map[string]any{"a": true, "$x": []any{}}),
		)
	})
	path := rapid.SampledFrom([]Path{"", "/a", "/a/b", "/~0~1"})
	rapid.Check(t, func(t *rapid.T) {
		d := Document{ID: rapid.StringMatching(`[^#]{1,8}`).Filter(func(s string) bool { return delta.CheckEntity(s) == nil }).Draw(t, "id")}
		if rapid.Bool().Draw(t, "bag") {
			d.Bags = []Bag{{path.Draw(t, "path"), rapid.SliceOfN(value, 0, 3).Draw(t, "values")}}
		}
		if rapid.Bool().Draw(t, "counter") {
			d.Counters = []Counter{{path.Draw(t, "path"), rapid.Int64().Draw(t, "n")}}
		}
		if rapid.Bool().Draw(t, "ballot") {
			d.Ballots = []Ballot{{path.Draw(t, "path"), []Vote{{rapid.StringMatching("[a-z]*").Draw(t, "creator"), value.Draw(t, "vote")}}}}
		}
		if rapid.Bool().Draw(t, "value") || len(d.Bags)+len(d.Counters)+len(d.Ballots) == 0 {
			d.HasValue, d.Value = true, value.Draw(t, "value")
		}
		text := d.AppendJSON(nil)
		got, err := ParseDocument(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", normal(d)) || string(got.AppendJSON(nil)) != string(text) {
			t.Fatalf("%s is %#v, was %#v", text, got, d)
		}
	})
}

// normal writes what has no value of its own as ParseDocument does.
func normal(d Document) Document {
	for i := range d.Bags {
		if d.Bags[i].Values == nil {
			d.Bags[i].Values = []any{}
		}
	}
	return d
}

// The address file is its owner's alone, is replaced whole, and is removed
// only by the one who wrote it.
func TestAddress(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadAddress(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	first, second := Address{"127.0.0.1:1", "a", 1}, Address{"127.0.0.1:2", "b", 2}
	for _, a := range []Address{first, second} {
		if err := WriteAddress(dir, a); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadAddress(dir); err != nil || got != a {
			t.Errorf("%+v %v", got, err)
		}
	}
	name := filepath.Join(dir, AddressFile)
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := RemoveAddress(dir, first); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Error("another's file was removed")
	}
	if err := RemoveAddress(dir, second); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if err := RemoveAddress(dir, second); err != nil {
		t.Error(err)
	}
	if err := WriteAddress(filepath.Join(dir, "none"), first); err == nil {
		t.Error("wrote into no directory")
	}
	if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAddress(dir); err == nil {
		t.Error("read half a file")
	}
}

// What imports feed it does not break the parser, and what it takes it prints
// so that it takes it again.
func FuzzDocument(f *testing.F) {
	for _, s := range []string{
		`{"id":"a"}`, `{"id":"a","b":{"c":1}}`, `{"id":"a","$value":{"id":1}}`, `{"id":"a","$bags":{"/x":[1]}}`,
		`{"id":"a","$counters":{"":-1},"$votes":{"/v":{"":null}}}`, `{"id":"a","$value":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		d, err := ParseDocument(line)
		if err != nil {
			return
		}
		text := d.AppendJSON(nil)
		again, err := ParseDocument(text)
		if err != nil || string(again.AppendJSON(nil)) != string(text) {
			t.Fatalf("%s became %s: %v", line, text, err)
		}
	})
}
