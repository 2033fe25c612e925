package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// maxInputBytes bounds a value that is read whole; the server takes no more.
const maxInputBytes = 8 << 20

const valueHelp = `VALUE is JSON when it parses, else a string. What begins with { or [ and does
not parse, and an integer past int64, are errors. "-" reads stdin and "@FILE" a
file, without a newline at the end; to write such a string, quote it as JSON:
'"-"'. VALUE may begin with "-"; what looks like a --flag stands behind a "--".`

const ifMatchHelp = `--if-match makes the write depend on what the key holds: an ETag as get prints
it with --lossless, "*" for anything, "absent" for nothing.`

// written is what the commands that write one key print.
type written struct {
	Key    string `json:"key,omitempty"`
	ETag   string `json:"etag,omitempty"`
	Txn    string `json:"txn"`
	CID    string `json:"cid"`
	Deltas int    `json:"deltas"`
	// Skipped names the keys that an undo left alone.
	Skipped []string `json:"skipped,omitempty"`
}

// commit commits one operation and prints what it became.
func (a *app) commit(cmd *cobra.Command, op api.Op) error {
	if _, err := op.Decode(); err != nil {
		return api.Problemf(api.CodeValidation, "%v", err)
	}
	return a.with(cmd, func(ctx context.Context, c *client.Client) error {
		r, err := c.Commit(ctx, op)
		if err != nil {
			return err
		}
		a.printReceipt(op.Key, r)
		return nil
	})
}

func (a *app) printReceipt(key string, r api.Receipt) {
	out := written{Key: key, Txn: r.Txn, CID: r.CID, Deltas: r.Deltas, Skipped: r.Skipped}
	if key != "" && len(r.ETags) == 1 {
		out.ETag = r.ETags[0]
	}
	switch {
	case a.out.json():
		a.out.value(out)
	case a.out.form == "raw":
		a.out.printf("%s\n", r.Txn)
	case r.Txn == "":
		a.out.printf("ok  nothing to write\n")
	default:
		a.out.printf("ok")
		if key != "" {
			a.out.printf("  %s", plainKey(key))
		}
		if out.ETag != "" {
			a.out.printf("  etag %s", out.ETag)
		}
		a.out.printf("  txn %s\n", r.Txn)
	}
	if !a.out.json() {
		for _, k := range r.Skipped {
			a.out.printf("left alone, since it changed: %s\n", plainKey(k))
		}
	}
}

func (a *app) putCmd() *cobra.Command {
	var ifMatch string
	cmd := a.command(spec{
		use: "put KEY [VALUE|-|@FILE] [--if-match ETAG]", short: "Write a value, or merge a document",
		long: "An object is merged leaf by leaf, in one transaction; {} is a leaf. Without VALUE it\n" +
			"is read from stdin.\n\n" + valueHelp + "\n\n" + ifMatchHelp,
		example: "rhizome put host/web-1 '{\"os\": \"linux\", \"cpu\": {\"cores\": 8}}'\n" +
			"rhizome put host/web-1#/cpu/cores 16\nrhizome put greeting @hello.txt --if-match absent",
		codes: reach(api.CodeValidation, api.CodeConflict), min: 1, max: 2, values: true,
		run: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if isTerminal(a.In) {
					return usage(cmd, "put: VALUE is missing")
				}
				args = append(args, "-")
			}
			value, err := a.value(args[1])
			if err != nil {
				return err
			}
			return a.commit(cmd, api.Op{Op: "put", Key: args[0], Value: value, IfMatch: unquoted(ifMatch)})
		},
	})
	cmd.Flags().StringVar(&ifMatch, "if-match", "", "write only if the key has this ETag")
	return cmd
}

// unquoted takes an ETag in the quotes that HTTP has around it, too.
func unquoted(etag string) string {
	if s, err := strconv.Unquote(etag); err == nil {
		return s
	}
	return etag
}

