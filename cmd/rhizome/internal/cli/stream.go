package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

// running refuses to follow a repo that no node runs on: nothing could come,
// and the repo would stay locked meanwhile.
func running(c *client.Client) error {
	if c.Local {
		return api.NewProblem(api.CodeUnreachable, "no node runs on this repo, so nothing can be followed",
			"start one with rhizome run; rhizome log prints what is there")
	}
	return nil
}

func (a *app) watchCmd() *cobra.Command {
	var since, view string
	cmd := a.command(spec{
		use: "watch [PREFIX] [--since CURSOR] | watch --view NAME", short: "Print transactions as this node applies them",
		long: `Its own and those of others, until interrupted. PREFIX is that of a key, such as
host/ or host/web-1#/cpu. --since goes on behind a cursor; 0 is the beginning.
With -o json, each transaction is one line. Needs a running node.

It exits 11 where what comes next is no longer held: it was compacted away, or came
as a peer's state. Then read the state anew, and go on from the cursor that it names.

--view follows a view instead: first all that it shows, then each entity whose value
in it has changed; of one that changes faster than it is printed, the newest.`,
		example: "rhizome watch host/\nrhizome watch --since 0 -o jsonl\nrhizome watch --view linux-hosts",
		codes:   reach(api.CodeNotFound, api.CodeValidation, api.CodeGone), max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			if view != "" && (len(args) > 0 || since != "") {
				return usage(cmd, "watch: --view goes with neither PREFIX nor --since")
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				if err := running(c); err != nil {
					return err
				}
				if view != "" {
					return a.follow(ctx, c.WatchView(ctx, view), a.viewLine)
				}
				return a.follow(ctx, c.Changes(ctx, strings.Join(args, ""), since), a.changeLines)
			})
		},
	})
	cmd.Flags().StringVar(&since, "since", "", "go on behind this cursor; 0: from the beginning")
	cmd.Flags().StringVar(&view, "view", "", "follow this view")
	return cmd
}

func (a *app) followLog(ctx context.Context, c *client.Client, lane, since string) error {
	if err := running(c); err != nil {
		return err
	}
	return a.follow(ctx, c.FollowLog(ctx, lane, since), func(data json.RawMessage) error {
		var e api.LogEntry
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		a.entryLine(&e)
		return nil
	})
}

// follow prints events as they come. An interrupt is the way to end it.
func (a *app) follow(ctx context.Context, events iter.Seq2[client.Event, error], text func(json.RawMessage) error) error {
	last := ""
	for e, err := range events {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			p := *api.ProblemOf(err)
			if p.Code == api.CodeUnreachable && last != "" {
				p.Hint = "go on with --since " + last
			}
			return &p
		}
		last = e.ID
		switch {
		case e.Name == "ready" && e.ID == "":
			_, _ = fmt.Fprintln(a.Err, "watching for changes")
		case e.Name == "ready":
			_, _ = fmt.Fprintf(a.Err, "watching from cursor %s\n", e.ID)
		case a.out.json():
			a.out.printf("%s\n", e.Data)
		default:
			if err := text(e.Data); err != nil {
				return fmt.Errorf("read an event: %w", err)
			}
		}
		if err := a.out.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) changeLines(data json.RawMessage) error {
	var c api.Change
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	who := creatorText(c.Creator, c.Author)
	for i := range c.Deltas {
		if a.out.form == "raw" {
			a.out.printf("%s\n", c.Deltas[i].Key)
			continue
		}
		a.out.printf("%s  %s  by %s\n", shortTime(c.Time), deltaText(&c.Deltas[i]), who)
	}
	return nil
}

func (a *app) exportCmd() *cobra.Command {
	var at, format string
	cmd := a.command(spec{
		use: "export [PREFIX] [--at CUT] [--format F]", short: "Print entities as JSON Lines that import reads back",
		long: `As of one moment, in byte order, whatever -o says. It has what get --raw shows, under
the names that the newest schema has: no defaults, nothing that is computed, and of
concurrent values one. What the space says of itself is there only where PREFIX begins
with "$". See import for the form of a line.

--at prints them as they were. ` + cutHelp + `
` + feedHelp,
		example: "rhizome export host/ > hosts.jsonl\nrhizome export --at 2026-05-01T12:00:00Z > then.jsonl\n" +
			"rhizome export --format rhizome > feed.jsonl",
		codes: reach(api.CodeValidation, api.CodeHorizon), max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(cmd, format); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				if format == api.FormatFeed {
					return c.ExportFeed(ctx, strings.Join(args, ""), at, a.out.w)
				}
				return c.ExportAt(ctx, strings.Join(args, ""), at, a.out.w)
			})
		},
	})
	cmd.Flags().StringVar(&at, "at", "", "as of this cut")
	formatFlag(cmd, &format)
	return cmd
}

