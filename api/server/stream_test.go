package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

// listen serves on a loopback address and returns it.
func listen(t *testing.T, s *Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

func open(t *testing.T, method, url string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// lines returns the next lines of a stream up to an empty one.
func frame(t *testing.T, br *bufio.Reader) string {
	t.Helper()
	var out strings.Builder
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", out.String(), err)
		}
		if line == "\n" {
			return out.String()
		}
		out.WriteString(line)
	}
}

func put(t *testing.T, f *fake, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if _, err := f.Commit(t.Context(), "", []rhizome.Op{{Kind: rhizome.OpPut, Entity: k, Value: k}}); err != nil {
			t.Fatal(err)
		}
	}
}

// A stream of changes can be taken up where it ended: nothing comes twice,
// nothing is left out, and a filter holds.
func TestChangesResume(t *testing.T) {
	f := newFake()
	put(t, f, "old")
	url := listen(t, newServer(t, f, ""))
	resp := open(t, "GET", url+"/v1/changes?prefix=a", nil)
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Error(got)
	}
	br := bufio.NewReader(resp.Body)
	if got := frame(t, br); got != "id: 1\nevent: ready\ndata: {}\n" {
		t.Errorf("first %q", got)
	}
	put(t, f, "a1", "b2", "a3")
	for _, want := range []string{"2", "4"} {
		if got := frame(t, br); !strings.HasPrefix(got, "id: "+want+"\nevent: change\ndata: {\"cursor\":\""+want+"\"") {
			t.Errorf("got %q, want the change at %s", got, want)
		}
	}
	_ = resp.Body.Close()
	put(t, f, "a5")
	for _, q := range []struct{ query, header string }{{"", "2"}, {"&since=2", ""}, {"&since=0", "2"}} {
		var header []string
		if q.header != "" {
			header = []string{"Last-Event-ID", q.header}
		}
		br := bufio.NewReader(open(t, "GET", url+"/v1/changes?prefix=a"+q.query, nil, header...).Body)
		for _, want := range []string{"id: 2\nevent: ready", "id: 4\nevent: change", "id: 5\nevent: change"} {
			if got := frame(t, br); !strings.HasPrefix(got, want) {
				t.Errorf("%v: got %q, want %s", q, got, want)
			}
		}
	}
	br = bufio.NewReader(open(t, "GET", url+"/v1/changes?since=0", nil).Body)
	frame(t, br)
	if got := frame(t, br); !strings.HasPrefix(got, "id: 1\n") {
		t.Errorf("from the beginning: %q", got)
	}
	br = bufio.NewReader(open(t, "GET", url+"/v1/changes?since=nonsense", nil).Body)
	frame(t, br)
	if got := frame(t, br); !strings.HasPrefix(got, "event: error\ndata: {") || !strings.Contains(got, `"code":"validation"`) {
		t.Errorf("a cursor of nobody: %q", got)
	}
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Error("the stream goes on after its error")
	}
}

// The log can be followed: what there is, then what comes.
func TestFollowLog(t *testing.T) {
	f := newFake()
	put(t, f, "a", "b")
	url := listen(t, newServer(t, f, ""))
	br := bufio.NewReader(open(t, "GET", url+"/v1/log/follow?since=1&lane="+testLane.String(), nil).Body)
	if got := frame(t, br); !strings.HasPrefix(got, "id: 2\nevent: entry\n") {
		t.Error(got)
	}
	put(t, f, "c")
	if got := frame(t, br); !strings.HasPrefix(got, "id: 3\nevent: entry\n") {
		t.Error(got)
	}
	br = bufio.NewReader(open(t, "GET", url+"/v1/log/follow?since=x", nil).Body)
	if got := frame(t, br); !strings.HasPrefix(got, "event: error\n") {
		t.Error(got)
	}
}

