package oplog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Scripts under testdata tell how entries are admitted, wait and are taken out
// again; -rewrite renews what they expect. What must always hold is checked
// after each step.
//
// "world" writes entries in a small language:
//
//	a1 <- a2 (deps b1; kills c1) <- a3 (unsigned)
//
// a2 is the second entry of lane a; a2' is another by the same author under the
// same seq. What follows an arrow has what precedes it as prev; what begins a
// line follows the entry before it in its own branch, else in the branch with
// one prime less.
//
// "receive" takes entries in, each in a batch of its own; "batch" all in one,
// where a line "close a2 a2'" closes a lane in between. "close" makes a proof of
// two branches and closes the lane; "accuse" has the log make the proof.
// "reopen" forgets what is not stored. "state", "order" and "kept" look.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{entries: map[string]*delta.Entry{}, names: map[clock.Hash]string{}, lanes: map[clock.LaneID]string{}}
		s.replica = newReplica(t, storage.NewMemory())
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			s.told = s.tell
			s.out.Reset()
			s.run(t, d.Cmd, strings.Split(strings.TrimSpace(d.Input), "\n"))
			s.mustFlush()
			s.check()
			return s.out.String()
		})
	})
}

type script struct {
	*replica
	entries map[string]*delta.Entry
	names   map[clock.Hash]string
	lanes   map[clock.LaneID]string
	out     strings.Builder
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format, args...) }

func (s *script) run(t *testing.T, cmd string, lines []string) {
	t.Helper()
	switch cmd {
	case "world":
		for _, line := range lines {
			s.writeChain(t, line)
		}
	case "receive", "batch":
		for _, line := range lines {
			if names, ok := strings.CutPrefix(line, "close "); ok {
				s.prove(t, names, s.twoBranches)
				continue
			}
			for _, name := range strings.Fields(line) {
				s.receive(s.entry(t, name))
				if cmd == "receive" {
					s.mustFlush()
				}
			}
		}
	case "close":
		s.prove(t, lines[0], s.twoBranches)
	case "accuse":
		s.prove(t, lines[0], func(t *testing.T, names []string) (*Proof, error) {
			return s.ProofAgainst(s.branch(t, names[0]))
		})
	case "reopen":
		s.reopen()
	case "sweep":
		s.Pending.Sweep(s.vector.Covers)
	case "state":
		s.state()
	case "order":
		for run, err := range s.Order(s.db, 0) {
			if err != nil {
				t.Fatal(err)
			}
			s.printf("%d: %s%d", run.Ordinal, s.lanes[run.Lane], run.First)
			if run.Count > 1 {
				s.printf("..%d", run.First+run.Count-1)
			}
			s.printf("\n")
		}
	case "kept":
		for _, l := range s.ClosedLanes() {
			for r, err := range s.KeptLane(s.db, l) {
				if err != nil {
					t.Fatal(err)
				}
				s.printf("%s was %d\n", s.names[delta.HashHeader(&r.Header)], r.Ordinal)
			}
		}
	default:
		t.Fatalf("unknown command %q", cmd)
	}
}

func (s *script) tell(e *delta.Entry, v Verdict, missing clock.EntryID) {
	s.printf("%s: %v", s.names[e.Hash], v)
	if v == Gap {
		s.printf(", waits for %s%d", s.lanes[missing.Lane], missing.Seq)
	}
	s.printf("\n")
}

func (s *script) state() {
	s.printf("vector:")
	for _, w := range s.byName() {
		if h := s.vector.Head(w.signer.Lane); h.Seq > 0 {
			s.printf(" %s", s.names[h.Hash])
		}
	}
	s.printf("\ntips:")
	for _, w := range s.byName() {
		if h, ok := s.tips[w.signer.Lane]; ok {
			s.printf(" %s", s.names[h.Hash])
		}
	}
	s.printf("\nsigned:")
	for _, w := range s.byName() {
		if h, ok := s.SignedHead(w.signer.Lane); ok {
			s.printf(" %s", s.names[delta.HashHeader(&h.Header)])
		}
	}
	s.printf("\n")
	for _, w := range s.byName() {
		if at, ok := s.ClosedAt(w.signer.Lane); ok {
			s.printf("closed: %s at %d\n", s.lanes[w.signer.Lane], at)
		}
	}
	if s.Pending.Len() > 0 {
		var names []string
		for _, w := range s.Pending.held {
			names = append(names, s.names[w.entry.Hash])
		}
		slices.Sort(names)
		s.printf("pending: %s\n", strings.Join(names, " "))
	}
}

