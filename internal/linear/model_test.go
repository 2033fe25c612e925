// Package linear tests that conditional writes to one node are linearizable: as
// if each happened at one moment between its call and its answer. Clients read a
// key, and write it if its ETag is still what they read; the history is judged by
// porcupine (Athalye, "Porcupine: a fast linearizability checker in Go"; the
// algorithm is Wing and Gong's, with Lowe's and Horn and Kroening's speed-ups).
//
// A call that a kill has interrupted has an unknown outcome. It took effect before
// the next process began, or never does.
package linear

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// absent is the ETag of a key that holds nothing.
const absent = "absent"

// An outcome is what became of a call.
type outcome int

const (
	succeeded outcome = iota
	refused           // the precondition did not hold
	unknown
)

// A call is an operation: a read where match is empty, else a write on condition
// that the key's ETag is match.
type call struct {
	key   string
	match string
	value string
}

// An answer is what it returned: a read the value and its ETag, a write the ETag
// of what it wrote.
type answer struct {
	outcome outcome
	value   string
	etag    string
}

// A register is what a key holds; its ETag is empty where nobody has been told.
type register struct{ value, etag string }

// registers is a key-value store of which each key is a register that is compared
// and set.
var registers = (&porcupine.NondeterministicModel{
	Partition: byKey,
	Init:      func() []any { return []any{register{etag: absent}} },
	Step: func(state, input, output any) []any {
		return step(state.(register), input.(call), output.(answer))
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(call), output.(answer)
		if in.match == "" {
			return fmt.Sprintf("get %s -> %s %s", in.key, out.value, out.etag)
		}
		return fmt.Sprintf("put %s if %s = %s -> %s %s", in.key, in.match, in.value, [...]string{"ok", "refused", "?"}[out.outcome], out.etag)
	},
}).ToModel()

// step returns what a register may hold after a call, nothing where the answer
// cannot be.
func step(s register, in call, out answer) []any {
	if in.match == "" {
		if out.value == s.value && (out.etag == s.etag || s.etag == "") {
			return []any{register{out.value, out.etag}}
		}
		return nil
	}
	may, must := s.etag == in.match || s.etag == "" && in.match != absent, s.etag == in.match
	switch {
	case out.outcome == succeeded && may:
		return []any{register{in.value, out.etag}}
	case out.outcome == refused && !must, out.outcome == unknown && !may:
		return []any{s}
	case out.outcome == unknown:
		return []any{s, register{value: in.value}}
	}
	return nil
}

func byKey(history []porcupine.Operation) (out [][]porcupine.Operation) {
	places := make(map[string]int)
	for _, o := range history {
		key := o.Input.(call).key
		at, ok := places[key]
		if !ok {
			at = len(out)
			places[key] = at
			out = append(out, nil)
		}
		out[at] = append(out[at], o)
	}
	return out
}

// judgeTime bounds the search for an order: it takes milliseconds where there is
// one.
const judgeTime = time.Minute

func linearizable(t *testing.T, history []porcupine.Operation) bool {
	t.Helper()
	result := porcupine.CheckOperationsTimeout(registers, history, judgeTime)
	if result == porcupine.Unknown {
		t.Fatalf("not decided within %v", judgeTime)
	}
	return result == porcupine.Ok
}

// Histories that are known are judged rightly: two writes that both succeed from
// one ETag are not linearizable, nor is a read of what was overwritten before.
func TestModel(t *testing.T) {
	type op struct {
		from, to int64
		call
		answer
	}
	for _, c := range []struct {
		name string
		want bool
		ops  []op
	}{
		{"one after the other", true, []op{
			{0, 1, call{"k", absent, "a"}, answer{etag: "1"}},
			{2, 3, call{key: "k"}, answer{value: "a", etag: "1"}},
			{4, 5, call{"k", "1", "b"}, answer{etag: "2"}},
			{6, 7, call{"k", "1", "c"}, answer{outcome: refused}},
		}},
		{"two successes from one ETag", false, []op{
			{0, 1, call{"k", absent, "a"}, answer{etag: "1"}},
			{2, 6, call{"k", "1", "b"}, answer{etag: "2"}},
			{3, 7, call{"k", "1", "c"}, answer{etag: "3"}},
		}},
		{"two create what was absent", false, []op{
			{0, 5, call{"k", absent, "a"}, answer{etag: "1"}},
			{1, 6, call{"k", absent, "b"}, answer{etag: "2"}},
		}},
		{"a stale read", false, []op{
			{0, 1, call{"k", absent, "a"}, answer{etag: "1"}},
			{2, 3, call{"k", "1", "b"}, answer{etag: "2"}},
			{4, 5, call{key: "k"}, answer{value: "a", etag: "1"}},
		}},
		{"refused for no reason", false, []op{
			{0, 1, call{"k", absent, "a"}, answer{etag: "1"}},
			{2, 3, call{"k", "1", "b"}, answer{outcome: refused}},
		}},
		{"an unknown write took effect", true, []op{
			{0, 1, call{"k", absent, "a"}, answer{etag: "1"}},
			{2, 9, call{"k", "1", "b"}, answer{outcome: unknown}},
			{3, 4, call{key: "k"}, answer{value: "a", etag: "1"}},
			{5, 6, call{key: "k"}, answer{value: "b", etag: "2"}},
		}},
		{"an unknown write never took effect", true, []op{
			{0, 1, call{"k", absent, "a"}, answer{etag: "1"}},
			{2, 3, call{"k", "1", "b"}, answer{outcome: unknown}},
			{4, 5, call{key: "k"}, answer{value: "a", etag: "1"}},
		}},
		{"an unknown write came and went", false, []op{
			{0, 1, call{"k", absent, "a"}, answer{etag: "1"}},
			{2, 9, call{"k", "1", "b"}, answer{outcome: unknown}},
			{3, 4, call{key: "k"}, answer{value: "b", etag: "2"}},
			{5, 6, call{key: "k"}, answer{value: "a", etag: "1"}},
		}},
	} {
		var history []porcupine.Operation
		for i, o := range c.ops {
			history = append(history, porcupine.Operation{ClientId: i, Input: o.call, Call: o.from, Output: o.answer, Return: o.to})
		}
		if got := linearizable(t, history); got != c.want {
			t.Errorf("%s: linearizable %v, want %v", c.name, got, c.want)
		}
		// What comes of it does not depend on the order of the list.
		slices.Reverse(history)
		if got := linearizable(t, history); got != c.want {
			t.Errorf("%s, listed backwards: linearizable %v, want %v", c.name, got, c.want)
		}
	}
}
