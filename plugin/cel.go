package plugin

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// CompileCEL returns the resolver that an expression describes, or what is wrong
// with the expression.
func CompileCEL(expr string, l Limits) (r merge.Resolver, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("cel: %v", p)
		}
	}()
	if len(expr) > MaxExpressionBytes {
		return nil, fmt.Errorf("cel: expression of %d bytes, at most %d are allowed", len(expr), MaxExpressionBytes)
	}
	env, err := newEnv()
	if err != nil {
		return nil, fmt.Errorf("cel: %w", err)
	}
	checked, err := parse(env, expr)
	if err != nil {
		return nil, fmt.Errorf("cel: %s", shorten(err.Error()))
	}
	program, err := newProgram(env, checked, l.withDefaults().Cost)
	if err != nil {
		return nil, fmt.Errorf("cel: %w", err)
	}
	return &expression{program}, nil
}

// parse parses an expression, and checks its types and what it uses.
func parse(env *cel.Env, expr string) (*cel.Ast, error) {
	parsed, issues := env.Parse(expr)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	if err := checkKeys(parsed.NativeRep()); err != nil {
		return nil, err
	}
	checked, issues := env.Check(parsed)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	return checked, checkOffered(checked.NativeRep())
}

// An expression is a compiled CEL expression.
type expression struct{ program cel.Program }

// Resolve evaluates the expression.
func (x *expression) Resolve(in *merge.Input) (out merge.Output, err error) {
	// The library recovers what its own code panics with; this is for ours.
	defer func() {
		if p := recover(); p != nil {
			out, err = merge.Output{}, merge.Failf(merge.ErrorFailed, "cel: %v", p)
		}
	}()
	result, _, err := x.program.Eval(&variables{in: in, known: map[string]ref.Val{}})
	if err != nil {
		return outcome(err)
	}
	e := exporter{left: delta.MaxValueBytes}
	value, err := e.value(result, 0)
	if err == nil {
		value, err = asValue(value)
	}
	if err != nil {
		return merge.Output{}, merge.Failf(merge.ErrorOutput, "cel: the result is no value: %v", err)
	}
	return merge.Output{Value: value, Why: "cel"}, nil
}

// outcome says what the error of an evaluation means.
func outcome(err error) (merge.Output, error) {
	if errors.Is(err, errAbsent) {
		return merge.Output{Absent: true, Why: "cel"}, nil
	}
	var failed *failure
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.As(err, &failed):
		return merge.Output{}, merge.Failf(merge.ErrorFailed, "%s", shorten(failed.text))
	case !errors.As(err, &cancelled):
		return merge.Output{}, merge.Failf(merge.ErrorFailed, "cel: %s", shorten(err.Error()))
	case cancelled.Cause == interpreter.MemoryLimitExceeded:
		return merge.Output{}, merge.Failf(merge.ErrorMemory, "cel: %s", cancelled.Message)
	}
	return merge.Output{}, merge.Failf(merge.ErrorCost, "cel: %s", cancelled.Message)
}

// variables are what an expression sees, made when it first looks.
type variables struct {
	in    *merge.Input
	known map[string]ref.Val
}

// ResolveName returns a variable.
func (v *variables) ResolveName(name string) (any, bool) {
	if x, ok := v.known[name]; ok {
		return x, true
	}
	x := v.make(name)
	if x == nil {
		return nil, false
	}
	v.known[name] = x
	return x, true
}

// Parent is part of the interface of the library.
func (v *variables) Parent() cel.Activation { return nil }

func (v *variables) make(name string) ref.Val {
	switch name {
	case "entity":
		return types.String(v.in.Entity)
	case "path":
		return types.String(v.in.Path)
	case "deps":
		return toCEL(v.in.Deps)
	case "values":
		return toCEL(v.in.Values)
	case "survivors":
		values, _ := v.ResolveName("values")
		list := values.(interface{ Get(ref.Val) ref.Val })
		out := make([]ref.Val, len(v.in.Survivors))
		for i := range out {
			s := &v.in.Survivors[i]
			out[i] = &sortedMap{Mapper: types.NewRefValMap(types.DefaultTypeAdapter, map[ref.Val]ref.Val{
				types.String("value"):   list.Get(types.Int(i)),
				types.String("verb"):    types.String(s.Verb.String()),
				types.String("time"):    types.Int(s.Time.Millis()),
				types.String("creator"): types.String(v.in.CreatorOf(i)),
				types.String("author"):  types.String(v.in.AuthorOf(i)),
				types.String("dot"):     types.String(s.Dot.String()),
			})}
		}
		return types.NewRefValList(types.DefaultTypeAdapter, out)
	}
	return nil
}
