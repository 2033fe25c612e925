package client

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/api"
)

// A feed goes through the API of one node into another and is the same; a bad
// delta is in the answer, an import that breaks off is an error.
func TestFeed(t *testing.T) {
	ctx, here, there := t.Context(), local(t), local(t)
	feed := `{"id":"x","timestamp":1,"creator":"a","pointers":[{"role":"r","target":{"id":"e","context":"c"}}]}` + "\n" +
		`{"id":"y","timestamp":2,"creator":"b","pointers":[{"role":"r","target":1.5}]}` + "\n"
	tell := func(api.FeedProgress) {}
	p, err := here.ImportFeed(ctx, strings.NewReader(feed+"?\n"), tell)
	if err != nil || p.New != 2 || !p.Done || len(p.Problems) != 1 || p.Problems[0].Line != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	var out, again bytes.Buffer
	if err := here.ExportFeed(ctx, "feed/", "", &out); err != nil || out.String() != feed {
		t.Errorf("exported %s, %v", &out, err)
	}
	if p, err = there.ImportFeed(ctx, &out, tell); err != nil || p.New != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if err := there.ExportFeed(ctx, "", "now", &again); err != nil || again.String() != feed {
		t.Errorf("exported again %s, %v", &again, err)
	}
	if v, err := there.Get(ctx, "e"); err != nil || string(v.JSON) != `{"c":[{"$ref":"feed/x"}]}` {
		t.Errorf("the entity reads %s, %v", v.JSON, err)
	}
	if _, err := there.ImportFeed(ctx, strings.NewReader("["), tell); code(err) != api.CodeValidation {
		t.Errorf("an array without an end: %v", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := there.ImportFeed(done, strings.NewReader(feed), tell); err == nil {
		t.Error("an import after the end of its context")
	}
}
