package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/rhizome-p2p/rhizome"
)

// A backup comes as it is written. What goes wrong before its first byte is an
// error, what goes wrong behind that ends the body short.
func TestBackup(t *testing.T) {
	f := newFake()
	base := listen(t, New(Options{Node: f, Token: token}))
	for query, want := range map[string]string{"": "a backup, identity true", "?identity=0": "a backup, identity false"} {
		resp := open(t, http.MethodGet, base+"/v1/backup"+query, nil)
		text, err := io.ReadAll(resp.Body)
		if err != nil || string(text) != want || resp.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%q: %q %v %v", query, text, err, resp.Header)
		}
	}
	failWith := func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fail = err
	}
	failWith(errors.New("the disk is gone"))
	resp := open(t, http.MethodGet, base+"/v1/backup", nil)
	if text, err := io.ReadAll(resp.Body); err == nil || resp.StatusCode != http.StatusOK {
		t.Errorf("cut short: %q with status %d and no error", text, resp.StatusCode)
	}
	failWith(fmt.Errorf("%w: it stopped", rhizome.ErrClosed))
	if resp := open(t, http.MethodGet, base+"/v1/backup", nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a node that stopped: status %d", resp.StatusCode)
	}
}
