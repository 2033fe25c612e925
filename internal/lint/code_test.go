package lint

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
)

// core are the packages without goroutines, timers, wall clock and global
// randomness, and the world that replays them from a seed. What is not a driver
// of package node belongs to its Replica, so that a new file is pure until
// somebody says otherwise here.
var core = []string{"digest", "clock", "delta", "merge", "merge/schema", "catalog", "oplog", "gossip", "compaction", "node", "simnet", "feed", "synthesize", "history"}

var drivers = []string{
	"node/catalogs.go", // catalogs are made beside the loop
	"node/views.go",    // and so is what views show
	"node/viewread.go", // watchers wait for changes
	"node/node.go",     // the event loop
	"node/commit.go",   // callers wait for their group commit
	"node/cut.go",      // ages are told from now
	"node/diff.go",     // asks a peer, and waits
	"node/read.go",     // watchers wait for changes
	"node/shrink.go",   // times what a compaction takes
	"node/status.go",   // asks peers, and waits
	"node/verify.go",   // rereads the store beside the loop
	"simnet/run.go",    // says how long a run took

	"synthesize/dir.go",   // reads a directory
	"synthesize/open.go",  // opens what is to be read
	"synthesize/write.go", // replaces a file
}

// banned are the functions that the core must not call, by import path. For
// math/rand it is all but the constructors.
var banned = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
}

var bannedImports = []string{"crypto/rand", "net", "os", "log", "log/slog", "runtime"}

// checkCore: the core is a function of what it is given.
func checkCore(tr *tree) (found []string) {
	for _, f := range tr.files {
		if f.test || !slices.Contains(core, f.dir) || slices.Contains(drivers, f.path) {
			continue
		}
		report := func(n ast.Node, what string) {
			found = append(found, fmt.Sprintf("%v: %s in the core", f.fset.Position(n.Pos()), what))
		}
		names := make(map[string]string) // of the imports in this file
		for _, imp := range f.syntax.Imports {
			p, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				report(imp, err.Error())
			}
			if slices.Contains(bannedImports, p) {
				report(imp, "import of "+p)
			}
			name := path.Base(strings.TrimSuffix(p, "/v2"))
			if imp.Name != nil {
				name = imp.Name.Name
			}
			names[name] = p
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				report(n, "go statement")
			case *ast.SelectStmt:
				report(n, "select statement")
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && isBanned(names[x.Name], n.Sel.Name) {
					report(n, x.Name+"."+n.Sel.Name)
				}
			}
			return true
		})
	}
	return found
}

func isBanned(pkg, name string) bool {
	if pkg == "math/rand" || pkg == "math/rand/v2" {
		return !strings.HasPrefix(name, "New") && !slices.Contains([]string{"Rand", "Source", "PCG", "ChaCha8", "Zipf"}, name)
	}
	return slices.Contains(banned[pkg], name)
}

// maxLines is where a file has become two.
const maxLines = 800

func checkSizes(tr *tree) (found []string) {
	for _, f := range tr.files {
		if f.lines >= maxLines {
			found = append(found, fmt.Sprintf("%s: %d lines, the limit is %d", f.path, f.lines, maxLines))
		}
	}
	return found
}

// checkDocs: every package says what it is.
func checkDocs(tr *tree) (found []string) {
	documented := make(map[string]bool)
	for _, f := range tr.files {
		if strings.HasSuffix(f.syntax.Name.Name, "_test") {
			continue
		}
		d := f.syntax.Doc.Text()
		named := strings.HasPrefix(d, "Package "+f.syntax.Name.Name+" ") || f.syntax.Name.Name == "main" && d != ""
		documented[f.dir] = documented[f.dir] || named
	}
	for dir, ok := range documented {
		if !ok {
			found = append(found, fmt.Sprintf("%s: no package comment", dir))
		}
	}
	slices.Sort(found)
	return found
}

// checkTests: tests wait for conditions, not for time, and none is skipped.
func checkTests(tr *tree) (found []string) {
	for _, f := range tr.files {
		if !f.test && f.dir != "storage/storagetest" {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := s.X.(*ast.Ident)
			if !ok {
				return true
			}
			what := x.Name + "." + s.Sel.Name
			if slices.Contains([]string{"time.Sleep", "t.Skip", "t.Skipf", "t.SkipNow"}, what) {
				found = append(found, fmt.Sprintf("%v: %s in a test", f.fset.Position(n.Pos()), what))
			}
			return true
		})
	}
	return found
}
