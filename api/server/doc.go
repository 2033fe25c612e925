package server

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/rhizome-p2p/rhizome/api"
)

// Doc returns docs/api.md, made from the router's table.
func Doc() string {
	var b strings.Builder
	b.WriteString(docHead)
	for i := range routes {
		r := &routes[i]
		fmt.Fprintf(&b, "- [`%s %s`](#%s)\n", r.method, r.pattern, anchor(r))
	}
	for i := range routes {
		r := &routes[i]
		fmt.Fprintf(&b, "\n### %s %s\n\n%s\n", r.method, r.pattern, r.summary)
		if len(r.query) > 0 {
			b.WriteString("\n| Query | Meaning |\n| --- | --- |\n")
			for _, p := range r.query {
				fmt.Fprintf(&b, "| `%s` | %s |\n", p.name, p.meaning)
			}
		}
		if r.request != "" {
			fmt.Fprintf(&b, "\nRequest: %s\n", r.request)
		}
		fmt.Fprintf(&b, "\nResponse: %s\n", r.response)
		if len(r.codes) > 0 {
			var codes []string
			for _, c := range r.codes {
				codes = append(codes, "`"+string(c)+"`")
			}
			fmt.Fprintf(&b, "\nErrors of its own: %s.\n", strings.Join(codes, ", "))
		}
	}
	b.WriteString("\n## Errors\n\nAn error is problem details (RFC 9457, `" + api.ProblemType + "`): `type, title, status, detail`, and\n" +
		"`hint` (what to do), `code` (its class), `line` (of an import). The class gives the exit code of the program:\n\n" +
		"| Exit code | Class | Usual status | Meaning |\n| --- | --- | --- | --- |\n")
	for _, e := range api.ExitCodes {
		if e.Exit == 0 {
			fmt.Fprintf(&b, "| 0 | – | %d | ok |\n", http.StatusOK)
			continue
		}
		fmt.Fprintf(&b, "| %d | `%s` | %d | %s |\n", e.Exit, e.Code, api.NewProblem(e.Code, "", "").Status, e.Meaning)
	}
	b.WriteString(docTail)
	return b.String()
}

func anchor(r *route) string {
	s := strings.ToLower(r.method + " " + r.pattern)
	return strings.Map(func(c rune) rune {
		switch {
		case c == ' ':
			return '-'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
			return c
		}
		return -1
	}, s)
}

const docHead = `# The HTTP API

This page is made from the router's table; ` + "`go test ./api/server -run TestDoc -update`" + ` renews it.

A running node serves this API on a loopback address, which it writes with a token to ` + "`api.json`" + ` in its repo:

    addr=$(jq -r .addr REPO/api.json) token=$(jq -r .token REPO/api.json)
    curl -H "Authorization: Bearer $token" http://$addr/v1/status

The program's commands use the same routes; with no node running they open the repo and serve themselves in-process.

- **Token.** All but ` + "`/livez` and `/readyz`" + ` need it. A wrong or missing one is 401.
- **Host, Origin.** The Host header must be a loopback name or address, or the host that was given with ` + "`--http`" + ` (with a
  wildcard: any IP address), else 421. An Origin other than the API itself is refused with 403.
- **Keys.** A key is an entity id, optionally with a JSON pointer behind a "#": ` + "`host/web-1#/cpu/cores`" + `. In a path it is
  escaped: "#" as ` + "`%23`" + `, and "/" as ` + "`%2F`" + ` wherever the plain path would have an empty, "." or ".." segment. The pointer
  can stand in ` + "`?path=`" + ` instead.
- **Values.** JSON. Integers are exact in the range of int64 and refused beyond it; floats carry a point or an exponent.
  ` + "`{\"$ref\": ENTITY}`" + ` refers to an entity, ` + "`{\"$bytes\": BASE64}`" + ` is a byte string.
- **Times.** ` + "`time`" + ` is the wall part of the hybrid logical clock ` + "`hlc`" + ` (milliseconds.counter).
- **Gone.** A node drops raw history by its retention. What asks for more answers 410: ` + "`gone`" + ` for entries and cursors
  (read the state anew with export, then follow on from the problem's ` + "`cursor`" + `), ` + "`horizon`" + ` for reads of the past and for
  undo (` + "`cursor`" + ` and ` + "`time`" + ` say from where on the past is kept).
- **Limits.** A body that is read whole has at most 8 MiB, a line of an import 12 MiB; a transaction is one entry of at most
  1 MiB.

## Cuts

A cut is a closed set of entries: with each it holds all that was known when that was written. ` + "`at`" + ` and ` + "`to`" + ` name one:

- ` + "`now`" + `: everything.
- ` + "`2026-05-01T12:00:00Z`, `720h`, `30d`" + `: the largest one within a time, or a time that long ago: the entries whose clocks say
  that or less, and that rest on no later ones.
- a cursor: what this node had applied at it.
- ` + "`LANE:SEQ`" + `: an entry and its causal past.

The state as of a cut is what its entries fold to, exactly, for every cut that holds all that lies below the horizon: what
this node has dropped, or taken over as a peer's state. Others are refused (` + "`horizon`" + `).

## Routes

`

const docTail = `
A missing token is 401, a wrong host 421, an unknown route 404 and a wrong method 405 (both ` + "`usage`" + `), a failed
If-Match 412, a body that is too long 413.
`
