package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

func feedLine(id string) string {
	return fmt.Sprintf(`{"id":%q,"timestamp":1,"creator":"a","pointers":[]}`, id)
}

// importFeedText imports a feed and returns the last line of progress.
func importFeedText(t *testing.T, s *Server, text string) (p api.FeedProgress) {
	t.Helper()
	w := do(t, s, "POST", "/v1/import?format=rhizome", text)
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &p); err != nil || w.Code != 200 {
		t.Fatalf("%d %v: %s", w.Code, err, w.Body)
	}
	return p
}

// The answer to a feed says how far it got, and lists each bad delta with its
// line, id and place; what is no feed any more ends it, with what came before in.
func TestImportFeed(t *testing.T) {
	f := newFake()
	s := newServer(t, f, "")
	p := importFeedText(t, s, feedLine("one")+"\n\n"+`{"id":"odd","timestamp":1,"creator":"a","pointers":5}`+"\n"+feedLine("one")+"\n")
	if len(p.Problems) != 1 || p.Problems[0] != (api.FeedProblem{Line: 3, ID: "odd", At: "/pointers", Text: p.Problems[0].Text}) {
		t.Errorf("problems: %+v", p.Problems)
	}
	if p.Problems = nil; p.Read != 3 || p.New != 1 || p.Skipped != 1 || p.Lines != 4 || p.Written != 1 || !p.Done || p.Problem != nil {
		t.Errorf("%+v", p)
	}
	p = importFeedText(t, s, "["+feedLine("two")+", "+feedLine("one")+", {")
	if p.Problem == nil || p.Problem.Code != api.CodeValidation || p.Done || p.New != 1 || p.Skipped != 1 {
		t.Errorf("torn: %+v", p)
	}
	f.fail = rhizome.ErrReadOnly
	if p = importFeedText(t, s, feedLine("three")); p.Problem == nil || p.Problem.Code != api.CodeError || p.Done {
		t.Errorf("on a node that is read-only: %+v", p)
	}
}

// Formats that are not known, and a creator for a feed, are wrong usage.
func TestFormats(t *testing.T) {
	s := newServer(t, newFake(), "")
	for _, target := range []string{"POST /v1/import?format=csv", "GET /v1/export?format=csv", "POST /v1/import?format=rhizome&creator=me"} {
		method, url, _ := strings.Cut(target, " ")
		if w := do(t, s, method, url, ""); w.Code != 400 {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := do(t, s, "GET", "/v1/export?format=jsonl", ""); w.Code != 200 {
		t.Errorf("documents by name: %d", w.Code)
	}
}

// A feed is exported in chunks; an error before the first is answered, and one
// after it breaks the body off.
func TestExportFeed(t *testing.T) {
	f := newFake()
	for i := range 2000 {
		put(t, f, fmt.Sprintf("c%04d", i))
	}
	w := do(t, newServer(t, f, ""), "GET", "/v1/export?format=rhizome", "")
	if lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n"); w.Code != 200 || len(lines) != 2000 ||
		!strings.Contains(lines[7], `{"role":"entity","target":{"id":"c0007"}}`) {
		t.Errorf("%d: %d lines, %s", w.Code, len(lines), lines[0])
	}
	if w := do(t, newServer(t, f, ""), "GET", "/v1/export?format=rhizome&at=early", ""); w.Code != 410 {
		t.Errorf("below the horizon: %d %s", w.Code, w.Body)
	}
	url := listen(t, New(Options{Node: &failing{f}, Token: token}))
	resp := open(t, "GET", url+"/v1/export?format=rhizome", nil)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the export ended as if whole")
	}
	f.fail = errors.New("gone")
	if w := do(t, newServer(t, f, ""), "GET", "/v1/export?format=rhizome", ""); w.Code != 500 {
		t.Errorf("a node that fails: %d", w.Code)
	}
}