// byName returns the writers in the order of their names.
func (s *script) byName() (out []*writer) {
	var names []string
	for _, name := range s.lanes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(out, writerNamed(name))
	}
	return out
}

func (s *script) entry(t *testing.T, name string) *delta.Entry {
	t.Helper()
	e := s.entries[name]
	if e == nil {
		t.Fatalf("no entry %q in this world", name)
	}
	return e
}

var (
	chainItem = regexp.MustCompile(`^([a-z]+)(\d+)('*)(?: *\((.*)\))?$`)
	branchOf  = regexp.MustCompile(`'*$`)
)

func (s *script) writeChain(t *testing.T, line string) {
	t.Helper()
	var prev *delta.Entry
	for _, item := range strings.Split(line, "<-") {
		m := chainItem.FindStringSubmatch(strings.TrimSpace(item))
		if m == nil {
			t.Fatalf("%q is no entry", item)
		}
		lane, primes := m[1], m[3]
		var seq uint64
		fmt.Sscan(m[2], &seq)
		for p := primes; prev == nil && seq > 1; p = p[1:] {
			if prev = s.entries[fmt.Sprintf("%s%d%s", lane, seq-1, p)]; p == "" {
				break
			}
		}
		var head clock.Head
		if prev != nil {
			head = clock.Head{Seq: prev.Seq, Hash: prev.Hash}
		}
		if head.Seq != seq-1 {
			t.Fatalf("%s does not follow %d", item, head.Seq)
		}
		prev = s.writeEntry(t, lane, lane+m[2]+primes, head, m[4])
	}
}

func (s *script) writeEntry(t *testing.T, lane, name string, head clock.Head, notes string) *delta.Entry {
	t.Helper()
	var deps []delta.Dep
	var kills []clock.EntryID
	bare := false
	for _, note := range strings.Split(notes, ";") {
		what, rest, _ := strings.Cut(strings.TrimSpace(note), " ")
		for _, other := range strings.Fields(rest) {
			if e := s.entry(t, other); what == "deps" {
				deps = append(deps, depOn(e))
			} else {
				kills = append(kills, e.ID())
			}
		}
		bare = bare || what == "unsigned"
	}
	w := writerNamed(lane)
	e := w.write(t, head, name, deps, kills...)
	if bare {
		e = unsigned(e)
	}
	s.entries[name], s.names[e.Hash] = e, name
	s.lanes[e.Lane], s.keys[e.Lane] = lane, w.LaneKey
	return e
}

// branch is the chain from an entry on.
func (s *script) branch(t *testing.T, name string) Chain {
	t.Helper()
	primes := branchOf.FindString(name)
	es := []*delta.Entry{s.entry(t, name)}
	for last := es[0]; len(last.Sig) == 0; last = es[len(es)-1] {
		es = append(es, s.entry(t, fmt.Sprintf("%s%d%s", s.lanes[last.Lane], last.Seq+1, primes)))
	}
	return chainOf(es...)
}

func (s *script) twoBranches(t *testing.T, names []string) (*Proof, error) {
	a := s.branch(t, names[0])
	return &Proof{Key: s.keys[a.Headers[0].Lane], A: a, B: s.branch(t, names[1])}, nil
}

func (s *script) prove(t *testing.T, names string, by func(*testing.T, []string) (*Proof, error)) {
	t.Helper()
	p, err := by(t, strings.Fields(names))
	if err != nil {
		s.printf("no proof: %v\n", err)
		return
	}
	// What travels is the encoding.
	p, err = ParseProof(p.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	before := s.out.String()
	s.out.Reset()
	taken, changed := s.close(p)
	after := s.out.String()
	s.out.Reset()
	s.printf("%s", before)
	if changed {
		s.printf("closed %s at %d", s.lanes[p.Lane()], p.Seq())
	} else {
		s.printf("%s is closed already", s.lanes[p.Lane()])
	}
	for i, e := range taken {
		s.printf("%s%s", []string{", takes ", " "}[min(i, 1)], s.names[e.Hash])
	}
	s.printf("\n%s", after)
}
