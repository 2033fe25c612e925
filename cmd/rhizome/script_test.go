package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rhizome-p2p/rhizome/api"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rhizome": func() { os.Exit(run()) }})
}

// The program does what the scripts in testdata/script show, as a process of
// its own. Beside testscript's commands they use:
//
//	exit CODE [<FILE] COMMAND…   run, and want this exit code
//	node NAME ARGS…              start a node on the repo NAME, on loopback
//	                             alone, and set NAME_ID, NAME_API, NAME_ADDR,
//	                             NAME_INVITE and NAME_TOKEN once it listens
//	halt NAME [SIGNAL]           end it in order (INT, TERM), or not (KILL); "stop"
//	                             is testscript's own, and ends the script
//	start NAME COMMAND…          run in the background
//	waitfor NAME REGEXP          wait until it has printed that
//	interrupt NAME               send it an interrupt
//	finish NAME [CODE]           wait for its end, and want this exit code
//	field NAME FIELD VALUE       compare a field of the last JSON on stdout, or,
//	                             where VALUE is missing, set NAME to it
func TestScripts(t *testing.T) {
	fixture, err := filepath.Abs("../../datastore/testdata/crdt") // a store of go-ds-crdt
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each process lasts a second
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/config")
			e.Setenv("RHIZOME_REPO", e.WorkDir+"/repo")
			e.Setenv("FIXTURE", fixture)
			e.Values[nodesKey{}] = map[string]*exec.Cmd{}
			e.Values[jobsKey{}] = map[string]*job{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exit": cmdExit, "start": cmdStart, "waitfor": cmdWaitFor, "interrupt": cmdInterrupt, "finish": cmdFinish,
			"node": cmdNode, "halt": cmdHalt, "field": cmdField, "mode": cmdMode,
		},
	})
}

type nodesKey struct{}

func nodes(ts *testscript.TestScript) map[string]*exec.Cmd {
	return ts.Value(nodesKey{}).(map[string]*exec.Cmd)
}

func command(ts *testscript.TestScript, name string, args ...string) *exec.Cmd {
	path, err := exec.LookPath(name)
	ts.Check(err)
	c := exec.Command(path, args...)
	c.Args[0] = name
	c.Dir = ts.MkAbs(".")
	for _, k := range []string{
		"PATH", "HOME", "TMPDIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "RHIZOME_REPO", "RHIZOME_TOKEN", "RHIZOME_API",
		"RHIZOME_CONFIG", "RHIZOME_OUTPUT", "RHIZOME_LOG_LEVEL", "RHIZOME_RETENTION_AGE", "GOCOVERDIR", "GORACE",
	} {
		if v := ts.Getenv(k); v != "" {
			c.Env = append(c.Env, k+"="+v)
		}
	}
	return c
}

func cmdExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE [<FILE] COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	args = args[1:]
	file, hasFile := strings.CutPrefix(args[0], "<")
	if hasFile {
		args = args[1:]
	}
	c := command(ts, args[0], args[1:]...)
	if hasFile {
		f, err := os.Open(ts.MkAbs(file))
		ts.Check(err)
		defer f.Close()
		c.Stdin = f
	}
	c.Stdout, c.Stderr = ts.Stdout(), ts.Stderr()
	err = c.Run()
	var bad *exec.ExitError
	if err != nil && !errors.As(err, &bad) {
		ts.Fatalf("%v", err)
	}
	if got := c.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func cmdNode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: node NAME ARGS…")
	}
	name := args[0]
	repo := ts.MkAbs(name)
	log, err := os.OpenFile(repo+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	line := []string{"--repo", repo, "-o", "json", "run", "--http", "127.0.0.1:0"}
	if _, err := os.Stat(filepath.Join(repo, "peers.json")); err != nil {
		line = append(line, "--listen", "/ip4/127.0.0.1/tcp/0")
	}
	c := command(ts, "rhizome", append(line, args[1:]...)...)
	out, err := c.StdoutPipe()
	ts.Check(err)
	c.Stderr = log
	ts.Check(c.Start())
	nodes(ts)[name] = c
	ts.Defer(func() {
		if nodes(ts)[name] == c {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	text, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		ts.Fatalf("node %s says nothing: %v\n%s", name, err, ts.ReadFile(repo+".log"))
	}
	var said struct {
		Node, API, Invite string
		Addrs             []string
	}
	ts.Check(json.Unmarshal([]byte(text), &said))
	at, err := api.ReadAddress(repo)
	ts.Check(err)
	if len(said.Addrs) == 0 {
		ts.Fatalf("node %s has no address: %s", name, text)
	}
	for k, v := range map[string]string{
		"ID": said.Node, "API": said.API, "ADDR": said.Addrs[0], "INVITE": said.Invite, "TOKEN": at.Token,
	} {
		ts.Setenv(name+"_"+k, v)
	}
}

func cmdHalt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: halt NAME [SIGNAL]")
	}
	c := nodes(ts)[args[0]]
	if c == nil {
		ts.Fatalf("no node %s", args[0])
	}
	delete(nodes(ts), args[0])
	sig := map[string]os.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	name := "INT"
	if len(args) > 1 {
		name = args[1]
	}
	ts.Check(c.Process.Signal(sig[name]))
	if err := c.Wait(); err != nil && name != "KILL" {
		ts.Fatalf("node %s: %v\n%s", args[0], err, ts.ReadFile(ts.MkAbs(args[0])+".log"))
	}
}

// cmdField looks into the JSON that a command printed: the path has dots, and
// numbers in arrays.
func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: field NAME|= PATH [VALUE]")
	}
	var x any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &x))
	for _, step := range strings.Split(args[1], ".") {
		switch in := x.(type) {
		case map[string]any:
			v, ok := in[step]
			if !ok {
				ts.Fatalf("no %s in %v", args[1], in)
			}
			x = v
		case []any:
			if step == "len" {
				x = float64(len(in))
				continue
			}
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(in) {
				ts.Fatalf("no %s: %d elements", args[1], len(in))
			}
			x = in[i]
		default:
			ts.Fatalf("no %s in %v", args[1], x)
		}
	}
	got, isText := x.(string)
	if !isText {
		text, err := json.Marshal(x)
		ts.Check(err)
		got = string(text)
	}
	if len(args) == 2 {
		ts.Setenv(args[0], got)
		return
	}
	if (got == args[2]) == neg {
		ts.Fatalf("%s is %s, compared with %s", args[1], got, args[2])
	}
}

func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE OCTAL")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := strconv.FormatInt(int64(info.Mode().Perm()), 8); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}