func (a *app) importCmd() *cobra.Command {
	var format string
	var crdt crdtImport
	cmd := a.command(spec{
		use: "import FILE|-|DIR [--format F]", short: "Write documents from JSON Lines",
		long: `A line is an entity: {"id": "host/web-1", "os": "linux", …}. It is merged into what
is there, whole or not at all, and only what differs is written, so that an import
can be interrupted and run again. At a bad line nothing after it is written.

An entity that is no object, or has members named "id" or "$…", stands in
"$value"; bags, counters and votes stand by path in "$bags", "$counters" and
"$votes":

  {"id": "x", "$value": 5}
  {"id": "x", "os": "linux", "$bags": {"/tags": ["a", "b"]}, "$counters": {"/boots": 7}}
` + feedHelp + ` One bad delta is reported, and the rest goes in.
` + crdtHelp,
		example: "rhizome import hosts.jsonl\nssh web-1 rhizome export host/ | rhizome import -\n" +
			"rhizome import --format go-ds-crdt ~/.app/datastore --namespace /app",
		codes: reach(api.CodeNotFound, api.CodeValidation), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			if format == formatCRDT {
				crdt.dir = args[0]
				return crdt.run(cmd.Context(), a)
			}
			if cmd.Flags().Changed("namespace") || cmd.Flags().Changed("into") {
				return usage(cmd, "--namespace and --into go with --format %s", formatCRDT)
			}
			if err := checkFormat(cmd, format); err != nil {
				return err
			}
			send := a.sendDocs
			if format == api.FormatFeed {
				send = a.sendFeed
			}
			return a.importFrom(cmd.Context(), args, send)
		},
	})
	formatFlag(cmd, &format)
	cmd.Flags().Lookup("format").Usage += "; " + formatCRDT + ": a directory"
	crdtFlags(cmd, &crdt)
	return cmd
}

// importFrom sends the input to the node.
func (a *app) importFrom(interrupt context.Context, args []string, send func(context.Context, *client.Client, io.Reader) error) (err error) {
	in, closeFile, err := a.input(args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	c, err := a.connect(interrupt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return send(interrupt, c, in)
}

// sendDocs sends documents. An interrupt ends the input, so that the node commits
// what it has and says how far it got.
func (a *app) sendDocs(interrupt context.Context, c *client.Client, in io.Reader) error {
	ctx := context.WithoutCancel(interrupt)
	bar := newProgress(a.Err, sizeOf(in))
	p, err := c.Import(ctx, client.WholeLines(interrupt, in), bar.importing)
	bar.end()
	if err != nil {
		return err
	}
	if interrupt.Err() != nil {
		return api.NewProblem(api.CodeError,
			fmt.Sprintf("interrupted: %d documents are in, up to line %d", p.Docs, p.Lines),
			"run the import again; what is in is skipped")
	}
	switch {
	case a.out.json():
		a.out.value(p)
	case a.out.form == "raw":
		a.out.printf("%d\n", p.Docs)
	default:
		a.out.printf("ok  %d documents, %d deltas written\n", p.Docs, p.Written)
	}
	return nil
}

func sizeOf(in any) uint64 {
	f, ok := in.(*os.File)
	if !ok {
		return 0
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return uint64(info.Size())
}

// A progress line is redrawn in place, on a terminal alone.
type progress struct {
	w     *os.File
	size  uint64 // 0: unknown
	start time.Time
	drawn bool
}

func newProgress(w any, size uint64) *progress {
	p := &progress{size: size, start: time.Now()}
	if isTerminal(w) {
		p.w = w.(*os.File)
	}
	return p
}

func (p *progress) draw(text string) {
	if p.w == nil {
		return
	}
	width, _, err := term.GetSize(int(p.w.Fd()))
	if err == nil && width > 1 && len(text) >= width {
		text = text[:width-1]
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text) // for the eye alone
	p.drawn = true
}

func (p *progress) end() {
	if p.drawn {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *progress) importing(at api.ImportProgress) {
	text := importText(at, p.size, time.Since(p.start))
	p.draw(text)
}

func importText(at api.ImportProgress, size uint64, spent time.Duration) string {
	rate := float64(at.Docs) / max(spent.Seconds(), 0.001)
	text := fmt.Sprintf("%d documents  %s  %.0f documents/s", at.Docs, sizeText(at.Bytes), rate)
	if size > 0 {
		text += fmt.Sprintf("  %d%%", min(100, at.Bytes*100/size))
	}
	return text
}

func (p *progress) verifying(done, total uint64) {
	text := fmt.Sprintf("%d checked", done)
	if total > 0 {
		text = fmt.Sprintf("%d of %d checked  %d%%", done, total, min(100, done*100/total))
	}
	p.draw(text)
}
