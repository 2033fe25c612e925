package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
)

const (
	// chunkBytes is about how much WholeLines hands on at once.
	chunkBytes = 64 << 10

	// longestLine is past what a node takes: a line of that length may as
	// well be torn.
	longestLine = 8 << 20
)

// WholeLines returns a reader of r that ends, once the context is done, at the
// next end of a line: what was read of it is whole lines whenever it ends. Use
// it to end an import early and have the node finish what it got. A read of r
// that hangs does not hold it up; its goroutine lasts until that read ends.
func WholeLines(ctx context.Context, r io.Reader) io.Reader {
	l := &lineReader{ctx: ctx, chunks: make(chan chunk)}
	go l.read(bufio.NewReaderSize(r, chunkBytes))
	return l
}

// A chunk is whole lines; err comes after them.
type chunk struct {
	text []byte
	err  error
}

type lineReader struct {
	ctx    context.Context //nolint:containedctx // a reader has no other way to learn of it
	chunks chan chunk
	now    chunk
}

func (l *lineReader) read(br *bufio.Reader) {
	var c chunk
	for c.err == nil {
		c = next(br)
		select {
		case l.chunks <- c:
		case <-l.ctx.Done():
			return
		}
	}
}

// next reads the lines that are there, at least one of them.
func next(br *bufio.Reader) (c chunk) {
	for {
		line, err := br.ReadSlice('\n')
		c.text = append(c.text, line...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if len(c.text) >= longestLine {
				return c
			}
		case err != nil:
			c.err = err
			return c
		case len(c.text) >= chunkBytes || !hasLine(br):
			return c
		}
	}
}

// hasLine reports whether a whole line can be read without waiting.
func hasLine(br *bufio.Reader) bool {
	b, err := br.Peek(br.Buffered())
	return err == nil && bytes.IndexByte(b, '\n') >= 0
}

// Read hands on what is there.
func (l *lineReader) Read(p []byte) (int, error) {
	for len(l.now.text) == 0 {
		if l.now.err != nil {
			return 0, l.now.err
		}
		if l.ctx.Err() != nil {
			return 0, io.EOF
		}
		select {
		case l.now = <-l.chunks:
		case <-l.ctx.Done():
			return 0, io.EOF
		}
	}
	n := copy(p, l.now.text)
	l.now.text = l.now.text[n:]
	return n, nil
}
