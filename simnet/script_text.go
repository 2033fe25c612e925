package simnet

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// String writes the schedule as a script: the options in the first line, then a
// line for each act, and below a write a line for each operation, with a line
// "and" between two transactions.
//
//	run seed=7 hosts=(h0,h1,h2) degree=6 virtual=30s settle=5m0s check=10s
//	at 1.5s write h1
//	  put "e3" "/a" "x"
//	  inc "count" "" 3
//	at 3.2s crash h2 for 4.1s
//	at 5s loss h1 to h0 nth 1
func (s *Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "run seed=%d hosts=(%s) degree=%d virtual=%v settle=%v check=%v",
		s.Seed, strings.Join(s.Hosts, ","), s.Degree, s.Virtual, s.Settle, s.CheckEvery)
	if p := s.Retention; p.Mode != "" && p.Mode != compaction.Archive {
		fmt.Fprintf(&b, " retention=%s age=%v bytes=%d", p.Mode, p.Age, p.Bytes)
	}
	b.WriteByte('\n')
	for i := range s.Acts {
		b.WriteString(s.Acts[i].String())
	}
	return b.String()
}

// String writes the act as a script does, with a line's end.
func (a *Act) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "at %v %s %s", a.At, a.Fault, a.Host)
	if a.To != "" {
		fmt.Fprintf(&b, " to %s", a.To)
	}
	if a.For != 0 {
		fmt.Fprintf(&b, " for %v", a.For)
	}
	if a.By != 0 {
		fmt.Fprintf(&b, " by %d", a.By)
	}
	if a.Nth != 0 {
		fmt.Fprintf(&b, " nth %d", a.Nth)
	}
	if len(a.Side) > 0 {
		fmt.Fprintf(&b, " side %s", strings.Join(a.Side, ","))
	}
	b.WriteByte('\n')
	for i, txn := range a.Txns {
		if i > 0 {
			b.WriteString("  and\n")
		}
		for j := range txn {
			b.WriteString("  " + formatOp(&txn[j]) + "\n")
		}
	}
	return b.String()
}

// putWhole stands for a put of an object as one value.
const putWhole = "whole"

func formatOp(o *node.Op) string {
	if o.Kind == node.OpNegate || o.Kind == node.OpUndo {
		s := string(o.Kind)
		for _, d := range o.Dots {
			s += " " + d.String()
		}
		return s
	}
	kind := string(o.Kind)
	if o.Whole {
		kind = putWhole
	}
	s := fmt.Sprintf("%s %q %q", kind, o.Entity, string(o.Path))
	switch o.Kind {
	case node.OpRm:
		return s
	case node.OpInc:
		return s + " " + strconv.FormatInt(o.N, 10)
	}
	return s + " " + string(delta.AppendAnyJSON(nil, o.Value))
}

// ParseSchedule reads what Schedule.String wrote, up to a line of dashes. Empty
// lines and lines that begin with # are passed over, and so is what a test
// keeps in the first line: plant, the bug that the script was found with, and
// breaks, the invariant that it then breaks.
func ParseSchedule(text string) (*Schedule, error) {
	var s *Schedule
	for n, line := range strings.Split(text, "\n") {
		var err error
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0][0] == '#':
		case words[0] == "----" && s != nil:
			return s, nil
		case s == nil && words[0] == "run":
			s, err = parseHead(words[1:])
		case s == nil:
			err = errors.New("the first line must be a run")
		case words[0] == "at":
			var a Act
			if a, err = parseAct(words[1:]); err == nil {
				s.Acts = append(s.Acts, a)
			}
		case len(s.Acts) == 0:
			err = errors.New("an operation before the first write")
		default:
			err = parseOpLine(&s.Acts[len(s.Acts)-1], strings.TrimSpace(line))
		}
		if err != nil {
			return nil, fmt.Errorf("schedule, line %d: %w", n+1, err)
		}
	}
	if s == nil {
		return nil, errors.New("schedule: it is empty")
	}
	return s, nil
}