// value reads a VALUE argument.
func (a *app) value(arg string) (json.RawMessage, error) {
	text := []byte(arg)
	var err error
	switch name, isFile := strings.CutPrefix(arg, "@"); {
	case arg == "-":
		text, err = readAll(a.In, "stdin")
	case isFile:
		var f *os.File
		if f, err = openFile(name); err != nil {
			return nil, err
		}
		text, err = readAll(f, name)
		err = errors.Join(err, f.Close())
	default:
		return api.ParseValue(text)
	}
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	return api.ParseValue(bytes.TrimSuffix(text, []byte("\r")))
}

func openFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, api.Problemf(api.CodeError, "%v", err)
	}
	return f, nil
}

func readAll(r io.Reader, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInputBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxInputBytes {
		return nil, api.NewProblem(api.CodeValidation, fmt.Sprintf("%s has more than %d bytes", name, maxInputBytes),
			"split it into several keys, or use import")
	}
	return text, nil
}

func (a *app) rmCmd() *cobra.Command {
	var ifMatch string
	cmd := a.command(spec{
		use: "rm KEY [--if-match ETAG]", short: "Drop an entity, or what stands at and below a path",
		long:    ifMatchHelp,
		example: "rhizome rm host/web-1\nrhizome rm host/web-1#/cpu",
		codes:   reach(api.CodeNotFound, api.CodeValidation, api.CodeConflict), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			return a.commit(cmd, api.Op{Op: "rm", Key: args[0], IfMatch: unquoted(ifMatch)})
		},
	})
	cmd.Flags().StringVar(&ifMatch, "if-match", "", "drop only if the key has this ETag")
	return cmd
}

// valueCmd returns a command of the form VERB KEY VALUE.
func (a *app) valueCmd(op, short, long, example string) *cobra.Command {
	return a.command(spec{
		use: op + " KEY VALUE", short: short, long: long + "\n\n" + valueHelp, example: example,
		codes: reach(api.CodeNotFound, api.CodeValidation, api.CodeConflict), min: 2, max: 2, values: true,
		run: func(cmd *cobra.Command, args []string) error {
			value, err := a.value(args[1])
			if err != nil {
				return err
			}
			return a.commit(cmd, api.Op{Op: rhizome.OpKind(op), Key: args[0], Value: value})
		},
	})
}

func (a *app) addCmd() *cobra.Command {
	return a.valueCmd("add", "Add a value to a bag",
		"Values added on different nodes all stay. A bag reads as an array of its\ndistinct values.",
		"rhizome add host/web-1#/tags edge")
}

func (a *app) removeCmd() *cobra.Command {
	return a.valueCmd("remove", "Remove a value from a bag",
		"Only what this node knows of is removed: the same value added elsewhere meanwhile\nstays.",
		"rhizome remove host/web-1#/tags edge")
}

func (a *app) voteCmd() *cobra.Command {
	return a.valueCmd("vote", "Set this node's own value of a key that many vote on",
		"Each node has one value there. A read shows the one that most have, unless a schema says\notherwise.",
		"rhizome vote service/db#/leader '\"web-1\"'")
}

func (a *app) incCmd() *cobra.Command {
	return a.command(spec{
		use: "inc KEY [N]", short: "Add N, or 1, to a counter",
		long:    "N is an integer and may be negative. What different nodes add at once adds up.",
		example: "rhizome inc host/web-1#/boots\nrhizome inc stock/bolts -12",
		codes:   reach(api.CodeValidation, api.CodeConflict), min: 1, max: 2, values: true,
		run: func(cmd *cobra.Command, args []string) error {
			n := int64(1)
			if len(args) == 2 {
				var err error
				if n, err = strconv.ParseInt(args[1], 10, 64); err != nil {
					return api.Problemf(api.CodeValidation, "N is %q, which is no integer in the range of int64", args[1])
				}
			}
			return a.commit(cmd, api.Op{Op: "inc", Key: args[0], N: &n})
		},
	})
}

