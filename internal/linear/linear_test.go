package linear

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api/server"
)

var opsFlag = flag.Int("ops", 4000, "how many operations a test of a node records")

const (
	clients = 8
	keys    = 5
	kills   = 6

	childEnv = "RHIZOME_TEST_LINEAR" // names the repo that the test binary serves
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve opens a node and serves its API until it is killed.
func serve(dir string) error {
	n, err := rhizome.Open(context.Background(), rhizome.Options{Dir: dir, Create: true, Offline: true, LockWait: 10 * time.Second})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	token := server.NewToken()
	if _, err := fmt.Println(ln.Addr(), token); err != nil {
		return err
	}
	return server.New(server.Options{Node: n, Token: token, Addr: ln.Addr().String()}).Serve(ln)
}

// A target is where clients send their calls.
type target interface {
	// do makes a call. An error means that its outcome is unknown.
	do(c call) (answer, error)
}

// An embedded target is a node in this process.
type embedded struct{ n *rhizome.Node }

func (e embedded) do(c call) (answer, error) {
	ctx := context.Background()
	if c.match == "" {
		r, err := e.n.Get(ctx, c.key, "")
		if errors.Is(err, rhizome.ErrNotFound) {
			return answer{etag: absent}, nil
		}
		if err != nil {
			return answer{}, err
		}
		return answer{value: fmt.Sprint(r.Value), etag: r.ETag}, nil
	}
	r, err := e.n.Commit(ctx, "", []rhizome.Op{{Kind: rhizome.OpPut, Entity: c.key, Value: c.value, IfMatch: c.match, WantETag: true}})
	if errors.Is(err, rhizome.ErrPrecondition) {
		return answer{outcome: refused}, nil
	}
	if err != nil {
		return answer{}, err
	}
	return answer{etag: r.ETags[0]}, nil
}

// A remote target is an API at an address.
type remote struct {
	client *http.Client
	base   string
	token  string
}

func (h *remote) do(c call) (answer, error) {
	method, body := http.MethodGet, ""
	if c.match != "" {
		method, body = http.MethodPut, strconv.Quote(c.value)
	}
	req, err := http.NewRequest(method, h.base+"/v1/kv/"+c.key, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	switch c.match {
	case "":
	case absent:
		req.Header.Set("If-None-Match", "*")
	default:
		req.Header.Set("If-Match", strconv.Quote(c.match))
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return answer{etag: absent}, nil
	case http.StatusPreconditionFailed:
		return answer{outcome: refused}, nil
	default:
		return answer{}, fmt.Errorf("%s: %s", resp.Status, text)
	}
	a := answer{}
	if a.etag, err = strconv.Unquote(resp.Header.Get("ETag")); err != nil {
		return answer{}, fmt.Errorf("ETag: %w", err)
	}
	if c.match == "" {
		err = json.Unmarshal(text, &a.value)
	}
	return a, err
}

// A recording is what clients did, by the clock of the test.
type recording struct {
	start time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

func (r *recording) now() int64 { return int64(time.Since(r.start)) }

// do makes a call and notes it. One whose outcome is unknown has no end yet.
func (r *recording) do(client int, to target, c call) (answer, error) {
	op := porcupine.Operation{ClientId: client, Input: c, Call: r.now()}
	a, err := to.do(c)
	op.Return = r.now()
	if err != nil {
		a, op.Return = answer{outcome: unknown}, -1
	}
	op.Output = a
	if err == nil || c.match != "" { // a read without an answer is none
		r.mu.Lock()
		r.ops = append(r.ops, op)
		r.mu.Unlock()
	}
	return a, err
}

func (r *recording) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// ended is called when a process was killed and the next one has begun. What was
// without an outcome took effect by now, or never does. A read or refusal counts
// only where a write that was called behind it succeeded: else what it showed may
// not have been on disk, and be gone.
func (r *recording) ended() {
	var durable int64
	for _, o := range r.ops {
		if c := o.Input.(call); c.match != "" && o.Output.(answer).outcome == succeeded {
			durable = max(durable, o.Call)
		}
	}
	now := r.now()
	r.ops = slices.DeleteFunc(r.ops, func(o porcupine.Operation) bool {
		wrote := o.Input.(call).match != "" && o.Output.(answer).outcome != refused
		return !wrote && o.Return > durable
	})
	for i := range r.ops {
		if r.ops[i].Return < 0 {
			r.ops[i].Return = now
		}
	}
}

// run lets clients read keys and write them on condition that they are as read,
// until so many operations are recorded or a call has no outcome.
func (r *recording) run(to target, seed uint64, upTo int) {
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			stale := absent
			for n := 0; r.len() < upTo; n++ {
				key := fmt.Sprint("k", rnd.IntN(keys))
				a, err := r.do(i, to, call{key: key})
				if err != nil {
					return
				}
				match := a.etag
				if rnd.IntN(8) == 0 {
					match = stale // what some key had a while ago
				}
				stale = a.etag
				if _, err := r.do(i, to, call{key, match, fmt.Sprintf("%d-%d-%d", seed, i, n)}); err != nil {
					return
				}
			}
		})
	}
	all.Wait()
}

