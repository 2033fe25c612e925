package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

func (a *app) getCmd() *cobra.Command {
	var lossless bool
	var prefix string
	var o rhizome.ReadOptions
	cmd := a.command(spec{
		use: "get KEY...|--prefix P [--lossless] [--at CUT] [--view NAME | --raw] [--expand N]", short: "Read keys",
		long: `Prints the lossy value, by the schema that is for the entity: a string as it is with
-o table and raw, else JSON. --lossless prints every survivor with its provenance, and
marks with * what the lossy read shows; -o json then prints {key, value, etag,
conflicts[], survivors[]}. Several keys are read as of one moment, and print as a table,
or as JSON {key, found, value, etag} each; a key that holds nothing is no error then.
--prefix reads all entities with a prefix in the same way, as of one moment for each
1,000 of them; with --view, those that are part of the view.

--view reads by a view's survivors, resolvers and expansion, --raw by the verbs alone.
--expand follows references: {"$ref": E} becomes {"$ref": E, "$value": …}.

--at reads it as it was. ` + cutHelp,
		example: "rhizome get host/web-1\nrhizome get host/web-1#/cpu/cores --lossless\nrhizome get host/web-1 --at 24h\nrhizome get host/web-1 host/web-2 -o json",
		codes:   reach(api.CodeNotFound, api.CodeValidation, api.CodeHorizon, api.CodeResolver), max: -1,
		run: func(cmd *cobra.Command, args []string) error {
			if (len(args) > 0) == cmd.Flags().Changed("prefix") {
				return usage(cmd, "get: an argument is missing: KEY or --prefix, not both")
			}
			for _, k := range args {
				if err := keyArg(k); err != nil {
					return err
				}
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				switch {
				case len(args) == 0:
					return a.getRange(ctx, c, prefix, o, lossless)
				case len(args) > 1:
					return a.getMany(ctx, c, args, o, lossless)
				case lossless:
					return a.getLossless(ctx, c, args[0], o)
				}
				return a.get(ctx, c, args[0], o)
			})
		},
	})
	f := cmd.Flags()
	f.BoolVar(&lossless, "lossless", false, "every survivor with its provenance")
	f.StringVar(&prefix, "prefix", "", "all entities with this prefix")
	f.StringVar(&o.At, "at", "", "as of this cut")
	f.StringVar(&o.View, "view", "", "by this view's survivors, resolvers and expansion")
	f.BoolVar(&o.Raw, "raw", false, "by the verbs alone, whatever schema there is")
	f.IntVar(&o.Expand, "expand", 0, "how far references are followed")
	return cmd
}

// getMany prints several keys.
func (a *app) getMany(ctx context.Context, c *client.Client, keys []string, o rhizome.ReadOptions, lossless bool) error {
	values, err := c.GetMany(ctx, keys, o, lossless)
	if err != nil {
		return err
	}
	l := a.out.list()
	for i := range values {
		l.item(&values[i], func() { a.printKeyValue(&values[i]) })
	}
	l.end()
	return nil
}

// getRange prints the entities with a prefix, or of a view.
func (a *app) getRange(ctx context.Context, c *client.Client, prefix string, o rhizome.ReadOptions, lossless bool) error {
	return a.pages("", 0, func(l *list, after string, n int) (string, error) {
		page, err := c.ReadRange(ctx, prefix, after, n, o, lossless)
		for i := range page.Values {
			l.item(&page.Values[i], func() { a.printKeyValue(&page.Values[i]) })
		}
		return page.Next, err
	})
}

// printKeyValue prints one of several keys for people.
func (a *app) printKeyValue(v *api.KeyValue) {
	switch {
	case a.out.form == "raw":
		a.out.printf("%s\n", v.Value)
	case v.Reading != nil:
		a.printReading(v.Reading)
	case !v.Found:
		a.out.printf("%s  (nothing)\n", plainKey(v.Key))
	default:
		a.out.printf("%s  %s\n", plainKey(v.Key), valueText(v.Value, false))
		for i := range v.Errors {
			a.out.printf("    %s\n", errorText(&v.Errors[i]))
		}
	}
}

func (a *app) get(ctx context.Context, c *client.Client, key string, o rhizome.ReadOptions) error {
	v, err := c.GetWith(ctx, key, o)
	if err != nil {
		return err
	}
	if v.Errors > 0 {
		a.note("%d properties have no value for an error; see rhizome explain %s", v.Errors, plainKey(key))
	}
	switch a.out.form {
	case "table":
		a.out.printf("%s\n", valueText(v.JSON, true))
		if v.Conflicts > 0 {
			a.note("concurrent values are hidden at %d paths; see --lossless", v.Conflicts)
		}
	case "raw":
		var s string
		if json.Unmarshal(v.JSON, &s) == nil && len(v.JSON) > 0 && v.JSON[0] == '"' {
			a.out.printf("%s\n", s)
			return nil
		}
		fallthrough
	default:
		a.out.printf("%s\n", v.JSON)
	}
	return nil
}

