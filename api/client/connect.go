package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/server"
)

// ErrLocked is what an OpenFunc returns where another process holds the repo.
var ErrLocked = errors.New("repo is locked")

// A LocalNode is a node opened in this process.
type LocalNode interface {
	api.Node
	Close() error
}

// An OpenFunc opens a repo without a network and without waiting for its
// lock. It returns an error that matches ErrLocked where another process has
// it.
type OpenFunc func(ctx context.Context) (LocalNode, error)

const (
	// connectPause is how long Connect waits between two tries.
	connectPause = 50 * time.Millisecond

	// probeTimeout bounds the wait for a node that holds the lock but does
	// not answer, before the lock is tried again.
	probeTimeout = 2 * time.Second
)

// Connect returns a client of the node that holds the repo at dir, or, where
// none does, of the repo itself, opened in this process. The lock says which:
// a left-over address file does no harm. Both are tried until the wait is
// over.
func Connect(ctx context.Context, dir string, wait time.Duration, open OpenFunc) (*Client, error) {
	deadline := time.Now().Add(wait)
	for {
		node, err := open(ctx)
		if err == nil {
			return InProcess(node), nil
		}
		if !errors.Is(err, ErrLocked) {
			return nil, err
		}
		c, perr := probe(ctx, dir)
		if perr == nil {
			return c, nil
		}
		if time.Now().After(deadline) {
			return nil, heldProblem(dir, wait, perr)
		}
		select {
		case <-time.After(connectPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// errNoAddress reports a repo whose holder has written no address.
var errNoAddress = errors.New("no address file")

func heldProblem(dir string, wait time.Duration, err error) error {
	if errors.Is(err, errNoAddress) {
		return api.NewProblem(api.CodeLocked,
			fmt.Sprintf("another process has held the repo %s for %v", dir, wait),
			"let the other command end; if it hangs, end its process")
	}
	return api.NewProblem(api.CodeUnreachable,
		fmt.Sprintf("a process holds the repo %s, but the API that it names does not answer: %v", dir, err),
		"see the log of the running node, or restart it")
}

// probe reaches the node that the address file names.
func probe(ctx context.Context, dir string) (*Client, error) {
	a, err := api.ReadAddress(dir)
	if err != nil {
		return nil, errNoAddress // absent, or of a node that died while writing it
	}
	c, err := New(a.Addr, a.Token)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	id, err := c.Identity(ctx)
	if err == nil && id.PID != a.PID {
		err = fmt.Errorf("another process listens at %s", a.Addr)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// InProcess returns a client that serves itself the node's API without a
// network. Its Close closes the node.
func InProcess(node LocalNode) *Client {
	const addr = "localhost:80"
	token := server.NewToken()
	s := server.New(server.Options{Node: node, Token: token, Addr: addr})
	ln := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return ln.dial(ctx) },
	}
	return &Client{
		http: &http.Client{Transport: transport}, base: "http://" + addr, token: token, Local: true,
		close: func() error {
			transport.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
			defer cancel()
			return errors.Join(s.Shutdown(ctx), <-served, node.Close())
		},
	}
}

// A pipeListener hands the server one end of a pipe for each dial.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
	case <-ctx.Done():
	}
	return nil, errors.Join(net.ErrClosed, here.Close(), there.Close())
}

// Accept waits for a dial.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and every later dial.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns a name for logs.
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
