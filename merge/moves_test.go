package merge

import (
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
)

// toB moves all at and below /a to /b, values at /a that are strings being an
// error there.
func toB(p delta.Path, value any) ([]Moved, error) {
	if !under("/a", p) {
		return []Moved{{p, value}}, nil
	}
	to := Moved{"/b" + p[len("/a"):], value}
	if _, bad := value.(string); bad {
		return []Moved{to}, Failf(ErrorType, "a string")
	}
	return []Moved{to}, nil
}

// Sources are the outermost of the origins, and the paths above them.
func TestSources(t *testing.T) {
	origins := map[delta.Path][]delta.Path{"/p": {"/a/b", "/a/b/c", "/a/b-c"}, "/q": {"/d/e/f", "/a"}}
	rules := &Rules{Moves: []Move{toB}, Origins: func(p delta.Path) []delta.Path { return slices.Clone(origins[p]) }}
	for _, c := range []struct {
		rules        *Rules
		paths        []delta.Path
		below, exact []delta.Path
	}{
		{nil, []delta.Path{"/p"}, nil, nil},
		{&Rules{}, []delta.Path{"/p"}, nil, nil},
		{&Rules{Moves: rules.Moves}, []delta.Path{"/p"}, []delta.Path{""}, nil},
		{rules, []delta.Path{"/x/y"}, nil, []delta.Path{"", "/x"}},
		{rules, []delta.Path{"/p"}, []delta.Path{"/a/b", "/a/b-c"}, []delta.Path{"", "/a"}},
		{rules, []delta.Path{"/p", "/q"}, []delta.Path{"/a", "/d/e/f"}, []delta.Path{"", "/d", "/d/e"}},
	} {
		below, exact := c.rules.Sources(c.paths...)
		if !slices.Equal(below, c.below) || !slices.Equal(exact, c.exact) {
			t.Errorf("%q: %q and %q, want %q and %q", c.paths, below, exact, c.below, c.exact)
		}
	}
}

// An ETag is that of the survivors that are read at a path, wherever they stand,
// also where they are read as an error.
func TestETagOfMoved(t *testing.T) {
	p := newPen("ann")
	rules := &Rules{Moves: []Move{toB}}
	tag := func(at delta.Path) string {
		t.Helper()
		sum, found, err := ETag(p.mem, "e", at, rules)
		r, shown, err2 := ReadWith(p.mem, "e", at, rules)
		if err != nil || err2 != nil || found != shown || r.ETag != sum {
			t.Errorf("%s: etag %v %v %v, and of a read %v %v %v", at, sum, found, err, r.ETag, shown, err2)
		}
		return sum.String()
	}
	none := tag("/b")
	p.put("e", "/a/x", 1)
	one := tag("/b")
	if one == none || tag("/a") != none || tag("/b/x") != one {
		t.Errorf("of nothing %s, of one %s, where it stands %s", none, one, tag("/a"))
	}
	p.put("e", "/c", 1)
	if tag("/b") != one || tag("") == one {
		t.Error("what is elsewhere counts")
	}
	p.put("e", "/a/x", "bad")
	if tag("/b") == one || tag("/b") == none {
		t.Error("what cannot be moved does not count")
	}
	r, _, err := ReadWith(p.mem, "e", "/b", rules)
	if err != nil || len(r.Errors) != 1 || r.Errors[0].Path != "/b/x" {
		t.Errorf("errors %v, %v", r.Errors, err)
	}
}

// An assignment alone takes the place of its siblings, and of nothing above or
// below.
func TestPlanAssignAlone(t *testing.T) {
	ann, bob, carol := newPen("ann"), newPen("bob"), newPen("carol")
	ann.put("e", "/a", 1)
	bob.put("e", "/a/b", 2)
	carol.put("e", "/a/b/c", 3)
	ann.take(bob, carol)
	d, err := PlanAssignAlone(ann.mem, "e", "/a/b", delta.Int(5))
	check(err)
	ann.write("", d)
	r, _, err := Read(ann.mem, "e", "")
	check(err)
	var got []string
	for _, p := range r.Properties {
		for i := range p.Survivors {
			got = append(got, string(p.Path)+"="+string(delta.AppendAnyJSON(nil, p.Survivors[i].reads())))
		}
	}
	if want := []string{"/a=1", "/a/b=5", "/a/b/c=3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
