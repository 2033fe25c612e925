package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

const feedHelp = `
--format rhizome is for pointer feeds, the deltas of other rhizomatic systems as
JSON: see docs/feeds.md.`

// formatFlag adds the flag --format.
func formatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", api.FormatDocuments, "jsonl: documents; rhizome: a pointer feed")
}

// checkFormat refuses a format that there is none of.
func checkFormat(cmd *cobra.Command, format string) error {
	if format != api.FormatDocuments && format != api.FormatFeed {
		return usage(cmd, "--format %s: formats are %s and %s", format, api.FormatDocuments, api.FormatFeed)
	}
	return nil
}

// sendFeed sends a pointer feed to the node. What is wrong with single deltas goes
// to standard error, one a line, and makes the exit code 7; the rest is in.
func (a *app) sendFeed(interrupt context.Context, c *client.Client, in io.Reader) error {
	bar := newProgress(a.Err, sizeOf(in))
	p, err := c.ImportFeed(context.WithoutCancel(interrupt), client.WholeLines(interrupt, in), func(at api.FeedProgress) {
		bar.draw(feedText(at, time.Since(bar.start)))
	})
	bar.end()
	for _, x := range p.Problems {
		where := ""
		if x.ID != "" {
			where = fmt.Sprintf("delta %q: ", x.ID)
		}
		if x.At != "" {
			where += x.At + ": "
		}
		_, _ = fmt.Fprintf(a.Err, "line %d: %s%s\n", x.Line, where, x.Text)
	}
	if interrupt.Err() != nil {
		return api.NewProblem(api.CodeError, fmt.Sprintf("interrupted: %d deltas are read, up to line %d", p.Read, p.Lines),
			"run the import again; what is in is skipped")
	}
	if err != nil {
		return err
	}
	switch {
	case a.out.json():
		a.out.value(p)
	case a.out.form == "raw":
		a.out.printf("%d\n", p.New)
	default:
		a.out.printf("ok  %d deltas read, %d new (%d of them negations), %d here already, %d deltas written\n",
			p.Read, p.New, p.Negations, p.Skipped, p.Written)
	}
	if n := uint64(len(p.Problems)) + p.Unlisted; n > 0 {
		return api.NewProblem(api.CodeValidation, fmt.Sprintf("%d problems in %d deltas; %d of them are listed", n, p.Read, len(p.Problems)),
			"all else is in; an import can be run again")
	}
	return nil
}

func feedText(at api.FeedProgress, spent time.Duration) string {
	rate := float64(at.Read) / max(spent.Seconds(), 0.001)
	return fmt.Sprintf("%d deltas  %s  %.0f deltas/s", at.Read, sizeText(at.Bytes), rate)
}
