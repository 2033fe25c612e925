package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// An Op is one operation of a transaction, as a line of JSON has it:
//
//	{"op": "put", "key": "host/web-1#/cpu", "value": {"cores": 8}, "if_match": ETAG}
//	{"op": "rm", "key": "host/web-2"}
//	{"op": "add", "key": "host/web-1#/tags", "value": "edge"}
//	{"op": "remove", "key": "host/web-1#/tags", "value": "edge"}
//	{"op": "inc", "key": "host/web-1#/boots", "n": 2}
//	{"op": "vote", "key": "host/web-1#/owner", "value": "ops"}
//	{"op": "negate", "dots": ["LANE:SEQ:INDEX"]}
//	{"op": "undo", "txn": "LANE:SEQ:INDEX"}
type Op struct {
	Op    rhizome.OpKind  `json:"op"`
	Key   string          `json:"key,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
	// N is 1 where it is left out.
	N    *int64      `json:"n,omitempty"`
	Dots []clock.Dot `json:"dots,omitempty"`
	Txn  *clock.Dot  `json:"txn,omitempty"`
	// IfMatch is the ETag that the key must have: "*" any, "absent" none.
	IfMatch string `json:"if_match,omitempty"`
	// Whole makes a put write an object as one value, not leaf by leaf.
	Whole bool `json:"whole,omitempty"`
	// SkipEqual makes a put write only the leaves that differ.
	SkipEqual bool `json:"skip_equal,omitempty"`
}

// Decode checks the operation's form and returns it as a Node takes it.
func (o *Op) Decode() (rhizome.Op, error) {
	out := rhizome.Op{Kind: o.Op, IfMatch: o.IfMatch, SkipEqual: o.SkipEqual, Whole: o.Whole}
	var hasKey, hasValue bool
	switch o.Op {
	case rhizome.OpPut, rhizome.OpAdd, rhizome.OpRemove, rhizome.OpVote:
		hasKey, hasValue = true, true
	case rhizome.OpRm:
		hasKey = true
	case rhizome.OpInc:
		hasKey = true
		out.N = 1
		if o.N != nil {
			out.N = *o.N
		}
	case rhizome.OpNegate:
		out.Dots = o.Dots
		if len(o.Dots) == 0 {
			return out, errors.New(`negate: "dots" is missing`)
		}
	case rhizome.OpUndo:
		if o.Txn == nil {
			return out, errors.New(`undo: "txn" is missing`)
		}
		out.Dots = []clock.Dot{*o.Txn}
	case "":
		return out, errors.New(`"op" is missing`)
	default:
		return out, fmt.Errorf("op %q: not one of put, rm, add, remove, inc, vote, negate, undo", o.Op)
	}
	for _, f := range []struct {
		name      string
		has, want bool
		must      bool
	}{
		{"key", o.Key != "", hasKey, hasKey},
		{"value", o.Value != nil, hasValue, hasValue},
		{"n", o.N != nil, o.Op == rhizome.OpInc, false},
		{"dots", o.Dots != nil, o.Op == rhizome.OpNegate, false},
		{"txn", o.Txn != nil, o.Op == rhizome.OpUndo, false},
		{"if_match", o.IfMatch != "", hasKey, false},
		{"skip_equal", o.SkipEqual, o.Op == rhizome.OpPut, false},
		{"whole", o.Whole, o.Op == rhizome.OpPut, false},
	} {
		if f.has && !f.want {
			return out, fmt.Errorf("%s: %q does not belong to it", o.Op, f.name)
		}
		if !f.has && f.must {
			return out, fmt.Errorf("%s: %q is missing", o.Op, f.name)
		}
	}
	var err error
	if hasKey {
		if out.Entity, out.Path, err = delta.ParseKey(o.Key); err != nil {
			return out, fmt.Errorf("%s: %w", o.Op, err)
		}
	}
	if hasValue {
		if out.Value, err = delta.ParseJSON(o.Value); err != nil {
			return out, fmt.Errorf("%s %s: %w", o.Op, o.Key, err)
		}
	}
	return out, nil
}

// ReadOps reads operations as JSON Lines or as one JSON array. An error says
// which operation is wrong.
func ReadOps(r io.Reader) ([]Op, error) {
	br := bufio.NewReader(r)
	var ops []Op
	array, err := startsArray(br)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(br)
	dec.DisallowUnknownFields()
	if array {
		if _, err := dec.Token(); err != nil {
			return nil, err
		}
	}
	for n := 1; ; n++ {
		if array && !dec.More() {
			break
		}
		var op Op
		err := dec.Decode(&op)
		if errors.Is(err, io.EOF) && !array {
			return ops, nil
		}
		if err != nil {
			return nil, opError(n, err)
		}
		ops = append(ops, op)
	}
	if _, err := dec.Token(); err != nil {
		return nil, opError(len(ops)+1, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, Problemf(CodeValidation, "more text after the array of operations")
	}
	return ops, nil
}

func startsArray(br *bufio.Reader) (bool, error) {
	for {
		c, err := br.ReadByte()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			continue
		}
		return c == '[', br.UnreadByte()
	}
}

// opError keeps an error of the transport as it is, and makes any other one
// the caller's.
func opError(n int, err error) error {
	if p := ProblemOf(err); p.Code != CodeError {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = errors.New("ends too early")
	}
	return Problemf(CodeValidation, "operation %d: %v", n, err)
}

// DecodeOps decodes all operations of a transaction.
func DecodeOps(ops []Op) ([]rhizome.Op, error) {
	if len(ops) == 0 {
		return nil, Problemf(CodeValidation, "a transaction without operations")
	}
	out := make([]rhizome.Op, len(ops))
	for i := range ops {
		var err error
		if out[i], err = ops[i].Decode(); err != nil {
			if len(ops) == 1 {
				return nil, Problemf(CodeValidation, "%v", err)
			}
			return nil, opError(i+1, err)
		}
	}
	return out, nil
}

// ParseValue reads a value as people type it: JSON when it parses, else a
// string. What begins with { or [ and does not parse, and a number that is
// out of range, are mistakes, not strings.
func ParseValue(text []byte) (json.RawMessage, error) {
	x, err := delta.ParseJSON(text)
	if err == nil {
		return rawJSON(x), nil
	}
	first := bytes.TrimLeftFunc(text, unicode.IsSpace)
	if len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		return nil, NewProblem(CodeValidation, err.Error(),
			"what begins with { or [ must be JSON; to write it as a string, quote it as one")
	}
	if json.Valid(text) {
		return nil, NewProblem(CodeValidation, err.Error(), "to write it as a string, quote it as one")
	}
	if !utf8.Valid(text) {
		return nil, NewProblem(CodeValidation, "the value is neither JSON nor UTF-8",
			`write bytes as {"$bytes": BASE64}`)
	}
	return rawJSON(string(text)), nil
}
