// Package cli holds the commands of the program: what their flags and
// arguments mean, and how answers are printed. All that they do to a repo they
// do through the HTTP API, that of the running node or one served in this
// process.
//
// Answers go to stdout, in the form that -o says; errors go to stderr as text
// in all forms, as "error: …" and "hint: …". The exit codes are those of
// api.ExitCodes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
	"github.com/rhizome-p2p/rhizome/cmd/rhizome/internal/config"
)

// A Process is what a command has of its process.
type Process struct {
	In       io.Reader
	Out, Err io.Writer
	Env      []string // as os.Environ returns it
}

// getenv returns a variable's value; the last of a name holds.
func (p *Process) getenv(name string) (value string) {
	for _, e := range p.Env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// An app is one run of the program.
type app struct {
	Process
	cfg *config.Config
	out *printer
}

// lockWait is how long commands and run wait for the repo's lock.
const lockWait = 10 * time.Second

// Run runs the command that the arguments name and returns its exit code. It
// returns once ctx is done, too.
func Run(ctx context.Context, args []string, p Process) int {
	a := &app{Process: p}
	root := a.root()
	args, err := takeMode(root, args)
	if err == nil {
		args, err = takeDashes(root, args)
	}
	if err == nil {
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	if a.out != nil {
		err = errors.Join(err, a.out.flush())
	}
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return 0 // whoever read what we print has had enough
	}
	return a.fail(err)
}

// fail prints an error and returns its exit code.
func (a *app) fail(err error) int {
	p := new(api.Problem)
	if !errors.As(err, &p) {
		p = asProblem(err)
	}
	// Errors: there is nowhere left to say that stderr is closed.
	_, _ = fmt.Fprintf(a.Err, "error: %s\n", strings.ReplaceAll(p.Detail, "\n", "\n       "))
	if p.Hint != "" {
		_, _ = fmt.Fprintf(a.Err, "hint: %s\n", p.Hint)
	}
	return p.Code.Exit()
}

func asProblem(err error) *api.Problem {
	if errors.Is(err, context.Canceled) {
		return api.Problemf(api.CodeError, "interrupted")
	}
	// Cobra makes errors of its own only of how it was called.
	if msg := err.Error(); strings.HasPrefix(msg, "unknown command ") {
		first, rest, _ := strings.Cut(msg, "\n")
		hint := "see rhizome --help"
		if suggestions := strings.Fields(rest); len(suggestions) > 4 {
			hint = "did you mean " + strings.Join(suggestions[4:], ", ") + "?"
		}
		return api.NewProblem(api.CodeUsage, first, hint)
	}
	return api.ProblemOf(err)
}

func usage(cmd *cobra.Command, format string, args ...any) error {
	return api.NewProblem(api.CodeUsage, fmt.Sprintf(format, args...), "see "+cmd.CommandPath()+" --help")
}

// A spec is one command as its documentation and its code have it.
type spec struct {
	use, short, long, example string
	// codes are the exit codes of its own, beside 0 to 3.
	codes []api.Code
	// min and max are the numbers of arguments; max < 0 is any.
	min, max int
	// values says that arguments behind the first may begin with "-".
	values bool
	// bare says that it needs no configuration.
	bare bool
	run  func(cmd *cobra.Command, args []string) error
}

const annotationValues = "values"

func (a *app) command(s spec) *cobra.Command {
	cmd := &cobra.Command{
		Use: s.use, Short: s.short, Example: "  " + strings.ReplaceAll(strings.TrimSpace(s.example), "\n", "\n  "),
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) < s.min:
				return usage(cmd, "%s: an argument is missing: %s", cmd.CommandPath(), cmd.UseLine())
			case s.max >= 0 && len(args) > s.max:
				return usage(cmd, "%s: unexpected argument %q", cmd.CommandPath(), args[s.max])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, s.bare); err != nil {
				return err
			}
			return s.run(cmd, args)
		},
	}
	cmd.Long = strings.TrimSpace(s.short + ".\n\n" + strings.TrimSpace(s.long))
	cmd.Long += "\n\nExit codes:\n" + exitCodes(s.codes)
	if s.values {
		cmd.Annotations = map[string]string{annotationValues: ""}
	}
	return cmd
}

