package synthesize

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
)

// cases is how many random sets of fragments each law is held against.
const cases = 10_000

// A world draws sets of fragments that often meet: few names, few values.
type world struct{ *rand.Rand }

func newWorld(seed int) world { return world{rand.New(rand.NewPCG(uint64(seed), 5))} }

func (w world) value(depth int) any {
	switch n := w.IntN(12); {
	case depth > 0 && n < 5:
		m := map[string]any{}
		for range w.IntN(4) {
			m[string("abc/~"[w.IntN(5)])] = w.value(depth - 1)
		}
		return m
	case n < 6:
		return []any{w.value(0)}
	case n < 7:
		return map[string]any{"$ref": "host/" + string("ab"[w.IntN(2)])}
	case n < 8:
		return []any{nil, true, "x", "ü😀", -0.5, 1.0, 1e20, []byte("x"), map[string]any{}}[w.IntN(9)]
	}
	return int64(w.IntN(3))
}

// texts draws the texts of fragments, some with times and sources.
func (w world) texts() []string {
	var out []string
	for range 1 + w.IntN(5) {
		x := w.value(3)
		if w.IntN(3) == 0 {
			m := map[string]any{"data": x}
			if w.IntN(2) == 0 {
				m["time"] = int64(w.IntN(3))
			}
			if w.IntN(2) == 0 {
				m["source"] = string("xy"[w.IntN(2)])
			}
			x = m
		}
		out = append(out, string(delta.AppendAnyJSON(nil, x)))
	}
	return out
}

