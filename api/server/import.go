package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
)

// importDocs reads documents from the body and commits them in batches, so
// that memory is bounded whatever the body's length. It answers with lines of
// progress while it still reads.
func (s *Server) importDocs(w http.ResponseWriter, r *http.Request) error {
	im := importer{node: s.node, ctx: r.Context(), creator: r.URL.Query().Get("creator")}
	importing(w, r, func(tell func()) error {
		im.tell = tell
		return im.run(r.Body)
	}, func(done bool, err error) any {
		im.progress.Done = done
		if err != nil {
			im.progress.Problem = api.ProblemOf(err)
		}
		return im.progress
	})
	return nil
}

// importing runs an import of the body, and answers with lines of progress: now
// and then when the import tells that it got on, and at the end.
func importing(w http.ResponseWriter, r *http.Request, run func(tell func()) error, line func(done bool, err error) any) {
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // a recorder has none
	// What waits for the body must not outlive the request's context.
	defer context.AfterFunc(r.Context(), func() { _ = rc.SetReadDeadline(time.Now()) })()

	out := newStream(w, "application/jsonl")
	told := time.Now()
	err := run(func() {
		if now := time.Now(); now.Sub(told) >= progressInterval {
			told = now
			_ = out.write(appendLine(nil, line(false, nil))) // a client that went away ends the body, too
		}
	})
	if out.write(appendLine(nil, line(err == nil, err))) == nil && err != nil && r.Context().Err() == nil {
		// To hang up on a client that is still writing could cost it the
		// answer: it closes once it has read it.
		_ = rc.SetReadDeadline(time.Now().Add(lingerTimeout))
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// An importer turns lines into transactions. Each document is written whole
// or not at all, in the order of the lines.
type importer struct {
	node    api.Node
	ctx     context.Context //nolint:containedctx // lives as long as one request
	creator string
	tell    func()

	progress api.ImportProgress

	// What is read but not committed.
	batch []imported
	ids   map[string]bool
	size  int

	// retired ends resolvers, once the schemas that named them are in.
	retired []rhizome.Op
}

// An imported document: its operations, and how far the input was read with
// it.
type imported struct {
	line  int
	bytes uint64
	ops   []rhizome.Op
	votes []vote
}

// A vote is committed after its document, in the name of its creator.
type vote struct {
	creator string
	op      rhizome.Op
}

// A lineError says which line is wrong.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

func (im *importer) run(body io.Reader) error {
	err := im.lines(body)
	// What came before a bad line is good.
	if ferr := errors.Join(im.flush(), im.retire()); ferr != nil {
		err = ferr
	}
	var bad *lineError
	if errors.As(err, &bad) {
		p := *api.ProblemOf(bad.err)
		p.Line, p.Detail = bad.line, bad.Error()
		p.Hint = fmt.Sprintf("the %d documents before it are in, nothing after it is; mend the line and run the import again",
			im.progress.Docs)
		return &p
	}
	return err
}

func (im *importer) lines(body io.Reader) error {
	br := bufio.NewReader(body)
	var line []byte
	for n, at := 1, uint64(0); ; n++ {
		var err error
		line, err = readLine(br, line[:0])
		at += uint64(len(line))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return &lineError{n, api.Problemf(api.CodeValidation, "longer than %d bytes", maxLineBytes)}
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("read the body: %w", err)
		}
		if cerr := im.ctx.Err(); cerr != nil {
			return api.Problemf(api.CodeUnreachable, "the import was cut short: %v", cerr)
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			if err := im.line(n, at, text); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// readLine appends the next line with its end, or bufio.ErrBufferFull where it is
// longer than maxLineBytes.
func readLine(br *bufio.Reader, line []byte) ([]byte, error) {
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLineBytes:
			return line, bufio.ErrBufferFull
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}

func (im *importer) line(n int, at uint64, text []byte) error {
	doc, err := api.ParseDocument(text)
	if err != nil {
		return &lineError{n, api.Problemf(api.CodeValidation, "%v", err)}
	}
	if catalog.IsSystem(doc.ID) {
		return im.system(n, at, &doc)
	}
	// What a document needs to know of the entity must not be about to change.
	full := len(im.batch) == maxBatchDocs || im.size+len(text) > maxBatchBytes
	if full || im.ids[doc.ID] && !plain(&doc) {
		if err := im.flush(); err != nil {
			return err
		}
	}
	item := imported{line: n, bytes: at}
	if err := im.operations(&doc, &item); err != nil {
		return &lineError{n, err}
	}
	if im.ids == nil {
		im.ids = make(map[string]bool, maxBatchDocs)
	}
	im.ids[doc.ID] = true
	im.batch = append(im.batch, item)
	im.size += len(text)
	return nil
}

// plain reports whether a document can be written without looking at what is
// there.
func plain(d *api.Document) bool {
	return len(d.Bags)+len(d.Counters)+len(d.Ballots) == 0 && !(d.HasValue && isEmptyObject(d.Value))
}

func isEmptyObject(x any) bool {
	m, ok := x.(map[string]any)
	return ok && len(m) == 0
}

// operations turns a document into what still has to be done.
func (im *importer) operations(d *api.Document, item *imported) error {
	if plain(d) {
		item.ops = []rhizome.Op{{Kind: rhizome.OpPut, Entity: d.ID, Value: d.Value, SkipEqual: true}}
		return nil
	}
	now, err := im.node.Read(im.ctx, d.ID, "", rhizome.ReadOptions{})
	absent := errors.Is(err, rhizome.ErrNotFound)
	if err != nil && !absent {
		return err
	}
	// An empty object is a leaf, which would wipe out what is there: a
	// document without members merges nothing into it.
	if d.HasValue && (absent || !isEmptyObject(d.Value)) {
		item.ops = append(item.ops, rhizome.Op{Kind: rhizome.OpPut, Entity: d.ID, Value: d.Value, SkipEqual: true})
	}
	for _, b := range d.Bags {
		for _, v := range b.Values {
			if !holds(&now, b.Path, delta.Add, "", v) {
				item.ops = append(item.ops, rhizome.Op{Kind: rhizome.OpAdd, Entity: d.ID, Path: b.Path, Value: v})
			}
		}
	}
	for _, c := range d.Counters {
		if n := c.N - total(&now, c.Path); n != 0 || !holds(&now, c.Path, delta.Inc, "", nil) {
			item.ops = append(item.ops, rhizome.Op{Kind: rhizome.OpInc, Entity: d.ID, Path: c.Path, N: n})
		}
	}
	for _, b := range d.Ballots {
		for _, v := range b.Votes {
			if _, err := delta.ValueOf(v.Value); err != nil || len(v.Creator) > delta.MaxCreatorBytes {
				return api.Problemf(api.CodeValidation, "vote of %.32q: too long, or not a value", v.Creator)
			}
			if !holds(&now, b.Path, delta.Vote, v.Creator, v.Value) {
				op := rhizome.Op{Kind: rhizome.OpVote, Entity: d.ID, Path: b.Path, Value: v.Value}
				item.votes = append(item.votes, vote{v.Creator, op})
			}
		}
	}
	return nil
}

// holds reports whether a survivor of the verb with the value stands at the
// path; of a vote the creator must be the same, of an inc any value will do.
func holds(r *rhizome.Reading, p api.Path, verb delta.Verb, creator string, value any) bool {
	return slices.ContainsFunc(r.Survivors, func(s rhizome.Survivor) bool {
		if s.Path != p || s.Verb != verb || verb == delta.Vote && api.CreatorOf(&s) != creator {
			return false
		}
		x, err := s.Value.Any()
		return verb == delta.Inc || err == nil && api.EqualValue(x, value)
	})
}

func total(r *rhizome.Reading, p api.Path) (n int64) {
	for _, s := range r.Survivors {
		if s.Path == p && s.Verb == delta.Inc {
			n += s.Total
		}
	}
	return n
}

// flush commits what is read.
func (im *importer) flush() error {
	batch := im.batch
	im.batch, im.size = im.batch[:0], 0
	clear(im.ids)
	if len(batch) == 0 {
		return nil
	}
	err := im.commit(batch)
	im.tell()
	return err
}

// commit writes documents as one transaction, or, where they are too much for
// one or one of them is bad, half by half.
func (im *importer) commit(batch []imported) error {
	var ops []rhizome.Op
	for i := range batch {
		ops = append(ops, batch[i].ops...)
	}
	var err error
	if len(ops) > 0 {
		err = im.write(im.creator, ops)
	}
	if err == nil {
		// From here nothing may be written again: the deltas of bags and
		// counters would count twice.
		if err := im.commitVotes(batch); err != nil {
			return fmt.Errorf("votes of lines %d to %d: %w", batch[0].line, batch[len(batch)-1].line, err)
		}
		last := batch[len(batch)-1]
		im.progress.Docs += uint64(len(batch))
		im.progress.Lines, im.progress.Bytes = uint64(last.line), last.bytes
		return nil
	}
	if api.ProblemOf(err).Code != api.CodeValidation {
		return err
	}
	if len(batch) == 1 {
		return &lineError{batch[0].line, err}
	}
	half := len(batch) / 2
	if err := im.commit(batch[:half]); err != nil {
		return err
	}
	return im.commit(batch[half:])
}

func (im *importer) commitVotes(batch []imported) error {
	byCreator := map[string][]rhizome.Op{}
	for i := range batch {
		for _, v := range batch[i].votes {
			byCreator[v.creator] = append(byCreator[v.creator], v.op)
		}
	}
	creators := make([]string, 0, len(byCreator))
	for c := range byCreator {
		creators = append(creators, c)
	}
	slices.Sort(creators)
	for _, c := range creators {
		if err := im.write(c, byCreator[c]); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) write(creator string, ops []rhizome.Op) error {
	receipt, err := im.node.Commit(im.ctx, creator, ops)
	if err != nil {
		return err
	}
	im.progress.Written += uint64(receipt.Deltas)
	return nil
}
