package history

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A tiny is a history of few operations, for which all orders can be tried.
type tiny struct {
	ops []Op
	co  [][]bool
}

// orders calls f with each strict partial order that holds session order and
// reads-from, until f returns true. It reports whether f did.
func (t *tiny) orders(f func() bool) bool {
	n := len(t.ops)
	base := make([][]bool, n)
	t.co = make([][]bool, n)
	for i := range t.ops {
		base[i], t.co[i] = make([]bool, n), make([]bool, n)
	}
	for i, a := range t.ops {
		for j, b := range t.ops {
			base[i][j] = i < j && a.Session == b.Session ||
				a.Kind == KindWrite && b.Kind == KindRead && a.Key == b.Key && slices.Contains(b.Values, a.Value)
		}
	}
	var pairs [][2]int
	for i := range n {
		for j := range i {
			pairs = append(pairs, [2]int{j, i})
		}
	}
	var try func(at int) bool
	try = func(at int) bool {
		if at == len(pairs) {
			return t.transitive() && f()
		}
		i, j := pairs[at][0], pairs[at][1]
		for _, way := range [][2]bool{{false, false}, {true, false}, {false, true}} {
			if base[i][j] && !way[0] || base[j][i] && !way[1] {
				continue
			}
			t.co[i][j], t.co[j][i] = way[0], way[1]
			if try(at + 1) {
				return true
			}
		}
		return false
	}
	return try(0)
}

func (t *tiny) transitive() bool {
	for i := range t.ops {
		for j := range t.ops {
			for k := range t.ops {
				if t.co[i][j] && t.co[j][k] && !t.co[i][k] {
					return false
				}
			}
		}
	}
	return true
}

// sequences calls f with each sequence of some operations that keeps co, until f
// returns true.
func (t *tiny) sequences(of []int, f func(seq []int) bool) bool {
	var seq []int
	var try func() bool
	try = func() bool {
		if len(seq) == len(of) {
			return f(seq)
		}
		for _, i := range of {
			if slices.Contains(seq, i) || slices.ContainsFunc(of, func(j int) bool { return t.co[j][i] && !slices.Contains(seq, j) }) {
				continue
			}
			seq = append(seq, i)
			if try() {
				return true
			}
			seq = seq[:len(seq)-1]
		}
		return false
	}
	return try()
}

func (t *tiny) past(o int) (out []int) {
	for i := range t.ops {
		if i == o || t.co[i][o] {
			out = append(out, i)
		}
	}
	return out
}

// right reports whether a sequence explains what an operation in it returned.
func (t *tiny) right(seq []int, o int) bool {
	op := t.ops[o]
	if op.Kind == KindWrite {
		return true
	}
	var last []string
	for _, i := range seq {
		if i == o {
			return slices.Equal(last, op.Values)
		}
		if t.ops[i].Kind == KindWrite && t.ops[i].Key == op.Key {
			last = []string{t.ops[i].Value}
		}
	}
	return false
}

// lossy says that each operation is explained by some sequence of its past: CC of
// the paper; with all, also what its session returned before it,
// CM.
func (t *tiny) lossy(all bool) bool {
	for o := range t.ops {
		past := t.past(o)
		if !t.sequences(past, func(seq []int) bool {
			for _, i := range past {
				if (i == o || all && i < o && t.ops[i].Session == t.ops[o].Session) && !t.right(seq, i) {
					return false
				}
			}
			return true
		}) {
			return false
		}
	}
	return true
}

// convergent says that one sequence of all operations explains each, of its past:
// CCv.
func (t *tiny) convergent() bool {
	all := make([]int, len(t.ops))
	for i := range all {
		all[i] = i
	}
	return t.sequences(all, func(seq []int) bool {
		for o := range t.ops {
			past := t.past(o)
			var own []int
			for _, i := range seq {
				if slices.Contains(past, i) {
					own = append(own, i)
				}
			}
			if !t.right(own, o) {
				return false
			}
		}
		return true
	})
}

