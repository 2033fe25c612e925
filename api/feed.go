package api

// The formats of an import and an export.
const (
	FormatDocuments = "jsonl"   // documents: see Document
	FormatFeed      = "rhizome" // a pointer feed: see package feed
)

// A FeedProgress tells how far the import of a pointer feed got. The last one of
// a response has Done or Problem, and the problems.
type FeedProgress struct {
	Read      uint64 `json:"read"`      // deltas, and what stood in the place of one
	Lines     uint64 `json:"lines"`     // the line of the last of them
	Bytes     uint64 `json:"bytes"`     // of the input, up to there
	New       uint64 `json:"new"`       // deltas that were not here
	Skipped   uint64 `json:"skipped"`   // deltas that were here already
	Negations uint64 `json:"negations"` // of the new ones
	Written   uint64 `json:"written"`   // deltas of this space that had to be written

	Problems []FeedProblem `json:"problems,omitempty"`
	// Unlisted counts the problems past those that are listed.
	Unlisted uint64   `json:"unlisted,omitempty"`
	Done     bool     `json:"done,omitempty"`
	Problem  *Problem `json:"problem,omitempty"`
}

// A FeedProblem is one delta of a feed that was not taken, or not with the effect
// that its text asks for.
type FeedProblem struct {
	Line int    `json:"line"`
	ID   string `json:"id,omitempty"`
	At   string `json:"at,omitempty"` // a JSON pointer into the delta
	Text string `json:"text"`
}