// dots reads DOT arguments.
func dots(args []string) ([]clock.Dot, error) {
	out := make([]clock.Dot, len(args))
	for i, s := range args {
		var err error
		if out[i], err = clock.ParseDot(s); err != nil {
			return nil, api.NewProblem(api.CodeValidation, err.Error(), "get --lossless and log print dots")
		}
	}
	return out, nil
}

func (a *app) negateCmd() *cobra.Command {
	return a.command(spec{
		use: "negate DOT...", short: "Take back single deltas, by their dots",
		long: "The named values go from the state and what they hid comes not back: for that, see\n" +
			"undo. A counter's deltas cannot be negated; add the inverse.",
		example: "rhizome negate 4f0c…:17:0",
		codes:   reach(api.CodeNotFound, api.CodeValidation, api.CodeConflict, api.CodeGone), min: 1, max: -1,
		run: func(cmd *cobra.Command, args []string) error {
			d, err := dots(args)
			if err != nil {
				return err
			}
			return a.commit(cmd, api.Op{Op: "negate", Dots: d})
		},
	})
}

func (a *app) undoCmd() *cobra.Command {
	return a.command(spec{
		use: "undo TXN", short: "Write back what a transaction overwrote",
		long: "TXN is the name that the write printed, or the dot of any of its deltas. Keys that\n" +
			"changed since are left alone, and named. What was overwritten is kept as long as raw\n" +
			"history: below that, undo exits 12.",
		example: "rhizome undo 4f0c…:17:0",
		codes:   reach(api.CodeNotFound, api.CodeValidation, api.CodeConflict, api.CodeGone, api.CodeHorizon), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			d, err := dots(args)
			if err != nil {
				return err
			}
			return a.commit(cmd, api.Op{Op: "undo", Txn: &d[0]})
		},
	})
}

func (a *app) txnCmd() *cobra.Command {
	return a.command(spec{
		use: "txn [FILE|-]", short: "Commit operations from JSON Lines, all or none of them",
		long: `An operation a line, or one JSON array of them:

  {"op": "put", "key": "a#/b", "value": …, "if_match": ETAG, "skip_equal": BOOL}
  {"op": "rm", "key": "a", "if_match": ETAG}
  {"op": "add" | "remove" | "vote", "key": "a#/b", "value": …}
  {"op": "inc", "key": "a#/b", "n": 2}
  {"op": "negate", "dots": [DOT, …]}
  {"op": "undo", "txn": DOT}`,
		example: `printf '%s\n' '{"op":"inc","key":"stock/a","n":-1}' '{"op":"inc","key":"stock/b"}' | rhizome txn`,
		codes:   reach(api.CodeNotFound, api.CodeValidation, api.CodeConflict), max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			r, closeFile, err := a.input(args)
			if err != nil {
				return err
			}
			text, err := readAll(r, "the transaction")
			if err := errors.Join(err, closeFile()); err != nil {
				return err
			}
			ops, err := api.ReadOps(bytes.NewReader(text))
			if err != nil {
				return err
			}
			if _, err := api.DecodeOps(ops); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := c.CommitFrom(ctx, bytes.NewReader(text))
				if err != nil {
					return err
				}
				if a.out.json() {
					a.out.value(r)
				} else {
					a.printReceipt("", r)
				}
				return nil
			})
		},
	})
}

// input opens a FILE or - argument; without one, stdin.
func (a *app) input(args []string) (io.Reader, func() error, error) {
	if len(args) == 0 || args[0] == "-" {
		return a.In, func() error { return nil }, nil
	}
	f, err := openFile(args[0])
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// keyArg checks a KEY argument before a node is asked.
func keyArg(s string) error {
	if _, _, err := delta.ParseKey(s); err != nil {
		return api.Problemf(api.CodeValidation, "%v", err)
	}
	return nil
}
