package plugin

import (
	"errors"
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

// offered are the functions that an expression may call, macros being expanded.
// Left out are matches (its price does not bound its time, and the classes of
// Unicode differ between versions of Go), format (prints shared parts as often
// as they occur), type, and all of timestamps and durations (zones differ
// between hosts; what survivors carry are milliseconds).
var offered = []string{
	"_?_:_", "_&&_", "_||_", "!_", "-_", "@not_strictly_false", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_",
	"_+_", "_-_", "_*_", "_/_", "_%_", "_[_]", "@in", "cel.@mapInsert",
	"absent", "fail", "size", "bool", "bytes", "double", "dyn", "int", "string", "uint",
	"contains", "startsWith", "endsWith", "charAt", "indexOf", "lastIndexOf", "join", "split", "substring",
	"lowerAscii", "upperAscii", "replace", "reverse", "trim", "strings.quote",
	"distinct", "flatten", "slice", "sort", "@sortByAssociatedKeys", "lists.range",
	"sets.contains", "sets.intersects", "sets.equivalent",
	"math.@min", "math.@max", "math.abs", "math.ceil", "math.floor", "math.round", "math.trunc", "math.sign", "math.sqrt",
	"math.isNaN", "math.isInf", "math.isFinite",
	"math.bitAnd", "math.bitOr", "math.bitXor", "math.bitNot", "math.bitShiftLeft", "math.bitShiftRight",
}

// errAbsent is what absent() comes to.
var errAbsent = errors.New("absent")

// A failure is what fail(text) comes to.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }

// newEnv returns the environment of all expressions.
func newEnv() (*cel.Env, error) {
	return cel.NewEnv(
		cel.ParserRecursionLimit(maxNesting),
		cel.ParserExpressionSizeLimit(MaxExpressionBytes),
		cel.ParserErrorRecoveryLimit(1),
		cel.ExpressionNodeLimit(maxNodes),
		cel.Variable("survivors", cel.ListType(cel.MapType(cel.StringType, cel.DynType))),
		cel.Variable("values", cel.ListType(cel.DynType)),
		cel.Variable("deps", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("entity", cel.StringType),
		cel.Variable("path", cel.StringType),
		ext.Strings(ext.StringsVersion(5)), ext.Math(ext.MathVersion(2)), ext.Lists(ext.ListsVersion(4)), ext.Sets(),
		ext.Bindings(), ext.TwoVarComprehensions(),
		cel.Function("absent", cel.Overload("absent", nil, cel.DynType,
			cel.FunctionBinding(func(...ref.Val) ref.Val { return types.WrapErr(errAbsent) }))),
		cel.Function("fail", cel.Overload("fail_string", []*cel.Type{cel.StringType}, cel.DynType,
			cel.UnaryBinding(func(text ref.Val) ref.Val { return types.WrapErr(&failure{string(text.(types.String))}) }))),
	)
}

// scalars are the functions that the key of a map may come from.
var scalars = []string{"string", "int", "uint", "bool"}

// checkKeys refuses maps whose keys are not plainly scalars. The type of
// {x: x} is twice that of x, and where such maps nest the type checker would
// come to no end. It looks at what was parsed, before types are checked.
func checkKeys(a *ast.AST) (err error) {
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.MapKind {
			return
		}
		for _, entry := range e.AsMap().Entries() {
			key := entry.AsMapEntry().Key()
			call := key.Kind() == ast.CallKind && slices.Contains(scalars, key.AsCall().FunctionName())
			if !call && key.Kind() != ast.LiteralKind {
				err = errors.New("the key of a map must be a literal or string(…), int(…), uint(…) or bool(…)")
			}
		}
	}))
	return err
}

// checkOffered returns an error that names what an expression uses and may not.
func checkOffered(a *ast.AST) (err error) {
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.StructKind:
			err = errors.Join(err, fmt.Errorf("message %s: messages are not offered", e.AsStruct().TypeName()))
		case ast.CallKind:
			if name := e.AsCall().FunctionName(); !slices.Contains(offered, name) {
				err = errors.Join(err, fmt.Errorf("function %s is not offered", name))
			}
		}
	}))
	return err
}

