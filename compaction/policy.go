package compaction

import (
	"fmt"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome/oplog"
)

// A Mode says how much raw history a replica keeps.
type Mode string

// The modes. Retention is policy: nothing that can be read of the newest state
// depends on it, and no peer has to agree.
const (
	// Archive keeps every entry.
	Archive Mode = "archive"
	// Window keeps the entries of some time, and at most some bytes of them.
	Window Mode = "window"
	// Minimal keeps next to nothing.
	Minimal Mode = "minimal"
)

// A Policy says what Pick drops. The zero Policy is a window of 30 days or
// 1 GiB, whichever is less.
type Policy struct {
	// Mode is what is kept; empty means Window.
	Mode Mode

	// Age is how long an entry stays after it was applied here. Zero means 30
	// days. Longer lets reads go back further and lets peers that were away
	// longer catch up by entries; it costs disk. Only for Window.
	Age time.Duration

	// Bytes is how many bytes of raw entries stay at most. Zero means 1 GiB.
	// Only for Window.
	Bytes uint64
}

// Fill returns the policy with its defaults.
func (p Policy) Fill() Policy {
	if p.Mode == "" {
		p.Mode = Window
	}
	if p.Age == 0 {
		p.Age = DefaultAge
	}
	if p.Bytes == 0 {
		p.Bytes = DefaultBytes
	}
	return p
}

// Validate says what is wrong with a policy.
func (p Policy) Validate() error {
	switch {
	case !slices.Contains([]Mode{"", Archive, Window, Minimal}, p.Mode):
		return fmt.Errorf("retention mode %q: want archive, window or minimal", p.Mode)
	case p.Age < 0:
		return fmt.Errorf("retention age %v: it must not be negative", p.Age)
	}
	return nil
}

// A Summary is what Pick has to know of a log.
type Summary struct {
	Now     int64        // wall time in milliseconds since 1970
	History uint64       // the ordinal up to which entries are gone already
	Entries uint64       // raw entries held
	Bytes   uint64       // of them
	Marks   []oplog.Mark // rising, the last at the newest entry
	// Hold, where not 0, is the first ordinal that must stay: that of an own
	// entry which no peer is known to hold.
	Hold uint64
}

const (
	// minimalEntries and minimalAge are what a minimal replica lets gather:
	// dropping costs a few writes for each lane.
	minimalEntries = 4096
	minimalAge     = time.Minute

	// slack is the part of a window that must be won for a compaction by
	// policy to begin: one in slack.
	slack = 16
)

// A Cut is a prefix of the order of application.
type Cut struct {
	Ordinal uint64 // of its newest entry
	Held    bool   // Hold made it smaller than it would have been
}

// Pick chooses what a policy lets go now. ok is false where that is nothing, or
// too little to be worth it.
func Pick(s Summary, p Policy) (c Cut, ok bool) {
	p = p.Fill()
	if len(s.Marks) == 0 || s.Entries == 0 || p.Mode == Archive {
		return c, false
	}
	top := s.Marks[len(s.Marks)-1]
	switch p.Mode {
	case Minimal:
		if s.Entries >= minimalEntries || s.Now-s.Marks[0].Time >= minimalAge.Milliseconds() {
			c.Ordinal = top.Ordinal
		}
	case Window:
		c.Ordinal = s.window(p)
	}
	return s.hold(c)
}

// window returns the highest mark that is too old, or below which there are too
// many bytes; 0 where little would be won.
func (s Summary) window(p Policy) uint64 {
	var aged, large oplog.Mark
	top := s.Marks[len(s.Marks)-1]
	for _, m := range s.Marks {
		if s.Now-m.Time > p.Age.Milliseconds() {
			aged = m
		}
		if s.Bytes > p.Bytes && top.Bytes-min(m.Bytes, top.Bytes) >= p.Bytes-p.Bytes/slack {
			large = m
		}
	}
	// Time is won in slices too, so that not each hour ends in a checkpoint.
	if age := p.Age.Milliseconds(); s.Now-s.Marks[0].Time < age+age/slack {
		aged = oplog.Mark{}
	}
	return max(aged.Ordinal, large.Ordinal)
}

// PickAll chooses all up to an ordinal, whatever the policy says, but for what
// is held. Zero means everything.
func PickAll(s Summary, to uint64) (c Cut, ok bool) {
	if len(s.Marks) == 0 || s.Entries == 0 {
		return c, false
	}
	c.Ordinal = s.Marks[len(s.Marks)-1].Ordinal
	if to > 0 {
		c.Ordinal = min(c.Ordinal, to)
	}
	return s.hold(c)
}

func (s Summary) hold(c Cut) (Cut, bool) {
	if s.Hold > 0 && c.Ordinal >= s.Hold {
		c.Ordinal, c.Held = s.Hold-1, true
	}
	first := s.Marks[0].Ordinal // an adoption's own mark is still to be cut
	return c, c.Ordinal > s.History || c.Ordinal == s.History && first == s.History && c.Ordinal > 0
}
