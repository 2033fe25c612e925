package schema

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A writer makes transactions of one lane on a state in memory. It counts what
// is read of it.
type writer struct {
	t     testing.TB
	state *merge.MemState
	lane  clock.LaneID
	seq   uint64
	index uint32
	first uint32
	txn   []delta.Delta
	reads int
}

func newWriter(t testing.TB) *writer {
	return &writer{t: t, state: &merge.MemState{}, lane: clock.LaneID{1}}
}

// Row and Rows make the writer a view that counts.
func (w *writer) Row(key []byte) ([]merge.Survivor, error) {
	w.reads++
	return w.state.Row(key)
}

func (w *writer) Rows(prefix []byte, f func(key []byte, row []merge.Survivor) error) error {
	return w.state.Rows(prefix, func(key []byte, row []merge.Survivor) error {
		w.reads++
		return f(key, row)
	})
}

// begin begins a transaction; in a new entry unless it is shared.
func (w *writer) begin(shared bool) {
	if !shared {
		w.seq++
		w.index = 0
	}
	w.first, w.txn = w.index, nil
}

func (w *writer) apply(d delta.Delta) {
	w.t.Helper()
	fold := merge.Fold{State: w.state}
	o := &merge.Origin{Lane: w.lane, Seq: w.seq, Time: clock.Timestamp(w.seq), Creator: "ann", Txn: w.first}
	if err := fold.ApplyDelta(o, w.index, &d); err != nil {
		w.t.Fatal(err)
	}
	w.index++
	w.txn = append(w.txn, d)
}

// do carries out one operation, such as: put /a 5, rm /a, add /a 5, remove /a
// 5, vote /a 5, inc /a 5, leaf /a {"b":5} (an object as one value).
func (w *writer) do(op string) {
	w.t.Helper()
	const e = "e/1"
	words := append(strings.SplitN(op, " ", 3), "null")
	p := delta.Path(words[1])
	if p == "." {
		p = ""
	}
	x := mustJSON(w.t, words[2])
	v, err := delta.ValueOf(x)
	if err != nil {
		w.t.Fatal(err)
	}
	must := func(d delta.Delta, err error) {
		if err != nil {
			w.t.Fatal(err)
		}
		w.apply(d)
	}
	switch words[0] {
	case "put":
		leaves, err := delta.Flatten(p, x)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, l := range leaves {
			must(merge.PlanAssign(w.state, e, l.Path, l.Value))
		}
	case "leaf":
		must(merge.PlanAssign(w.state, e, p, v))
	case "rm":
		if d, ok, err := merge.PlanDrop(w.state, e, p); ok {
			must(d, err)
		}
	case "add":
		must(merge.PlanAdd(e, p, v), nil)
	case "remove":
		if d, ok, err := merge.PlanRemove(w.state, e, p, v); ok {
			must(d, err)
		}
	case "vote":
		must(merge.PlanVote(w.state, e, p, "ann", v))
	case "inc":
		n, _ := v.Int()
		must(merge.PlanInc(w.state, e, p, w.lane, n))
	default:
		w.t.Fatalf("unknown operation %q", op)
	}
}

const shopText = `{
  "name": "shop", "version": 2, "entities": ["e/*"], "additional": false,
  "proto": "syntax = \"proto3\"; message Money { string currency = 1; int64 units = 2; }",
  "properties": [
    {"id": "price", "path": "/price", "type": {"type": "number", "minimum": 0}, "required": true},
    {"id": "name", "path": "/name", "required": true},
    {"id": "state", "path": "/state", "required": true, "default": "open"},
    {"id": "paid", "path": "/paid", "type": {"$proto": "Money"}},
    {"id": "box", "path": "/box", "type": {"type": "object", "properties": {"w": {"type": "integer"}, "h": {"type": "integer"}}, "required": ["w"], "additionalProperties": false}},
    {"id": "tags", "path": "/tags", "verb": "bag", "type": {"type": "string"}},
    {"id": "vote", "path": "/vote", "verb": "ballot", "type": {"enum": ["yes", "no"]}},
    {"id": "stock", "path": "/stock", "verb": "counter", "type": {"minimum": 0, "maximum": 10}},
    {"id": "sold", "path": "/sold", "verb": "counter"},
    {"id": "buyer", "path": "/buyer", "ref": {"to": ["person/*"]}},
    {"id": "friends", "path": "/friends", "verb": "bag", "ref": {"to": ["person/*"]}},
    {"id": "notes", "path": "/notes/*/text", "type": {"type": "string"}},
    {"id": "total", "path": "/total", "computed": true, "resolver": "sum", "depends": ["price"]}
  ],
  "migrate": [{"rename": {"from": "/cost", "to": "/price"}}, {"rename": {"from": "/box/width", "to": "/box/w"}},
    {"split": {"from": "/full", "to": ["/name", "/state"], "separator": ","}}]
}`

