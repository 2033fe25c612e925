package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/merge/schema"
	"github.com/rhizome-p2p/rhizome/synthesize"
)

// synthesizeFlags are the flags of synthesize as they were given.
type synthesizeFlags struct {
	input, output      string
	schema, onConflict string
	report, mode       string
}

// synthesizeMode is the one mode there is: the program without a node.
const synthesizeMode = "synthesize"

func (a *app) synthesizeCmd() *cobra.Command {
	var f synthesizeFlags
	cmd := a.command(spec{
		use:   "synthesize --input-dir DIR --output-path FILE [--schema FILE] [--on-conflict fail|keep|RESOLVER] [--report FILE]",
		short: "Merge a directory of fragments into one state, without a node",
		long: `Reads every file in DIR and below it (JSON, TOML, YAML; hidden ones are left out),
merges what they say with the rules of the database, and replaces FILE as a whole by
the merged document: canonical JSON (RFC 8785, but integers print exactly). The same set
of fragments gives the same bytes, in any order, repeated any number of times, anywhere.
No repo and no node are needed.

A file may be an envelope, {"source": TEXT, "time": TIME, "data": …}, which says who wrote
it and when, as RFC 3339 or in milliseconds since 1970. A fragment without a time is the
oldest; equal times are in the order of the canonical bytes.

Fragments that say different things at one path are in conflict. A conflict is decided by
the schema's resolver of the property, else as --on-conflict says:
  fail      write nothing, exit 8, and tell path, values and sources
  keep      write {"$conflict": [values…]} in its place
  RESOLVER  the built-in resolver of that name, as last-write-wins, or with parameters,
            as concat:separator=;,order=sorted
A fragment that cannot be read, or that breaks the schema: exit 7 with file, line and
path, and FILE is left as it was.`,
		example: "rhizome synthesize --input-dir conf.d --output-path conf.json\n" +
			"rhizome synthesize --input-dir conf.d --output-path conf.json --on-conflict last-write-wins --report conflicts.json",
		max: 0, bare: true,
		codes: []api.Code{api.CodeValidation, api.CodeConflict},
		run:   func(cmd *cobra.Command, _ []string) error { return a.synthesize(cmd, &f) },
	})
	fl := cmd.Flags()
	fl.StringVar(&f.input, "input-dir", "", "read the fragments in this directory")
	fl.StringVar(&f.output, "output-path", "", "write the state to this file, which is not in the directory")
	fl.StringVar(&f.schema, "schema", "", "check fragments and state by the schema in this file, and decide by its resolvers")
	fl.StringVar(&f.onConflict, "on-conflict", "fail", "fail, keep, or a resolver, for conflicts that the schema leaves open")
	fl.StringVar(&f.report, "report", "", "write all conflicts and mistakes to this file, as JSON")
	fl.StringVar(&f.mode, "mode", synthesizeMode, "synthesize is the only one")
	return cmd
}

// takeMode makes "--mode synthesize" without a command the command.
func takeMode(root *cobra.Command, args []string) ([]string, error) {
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return args, nil // a shell asks for completions
	}
	// An error is one of the arguments, and whoever runs them reports it.
	if cmd, _, _ := root.Find(args); cmd != root {
		return args, nil
	}
	for i, arg := range args {
		mode, given := strings.CutPrefix(arg, "--mode=")
		switch {
		case arg == "--":
			return args, nil
		case arg == "--mode" && i+1 < len(args):
			mode, given = args[i+1], true
		}
		if given && mode != synthesizeMode {
			return args, usage(root, "unknown mode %q: there is %s", mode, synthesizeMode)
		}
		if given {
			return append([]string{synthesizeMode}, args...), nil
		}
	}
	return args, nil
}

// options are what the flags say.
func (f *synthesizeFlags) options(cmd *cobra.Command) (*synthesize.Options, error) {
	switch {
	case f.input == "" || f.output == "":
		return nil, usage(cmd, "%s: --input-dir and --output-path are needed", cmd.CommandPath())
	case f.mode != synthesizeMode:
		return nil, usage(cmd, "%s: unknown mode %q: there is %s", cmd.CommandPath(), f.mode, synthesizeMode)
	}
	if err := f.checkFiles(); err != nil {
		return nil, err
	}
	for _, pair := range [][4]string{
		{f.report, "--report", f.output, "--output-path"}, {f.schema, "--schema", f.output, "--output-path"}, {f.schema, "--schema", f.report, "--report"},
	} {
		if pair[0] == "" || pair[2] == "" {
			continue
		}
		same, err := synthesize.SameFile(pair[0], pair[2])
		if err != nil {
			return nil, err
		}
		if same {
			return nil, usage(cmd, "%s: %s and %s are one file", cmd.CommandPath(), pair[1], pair[3])
		}
	}
	for _, name := range []string{f.output, f.report} {
		if name == "" {
			continue
		}
		inside, err := synthesize.Inside(f.input, name)
		if err != nil {
			return nil, err
		}
		if inside {
			return nil, usage(cmd, "%s: %s lies in %s, and would be read the next time", cmd.CommandPath(), name, f.input)
		}
	}
	policy, err := synthesize.ParsePolicy(f.onConflict, merge.Builtin)
	if err != nil {
		return nil, usage(cmd, "%s: --on-conflict %s: %v", cmd.CommandPath(), f.onConflict, err)
	}
	o := &synthesize.Options{Policy: policy}
	if f.schema == "" {
		return o, nil
	}
	text, err := synthesize.ReadFile(f.schema)
	if err != nil {
		return nil, f.schemaProblem(err)
	}
	if o.Schema, err = schemaOf(text); err != nil {
		return nil, api.Problemf(api.CodeValidation, "%s: %v", f.schema, err)
	}
	return o, nil
}

