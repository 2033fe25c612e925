package main

import (
	"strings"
	"testing"
)

// TestAnswer: differing versions and missing packages are found, packages that
// all have alike are not, and a host without packages lacks them all.
func TestAnswer(t *testing.T) {
	const in = `{"id": "host/b", "packages": {"bash": "2", "curl": "1", "same": "1"}}
{"id": "host/a", "packages": {"bash": "1", "same": "1"}, "cpu": {"cores": 4}}
`
	const want = "differs bash a=1 b=2\nlacks curl a\n"
	var out strings.Builder
	if err := run(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	if err := run(strings.NewReader(in+`{"id": "host/c"}`), &out); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), " c\n"); got != 3 {
		t.Errorf("host c lacks %d packages, want 3:\n%s", got, out.String())
	}
}

// TestBadInput: what is no JSON is an error that says where.
func TestBadInput(t *testing.T) {
	if err := run(strings.NewReader(`{"id": "host/a"} nonsense`), new(strings.Builder)); err == nil || !strings.Contains(err.Error(), "document 2") {
		t.Errorf("got %v, want an error about document 2", err)
	}
}
