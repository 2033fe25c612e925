package server

import (
	"net/http"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

// diffPeer compares the node's state with a peer's.
func (s *Server) diffPeer(w http.ResponseWriter, r *http.Request) error {
	peer := r.URL.Query().Get("peer")
	if peer == "" {
		return api.Problemf(api.CodeValidation, "no peer is named: ?peer=ID")
	}
	report, err := s.node.Diff(r.Context(), peer)
	return answerDiff(w, &report, err)
}

// diffBackup compares it with the backup that is sent.
func (s *Server) diffBackup(w http.ResponseWriter, r *http.Request) error {
	report, err := s.node.DiffBackup(r.Context(), r.Body)
	return answerDiff(w, &report, err)
}

func answerDiff(w http.ResponseWriter, report *rhizome.DiffReport, err error) error {
	if err != nil {
		return err
	}
	out, err := api.DiffReportOf(report)
	if err != nil {
		return err
	}
	return ok(w, out)
}
