package node

const (
	// maxKilled bounds what an explanation lists of the dead: more than a person
	// reads, and some 200 KiB of answer.
	maxKilled = 1000

	// maxKillers bounds what an explanation lists of the deltas that killed one
	// survivor. Each later write of a hot key is one of them.
	maxKillers = 16

	// maxDeadRows bounds the dead rows that an explanation looks at to find the
	// newest of them: some 100 ms of reading.
	maxDeadRows = 100_000

	// maxKillDots bounds the dots in the kept kills that an explanation holds in
	// memory: some 30 MiB.
	maxKillDots = 1 << 20

	// maxRangeBytes bounds the values on one page of entities. A client holds the
	// page as a whole, and asks for the next one.
	maxRangeBytes = 8 << 20

	// maxManyBytes bounds the values of one answer about many keys, which has no
	// pages: it is all or nothing, and stands in memory twice, decoded and as JSON.
	maxManyBytes = 64 << 20

	// maxAlarms bounds the alarms that are remembered.
	maxAlarms = 100

	// maxAlarmsOfKind bounds those of one kind, so that many of one kind do not
	// push the few of another out.
	maxAlarmsOfKind = 20
)
