package synthesize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rhizome-p2p/rhizome/delta"
)

// parseJSON reads one JSON text as delta.ParseJSON does, and notes the lines of
// its values. It takes one thing more: a whole number past int64 that is the
// canonical text of a float64, so that what was synthesized can be read again.
func parseJSON(text []byte) ([]document, error) {
	if n := validUTF8(text); n < len(text) {
		return nil, &lineError{1 + bytes.Count(text[:n], newline), errors.New("json: not UTF-8")}
	}
	p := jsonParser{text: text, dec: json.NewDecoder(bytes.NewReader(text)), line: 1}
	p.dec.UseNumber()
	t, err := p.next()
	if err != nil {
		return nil, p.wrong(err)
	}
	at := &place{line: p.line}
	x, err := p.rest(t, at, 0)
	if err != nil {
		return nil, p.wrong(err)
	}
	end := int(p.dec.InputOffset())
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		end = len(text) - len(bytes.TrimLeft(text[end:], " \t\r\n"))
		return nil, &lineError{1 + bytes.Count(text[:end], newline), errors.New("json: more text after the value")}
	}
	return []document{{x, at}}, nil
}

var newline = []byte{'\n'}

// validUTF8 returns how much of a text is UTF-8.
func validUTF8(text []byte) int {
	if utf8.Valid(text) {
		return len(text)
	}
	n := 0
	for {
		r, size := utf8.DecodeRune(text[n:])
		if r == utf8.RuneError && size <= 1 {
			return n
		}
		n += size
	}
}

type jsonParser struct {
	text []byte
	dec  *json.Decoder
	// line is that of the byte at, where the last token begins.
	line, at int
}

// next returns the next token and moves to where it begins.
func (p *jsonParser) next() (json.Token, error) {
	from := int(p.dec.InputOffset())
	t, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	p.advance(from)
	if s, ok := t.(string); ok {
		raw := p.text[p.at:p.dec.InputOffset()]
		if bytes.Contains(raw, []byte(`\u`)) {
			// Half a surrogate pair has been replaced by now.
			if _, err := delta.ParseJSON(raw); err != nil {
				return nil, fmt.Errorf("half a surrogate pair in %q", s)
			}
		}
	}
	return t, nil
}

// advance moves to the first token that begins at an offset or behind it.
func (p *jsonParser) advance(from int) {
	for from < len(p.text) && bytes.IndexByte([]byte(" \t\r\n,:"), p.text[from]) >= 0 {
		from++
	}
	p.line += bytes.Count(p.text[p.at:from], newline)
	p.at = from
}

// wrong says at which line a mistake is. Mistakes in what has been read are at
// the last token.
func (p *jsonParser) wrong(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		end := len(bytes.TrimRight(p.text, " \t\r\n"))
		return &lineError{1 + bytes.Count(p.text[:end], newline), errors.New("json: the text ends too early")}
	case errors.As(err, &syntax):
		// The decoder stands at the token that does not fit, or at the white
		// space before it, and no token spans lines.
		rest := p.text[p.dec.InputOffset():]
		at := len(p.text) - len(bytes.TrimLeft(rest, " \t\r\n"))
		return &lineError{1 + bytes.Count(p.text[:at], newline), fmt.Errorf("json: %w", err)}
	}
	var v *valueError
	if errors.As(err, &v) {
		v.err = fmt.Errorf("json: %w", v.err)
		return &lineError{p.line, err}
	}
	return &lineError{p.line, fmt.Errorf("json: %w", err)}
}

// rest reads the value that begins with a token.
func (p *jsonParser) rest(t json.Token, at *place, depth int) (any, error) {
	if depth > maxNesting {
		return nil, &valueError{err: fmt.Errorf("nested deeper than %d", delta.MaxDepth)}
	}
	switch t := t.(type) {
	case json.Number:
		n, err := jsonNumber(t.String())
		if err != nil {
			return nil, &valueError{err: err}
		}
		return n, nil
	case json.Delim:
		if t == '[' {
			return p.array(at, depth)
		}
		return p.object(at, depth)
	}
	return t, nil
}

func (p *jsonParser) array(at *place, depth int) (any, error) {
	out := []any{}
	for p.dec.More() {
		t, err := p.next()
		if err != nil {
			return nil, err
		}
		item := &place{line: p.line}
		at.items = append(at.items, item)
		x, err := p.rest(t, item, depth+1)
		if err != nil {
			return nil, inside(strconv.Itoa(len(out)), err)
		}
		out = append(out, x)
	}
	_, err := p.dec.Token()
	return out, err
}

func (p *jsonParser) object(at *place, depth int) (any, error) {
	out := map[string]any{}
	for p.dec.More() {
		t, err := p.next()
		if err != nil {
			return nil, err
		}
		key := t.(string) // the decoder lets nothing else through
		if _, ok := out[key]; ok {
			return nil, inside(key, &valueError{err: errors.New("the key stands twice in one object")})
		}
		member := &place{line: p.line}
		at.set(key, member)
		if t, err = p.next(); err != nil {
			return nil, err
		}
		if out[key], err = p.rest(t, member, depth+1); err != nil {
			return nil, inside(key, err)
		}
	}
	_, err := p.dec.Token()
	return out, err
}

func jsonNumber(s string) (any, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("number %s is past float64", s)
		}
		return f, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && string(canonical(f)) == s {
		return f, nil
	}
	return nil, fmt.Errorf("integer %s is past int64", s)
}
