package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/api"
)

// What differs comes as it is reported, and what cannot be compared is a problem.
func TestDiff(t *testing.T) {
	s := newServer(t, newFake(), "127.0.0.1:0")
	for _, c := range []struct {
		method, url, body string
		status            int
		want              string
	}{
		{http.MethodGet, "/v1/diff?peer=peer", "", 200, `{"peer":"peer","equal":false,"same_log":false,"here":1,"there":0,` +
			`"rows":[{"key":"e#/p","dot":"` + strings.Repeat("0", 32) + `:0:0","value":7,"side":"here","new":false}]}`},
		{http.MethodGet, "/v1/diff?peer=other", "", 404, ""},
		{http.MethodGet, "/v1/diff", "", 422, ""},
		{http.MethodPost, "/v1/diff", "a backup", 200, `{"peer":"backup","equal":true,"same_log":true,"here":0,"there":0,"rows":[]}`},
		{http.MethodPost, "/v1/diff", "something else", 422, ""},
	} {
		w := do(t, s, c.method, c.url, c.body)
		if w.Code != c.status || c.want != "" && strings.TrimSpace(w.Body.String()) != c.want {
			t.Errorf("%s %s: %d %s", c.method, c.url, w.Code, w.Body)
		}
		var p api.Problem
		if c.want == "" && (json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Code == "") {
			t.Errorf("%s %s: %s is no problem", c.method, c.url, w.Body)
		}
	}
}