// register says that each read returns what the package documentation says.
func (t *tiny) register() bool {
	for o, op := range t.ops {
		if op.Kind != KindRead {
			continue
		}
		var most []string
		for i, w := range t.ops {
			if w.Kind == KindWrite && w.Key == op.Key && t.co[i][o] && !t.overwritten(i, o) {
				most = append(most, w.Value)
			}
		}
		back := slices.Clone(op.Values)
		slices.Sort(back)
		slices.Sort(most)
		if op.Lossless && !slices.Equal(back, most) || len(back) == 0 && len(most) > 0 || len(back) > 0 && !slices.Contains(most, back[0]) {
			return false
		}
	}
	return true
}

func (t *tiny) overwritten(w, o int) bool {
	for i, x := range t.ops {
		if x.Kind == KindWrite && x.Key == t.ops[o].Key && t.co[w][i] && t.co[i][o] {
			return true
		}
	}
	return false
}

// drawTiny draws any history, most of which no store would show.
func drawTiny(t *rapid.T, most int, lossless bool) []Op {
	n := rapid.IntRange(2, most).Draw(t, "operations")
	keys := rapid.IntRange(1, 2).Draw(t, "keys")
	ops := make([]Op, n)
	values := make(map[string][]string)
	for i := range ops {
		o := Op{
			Session: fmt.Sprint("s", rapid.IntRange(0, 2).Draw(t, "session")), Key: fmt.Sprint("k", rapid.IntRange(0, keys-1).Draw(t, "key")),
			Kind: KindRead,
		}
		if rapid.Bool().Draw(t, "write") {
			o.Kind, o.Value = KindWrite, fmt.Sprint("v", i)
			values[o.Key] = append(values[o.Key], o.Value)
		}
		ops[i] = o
	}
	for i := range ops {
		o := &ops[i]
		if o.Kind != KindRead || len(values[o.Key]) == 0 {
			continue
		}
		if o.Lossless = lossless && rapid.IntRange(0, 3).Draw(t, "lossless") > 0; o.Lossless {
			for _, v := range values[o.Key] {
				if rapid.Bool().Draw(t, "returned") {
					o.Values = append(o.Values, v)
				}
			}
		} else if at := rapid.IntRange(-1, len(values[o.Key])-1).Draw(t, "value"); at >= 0 {
			o.Values = []string{values[o.Key][at]}
		}
	}
	return ops
}

// tinyOps is the largest history of which all orders are tried in a test.
const tinyOps = 5

// checkMany checks a property as often as it takes for rare histories.
func checkMany(t *testing.T, prop func(*rapid.T)) {
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			prop(t)
		}
	})
}

// Of tiny histories of lossy reads, the bad patterns reject exactly those that
// the paper's definitions reject, tried with all orders.
func TestLossyAgreesWithDefinition(t *testing.T) {
	seen := make(map[string]int)
	checkMany(t, func(t *rapid.T) {
		ops := drawTiny(t, tinyOps, false)
		for m, holds := range map[Model]func(*tiny) bool{
			CC: func(b *tiny) bool { return b.lossy(false) }, CM: func(b *tiny) bool { return b.lossy(true) }, CCv: (*tiny).convergent,
		} {
			b := &tiny{ops: ops}
			want := b.orders(func() bool { return holds(b) })
			err := Check(ops, m)
			if (err == nil) != want {
				t.Fatalf("%s: the definition says %v, the patterns %v\n%v", m, want, err, ops)
			}
			seen[fmt.Sprint(m, " ", want)]++
		}
	})
	for _, m := range []Model{CC, CM, CCv} {
		if seen[fmt.Sprint(m, " true")] == 0 || seen[fmt.Sprint(m, " false")] == 0 {
			t.Errorf("%s: both ways must come up: %v", m, seen)
		}
	}
}

// Of tiny histories of lossless and lossy reads, exactly those are rejected for
// which no order is a multi-value register's.
func TestLosslessAgreesWithDefinition(t *testing.T) {
	good, bad := 0, 0
	checkMany(t, func(t *rapid.T) {
		ops := drawTiny(t, tinyOps, true)
		b := &tiny{ops: ops}
		want := b.orders(b.register)
		report, err := Examine(ops, CC)
		if (err == nil) != want || report.Proven != want {
			t.Fatalf("the definition says %v, the patterns %v\n%v", want, err, ops)
		}
		if want {
			good++
		} else {
			bad++
		}
	})
	if good == 0 || bad == 0 {
		t.Errorf("%d accepted, %d rejected: both must come up", good, bad)
	}
}
