package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/rhizome-p2p/rhizome/bench/internal/meter"
)

const (
	// grace is how long after its limit a worker may still answer before it is killed.
	grace = 5 * time.Second
	// exitWithin is how long a worker may take to close its store and end.
	exitWithin = 30 * time.Second
	// maxComplaint is how much of the end of a worker's standard error is shown.
	maxComplaint = 8 << 10
)

// ErrLate reports a request that took longer than it might.
var ErrLate = errors.New("over its time limit")

// A Client is a running worker. It has one owner.
type Client struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	tail  *tail
	ended bool
}

// Start starts a worker; cmd is one that runs Serve on its standard input and
// output.
func Start(name string, cmd *exec.Cmd) (*Client, error) {
	c := &Client{name: name, cmd: cmd, tail: new(tail)}
	cmd.Stderr = c.tail
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("worker %s: %w", name, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", name, err)
	}
	c.out = bufio.NewScanner(out)
	c.out.Buffer(nil, maxLine)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("worker %s: %w", name, err)
	}
	return c, nil
}

// Do sends a request and waits for its reply, until ctx ends. An error that is
// ErrLate says that the limit was reached; the worker may be gone then.
func (c *Client) Do(ctx context.Context, req Request) (Reply, error) {
	var rep Reply
	if errors.Is(ctx.Err(), context.Canceled) {
		return rep, fmt.Errorf("%s: %s: %w", c.name, req.Op, ctx.Err())
	}
	if at, ok := ctx.Deadline(); ok {
		left := time.Until(at)
		if left <= 0 {
			return rep, fmt.Errorf("%s: %s: %w", c.name, req.Op, ErrLate)
		}
		req.LimitMillis = max(left.Milliseconds(), 1)
	}
	line, err := json.Marshal(req)
	if err != nil {
		return rep, err
	}
	// A worker that does not answer any more is killed, which ends the reading.
	answered := make(chan struct{})
	defer close(answered)
	stop := context.AfterFunc(ctx, func() {
		wait := time.NewTimer(grace)
		defer wait.Stop()
		select {
		case <-wait.C:
			_ = c.cmd.Process.Kill()
		case <-answered:
		}
	})
	defer stop()
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return rep, c.failed(ctx, req, err)
	}
	if !c.out.Scan() {
		err := c.out.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return rep, c.failed(ctx, req, err)
	}
	if err := json.Unmarshal(c.out.Bytes(), &rep); err != nil {
		return rep, c.failed(ctx, req, fmt.Errorf("reply %q: %w", c.out.Bytes(), err))
	}
	switch {
	case rep.Late:
		return rep, fmt.Errorf("%s: %s: %w", c.name, req.Op, ErrLate)
	case rep.Error != "":
		return rep, fmt.Errorf("%s: %s", c.name, rep.Error)
	}
	return rep, nil
}

// failed says how a worker came to give no answer.
func (c *Client) failed(ctx context.Context, req Request, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: %s: %w", c.name, req.Op, ErrLate)
	}
	_ = c.Kill()
	return fmt.Errorf("%s: %s: %w; its standard error ends with:\n%s", c.name, req.Op, err, c.tail.String())
}

// PeakRSS returns the most memory that the worker has had resident, in bytes.
func (c *Client) PeakRSS() (int64, error) { return meter.PeakRSS(c.cmd.Process.Pid) }

// Close ends the worker, which closes its store.
func (c *Client) Close() error {
	if c.ended {
		return nil
	}
	c.ended = true
	_ = c.in.Close()
	timer := time.AfterFunc(exitWithin, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: end: %w; its standard error ends with:\n%s", c.name, err, c.tail.String())
	}
	return nil
}

// Kill ends the worker at once.
func (c *Client) Kill() error {
	if c.ended {
		return nil
	}
	c.ended = true
	_ = c.cmd.Process.Kill()
	_ = c.in.Close()
	_ = c.cmd.Wait() // that it was killed is no news
	return nil
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if over := len(t.end) - maxComplaint; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}
