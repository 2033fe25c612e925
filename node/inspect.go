package node

import (
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A DiffRow is a survivor that one of two states has and the other has not.
type DiffRow struct {
	Entity string
	Path   delta.Path
	Dot    clock.Dot
	Value  delta.Value
	// Here says that this node has it, and the other has not.
	Here bool
	// New says that the other side has not applied the entry that it is of; else
	// it has, and something that it applied killed the row there.
	New bool
}

// A DiffReport says in what two states differ.
type DiffReport struct {
	Peer  string
	Equal bool // same log, same state
	// SameLog says that both have applied the same entries. Then their states
	// must be equal, and every row that is not is damage.
	SameLog bool
	// Here and There count the survivors that one side alone has.
	Here, There uint64
	Rows        []DiffRow
	// More says that there are more than are listed.
	More bool
}

// maxDiffRows bounds the rows that a report lists.
const maxDiffRows = 10_000

func (d *DiffReport) add(x DiffRow) {
	if x.Here {
		d.Here++
	} else {
		d.There++
	}
	if len(d.Rows) >= maxDiffRows {
		d.More = true
		return
	}
	d.Rows = append(d.Rows, x)
}

// An inspection is a comparison with a peer's state that changes nothing. It
// goes the way of an adoption, up to the commit.
type inspection struct {
	from   gossip.SessionID
	pull   uint64
	report DiffReport
	err    error
	done   func(DiffReport, error)
}

var errGone = errors.New("the session to the peer ended")

// Inspect begins to compare this state with that of a peer on a session. Done
// is called once, in some later step. It reports false where the replica is
// pulling from a peer just now.
func (r *Replica) Inspect(nowMillis int64, id gossip.SessionID, peer string, done func(DiffReport, error)) (Step, bool, error) {
	r.begin(nowMillis)
	if r.inspecting != nil || r.adopting() {
		return Step{}, false, nil
	}
	pull, ok := r.machine.PullState(nowMillis, id)
	if !ok {
		return Step{}, false, nil
	}
	r.inspecting = &inspection{from: id, pull: pull, report: DiffReport{Peer: peer}, done: done}
	step, err := r.end()
	return step, true, err
}

// here returns a report of what this side alone has. It reads all of the state,
// and so runs beside the replica.
func (x *inspection) here(a *adoption, dead []placedDot) (DiffReport, error) {
	report := DiffReport{Peer: x.report.Peer}
	known := make(map[placedDot]bool, len(dead))
	for _, d := range dead {
		known[d] = true
	}
	err := a.start.view.Rows(nil, func(key []byte, row []merge.Survivor) error {
		for i := range row {
			s := &row[i]
			ahead := s.Dot.Seq > a.theirs.Seq(s.Dot.Lane)
			if !ahead && !known[placedDot{string(key), s.Dot}] {
				continue
			}
			if err := report.note(key, s, true, ahead); err != nil {
				return err
			}
		}
		return nil
	})
	return report, err
}

// there notes what the other side alone has.
func (x *inspection) there(a *adoption, row *compaction.Row) {
	if err := x.report.note(row.Key, &row.Survivor, false, !a.start.vector.Covers(row.Dot.Entry())); err != nil && x.err == nil {
		x.err = err
	}
}

func (d *DiffReport) note(key []byte, s *merge.Survivor, here, isNew bool) error {
	entity, path, _, err := merge.ParseKey(key)
	if err != nil {
		return fmt.Errorf("compare states: %w", err)
	}
	d.add(DiffRow{
		Entity: entity, Path: path, Dot: s.Dot, Value: append(delta.Value(nil), s.Value...), Here: here, New: isNew,
	})
	return nil
}

// endInspection hands the report out.
func (r *Replica) endInspection(a *adoption) {
	x := a.inspect
	x.report.SameLog = a.start.vector.Compare(a.theirs) == clock.Equal
	x.report.Equal = x.report.SameLog && x.report.Here+x.report.There == 0
	r.inspecting = nil
	r.endAdoption(a.from, a.pull, nil)
	x.done(x.report, x.err)
}

// failInspection ends an inspection that came to nothing.
func (r *Replica) failInspection(pull uint64, err error) {
	x := r.inspecting
	if x == nil || x.pull != pull {
		return
	}
	r.inspecting = nil
	if err == nil {
		err = errGone
	}
	x.done(DiffReport{}, err)
}
