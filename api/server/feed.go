package server

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/feed"
)

var paramFormat = param{"format", "jsonl: documents, as when left out; rhizome: a pointer feed, see docs/feeds.md"}

const feedResponse = "Of a pointer feed: {read, lines, bytes, new, skipped, negations, written}, the last with problems[] {line, id, at, text} too; " +
	"a bad delta is reported and the rest goes on."

// formatOf reads the format from the query.
func formatOf(r *http.Request) (string, error) {
	switch f := r.URL.Query().Get("format"); f {
	case "", api.FormatDocuments:
		return api.FormatDocuments, nil
	case api.FormatFeed:
		return f, nil
	default:
		return "", api.NewProblem(api.CodeUsage, "format "+f+" is not known", "formats are "+api.FormatDocuments+" and "+api.FormatFeed)
	}
}

// importAny imports what the query says that the body is.
func (s *Server) importAny(w http.ResponseWriter, r *http.Request) error {
	format, err := formatOf(r)
	switch {
	case err != nil:
		return err
	case format == api.FormatDocuments:
		return s.importDocs(w, r)
	case r.URL.Query().Get("creator") != "":
		return api.Problemf(api.CodeUsage, "a feed names the creator of each delta: creator is not for it")
	}
	return s.importFeed(w, r)
}

// importFeed reads a pointer feed from the body. It answers as importDocs does.
func (s *Server) importFeed(w http.ResponseWriter, r *http.Request) error {
	im, in := feed.NewImporter(s.node), feed.NewReader(r.Body)
	lines := 0
	importing(w, r, func(tell func()) error {
		err := takeFeed(r.Context(), im, in, func(line int) {
			lines = line
			tell()
		})
		if r.Context().Err() != nil {
			return api.Problemf(api.CodeUnreachable, "the import was cut short: %v", r.Context().Err())
		}
		return errors.Join(err, im.Close(r.Context())) // what came before an error is good
	}, func(done bool, err error) any {
		report := im.Report()
		p := progressOf(&report)
		p.Lines, p.Bytes, p.Done = uint64(lines), in.Bytes(), done
		if done || err != nil {
			p.Problems, p.Unlisted = problemsOf(&report), report.Unlisted
		}
		if err != nil {
			p.Problem = api.ProblemOf(err)
		}
		return p
	})
	return nil
}

// takeFeed adds what is read, and tells the line of each.
func takeFeed(ctx context.Context, im *feed.Importer, in *feed.Reader, read func(line int)) error {
	for {
		line, text, err := in.Next()
		switch {
		case err == nil || errors.As(err, new(*feed.ShapeError)):
			err = im.AddText(ctx, line, text, err)
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, feed.ErrForm):
			return api.NewProblem(api.CodeValidation, err.Error(), "what came before it is in; mend it and run the import again")
		}
		if err != nil {
			return err
		}
		read(line)
	}
}

func progressOf(r *feed.Report) api.FeedProgress {
	return api.FeedProgress{Read: r.Read, New: r.Written, Skipped: r.Skipped, Negations: r.Negations, Written: r.Changes}
}

func problemsOf(r *feed.Report) (out []api.FeedProblem) {
	for _, p := range r.Problems {
		out = append(out, api.FeedProblem{Line: p.Line, ID: p.ID, At: string(p.At), Text: p.Text})
	}
	return out
}

// exportAny exports in the format that the query says.
func (s *Server) exportAny(w http.ResponseWriter, r *http.Request) error {
	format, err := formatOf(r)
	switch {
	case err != nil:
		return err
	case format == api.FormatDocuments:
		return s.export(w, r)
	}
	return s.exportFeed(w, r)
}

// exportFeed streams deltas. An error after the first of them can only end the
// body short, which the client sees.
func (s *Server) exportFeed(w http.ResponseWriter, r *http.Request) error {
	out := newStream(w, "application/jsonl")
	const chunk = 64 << 10
	buf := make([]byte, 0, 2*chunk)
	sent := false
	at := past{s.node, r.URL.Query().Get("at")}
	err := feed.Export(r.Context(), at, r.URL.Query().Get("prefix"), func(d feed.Delta) error {
		buf = append(d.AppendJSON(buf), '\n')
		if len(buf) < chunk {
			return nil
		}
		sent = true
		err := out.write(buf)
		buf = buf[:0]
		return err
	})
	switch {
	case err != nil && !sent && r.Context().Err() == nil:
		w.Header().Del("Content-Type")
		return err
	case err != nil:
		panic(http.ErrAbortHandler)
	}
	_ = out.write(buf) // the end either way
	return nil
}

// past is a node as of a cut; "" is now.
type past struct {
	node api.Node
	at   string
}

func (p past) Read(ctx context.Context, entity string, path delta.Path, o rhizome.ReadOptions) (rhizome.Reading, error) {
	o.At = p.at
	return p.node.Read(ctx, entity, path, o)
}

func (p past) Export(ctx context.Context, prefix string) iter.Seq2[rhizome.Reading, error] {
	return p.node.ExportAt(ctx, prefix, p.at)
}