// good makes an entity that has all that is required.
const good = `put . {"price":5,"name":"x"}`

// TestAdmit: what may be written, and what may not, with which error.
func TestAdmit(t *testing.T) {
	c := compileOf(t, shopText)
	for _, x := range []struct {
		name   string
		before []string // transactions without a schema, operations split by ;
		txn    string
		want   string // empty: it may be written
	}{
		{"an entity", nil, good, ""},
		{"an entity in parts", nil, `put /price 5;put /name "x";add /tags "a"`, ""},
		{"twice the same", nil, `put /price 5;put /price 6;put /name "x"`, ""},
		{"an entity as one value", nil, `leaf . {"price":5,"name":"x","notes":{"a":{"text":"t"}},"box":{"w":1}}`, ""},
		{"type", nil, `put . {"price":"5","name":"x"}`, `e/1#/price: property "price": is a string, must be number`},
		{"type that only passed by", nil, `put /price "5";put /price 5;put /name "x"`, `is a string, must be number`},
		{"type inside one value", nil, `leaf . {"price":-5,"name":"x"}`, `e/1#/price: property "price": -5 is below 0`},
		{"type of a wildcard", []string{good}, `put /notes/a/text 5`, `e/1#/notes/a/text: property "notes": is an integer`},
		{"wildcard", []string{good}, `put /notes {"a":{"text":"x"},"b":{"text":"y"}}`, ""},

		{"no property", []string{good}, `put /colour 5`, `e/1#/colour: is no property of schema shop@2, which takes no others`},
		{"no property below", []string{good}, `put /notes/a/date 5`, `e/1#/notes/a/date: is no property`},
		{"no property in one value", []string{good}, `leaf /notes {"a":{"date":5}}`, `e/1#/notes/a/date: is no property`},
		{"no property by another verb", []string{good}, `add /colour 5`, `e/1#/colour: is no property`},
		{"above properties", []string{good}, `put /notes 5`, `e/1#/notes: is an integer: property "notes" of schema shop@2 is below, at /notes/*/text, so that it must be an object`},
		{"above properties, a reference", []string{good}, `put /notes {"$ref":"x"}`, `is a reference: property "notes" of`},
		{"above properties, nothing", []string{good}, `put /notes {}`, ""},
		{"above properties, by another verb", []string{good}, `vote /notes 5`, `e/1#/notes: takes no vote: property "notes" of schema shop@2 is below`},
		{"above all properties, by another verb", []string{good}, `inc . 5`, `e/1: takes no inc: property "price" of schema shop@2 is below, at /price`},
		{"above properties, inside one value", []string{good}, `leaf . {"price":5,"name":"x","notes":{"a":5}}`, `e/1#/notes/a: is an integer: property "notes"`},

		{"computed", []string{good}, `put /total 5`, `e/1#/total: property "total": is computed`},
		{"computed in one value", nil, `leaf . {"price":5,"name":"x","total":5}`, `property "total": is computed`},
		{"put on a bag", []string{good}, `put /tags "a"`, `property "tags": is a bag: add values`},
		{"put below a bag", []string{good}, `put /tags/a 5`, `property "tags": is a bag: add values`},
		{"put on a bag in one value", []string{good}, `leaf . {"tags":["a"]}`, `property "tags": is a bag: add values`},
		{"add to a bag", []string{good}, `add /tags "a"`, ""},
		{"add another type", []string{good}, `add /tags 5`, `property "tags": is an integer, must be string`},
		{"add to a register", []string{good}, `add /price 5`, `property "price": is a register: put`},
		{"put on a ballot", []string{good}, `put /vote "yes"`, `property "vote": is a ballot: vote`},
		{"vote", []string{good}, `vote /vote "yes"`, ""},
		{"vote for something else", []string{good}, `vote /vote "maybe"`, `property "vote": must be "yes" or "no"`},
		{"put on a counter", []string{good}, `put /stock 5`, `property "stock": is a counter: increment`},
		{"inc", []string{good}, `inc /stock 5`, ""},
		{"inc too far", []string{good, `inc /stock 5`}, `inc /stock 6`, `e/1#/stock: property "stock": 11 is above 10`},
		{"inc below", []string{good}, `inc /stock 5;inc /stock -6`, `property "stock": -1 is below 0`},
		{"inc forth and back", []string{good}, `inc /stock 15;inc /stock -6`, ""},
		{"inc without a type", []string{good}, `inc /sold -6`, ""},
		{"remove and drop pass as verbs", []string{good, `add /tags "a";inc /stock 5`}, `remove /tags "a";rm /stock;rm /total`, ""},

		{"ref", []string{good}, `put /buyer {"$ref":"person/ann"}`, ""},
		{"ref elsewhere", []string{good}, `put /buyer {"$ref":"host/a"}`, `property "buyer": refers to "host/a", must refer to person/*`},
		{"no ref", []string{good}, `put /buyer "ann"`, `property "buyer": is a string, must be a reference`},
		{"null is no ref", []string{good}, `put /buyer null`, `is null, must be a reference`},
		{"below a ref", []string{good}, `put /buyer/name 5`, `e/1#/buyer: property "buyer": is an object, must be a reference`},
		{"bag of refs", []string{good}, `add /friends {"$ref":"person/ann"}`, ""},
		{"bag of other refs", []string{good}, `add /friends {"$ref":"x"}`, `property "friends": refers to "x"`},

		{"object by leaves", []string{good}, `put /box {"w":1,"h":2}`, ""},
		{"object as one value", []string{good}, `leaf /box {"w":1,"h":2}`, ""},
		{"object lacks a member", []string{good}, `put /box {"h":2}`, `e/1#/box: property "box": lacks the member "w"`},
		{"object gets its member later", []string{good}, `put /box/h 2;put /box/w 1`, ""},
		{"object with a member of another type", []string{good, `put /box {"w":1}`}, `put /box/h "x"`, `e/1#/box/h: property "box": is a string`},
		{"object with a member too much", []string{good, `put /box {"w":1}`}, `put /box/d 5`, `e/1#/box/d: property "box": is no member that is allowed here`},
		{"object loses a member", []string{good, `put /box {"w":1,"h":2}`}, `rm /box/w`, `property "box": lacks the member "w"`},
		{"object loses all", []string{good, `put /box {"w":1}`}, `rm /box/w`, ""},
		{"object had the old name", []string{good, `put /box/width 3`}, `put /box/h 2`, ""},
		{"object had the old name, in another type", []string{good, `put /box/width "3"`}, `put /box/h 2`, `e/1#/box/w: property "box": is a string`},
		{"message by leaves", []string{good}, `put /paid {"currency":"NOK","units":5}`, ""},
		{"message with another member", []string{good, `put /paid/units 5`}, `put /paid/colour 5`, `property "paid": is no Money: unknown field "colour"`},
		{"message as bytes", []string{good}, `put /paid {"$bytes":"CgNOT0s="}`, ""},

		{"renamed away", []string{good}, `put /cost 5`, `e/1#/cost: was renamed; write to /price`},
		{"renamed away, below", []string{good}, `add /cost/net 5`, `e/1#/cost/net: was renamed; write to /price/net`},
		{"renamed away, in one value", []string{good}, `leaf . {"cost":5}`, `e/1#/cost: was renamed; write to /price`},
		{"renamed away, inside a property", []string{good}, `put /box {"width":5}`, `e/1#/box/width: was renamed; write to /box/w`},
		{"renamed away, inside a property as one value", []string{good}, `leaf /box {"width":5}`, `e/1#/box/width: was renamed; write to /box/w`},
		{"renamed away, inside one value", []string{good}, `leaf . {"box":{"width":5}}`, `e/1#/box/width: was renamed; write to /box/w`},
		{"split up", []string{good}, `put /full "a,b"`, `e/1#/full: was renamed; write to /name and /state`},
		{"renamed away, removed", []string{good, `put /cost 4`}, `rm /cost`, ""},

		{"made without", nil, `put /price 5`, `e/1#/name: property "name": is required`},
		{"made without, by another verb", nil, `inc /sold 5`, `e/1#/price: property "price": is required`},
		{"made without, overwritten in one", nil, `put /price 5;put /price 6`, `property "name": is required`},
		{"made and dropped", nil, `put /price 5;rm .`, ""},
		{"dropped and made", []string{good}, `rm .;put /price 5`, `property "name": is required`},
		{"dropped", []string{good}, `rm .`, ""},
		{"takes one away", []string{good}, `rm /name`, `property "name": is required`},
		{"takes one away, and puts another", []string{good}, `rm /name;put /name "y"`, ""},
		{"takes away all that there is", []string{`put /price 5`}, `rm /price`, ""},
		{"takes the old name away", []string{`put . {"cost":5,"name":"x"}`}, `rm /cost`, `property "price": is required`},
		{"takes the old name away, and puts the new one", []string{`put . {"cost":5,"name":"x"}`}, `rm /cost;put /price 5`, ""},
		{"lacked it before", []string{`put /price 5`}, `put /price 6`, ""},
		{"lacked it before, other writes", []string{`put /price 5`}, `inc /sold 1;add /tags "a"`, ""},
		{"was broken before", []string{`put . {"price":"x","name":"x","colour":5,"box":{"h":"x"}}`}, `put /name "y"`, ""},
		{"empties a document above", []string{good, `put /notes {"a":{"text":"x"}}`}, `leaf . {}`, `property "price": is required`},
		{"replaces all by one value", []string{good}, `leaf . {"price":5}`, `property "name": is required`},
		{"takes from what was written whole", []string{`leaf . {"price":5,"name":"x"}`}, `put /price 6`, `property "name": is required`},
		{"writes anew what was written whole", []string{`leaf . {"price":5,"name":"x"}`}, `put /price 6;put /name "y"`, ""},
		{"replaces all by one value with all", []string{good}, `leaf . {"price":5,"name":null}`, ""},
		{"is there under its old name", []string{`put . {"cost":5,"name":"x"}`}, `put /price 4;rm /price`, ""},
		{"nothing", []string{good}, `rm /sold`, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWriter(t)
			for _, txn := range x.before {
				w.begin(false)
				for op := range strings.SplitSeq(txn, ";") {
					w.do(op)
				}
			}
			w.begin(true) // the open entry may hold other transactions
			for op := range strings.SplitSeq(x.txn, ";") {
				w.do(op)
			}
			err := c.Admit(w, "e/1", w.txn)
			var v *Violation
			if err != nil && !errors.As(err, &v) {
				t.Fatalf("no violation: %v", err)
			}
			if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
				t.Errorf("%v, want %q", err, x.want)
			}
		})
	}
}