// checkFiles refuses what is no file where one is named, before anything is
// opened. What is not there passes.
func (f *synthesizeFlags) checkFiles() error {
	for _, name := range []string{f.output, f.report} {
		if err := synthesize.CheckRegular(name); errors.Is(err, synthesize.ErrNotRegular) {
			return api.NewProblem(api.CodeError, "write "+err.Error(), "it would be replaced as a whole: name a file, or what is not there yet")
		}
	}
	if err := synthesize.CheckRegular(f.schema); errors.Is(err, synthesize.ErrNotRegular) {
		return f.schemaProblem(err)
	}
	return nil
}

// schemaProblem says why a schema cannot be read.
func (f *synthesizeFlags) schemaProblem(err error) error {
	err = fmt.Errorf("read the schema: %w", err)
	if errors.Is(err, synthesize.ErrNotRegular) {
		return api.NewProblem(api.CodeValidation, err.Error(), "write the schema to a file, and name that")
	}
	return err
}

// A compiledSchema is a schema that fragments are held against.
type compiledSchema struct{ *schema.Compiled }

// Bag reports whether the property at a path is a bag.
func (s compiledSchema) Bag(p delta.Path) bool {
	return slices.ContainsFunc(s.Schema.Properties, func(x schema.Property) bool {
		return x.Verb == schema.Bag && synthesize.Matches(x.Path, p)
	})
}

// schemaOf compiles a schema that stands alone.
func schemaOf(text []byte) (synthesize.Schema, error) {
	s, err := schema.Parse(text)
	if err != nil {
		return nil, err
	}
	c := schema.NewCatalog([]*schema.Schema{s}, merge.Builtin, nil)
	if p := c.Problems(); len(p) > 0 {
		return nil, errors.New(p[0].Text)
	}
	return compiledSchema{c.Schemas()[0]}, nil
}

func (a *app) synthesize(cmd *cobra.Command, f *synthesizeFlags) error {
	o, err := f.options(cmd)
	if err != nil {
		return err
	}
	r, cause := synthesizeDir(cmd.Context(), f.input, o)
	problem := synthesizeProblem(cause, f)
	if cause != nil && problem == nil {
		return cause
	}
	if f.report != "" {
		text, err := synthesize.NewReport(r, cause).JSON()
		if err == nil {
			err = synthesize.WriteFile(f.report, text)
		}
		if err != nil {
			return errors.Join(problem, fmt.Errorf("write the report: %w", err))
		}
	}
	if problem != nil {
		return problem
	}
	if err := synthesize.WriteFile(f.output, r.State); err != nil {
		return err
	}
	a.printSynthesis(f, r)
	return nil
}

// synthesizeDir merges what is in a directory.
func synthesizeDir(ctx context.Context, dir string, o *synthesize.Options) (*synthesize.Result, error) {
	files, err := synthesize.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []synthesize.Fragment
	var errs synthesize.Errors
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		fragments, err := synthesize.Parse(file.Name, file.Text)
		if err != nil {
			errs = append(errs, err)
		}
		all = append(all, fragments...)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	r, err := synthesize.Fold(all, o)
	return r, errors.Join(err, ctx.Err())
}

// synthesizeProblem returns what an error says is wrong with the fragments, nil
// where it is about something else.
func synthesizeProblem(err error, f *synthesizeFlags) error {
	var conflict *synthesize.ConflictError
	var mistakes synthesize.Errors
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &conflict):
		return api.NewProblem(api.CodeConflict, err.Error(), "decide them with --on-conflict or a schema; --report FILE has all of them")
	case errors.As(err, &mistakes):
		return api.NewProblem(api.CodeValidation, err.Error(), f.output+" is as it was")
	case errors.Is(err, synthesize.ErrNotDir):
		return api.NewProblem(api.CodeValidation, err.Error(), "name the directory that holds the fragments")
	case errors.Is(err, synthesize.ErrNoFragments):
		return api.NewProblem(api.CodeValidation, f.input+": "+err.Error(), "the directory holds no file, or only hidden ones")
	}
	return nil
}

// synthesis is what synthesize prints as JSON.
type synthesis struct {
	Fragments int    `json:"fragments"`
	Distinct  int    `json:"distinct"`
	Output    string `json:"output"`
	Bytes     int    `json:"bytes"`
	SHA256    string `json:"sha256"`
	// Conflicts are those that were kept, Resolved those that a rule decided.
	Conflicts int `json:"conflicts"`
	Resolved  int `json:"resolved"`
}

func (a *app) printSynthesis(f *synthesizeFlags, r *synthesize.Result) {
	for _, text := range r.Alarms {
		a.note("%s", text)
	}
	sum := sha256.Sum256(r.State)
	s := synthesis{
		Fragments: r.Fragments, Distinct: r.Distinct, Output: f.output, Bytes: len(r.State), SHA256: hex.EncodeToString(sum[:]),
	}
	for _, c := range r.Conflicts {
		if c.Status == synthesize.Kept {
			s.Conflicts++
		} else {
			s.Resolved++
		}
	}
	switch {
	case a.out.json():
		a.out.value(s)
	case a.out.form == "raw":
		a.out.printf("%s\n", s.SHA256)
	default:
		a.out.pairs(
			"fragments", fmt.Sprintf("%d, %d of them different", s.Fragments, s.Distinct),
			"conflicts", fmt.Sprintf("%d kept, %d decided by a rule", s.Conflicts, s.Resolved),
			"output", s.Output,
			"bytes", fmt.Sprint(s.Bytes),
			"sha256", s.SHA256,
		)
	}
}
