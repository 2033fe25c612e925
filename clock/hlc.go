package clock

import "time"

// A Timestamp is a reading of a hybrid logical clock: milliseconds since 1970
// above 16 bits of counter. Timestamps order as integers.
type Timestamp uint64

const (
	counterBits = 16

	// MaxTimestampMillis is the latest wall time that a Timestamp may hold, in
	// the year 6429. It leaves the top bit free, so that formats that know only
	// signed integers can hold a Timestamp.
	MaxTimestampMillis = 1<<(63-counterBits) - 1

	// MaxTimestamp is the last Timestamp of all.
	MaxTimestamp Timestamp = 1<<63 - 1
)

// Millis returns the wall part in milliseconds since 1970.
func (t Timestamp) Millis() int64 { return int64(t >> counterBits) }

// Counter returns the logical part.
func (t Timestamp) Counter() uint16 { return uint16(t & (1<<counterBits - 1)) }

// Time returns the wall part.
func (t Timestamp) Time() time.Time { return time.UnixMilli(t.Millis()).UTC() }

// TimestampAt returns the first Timestamp of a wall millisecond.
func TimestampAt(millis int64) Timestamp {
	return Timestamp(min(max(millis, 0), MaxTimestampMillis)) << counterBits
}

// An HLC is a hybrid logical clock (Kulkarni, Demirbas et al., "Logical
// Physical Clocks", OPODIS 2014, section 3). It dates entries and breaks ties
// between concurrent values; it decides nothing else. The zero HLC is ready.
type HLC struct {
	// last is the newest reading given or observed. It never moves backwards.
	last Timestamp
}

// Last returns the newest reading given or observed.
func (c *HLC) Last() Timestamp { return c.last }

// Now returns a reading after every one given or observed so far. A counter
// that is full carries into the milliseconds. Only at MaxTimestamp the clock
// stands still: readings break ties, and those of one lane have its seq too.
func (c *HLC) Now(wallMillis int64) Timestamp {
	if c.last < MaxTimestamp {
		c.last = max(c.last+1, TimestampAt(wallMillis))
	}
	return c.last
}

// Observe takes in a reading from elsewhere. One that is more than
// MaxSkewMillis ahead of the wall time leaves the clock alone and is reported
// as false: whoever made it has a wrong clock, or we have.
func (c *HLC) Observe(t Timestamp, wallMillis int64) bool {
	if t > MaxTimestamp || t.Millis()-MaxSkewMillis > wallMillis {
		return false
	}
	c.last = max(c.last, t)
	return true
}