// TestAdmitOpen: where others are taken, what no property covers is not looked
// at, and neither are other entities.
func TestAdmitOpen(t *testing.T) {
	c := compileOf(t, schemaOf(`{"id":"a","path":"/in/a","type":{"type":"integer"}},{"id":"b","path":"/b/*","verb":"bag"}`))
	for op, want := range map[string]string{
		`put /colour "x"`:         "",
		`add /in 5`:               `e/1#/in: takes no add: property "a" of schema`,
		`inc . 5`:                 `takes no inc: property "a"`,
		`put . 5`:                 `e/1: is an integer: property "a" of schema`,
		`put /in 5`:               `e/1#/in: is an integer: property "a" of schema`,
		`leaf . {"in":[]}`:        `e/1#/in: is an array: property "a"`,
		`leaf . {}`:               "",
		`add /out 5`:              "",
		`leaf . {"in":{"a":"x"}}`: `e/1#/in/a: property "a": is a string`,
		`leaf . {"in":{"b":"x"}}`: "",
		`leaf /b {"x":5}`:         `property "b": is a bag`,
	} {
		w := newWriter(t)
		w.begin(false)
		w.do(op)
		err := c.Admit(w, "e/1", w.txn)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", op, err, want)
		}
		if err := c.Admit(w, "e/2", w.txn); err != nil {
			t.Errorf("%s of another entity: %v", op, err)
		}
	}
}

