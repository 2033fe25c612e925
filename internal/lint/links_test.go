package lint

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fencePattern   = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	codePattern    = regexp.MustCompile("`[^`\n]*`")
	headingPattern = regexp.MustCompile(`(?m)^#{1,6} +(.*)$`)
)

// checkLinks: every relative link of a page leads to a file of this tree, and
// to a heading where it names one.
func checkLinks(tr *tree) (found []string) {
	for _, page := range slices.Sorted(maps.Keys(tr.pages)) {
		text := codePattern.ReplaceAllString(fencePattern.ReplaceAllString(tr.pages[page], ""), "")
		for _, m := range linkPattern.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := page
			if target != "" {
				to = path.Join(path.Dir(page), target)
			}
			if _, err := fs.Stat(tr.fsys, to); err != nil {
				found = append(found, fmt.Sprintf("%s: %s leads nowhere", page, m[1]))
				continue
			}
			if other, ok := tr.pages[to]; ok && anchor != "" && !anchors(other)[anchor] {
				found = append(found, fmt.Sprintf("%s: %s has no such heading", page, m[1]))
			}
		}
	}
	return found
}

// anchors returns the names of a page's headings, as code hosts make them: lower
// case, blanks as dashes, without punctuation, numbered from the second on.
func anchors(page string) map[string]bool {
	out := make(map[string]bool)
	count := make(map[string]int)
	for _, m := range headingPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(page, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(m[1]))
		n := count[name]
		count[name]++
		if n > 0 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
		out[name] = true
	}
	return out
}
