package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/delta"
)

// ok answers with one JSON value.
func ok(w http.ResponseWriter, x any) error {
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, x)
	return nil
}

// key reads the key of a request: an escaped key in the path, or an entity
// there and a pointer in the query.
func key(r *http.Request) (entity string, p api.Path, err error) {
	entity, p, err = delta.ParseKey(r.PathValue("key"))
	if q := r.URL.Query().Get("path"); err == nil && q != "" {
		if p != "" {
			return "", "", api.Problemf(api.CodeUsage, "the pointer stands both in the key and in path=")
		}
		p, err = delta.ParsePath(q)
	}
	if err != nil {
		return "", "", api.Problemf(api.CodeValidation, "%v", err)
	}
	return entity, p, nil
}

func isSet(r *http.Request, name string) bool {
	on, err := strconv.ParseBool(r.URL.Query().Get(name))
	return err == nil && on
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) error {
	entity, p, o, err := keyToRead(r)
	if err != nil {
		return err
	}
	reading, err := s.node.Read(r.Context(), entity, p, o)
	if err != nil {
		return err
	}
	if reading.ETag != rhizome.AbsentETag {
		w.Header().Set("ETag", strconv.Quote(reading.ETag))
	}
	w.Header().Set("Rhizome-Conflicts", strconv.Itoa(len(reading.Conflicts)))
	w.Header().Set("Rhizome-Errors", strconv.Itoa(len(reading.Errors)))
	// The ETag is that of what was written. What a schema makes of it may depend
	// on more, and so may what is followed.
	plain := reading.Rules == "" && o.Expand == 0
	if plain && matches(r.Header.Get("If-None-Match"), reading.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if isSet(r, "lossless") {
		return ok(w, api.ReadingOf(&reading))
	}
	if reading.Absent && len(reading.Errors) > 0 && p != "" {
		return api.ErrorProblem(delta.Key(entity, p), api.PropertyErrorsOf(reading.Errors))
	}
	if reading.Absent && p != "" {
		return api.Problemf(api.CodeNotFound, "%s has no value", delta.Key(entity, p))
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(delta.AppendAnyJSON(nil, reading.Value), '\n'))
	return nil
}

// matches reports whether a list of entity tags names this one.
func matches(list, etag string) bool {
	for _, tag := range strings.Split(list, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || tag == strconv.Quote(etag) {
			return true
		}
	}
	return false
}

// precondition reads If-Match and If-None-Match as a Node takes them.
func precondition(r *http.Request) (string, error) {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	switch {
	case match == "" && none == "":
		return "", nil
	case match == "" && none == "*":
		return rhizome.AbsentETag, nil
	case none != "":
		return "", api.NewProblem(api.CodeUsage, "If-None-Match can only be * here", "use If-Match with an ETag")
	case match == "*":
		return "*", nil
	}
	tag, err := strconv.Unquote(match)
	if err != nil {
		return "", api.NewProblem(api.CodeUsage, "If-Match: want one quoted ETag or *", "")
	}
	return tag, nil
}

func (s *Server) put(w http.ResponseWriter, r *http.Request) error {
	return s.writeKey(w, r, rhizome.OpPut)
}

func (s *Server) rm(w http.ResponseWriter, r *http.Request) error {
	return s.writeKey(w, r, rhizome.OpRm)
}

func (s *Server) writeKey(w http.ResponseWriter, r *http.Request, kind rhizome.OpKind) error {
	op := rhizome.Op{Kind: kind}
	var err error
	if op.Entity, op.Path, err = key(r); err != nil {
		return err
	}
	if op.IfMatch, err = precondition(r); err != nil {
		return err
	}
	if kind == rhizome.OpPut {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if op.Value, err = delta.ParseJSON(text); err != nil {
			return api.NewProblem(api.CodeValidation, err.Error(), "the body is one JSON value; quote a string")
		}
	}
	return s.commit(w, r, []rhizome.Op{op})
}

func (s *Server) commit(w http.ResponseWriter, r *http.Request, ops []rhizome.Op) error {
	if len(ops) == 1 || isSet(r, "etags") {
		for i := range ops {
			ops[i].WantETag = ops[i].Entity != ""
		}
	}
	receipt, err := s.node.Commit(r.Context(), r.URL.Query().Get("creator"), ops)
	if err != nil {
		return err
	}
	if len(receipt.ETags) == 1 && receipt.ETags[0] != "" && receipt.ETags[0] != rhizome.AbsentETag {
		w.Header().Set("ETag", strconv.Quote(receipt.ETags[0]))
	}
	return ok(w, api.ReceiptOf(&receipt))
}

func (s *Server) txn(w http.ResponseWriter, r *http.Request) error {
	wire, err := api.ReadOps(r.Body)
	if err != nil {
		return err
	}
	ops, err := api.DecodeOps(wire)
	if err != nil {
		return err
	}
	return s.commit(w, r, ops)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r, "limit")
	if err != nil {
		return err
	}
	keys, more, err := s.node.List(r.Context(), r.URL.Query().Get("prefix"), r.URL.Query().Get("after"), min(limit, maxPage))
	if err != nil {
		return err
	}
	page := api.Keys{Keys: append([]string{}, keys...)}
	if more && len(keys) > 0 {
		page.Next = keys[len(keys)-1]
	}
	return ok(w, page)
}