func parseHead(words []string) (*Schedule, error) {
	s := new(Schedule)
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "seed":
			s.Seed, err = strconv.ParseUint(value, 10, 64)
		case "hosts":
			s.Hosts = strings.Split(strings.Trim(value, "()"), ",")
		case "degree":
			s.Degree, err = strconv.Atoi(value)
		case "virtual":
			s.Virtual, err = time.ParseDuration(value)
		case "settle":
			s.Settle, err = time.ParseDuration(value)
		case "check":
			s.CheckEvery, err = time.ParseDuration(value)
		case "retention":
			s.Retention.Mode = compaction.Mode(value)
		case "age":
			s.Retention.Age, err = time.ParseDuration(value)
		case "bytes":
			s.Retention.Bytes, err = strconv.ParseUint(value, 10, 64)
		case "plant", "breaks":
		default:
			err = fmt.Errorf("unknown option %q", key)
		}
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

func parseAct(words []string) (a Act, err error) {
	if len(words) < 3 || len(words)%2 == 0 {
		return a, errors.New("want: at TIME FAULT HOST, and pairs of a name and a value")
	}
	a.Fault, a.Host = Fault(words[1]), words[2]
	if a.Fault != actWrite && a.Fault != actBackup && !slices.Contains(AllFaults, a.Fault) {
		return a, fmt.Errorf("unknown fault %q", a.Fault)
	}
	a.At, err = time.ParseDuration(words[0])
	for rest := words[3:]; len(rest) > 0 && err == nil; rest = rest[2:] {
		value := rest[1]
		switch rest[0] {
		case "to":
			a.To = value
		case "for":
			a.For, err = time.ParseDuration(value)
		case "by":
			a.By, err = strconv.ParseInt(value, 10, 64)
		case "nth":
			a.Nth, err = strconv.Atoi(value)
		case "side":
			a.Side = strings.Split(value, ",")
		default:
			err = fmt.Errorf("unknown word %q", rest[0])
		}
	}
	return a, err
}

// parseOpLine adds a line below a write to it.
func parseOpLine(a *Act, line string) error {
	if a.Fault != actWrite {
		return fmt.Errorf("%q is no operation of a write", line)
	}
	if len(a.Txns) == 0 || line == "and" {
		a.Txns = append(a.Txns, nil)
	}
	if line == "and" {
		return nil
	}
	o, err := parseOp(line)
	last := &a.Txns[len(a.Txns)-1]
	*last = append(*last, o)
	return err
}

func parseOp(line string) (o node.Op, err error) {
	kind, rest, _ := strings.Cut(line, " ")
	if o.Kind = node.OpKind(kind); kind == putWhole {
		o.Kind, o.Whole = node.OpPut, true
	}
	switch o.Kind {
	case node.OpNegate, node.OpUndo:
		for _, word := range strings.Fields(rest) {
			d, err := clock.ParseDot(word)
			if err != nil {
				return o, err
			}
			o.Dots = append(o.Dots, d)
		}
		return o, nil
	case node.OpPut, node.OpRm, node.OpAdd, node.OpRemove, node.OpInc, node.OpVote:
	default:
		return o, fmt.Errorf("unknown operation %q", kind)
	}
	if o.Entity, rest, err = cutQuoted(rest); err != nil {
		return o, err
	}
	var path string
	if path, rest, err = cutQuoted(rest); err != nil {
		return o, err
	}
	o.Path = delta.Path(path)
	switch o.Kind {
	case node.OpRm:
	case node.OpInc:
		o.N, err = strconv.ParseInt(rest, 10, 64)
	default:
		o.Value, err = delta.ParseJSON([]byte(rest))
	}
	return o, err
}

// cutQuoted takes a quoted string off the front.
func cutQuoted(s string) (text, rest string, err error) {
	q, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", fmt.Errorf("%q does not begin with a quoted string", s)
	}
	text, err = strconv.Unquote(q)
	return text, strings.TrimPrefix(s[len(q):], " "), err
}