// newProgram plans the evaluation: each call is priced before it is made, each
// node counts as a step, each value that is made is weighed, and each map is
// put in order.
func newProgram(env *cel.Env, checked *cel.Ast, limit uint64) (cel.Program, error) {
	opts := []cel.ProgramOption{
		cel.CostTracking(priceList{}),
		cel.CostLimit(limit),
		cel.CustomDecoratorV2(watch),
	}
	for name, fn := range env.Functions() {
		bindings, err := fn.Bindings()
		if err != nil {
			return nil, err
		}
		for _, b := range bindings {
			opts = append(opts, cel.Functions(priced(name, stable(b), limit))) //nolint:staticcheck // there is no other way to wrap what others declare
		}
		for _, o := range fn.OverloadDecls() {
			opts = append(opts, cel.CostTrackerOptions(cost.OverloadTracker(o.ID(), func(args []ref.Val, _ ref.Val) *uint64 {
				p := price(name, args)
				return &p
			})))
		}
	}
	return env.Program(checked, opts...)
}

// watch wraps the nodes of an evaluation.
func watch(n interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	switch n := n.(type) {
	case interpreter.InterpretableConst:
		return n, nil // a text of the expression itself
	case interpreter.InterpretableAttribute:
		return &watchedAttribute{n}, nil
	case interpreter.InterpretableCall:
		return &watchedCall{n}, nil
	case interpreter.InterpretableConstructor:
		return &watchedConstructor{n}, nil
	}
	return &watchedNode{n}, nil
}

type watchedAttribute struct {
	interpreter.InterpretableAttribute
}

func (n *watchedAttribute) Exec(f *interpreter.ExecutionFrame) ref.Val {
	step(f, n.ID(), 1)
	v := n.InterpretableAttribute.Exec(f)
	chargeError(f, n.ID(), v)
	return v // it was found, not made
}

type watchedCall struct{ interpreter.InterpretableCall }

func (n *watchedCall) Exec(f *interpreter.ExecutionFrame) ref.Val {
	step(f, n.ID(), 1)
	return made(f, n.ID(), n.InterpretableCall.Exec(f))
}

type watchedConstructor struct {
	interpreter.InterpretableConstructor
}

func (n *watchedConstructor) Exec(f *interpreter.ExecutionFrame) ref.Val {
	step(f, n.ID(), 1+len(n.InitVals()))
	return made(f, n.ID(), n.InterpretableConstructor.Exec(f))
}

type watchedNode struct{ interpreter.InterpretableV2 }

func (n *watchedNode) Exec(f *interpreter.ExecutionFrame) ref.Val {
	step(f, n.ID(), 1)
	return made(f, n.ID(), n.InterpretableV2.Exec(f))
}

// chargeError charges for the text of an error, which may quote a key of
// megabytes. That || may drop the error does not make it free.
func chargeError(f *interpreter.ExecutionFrame, id int64, v ref.Val) {
	if err, ok := v.(*types.Err); ok {
		step(f, id, len(err.Error())/10)
	}
}

func step(f *interpreter.ExecutionFrame, id int64, n int) {
	if costs := f.CostTracker(); costs != nil {
		for range n {
			costs.Qualify(id)
		}
	}
}

// made weighs a value that was made just now, and puts a map in order.
func made(f *interpreter.ExecutionFrame, id int64, v ref.Val) ref.Val {
	switch m := v.(type) {
	case *types.Err:
		chargeError(f, id, v)
		return v
	case types.String, types.Bytes:
		if textLength(v) <= maxWeight {
			return v
		}
	case traits.MutableLister, traits.MutableMapper:
		return v // a macro fills it; it is weighed when it is full
	case traits.Lister:
		if weigh(v) <= maxWeight {
			return v
		}
	case traits.Mapper:
		if weigh(v) <= maxWeight {
			return sorted(m)
		}
	default:
		return v
	}
	panic(interpreter.EvalCancelledError{Cause: interpreter.MemoryLimitExceeded, Message: "a value of more than the allowed size"})
}