// tally says how often what happened.
func (r *recording) tally() (n [3]int, reads int) {
	for _, o := range r.ops {
		if o.Input.(call).match == "" {
			reads++
		} else {
			n[o.Output.(answer).outcome]++
		}
	}
	return n, reads
}

func (r *recording) judge(t *testing.T) {
	t.Helper()
	n, reads := r.tally()
	t.Logf("%d reads, %d writes, %d refused, %d unknown", reads, n[succeeded], n[refused], n[unknown])
	if n[succeeded] == 0 || n[refused] == 0 {
		t.Error("writes must succeed and be refused: nothing was tested")
	}
	start := time.Now()
	if !linearizable(t, r.ops) {
		t.Error("the history is not linearizable")
	}
	t.Logf("judged in %v", time.Since(start).Round(time.Millisecond))
}

// Conditional writes of concurrent callers of one node are linearizable.
func TestEmbedded(t *testing.T) {
	n, err := rhizome.Open(t.Context(), rhizome.Options{Dir: t.TempDir(), Create: true, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	r := &recording{start: time.Now()}
	r.run(embedded{n}, 1, *opsFlag)
	r.judge(t)
}

// Conditional writes over HTTP are linearizable, though the node is killed again
// and again amid them.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	r := &recording{start: time.Now()}
	for run := range kills + 1 {
		cmd, to := child(t, dir)
		if run > 0 {
			r.ended()
		}
		if run == kills {
			r.run(to, uint64(run), *opsFlag)
			break
		}
		done := make(chan struct{})
		go func() { // clients go on until nobody answers
			r.run(to, uint64(run), *opsFlag)
			close(done)
		}()
		tick := time.NewTicker(time.Millisecond)
		for r.len() < (run+1)**opsFlag/(kills+1) {
			<-tick.C
		}
		tick.Stop()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		<-done
	}
	if n, _ := r.tally(); n[unknown] == 0 {
		t.Error("no outcome is unknown: no kill came amid a call")
	}
	r.judge(t)
}

// child starts a process that serves a repo.
func child(t *testing.T, dir string) (*exec.Cmd, *remote) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, token, ok := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || !ok {
		t.Fatalf("child: %q %v", line, err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	t.Cleanup(transport.CloseIdleConnections)
	return cmd, &remote{client: &http.Client{Transport: transport}, base: "http://" + addr, token: token}
}

// A server that does not look at the condition is found out, and so is one that
// reads from a copy which lags behind.
func TestRejectsBadServers(t *testing.T) {
	for name, lags := range map[string]bool{"ignores If-Match": false, "lags behind": true} {
		s := &badServer{now: make(map[string]register), before: make(map[string]register), lags: lags}
		srv := httptest.NewServer(s)
		r := &recording{start: time.Now()}
		r.run(&remote{client: srv.Client(), base: srv.URL}, 1, 1000)
		srv.Close()
		if linearizable(t, r.ops) {
			t.Errorf("a server that %s is found linearizable", name)
		}
	}
}

type badServer struct {
	lags bool

	mu          sync.Mutex
	now, before map[string]register
	last        int
}

func (s *badServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := r.URL.Path
	held := s.now[key]
	if r.Method == http.MethodGet {
		if s.lags {
			held = s.before[key]
		}
		if held.etag == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", strconv.Quote(held.etag))
		_, _ = fmt.Fprintf(w, "%q", held.value)
		return
	}
	match := r.Header.Get("If-Match")
	if s.lags && (match != "" && match != strconv.Quote(held.etag) || match == "" && held.etag != "") {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.last++
	etag := strconv.Itoa(s.last)
	s.before[key], s.now[key] = held, register{strings.Trim(string(body), `"`), etag}
	w.Header().Set("ETag", strconv.Quote(etag))
}
