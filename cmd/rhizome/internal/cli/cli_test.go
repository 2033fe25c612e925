package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
)

// The commands and flags are those that are promised, and each one's help has
// an example and its exit codes.
func TestCommands(t *testing.T) {
	want := map[string]string{
		"init": "space", "run": "join bootstrap listen http retention retention-age retention-bytes", "id": "addr", "id rotate": "", "invite": "",
		"status": "wait timeout", "put": "if-match", "get": "lossless at prefix view raw expand", "rm": "if-match", "ls": "after limit",
		"add": "", "remove": "", "inc": "", "vote": "", "negate": "", "undo": "", "txn": "", "watch": "since view",
		"log": "lane since follow", "show": "", "import": "", "export": "at", "peers": "", "peers ls": "", "peers add": "",
		"peers rm": "", "verify": "backup", "backup": "force without-identity", "restore": "new-identity", "repair": "timeout bootstrap listen force", "compact": "to force dry-run", "checkpoints": "", "diff": "", "config": "", "config show": "origin", "config validate": "", "version": "",
		"completion": "",
		"explain":    "view raw", "schema": "", "schema add": "", "schema check": "", "schema ls": "", "schema show": "version", "schema rm": "",
		"schema require": "", "schema gen": "", "schema gen ts": "", "schema gen jsonschema": "", "resolver": "",
		"resolver add": "cel wasm description", "resolver ls": "", "resolver rm": "", "view": "", "view add": "", "view ls": "",
		"view rm": "", "view show": "at after limit",
		"synthesize": "input-dir output-path schema on-conflict report mode",
		"bench":      "duration ops writers size prefix keep",
		"sim":        "peers writers seed virtual faults workload trace svg until-failure",
	}
	root := new(app).root()
	for _, f := range []string{"repo", "api", "output", "log-level"} {
		if root.PersistentFlags().Lookup(f) == nil {
			t.Errorf("no flag --%s", f)
		}
	}
	var walk func(*cobra.Command)
	walk = func(parent *cobra.Command) {
		for _, c := range parent.Commands() {
			name := strings.TrimPrefix(c.CommandPath(), "rhizome ")
			if name == "help" {
				continue
			}
			flags, ok := want[name]
			if !ok {
				t.Errorf("command %q was not promised", name)
			}
			delete(want, name)
			for _, f := range strings.Fields(flags) {
				if c.Flags().Lookup(f) == nil {
					t.Errorf("%s has no flag --%s", name, f)
				}
			}
			if !strings.Contains(c.Example, "rhizome "+name) || !strings.Contains(c.Long, "Exit codes:\n   0  ok\n") {
				t.Errorf("%s: help has no example or no exit codes:\n%s\n%s", name, c.Long, c.Example)
			}
			walk(c)
		}
	}
	walk(root)
	for name := range want {
		t.Errorf("no command %q", name)
	}
}

// What begins with a dash behind the key is a value, unless it is a flag.
func TestTakeDashes(t *testing.T) {
	for in, want := range map[string]string{
		"put k -3":                  "put -- k -3",
		"put k -3 -o json":          "put -o json -- k -3",
		"put k -ojson -x":           "put -ojson -- k -x",
		"put --if-match x k -3":     "put --if-match x -- k -3",
		"put k --if-match=x -3":     "put --if-match=x -- k -3",
		"put k -- -o":               "put -- k -o",
		"put -- k --if-match":       "put -- k --if-match",
		"put k -":                   "put -- k -",
		"--repo d put k -3":         "put --repo d -- k -3",
		"-o json --repo=d inc k -5": "inc -o json --repo=d -- k -5",
		"put k --help":              "put --help -- k",
		"put k -h":                  "put -h -- k",
		"put k --wrong":             "put --wrong -- k",
		"put -k v":                  "put -k -- v",
		"put k --if-match":          "put --if-match -- k",
		"vote k -yes":               "vote -- k -yes",
		"get k":                     "get k",
		"get -x":                    "get -x",
		"ls --limit 3":              "ls --limit 3",
		"peers rm x":                "peers rm x",
	} {
		got, err := takeDashes(new(app).root(), strings.Fields(in))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s became %s (%v), want %s", in, strings.Join(got, " "), err, want)
		}
	}
}

// Progress tells count, rate and, where the size is known, how much is done.
func TestProgressText(t *testing.T) {
	got := importText(api.ImportProgress{Docs: 3000, Bytes: 3 << 19}, 3<<20, 2*time.Second)
	if got != "3000 documents  1.5 MiB  1500 documents/s  50%" {
		t.Error(got)
	}
	if got := importText(api.ImportProgress{}, 0, 0); got != "0 documents  0 B  0 documents/s" {
		t.Error(got)
	}
	p := newProgress(new(bytes.Buffer), 5)
	p.importing(api.ImportProgress{})
	p.verifying(1, 2)
	p.end()
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 30: "5.0 GiB", 3 << 50: "3072.0 TiB"} {
		if got := sizeText(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
