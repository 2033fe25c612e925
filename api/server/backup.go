package server

import (
	"errors"
	"net/http"

	"github.com/rhizome-p2p/rhizome"
)

// backup streams a backup file. An error after its first bytes can only end
// the body short, which the client sees.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) error {
	out := &counted{out: newStream(w, "application/octet-stream")}
	_, err := s.node.Backup(r.Context(), out, rhizome.BackupOptions{WithoutIdentity: r.URL.Query().Get("identity") == "0"})
	switch {
	case err == nil:
		return nil
	case out.sent == 0 && out.err == nil:
		w.Header().Del("Content-Type")
		return err
	case out.err == nil && !errors.Is(err, r.Context().Err()):
		s.log.Warn("a backup was cut short", "err", err)
	}
	panic(http.ErrAbortHandler)
}

// counted writes a stream and tells whether anything went out.
type counted struct {
	out  *stream
	sent int
	err  error
}

func (c *counted) Write(b []byte) (int, error) {
	if c.err = c.out.write(b); c.err != nil {
		return 0, c.err
	}
	c.sent += len(b)
	return len(b), nil
}
