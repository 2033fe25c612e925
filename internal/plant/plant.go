// Package plant lets tests put known bugs into the core, to see that the
// simulator finds them. A bug is a condition in the code that would have it:
//
//	if plant.Is(plant.AckEarly) { … }
//
// Without the build tag "plant" Is is false whatever it is asked, and the
// compiler leaves the condition and what depends on it out. With the tag, Set
// plants one bug at a time, or none.
package plant

// A Bug names one of the bugs that can be planted.
type Bug string

// The bugs.
const (
	SkipPrev    Bug = "skip-prev"      // an entry need not name its predecessor's hash
	SkipDeps    Bug = "skip-deps"      // an entry is applied before what it depends on
	AckEarly    Bug = "ack-early"      // effects do not wait for the disk
	LoseKill    Bug = "lose-kill"      // a kill that reaches several rows spares the last
	ReuseLane   Bug = "reuse-lane"     // a process goes on with its last lane after a crash
	SkipGap     Bug = "skip-gap"       // the vector moves over entries that never came
	DropPending Bug = "forget-pending" // what waits for its causes is taken for applied
)

// Bugs of what compaction rests on: each leaves out one condition of the join of
// two states, or of what goes with it. docs/compaction.md says what each is for.
const (
	JoinRevives  Bug = "join-revives"      // a served row is taken though what killed it is applied here
	JoinKeeps    Bug = "join-keeps"        // a row stays though what killed it is applied there
	JoinStale    Bug = "join-stale"        // the join is made with the state as it was at the offer
	JoinByPage   Bug = "join-by-page"      // rows are taken over page by page
	FloorStays   Bug = "floor-stays"       // the vector jumps and the floor does not
	TipsStay     Bug = "tips-stay"         // tips are not joined
	KillsOpen    Bug = "kills-open"        // an entry is applied before those that its kills name, or its deps
	HeadUnsigned Bug = "signed-head-stays" // the signed head does not come with the vector
)

// CompactionBugs lists those.
var CompactionBugs = []Bug{
	JoinRevives, JoinKeeps, JoinStale, JoinByPage, FloorStays, TipsStay, KillsOpen, HeadUnsigned,
}

// Bugs lists every bug of the log and its transport.
var Bugs = []Bug{SkipPrev, SkipDeps, AckEarly, LoseKill, ReuseLane, SkipGap, DropPending}
