package feed

import "github.com/rhizome-p2p/rhizome/delta"

const (
	// maxTextBytes bounds the JSON text of one delta. Its value takes at most
	// delta.MaxValueBytes, and escapes make a text up to six times as long.
	maxTextBytes = 2 << 20

	// maxWindow and maxWindowBytes bound what an import commits at once: enough
	// to share an fsync, and a quarter of what an entry takes.
	maxWindow      = 500
	maxWindowBytes = 256 << 10

	// maxProblems bounds the problems that a report lists; the others are
	// counted. A feed that is wrong in every line is wrong in one way.
	maxProblems = 10_000

	// maxTries is how often one delta is planned anew because another import
	// wrote the same edge meanwhile. After the first time the edge is there, so
	// that more tries mean that somebody takes it away again.
	maxTries = 3

	// maxEdges bounds the edges that an export remembers to tell members of a
	// feed from bags that somebody wrote: some 20 MB, so that an edge is seldom
	// read for each of its members.
	maxEdges = 1 << 16

	// maxNameBytes is what is left for an escaped id under the longest prefix.
	maxNameBytes = delta.MaxEntityBytes - len(markPrefix)
)
