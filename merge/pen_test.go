package merge

import (
	"bytes"
	"maps"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
)

// A pen writes a history by hand, each call one entry. It panics where a test
// is wrong. Its clock ticks with every entry of any pen, so that what is
// written later is newer, unless at says otherwise.
type pen struct {
	*writer
	next clock.Timestamp
}

var ticks clock.Timestamp

// newPen opens the lane with the given name.
func newPen(name string) *pen {
	p := &pen{writer: &writer{replica: newReplica(new(kernel))}}
	copy(p.lane[:], name)
	return p
}

// at dates the next entry.
func (p *pen) at(t clock.Timestamp) *pen {
	p.next = t
	return p
}

// take applies all that others hold.
func (p *pen) take(from ...*pen) {
	for _, o := range from {
		for _, e := range o.log {
			check(p.apply(e))
		}
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func (p *pen) write(creator string, deltas ...delta.Delta) {
	ticks++
	e := &written{past: maps.Clone(p.vec)}
	e.Lane, e.Seq, e.Time = p.lane, p.vec[p.lane]+1, 1000+ticks
	if p.next != 0 {
		e.Time, p.next = p.next, 0
	}
	e.Body.Txns = []delta.Txn{{Creator: creator, Deltas: deltas}}
	check(e.roundTrip())
	check(p.apply(e))
}

func valueOf(x any) delta.Value {
	v, err := delta.ValueOf(x)
	check(err)
	return v
}

func (p *pen) put(entity string, path delta.Path, x any) {
	d, err := PlanAssign(p.mem, entity, path, valueOf(x))
	check(err)
	p.write("", d)
}

func (p *pen) add(entity string, path delta.Path, x any) {
	p.write("", PlanAdd(entity, path, valueOf(x)))
}

func (p *pen) vote(creator, entity string, path delta.Path, x any) {
	d, err := PlanVote(p.mem, entity, path, creator, valueOf(x))
	check(err)
	p.write(creator, d)
}

func (p *pen) inc(entity string, path delta.Path, n int64) {
	d, err := PlanInc(p.mem, entity, path, p.lane, n)
	check(err)
	p.write("", d)
}

func (p *pen) remove(entity string, path delta.Path, x any) {
	d, ok, err := PlanRemove(p.mem, entity, path, valueOf(x))
	check(err)
	if ok {
		p.write("", d)
	}
}

func (p *pen) drop(entity string, path delta.Path) {
	d, ok, err := PlanDrop(p.mem, entity, path)
	check(err)
	if ok {
		p.write("", d)
	}
}

func (p *pen) read(t *testing.T, entity string, path delta.Path) Reading {
	t.Helper()
	r, _, err := Read(p.mem, entity, path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantJSON checks the lossy value; want is "" where nothing lives.
func (p *pen) wantJSON(t *testing.T, entity string, path delta.Path, want string) {
	t.Helper()
	r, found, err := Read(p.mem, entity, path)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if found {
		got = string(delta.AppendAnyJSON(nil, r.Value))
	}
	if got != want {
		t.Errorf("%s reads as %s, want %s", delta.Key(entity, path), got, want)
	}
}

// greater returns the digest of the state with the greater one.
func greater(a, b *pen) digest.Sum {
	x, y := a.fold.Tally.Digest.Bytes(), b.fold.Tally.Digest.Bytes()
	if bytes.Compare(x[:], y[:]) > 0 {
		return a.fold.Tally.Digest
	}
	return b.fold.Tally.Digest
}