func (a *app) getLossless(ctx context.Context, c *client.Client, key string, o rhizome.ReadOptions) error {
	r, err := c.ReadWith(ctx, key, o)
	if err != nil {
		return err
	}
	switch a.out.form {
	case "json":
		a.out.value(r)
		return nil
	case "jsonl":
		for i := range r.Survivors {
			a.out.value(r.Survivors[i])
		}
		return nil
	case "raw":
		for i := range r.Survivors {
			a.out.printf("%s\n", r.Survivors[i].Value)
		}
		return nil
	}
	a.printReading(&r)
	return nil
}

func (a *app) printReading(r *api.Reading) {
	a.out.printf("%s  etag %s", plainKey(r.Key), r.ETag)
	if r.Rules != "" {
		a.out.printf("  by %s", r.Rules)
	}
	a.out.printf("\n")
	a.out.table([]string{"", "PATH", "VALUE", "VERB", "TIME", "CREATOR", "DOT"}, survivorRows(r.Survivors))
	if len(r.Conflicts) > 0 {
		paths := make([]string, len(r.Conflicts))
		for i, p := range r.Conflicts {
			paths[i] = plainPath(p)
		}
		a.out.printf("concurrent values at: %s\n", strings.Join(paths, ", "))
	}
	for i := range r.Errors {
		a.out.printf("%s\n", errorText(&r.Errors[i]))
	}
	if len(r.Incoming) > 0 {
		keys := make([]string, len(r.Incoming))
		for i, k := range r.Incoming {
			keys[i] = plainKey(k)
		}
		a.out.printf("referred to by: %s\n", strings.Join(keys, ", "))
	}
	for i := range r.Refs {
		a.out.printf("\n")
		a.printReading(&r.Refs[i])
	}
}

func plainPath(p api.Path) string {
	if p == "" {
		return "(root)"
	}
	return plainKey(string(p))
}

func errorText(e *api.PropertyError) string {
	return fmt.Sprintf("no value at %s: %s: %s: %s", plainPath(e.Path), e.Property, e.Kind, e.Text)
}

func survivorRows(survivors []api.Survivor) (rows [][]string) {
	for i := range survivors {
		s := &survivors[i]
		mark := ""
		if s.Shown {
			mark = "*"
		}
		value := valueText(s.Value, false)
		if s.Total != nil {
			value = fmt.Sprintf("%s (total %d)", value, *s.Total)
		}
		rows = append(rows, []string{mark, plainPath(s.Path), value, s.Verb, shortTime(s.Time), creatorText(s.Creator, s.Author), s.Dot})
	}
	return rows
}

func (a *app) lsCmd() *cobra.Command {
	var after string
	var limit int
	cmd := a.command(spec{
		use: "ls [PREFIX] [--after KEY] [--limit N]", short: "List entity ids, in byte order",
		long:    "With --limit, go on from the last id of a page with --after.",
		example: "rhizome ls host/\nrhizome ls host/ --limit 100 --after host/web-100",
		codes:   reach(api.CodeValidation), max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return usage(cmd, "ls: --limit %d is negative", limit)
			}
			prefix := strings.Join(args, "")
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				return a.ls(ctx, c, prefix, after, limit)
			})
		},
	})
	cmd.Flags().StringVar(&after, "after", "", "only ids after this one")
	cmd.Flags().IntVar(&limit, "limit", 0, "how many at most (default: all)")
	return cmd
}

func (a *app) ls(ctx context.Context, c *client.Client, prefix, after string, limit int) error {
	return a.pages(after, limit, func(l *list, after string, n int) (string, error) {
		got, err := c.List(ctx, prefix, after, n)
		for _, k := range got.Keys {
			l.item(k, func() {
				if a.out.form == "raw" {
					a.out.printf("%s\n", k)
				} else {
					a.out.printf("%s\n", plainKey(k))
				}
			})
		}
		return got.Next, err
	})
}

// pages prints a list that comes in pages: at most limit items of it, 0 for all.
// ask adds at most n items that come after one, and returns what to ask for next,
// "" at the end.
func (a *app) pages(after string, limit int, ask func(l *list, after string, n int) (next string, err error)) error {
	const perPage = 1000
	l := a.out.list()
	for {
		n := perPage
		if limit > 0 {
			n = min(n, limit-l.n)
		}
		next, err := ask(l, after, n)
		if err != nil {
			return err
		}
		if err := a.out.w.Flush(); err != nil {
			return err
		}
		if after = next; next == "" || limit > 0 && l.n >= limit {
			break
		}
	}
	l.end()
	return nil
}

