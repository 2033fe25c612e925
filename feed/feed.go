// Package feed takes in and gives out pointer feeds: the deltas of other
// rhizomatic implementations as JSON.
//
// # The form
//
// A delta is an assertion and a hyper-edge: an id, who made it when and where,
// and pointers that say in which role it points at what.
//
//	{"id": ID, "timestamp": TIME, "creator": NAME, "host": NAME, "pointers": [POINTER, …]}
//	{"role": NAME, "target": {"id": ID, "context": NAME}}   to an entity
//	{"role": NAME, "target": VALUE}                         to a string, number, bool or null
//
// This is the normal form, the one that is written. Read are also the spellings
// author and timeCreated and system, localContext and targetContext, a time in
// RFC 3339, and pointers as one object {ROLE: TARGET}. Parse knows them all, and
// refuses everything else with a ShapeError that names the place: what is not
// understood is not guessed at and not left out. docs/feeds.md is the table.
//
// A delta with a pointer in the role negates is a negation of the delta whose id
// is the target.
//
// # The mapping
//
// A delta with the id X becomes, in one transaction of the delta's creator,
//
//	feed/X#/delta           one atomic register: the delta in normal form
//	ID#/CONTEXT             a bag, for each pointer to an entity with a context: a reference to feed/X
//	feed/$negated/Y         a bag, for each pointer that negates Y: a reference to feed/X
//
// so that a hyper-edge shows under each of its roles, and the index of
// references leads from feed/X back to them. X stands escaped (see edgeOf), and
// an ID that cannot be an entity's or is reserved stands as feed/$entity/ID.
//
// # Negation
//
// A delta is negated where the bag of its marks, feed/$negated/X, holds anything.
// It is hidden where it is negated and not a negation itself: its edge stays, and
// no bag of its pointers refers to it. Both follow from the set of deltas that a
// node holds, not from the order of their arrival, for these reasons:
//
//   - A mark is an add to a bag, so concurrent marks are all kept, and nothing
//     here removes one: negated never becomes false again. It is written with the
//     negation, whether or not the negated delta is here.
//   - A delta that comes after its negation finds the mark and writes no members.
//     A negation that comes after its delta removes the members that it sees.
//   - Where the two are written on nodes that do not know of each other, mark and
//     members meet when the nodes do. Reconcile looks at each mark and removes the
//     members that are still there; Importer.Close calls it, so that every import
//     does. A node that holds the mark never adds members, so only finitely many
//     can ever have to be removed, and the first Reconcile after the last of them
//     came leaves none, on any node, for good.
//
// Until then a bag can show a hidden delta. A reader who must know looks whether
// its mark stands.
//
// The negation of a negation changes nothing: a kill is for ever (and where it
// would revive a delta on one node, another could have dropped it long ago). It is
// kept, exported and reported.
//
// # Out
//
// Export gives back imported deltas as they came, hidden ones and negations too,
// and makes a delta of each survivor that belongs to no feed.
//
// The package does no I/O of its own and starts no goroutine. An Importer is for
// one goroutine; any number of them may work on one node.
package feed

import (
	"context"
	"iter"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// A Source is what a feed is read from.
type Source interface {
	Read(ctx context.Context, entity string, p delta.Path, o node.ReadOptions) (node.Reading, error)
	Export(ctx context.Context, prefix string) iter.Seq2[node.Reading, error]
}

// A Node is what a feed is imported into. *node.Node and *rhizome.Node are such.
type Node interface {
	Source
	Commit(ctx context.Context, creator string, ops []node.Op) (node.Receipt, error)
	Log(ctx context.Context, lane, since string, limit int) ([]node.LogEntry, error)
}
