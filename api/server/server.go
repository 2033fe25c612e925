// Package server serves a node over HTTP: reads, writes, streams of changes,
// and what tells how the node stands.
//
// All routes stand in one table (routes.go), from which docs/api.md is made.
// A request passes these gates in this order: the Host header must be a
// loopback name or the API's own address (so that a web page cannot reach the
// node by a name of its own choosing), an Origin must be the API itself, and
// all but /livez and /readyz need the bearer token.
//
// Requests that are answered at once have time limits on reading and writing.
// Streams have none on their length, but a reader that takes nothing for
// stallTimeout is dropped, and Shutdown ends them all.
package server

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/rhizome-p2p/rhizome/api"
)

// Options say what to serve and to whom.
type Options struct {
	Node  api.Node
	Token string
	// Addr is the address (host:port) that the API was told to listen on.
	// Requests may name its host; where it is a wildcard, any IP address.
	Addr   string
	Logger *slog.Logger
	// Heartbeat is how often an idle stream of events says that it lives.
	// Zero means 15s.
	Heartbeat time.Duration
}

// A Server is an http.Handler that serves one node.
type Server struct {
	node      api.Node
	token     string
	host      string
	anyIP     bool
	log       *slog.Logger
	heartbeat time.Duration
	mux       *http.ServeMux
	http      *http.Server
	metrics   *metrics

	// closing ends the streams.
	closing context.Context
	close   context.CancelFunc

	// streams holds a token for each open stream.
	streams chan struct{}
	serving sync.WaitGroup
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	s := &Server{
		node: o.Node, token: o.Token, log: o.Logger, heartbeat: o.Heartbeat,
		mux: http.NewServeMux(), streams: make(chan struct{}, maxStreams),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.heartbeat == 0 {
		s.heartbeat = 15 * time.Second
	}
	if host, _, err := net.SplitHostPort(o.Addr); err == nil {
		s.host = host
		ip, err := netip.ParseAddr(host)
		s.anyIP = host == "" || err == nil && ip.IsUnspecified()
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.metrics = newMetrics(s)
	for i := range routes {
		r := &routes[i]
		s.mux.HandleFunc(r.method+" "+r.pattern, func(w http.ResponseWriter, q *http.Request) { s.serve(r, w, q) })
	}
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers on the listener until Shutdown.
func (s *Server) Serve(ln net.Listener) error {
	s.serving.Add(1)
	defer s.serving.Done()
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown ends the streams, lets other requests end until ctx is done, and
// returns once nothing is served any more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.serving.Wait()
	return err
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := s.admit(r); err != nil {
		s.problem(w, r, err)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// admit says why a request may not come in, if it may not.
func (s *Server) admit(r *http.Request) error {
	if !s.allowedHost(r.Host) {
		return api.NewProblem(api.CodeAuth, fmt.Sprintf("host %q is not this API's", r.Host),
			"reach the API by a loopback address, or by the address given with --http").
			WithStatus(http.StatusMisdirectedRequest)
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Host != r.Host {
			return api.NewProblem(api.CodeAuth, fmt.Sprintf("origin %q is not this API's", origin),
				"web pages of other origins may not use the API")
		}
	}
	if clean := path.Clean("/" + r.URL.EscapedPath()); clean != r.URL.EscapedPath() && clean+"/" != r.URL.EscapedPath() {
		// The router would answer with a redirect to another key.
		return api.NewProblem(api.CodeUsage, "the path has empty, . or .. segments",
			"escape the key: / as %2F, . as %2E")
	}
	if r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
		return nil
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
		detail := "the token is wrong"
		if !ok {
			detail = "the token is missing"
		}
		return api.NewProblem(api.CodeAuth, detail,
			`send "Authorization: Bearer TOKEN" with the token in the repo's `+api.AddressFile).
			WithStatus(http.StatusUnauthorized)
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		return s.unrouted(r)
	}
	return nil
}

func (s *Server) allowedHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") || s.host != "" && strings.EqualFold(host, s.host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || s.anyIP)
}

// unrouted tells a wrong path from a wrong method.
func (s *Server) unrouted(r *http.Request) error {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		q := *r
		q.Method = m
		if _, pattern := s.mux.Handler(&q); pattern != "" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		return api.NewProblem(api.CodeUsage, "no route "+r.URL.Path, "see docs/api.md").WithStatus(http.StatusNotFound)
	}
	return api.NewProblem(api.CodeUsage, r.Method+" is not for "+r.URL.Path, "use "+strings.Join(allowed, ", ")).
		WithStatus(http.StatusMethodNotAllowed)
}

// serve runs a route's handler with the limits that go with it.
func (s *Server) serve(route *route, w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	s.metrics.requests.WithLabelValues(route.method, route.pattern).Inc()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	if route.stream {
		select {
		case s.streams <- struct{}{}:
			defer func() { <-s.streams }()
		default:
			s.problem(w, r, api.NewProblem(api.CodeError, fmt.Sprintf("%d streams are open already", maxStreams),
				"end one of them").WithStatus(http.StatusServiceUnavailable))
			return
		}
	} else {
		// Errors: a recorder in tests has no deadlines to set.
		_ = rc.SetReadDeadline(time.Now().Add(requestTimeout))
		_ = rc.SetWriteDeadline(time.Now().Add(2 * requestTimeout))
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
	}
	if err := route.handle(s, w, r.WithContext(ctx)); err != nil {
		s.problem(w, r, err)
	}
}

// problem answers with an error.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, err error) {
	p := api.ProblemOf(err)
	if p.Status >= http.StatusInternalServerError && r.Context().Err() == nil {
		s.log.Warn("request ended in an error", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", strings.TrimPrefix(p.Hint, "use "))
	}
	w.Header().Set("Content-Type", api.ProblemType)
	w.WriteHeader(p.Status)
	writeJSON(w, p)
}