func (a *app) logCmd() *cobra.Command {
	var lane, since string
	var follow bool
	cmd := a.command(spec{
		use: "log [--lane L] [--since CURSOR] [--follow]", short: "Print the log, in the order in which this node applied it",
		long: `One line an entry: cursor, lane:seq, time, author, number of deltas, keys.
--lane prints one lane in its own order. --since goes on behind a cursor.
--follow goes on printing what comes, and needs a running node.

Where entries were compacted away, or came as a peer's state, a note on stderr says
from which cursor on the log is whole. Asked for what is before that, it exits 11;
what is still held of a lane, --lane prints.`,
		example: "rhizome log\nrhizome log --follow -o jsonl",
		codes:   reach(api.CodeNotFound, api.CodeValidation, api.CodeGone),
		run: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				if follow {
					return a.followLog(ctx, c, lane, since)
				}
				return a.log(ctx, c, lane, since)
			})
		},
	})
	cmd.Flags().StringVar(&lane, "lane", "", "one lane only")
	cmd.Flags().StringVar(&since, "since", "", "only what came after this cursor")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on printing what comes")
	return cmd
}

func (a *app) log(ctx context.Context, c *client.Client, lane, since string) error {
	l := a.out.list()
	fromStart := since == ""
	for {
		page, err := c.Log(ctx, lane, since, 0)
		if err != nil {
			return err
		}
		if fromStart && page.Start != "" {
			a.note("raw history begins behind cursor %s: entries before it are no longer held, but for what they did", page.Start)
		}
		fromStart = false
		for i := range page.Entries {
			e := &page.Entries[i]
			l.item(e, func() { a.entryLine(e) })
		}
		if err := a.out.w.Flush(); err != nil {
			return err
		}
		if since = page.Next; since == "" {
			break
		}
	}
	l.end()
	return nil
}

func (a *app) entryLine(e *api.LogEntry) {
	if a.out.form == "raw" {
		a.out.printf("%s\n", e.CID)
		return
	}
	var keys []string
	n := 0
	for i := range e.Txns {
		n += len(e.Txns[i].Deltas)
		for j := range e.Txns[i].Deltas {
			if d := &e.Txns[i].Deltas[j]; len(keys) < 3 {
				keys = append(keys, d.Verb+" "+plainKey(d.Key))
			}
		}
	}
	what := strings.Join(keys, ", ")
	if n > len(keys) {
		what += fmt.Sprintf(", … (%d deltas)", n)
	}
	if e.Closed {
		what += "  [closed for a fork]"
	}
	a.out.printf("%s  %s  %s  by %s  %s\n", e.Cursor, e.Entry, shortTime(e.Time), short(e.Author), what)
}

func (a *app) showCmd() *cobra.Command {
	return a.command(spec{
		use: "show CID|DOT", short: "Show one entry of the log",
		long:    "By its CID, by LANE:SEQ, or by the dot (LANE:SEQ:INDEX) of one of its deltas.",
		example: "rhizome show 4f0c…:17:0",
		codes:   reach(api.CodeNotFound, api.CodeValidation, api.CodeGone), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				e, err := c.Show(ctx, args[0])
				if err != nil {
					return err
				}
				a.printEntry(&e)
				return nil
			})
		},
	})
}

func (a *app) printEntry(e *api.LogEntry) {
	switch {
	case a.out.json():
		a.out.value(e)
		return
	case a.out.form == "raw":
		a.out.printf("%s\n", e.CID)
		return
	}
	a.out.pairs("entry", e.Entry, "cid", e.CID, "prev", e.Prev, "body", e.Body, "author", e.Author,
		"time", shortTime(e.Time)+"  (hlc "+e.HLC+")", "deps", strings.Join(e.Deps, " "),
		"signed", strconv.FormatBool(e.Signed), "bytes", strconv.Itoa(e.Bytes), "past", strings.Join(e.Past, " "))
	if e.PastCut {
		a.out.printf("the past reaches below raw history: it is at least this\n")
	}
	if e.Closed {
		a.out.printf("the lane was closed for a fork: no part of the state\n")
	}
	for i := range e.Txns {
		t := &e.Txns[i]
		a.out.printf("txn %s", t.Txn)
		a.out.printf("  by %s\n", creatorText(t.Creator, t.Author))
		for j := range t.Deltas {
			a.out.printf("  %s\n", deltaText(&t.Deltas[j]))
		}
	}
}

func deltaText(d *api.ChangeDelta) string {
	s := d.Verb + " " + plainKey(d.Key)
	if len(d.Value) > 0 {
		s += " " + valueText(d.Value, false)
	}
	return s
}
