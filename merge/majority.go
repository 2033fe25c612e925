package merge

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A majority is a resolver that returns the value which most creators hold;
// among equals, the one whose newest vote is newest. A creator with concurrent
// values counts once, for the newest. Where it has too few votes for the quorum
// the property reads as null, and in conflict.
type majority quorum

// Resolve implements Resolver.
func (m majority) Resolve(in *Input) (Output, error) {
	if len(in.Survivors) == 0 {
		return Output{Absent: true}, nil
	}
	type choice struct {
		newest int // index of its newest vote: lower is newer
		votes  int
	}
	var choices []choice
	at := map[string]int{} // of each value in choices
	seen := map[string]bool{}
	for i := range in.Survivors {
		s := &in.Survivors[i]
		who := in.voter(i)
		if seen[who] {
			continue
		}
		seen[who] = true
		value := string(s.encoded())
		c, ok := at[value]
		if !ok {
			c = len(choices)
			at[value] = c
			choices = append(choices, choice{newest: i})
		}
		choices[c].votes++
	}
	best := slices.MaxFunc(choices, func(a, b choice) int {
		return cmp.Or(cmp.Compare(a.votes, b.votes), cmp.Compare(b.newest, a.newest))
	})
	why := fmt.Sprintf("%d of %d votes", best.votes, len(seen))
	if q := quorum(m); !q.met(best.votes, len(seen)) {
		return Output{
			Shown: make([]bool, len(in.Survivors)), Conflict: true, Why: fmt.Sprintf("%s, %v wanted", why, q),
		}, nil
	}
	out := Output{Value: in.value(best.newest), Why: why}
	out.Shown, _ = in.show(best.newest)
	return out, nil
}

// voter returns who a survivor counts for: its creator, and where nobody is
// named the author, who spoke for itself. An author that is not known counts
// once for each of its lanes. Of a part of a counter the author alone counts.
func (in *Input) voter(i int) string {
	s := &in.Survivors[i]
	if s.Creator != "" && s.Verb != delta.Inc {
		return s.Creator
	}
	if author := in.AuthorOf(i); author != "" {
		return author
	}
	return "\x00" + string(s.Dot.Lane[:])
}
