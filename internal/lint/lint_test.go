// Package lint holds the rules of this module that no compiler checks: which
// package may import which, what the core must not touch, how long a file may
// be, and that the links of the pages lead somewhere.
//
// The sources are parsed in the test's own process. A rule that asked the go
// command could be answered from the test cache after the sources have changed.
package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/rhizome-p2p/rhizome"

// A file is one Go source of the module.
type file struct {
	path   string // below the root, with slashes
	dir    string // of the package; "." is the root package
	test   bool
	lines  int
	syntax *ast.File
	fset   *token.FileSet
}

// A tree is what the rules look at.
type tree struct {
	fsys  fs.FS
	files []file
	pages map[string]string // Markdown by path
}

// load parses all Go files and reads all Markdown.
func load(t *testing.T, fsys fs.FS) *tree {
	t.Helper()
	tr := &tree{fsys: fsys, pages: make(map[string]string)}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() {
			if p != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "coverage") {
				return fs.SkipDir
			}
			return nil
		}
		switch path.Ext(p) {
		case ".go":
			return tr.parse(p)
		case ".md":
			b, err := fs.ReadFile(fsys, p)
			tr.pages[p] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr *tree) parse(p string) error {
	b, err := fs.ReadFile(tr.fsys, p)
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, p, b, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	tr.files = append(tr.files, file{
		path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"),
		lines: strings.Count(string(b), "\n"), syntax: syntax, fset: fset,
	})
	return nil
}

// root returns the directory that holds go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// rules are all the rules. Each returns what breaks it.
var rules = []struct {
	name  string
	check func(*tree) []string
}{
	{"imports", checkImports},
	{"core", checkCore},
	{"sizes", checkSizes},
	{"docs", checkDocs},
	{"tests", checkTests},
	{"links", checkLinks},
	{"symbols", checkSymbols},
	{"formats", checkFormats},
}

// TestModule: the module keeps every rule.
func TestModule(t *testing.T) {
	tr := load(t, os.DirFS(root(t)))
	if len(tr.files) < 100 || len(tr.pages) == 0 {
		t.Fatalf("found %d Go files and %d pages, so the rules would say nothing", len(tr.files), len(tr.pages))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range r.check(tr) {
				t.Error(f)
			}
		})
	}
}
