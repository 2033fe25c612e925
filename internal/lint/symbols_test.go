package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// livingPages are the pages that speak of the code as it is now. Decisions
// speak of their day.
var livingPages = []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/format.md"}

var symbolPattern = regexp.MustCompile("`([A-Za-z]\\w*)\\.([A-Za-z]\\w*)(?:\\.([A-Za-z]\\w*))?`")

// suffixes are those of file names.
var suffixes = []string{"go", "md", "mod", "json", "toml", "sh", "yml"}

// checkSymbols: what a living page names as package.Symbol or Type.Member is
// declared. Words before the dot that are neither package nor type are others'.
func checkSymbols(tr *tree) (found []string) {
	packages, types := tr.declarations()
	for _, page := range slices.Sorted(maps.Keys(tr.pages)) {
		if !slices.Contains(livingPages, page) {
			continue
		}
		for _, m := range symbolPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(tr.pages[page], ""), -1) {
			a, b, c := m[1], m[2], m[3]
			if slices.Contains(suffixes, b) {
				continue
			}
			ok := true
			if names, isPackage := packages[a]; isPackage {
				ok = names[b] && (c == "" || types[b][c])
			} else if members, isType := types[a]; isType {
				ok = members[b] && c == ""
			}
			if !ok {
				found = append(found, fmt.Sprintf("%s: %s is not declared", page, strings.Trim(m[0], "`")))
			}
		}
	}
	return found
}

// declarations returns the names that each package declares, and the members
// of each type, types of one name taken together. Tests declare nothing.
func (tr *tree) declarations() (packages, types map[string]map[string]bool) {
	packages, types = make(map[string]map[string]bool), make(map[string]map[string]bool)
	add := func(to map[string]map[string]bool, key, name string) {
		if to[key] == nil {
			to[key] = make(map[string]bool)
		}
		to[key][name] = true
	}
	fields := func(owner string, list *ast.FieldList) {
		for _, f := range list.List {
			for _, n := range f.Names {
				add(types, owner, n.Name)
			}
		}
	}
	for _, f := range tr.files {
		if f.test || f.syntax.Name.Name == "main" {
			continue
		}
		pkg := f.syntax.Name.Name
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					add(packages, pkg, d.Name.Name)
				} else {
					add(types, receiver(d.Recv.List[0].Type), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.ValueSpec:
						for _, n := range s.Names {
							add(packages, pkg, n.Name)
						}
					case *ast.TypeSpec:
						add(packages, pkg, s.Name.Name)
						add(types, s.Name.Name, "")
						switch t := s.Type.(type) {
						case *ast.StructType:
							fields(s.Name.Name, t.Fields)
						case *ast.InterfaceType:
							fields(s.Name.Name, t.Methods)
						}
					}
				}
			}
		}
	}
	return packages, types
}

// receiver returns the name of a method's type.
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}
