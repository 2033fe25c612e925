package server

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

var update = flag.Bool("update", false, "rewrite docs/api.md")

const token = "the token"

// do sends one request as a client with the token would.
func do(t *testing.T, s *Server, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		if r.Header.Del(header[i]); header[i] == "Host" {
			r.Host = header[i+1]
		} else if header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func newServer(t *testing.T, f *fake, addr string) *Server {
	t.Helper()
	s := New(Options{Node: f, Token: token, Addr: addr})
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	return s
}

// problem checks that an answer is problem details of a class.
func problem(t *testing.T, w *httptest.ResponseRecorder, status int, code api.Code) api.Problem {
	t.Helper()
	var p api.Problem
	if got := w.Header().Get("Content-Type"); got != api.ProblemType {
		t.Fatalf("status %d, content type %q: %s", w.Code, got, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if w.Code != status || p.Status != status || p.Code != code || p.Title == "" || p.Detail == "" ||
		p.Type != "urn:rhizome:problem:"+string(code) {
		t.Fatalf("status %d, want %d %s: %s", w.Code, status, code, w.Body)
	}
	return p
}

// Every route but two is closed without the token, whatever it is asked for,
// and so is what is no route.
func TestToken(t *testing.T) {
	s := newServer(t, newFake(), "127.0.0.1:7171")
	targets := []struct{ method, path string }{{"GET", "/"}, {"GET", "/v1/nothing"}, {"GET", "/v2/kv"}, {"PATCH", "/v1/kv/a"}}
	for _, r := range routes {
		path := strings.NewReplacer("{key...}", "k", "{ref}", "r", "{peer}", "p").Replace(r.pattern)
		if path == "/livez" || path == "/readyz" {
			if w := do(t, s, r.method, path, "", "Authorization", ""); w.Code != 200 {
				t.Errorf("%s: %d without a token", path, w.Code)
			}
			continue
		}
		targets = append(targets, struct{ method, path string }{r.method, path})
	}
	for _, x := range targets {
		for _, auth := range []string{"", "Bearer ", "Bearer the tokem", "Bearer the token ", "Basic the token", "the token"} {
			w := do(t, s, x.method, x.path, "", "Authorization", auth)
			problem(t, w, http.StatusUnauthorized, api.CodeAuth)
			if w.Header().Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s %s with %q: no challenge", x.method, x.path, auth)
			}
		}
	}
}

// A page cannot reach the API by a name of its own, nor from another origin.
func TestHostAndOrigin(t *testing.T) {
	for _, c := range []struct {
		addr, host, origin string
		status             int
	}{
		{"127.0.0.1:7171", "127.0.0.1:7171", "", 200},
		{"127.0.0.1:7171", "localhost:7171", "", 200},
		{"127.0.0.1:7171", "LocalHost", "", 200},
		{"127.0.0.1:7171", "[::1]:7171", "", 200},
		{"127.0.0.1:7171", "127.9.9.9", "", 200},
		{"127.0.0.1:7171", "rebound.example:7171", "", 421},
		{"127.0.0.1:7171", "localhost.example", "", 421},
		{"127.0.0.1:7171", "192.0.2.1:7171", "", 421},
		{"127.0.0.1:7171", "", "", 421},
		{"192.0.2.1:7171", "192.0.2.1:7171", "", 200},
		{"web-1:7171", "WEB-1:7171", "", 200},
		{"web-1:7171", "web-2:7171", "", 421},
		{"0.0.0.0:7171", "192.0.2.9:7171", "", 200},
		{":7171", "[2001:db8::1]:7171", "", 200},
		{"0.0.0.0:7171", "rebound.example:7171", "", 421},
		{"127.0.0.1:7171", "127.0.0.1:7171", "http://127.0.0.1:7171", 200},
		{"127.0.0.1:7171", "127.0.0.1:7171", "http://127.0.0.1:8080", 403},
		{"127.0.0.1:7171", "127.0.0.1:7171", "https://evil.example", 403},
		{"127.0.0.1:7171", "127.0.0.1:7171", "null", 403},
	} {
		s := newServer(t, newFake(), c.addr)
		for _, path := range []string{"/v1/id", "/livez"} {
			w := do(t, s, "GET", path, "", "Host", c.host, "Origin", c.origin)
			if w.Code != c.status {
				t.Errorf("%+v %s: %d %s", c, path, w.Code, w.Body)
			}
			if c.status != 200 {
				problem(t, w, c.status, api.CodeAuth)
			}
		}
	}
}

// A path that the router would clean is refused, not led to another key.
func TestRouting(t *testing.T) {
	f := newFake()
	s := newServer(t, f, "")
	for _, path := range []string{"/v1/kv/a//b", "/v1/kv/../kv", "/v1/kv/./a", "//v1/kv"} {
		problem(t, do(t, s, "PUT", path, "1"), http.StatusBadRequest, api.CodeUsage)
	}
	problem(t, do(t, s, "GET", "/v1/nothing", ""), http.StatusNotFound, api.CodeUsage)
	w := do(t, s, "PATCH", "/v1/kv/a", "")
	problem(t, w, http.StatusMethodNotAllowed, api.CodeUsage)
	if got := w.Header().Get("Allow"); got != "GET, PUT, DELETE" {
		t.Errorf("Allow: %s", got)
	}
	for path, key := range map[string]string{
		"/v1/kv/a%2F%2Fb": "a//b", "/v1/kv/a/b": "a/b", "/v1/kv/%2E%2E": "..", "/v1/kv/a/": "a/",
		"/v1/kv/h%23%2Fx%2Fy": "h#/x/y", "/v1/kv/h?path=/x": "h#/x", "/v1/kv/a%25b%20c%3F": "a%b c?",
	} {
		if w := do(t, s, "PUT", path, "7"); w.Code != 200 || f.values[key] == nil {
			t.Errorf("%s: %d %s, holds %v", path, w.Code, w.Body, f.values)
		}
		if w := do(t, s, "GET", path, ""); w.Code != 200 || w.Body.String() != "7\n" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	problem(t, do(t, s, "GET", "/v1/kv/h%23%2Fx?path=/y", ""), 400, api.CodeUsage)
	problem(t, do(t, s, "GET", "/v1/kv/h?path=y", ""), 422, api.CodeValidation)
}

// ETags guard writes and spare reads.
func TestETag(t *testing.T) {
	s := newServer(t, newFake(), "")
	problem(t, do(t, s, "GET", "/v1/kv/k", ""), 404, api.CodeNotFound)
	problem(t, do(t, s, "PUT", "/v1/kv/k", `1`, "If-Match", "*"), 412, api.CodeConflict)
	w := do(t, s, "PUT", "/v1/kv/k", `"ünï"`, "If-None-Match", "*")
	if w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	etag := w.Header().Get("ETag")
	if r := do(t, s, "GET", "/v1/kv/k", ""); r.Header().Get("ETag") != etag || etag == "" {
		t.Errorf("ETag of put %s, of get %s", etag, r.Header().Get("ETag"))
	}
	for _, list := range []string{etag, "*", `"x", W/` + etag} {
		if r := do(t, s, "GET", "/v1/kv/k", "", "If-None-Match", list); r.Code != 304 || r.Body.Len() > 0 {
			t.Errorf("If-None-Match: %s: %d %s", list, r.Code, r.Body)
		}
	}
	if r := do(t, s, "GET", "/v1/kv/k", "", "If-None-Match", `"x"`); r.Code != 200 {
		t.Error(r.Code)
	}
	problem(t, do(t, s, "PUT", "/v1/kv/k", `2`, "If-None-Match", "*"), 412, api.CodeConflict)
	problem(t, do(t, s, "PUT", "/v1/kv/k", `2`, "If-Match", `"x"`), 412, api.CodeConflict)
	problem(t, do(t, s, "PUT", "/v1/kv/k", `2`, "If-Match", `x`), 400, api.CodeUsage)
	problem(t, do(t, s, "PUT", "/v1/kv/k", `2`, "If-None-Match", `"x"`), 400, api.CodeUsage)
	if w := do(t, s, "PUT", "/v1/kv/k", `2`, "If-Match", etag); w.Code != 200 {
		t.Error(w.Code, w.Body)
	}
	problem(t, do(t, s, "DELETE", "/v1/kv/k", "", "If-Match", etag), 412, api.CodeConflict)
	w = do(t, s, "DELETE", "/v1/kv/k", "", "If-Match", "*")
	if w.Code != 200 || w.Header().Get("ETag") != "" {
		t.Error(w.Code, w.Header())
	}
}

// Each error of a node has its status and class; what a caller got wrong says
// so.
func TestProblems(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   api.Code
	}{
		{rhizome.ErrNotFound, 404, api.CodeNotFound},
		{rhizome.ErrInvalid, 422, api.CodeValidation},
		{rhizome.ErrCursor, 422, api.CodeValidation},
		{rhizome.ErrPrecondition, 412, api.CodeConflict},
		{rhizome.ErrConflict, 409, api.CodeConflict},
		{rhizome.ErrReadOnly, 503, api.CodeError},
		{rhizome.ErrClosed, 503, api.CodeUnreachable},
		{errors.New("anything"), 500, api.CodeError},
	} {
		f := newFake()
		f.fail = fmt.Errorf("doing it: %w", c.err)
		s := newServer(t, f, "")
		for _, q := range []struct{ method, path, body string }{
			{"GET", "/v1/kv/k", ""},
			{"PUT", "/v1/kv/k", "1"},
			{"POST", "/v1/txn", `{"op":"rm","key":"k"}`},
			{"GET", "/v1/kv", ""},
			{"GET", "/v1/log", ""},
			{"GET", "/v1/status", ""},
			{"GET", "/v1/invite", ""},
			{"GET", "/v1/export", ""},
			{"POST", "/v1/compact?dry_run=1", ""},
			{"GET", "/v1/checkpoints", ""},
		} {
			p := problem(t, do(t, s, q.method, q.path, q.body), c.status, c.code)
			if p.Detail != f.fail.Error() {
				t.Errorf("%s: detail %q", q.path, p.Detail)
			}
		}
	}
	s := newServer(t, newFake(), "")
	for _, q := range []struct{ method, path, body string }{
		{"PUT", "/v1/kv/k", "{"},
		{"PUT", "/v1/kv/k", "hello"},
		{"PUT", "/v1/kv/k", "9223372036854775808"},
		{"PUT", "/v1/kv/" + strings.Repeat("k", 1025), "1"},
		{"POST", "/v1/txn", ""},
		{"POST", "/v1/txn", "[]"},
		{"POST", "/v1/txn", "[{}]"},
		{"POST", "/v1/txn", "{"},
		{"POST", "/v1/txn", `[{"op":"rm","key":"k"}`},
		{"POST", "/v1/txn", `[] []`},
		{"POST", "/v1/txn", `{"op":"rm","key":"k","colour":1}`},
		{"POST", "/v1/peers", ""},
		{"POST", "/v1/peers", `{"addr":""}`},
		{"POST", "/v1/peers", `{"addr":"x"}`},
		{"GET", "/v1/log/x", ""},
	} {
		problem(t, do(t, s, q.method, q.path, q.body), 422, api.CodeValidation)
	}
	for _, path := range []string{"/v1/kv?limit=x", "/v1/kv?limit=-1", "/v1/log?limit=1e3"} {
		problem(t, do(t, s, "GET", path, ""), 400, api.CodeUsage)
	}
	problem(t, do(t, s, "PUT", "/v1/kv/k", `"`+strings.Repeat("x", maxBodyBytes)+`"`), 413, api.CodeValidation)
	problem(t, do(t, s, "POST", "/v1/txn", strings.Repeat(" ", maxBodyBytes+1)), 413, api.CodeValidation)
	problem(t, do(t, s, "DELETE", "/v1/peers/nobody", ""), 404, api.CodeNotFound)
	problem(t, do(t, s, "POST", "/v1/compact?to=nonsense", ""), 422, api.CodeValidation)
	for _, path := range []string{"/v1/kv/k?at=early", "/v1/export?at=early"} {
		if p := problem(t, do(t, s, "GET", path, ""), 410, api.CodeHorizon); p.Cursor != "7" || p.Time == nil {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for _, path := range []string{"/v1/changes?since=gone", "/v1/log?since=gone", "/v1/log/follow?since=gone"} {
		if p := problem(t, do(t, s, "GET", path, ""), 410, api.CodeGone); p.Cursor != "7" {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

// The routes without streams answer in the shapes that docs/api.md promises.
func TestShapes(t *testing.T) {
	f := newFake()
	s := newServer(t, f, "")
	for i := range 5 {
		if w := do(t, s, "PUT", fmt.Sprintf("/v1/kv/k%d?creator=ann", i), fmt.Sprint(i)); w.Code != 200 {
			t.Fatal(w.Body)
		}
	}
	lane, nobody := testLane.String(), strings.Repeat("0", 64)
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/v1/kv?limit=2", "", `{"keys":["k0","k1"],"next":"k1"}`},
		{"GET", "/v1/kv?limit=2&after=k3", "", `{"keys":["k4"]}`},
		{"GET", "/v1/kv?prefix=x", "", `{"keys":[]}`},
		{"GET", "/v1/kv/k1", "", `1`},
		{"GET", "/v1/kv/k1?lossless=1", "", `{"key":"k1","value":1,"etag":"31","conflicts":[],"survivors":[{"path":"","value":1,` +
			`"verb":"assign","dot":"` + lane + `:1:0","cid":"","creator":"` + nobody + `","author":"` + nobody + `","lane":"` + lane +
			`","time":"1970-01-01T00:00:00Z","hlc":"0.0","txn":"","shown":true}],"incoming":[]}`},
		{"GET", "/v1/id", "", fmt.Sprintf(`{"id":"node","addrs":["/ip4/127.0.0.1/tcp/1/p2p/node"],"pid":%d}`, os.Getpid())},
		{"GET", "/v1/invite", "", `{"invite":"rhizome1invite"}`},
		{"GET", "/v1/peers", "", `{"peers":[{"id":"peer","addr":"/ip4/127.0.0.1/tcp/1","connected":false,"converged":false,` +
			`"missing_here":3,"missing_there":0,"last_seen":null}]}`},
		{"POST", "/v1/peers", `{"addr":"/ip4/127.0.0.1/tcp/2"}`, ``},
		{"DELETE", "/v1/peers/peer", ``, ``},
		{"DELETE", "/v1/peers/%2Fip4%2F127.0.0.1%2Ftcp%2F1", ``, ``},
		{
			"POST", "/v1/txn", `{"op":"put","key":"a","value":1} {"op":"rm","key":"k4"}`,
			`{"txn":"` + lane + `:6:0","cid":"","deltas":2}`,
		},
		{
			"POST", "/v1/txn?etags=1", `{"op":"put","key":"a","value":1} {"op":"rm","key":"k3"}`,
			`{"txn":"` + lane + `:7:0","cid":"","deltas":2,"etags":["31","absent"]}`,
		},
		{
			"POST", "/v1/txn", ` [{"op":"put","key":"a","value":{"$bytes":"AQ=="}}] `,
			`{"txn":"` + lane + `:8:0","cid":"","deltas":1,"etags":["7b22246279746573223a2241513d3d227d"]}`,
		},
		{"POST", "/v1/verify", "", `{"done":1,"total":2}` + "\n" +
			`{"done":1,"total":2,"report":{"entries":2,"rows":0,"lanes":0,"problems":["row 7 is odd"]}}`},
		{"POST", "/v1/compact?force=1&to=now", "", `{"done":1,"total":2}` + "\n" +
			`{"done":1,"total":2,"report":{"dry_run":false,"checkpoint":0,"floor":["` + lane + `:3"],"dropped_entries":3,` +
			`"freed_bytes":7,"unseen_by":["peer"],"held":false,"work_ms":0,"reclaim_ms":0}}`},
		{"POST", "/v1/compact?dry_run=1", "", `{"done":0,"total":0,"report":{"dry_run":true,"checkpoint":0,"floor":["` + lane +
			`:3"],"dropped_entries":3,"freed_bytes":7,"unseen_by":["peer"],"held":true,"work_ms":0,"reclaim_ms":0}}`},
		{"GET", "/v1/kv/k1?at=1h", "", `1`},
		{"GET", "/v1/export?prefix=k", "", `{"id":"k0","$value":0}` + "\n" + `{"id":"k1","$value":1}` + "\n" +
			`{"id":"k2","$value":2}`},
	} {
		w := do(t, s, c.method, c.path, c.body)
		if got := strings.TrimSpace(w.Body.String()); w.Code >= 300 || got != c.want {
			t.Errorf("%s %s: %d\n got %s\nwant %s", c.method, c.path, w.Code, got, c.want)
		}
	}
	var page api.LogPage
	w := do(t, s, "GET", "/v1/log?limit=2&since=1", "")
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.Entries) != 2 || page.Next != "3" ||
		page.Entries[0].Txns[0].Creator != "ann" {
		t.Errorf("log: %v %s", err, w.Body)
	}
	if page.Start != "" {
		t.Errorf("a whole log starts at %q", page.Start)
	}
	f.start = "1"
	if err := json.Unmarshal(do(t, s, "GET", "/v1/log", "").Body.Bytes(), &page); err != nil || page.Start != "1" {
		t.Errorf("log: %v, %+v", err, page)
	}
	var checks api.Checkpoints
	w = do(t, s, "GET", "/v1/checkpoints", "")
	if err := json.Unmarshal(w.Body.Bytes(), &checks); err != nil || len(checks.Checkpoints) != 1 || checks.Checkpoints[0].Number != 4 ||
		checks.Checkpoints[0].Lanes != 1 || len(checks.Checkpoints[0].FloorRoot) != 64 || !checks.Checkpoints[0].Done {
		t.Errorf("checkpoints: %v %s", err, w.Body)
	}
	var status map[string]any
	if err := json.Unmarshal(do(t, s, "GET", "/v1/status?fresh=1", "").Body.Bytes(), &status); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"node", "space", "converged", "digest", "entries", "rows", "disk_bytes", "pending", "peers", "alarms", "forks", "storage"} {
		if _, ok := status[k]; !ok {
			t.Errorf("status lacks %s", k)
		}
	}
}

// A node that stopped is alive, but not ready.
func TestReady(t *testing.T) {
	f := newFake()
	s := newServer(t, f, "")
	if w := do(t, s, "GET", "/readyz", ""); w.Code != 200 {
		t.Error(w.Code)
	}
	close(f.done)
	problem(t, do(t, s, "GET", "/readyz", ""), 503, api.CodeUnreachable)
	if w := do(t, s, "GET", "/livez", ""); w.Code != 200 {
		t.Error(w.Code)
	}
	s = newServer(t, newFake(), "")
	s.close()
	problem(t, do(t, s, "GET", "/readyz", ""), 503, api.CodeUnreachable)
}

// The metrics tell what the status tells, and count requests by route.
func TestMetrics(t *testing.T) {
	s := newServer(t, newFake(), "")
	do(t, s, "PUT", "/v1/kv/k", "1")
	text := do(t, s, "GET", "/metrics", "").Body.String()
	for _, line := range []string{
		"rhizome_entries 1", "rhizome_state_rows 1", "rhizome_disk_bytes 7", "rhizome_pending_entries 0",
		`rhizome_peers{connected="false"} 1`, `rhizome_sync_missing_here{peer="peer"} 3`, `rhizome_alarms{kind="twin"} 1`,
		"rhizome_floor_entries 0", "rhizome_raw_bytes 0", "rhizome_reclaimable_bytes 0", "rhizome_checkpoints_total 0",
		`rhizome_states_total{role="adopted"} 0`, "# TYPE rhizome_entries gauge", "rhizome_forks 1", "rhizome_converged 0", "rhizome_read_only 0",
		`rhizome_http_requests_total{method="PUT",route="/v1/kv/{key...}"} 1`, "go_goroutines ",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

// docs/api.md is what the router's table says.
func TestDoc(t *testing.T) {
	const name = "../../docs/api.md"
	want := Doc()
	if *update {
		if err := os.MkdirAll("../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the routes say; renew it with: go test ./api/server -run TestDoc -update", name)
	}
	for _, r := range routes {
		if r.summary == "" || r.response == "" {
			t.Errorf("%s %s is not documented", r.method, r.pattern)
		}
	}
}
