package rhizome

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/history"
)

var (
	historyOps  = flag.Int("history-ops", historyUsual, "how many operations TestHistoryOfThreeNodes records")
	historySeed = flag.Uint64("history-seed", 1, "what clients do, and when nodes are killed and cut off, in TestHistoryOfThreeNodes")
	historyFile = flag.String("history", "", "write the history of TestHistoryOfThreeNodes to this file")
)

const (
	historyClients = 4
	historyKeys    = 8
)

// A member is one of the three nodes, from without.
type member struct {
	historyChild
	id    string
	cmd   *exec.Cmd
	in    io.WriteCloser
	ready bool

	lines []historyLine // of this process
	ops   []history.Op  // of those before
}

// A heard is a line of a member, or its end.
type heard struct {
	m    *member
	run  int
	line historyLine
	end  bool
}

// A trio is three nodes and their test.
type trio struct {
	t       *testing.T
	r       *mathrand.Rand
	members [3]*member
	heard   chan heard
	done    int // operations
	kills   int
	cuts    int
	dropped int // reads that nothing says are durable
	apart   int // the member that is cut off, or -1
}

func (x *trio) start(m *member) {
	x.t.Helper()
	config, err := json.Marshal(m.historyChild)
	if err != nil {
		x.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), historyEnv+"="+string(config))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		m.in, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		x.t.Fatal(err)
	}
	m.cmd, m.lines, m.ready = cmd, nil, false
	x.t.Cleanup(func() { _ = cmd.Process.Kill() })
	run := m.Run
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var l historyLine
			if json.Unmarshal(lines.Bytes(), &l) == nil { // else cut off by the kill
				x.heard <- heard{m: m, run: run, line: l}
			}
		}
		x.heard <- heard{m: m, run: run, end: true}
	}()
}

// next takes in what the next line says, and returns it.
func (x *trio) next() heard {
	x.t.Helper()
	select {
	case h := <-x.heard:
		switch h.line.Kind {
		case "error":
			x.t.Fatalf("%s: %s", h.m.Name, h.line.Text)
		case "ready":
			h.m.ready = true
		case "call", "done", "read":
			h.m.lines = append(h.m.lines, h.line)
			if h.line.Kind != "call" {
				x.done++
			}
		}
		return h
	case <-time.After(time.Minute):
		x.t.Fatal("no node has said anything for a minute")
		panic("unreachable")
	}
}

// until waits for a line of a kind of one member.
func (x *trio) until(m *member, kind string) historyLine {
	x.t.Helper()
	for {
		h := x.next()
		if h.m == m && h.line.Kind == kind {
			return h.line
		}
		if h.end && h.m == m && h.run == m.Run {
			x.t.Fatalf("%s ended", m.Name)
		}
	}
}

// tell sends a command to all, and waits for their answers.
func (x *trio) tell(command, answer string) (out [3]historyLine) {
	x.t.Helper()
	for i, m := range x.members {
		out[i] = x.ask(m, command, answer)
	}
	return out
}

// ask sends a command to one member, and waits for the answer.
func (x *trio) ask(m *member, command, answer string) historyLine {
	x.t.Helper()
	if _, err := fmt.Fprintln(m.in, command); err != nil {
		x.t.Fatal(err)
	}
	return x.until(m, answer)
}

// took moves the operations of the process that has ended to those that count. A
// read counts where a write that was called behind it has been acknowledged, for
// then all that it showed is on disk; or where the process ended in order.
func (m *member) took(killed bool) (dropped int) {
	answered := make(map[int]bool)
	for i := range m.lines {
		if m.lines[i].Kind == "done" {
			answered[m.lines[i].ID] = true
		}
	}
	durable := len(m.lines)
	if killed {
		durable = -1
		for i := range m.lines {
			if m.lines[i].Kind == "call" && answered[m.lines[i].ID] {
				durable = i
			}
		}
	}
	for i := range m.lines {
		l := &m.lines[i]
		switch {
		case l.Kind == "call":
			l.Op.Unknown = !answered[l.ID]
			m.ops = append(m.ops, l.Op)
		case l.Kind == "read" && i <= durable:
			m.ops = append(m.ops, l.Op)
		case l.Kind == "read":
			dropped++
		}
	}
	m.lines = nil
	return dropped
}

// kill ends a member's process without warning, and starts another.
func (x *trio) kill(m *member) {
	x.t.Helper()
	if err := m.cmd.Process.Kill(); err != nil {
		x.t.Fatal(err)
	}
	for {
		if h := x.next(); h.end && h.m == m && h.run == m.Run {
			break
		}
	}
	_ = m.cmd.Wait() // killed
	x.kills++
	x.dropped += m.took(true)
	m.Run++
	x.start(m)
	x.allReady()
}

