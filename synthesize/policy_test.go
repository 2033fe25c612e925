package synthesize

import (
	"reflect"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/merge"
)

// A policy is a word, or a resolver's name with parameters.
func TestParsePolicy(t *testing.T) {
	for text, want := range map[string]map[string]any{
		"concat":                              nil,
		"concat:":                             nil,
		"concat:separator=;,order=sorted":     {"separator": ";", "order": "sorted"},
		"concat:separator=,":                  {"separator": ","},
		"concat:separator=, ,order=sorted":    {"separator": ", ", "order": "sorted"},
		"concat:separator==,x=":               {"separator": "=", "x": ""},
		"majority:quorum=2":                   {"quorum": int64(2)},
		`prefer-author:authors=["a","b"],x=1`: {"authors": []any{"a", "b"}, "x": int64(1)},
		`concat:separator="1"`:                {"separator": "1"},
	} {
		var use string
		var params map[string]any
		p, err := ParsePolicy(text, func(u string, m map[string]any) (merge.Resolver, error) {
			use, params = u, m
			return lookup(lastWrite, nil)
		})
		name, _, _ := strings.Cut(text, ":")
		if err != nil || use != name || p.Use != name || p.Resolver == nil || p.Keep || !reflect.DeepEqual(params, want) {
			t.Errorf("%s: %q with %v, %v", text, use, params, err)
		}
	}
	for text, keep := range map[string]bool{"": false, "fail": false, "keep": true} {
		p, err := ParsePolicy(text, lookup)
		if err != nil || !reflect.DeepEqual(p, Policy{Keep: keep}) {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
	for text, want := range map[string]string{
		"rain": `no resolver "rain"`, "all:x": "key=value", "all:=x": "no name", "all:a=1,a=2": "stands twice",
	} {
		if _, err := ParsePolicy(text, lookup); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParsePolicy(lastWrite, nil); err == nil {
		t.Error("a resolver without a lookup")
	}
}