// An idle stream says that it lives, and ends with the server.
func TestHeartbeatAndShutdown(t *testing.T) {
	s := New(Options{Node: newFake(), Token: token, Heartbeat: time.Millisecond})
	url := listen(t, s)
	var ends []*bufio.Reader
	for _, path := range []string{"/v1/changes", "/v1/log/follow"} {
		br := bufio.NewReader(open(t, "GET", url+path, nil).Body)
		if path == "/v1/changes" {
			frame(t, br)
		}
		if got := frame(t, br); got != ": alive\n" {
			t.Errorf("%s: %q", path, got)
		}
		ends = append(ends, br)
	}
	body, w := io.Pipe()
	defer w.Close()
	imported := make(chan []byte, 1)
	go func() {
		r, _ := http.NewRequest("POST", url+"/v1/import", body)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			imported <- []byte(err.Error())
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		imported <- text
	}()
	if _, err := io.WriteString(w, `{"id":"a"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	for len(s.streams) < 3 { // the server has not begun to answer
		runtime.Gosched()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, br := range ends {
		if _, err := io.Copy(io.Discard, br); err != nil {
			t.Errorf("a stream did not end in order: %v", err)
		}
	}
	if got := <-imported; !bytes.Contains(got, []byte(`"problem"`)) {
		t.Errorf("the import was told %s", got)
	}
}

// There is an end to how many streams can be open.
func TestStreamLimit(t *testing.T) {
	s := newServer(t, newFake(), "")
	for range maxStreams {
		s.streams <- struct{}{}
	}
	problem(t, do(t, s, "GET", "/v1/export", ""), 503, api.CodeError)
	if w := do(t, s, "GET", "/v1/id", ""); w.Code != 200 {
		t.Error(w.Code)
	}
}

// docs yields n documents, and what they took of memory at the most.
type docs struct {
	n, at int
	rest  []byte
	peak  uint64
}

func (d *docs) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		if d.at == d.n {
			return 0, io.EOF
		}
		d.rest = fmt.Appendf(nil, `{"id":"doc/%07d","n":%d}`+"\n", d.at, d.at)
		if d.at++; d.at%20_000 == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			d.peak = max(d.peak, m.HeapAlloc)
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// A sink takes documents and forgets them.
type sink struct {
	*fake
	docs int
}

func (s *sink) Commit(_ context.Context, _ string, ops []rhizome.Op) (r rhizome.Receipt, err error) {
	s.docs += len(ops)
	if len(ops) > maxBatchDocs {
		return r, errors.New("too many at once")
	}
	r.Deltas = len(ops)
	return r, nil
}

// A big import takes memory for a batch, not for the whole, and tells how far
// it got while it reads.
func TestImportBounded(t *testing.T) {
	node := &sink{fake: newFake()}
	url := listen(t, New(Options{Node: node, Token: token}))
	in := &docs{n: 200_000}
	resp := open(t, "POST", url+"/v1/import", in)
	dec := json.NewDecoder(resp.Body)
	var p api.ImportProgress
	told := 0
	for !p.Done {
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		told++
	}
	if node.docs != in.n || p.Docs != uint64(in.n) || p.Lines != uint64(in.n) || p.Written != uint64(in.n) || p.Problem != nil {
		t.Errorf("%d documents arrived, told %+v", node.docs, p)
	}
	if told < 2 {
		t.Errorf("%d lines of progress", told)
	}
	if in.peak > 64<<20 {
		t.Errorf("heap of %d bytes", in.peak)
	}
}

func importText(t *testing.T, s *Server, text string) api.ImportProgress {
	t.Helper()
	w := do(t, s, "POST", "/v1/import", text)
	var p api.ImportProgress
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &p); err != nil || w.Code != 200 {
		t.Fatalf("%d %v: %s", w.Code, err, w.Body)
	}
	return p
}

// A bad line is named; what came before it is in, nothing after it is.
func TestImportBadLine(t *testing.T) {
	for name, bad := range map[string]string{
		"no json":      `{"id":`,
		"no object":    `[1]`,
		"no id":        `{"a":1}`,
		"id no string": `{"id":5}`,
		"empty id":     `{"id":""}`,
		"hash in id":   `{"id":"a#b"}`,
		"big integer":  `{"id":"x","n":9223372036854775808}`,
		"two keys":     `{"id":"x","n":1,"n":2}`,
		"mixed":        `{"id":"x","n":1,"$value":2}`,
		"bags":         `{"id":"x","$bags":[1]}`,
		"bag":          `{"id":"x","$bags":{"/a":1}}`,
		"bag path":     `{"id":"x","$bags":{"a":[1]}}`,
		"counter":      `{"id":"x","$counters":{"/a":1.5}}`,
		"votes":        `{"id":"x","$votes":{"/a":[]}}`,
		"too long":     `{"id":"x","n":"` + strings.Repeat("y", maxLineBytes) + `"}`,
	} {
		f := newFake()
		s := newServer(t, f, "")
		p := importText(t, s, `{"id":"one","a":1}`+"\n\n"+`{"id":"two","a":1}`+"\r\n"+bad+"\n"+`{"id":"after","a":1}`)
		if p.Problem == nil || p.Problem.Code != api.CodeValidation || p.Problem.Line != 4 ||
			!strings.HasPrefix(p.Problem.Detail, "line 4: ") || p.Docs != 2 || p.Lines != 3 {
			t.Errorf("%s: %+v %+v", name, p, p.Problem)
		}
		if len(f.values) != 2 || f.values["one"] == nil || f.values["two"] == nil {
			t.Errorf("%s: holds %v", name, f.values)
		}
	}
}

// What a node refuses is found among what was to be committed with it, and
// what is too much for one transaction goes in as several.
func TestImportRefused(t *testing.T) {
	f := newFake()
	f.refuse = func(ops []rhizome.Op) error {
		if len(ops) > 7 {
			return fmt.Errorf("%w: entry too long", rhizome.ErrInvalid)
		}
		for i := range ops {
			if ops[i].Entity == "d29" {
				return fmt.Errorf("%w: d29 is not welcome", rhizome.ErrInvalid)
			}
		}
		return nil
	}
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, `{"id":"d%d","a":1}`+"\n", i)
	}
	p := importText(t, newServer(t, f, ""), text.String())
	if p.Problem == nil || p.Problem.Line != 30 || p.Docs != 29 || p.Lines != 29 || len(f.values) != 29 || f.widest > 7 {
		t.Errorf("%+v %+v, holds %d, widest %d", p, p.Problem, len(f.values), f.widest)
	}
	f.fail = rhizome.ErrReadOnly
	p = importText(t, newServer(t, f, ""), text.String())
	if p.Problem == nil || p.Problem.Code != api.CodeError || p.Docs != 0 || p.Problem.Line != 0 {
		t.Errorf("%+v %+v", p, p.Problem)
	}
}

// An export that fails after it began ends short, so that no client takes it
// for the whole.
func TestExportCutShort(t *testing.T) {
	f := newFake()
	put(t, f, "a", strings.Repeat("b", 600))
	for i := range 2000 {
		put(t, f, fmt.Sprintf("c%d%s", i, strings.Repeat("c", 100)))
	}
	url := listen(t, New(Options{Node: &failing{f}, Token: token}))
	resp := open(t, "GET", url+"/v1/export", nil)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the export ended as if whole")
	}
}

// A failing node's export breaks off at the end.
type failing struct{ *fake }

func (f *failing) ExportAt(ctx context.Context, prefix, _ string) iter.Seq2[rhizome.Reading, error] {
	return func(yield func(rhizome.Reading, error) bool) {
		for r, err := range f.fake.Export(ctx, prefix) {
			if !yield(r, err) {
				return
			}
		}
		yield(rhizome.Reading{}, errors.New("the disk is gone"))
	}
}
