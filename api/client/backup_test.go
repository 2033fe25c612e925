package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/backup"
)

// A backup is checked on its way: what comes back without an error is whole.
func TestBackup(t *testing.T) {
	c := local(t)
	for i := range 100 {
		put(t, c, fmt.Sprintf("k%d", i), "1")
	}
	var text bytes.Buffer
	told := 0
	h, sum, err := c.Backup(t.Context(), &text, false, func(*backup.Header, backup.Summary) { told++ })
	if err != nil || sum.Bytes != uint64(text.Len()) || h.Rows != 100 || len(h.Identity) == 0 || told == 0 {
		t.Fatalf("%+v %+v %v, told %d times", h, sum, err, told)
	}
	if h, _, err := c.Backup(t.Context(), io.Discard, true, nil); err != nil || len(h.Identity) > 0 {
		t.Errorf("without the identity: %v", err)
	}
	full := errors.New("full")
	if _, _, err := c.Backup(t.Context(), failing{full}, false, nil); !errors.Is(err, full) {
		t.Errorf("nowhere to write: %v", err)
	}

	// What a server sends may end early, or be something else.
	var send func(w http.ResponseWriter)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { send(w) }))
	defer s.Close()
	there, err := New(s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	send = func(w http.ResponseWriter) {
		_, _ = w.Write(text.Bytes()[:text.Len()/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	if _, _, err := there.Backup(t.Context(), io.Discard, false, nil); code(err) != api.CodeUnreachable {
		t.Errorf("cut short on the way: %v", err)
	}
	send = func(w http.ResponseWriter) { _, _ = w.Write(text.Bytes()[:text.Len()-1]) }
	if _, _, err := there.Backup(t.Context(), io.Discard, false, nil); !errors.Is(err, backup.ErrCorrupt) {
		t.Errorf("cut short: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
