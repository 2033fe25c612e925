package merge

import (
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
)

// References are found from their target, through rows with siblings, and a
// reference to what is gone stays.
func TestRefs(t *testing.T) {
	ref := func(to string) any { return map[string]any{"$ref": to} }
	rows := func(p *pen, target string) (out []string) {
		for _, k := range p.mem.Refs(target) {
			e, path, _, err := ParseKey([]byte(k))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, e+string(path))
		}
		return out
	}
	want := func(p *pen, target string, want ...string) {
		t.Helper()
		if got := rows(p, target); !slices.Equal(got, want) {
			t.Errorf("%s is referred to by %q, want %q", target, got, want)
		}
	}
	ann, bob := newPen("ann"), newPen("bob")
	ann.put("f", "", 1)
	ann.put("e", "/owner", ref("f"))
	bob.put("e", "/owner", ref("f"))
	ann.put("g", "/a", ref("f"))
	ann.add("g", "/bag", ref("h"))
	want(ann, "f", "e/owner", "g/a")
	ann.take(bob) // two siblings that agree

	// One of two siblings goes: the row still refers.
	if err := ann.fold.Remove(AppendKey(nil, "e", "/owner", ""), func(d clock.Dot) bool { return d.Lane == bob.lane }); err != nil {
		t.Fatal(err)
	}
	want(ann, "f", "e/owner", "g/a")
	ann.drop("f", "")
	want(ann, "f", "e/owner", "g/a") // it dangles
	ann.put("e", "/owner", ref("h"))
	want(ann, "f", "g/a")
	want(ann, "h", "e/owner", "g/bag")
	ann.drop("g", "")
	want(ann, "f")
	if got := ann.mem.Targets(); !slices.Equal(got, []string{"h"}) {
		t.Errorf("targets %q", got)
	}
}

// What died is kept with its first killer, and every later one is known.
func TestBuried(t *testing.T) {
	ann, bob := newPen("ann"), newPen("bob")
	ann.put("e", "/x", 1)
	bob.take(ann)
	bob.drop("e", "")
	ann.put("e", "/x", 2)
	ann.take(bob)

	key := AppendKey(nil, "e", "/x", "")
	first := clock.Dot{Lane: ann.lane, Seq: 1}
	killers := []clock.Dot{{Lane: ann.lane, Seq: 2}, {Lane: bob.lane, Seq: 1}}
	if dead := ann.mem.Buried(key); len(dead) != 1 || dead[0].Dot != first || dead[0].Killer != killers[0] {
		t.Errorf("buried %v", dead)
	}
	if got := ann.mem.Killers(key, first); !slices.Equal(got, killers) {
		t.Errorf("killers %v, want %v", got, killers)
	}
	if got := ann.mem.Killers(key, killers[0]); len(got) != 0 {
		t.Errorf("killers of the living: %v", got)
	}
}

// A clone and its original go their own ways.
func TestClone(t *testing.T) {
	ann := newPen("ann")
	ann.put("e", "/x", map[string]any{"$ref": "f"})
	ann.put("e", "/x", map[string]any{"$ref": "g"})
	before := ann.describe(true)
	twin := &pen{writer: &writer{ann.clone(), ann.lane}}
	twin.drop("e", "")
	twin.put("f", "", 1)
	if got := ann.describe(true); got != before {
		t.Errorf("the original became %s, was %s", got, before)
	}
	after := twin.describe(true)
	ann.put("e", "/x", 5)
	ann.put("e", "/y", 5)
	if got := twin.describe(true); got != after {
		t.Errorf("the clone became %s, was %s", got, after)
	}
}