func (s *Server) logPage(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r, "limit")
	if err != nil {
		return err
	}
	if limit == 0 {
		limit = 1000
	}
	limit = min(limit, maxPage)
	entries, err := s.node.Log(r.Context(), r.URL.Query().Get("lane"), r.URL.Query().Get("since"), limit)
	if err != nil {
		return err
	}
	page := api.LogPage{Entries: make([]api.LogEntry, 0, len(entries))}
	for i := range entries {
		page.Entries = append(page.Entries, api.LogEntryOf(&entries[i]))
	}
	page.Start = s.node.LogStart()
	if len(entries) == limit {
		page.Next = entries[limit-1].Cursor
	}
	return ok(w, page)
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) error {
	entry, err := s.node.Show(r.Context(), r.PathValue("ref"))
	if err != nil {
		return err
	}
	return ok(w, api.LogEntryOf(&entry))
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	status, err := s.node.Status(r.Context(), isSet(r, "fresh"))
	if err != nil {
		return err
	}
	return ok(w, api.StatusOf(&status))
}

func (s *Server) identity(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, api.Identity{ID: s.node.ID(), Addrs: append([]string{}, s.node.Addrs()...), PID: os.Getpid()})
}

func (s *Server) invite(w http.ResponseWriter, r *http.Request) error {
	invite, err := s.node.Invite(r.Context())
	if err != nil {
		return err
	}
	return ok(w, api.Invite{Invite: invite})
}

func (s *Server) peers(w http.ResponseWriter, r *http.Request) error {
	peers, err := s.node.Peers(r.Context())
	if err != nil {
		return err
	}
	return ok(w, api.Peers{Peers: api.PeersOf(peers)})
}

func (s *Server) addPeer(w http.ResponseWriter, r *http.Request) error {
	var q api.PeerRequest
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil || q.Addr == "" {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return err
		}
		return api.Problemf(api.CodeValidation, `the body is {"addr": MULTIADDR}`)
	}
	if err := s.node.AddPeer(r.Context(), q.Addr); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) removePeer(w http.ResponseWriter, r *http.Request) error {
	if err := s.node.RemovePeer(r.Context(), r.PathValue("peer")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) live(w http.ResponseWriter, _ *http.Request) error {
	_, _ = io.WriteString(w, "ok\n")
	return nil
}

// ready fails once the node has stopped by itself or is closing.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) error {
	select {
	case <-s.node.Done():
		return api.Problemf(api.CodeUnreachable, "the node stopped: %v", s.node.Err())
	case <-s.closing.Done():
		return api.Problemf(api.CodeUnreachable, "the node is closing")
	default:
		_, _ = fmt.Fprintln(w, "ok")
		return nil
	}
}