func exitCodes(own []api.Code) string {
	var b strings.Builder
	for _, e := range api.ExitCodes {
		show := e.Exit <= 3
		for _, c := range own {
			show = show || c == e.Code
		}
		if show {
			fmt.Fprintf(&b, "  %2d  %s\n", e.Exit, e.Meaning)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// reach are the codes of all commands that talk to a node.
func reach(own ...api.Code) []api.Code {
	return append([]api.Code{api.CodeUnreachable, api.CodeAuth, api.CodeLocked}, own...)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rhizome [--repo DIR] [--api ADDR] [-o FORMAT] [--log-level L] COMMAND",
		Short: "A peer-to-peer replicated database node",
		Long: `Rhizome is a peer-to-peer replicated database node. Each host runs one with
"rhizome run"; the other commands talk to it, or, while it does not run, open its
repo themselves, so that a host can be read and edited offline.

A KEY is an entity id, optionally with a JSON pointer: host/web-1#/cpu/cores.`,
		Example:       "  rhizome run\n  rhizome put host/web-1 '{\"cpu\": {\"cores\": 8}}'\n  rhizome get host/web-1#/cpu/cores",
		Version:       versionLine(),
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetHelpCommand(&cobra.Command{Use: "help [COMMAND]", Short: "Help about a command", RunE: helpOf(root)})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, "%s: %v", cmd.CommandPath(), err)
	})
	f := root.PersistentFlags()
	f.String("repo", "", "directory of the repo (default: $XDG_STATE_HOME/rhizome)")
	f.String("api", "", "API of a node to talk to, in place of the repo's own; its token in RHIZOME_TOKEN")
	f.StringP("output", "o", "", "table, json, jsonl or raw (default: table)")
	f.String("log-level", "", "debug, info, warn or error (default: warn; run: info)")
	root.AddCommand(
		a.initCmd(), a.runCmd(), a.idCmd(), a.inviteCmd(), a.statusCmd(), a.putCmd(), a.getCmd(), a.rmCmd(), a.lsCmd(),
		a.addCmd(), a.removeCmd(), a.incCmd(), a.voteCmd(), a.negateCmd(), a.undoCmd(), a.txnCmd(), a.watchCmd(),
		a.logCmd(), a.showCmd(), a.importCmd(), a.exportCmd(), a.peersCmd(), a.verifyCmd(), a.compactCmd(), a.checkpointsCmd(), a.diffCmd(), a.configCmd(),
		a.backupCmd(), a.restoreCmd(), a.repairCmd(),
		a.schemaCmd(), a.resolverCmd(), a.viewCmd(), a.explainCmd(),
		a.synthesizeCmd(), a.simCmd(), a.benchCmd(), a.versionCmd(), a.completionCmd(),
	)
	return root
}

func helpOf(root *cobra.Command) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		cmd, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return usage(root, "no command %q", strings.Join(args, " "))
		}
		return cmd.Help()
	}
}

// group returns a command that only holds others.
func (a *app) group(use, short, example string, subs ...*cobra.Command) *cobra.Command {
	cmd := a.command(spec{
		use: use, short: short, example: example, max: 0, bare: true,
		run: func(cmd *cobra.Command, _ []string) error {
			return usage(cmd, "%s: which of its commands?", cmd.CommandPath())
		},
	})
	cmd.AddCommand(subs...)
	return cmd
}

// configure loads the settings and sets up what they say.
func (a *app) configure(cmd *cobra.Command, bare bool) error {
	given := map[string][]string{}
	for _, name := range config.FlagNames() {
		f := cmd.Flags().Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given[name] = list.GetSlice()
		} else {
			given[name] = []string{f.Value.String()}
		}
	}
	cfg, err := config.Load(a.getenv, given)
	if err != nil && !bare {
		return err
	}
	a.cfg = cfg
	a.out = newPrinter(a.Out, cfg.Get("output"))
	return nil
}

func (a *app) logger(level string) *slog.Logger {
	if !a.cfg.IsDefault("log_level") {
		level = a.cfg.Get("log_level")
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelWarn // Load lets no other through
	}
	return slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: l}))
}

// connect returns a client of the node to talk to. The caller closes it.
func (a *app) connect(ctx context.Context) (*client.Client, error) {
	return a.connectWithin(ctx, lockWait)
}

func (a *app) connectWithin(ctx context.Context, wait time.Duration) (*client.Client, error) {
	if addr := a.cfg.Get("api"); addr != "" {
		return client.New(addr, a.cfg.Get("token"))
	}
	return client.Connect(ctx, a.cfg.Get("repo"), wait, a.openLocal)
}

// with connects, runs f and closes again.
func (a *app) with(cmd *cobra.Command, f func(ctx context.Context, c *client.Client) error) (err error) {
	c, err := a.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return f(cmd.Context(), c)
}

// isTerminal reports whether a stream is a person's.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
