// Package anomaly shows what becomes of the anomalies that users of replicated
// data meet: each is a row with what other systems do, by their own public word,
// what Rhizome does, and a test that shows it. docs/anomalies.md is made from
// the rows.
//
// The tests run production replicas with clocks, disks and a network of their
// own, so that what they show does not rest on time; some run whole nodes. The
// simulated worlds of TestWorlds look for the same under faults.
package anomaly

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/anomalies.md")

// A verdict says in a word whether Rhizome has an anomaly.
type verdict string

const (
	no      verdict = "does not happen"
	other   verdict = "happens in another form"
	shown   verdict = "happens, and shows"
	yes     verdict = "happens"
	lacking verdict = "is not offered"
)

// A source is what another system says of itself, or somebody who uses it.
type source struct{ system, says, link string }

// An anomaly is one row of the table. The texts are Markdown without line ends.
type anomaly struct {
	// name is also the name of the test.
	name string
	// meets is what a user meets.
	meets     string
	elsewhere []source
	verdict   verdict
	// here is what Rhizome does, and how by which means.
	here, how string
	// fails is a small change of the code that makes the test fail.
	fails string
	test  func(t *testing.T)
}

// anomalies are all rows, those that lose data first.
func anomalies() []anomaly {
	return slices.Concat(deletions(), updates(), counters(), clocks(), identities(), wholes(), constraints())
}

// Each row holds: Rhizome does what the table says of it.
func TestAnomalies(t *testing.T) {
	for _, a := range anomalies() {
		t.Run(slug(a.name), a.test)
	}
}

// docs/anomalies.md is what the rows say, and every row says all that it must.
func TestTable(t *testing.T) {
	const name = "../../docs/anomalies.md"
	rows := anomalies()
	if *update {
		if err := os.WriteFile(name, []byte(page(rows)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != page(rows) {
		t.Errorf("%s is not what the rows say; renew it with: go test ./internal/anomaly -run TestTable -update", name)
	}
	seen := make(map[string]bool)
	for _, a := range rows {
		if seen[slug(a.name)] {
			t.Errorf("two rows are called %s", a.name)
		}
		seen[slug(a.name)] = true
		for what, text := range map[string]string{"meets": a.meets, "here": a.here, "how": a.how, "fails": a.fails} {
			if text == "" || strings.ContainsAny(text, "\n|") || !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %s is no sentence for a table: %q", a.name, what, text)
			}
		}
		if len(a.elsewhere) == 0 {
			t.Errorf("%s: no other system", a.name)
		}
		for _, s := range a.elsewhere {
			if s.system == "" || !strings.HasSuffix(s.says, ".") || !strings.HasPrefix(s.link, "http") {
				t.Errorf("%s: a source that is not whole: %+v", a.name, s)
			}
		}
	}
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// slug is the name of a row as tests and links have it.
func slug(name string) string {
	return strings.Trim(notWord.ReplaceAllString(strings.ToLower(name), "-"), "-")
}

const head = `# Anomalies

Replicated data without a leader has well-known ways to go wrong. This page goes through those that users of such
systems have met: what happens or happened elsewhere, by the public word of those systems and their users, some of which
has been mended since; what Rhizome does; by which means; and the test that shows it. Rhizome has some of them too, or
does not offer the thing that has them: the last column says so.

The page is made from the table in ` + "`internal/anomaly`" + `, which holds each row beside its test. All tests run with

    go test ./internal/anomaly

and one of them with ` + "`-run TestAnomalies/`" + ` and its name. The last line of each section is a change of the code under
which its test was seen to fail. ` + "`TestWorlds`" + ` looks for resurrection, lost writes and wrong counts in simulated worlds, with
partitions, long absences, compaction, crashes, doubled messages, clocks that are wrong, and copied disks.

`

// page renders the rows.
func page(rows []anomaly) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("| Anomaly | Elsewhere | In Rhizome |\n| --- | --- | --- |\n")
	for _, a := range rows {
		var systems []string
		for _, s := range a.elsewhere {
			if !slices.Contains(systems, s.system) {
				systems = append(systems, s.system)
			}
		}
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", a.name, slug(a.name), strings.Join(systems, ", "), a.verdict)
	}
	for _, a := range rows {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| | |\n| --- | --- |\n", a.name, a.meets)
		for _, s := range a.elsewhere {
			fmt.Fprintf(&b, "| %s | %s [%s](%s) |\n", s.system, s.says, cite(s.link), s.link)
		}
		fmt.Fprintf(&b, "| **Rhizome** | **%s.** %s |\n", upper(string(a.verdict)), a.here)
		fmt.Fprintf(&b, "| How | %s |\n", a.how)
		fmt.Fprintf(&b, "| Test | `TestAnomalies/%s`; it fails when %s |\n", slug(a.name), a.fails)
	}
	return b.String()
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

var issue = regexp.MustCompile(`^https://github\.com/([^/]+/[^/]+)/(?:issues|pull)/(\d+)$`)

// cite is how a link reads: an issue by its repository and number, a page by
// its host.
func cite(link string) string {
	if m := issue.FindStringSubmatch(link); m != nil {
		return m[1] + "#" + m[2]
	}
	link = strings.TrimPrefix(link[strings.Index(link, "//")+2:], "www.")
	host, _, _ := strings.Cut(link, "/")
	return host
}
