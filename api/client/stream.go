package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/rhizome-p2p/rhizome/api"
)

// Export writes all entities with the prefix as JSON Lines.
func (c *Client) Export(ctx context.Context, prefix string, w io.Writer) error {
	return c.ExportAt(ctx, prefix, "", w)
}

// ExportAt is Export as of a cut; "" is now.
func (c *Client) ExportAt(ctx context.Context, prefix, at string, w io.Writer) error {
	q := page("at", at)
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	return c.export(ctx, q, w)
}

func (c *Client) export(ctx context.Context, q url.Values, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/export", q, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out := &tracked{w: w}
	if _, err := io.Copy(out, resp.Body); err != nil {
		if out.err != nil {
			return out.err
		}
		return c.lost(ctx, fmt.Errorf("the export was cut short: %w", err))
	}
	return nil
}

// tracked keeps an error of writing apart from one of reading.
type tracked struct {
	w   io.Writer
	err error
}

func (t *tracked) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.err = err
	return n, err
}

// Import sends documents and calls tell with how far the node got. It returns
// the last of these. The body is read to its end, so that a body that ends
// early ends the import cleanly.
func (c *Client) Import(ctx context.Context, body io.Reader, tell func(api.ImportProgress)) (p api.ImportProgress, err error) {
	return upload(ctx, c, nil, body, tell, func(p *api.ImportProgress) (bool, *api.Problem) { return p.Done, p.Problem })
}

// upload sends what is to be imported and calls tell with the progress that comes
// back, until end says of one that it is the last.
func upload[P any](ctx context.Context, c *Client, q url.Values, body io.Reader, tell func(P), end func(*P) (done bool, problem *api.Problem)) (last P, err error) {
	resp, err := c.do(ctx, http.MethodPost, "/v1/import", q, io.NopCloser(body), nil)
	if err != nil {
		return last, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var next P
		if err := dec.Decode(&next); err != nil {
			return last, c.lost(ctx, fmt.Errorf("the import was cut short: %w", err))
		}
		last = next
		done, problem := end(&last)
		switch {
		case problem != nil:
			return last, problem
		case done:
			return last, nil
		}
		tell(last)
	}
}

// Verify has the node reread its repo and calls tell with how far it got.
func (c *Client) Verify(ctx context.Context, tell func(done, total uint64)) (*api.VerifyReport, error) {
	var report *api.VerifyReport
	err := job(ctx, c, "verify", nil, func(p *api.VerifyProgress) (bool, error) {
		switch {
		case p.Problem != nil:
			return true, p.Problem
		case p.Report != nil:
			report = p.Report
			return true, nil
		}
		tell(p.Done, p.Total)
		return false, nil
	})
	return report, err
}

// Compact has the node drop raw history up to a cut, "" being all, and calls tell
// with how many parts of the store have given their space back.
func (c *Client) Compact(ctx context.Context, to string, force, dryRun bool, tell func(done, total int)) (*api.CompactReport, error) {
	q := url.Values{}
	if to != "" {
		q.Set("to", to)
	}
	if force {
		q.Set("force", "1")
	}
	if dryRun {
		q.Set("dry_run", "1")
	}
	var report *api.CompactReport
	err := job(ctx, c, "compact", q, func(p *api.CompactProgress) (bool, error) {
		switch {
		case p.Problem != nil:
			return true, p.Problem
		case p.Report != nil:
			report = p.Report
			return true, nil
		}
		tell(p.Done, p.Total)
		return false, nil
	})
	return report, err
}

// job starts long work of the node and gives each line of its progress to take,
// until that says that it was the last.
func job[P any](ctx context.Context, c *Client, name string, q url.Values, take func(*P) (last bool, err error)) error {
	resp, err := c.do(ctx, http.MethodPost, "/v1/"+name, q, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var p P
		if err := dec.Decode(&p); err != nil {
			return c.lost(ctx, fmt.Errorf("%s was cut short: %w", name, err))
		}
		if last, err := take(&p); last {
			return err
		}
	}
}

// An Event is one event of a stream.
type Event struct {
	ID   string // the cursor to resume from
	Name string
	Data json.RawMessage
}

// Changes streams transactions with a delta whose key has the prefix, from a
// cursor on: "" is now, "0" the beginning. The first event is "ready", the
// others are "change" and hold an api.Change. It ends with an error.
func (c *Client) Changes(ctx context.Context, prefix, since string) iter.Seq2[Event, error] {
	q := url.Values{}
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	return c.events(ctx, "/v1/changes", q, since)
}

// FollowLog streams entries as api.LogEntry, those there are and those to
// come. It ends with an error.
func (c *Client) FollowLog(ctx context.Context, lane, since string) iter.Seq2[Event, error] {
	return c.events(ctx, "/v1/log/follow", page("lane", lane), since)
}

func (c *Client) events(ctx context.Context, path string, q url.Values, since string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		header := http.Header{"Accept": {"text/event-stream"}}
		if since != "" {
			header.Set("Last-Event-ID", since)
		}
		resp, err := c.do(ctx, http.MethodGet, path, q, nil, header)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer resp.Body.Close()
		err = readEvents(resp.Body, func(e Event) bool {
			if e.Name != "error" {
				return yield(e, nil)
			}
			p := new(api.Problem)
			if err := json.Unmarshal(e.Data, p); err != nil {
				p = api.Problemf(api.CodeError, "%s", e.Data)
			}
			yield(Event{}, p)
			return false
		})
		if err != nil {
			yield(Event{}, c.lost(ctx, fmt.Errorf("the stream ended: %w", err)))
		}
	}
}

// readEvents parses server-sent events until emit says stop; the end of the
// text is an error.
func readEvents(r io.Reader, emit func(Event) bool) error {
	br := bufio.NewReaderSize(r, 64<<10)
	var e Event
	var data strings.Builder
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			if e.Name != "" || data.Len() > 0 {
				e.Data = json.RawMessage(data.String())
				if !emit(e) {
					return nil
				}
			}
			e.Name = ""
			data.Reset()
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.ID = value
		case "event":
			e.Name = value
		case "data":
			if data.Len() > 0 {
				data.WriteByte('\n')
			}
			data.WriteString(value)
		}
	}
}
