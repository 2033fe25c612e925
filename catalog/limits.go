package catalog

// Every limit of what a space says of itself, with its reason.
const (
	// MaxModuleBytes bounds a WebAssembly module: every node keeps and compiles
	// it.
	MaxModuleBytes = 8 << 20

	// PieceBytes is what one value carries of a module: three of them fit into an
	// entry.
	PieceBytes = 240 << 10

	// PiecesPerTransaction is how many pieces go into one entry.
	PiecesPerTransaction = 3

	// MaxDefinitionBytes bounds the definition of a resolver or a view, which
	// stands in one value.
	MaxDefinitionBytes = 64 << 10

	// MaxVersion bounds the number of a version, so that there is always a next
	// one.
	MaxVersion = 1 << 20

	// MaxNameBytes bounds the name of a schema, resolver or view: it is part of
	// an entity's id.
	MaxNameBytes = 128

	// MaxConditions bounds what a view asks of an entity: each is looked at for
	// every entity that changes.
	MaxConditions = 64

	// MaxExpand bounds how far a read follows references.
	MaxExpand = 8

	// MaxExpanded bounds how many entities one read follows references to.
	MaxExpanded = 1024
)
