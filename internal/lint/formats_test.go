package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"strconv"
	"strings"
)

// formatPage lists every kind of key and message.
const formatPage = "docs/format.md"

// checkFormats: the page on formats has every kind of key of packages oplog and
// node (constants kind… = 'x') and every message of package gossip (kindNames).
func checkFormats(tr *tree) (found []string) {
	page, keys, messages := tr.pages[formatPage], 0, 0
	want := func(what string, rows ...string) {
		for _, row := range rows {
			if strings.Contains(page, "\n"+row) {
				return
			}
		}
		found = append(found, fmt.Sprintf("%s: no row of %s", formatPage, what))
	}
	for _, f := range tr.files {
		if f.test {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Names) != 1 || len(v.Values) != 1 {
				return true
			}
			name := v.Names[0].Name
			switch x := v.Values[0].(type) {
			case *ast.BasicLit:
				if (f.dir == "oplog" || f.dir == "node") && x.Kind == token.CHAR && strings.HasPrefix(name, "kind") {
					keys++
					key := "| `" + strings.Trim(x.Value, "'") + "` "
					want(name, key+"· ", key+"| ")
				}
			case *ast.CompositeLit:
				if f.dir != "gossip" || name != "kindNames" {
					break
				}
				for i, e := range x.Elts {
					if lit, ok := e.(*ast.BasicLit); ok && i > 0 {
						message, _ := strconv.Unquote(lit.Value) // it parsed
						messages++
						want("message "+message, fmt.Sprintf("| %d | %s |", i, message))
					}
				}
			}
			return true
		})
	}
	if keys == 0 || messages == 0 {
		found = append(found, fmt.Sprintf("found %d kinds of keys and %d of messages: do their declarations look otherwise now?", keys, messages))
	}
	return found
}
