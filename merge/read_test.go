package merge

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
)

// What reads show, told as stories. ann, bob and cyn write apart and then one
// of them reads with all that the others wrote.
func TestReadStories(t *testing.T) {
	for _, c := range []struct {
		name      string
		story     func(ann, bob, cyn *pen)
		want      string // the lossy document, as JSON; empty where nothing lives
		conflicts string // paths; empty for none
	}{
		{
			name: "nothing was written",
			story: func(_, _, _ *pen) {
			},
		},
		{
			name: "one value is itself",
			story: func(ann, _, _ *pen) {
				ann.put("e", "", 1)
			},
			want: `1`,
		},
		{
			name: "fields make a document",
			story: func(ann, bob, _ *pen) {
				ann.put("e", "/cpu/cores", 8)
				bob.put("e", "/cpu/model", "x")
				bob.put("e", "/name", nil)
			},
			want: `{"cpu":{"cores":8,"model":"x"},"name":null}`,
		},
		{
			name: "names of fields may hold anything",
			story: func(ann, _, _ *pen) {
				ann.put("e", delta.Path("").Child("a/b").Child("~"), 1)
				ann.put("e", delta.Path("").Child(""), 2)
				ann.put("e", delta.Path("").Child("\x00"), 3)
			},
			want: `{"":2,"\u0000":3,"a/b":{"~":1}}`,
		},
		{
			name: "arrays and empty objects are leaves",
			story: func(ann, _, _ *pen) {
				ann.put("e", "/list", []any{1, "x"})
				ann.put("e", "/none", map[string]any{})
			},
			want: `{"list":[1,"x"],"none":{}}`,
		},
		{
			name: "who has seen a value overwrites it, whatever the clocks say",
			story: func(ann, bob, _ *pen) {
				ann.at(9e9).put("e", "/x", "first")
				bob.take(ann)
				bob.at(1).put("e", "/x", "second")
			},
			want: `{"x":"second"}`,
		},
		{
			name: "of concurrent values the newest shows, as a conflict",
			story: func(ann, bob, _ *pen) {
				ann.at(5).put("e", "/x", "later")
				bob.at(4).put("e", "/x", "sooner")
			},
			want:      `{"x":"later"}`,
			conflicts: `["/x"]`,
		},
		{
			name: "at one time the greater lane wins",
			story: func(ann, bob, _ *pen) {
				ann.at(5).put("e", "/x", "ann's")
				bob.at(5).put("e", "/x", "bob's")
			},
			want:      `{"x":"bob's"}`,
			conflicts: `["/x"]`,
		},
		{
			name: "who agrees is in no conflict",
			story: func(ann, bob, _ *pen) {
				ann.put("e", "/x", "same")
				bob.put("e", "/x", "same")
			},
			want: `{"x":"same"}`,
		},
		{
			name: "a null is a value like others",
			story: func(ann, bob, _ *pen) {
				ann.at(4).put("e", "/x", 1)
				bob.at(5).put("e", "/x", nil)
			},
			want:      `{"x":null}`,
			conflicts: `["/x"]`,
		},
		{
			name: "an overwrite settles a conflict",
			story: func(ann, bob, _ *pen) {
				ann.put("e", "/x", 1)
				bob.put("e", "/x", 2)
				ann.take(bob)
				ann.put("e", "/x", 3)
			},
			want: `{"x":3}`,
		},
		{
			name: "a value takes the place of the fields below it",
			story: func(ann, bob, _ *pen) {
				ann.put("e", "/x/a", 1)
				ann.put("e", "/x/b", 2)
				bob.take(ann)
				bob.put("e", "/x", "flat")
			},
			want: `{"x":"flat"}`,
		},
		{
			name: "a field takes the place of the value above it",
			story: func(ann, _, _ *pen) {
				ann.put("e", "", "flat")
				ann.put("e", "/x/a", 1)
			},
			want: `{"x":{"a":1}}`,
		},
		{
			name: "a value and concurrent fields: the newest wins, here the value",
			story: func(ann, bob, _ *pen) {
				ann.at(3).put("e", "/x/a", 1)
				ann.at(4).put("e", "/x/b", 2)
				bob.at(5).put("e", "/x", "flat")
			},
			want:      `{"x":"flat"}`,
			conflicts: `["/x"]`,
		},
		{
			name: "and here one of the fields, with all of them",
			story: func(ann, bob, _ *pen) {
				ann.at(3).put("e", "/x/a", 1)
				ann.at(6).put("e", "/x/b/c", 2)
				bob.at(5).put("e", "/x", "flat")
			},
			want:      `{"x":{"a":1,"b":{"c":2}}}`,
			conflicts: `["/x"]`,
		},
		{
			name: "also where the newest field is not the last",
			story: func(ann, bob, _ *pen) {
				ann.at(6).put("e", "/x/a", 1)
				ann.at(3).put("e", "/x/b", 2)
				bob.at(5).put("e", "/x", "flat")
			},
			want:      `{"x":{"a":1,"b":2}}`,
			conflicts: `["/x"]`,
		},
		{
			name: "at three levels the newest of all wins, each conflict is told",
			story: func(ann, bob, cyn *pen) {
				ann.at(5).put("e", "", "root")
				bob.at(4).put("e", "/x", "middle")
				cyn.at(6).put("e", "/x/y", "leaf")
			},
			want:      `{"x":{"y":"leaf"}}`,
			conflicts: `["" "/x"]`,
		},
		{
			name: "a drop takes what its author saw and nothing else",
			story: func(ann, bob, _ *pen) {
				ann.put("e", "/x", 1)
				ann.put("e", "/y", 2)
				bob.take(ann)
				bob.drop("e", "")
				ann.put("e", "/y", 3)
				ann.put("f", "/x", 4)
			},
			want: `{"y":3}`,
		},
		{
			name: "a drop spares what is above",
			story: func(ann, _, _ *pen) {
				ann.put("e", "/x/y", 1)
				ann.put("e", "/x/z", 2)
				ann.drop("e", "/x/y")
			},
			want: `{"x":{"z":2}}`,
		},
		{
			name: "an overwrite and a concurrent drop: the value stays",
			story: func(ann, bob, _ *pen) {
				ann.put("e", "/x", 1)
				bob.take(ann)
				bob.drop("e", "")
				ann.put("e", "/x", 2)
			},
			want: `{"x":2}`,
		},
		{
			name: "a bag shows each value once, in the order of their encodings: short ones first",
			story: func(ann, bob, _ *pen) {
				ann.add("e", "/tags", "b")
				ann.add("e", "/tags", "a")
				bob.add("e", "/tags", "b")
				bob.add("e", "/tags", 7)
			},
			want: `{"tags":[7,"a","b"]}`,
		},
		{
			name: "a removal takes all copies that its author saw",
			story: func(ann, bob, cyn *pen) {
				ann.add("e", "/tags", "a")
				bob.add("e", "/tags", "a")
				bob.add("e", "/tags", "b")
				cyn.take(ann, bob)
				cyn.remove("e", "/tags", "a")
				cyn.remove("e", "/tags", "never there")
			},
			want: `{"tags":["b"]}`,
		},
		{
			name: "an addition wins over a concurrent removal",
			story: func(ann, bob, _ *pen) {
				ann.add("e", "/tags", "a")
				bob.take(ann)
				bob.remove("e", "/tags", "a")
				ann.add("e", "/tags", "a")
			},
			want: `{"tags":["a"]}`,
		},
		{
			name: "a bag may hold references and lists",
			story: func(ann, _, _ *pen) {
				ann.add("e", "/of", map[string]any{"$ref": "f"})
				ann.add("e", "/of", []any{})
			},
			want: `{"of":[[],{"$ref":"f"}]}`,
		},
		{
			name: "a counter is the sum of its lanes",
			story: func(ann, bob, _ *pen) {
				ann.inc("e", "/n", 5)
				ann.inc("e", "/n", -2)
				bob.inc("e", "/n", 10)
				bob.take(ann)
				bob.inc("e", "/n", 1)
			},
			want: `{"n":14}`,
		},
		{
			name: "a concurrent inc brings its lane's total back after a drop",
			story: func(ann, bob, _ *pen) {
				ann.inc("e", "/n", 5)
				bob.take(ann)
				bob.inc("e", "/n", 100)
				bob.drop("e", "/n")
				ann.inc("e", "/n", 3)
			},
			want: `{"n":8}`,
		},
		{
			name: "a counter starts anew after a drop that it saw",
			story: func(ann, bob, _ *pen) {
				ann.inc("e", "/n", 5)
				bob.take(ann)
				bob.drop("e", "/n")
				ann.take(bob)
				ann.inc("e", "/n", 3)
			},
			want: `{"n":3}`,
		},
		{
			name: "lanes together may pass int64: then it reads as a float",
			story: func(ann, bob, _ *pen) {
				ann.inc("e", "/n", math.MaxInt64)
				bob.inc("e", "/n", 1)
			},
			want: `{"n":9223372036854776000.0}`,
		},
		{
			name: "and come back from there",
			story: func(ann, bob, cyn *pen) {
				ann.inc("e", "/n", math.MaxInt64)
				bob.inc("e", "/n", 1)
				cyn.inc("e", "/n", -2)
			},
			want: `{"n":9223372036854775806}`,
		},
		{
			name: "the value with most votes wins",
			story: func(ann, bob, cyn *pen) {
				ann.vote("ann", "e", "/who", "x")
				bob.vote("bob", "e", "/who", "y")
				cyn.vote("cyn", "e", "/who", "x")
				bob.vote("dan", "e", "/who", "z")
			},
			want: `{"who":"x"}`,
		},
		{
			name: "of values with as many votes, the one voted for last",
			story: func(ann, bob, cyn *pen) {
				ann.at(2).vote("ann", "e", "/who", "x")
				bob.at(1).vote("bob", "e", "/who", "x")
				cyn.at(4).vote("cyn", "e", "/who", "y")
				cyn.at(1).vote("dan", "e", "/who", "y")
			},
			want: `{"who":"y"}`,
		},
		{
			name: "a creator changes its mind, from any lane",
			story: func(ann, bob, _ *pen) {
				ann.vote("ann", "e", "/who", "x")
				bob.vote("bob", "e", "/who", "y")
				bob.take(ann)
				bob.vote("ann", "e", "/who", "y")
			},
			want: `{"who":"y"}`,
		},
		{
			name: "a creator that votes twice at once counts once, for the newest",
			story: func(ann, bob, cyn *pen) {
				ann.at(5).vote("ann", "e", "/who", "x")
				bob.at(4).vote("ann", "e", "/who", "y")
				cyn.at(3).vote("ann", "e", "/who", "y")
			},
			want: `{"who":"x"}`,
		},
		{
			name: "verbs that meet read as the newest does, as a conflict",
			story: func(ann, bob, cyn *pen) {
				ann.at(4).put("e", "/x", "value")
				bob.at(6).add("e", "/x", "member")
				bob.at(3).add("e", "/x", "other")
				cyn.at(5).inc("e", "/x", 1)
			},
			want:      `{"x":["other","member"]}`,
			conflicts: `["/x"]`,
		},
		{
			name: "a counter that meets a value",
			story: func(ann, bob, cyn *pen) {
				ann.at(4).put("e", "/x", []any{100, 200}) // looks like an inc
				bob.at(6).inc("e", "/x", 2)
				cyn.at(3).inc("e", "/x", 3)
			},
			want:      `{"x":5}`,
			conflicts: `["/x"]`,
		},
		{
			name: "a ballot that meets a value",
			story: func(ann, bob, cyn *pen) {
				ann.at(4).put("e", "/x", "value")
				bob.at(6).vote("bob", "e", "/x", "x")
				cyn.at(3).add("e", "/x", "member")
			},
			want:      `{"x":"x"}`,
			conflicts: `["/x"]`,
		},
		{
			name: "a value that meets others",
			story: func(ann, bob, _ *pen) {
				ann.at(4).add("e", "/x", "same")
				bob.at(6).put("e", "/x", "same")
			},
			want:      `{"x":"same"}`,
			conflicts: `["/x"]`,
		},
		{
			name: "an assignment ends a bag, a counter and a ballot",
			story: func(ann, bob, cyn *pen) {
				ann.add("e", "/x", 1)
				ann.inc("e", "/x", 1)
				bob.vote("bob", "e", "/x", 1)
				cyn.take(ann, bob)
				cyn.put("e", "/x", 2)
			},
			want: `{"x":2}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ann, bob, cyn, reader := newPen("ann"), newPen("bob"), newPen("cyn"), newPen("reader")
			c.story(ann, bob, cyn)
			reader.take(ann, bob, cyn)
			reader.wantJSON(t, "e", "", c.want)
			r := reader.read(t, "e", "")
			if len(r.Conflicts)+len(c.conflicts) > 0 && fmt.Sprintf("%q", r.Conflicts) != c.conflicts {
				t.Errorf("conflicts %q, want %s", r.Conflicts, c.conflicts)
			}
			if err := checkReading(&r, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

// A read of a path sees what is at and below it alone.
func TestReadBelow(t *testing.T) {
	ann := newPen("ann")
	ann.put("e", "/a/b", 1)
	ann.put("e", "/a/c/d", 2)
	ann.put("e", "/ab", 3)
	ann.wantJSON(t, "e", "/a", `{"b":1,"c":{"d":2}}`)
	ann.wantJSON(t, "e", "/a/c", `{"d":2}`)
	ann.wantJSON(t, "e", "/a/b", `1`)
	ann.wantJSON(t, "e", "/a/b/c", ``)
	ann.wantJSON(t, "e", "/b", ``)
	ann.wantJSON(t, "other", "", ``)
}

// The survivors of a property stand newest first and say which of them the
// value shows.
func TestReadShown(t *testing.T) {
	ann, bob, cyn := newPen("ann"), newPen("bob"), newPen("cyn")
	ann.at(1).put("e", "/x", "x")
	bob.at(2).put("e", "/x", "x")
	cyn.at(3).put("e", "/x", "y")
	ann.vote("ann", "e", "/v", "x")
	bob.vote("bob", "e", "/v", "x")
	cyn.vote("cyn", "e", "/v", "y")
	// What another verb wrote is not shown, though the value is the same.
	ann.at(5).vote("ann", "e", "/w", "x")
	bob.at(4).put("e", "/w", "x")
	ann.take(bob, cyn)
	for _, p := range ann.read(t, "e", "").Properties {
		want := map[delta.Path][]bool{
			"/x": {true, false, false}, "/v": {false, true, true}, "/w": {true, false},
		}[p.Path]
		if !slices.Equal(p.Shown, want) {
			t.Errorf("%s shows %v, want %v", p.Path, p.Shown, want)
		}
	}
}

// The ETag changes whenever a survivor does, though the value stays the same,
// and comes back with the same survivors.
func TestETag(t *testing.T) {
	ann, bob := newPen("ann"), newPen("bob")
	ann.put("e", "/x", 1)
	one := ann.read(t, "e", "").ETag
	ann.put("f", "/x", 1)
	if ann.read(t, "e", "").ETag != one {
		t.Error("another entity changes the etag")
	}
	ann.put("e", "/x", 1)
	two := ann.read(t, "e", "").ETag
	bob.take(ann)
	if two == one {
		t.Error("an overwrite by the same value keeps the etag")
	}
	if bob.read(t, "e", "").ETag != two {
		t.Error("two nodes with one state have two etags")
	}
	// The value stays that of the newest; a sibling behind it changes.
	cyn := newPen("cyn")
	cyn.at(1).put("e", "/x", 1)
	bob.take(cyn)
	three := bob.read(t, "e", "").ETag
	cyn.at(2).put("e", "/x", 1)
	bob.take(cyn)
	if four := bob.read(t, "e", "").ETag; three == two || four == three {
		t.Error("a change of a sibling keeps the etag")
	}
	if ann.read(t, "e", "/x").ETag != two {
		t.Error("the same survivors have two etags")
	}
}

// Values that are no value at all, which admission lets nobody store, read as
// null rather than stop a read.
func TestReadOfGarbage(t *testing.T) {
	ann := newPen("ann")
	if err := ann.fold.Insert(AppendKey(nil, "e", "", ""), Survivor{Verb: delta.Assign, Value: delta.Value{0xff}}); err != nil {
		t.Fatal(err)
	}
	ann.wantJSON(t, "e", "", `null`)
	if err := ann.mem.SetRow([]byte("e\x00\x01bad"), []Survivor{{Verb: delta.Assign, Value: delta.Null}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(ann.mem, "e", ""); err == nil {
		t.Error("a malformed key is read")
	}
}

// Anonymous votes, which PlanVote refuses to write, count once a lane.
func TestReadAnonymousVotes(t *testing.T) {
	ann, bob, cyn := newPen("ann"), newPen("bob"), newPen("cyn")
	for i, p := range []*pen{ann, bob, cyn} {
		x := "x"
		if i == 0 {
			x = "y"
		}
		p.at(10).write("", delta.Delta{Entity: "e", Path: "/v", Verb: delta.Vote, Value: delta.String(x)})
	}
	ann.at(11).write("", delta.Delta{Entity: "e", Path: "/v", Verb: delta.Vote, Value: delta.String("y")})
	ann.take(bob, cyn)
	ann.wantJSON(t, "e", "/v", `"x"`)
}
