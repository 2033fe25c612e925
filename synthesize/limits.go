package synthesize

// Every limit of what is read, with its reason. What a single value and a path
// may hold is limited by package delta.
const (
	// MaxFileBytes bounds one file of fragments: configuration is written by
	// people and fits many times over, and a parser may hold a dozen times the
	// text.
	MaxFileBytes = 4 << 20

	// MaxFiles bounds the files of one directory, and MaxTotalBytes all they
	// hold, so that a directory named by mistake ends early.
	MaxFiles      = 16 << 10
	MaxTotalBytes = 64 << 20

	// MaxValues bounds the values that one file comes to, and MaxExpandedBytes
	// the text in them: aliases in YAML can make much of little.
	MaxValues        = 256 << 10
	MaxExpandedBytes = 4 * MaxFileBytes

	// MaxDirDepth bounds the nesting of directories.
	MaxDirDepth = 32

	// MaxLeaves bounds the leaves of all fragments together, and MaxKeyBytes
	// the paths to them: each leaf repeats the names above it.
	MaxLeaves   = 1 << 20
	MaxKeyBytes = 256 << 20

	// maxNesting bounds the nesting of what parsers read: that of a value, one
	// level for the envelope, and one for the form of references.
	maxNesting = 64 + 2

	// maxTOMLMembers bounds the names in one table of TOML: the library looks for
	// repeated ones by going through all of them.
	maxTOMLMembers = 8 << 10

	// maxProbeBytes bounds what is parsed again to find the line of a mistake
	// in YAML.
	maxProbeBytes = 4 << 20
)
