// Package client speaks the HTTP API of a node, running elsewhere or opened
// for the occasion in this process.
//
// Errors are *api.Problem: those that the server answered with, and those of
// the way there as api.CodeUnreachable. What ended because its context did
// keeps the context's error.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

// A Client talks to one node.
type Client struct {
	http  *http.Client
	base  string
	token string

	// Local says that no node runs, and this process opened the repo itself.
	Local bool
	close func() error
}

// New returns a client of the API at an address: host:port or an http URL.
func New(addr, token string) (*Client, error) {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, api.NewProblem(api.CodeUsage, fmt.Sprintf("API address %q is not one", addr),
			"write it as HOST:PORT or http://HOST:PORT")
	}
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext}
	return &Client{
		http: &http.Client{Transport: transport}, base: u.Scheme + "://" + u.Host, token: token,
		close: func() error { transport.CloseIdleConnections(); return nil },
	}, nil
}

// dialTimeout bounds the wait for a host that does not answer at all.
const dialTimeout = 5 * time.Second

// Close frees what the client holds, an opened repo among it.
func (c *Client) Close() error { return c.close() }

// keyPath escapes a key into one segment of a path.
func keyPath(key string) string {
	// A dot alone would be taken as a step in the path.
	return strings.ReplaceAll(url.PathEscape(key), ".", "%2E")
}

// do sends a request and returns an answer that is not an error.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body io.Reader, header http.Header) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, api.Problemf(api.CodeUsage, "%v", err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problemOf(resp)
}

// lost makes an error of the way there or back a problem.
func (c *Client) lost(ctx context.Context, err error) error {
	if cerr := context.Cause(ctx); cerr != nil {
		return cerr
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return api.NewProblem(api.CodeUnreachable, fmt.Sprintf("no answer from %s: %v", c.base, err),
		"see that the node runs, and that the address is right")
}

// maxProblemBytes bounds what is read of an answer that is an error.
const maxProblemBytes = 64 << 10

func problemOf(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxProblemBytes))
	p := new(api.Problem)
	if err == nil && strings.HasPrefix(resp.Header.Get("Content-Type"), api.ProblemType) && json.Unmarshal(text, p) == nil {
		return p
	}
	return api.NewProblem(api.CodeUnreachable, fmt.Sprintf("what answers there is no rhizome node (%s)", resp.Status),
		"see that the address is right").WithStatus(resp.StatusCode)
}

// call sends a request and reads an answer of one JSON value.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body io.Reader, out any) error {
	resp, err := c.do(ctx, method, path, query, body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return c.lost(ctx, fmt.Errorf("read the answer: %w", err))
	}
	return nil
}

// A Value is a lossy read.
type Value struct {
	JSON      json.RawMessage
	ETag      string
	Conflicts int // paths at which it hides a concurrent value
	Errors    int // properties that have no value for an error
}

// readQuery writes how to read.
func readQuery(o rhizome.ReadOptions) url.Values {
	q := page("at", o.At, "expand", strconv.Itoa(o.Expand))
	if o.View != "" {
		q.Set("view", o.View)
	}
	if o.Raw {
		q.Set("raw", "1")
	}
	return q
}

// Get reads a key's lossy value.
func (c *Client) Get(ctx context.Context, key string) (Value, error) {
	return c.GetWith(ctx, key, rhizome.ReadOptions{})
}

// GetWith is Get as the options say.
func (c *Client) GetWith(ctx context.Context, key string, o rhizome.ReadOptions) (v Value, err error) {
	resp, err := c.do(ctx, http.MethodGet, "/v1/kv/"+keyPath(key), readQuery(o), nil, nil)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return v, c.lost(ctx, err)
	}
	v.JSON = bytes.TrimSpace(text)
	if v.ETag, err = strconv.Unquote(resp.Header.Get("ETag")); err != nil {
		v.ETag = ""
	}
	v.Conflicts, err = strconv.Atoi(resp.Header.Get("Rhizome-Conflicts"))
	if err != nil {
		v.Conflicts = 0
	}
	v.Errors, err = strconv.Atoi(resp.Header.Get("Rhizome-Errors"))
	if err != nil {
		v.Errors = 0
	}
	return v, nil
}

