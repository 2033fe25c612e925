package history

import (
	"errors"
	"fmt"
)

// A Kind says what an operation does.
type Kind string

// The kinds of operations.
const (
	KindWrite Kind = "write"
	KindRead  Kind = "read"
)

// An Op is one operation of a history.
type Op struct {
	Session string `json:"session"`
	Kind    Kind   `json:"op"`
	Key     string `json:"key"`

	// Value is what a write writes; no other write of the key writes it.
	Value string `json:"value,omitempty"`
	// Unknown says that nobody told whether the write took effect.
	Unknown bool `json:"unknown,omitempty"`

	// Values are what a read returned: at most one if it is lossy.
	Values   []string `json:"values,omitempty"`
	Lossless bool     `json:"lossless,omitempty"`
	// Shown, where not empty, is the sibling that a lossy read would have shown.
	Shown string `json:"shown,omitempty"`

	// At is where the operation was recorded, for people: a time, an event.
	At string `json:"at,omitempty"`
}

// String returns the operation as one line of text.
func (o Op) String() string {
	s := o.Session + ": "
	switch {
	case o.Kind == KindWrite:
		s += fmt.Sprintf("write %s = %s", o.Key, o.Value)
		if o.Unknown {
			s += " (outcome unknown)"
		}
	case o.Lossless:
		s += fmt.Sprintf("read %s -> {", o.Key)
		for i, v := range o.Values {
			if i > 0 {
				s += ", "
			}
			s += v
		}
		s += "}"
		if o.Shown != "" {
			s += " showing " + o.Shown
		}
	case len(o.Values) == 0:
		s += fmt.Sprintf("read %s -> nothing", o.Key)
	default:
		s += fmt.Sprintf("read %s -> %s", o.Key, o.Values[0])
	}
	if o.At != "" {
		s += " at " + o.At
	}
	return s
}

// validate says what is wrong with an operation by itself.
func (o *Op) validate() error {
	switch {
	case o.Session == "":
		return errors.New("no session")
	case o.Key == "":
		return errors.New("no key")
	case o.Kind != KindWrite && o.Kind != KindRead:
		return fmt.Errorf("kind %q is neither write nor read", o.Kind)
	case o.Kind == KindWrite && o.Value == "":
		return errors.New("a write of no value")
	case o.Kind == KindWrite && (len(o.Values) > 0 || o.Lossless || o.Shown != ""):
		return errors.New("a write that returns values")
	case o.Kind == KindRead && (o.Value != "" || o.Unknown):
		return errors.New("a read that writes a value")
	case o.Kind == KindRead && !o.Lossless && len(o.Values) > 1:
		return fmt.Errorf("a lossy read that returns %d values", len(o.Values))
	case o.Shown != "" && !o.Lossless:
		return errors.New("a lossy read that says what it shows")
	}
	shown := o.Shown == ""
	for i, v := range o.Values {
		shown = shown || v == o.Shown
		for _, u := range o.Values[:i] {
			if u == v {
				return fmt.Errorf("a read that returns %q twice", v)
			}
		}
	}
	if !shown {
		return fmt.Errorf("a read that shows %q and does not return it", o.Shown)
	}
	return nil
}

// A Model names what a history is held to.
type Model string

// The models. Each of CM and CCv includes CC, and CC the guarantees of sessions.
const (
	ReadYourWrites    Model = "read your writes"
	MonotonicReads    Model = "monotonic reads"
	MonotonicWrites   Model = "monotonic writes"
	WritesFollowReads Model = "writes follow reads"

	CC  Model = "causal consistency" // the paper's CC, and a multi-value register's
	CM  Model = "causal memory"      // CC, and each session sees one order
	CCv Model = "causal convergence" // CC, and all sessions see one order
)

// Guarantees lists those of sessions.
var Guarantees = []Model{ReadYourWrites, MonotonicReads, MonotonicWrites, WritesFollowReads}

// A Pattern names what must not be in a history.
type Pattern string

// The bad patterns; the package documentation says what each is.
const (
	CyclicCO        Pattern = "CyclicCO"
	ThinAirRead     Pattern = "ThinAirRead"
	WriteCOInitRead Pattern = "WriteCOInitRead"
	WriteCORead     Pattern = "WriteCORead"
	LostSibling     Pattern = "LostSibling"
	CyclicOW        Pattern = "CyclicOW"
	CyclicCF        Pattern = "CyclicCF"
	CyclicHB        Pattern = "CyclicHB"
	WriteHBInitRead Pattern = "WriteHBInitRead"
)

// ErrMalformed reports what is no history: an operation that is none, or two
// writes of one value.
var ErrMalformed = errors.New("history: malformed")

// A Report says what a history is, and how far it was judged.
type Report struct {
	Operations int // without unknown writes that nobody has read
	Sessions   int
	Reads      int
	// Overwrites are those that lossless reads show and clients do not.
	Overwrites int
	// Open are the writes missing from a lossless read of which it is not known
	// which of the returned values has overwritten them. Proven says that there
	// is an order that explains all reads; where it is false and no violation was
	// found, there may be none.
	Open   int
	Proven bool
}

// Check holds a history to models. The error is a *Violation of the first of
// them that is broken, or matches ErrMalformed.
func Check(ops []Op, models ...Model) error {
	_, err := Examine(ops, models...)
	return err
}

// Examine is Check that tells more.
func Examine(ops []Op, models ...Model) (Report, error) {
	x, err := newIndex(ops)
	if err != nil {
		return Report{}, err
	}
	for _, m := range models {
		if err := x.check(m); err != nil {
			return x.report(), err
		}
	}
	return x.report(), nil
}

func (x *index) report() Report {
	r := Report{Operations: len(x.ops), Sessions: len(x.sessions), Reads: len(x.reads), Open: len(x.open), Proven: x.proven}
	if x.o != nil {
		r.Overwrites = len(x.o.extra)
	}
	return r
}

// check returns an error of type *Violation, or one of a model that there is not.
func (x *index) check(m Model) error {
	v := x.firstBroken()
	switch m {
	case ReadYourWrites, MonotonicReads, MonotonicWrites, WritesFollowReads:
		if v != nil {
			v = x.broken(m, v)
		}
	case CC, CM, CCv:
		if v == nil {
			v = x.decide()
		}
		if v == nil && m == CCv {
			v = x.convergent()
		}
		if v == nil && m == CM {
			v = x.memory()
		}
	default:
		return fmt.Errorf("history: unknown model %q", m)
	}
	if v == nil {
		return nil
	}
	out := *v
	out.Model = m
	return &out
}
