package schema

import "github.com/rhizome-p2p/rhizome/delta"

// Every limit of a schema, with its reason.
const (
	// MaxDocumentBytes bounds the text of one version: it is carried by the log
	// as one value.
	MaxDocumentBytes = delta.MaxValueBytes

	// MaxNameBytes bounds the name of a schema and the id of a property, which
	// stand in every error and in generated code.
	MaxNameBytes = 128

	// MaxVersion fits an int of 32 bits.
	MaxVersion = 1<<31 - 1

	// MaxProperties is well above what a document of MaxDocumentBytes that
	// anybody wrote holds; each is looked at whenever an entity is read.
	MaxProperties = 4096

	// MaxPatterns bounds the entity patterns of a schema, and of one reference:
	// they are tried one after the other.
	MaxPatterns = 64

	// MaxPatternBytes is that of the entities that a pattern matches.
	MaxPatternBytes = delta.MaxEntityBytes

	// MaxDepends bounds the properties that one property depends on.
	MaxDepends = 64

	// MaxMigrations bounds the migrations of one version; each is tried on each
	// survivor that is read.
	MaxMigrations = 256

	// MaxParts bounds what one value is split into.
	MaxParts = 16

	// MaxProtoBytes and MaxProtoDepth bound the text of a .proto file, which is
	// compiled by a library whose work nobody else bounds.
	MaxProtoBytes = 64 << 10
	MaxProtoDepth = 32

	// MaxTypeWork bounds how many schemas a type applies to a value and to one
	// chain of members down to delta.MaxDepth. A type of a few dozen bytes could
	// ask for 2^64 otherwise.
	MaxTypeWork = 100_000

	// MaxTypeSchemas bounds the schemas that one type is made of, of which the
	// general library compares each with each.
	MaxTypeSchemas = 4096

	// MaxExpression bounds the instructions of a regular expression. A text of
	// delta.MaxValueBytes costs as many steps as the two numbers' product.
	MaxExpression = 2000

	// MaxMistakes bounds what is told about one document.
	MaxMistakes = 100
)
