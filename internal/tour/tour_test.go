// Package tour runs the README: every command of its tour, in order, in one
// shell at the project's root, and the two commands at its top. What the README
// says a block prints is what it must print.
package tour

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// limit is far above what the tour takes; past it something hangs.
const limit = 3 * time.Minute

var root = filepath.Join("..", "..")

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A block is some commands and, where the README shows it, their output.
type block struct{ commands, output string }

var fence = regexp.MustCompile("(?s)```(sh|text)\n(.*?)```\n")

// blocks returns the fenced blocks of a page, each output with its commands.
func blocks(page string) (out []block, err error) {
	if n := strings.Count(page, "\n```"); n != 2*len(fence.FindAllString(page, -1)) {
		return nil, fmt.Errorf("%d fences do not make blocks of sh and text", n)
	}
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		switch {
		case m[1] == "sh":
			out = append(out, block{commands: m[2]})
		case len(out) == 0 || out[len(out)-1].output != "":
			return nil, fmt.Errorf("output without commands: %q", m[2])
		default:
			out[len(out)-1].output = m[2]
		}
	}
	return out, nil
}

// matches holds what a block printed against what the README shows: blanks
// count once, and "…" stands for anything within a line.
func matches(shown, printed string) error {
	want, got := lines(shown), lines(printed)
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			return fmt.Errorf("line %d is not in the README: %s", i+1, got[i])
		case i >= len(got):
			return fmt.Errorf("line %d was not printed: %s", i+1, want[i])
		}
		pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(want[i]), "…", ".*") + "$"
		if !regexp.MustCompile(pattern).MatchString(got[i]) {
			return fmt.Errorf("line %d: printed %q, the README says %q", i+1, got[i], want[i])
		}
	}
	return nil
}

func lines(s string) (out []string) {
	for l := range strings.Lines(s) {
		if f := strings.Join(strings.Fields(l), " "); f != "" {
			out = append(out, f)
		}
	}
	return out
}

// A shell runs one block after another, so that variables and jobs last.
type shell struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func newShell(t *testing.T) *shell {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	cmd := exec.CommandContext(ctx, "sh", "-e") // a command that fails ends it
	cmd.Dir, cmd.Env = root, clean(t)
	// The nodes are the shell's children: one signal reaches all.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Cancel() // nodes may outlive a shell that ended early
		_ = cmd.Wait()   // it was killed, or has ended with the tour's last status
		_ = r.Close()
	})
	return &shell{cmd, in, bufio.NewReader(r)}
}

// clean is an environment in which no setting of the user's changes anything,
// and what the commands make lands in a directory of the test.
func clean(t *testing.T) (env []string) {
	t.Helper()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "RHIZOME_") && !strings.HasPrefix(v, "XDG_") && !strings.HasPrefix(v, "TMPDIR=") {
			env = append(env, v)
		}
	}
	dir := t.TempDir()
	return append(env, "TMPDIR="+dir, "XDG_STATE_HOME="+dir, "XDG_CONFIG_HOME="+dir)
}

// run runs a block and returns what it printed, and an error where a command
// failed.
func (s *shell) run(commands string) (string, error) {
	const mark = "end of block, status "
	if _, err := fmt.Fprintf(s.in, "%s\necho '%s'$?\n", commands, mark); err != nil {
		return "", err
	}
	var out strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return out.String() + line, fmt.Errorf("the shell ended: %w", err)
		}
		if before, status, ok := strings.Cut(line, mark); ok {
			out.WriteString(before)
			if status != "0\n" {
				return out.String(), fmt.Errorf("status %s", strings.TrimSpace(status))
			}
			return out.String(), nil
		}
		out.WriteString(line)
	}
}

// TestTour: every command of the tour runs as it stands and prints what the
// README shows.
func TestTour(t *testing.T) {
	all, err := blocks(readme(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 7 {
		t.Fatalf("the README has %d blocks of commands, the tour has 7", len(all))
	}
	s := newShell(t)
	for i, b := range all {
		printed, err := s.run(b.commands)
		if err == nil {
			err = matches(b.output, printed)
		}
		if err != nil {
			t.Fatalf("block %d: %v\n%s\nprinted:\n%s", i+1, err, b.commands, printed)
		}
		t.Logf("block %d:\n%s%s", i+1, b.commands, printed)
	}
}

// TestCommands: the README's first two commands are those that this project is
// about; the first makes a repo, starts a node and closes it on a signal. The
// second is how this test was started.
func TestCommands(t *testing.T) {
	page := readme(t)
	first := strings.Index(page, "\n    go run ./cmd/rhizome run\n    go test ./...\n")
	if tour := strings.Index(page, "```"); first < 0 || tour < first {
		t.Fatal("the README does not begin with its two commands")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "run", "./cmd/rhizome", "run")
	cmd.Dir = root
	cmd.Env = append(clean(t), "RHIZOME_LISTEN=/ip4/127.0.0.1/tcp/0", "RHIZOME_HTTP=127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), " ")
		seen = append(seen, name)
		if strings.HasPrefix(lines.Text(), "Another host joins with: rhizome run --join rhizome1") {
			break
		}
	}
	if got := strings.Join(seen, " "); got != "node repo addrs api invite  Another" {
		t.Errorf("printed lines of %q", got)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Error(err)
	}
	for lines.Scan() { // to the end, before Wait closes the pipe
	}
	// The go command itself reports an interrupt as status 1; what the program
	// said tells whether it closed cleanly.
	_ = cmd.Wait()
	if s := log.String(); !strings.Contains(s, "msg=closing") || strings.Contains(s, "rror") {
		t.Errorf("after Ctrl-C it said\n%s", s)
	}
}

// TestMatches: a difference in words is found, one in blanks is none.
func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		shown, printed string
		ok             bool
	}{
		{"a  b…\n\n", "a b c\n", true},
		{"a b\n", "a c\n", false},
		{"a.b\n", "axb\n", false},
		{"", "a\n", false},
		{"a\n", "", false},
		{"a\nb\n", "a\n", false},
	} {
		if err := matches(tt.shown, tt.printed); (err == nil) != tt.ok {
			t.Errorf("%q against %q: %v", tt.shown, tt.printed, err)
		}
	}
}