// TestAdmitWithoutProperties: a schema that says nothing of an entity's inside
// takes any, and a closed one nothing but an empty object.
func TestAdmitWithoutProperties(t *testing.T) {
	for rest, want := range map[string]string{`"additional":true`: "", `"additional":false`: "e/1: is no property of schema"} {
		c := compileOf(t, schemaOf("", rest))
		for op, want := range map[string]string{`add . 5`: want, `put . 5`: want, `leaf . {}`: ""} {
			w := newWriter(t)
			w.begin(false)
			w.do(op)
			err := c.Admit(w, "e/1", w.txn)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s, %s: %v, want %q", rest, op, err, want)
			}
		}
	}
}

// TestAdmitRoot: an entity may be one property.
func TestAdmitRoot(t *testing.T) {
	c := compileOf(t, schemaOf(`{"id":"n","path":"","verb":"counter","type":{"minimum":0},"required":true}`, `"additional":false`))
	for op, want := range map[string]string{`inc . 5`: "", `inc . -5`: "e/1: property", `put . 5`: "is a counter", `put /a 5`: "is a counter"} {
		w := newWriter(t)
		w.begin(false)
		w.do(op)
		err := c.Admit(w, "e/1", w.txn)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", op, err, want)
		}
	}
}

// TestAdmitBallot: a required ballot is not wanted of an entity that is made, for
// votes follow it; but it cannot be taken away.
func TestAdmitBallot(t *testing.T) {
	c := compileOf(t, schemaOf(`{"id":"state","path":"/state","verb":"ballot","required":true},{"id":"price","path":"/price","required":true}`))
	for _, x := range []struct{ before, txn, want string }{
		{"", `put /price 5`, ""},
		{"", `vote /state "open"`, `property "price": is required`},
		{`put /price 5`, `vote /state "open"`, ""},
		{`put /price 5;vote /state "open"`, `rm /state`, `property "state": is required`},
		{`put /price 5;vote /state "open"`, `rm .`, ""},
	} {
		w := newWriter(t)
		for _, txn := range []string{x.before, x.txn} {
			w.begin(false)
			for op := range strings.SplitSeq(txn, ";") {
				if op != "" {
					w.do(op)
				}
			}
		}
		err := c.Admit(w, "e/1", w.txn)
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s, then %s: %v, want %q", x.before, x.txn, err, x.want)
		}
	}
}

