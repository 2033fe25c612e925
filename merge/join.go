package merge

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
)

// ErrUncovered reports a state with a survivor that its own vector does not
// cover. Whoever served it is at fault.
var ErrUncovered = errors.New("merge: survivor above its state's vector")

// Join makes dst the state of all that either side has applied:
//
//	fold(K1 ∪ K2) = (S1 ∩ S2) ∪ {s ∈ S1 : dot ∉ K2} ∪ {s ∈ S2 : dot ∉ K1}
//
// covers and srcCovers say which entries the two sides have applied, as they
// stood when the rows were theirs. A closed lane's entries at or above its
// fork, of which the rows are gone, count as covered on both sides.
//
// A dot that one side has and the other must have killed is dead. Where both
// sides have a dot, but with different rows, the row with the greater hash
// stays. dst changes only after both sides have been read.
func Join(dst *Fold, covers func(clock.EntryID) bool, src View, srcCovers func(clock.EntryID) bool) error {
	j := joiner{covers: covers, srcCovers: srcCovers, edits: make(map[string]*edit)}
	err := src.Rows(nil, func(key []byte, theirs []Survivor) error {
		mine, err := dst.State.Row(key)
		if err != nil {
			return err
		}
		return j.compare(key, mine, theirs)
	})
	if err != nil {
		return err
	}
	err = dst.State.Rows(nil, func(key []byte, mine []Survivor) error {
		theirs, err := src.Row(key)
		if err != nil || len(theirs) > 0 { // both have it: compared above
			return err
		}
		return j.compare(key, mine, nil)
	})
	if err != nil {
		return err
	}
	j.duel()
	return j.apply(dst)
}

// A placed survivor knows its row.
type placed struct {
	key string
	Survivor
}

func (p *placed) hash() []byte {
	b := p.Sum([]byte(p.key)).Bytes()
	return b[:]
}

// An edit is what one row loses and gains.
type edit struct {
	lost   []clock.Dot // in dot order, as the row was compared
	gained []Survivor
}

type joiner struct {
	covers, srcCovers func(clock.EntryID) bool
	edits             map[string]*edit

	// lost is what only dst has, and refused what only src has, though the
	// other side has applied it.
	lost, refused []placed
}

// compare goes through two versions of a row, both in dot order.
func (j *joiner) compare(key []byte, mine, theirs []Survivor) error {
	for len(mine) > 0 || len(theirs) > 0 {
		order := -1
		if len(mine) == 0 {
			order = 1
		} else if len(theirs) > 0 {
			order = mine[0].Dot.Compare(theirs[0].Dot)
		}
		if order >= 0 && !j.srcCovers(theirs[0].Dot.Entry()) {
			return fmt.Errorf("%v: %w", theirs[0].Dot, ErrUncovered)
		}
		if order == 0 {
			if mine[0].Sum(key) != theirs[0].Sum(key) {
				j.lost = append(j.lost, placed{string(key), mine[0]})
				j.refused = append(j.refused, placed{string(key), theirs[0]})
			}
			mine, theirs = mine[1:], theirs[1:]
			continue
		}
		if order < 0 {
			if j.srcCovers(mine[0].Dot.Entry()) {
				j.lost = append(j.lost, placed{string(key), mine[0]})
			}
			mine = mine[1:]
			continue
		}
		if j.covers(theirs[0].Dot.Entry()) {
			j.refused = append(j.refused, placed{string(key), theirs[0]})
		} else {
			j.gain(string(key), theirs[0])
		}
		theirs = theirs[1:]
	}
	return nil
}

func (j *joiner) edit(key string) *edit {
	e := j.edits[key]
	if e == nil {
		e = new(edit)
		j.edits[key] = e
	}
	return e
}

func (j *joiner) gain(key string, s Survivor) {
	e := j.edit(key)
	e.gained = append(e.gained, s)
}

// duel settles the dots that both sides have with different rows. All other
// dots that were lost or refused are dead.
func (j *joiner) duel() {
	refused := make(map[clock.Dot]*placed, len(j.refused))
	for i := range j.refused {
		refused[j.refused[i].Dot] = &j.refused[i]
	}
	for i := range j.lost {
		mine := &j.lost[i]
		if theirs := refused[mine.Dot]; theirs != nil {
			if bytes.Compare(mine.hash(), theirs.hash()) > 0 {
				continue
			}
			j.gain(theirs.key, theirs.Survivor)
		}
		e := j.edit(mine.key)
		e.lost = append(e.lost, mine.Dot)
	}
}

// apply makes the edits in key order.
func (j *joiner) apply(dst *Fold) error {
	for _, key := range slices.Sorted(maps.Keys(j.edits)) {
		e := j.edits[key]
		lost := func(d clock.Dot) bool {
			_, found := slices.BinarySearchFunc(e.lost, d, clock.Dot.Compare)
			return found
		}
		row, err := dst.State.Row([]byte(key))
		if err != nil {
			return err
		}
		row, err = dst.take([]byte(key), row, lost, clock.Dot{})
		for _, s := range e.gained {
			if err == nil {
				row, err = dst.insert([]byte(key), row, s)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CloseLane takes out every survivor of the lane at or above seq, the least
// that the lane's author signed twice. What those deltas killed stays dead.
func CloseLane(f *Fold, lane clock.LaneID, seq uint64) error {
	dies := func(d clock.Dot) bool { return d.Lane == lane && d.Seq >= seq }
	return f.sweep(nil, false, dies, clock.Dot{})
}
