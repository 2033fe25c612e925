package rhizome

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rhizome-p2p/rhizome/gossip/p2p"
	"github.com/rhizome-p2p/rhizome/history"
)

// historyEnv makes the test binary act as a node whose clients write and read
// registers, and tell all of it; it holds a historyChild as JSON.
const historyEnv = "RHIZOME_TEST_HISTORY"

// A historyChild says what such a process is to be.
type historyChild struct {
	Dir, Listen   string
	Peers         []string // addresses of the others
	Cut           []string // ids of those of them that it is cut off from
	Name          string   // of the node; its sessions begin with it
	Run           int      // counts the processes of a node
	Clients, Keys int
	Seed          uint64
}

// A historyLine is what a child says, a line each. Lines come in the order in
// which things happened: a call before it is made, an answer after it was given.
type historyLine struct {
	Kind string     // ready, call, done, read, parted, stopped, status, final or error
	ID   int        // of a call, and its answer; of a status, how many peers are connected
	Op   history.Op // of a call or read
	Text string     // the digest or the error
	OK   bool       // of a status: all peers hold the same
}

// A historyNode is such a process, from within.
type historyNode struct {
	historyChild
	n *Node

	mu   sync.Mutex // one line at a time; and Cut
	out  *json.Encoder
	last int

	stop atomic.Bool
}

func runHistoryNode(config string) {
	h := &historyNode{out: json.NewEncoder(os.Stdout)}
	if err := json.Unmarshal([]byte(config), &h.historyChild); err != nil {
		h.fail(err)
	}
	ctx := context.Background()
	var err error
	h.n, err = Open(ctx, Options{
		Dir: h.Dir, Listen: []string{h.Listen}, Bootstrap: h.reachable(h.Cut), LockWait: 10 * time.Second,
	})
	if err != nil {
		h.fail(err)
	}
	go h.sever()
	h.part(ctx, h.Cut)
	h.say(historyLine{Kind: "ready"})
	var clients sync.WaitGroup
	for c := range h.Clients {
		clients.Go(func() { h.client(ctx, c) })
	}
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		switch command, args, _ := strings.Cut(commands.Text(), " "); command {
		case "part":
			h.part(ctx, strings.Fields(args))
			h.say(historyLine{Kind: "parted"})
		case "stop":
			h.stop.Store(true)
			clients.Wait()
			h.say(historyLine{Kind: "stopped"})
		case "status":
			s, err := h.n.Status(ctx, true)
			if err != nil {
				h.fail(err)
			}
			connected := 0
			for _, p := range s.Peers {
				if p.Connected {
					connected++
				}
			}
			h.say(historyLine{Kind: "status", Text: s.Digest, OK: s.Converged && connected == 2, ID: connected})
		case "final":
			for c := range h.Clients {
				for k := range h.Keys {
					h.read(ctx, h.session(c), k, true)
				}
			}
			if err := h.n.Close(); err != nil {
				h.fail(err)
			}
			h.say(historyLine{Kind: "final"})
			os.Exit(0)
		}
	}
	os.Exit(0) // the test has ended
}

// reachable lists the addresses of those that the node is not cut off from.
func (h *historyNode) reachable(cut []string) (out []string) {
	for _, a := range h.Peers {
		if id, err := p2p.PeerOf(a); err == nil && !slices.Contains(cut, id) {
			out = append(out, a)
		}
	}
	return out
}

// part cuts the node off from some of its peers, and from no others. It forgets
// where they are, since nodes tell each other ways round any proxy.
func (h *historyNode) part(ctx context.Context, from []string) {
	for _, a := range h.reachable(from) {
		if err := h.n.AddPeer(ctx, a); err != nil {
			h.fail(err)
		}
	}
	h.mu.Lock()
	h.Cut = from
	h.mu.Unlock()
	for _, id := range from {
		if err := h.n.RemovePeer(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
			h.fail(err)
		}
	}
}

// sever ends the sessions with peers that the node is cut off from, also those
// that were about to begin.
func (h *historyNode) sever() {
	for range time.Tick(time.Millisecond) {
		h.mu.Lock()
		cut := h.Cut
		h.mu.Unlock()
		w := h.n.net
		w.mu.Lock()
		for _, s := range w.sessions {
			if slices.Contains(cut, s.Peer()) {
				s.Close(errors.New("cut off"))
			}
		}
		w.mu.Unlock()
	}
}

func (h *historyNode) session(client int) string { return fmt.Sprintf("%s/c%d", h.Name, client) }

func (h *historyNode) say(l historyLine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.out.Encode(&l); err != nil {
		os.Exit(1) // nobody listens
	}
}

func (h *historyNode) fail(err error) {
	h.say(historyLine{Kind: "error", Text: err.Error()})
	os.Exit(1)
}

// call says that a write begins, and returns its number.
func (h *historyNode) call(o history.Op) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	if err := h.out.Encode(&historyLine{Kind: "call", ID: h.last, Op: o}); err != nil {
		os.Exit(1)
	}
	return h.last
}

// client calls one operation after the other; the first one drops history, too.
func (h *historyNode) client(ctx context.Context, c int) {
	r := mathrand.New(mathrand.NewPCG(h.Seed, uint64(h.Run*h.Clients+c)))
	for i := 0; !h.stop.Load(); i++ {
		key := r.IntN(h.Keys)
		if r.IntN(3) > 0 {
			h.read(ctx, h.session(c), key, r.IntN(2) == 0)
			continue
		}
		o := history.Op{
			Session: h.session(c), Kind: history.KindWrite, Key: fmt.Sprint("r", key), Value: fmt.Sprintf("%s-%d-%d-%d", h.Name, h.Run, c, i),
		}
		id := h.call(o)
		if _, err := h.n.Put(ctx, o.Key, o.Value); err != nil {
			h.fail(err)
		}
		h.say(historyLine{Kind: "done", ID: id})
		if c == 0 && r.IntN(20) == 0 {
			if _, err := h.n.Compact(ctx, CompactOptions{Force: true}); err != nil && !errors.Is(err, ErrBusy) {
				h.fail(err)
			}
		}
	}
}

func (h *historyNode) read(ctx context.Context, session string, key int, lossless bool) {
	o := history.Op{Session: session, Kind: history.KindRead, Key: fmt.Sprint("r", key), Lossless: lossless}
	r, err := h.n.Get(ctx, o.Key, "")
	if err != nil && !errors.Is(err, ErrNotFound) {
		h.fail(err)
	}
	if err == nil && !lossless {
		o.Values = []string{fmt.Sprint(r.Value)}
	}
	for i := range r.Survivors {
		s := &r.Survivors[i]
		if !lossless {
			break
		}
		x, err := s.Value.Any()
		if err != nil {
			h.fail(err)
		}
		o.Values = append(o.Values, fmt.Sprint(x))
		if s.Shown {
			o.Shown = fmt.Sprint(x)
		}
	}
	h.say(historyLine{Kind: "read", Op: o})
}