// TestAdmitMigrated: what is read after the transaction is read as migrations
// have it.
func TestAdmitMigrated(t *testing.T) {
	c := compileOf(t, schemaOf(`{"id":"stock","path":"/stock","verb":"counter","type":{"maximum":10}},
		{"id":"box","path":"/box","type":{"type":"object","additionalProperties":{"type":"integer"}}},
		{"id":"need","path":"/in/need","required":true}`,
		`"migrate":[{"rename":{"from":"/count","to":"/stock"}},{"retype":{"path":"/old/*","to":"integer"}},{"rename":{"from":"/old/*","to":"/box/*"}}]`))
	for _, x := range []struct{ before, txn, want string }{
		{`inc /count 7`, `inc /stock 3`, ""},
		{`inc /count 7;inc /count 1`, `inc /stock 3`, `property "stock": 11 is above 10`},
		{`put /old/w "3"`, `put /box/h 2`, ""},
		{`put /old/w "x"`, `put /box/h 2`, ""}, // it reads as an error, and as no member
		{`put /box/w "3"`, `put /box/h 2`, `property "box": is a string`},
		{`put /x 1`, `leaf /in {"other":1}`, ""},
		{`put /in/other 1`, `leaf /in {"other":1}`, `property "need": is required`},
		{`put /in/need 1`, `leaf /in {"need":1}`, ""},
	} {
		w := newWriter(t)
		for _, txn := range []string{x.before, x.txn} {
			w.begin(false)
			for op := range strings.SplitSeq(txn, ";") {
				w.do(op)
			}
		}
		err := c.Admit(w, "e/1", w.txn)
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s, then %s: %v, want %q", x.before, x.txn, err, x.want)
		}
	}
	inc := merge.Survivor{Verb: delta.Inc, Value: delta.IncValue{Amount: 1, Total: 8}.Value()}
	if v, err := valueOf(&inc); v != int64(8) || err != nil {
		t.Errorf("a part of a counter is %v, %v", v, err)
	}
}