// Read reads a key with every survivor.
func (c *Client) Read(ctx context.Context, key string) (api.Reading, error) {
	return c.ReadWith(ctx, key, rhizome.ReadOptions{})
}

// ReadWith is Read as the options say.
func (c *Client) ReadWith(ctx context.Context, key string, o rhizome.ReadOptions) (r api.Reading, err error) {
	q := readQuery(o)
	q.Set("lossless", "1")
	err = c.call(ctx, http.MethodGet, "/v1/kv/"+keyPath(key), q, nil, &r)
	return r, err
}

// Commit commits operations in one transaction.
func (c *Client) Commit(ctx context.Context, ops ...api.Op) (r api.Receipt, err error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	for i := range ops {
		if err := enc.Encode(&ops[i]); err != nil {
			return r, api.Problemf(api.CodeValidation, "%v", err)
		}
	}
	return c.CommitFrom(ctx, &body)
}

// CommitFrom commits the operations of a text in one transaction.
func (c *Client) CommitFrom(ctx context.Context, text io.Reader) (r api.Receipt, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/txn", nil, text, &r)
	return r, err
}

func page(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" && (pairs[i+1] != "0" || pairs[i] == "at" || pairs[i] == "since") {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// List returns a page of entity ids; a limit of 0 leaves it to the server.
func (c *Client) List(ctx context.Context, prefix, after string, limit int) (k api.Keys, err error) {
	q := page("limit", strconv.Itoa(limit))
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	if after != "" {
		q.Set("after", after)
	}
	err = c.call(ctx, http.MethodGet, "/v1/kv", q, nil, &k)
	return k, err
}

// Log returns a page of the log; a limit of 0 leaves it to the server.
func (c *Client) Log(ctx context.Context, lane, since string, limit int) (p api.LogPage, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/log", page("lane", lane, "since", since, "limit", strconv.Itoa(limit)), nil, &p)
	return p, err
}

// Show returns one entry.
func (c *Client) Show(ctx context.Context, ref string) (e api.LogEntry, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/log/"+keyPath(ref), nil, nil, &e)
	return e, err
}

// Status tells how the node stands; fresh asks the peers first.
func (c *Client) Status(ctx context.Context, fresh bool) (s api.Status, err error) {
	q := url.Values{}
	if fresh {
		q.Set("fresh", "1")
	}
	err = c.call(ctx, http.MethodGet, "/v1/status", q, nil, &s)
	return s, err
}

// Checkpoints returns the records of compactions, the oldest first.
func (c *Client) Checkpoints(ctx context.Context) ([]api.Checkpoint, error) {
	var all api.Checkpoints
	err := c.call(ctx, http.MethodGet, "/v1/checkpoints", nil, nil, &all)
	return all.Checkpoints, err
}

// Peers returns the peers that the node knows.
func (c *Client) Peers(ctx context.Context) (p api.Peers, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/peers", nil, nil, &p)
	return p, err
}

// AddPeer adds a peer by its multiaddr.
func (c *Client) AddPeer(ctx context.Context, addr string) error {
	body, err := json.Marshal(api.PeerRequest{Addr: addr})
	if err != nil {
		return api.Problemf(api.CodeValidation, "%v", err)
	}
	return c.call(ctx, http.MethodPost, "/v1/peers", nil, bytes.NewReader(body), nil)
}

// RemovePeer forgets a peer, named by its id or address.
func (c *Client) RemovePeer(ctx context.Context, idOrAddr string) error {
	return c.call(ctx, http.MethodDelete, "/v1/peers/"+keyPath(idOrAddr), nil, nil, nil)
}

// Invite returns the string that another host joins with.
func (c *Client) Invite(ctx context.Context) (string, error) {
	var i api.Invite
	err := c.call(ctx, http.MethodGet, "/v1/invite", nil, nil, &i)
	return i.Invite, err
}

// Identity returns who the node is.
func (c *Client) Identity(ctx context.Context) (i api.Identity, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/id", nil, nil, &i)
	return i, err
}
