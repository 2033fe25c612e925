package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

// writeJSON writes one value and a newline. An error means that the client
// went away, which ends the request by itself.
func writeJSON(w io.Writer, x any) {
	_, _ = w.Write(appendLine(nil, x))
}

func appendLine(b []byte, x any) []byte {
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		panic("api: encode: " + err.Error()) // shapes hold nothing that JSON cannot
	}
	return buf.Bytes()
}

// A stream writes a body piece by piece and drops a reader that stalls.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func newStream(w http.ResponseWriter, contentType string) *stream {
	w.Header().Set("Content-Type", contentType)
	return &stream{w, http.NewResponseController(w)}
}

// write sends b now.
func (s *stream) write(b []byte) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(stallTimeout)) // a recorder has none
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}

// An event is one server-sent event; an empty one is a heartbeat.
type event struct {
	id, name string
	data     any
}

func (s *stream) event(e event) error {
	if e.name == "" {
		return s.write([]byte(": alive\n\n"))
	}
	var b []byte
	if e.id != "" {
		b = append(b, "id: "+e.id+"\n"...)
	}
	b = append(b, "event: "+e.name+"\ndata: "...)
	b = appendLine(b, e.data)
	return s.write(append(b, '\n'))
}

// events sends what produce emits until it ends or the client goes away, with
// heartbeats while there is nothing to say. An error of produce becomes the
// last event, since the status is long sent.
func (s *Server) events(w http.ResponseWriter, r *http.Request, produce func(ctx context.Context, emit func(event) bool) error) error {
	out := newStream(w, "text/event-stream")
	ctx, cancel := context.WithCancel(r.Context())
	events := make(chan event)
	ended := make(chan error, 1)
	defer func() { cancel(); <-ended }()
	go func() {
		ended <- produce(ctx, func(e event) bool {
			select {
			case events <- e:
				return true
			case <-ctx.Done():
				return false
			}
		})
		close(ended)
	}()
	w.WriteHeader(http.StatusOK)
	tick := time.NewTicker(s.heartbeat)
	defer tick.Stop()
	for {
		var e event
		select {
		case e = <-events:
		case <-tick.C:
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				_ = out.event(event{name: "error", data: api.ProblemOf(err)}) // the end either way
			}
			return nil
		case <-ctx.Done():
			return nil
		}
		if err := out.event(e); err != nil {
			return nil //nolint:nilerr // the client went away
		}
	}
}

func since(r *http.Request) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	return r.URL.Query().Get("since")
}

// gone answers with a status, while there is one to answer with, where what came
// after a cursor is no longer held: clients of event streams come again by
// themselves after all but that.
func (s *Server) gone(r *http.Request, from string) error {
	if from == "" {
		return nil
	}
	_, err := s.node.Log(r.Context(), "", from, 1)
	if errors.Is(err, rhizome.ErrGone) {
		return err
	}
	return nil // whatever else is wrong is the stream's to tell
}

// changes streams transactions as the node applies them. The first event
// tells the cursor to resume from before anything has changed.
func (s *Server) changes(w http.ResponseWriter, r *http.Request) error {
	from := since(r)
	if from == "" {
		from = s.node.Cursor()
	} else if err := s.gone(r, from); err != nil {
		return err
	}
	prefix := r.URL.Query().Get("prefix")
	return s.events(w, r, func(ctx context.Context, emit func(event) bool) error {
		if !emit(event{from, "ready", struct{}{}}) {
			return nil
		}
		for c, err := range s.node.Changes(ctx, prefix, from) {
			if err != nil {
				return err
			}
			if !emit(event{c.Cursor, "change", api.ChangeOf(&c)}) {
				return nil
			}
		}
		return nil
	})
}

// followLog streams entries as the node applies them, of one lane where it is
// named.
func (s *Server) followLog(w http.ResponseWriter, r *http.Request) error {
	lane, from := r.URL.Query().Get("lane"), since(r)
	if err := s.gone(r, from); err != nil {
		return err
	}
	return s.events(w, r, func(ctx context.Context, emit func(event) bool) error {
		ctx, cancel := context.WithCancel(ctx)
		wake, ended := make(chan struct{}, 1), make(chan error, 1)
		defer func() { cancel(); <-ended }()
		if from == "" {
			from = s.node.LogStart() // so that what is dropped meanwhile is missed
		}
		now := s.node.Cursor() // taken before the log is read: what comes after wakes
		go func() {
			ended <- s.wakeOnChange(ctx, now, wake)
			close(ended)
		}()
		tick := time.NewTicker(s.heartbeat) // entries without changes wake nobody
		defer tick.Stop()
		for {
			entries, err := s.node.Log(ctx, "", from, 1000)
			if err != nil {
				return err
			}
			for i := range entries {
				e := &entries[i]
				from = e.Cursor
				if lane != "" && e.ID.Lane.String() != lane {
					continue
				}
				if !emit(event{e.Cursor, "entry", api.LogEntryOf(e)}) {
					return nil
				}
			}
			if len(entries) > 0 {
				continue
			}
			select {
			case <-wake:
			case <-tick.C:
			case err := <-ended:
				return err
			case <-ctx.Done():
				return nil
			}
		}
	})
}

func (s *Server) wakeOnChange(ctx context.Context, from string, wake chan<- struct{}) error {
	for _, err := range s.node.Changes(ctx, "", from) {
		if err != nil {
			return err
		}
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// export streams documents. An error after the first of them can only end the
// body short, which the client sees.
func (s *Server) export(w http.ResponseWriter, r *http.Request) error {
	out := newStream(w, "application/jsonl")
	const chunk = 64 << 10
	buf := make([]byte, 0, 2*chunk)
	sent := false
	for reading, err := range s.node.ExportAt(r.Context(), r.URL.Query().Get("prefix"), r.URL.Query().Get("at")) {
		if err != nil {
			if !sent {
				w.Header().Del("Content-Type")
				return err
			}
			panic(http.ErrAbortHandler)
		}
		doc := api.DocumentOf(&reading)
		buf = append(doc.AppendJSON(buf), '\n')
		if len(buf) >= chunk {
			sent = true
			if err := out.write(buf); err != nil {
				return nil //nolint:nilerr // the client went away
			}
			buf = buf[:0]
		}
	}
	if err := r.Context().Err(); err != nil && s.closing.Err() != nil {
		panic(http.ErrAbortHandler) // cut short by Shutdown
	}
	_ = out.write(buf) // the end either way
	return nil
}

// verify rereads the repo and tells how far it got.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) error {
	out := newStream(w, "application/jsonl")
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var last api.VerifyProgress
	var told time.Time
	report, err := s.node.Verify(ctx, func(done, total uint64) {
		last.Done, last.Total = done, total
		if now := time.Now(); now.Sub(told) >= progressInterval {
			told = now
			if out.write(appendLine(nil, last)) != nil {
				cancel()
			}
		}
	})
	if err != nil {
		if told.IsZero() {
			w.Header().Del("Content-Type")
			return err
		}
		last.Problem = api.ProblemOf(err)
	} else {
		last.Report = verifyReportOf(&report)
	}
	_ = out.write(appendLine(nil, last)) // the end either way
	return nil
}

func verifyReportOf(r *rhizome.VerifyReport) *api.VerifyReport {
	return &api.VerifyReport{
		Entries: r.Entries, Rows: r.Rows, Lanes: r.Lanes, Problems: append([]string{}, r.Problems...),
	}
}

// number reads a count from the query; nothing there is 0.
func number(r *http.Request, name string) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, api.Problemf(api.CodeUsage, "%s=%s: not a count", name, s)
	}
	return n, nil
}
