package server

import (
	"context"
	"net/http"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

// compact drops raw history and tells how far giving the space back has come.
func (s *Server) compact(w http.ResponseWriter, r *http.Request) error {
	out := newStream(w, "application/jsonl")
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var last api.CompactProgress
	told := false
	report, err := s.node.Compact(ctx, rhizome.CompactOptions{
		To: r.URL.Query().Get("to"), Force: isSet(r, "force"), DryRun: isSet(r, "dry_run"),
		Progress: func(done, total int) {
			told = true
			last.Done, last.Total = done, total
			if out.write(appendLine(nil, last)) != nil {
				cancel()
			}
		},
	})
	switch {
	case err != nil && !told:
		w.Header().Del("Content-Type")
		return err
	case err != nil:
		last.Problem = api.ProblemOf(err)
	default:
		last.Report = api.CompactReportOf(&report)
	}
	_ = out.write(appendLine(nil, last)) // the end either way
	return nil
}

func (s *Server) checkpoints(w http.ResponseWriter, r *http.Request) error {
	all, err := s.node.Checkpoints(r.Context())
	if err != nil {
		return err
	}
	return ok(w, api.CheckpointsOf(all))
}