// TestConcurrentCounter: the total is that of all lanes.
func TestConcurrentCounter(t *testing.T) {
	c := compileOf(t, shopText)
	w := newWriter(t)
	w.begin(false)
	w.do(good)
	w.do("inc /stock 7")
	w.lane[0]++
	w.begin(false)
	w.do("inc /stock 4")
	if err := c.Admit(w, "e/1", w.txn); err == nil || !strings.Contains(err.Error(), "11 is above 10") {
		t.Errorf("a total of two lanes: %v", err)
	}
}

// TestAdmitIsCheap: a few deltas on a large entity read a few rows.
func TestAdmitIsCheap(t *testing.T) {
	c := compileOf(t, shopText)
	w := newWriter(t)
	w.begin(false)
	w.do(good)
	for i := range 1000 {
		w.do(fmt.Sprintf(`put /notes/%d/text "x"`, i))
		w.do(fmt.Sprintf(`add /tags "%d"`, i))
	}
	for op, most := range map[string]int{`put /price 5`: 2, `add /tags "x"`: 2, `put /box/w 5`: 5, `rm /notes`: 2, `rm /name;put /name "y"`: 5} {
		w.begin(false)
		for one := range strings.SplitSeq(op, ";") {
			w.do(one)
		}
		w.reads = 0
		if err := c.Admit(w, "e/1", w.txn); err != nil || w.reads > most {
			t.Errorf("%s reads %d rows, at most %d are needed: %v", op, w.reads, most, err)
		}
	}
}

// broken is a view that can be read a few times only.
type broken struct {
	merge.View
	left int
}

var errBroken = errors.New("the disk is gone")

func (b *broken) Row(key []byte) ([]merge.Survivor, error) {
	if b.left--; b.left < 0 {
		return nil, errBroken
	}
	return b.View.Row(key)
}

func (b *broken) Rows(prefix []byte, f func(key []byte, row []merge.Survivor) error) error {
	if b.left--; b.left < 0 {
		return errBroken
	}
	return b.View.Rows(prefix, f)
}

// TestAdmitErrors: what is wrong with the view is said, and is no violation.
func TestAdmitErrors(t *testing.T) {
	c := compileOf(t, shopText)
	for op, reads := range map[string]int{
		`put /price 5`: 1, `put /box/w 5`: 3, `inc /stock 5`: 2, `rm /name`: 5, `leaf . {"price":5}`: 7,
	} {
		w := newWriter(t)
		w.begin(false)
		w.do(good)
		w.begin(false)
		w.do(op)
		for n := range reads {
			if err := c.Admit(&broken{w.state, n}, "e/1", w.txn); !errors.Is(err, errBroken) {
				t.Errorf("%s, broken after %d reads: %v", op, n, err)
			}
		}
		if err := c.Admit(&broken{w.state, reads}, "e/1", w.txn); errors.Is(err, errBroken) {
			t.Errorf("%s reads more than %d times", op, reads)
		}
	}
	bad := []delta.Delta{{Entity: "e/1", Path: "/price", Verb: delta.Assign, Value: delta.Value{0xff}}}
	if err := c.Admit(newWriter(t), "e/1", bad); err == nil {
		t.Error("a value that is none was admitted")
	}
	bad[0].Path = "/notes"
	if err := c.Admit(newWriter(t), "e/1", bad); err == nil {
		t.Error("a value that is none was admitted above properties")
	}
}

func BenchmarkAdmit(b *testing.B) {
	c := compileOf(b, shopText)
	w := newWriter(b)
	w.begin(false)
	w.do(good)
	for i := range 1000 {
		w.do(fmt.Sprintf(`put /notes/%d/text "x"`, i))
	}
	w.begin(false)
	w.do(`put /price 5`)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Admit(w.state, "e/1", w.txn); err != nil {
			b.Fatal(err)
		}
	}
}
