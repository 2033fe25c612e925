package delta

import (
	"crypto/sha256"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
)

// Canonical form means the same: the same dots die in the same scopes.
func TestCanonicalizeKeepsMeaning(t *testing.T) {
	small := rapid.Custom(func(t *rapid.T) clock.Dot {
		return clock.Dot{
			Lane: clock.LaneID{rapid.ByteRange(0, 2).Draw(t, "lane")}, Seq: rapid.Uint64Range(1, 3).Draw(t, "seq"),
			Index: rapid.Uint32Range(0, 2).Draw(t, "index"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		var kills []Kill
		for range rapid.IntRange(0, 5).Draw(t, "kills") {
			kills = append(kills, Kill{
				Scope: ScopePath, Path: Path("/" + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "path")),
				Dots:   rapid.SliceOfN(small, 0, 4).Draw(t, "dots"),
				Bounds: rapid.SliceOfN(small, 0, 4).Draw(t, "bounds"),
			})
		}
		was := slices.Clone(kills)
		for i, k := range kills {
			was[i].Dots, was[i].Bounds = slices.Clone(k.Dots), slices.Clone(k.Bounds)
		}
		got := canonicalKills(kills)
		if !reflect.DeepEqual(kills, was) {
			t.Fatal("the caller's lists changed")
		}
		for _, path := range []Path{"/a", "/b"} {
			dot := small.Draw(t, "dot")
			// As Hits has it, without any order.
			want := slices.ContainsFunc(kills, func(k Kill) bool {
				return k.Path == path && (slices.Contains(k.Dots, dot) || slices.ContainsFunc(k.Bounds, dot.AtMost))
			})
			hits := slices.ContainsFunc(got, func(k Kill) bool { return k.Path == path && k.Hits(dot) })
			if hits != want {
				t.Fatalf("%v at %s: %v, want %v\n%+v\n%+v", dot, path, hits, want, kills, got)
			}
		}
	})
}

// Deltas of one row have one tag, those of others another.
func TestTags(t *testing.T) {
	x, y := &Delta{Verb: Add, Value: Int(1)}, &Delta{Verb: Add, Value: Int(2)}
	l, m := clock.LaneID{1}, clock.LaneID{2}
	tags := []Tag{
		TagOf(l, "c", &Delta{Verb: Assign, Value: Int(1)}),
		TagOf(l, "c", x), TagOf(l, "c", y),
		TagOf(l, "c", &Delta{Verb: Vote}), TagOf(l, "d", &Delta{Verb: Vote}),
		TagOf(l, "c", &Delta{Verb: Inc}), TagOf(m, "c", &Delta{Verb: Inc}),
	}
	for i, a := range tags {
		if len(a) != tagSize && i > 0 {
			t.Errorf("tag %d has %d bytes", i, len(a))
		}
		if slices.Index(tags, a) != i {
			t.Errorf("tag %d is that of %d", i, slices.Index(tags, a))
		}
	}
	if tags[0] != "" || tags[1] != BagTag(Int(1)) || TagOf(m, "d", x) != tags[1] {
		t.Error("a tag depends on more than it should")
	}
	if TagOf(l, "", &Delta{Verb: Drop}) != "" {
		t.Error("what leaves no row has a tag")
	}
}

func TestVerbNames(t *testing.T) {
	var names []string
	for v := Verb(0); v <= lastVerb+1; v++ {
		text, err := v.MarshalText()
		if err != nil || string(text) != v.String() {
			t.Error(string(text), err)
		}
		names = append(names, v.String())
	}
	if got := strings.Join(names, " "); got != "verb(0) assign add vote inc remove negate drop verb(8)" {
		t.Error(got)
	}
}

// badBodies breaks each rule of a body once. All are of entry 5 of lane 7.
func badBodies() map[string]Body {
	own, a := clock.LaneID{7}, clock.LaneID{1}
	dot := func(l clock.LaneID, seq uint64, index uint32) []clock.Dot {
		return []clock.Dot{{Lane: l, Seq: seq, Index: index}}
	}
	with := func(d Delta) Body {
		if d.Entity == "" {
			d.Entity = "e"
		}
		if d.Value == nil {
			d.Value = Null
		}
		return Body{Txns: []Txn{{Deltas: []Delta{d}}}}
	}
	kill := func(v Verb, k Kill) Body {
		d := Delta{Verb: v, Kills: []Kill{k}}
		if v == Inc {
			d.Value = IncValue{}.Value()
		}
		return with(d)
	}
	dep := func(l clock.LaneID, seq uint64) Dep { return Dep{EntryID: clock.EntryID{Lane: l, Seq: seq}} }
	manyDeps := Body{}
	for i := range MaxDeps + 1 {
		manyDeps.Deps = append(manyDeps.Deps, dep(clock.LaneID{1, byte(i >> 8), byte(i)}, 1))
	}
	manyLanes := Kill{Scope: ScopePrefix}
	for i := range MaxLanes + 1 {
		manyLanes.Bounds = append(manyLanes.Bounds, clock.Dot{Lane: clock.LaneID{1, byte(i >> 8), byte(i)}, Seq: 1})
	}
	noName := with(Delta{Verb: Assign})
	noName.Txns[0].Deltas[0].Entity = ""
	return map[string]Body{
		"unknown verb 0":                 with(Delta{}),
		"unknown verb 8":                 with(Delta{Verb: 8}),
		"entity id is empty":             noName,
		"contains #":                     with(Delta{Verb: Assign, Entity: "a#b"}),
		"entity: not UTF-8":              with(Delta{Verb: Assign, Entity: "\xff"}),
		"entity: 1025 bytes":             with(Delta{Verb: Assign, Entity: strings.Repeat("x", 1025)}),
		"begins with /":                  with(Delta{Verb: Assign, Path: "a"}),
		"$ref is reserved":               with(Delta{Verb: Assign, Path: "/a/$ref"}),
		"path: 4097 bytes":               with(Delta{Verb: Assign, Path: Path("/" + strings.Repeat("x", 4096))}),
		"creator: 257 bytes":             {Txns: []Txn{{Creator: strings.Repeat("x", 257), Deltas: []Delta{{Entity: "e", Verb: Assign, Value: Null}}}}},
		"empty transaction":              {Txns: []Txn{{}}},
		"inc value is not":               with(Delta{Verb: Inc}),
		"remove with a value":            with(Delta{Verb: Remove, Value: Int(1)}),
		"negate with a value":            with(Delta{Verb: Negate, Value: Int(1)}),
		"drop with a value":              with(Delta{Verb: Drop, Value: Int(1)}),
		"add with a kill":                kill(Add, Kill{Dots: dot(a, 1, 0)}),
		"vote with a bound":              kill(Vote, Kill{Bounds: dot(a, 1, 0)}),
		"inc with a bound or a scope":    kill(Inc, Kill{Scope: ScopePrefix, Dots: dot(a, 1, 0)}),
		"remove with a bound or a scope": kill(Remove, Kill{Scope: ScopePath, Path: "/x", Dots: dot(a, 1, 0)}),
		"cannot have seen":               kill(Assign, Kill{Dots: dot(own, 5, 0)}),
		"kill of a dot that its":         kill(Assign, Kill{Dots: dot(own, 6, 0)}),
		"that its author":                kill(Drop, Kill{Scope: ScopePrefix, Bounds: dot(own, 5, 9)}),
		"its author cannot have":         kill(Assign, Kill{Dots: dot(a, 0, 0)}),
		"dot index 1048577":              kill(Assign, Kill{Dots: dot(a, 1, MaxEntryBytes+1)}),
		"dot seq: 9223372036854775808":   kill(Assign, Kill{Dots: dot(a, clock.MaxSeq+1, 0)}),
		"kill of nothing":                kill(Assign, Kill{}),
		"unknown scope 4":                kill(Assign, Kill{Scope: 4, Dots: dot(a, 1, 0)}),
		"tag of 1 bytes":                 kill(Assign, Kill{Scope: ScopeTag, Tag: "x", Dots: dot(a, 1, 0)}),
		"path \"x\": a JSON pointer":     kill(Assign, Kill{Scope: ScopePath, Path: "x", Dots: dot(a, 1, 0)}),
		"dots out of order":              kill(Assign, Kill{Dots: []clock.Dot{{Lane: a, Seq: 2}, {Lane: a, Seq: 1}}}),
		"dots out of":                    kill(Assign, Kill{Dots: []clock.Dot{{Lane: a, Seq: 1}, {Lane: a, Seq: 1}}}),
		"two bounds on one lane":         kill(Assign, Kill{Bounds: []clock.Dot{{Lane: a, Seq: 1}, {Lane: a, Seq: 2}}}),
		"kills out of order":             with(Delta{Verb: Assign, Kills: []Kill{{Dots: dot(a, 1, 0)}, {Dots: dot(a, 2, 0)}}}),
		"dep on the entry's own lane":    {Deps: []Dep{dep(own, 1)}},
		"or on seq 0":                    {Deps: []Dep{dep(a, 0)}},
		"deps out of order":              {Deps: []Dep{dep(clock.LaneID{2}, 1), dep(a, 1)}},
		"deps out of":                    {Deps: []Dep{dep(a, 1), dep(a, 1)}},
		"257 deps, at most 256":          manyDeps,
		"16385 lanes, at most 16384":     kill(Drop, manyLanes),
		"value of 262149 bytes":          with(Delta{Verb: Assign, Value: Bytes(make([]byte, MaxValueBytes))}),
		"float is not a finite":          with(Delta{Verb: Assign, Value: Value("\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00")}),
		"body: malformed: truncated":     with(Delta{Verb: Assign, Value: Value{}}),
		"body: 2 trailing bytes":         with(Delta{Verb: Assign, Value: Value{1, 0x80, 0x83}}),
		"at most 1048416 are allowed":    {Txns: []Txn{{Deltas: slices.Repeat([]Delta{{Entity: strings.Repeat("e", 1014), Verb: Assign, Value: Null}}, 1040)}}},
	}
}

// Each rule of a body, broken once, is refused with its reason.
func TestBadBodies(t *testing.T) {
	id := clock.EntryID{Lane: clock.LaneID{7}, Seq: 5}
	for want, body := range badBodies() {
		_, err := ParseBody(AppendBody(nil, id.Lane, &body), id)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Bytes that no AppendBody writes.
func TestBadBodyBytes(t *testing.T) {
	id := clock.EntryID{Lane: clock.LaneID{7}, Seq: 5}
	lane := func(l byte) string { return "\x50" + string([]byte{l}) + strings.Repeat("\x00", 15) }
	delta := func(kills string) string { return "\x80\x81\x82\x60\x81\x85\x61e\x60\x01\xf6" + kills }
	for want, s := range map[string]string{
		"truncated":              "",
		"3 elements":             "\x83",
		"body: unexpected type":  "\x60",
		"lanes out of order":     "\x83\x82" + lane(2) + lane(1) + "\x80\x80",
		"lanes out":              "\x83\x81" + lane(7) + "\x80\x80",
		"listed and not named":   "\x83\x81" + lane(1) + "\x80\x80",
		"lane: 1 bytes":          "\x83\x81\x41\x01\x80\x80",
		"lane number 2 of 1":     "\x83\x81" + lane(1) + "\x81\x83\x02\x01\x50" + strings.Repeat("\x00", 16) + "\x80",
		"1 trailing bytes":       "\x83\x80\x80\x80\x00",
		"4 numbers":              "\x83\x80" + delta("\x81\x83\x00\x84\x00\x01\x00\x00\x80"),
		"unknown scope":          "\x83\x80" + delta("\x81\x83\x02\x83\x00\x01\x00\x80"),
		"unexpected type 5":      "\x83\x80" + delta("\x81\x83\xa0\x83\x00\x01\x00\x80"),
		"shortest form":          "\x83\x80" + delta("\x98\x00"),
		"indefinite":             "\x83\x80" + delta("\x9f\xff"),
		"kills: 255 elements in": "\x83\x80" + delta("\x98\xff"),
	} {
		if _, err := ParseBody([]byte(s), id); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Each rule of a header, broken once.
func TestBadHeaders(t *testing.T) {
	h := Header{Seq: 2, Time: 1}
	good := string(AppendHeader(nil, &h))
	first := h
	first.Seq = 1
	replace := func(old, with string) string {
		if strings.Count(good, old) == 0 {
			t.Fatalf("%x is not in the header", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	for want, s := range map[string]string{
		"truncated":           "",
		"8 elements, want 7":  "\x88" + good[1:],
		"version 2":           replace("\x87\x01", "\x87\x02"),
		"space: 31 bytes":     replace("\x58\x20\x00", "\x58\x1f"),
		"lane: 15 bytes":      replace("\x50\x00", "\x4f"),
		"seq 0":               replace("\x02\xd8\x2a", "\x00\xd8\x2a"),
		"first entry":         replace("\x02\xd8\x2a", "\x01\xd8\x2a"),
		"prev: not a dag-cbo": replace("\x02\xd8\x2a", "\x02\xf6\xd8\x2a"),
		"prev: not":           replace("\x71\x12\x20", "\x55\x12\x20"),
		"hlc: ":               replace("\x01\xd8\x2a", "\x1b\x80\x00\x00\x00\x00\x00\x00\x00\xd8\x2a"),
		"seq: ":               replace("\x02\xd8\x2a", "\x1b\xff\xff\xff\xff\xff\xff\xff\xff\xd8\x2a"),
		"body: not a dag-cbo": good[:len(good)-1],
		"trailing":            good + "\x00",
	} {
		if got, err := ParseHeader([]byte(s)); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v, want %q", got, err, want)
		}
	}
	if _, err := ParseHeader(AppendHeader(nil, &first)); err != nil {
		t.Error(err)
	}
}

// Build puts any order in canonical form, signs what it returns, and signs
// nothing that a reader would refuse.
func TestBuild(t *testing.T) {
	s, k := testSigner()
	a, b := clock.LaneID{1}, clock.LaneID{2}
	body := Body{
		Deps: []Dep{{EntryID: clock.EntryID{Lane: b, Seq: 1}}, {EntryID: clock.EntryID{Lane: a, Seq: 1}}},
		Txns: []Txn{{Deltas: []Delta{{Entity: "e", Verb: Drop, Kills: []Kill{
			{Scope: ScopePrefix, Bounds: []clock.Dot{{Lane: b, Seq: 1}, {Lane: a, Seq: 1}}},
			{},
			{Scope: ScopePrefix, Bounds: []clock.Dot{{Lane: b, Seq: 3}}, Dots: []clock.Dot{{Lane: b, Seq: 9}, {Lane: a, Seq: 9}, {Lane: b, Seq: 9}}},
		}}}}},
	}
	e, err := s.Build(clock.Head{Hash: clock.Hash{1}}, 5, body)
	if err != nil {
		t.Fatal(err)
	}
	want := []Kill{{
		Scope: ScopePrefix, Dots: []clock.Dot{{Lane: a, Seq: 9}, {Lane: b, Seq: 9}},
		Bounds: []clock.Dot{{Lane: a, Seq: 1}, {Lane: b, Seq: 3}},
	}}
	if got := e.Body.Txns[0].Deltas[0]; !reflect.DeepEqual(got.Kills, want) || got.Value.Kind() != KindNull {
		t.Errorf("built %+v", got)
	}
	got, err := ParseEntry(e.Header, e.Raw, e.Sig)
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("%+v reads as %+v, %v", e, got, err)
	}
	if err := Verify(k, &e.Header, e.Sig); err != nil || e.Prev != (clock.Hash{}) || e.Seq != 1 {
		t.Error(e.Header, err)
	}
	if e.Dot(3) != (clock.Dot{Lane: s.Lane, Seq: 1, Index: 3}) {
		t.Error(e.Dot(3))
	}
	for name, c := range map[string]struct {
		head clock.Head
		time clock.Timestamp
		body Body
	}{
		"lane at its end":  {clock.Head{Seq: clock.MaxSeq}, 1, Body{}},
		"clock at its end": {clock.Head{}, clock.MaxTimestamp + 1, Body{}},
		"too large":        {clock.Head{}, 1, Body{Txns: []Txn{{Deltas: slices.Repeat([]Delta{{Entity: "e", Verb: Add, Value: Bytes(make([]byte, 1000))}}, 1100)}}}},
		"without a verb":   {clock.Head{}, 1, Body{Txns: []Txn{{Deltas: []Delta{{Entity: "e", Value: Null}}}}}},
		"without a value":  {clock.Head{}, 1, Body{Txns: []Txn{{Deltas: []Delta{{Entity: "e", Verb: Add}}}}}},
		"dep twice":        {clock.Head{}, 1, Body{Deps: []Dep{{EntryID: clock.EntryID{Lane: a, Seq: 1}}, {EntryID: clock.EntryID{Lane: a, Seq: 2}}}}},
		"text not UTF-8":   {clock.Head{}, 1, Body{Txns: []Txn{{Deltas: []Delta{{Entity: "e", Verb: Add, Value: String("\xff")}}}}}},
	} {
		if e, err := s.Build(c.head, c.time, c.body); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	other := AppendBody(nil, s.Lane, &Body{})
	if _, err := ParseEntry(e.Header, other, nil); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "hash") {
		t.Errorf("a good body that is not the header's: %v", err)
	}
	bad := slices.Clone(e.Raw)
	bad[0]++
	if _, err := ParseEntry(e.Header, bad, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("a body that is not the header's: %v", err)
	}
	h := e.Header
	h.Body = sha256.Sum256(bad)
	if _, err := ParseEntry(h, bad, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("a body that does not read: %v", err)
	}
}