// shuffled returns the texts in another order, and some of them again.
func (w world) shuffled(texts []string) []string {
	out := slices.Clone(texts)
	for range w.IntN(4) {
		out = append(out, texts[w.IntN(len(texts))])
	}
	w.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

var policies = []string{"fail", "keep", lastWrite, firstWrite, "all", "sum", "author:of=x"}

// fold folds texts, each as a file of its own name.
func (w world) fold(t *testing.T, texts []string, policy string) (*Result, error) {
	t.Helper()
	var all []Fragment
	for _, text := range texts {
		f, err := Parse(fmt.Sprintf("%08x.json", w.Uint32()), []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, f...)
	}
	return Fold(all, options(t, policy))
}

// outcome is what a result or an error comes to, less the names of files.
func outcome(r *Result, err error) string {
	var c *ConflictError
	switch {
	case err == nil:
		return string(r.State) + outcomes(r.Conflicts)
	case errors.As(err, &c):
		return "conflicts" + outcomes(c.Conflicts)
	}
	return err.Error()
}

func outcomes(conflicts []Conflict) string {
	var b strings.Builder
	for _, c := range conflicts {
		fmt.Fprintf(&b, "\n%s %s", c.Path, c.Status)
		for _, v := range c.Values {
			fmt.Fprintf(&b, " %s", v.Value)
		}
	}
	return b.String()
}

// The same set of fragments gives the same bytes and the same conflicts in any
// order, however often each is there, and whatever the files are called.
func TestOrderAndRepetition(t *testing.T) {
	conflicts, states := 0, 0
	for seed := range cases {
		w := newWorld(seed)
		texts := w.texts()
		policy := policies[w.IntN(len(policies))]
		r, err := w.fold(t, texts, policy)
		want := outcome(r, err)
		if err != nil {
			conflicts++
		} else {
			states++
		}
		if got := outcome(w.fold(t, w.shuffled(texts), policy)); got != want {
			t.Fatalf("seed %d, %s: %s\ncame to %s\nand once to %s", seed, policy, texts, want, got)
		}
	}
	if conflicts < cases/20 || states < cases/4 {
		t.Errorf("%d conflicts and %d states: the cases say little", conflicts, states)
	}
}

// What was synthesized comes to itself, alone and beside what it is made of.
func TestIdempotence(t *testing.T) {
	for seed := range cases {
		w := newWorld(seed)
		texts := w.texts()
		policy := []string{"keep", lastWrite, firstWrite}[w.IntN(3)]
		r, err := w.fold(t, texts, policy)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		// An envelope, since the state itself may look like one.
		again, err := w.fold(t, []string{`{"data": ` + string(r.State) + `}`}, "fail")
		if err != nil || string(again.State) != string(r.State) {
			t.Fatalf("seed %d, %s: %s\ncame to %s\nand that to %s, %v", seed, policy, texts, r.State, outcome(again, err), err)
		}
		if policy != lastWrite {
			continue
		}
		newest := `{"time": 99, "data": ` + string(r.State) + `}`
		again, err = w.fold(t, append(texts, newest), policy)
		if want := agreed(t, texts, r.State); err != nil || want && string(again.State) != string(r.State) {
			t.Fatalf("seed %d: %s\ncame to %s\nand with that as the newest to %s, %v", seed, texts, r.State, outcome(again, err), err)
		}
	}
}

// agreed reports whether a state shows every path that its fragments have: else
// a path that a side lost with comes back beside a newer object, which has
// nothing to say of it.
func agreed(t *testing.T, texts []string, state []byte) bool {
	t.Helper()
	paths := leavesOf(t, string(state))
	for _, text := range texts {
		for p := range leavesOf(t, text) {
			if _, ok := paths[p]; !ok {
				return false
			}
		}
	}
	return true
}

// leavesOf returns the leaves of what a text says, as canonical text by path.
func leavesOf(t *testing.T, text string) map[delta.Path]string {
	t.Helper()
	f, err := Parse("a.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out := map[delta.Path]string{}
	for _, l := range f[0].leaves {
		out[l.Path] = string(canonical(anyOf(l.Value)))
	}
	return out
}

// No value is invented: under rules that pick, each leaf of the state is a leaf
// of a fragment, at the same path.
func TestNothingInvented(t *testing.T) {
	for seed := range cases {
		w := newWorld(seed)
		texts := w.texts()
		policy := []string{"fail", lastWrite, firstWrite, "author:of=x"}[w.IntN(4)]
		r, err := w.fold(t, texts, policy)
		if err != nil {
			continue
		}
		said := map[string]bool{}
		for _, text := range texts {
			for p, v := range leavesOf(t, text) {
				said[string(p)+" "+v] = true
			}
		}
		for p, v := range leavesOf(t, `{"data": `+string(r.State)+`}`) {
			if !said[string(p)+" "+v] && !(v == "{}" && p == "" && policy == "author:of=x") {
				t.Fatalf("seed %d, %s: %s\ncame to %s: nobody said %s at %q", seed, policy, texts, r.State, v, p)
			}
		}
	}
}

// Without conflicts nothing is lost: each leaf of a fragment is one of the
// state, but for empty objects that have members elsewhere.
func TestNothingLost(t *testing.T) {
	folded := 0
	for seed := range cases {
		w := newWorld(seed)
		texts := w.texts()
		r, err := w.fold(t, texts, "fail")
		if err != nil {
			continue
		}
		folded++
		shown := leavesOf(t, `{"data": `+string(r.State)+`}`)
		for _, text := range texts {
			for p, v := range leavesOf(t, text) {
				if shown[p] != v && v != "{}" {
					t.Fatalf("seed %d: %s\ncame to %s: %s at %q is lost", seed, texts, r.State, v, p)
				}
			}
		}
	}
	if folded < cases/20 {
		t.Errorf("only %d sets without a conflict", folded)
	}
}

// The state is JSON to anybody, and in its canonical form.
func TestCanonicalState(t *testing.T) {
	for seed := range cases / 10 {
		w := newWorld(seed)
		r, err := w.fold(t, w.texts(), "keep")
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(r.State) {
			t.Fatalf("seed %d: %s", seed, r.State)
		}
		x, _, err := parseAny(r.State)
		if err != nil || string(canonical(x)) != string(r.State) {
			t.Fatalf("seed %d: %s, %v", seed, r.State, err)
		}
	}
}