func (x *trio) allReady() {
	x.t.Helper()
	for slices.ContainsFunc(x.members[:], func(m *member) bool { return !m.ready }) {
		x.next()
	}
}

// part cuts one member off from the others, or lets all back where that is -1.
func (x *trio) part(off int) {
	x.t.Helper()
	x.apart = off
	if off >= 0 {
		x.cuts++
	}
	for i, m := range x.members {
		m.Cut = nil
		for j, o := range x.members {
			if i != j && (i == off || j == off) {
				m.Cut = append(m.Cut, o.id)
			}
		}
		x.ask(m, "part "+strings.Join(m.Cut, " "), "parted")
	}
}

// rejoin lets the member back that is cut off, once it is.
func (x *trio) rejoin() {
	x.t.Helper()
	m := x.members[x.apart]
	eventually(x.t, 10*time.Second, "no peers of "+m.Name, func() bool { return x.ask(m, "status", "status").ID == 0 })
	x.part(-1)
}

// newTrio makes three nodes of one space.
func newTrio(t *testing.T) *trio {
	t.Helper()
	x := &trio{t: t, r: mathrand.New(mathrand.NewPCG(*historySeed, 3)), heard: make(chan heard, 1024), apart: -1}
	invite := ""
	for i := range x.members {
		m := &member{historyChild: historyChild{
			Dir: t.TempDir(), Listen: freeAddr(t), Name: fmt.Sprint("n", i), Clients: historyClients, Keys: historyKeys, Seed: *historySeed,
		}}
		n, err := Open(t.Context(), Options{Dir: m.Dir, Create: true, Join: invite, Offline: true})
		if err != nil {
			t.Fatal(err)
		}
		if m.id = n.ID(); invite == "" {
			invite = must(n.Invite(t.Context()))
		}
		mustClose(t, n)
		x.members[i] = m
	}
	for _, m := range x.members {
		for _, o := range x.members {
			if o != m {
				m.Peers = append(m.Peers, o.Listen+"/p2p/"+o.id)
			}
		}
	}
	return x
}

// freeAddr returns an address on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port)
}

// What clients of three nodes see, which are separate processes on real disks and
// sockets, are killed without warning, cut off from each other, and drop their
// history, is causally consistent, convergent, and keeps the guarantees of
// sessions. In the end all are equal, and each acknowledged write is there or
// overwritten: each client reads all once more.
func TestHistoryOfThreeNodes(t *testing.T) {
	x := newTrio(t)
	for _, m := range x.members {
		x.start(m)
	}
	x.allReady()
	const acts = 24
	for act := 1; act <= acts; act++ {
		for x.done < act*(*historyOps)/acts {
			x.next()
		}
		switch {
		case act == acts:
		case x.apart >= 0 && act%2 == 0:
			x.rejoin()
		case x.apart < 0 && act%2 == 0:
			x.part(x.r.IntN(len(x.members)))
		default:
			x.kill(x.members[x.r.IntN(len(x.members))])
		}
	}
	if x.apart >= 0 {
		x.rejoin()
	}
	x.tell("stop", "stopped")
	eventually(t, time.Minute, "equal digests on all nodes", func() bool {
		s := x.tell("status", "status")
		return s[0].OK && s[1].OK && s[2].OK && s[0].Text == s[1].Text && s[1].Text == s[2].Text
	})
	x.tell("final", "final")
	var ops []history.Op
	for _, m := range x.members {
		if err := m.cmd.Wait(); err != nil {
			t.Error(err)
		}
		m.took(false)
		ops = append(ops, m.ops...)
	}
	x.judge(ops)
}

// judge holds the history to what is claimed, and itself to a history that is not
// so.
func (x *trio) judge(ops []history.Op) {
	x.t.Helper()
	models := append(slices.Clone(history.Guarantees), history.CC, history.CCv)
	r, err := history.Examine(ops, models...)
	if err != nil {
		x.t.Error(err)
	}
	x.t.Logf("seed %d: %d operations of %d sessions, %d kills, %d cuts; %d reads left out that a kill may have taken back; %+v",
		*historySeed, x.done, r.Sessions, x.kills, x.cuts, x.dropped, r)
	if *historyFile != "" {
		f, err := os.Create(*historyFile)
		if err == nil {
			err = errors.Join(history.Write(f, ops), f.Close())
		}
		if err != nil {
			x.t.Error(err)
		}
	}
	if x.kills == 0 || x.cuts == 0 {
		x.t.Errorf("%d kills, %d cuts: nothing was tested", x.kills, x.cuts)
	}
	last := slices.Clone(ops)
	last[len(last)-1].Values, last[len(last)-1].Shown = nil, ""
	if err := history.Check(last, history.ReadYourWrites); err == nil {
		x.t.Error("a history whose last read returns nothing is accepted")
	}
}
