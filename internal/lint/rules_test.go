package lint

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestRules: each rule finds what breaks it, and nothing else. The trees are
// small modules that are wrong in one place.
func TestRules(t *testing.T) {
	const doc = "// Package p is a package.\n"
	tests := []struct {
		name, rule, path, text string
		want                   string // empty: nothing is found
	}{
		{"down", "imports", "merge/a.go", `package merge; import _ "` + module + `/delta"`, ""},
		{"up", "imports", "delta/a.go", `package delta; import _ "` + module + `/merge"`, "does not allow"},
		{"up in a test", "imports", "clock/a_test.go", `package clock; import _ "` + module + `/delta"`, "does not allow"},
		{"own package from an outer test", "imports", "clock/a_test.go", `package clock_test; import _ "` + module + `/clock"`, ""},
		{"own package", "imports", "clock/a.go", `package clock; import _ "` + module + `/clock"`, "does not allow"},
		{"pebble in its adapter", "imports", "storage/pebblestore/a.go", `package pebblestore; import _ "github.com/cockroachdb/pebble/v2/vfs"`, ""},
		{"pebble elsewhere", "imports", "oplog/a.go", `package oplog; import _ "github.com/cockroachdb/pebble/v2"`, "does not allow"},
		{"libp2p elsewhere", "imports", "rhizome.go", `package rhizome; import _ "github.com/libp2p/go-libp2p/core/peer"`, "does not allow"},
		{"a name that begins alike", "imports", "delta/a.go", `package delta; import _ "github.com/ipfs/go-cid-other"`, "does not allow"},
		{"test library in a test", "imports", "delta/a_test.go", `package delta; import _ "pgregory.net/rapid"`, ""},
		{"test library in the code", "imports", "delta/a.go", `package delta; import _ "pgregory.net/rapid"`, "does not allow"},
		{"api and the log", "imports", "api/a.go", `package api; import _ "` + module + `/oplog"`, "does not allow"},
		{"no layer", "imports", "utils/a.go", `package utils`, "no layer"},

		{"pure", "core", "clock/a.go", `package clock; import "time"; var d = time.Second`, ""},
		{"wall clock", "core", "clock/a.go", `package clock; import "time"; var d = time.Now()`, "time.Now"},
		{"renamed", "core", "clock/a.go", `package clock; import x "time"; var d = x.Now()`, "x.Now"},
		{"timer", "core", "gossip/a.go", `package gossip; import "time"; var d = time.NewTimer(1)`, "time.NewTimer"},
		{"wall clock in a driver", "core", "node/node.go", `package node; import "time"; var d = time.Now()`, ""},
		{"wall clock in the replica", "core", "node/new.go", `package node; import "time"; var d = time.Now()`, "time.Now"},
		{"goroutine", "core", "merge/a.go", `package merge; func f() { go f() }`, "go statement"},
		{"select", "core", "oplog/a.go", `package oplog; func f() { select {} }`, "select statement"},
		{"global randomness", "core", "gossip/a.go", `package gossip; import "math/rand/v2"; var n = rand.IntN(3)`, "rand.IntN"},
		{"seeded randomness", "core", "gossip/a.go", `package gossip; import "math/rand/v2"; func f(r *rand.Rand) int { return r.IntN(3) }`, ""},
		{"true randomness", "core", "delta/a.go", `package delta; import "crypto/rand"; var r = rand.Reader`, "crypto/rand"},
		{"goroutine elsewhere", "core", "gossip/p2p/a.go", `package p2p; func f() { go f() }`, ""},
		{"goroutine in a test", "core", "merge/a_test.go", `package merge; func f() { go f() }`, ""},

		{"long", "sizes", "clock/a.go", "package clock\n" + strings.Repeat("\n", maxLines-1), "800 lines"},
		{"not too long", "sizes", "clock/a.go", "package clock\n" + strings.Repeat("\n", maxLines-2), ""},

		{"documented", "docs", "p/a.go", doc + "package p", ""},
		{"undocumented", "docs", "p/a.go", "package p", "no package comment"},
		{"about something else", "docs", "p/a.go", "// Some words.\npackage p", "no package comment"},

		{"sleep", "tests", "p/a_test.go", `package p; import "time"; func f() { time.Sleep(1) }`, "time.Sleep"},
		{"sleep outside tests", "tests", "p/a.go", `package p; import "time"; func f() { time.Sleep(1) }`, ""},
		{"skip", "tests", "p/a_test.go", `package p; import "testing"; func f(t *testing.T) { t.Skip() }`, "t.Skip"},

		{"link", "links", "a.md", "# A\n[x](docs/b.md) and [y](https://example.org/z) and [z](#a)", ""},
		{"dead link", "links", "a.md", "[x](docs/none.md)", "leads nowhere"},
		{"from below", "links", "docs/c.md", "[x](../docs/b.md#the-b-side)", ""},
		{"dead heading", "links", "a.md", "[x](docs/b.md#nothing)", "no such heading"},
		{"declared symbols", "symbols", "README.md", "`b.F`, `b.T.M`, `T.N`, `I.Do`, `json.Marshal`, `b.json`", ""},
		{"unknown function", "symbols", "ARCHITECTURE.md", "`b.G`", "b.G is not declared"},
		{"unknown method", "symbols", "ARCHITECTURE.md", "`T.G`", "T.G is not declared"},
		{"unknown method of a package's type", "symbols", "ARCHITECTURE.md", "`b.T.G`", "b.T.G is not declared"},
		{"decisions speak of their day", "symbols", "docs/adr/0001-x.md", "`b.G`", ""},

		{"all formats", "formats", "docs/format.md", "\n| `e` · n |\n| `m` | x |\n| 1 | hello |\n", ""},
		{"a key too many", "formats", "docs/format.md", "\n| `e` · n |\n| 1 | hello |\n", "no row of kindMeta"},
		{"a message with another number", "formats", "docs/format.md", "\n| `e` · n |\n| `m` | x |\n| 2 | hello |\n", "no row of message hello"},

		{"in code", "links", "a.md", "```\n[x](none.md)\n```\n`[y](none.md)`", ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule+"/"+tt.name, func(t *testing.T) {
			tr := load(t, fstest.MapFS{
				"oplog/keys.go":  {Data: []byte("// Package oplog is one.\npackage oplog; const kindEntry = 'e'")},
				"node/state.go":  {Data: []byte("// Package node is one.\npackage node; const kindMeta = 'm'")},
				"gossip/wire.go": {Data: []byte("// Package gossip is one.\npackage gossip; var kindNames = [...]string{\"\", \"hello\"}")},
				"docs/b.md":      {Data: []byte("# The `B` side\n")},
				"digest/b.go":    {Data: []byte("// Package b is a package.\npackage b; func F() {}; type T struct { N int }; func (*T) M() {}; type I interface { Do() }")},
				tt.path:          {Data: []byte(tt.text)},
			})
			for _, r := range rules {
				if r.name != tt.rule {
					continue
				}
				found := strings.Join(r.check(tr), "\n")
				if (tt.want == "") != (found == "") || !strings.Contains(found, tt.want) {
					t.Errorf("found %q, want %q", found, tt.want)
				}
			}
		})
	}
}
