package feed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrForm reports a text that is no feed, from there on.
var ErrForm = errors.New("not JSON Lines, nor one JSON array")

// A Reader takes a feed apart into the texts of its deltas: JSON Lines, or one
// array, which is known by its first character.
type Reader struct {
	br    *bufio.Reader
	form  form
	lines int // ends of lines so far
	bytes uint64
	text  []byte
	// comma says that an element of the array must come.
	comma bool
}

type form byte

const (
	formUnknown form = iota
	formLines
	formArray
	formEnd // of an array
)

// NewReader returns a reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{br: bufio.NewReaderSize(r, 64<<10)}
}

// Bytes returns how many bytes were taken apart.
func (r *Reader) Bytes() uint64 { return r.bytes }

// Next returns the text of the next delta, which is good until the call after,
// and the line that it begins on. An error of type *ShapeError is of this one
// alone; io.EOF is the end, and with any other nothing more can be read.
func (r *Reader) Next() (line int, text []byte, err error) {
	r.text = r.text[:0]
	if r.form == formUnknown {
		c, err := r.skip()
		if err != nil {
			return 0, nil, err
		}
		if r.form = formArray; c != '[' {
			r.form = formLines
			r.text = append(r.text, c)
		}
	}
	if r.form == formLines {
		return r.nextLine()
	}
	return r.nextElement()
}

// byte takes one byte.
func (r *Reader) byte() (byte, error) {
	c, err := r.br.ReadByte()
	if err != nil {
		return 0, err
	}
	r.bytes++
	if c == '\n' {
		r.lines++
	}
	return c, nil
}

// skip takes white space and returns what comes after it.
func (r *Reader) skip() (byte, error) {
	for {
		c, err := r.byte()
		if err != nil || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, err
		}
	}
}

// keep adds to the text, up to one byte past what is allowed.
func (r *Reader) keep(b ...byte) {
	r.text = append(r.text, b[:min(len(b), maxTextBytes+1-len(r.text))]...)
}

// whole returns the text, unless it is too long.
func (r *Reader) whole(line int) (int, []byte, error) {
	if len(r.text) > maxTextBytes {
		return line, nil, &ShapeError{Reason: fmt.Sprintf("longer than %d bytes", maxTextBytes)}
	}
	return line, bytes.TrimSpace(r.text), nil
}

// nextLine returns the next line with something on it.
func (r *Reader) nextLine() (int, []byte, error) {
	for {
		part, err := r.br.ReadSlice('\n')
		r.bytes += uint64(len(part))
		r.keep(part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, nil, err
		}
		line := r.lines + 1
		if err == nil {
			r.lines++
		}
		if len(bytes.TrimSpace(r.text)) > 0 {
			return r.whole(line)
		}
		if err != nil {
			return 0, nil, io.EOF
		}
		r.text = r.text[:0]
	}
}

// nextElement returns the next element of the array. It looks at brackets and
// strings alone; Parse finds whatever else is wrong.
func (r *Reader) nextElement() (int, []byte, error) {
	if r.form == formEnd {
		return r.end()
	}
	c, err := r.skip()
	line := r.lines + 1
	depth, quoted, escaped := 0, false, false
	for ; err == nil; c, err = r.byte() {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '[' || c == '{':
			depth++
		case depth > 0 && (c == ']' || c == '}'):
			depth--
		case depth == 0 && (c == ',' || c == ']'):
			if c == ']' {
				r.form = formEnd
				if len(r.text) == 0 && !r.comma {
					return r.end()
				}
			}
			r.comma = c == ','
			return r.whole(line)
		}
		r.keep(c)
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("line %d: %w: the array does not end", line, ErrForm)
	}
	return 0, nil, err
}

// end looks that nothing comes after the array.
func (r *Reader) end() (int, []byte, error) {
	_, err := r.skip()
	if err == nil {
		err = fmt.Errorf("line %d: %w: text after the end of the array", r.lines+1, ErrForm)
	}
	return 0, nil, err
}
