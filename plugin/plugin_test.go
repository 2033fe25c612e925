package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// inputOf returns the input of a property whose survivors have these values, the
// first the newest. Their creators are c0, c1, c2, c0 and so on.
func inputOf(values ...any) *merge.Input {
	in := &merge.Input{
		Entity: "host/web-1", Path: "/load",
		Author: func(l clock.LaneID) string { return fmt.Sprintf("a%d", l[0]) },
	}
	for i, x := range values {
		v, err := delta.ValueOf(x)
		if err != nil {
			panic(err)
		}
		x, _ := v.Any()
		in.Values = append(in.Values, x)
		in.Survivors = append(in.Survivors, merge.Survivor{
			Dot:     clock.Dot{Lane: clock.LaneID{byte(i % 3)}, Seq: uint64(len(values) - i)},
			Time:    clock.TimestampAt(int64(len(values) - i)),
			Verb:    delta.Add,
			Creator: fmt.Sprintf("c%d", i%3),
			Value:   v,
		})
	}
	return in
}

// fixture returns the bytes of a module in testdata.
func fixture(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// module compiles a module of testdata.
func module(tb testing.TB, r *Runtime, name string) *Module {
	tb.Helper()
	m, err := r.Compile(context.Background(), fixture(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// expr compiles an expression.
func expr(tb testing.TB, text string) merge.Resolver {
	tb.Helper()
	r, err := CompileCEL(text, Limits{})
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return r
}

// kindOf returns the kind of a resolver's error, "" of none.
func kindOf(tb testing.TB, err error) merge.ErrorKind {
	tb.Helper()
	if err == nil {
		return ""
	}
	var p *merge.PropertyError
	if !errors.As(err, &p) {
		tb.Fatalf("error %v of type %T is no PropertyError", err, err)
	}
	return p.Kind
}

// patient are limits for tests of all others than that of time, which a busy
// machine would come upon first.
var patient = Limits{CallTime: time.Minute}
