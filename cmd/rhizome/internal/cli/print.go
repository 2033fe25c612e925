package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A printer prints answers in the form that was asked for.
type printer struct {
	w    *bufio.Writer
	form string
}

func newPrinter(w io.Writer, form string) *printer {
	return &printer{bufio.NewWriterSize(w, 64<<10), form}
}

func (p *printer) flush() error { return p.w.Flush() }

func (p *printer) json() bool { return p.form == "json" || p.form == "jsonl" }

// Errors of writing stick to the buffered writer, and flush reports them.

func (p *printer) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.w, format, args...) }

// value prints one JSON value on a line.
func (p *printer) value(x any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		panic("cli: encode: " + err.Error()) // shapes hold nothing that JSON cannot
	}
	_, _ = p.w.Write(buf.Bytes())
}

// table prints rows in columns.
func (p *printer) table(head []string, rows [][]string) {
	tw := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	line := func(cells []string) { _, _ = fmt.Fprintln(tw, strings.Join(cells, "\t")) }
	if len(head) > 0 {
		line(head)
	}
	for _, r := range rows {
		line(r)
	}
	_ = tw.Flush()
}

// pairs prints names and values below each other, those with a value.
func (p *printer) pairs(pairs ...string) {
	var rows [][]string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			rows = append(rows, []string{pairs[i], pairs[i+1]})
		}
	}
	p.table(nil, rows)
}

// A list prints items as they come: one JSON array, or a line each.
type list struct {
	p *printer
	n int
}

func (p *printer) list() *list {
	if p.form == "json" {
		p.printf("[")
	}
	return &list{p: p}
}

// item prints one item; text is for people.
func (l *list) item(x any, text func()) {
	switch l.p.form {
	case "json":
		if l.n > 0 {
			l.p.printf(",\n ")
		}
		b, err := json.Marshal(x)
		if err != nil {
			panic("cli: encode: " + err.Error()) // shapes hold nothing that JSON cannot
		}
		_, _ = l.p.w.Write(b)
	case "jsonl":
		l.p.value(x)
	default:
		text()
	}
	l.n++
}

func (l *list) end() {
	if l.p.form == "json" {
		l.p.printf("]\n")
	}
}

// plainKey makes a key safe for a terminal.
func plainKey(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// short cuts a long id for people.
func short(id string) string {
	const n = 12
	if len(id) <= n {
		return id
	}
	return id[len(id)-n:]
}

// creatorText names who made a change; the author is cut short.
func creatorText(creator, author string) string {
	if creator == author {
		return short(author)
	}
	return plainKey(creator)
}

func shortTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }

// valueText returns a value for people: a string as it is, all else as JSON,
// indented where it may take lines.
func valueText(raw json.RawMessage, lines bool) string {
	x, err := delta.ParseJSON(raw)
	if err != nil {
		return string(raw)
	}
	if s, ok := x.(string); ok && lines {
		return s
	}
	text := delta.AppendAnyJSON(nil, x)
	if !lines {
		return string(text)
	}
	var buf bytes.Buffer
	if json.Indent(&buf, text, "", "  ") != nil {
		return string(text)
	}
	return buf.String()
}

func sizeText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n), ""
	for _, suffix = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value /= unit; value < unit {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}
