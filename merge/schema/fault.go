package schema

import "github.com/rhizome-p2p/rhizome/delta"

// A fault says where inside a value something is wrong, and what.
type fault struct {
	at   delta.Path
	text string
}

// Error tells the place, where it is not the value itself, and the fault.
func (f *fault) Error() string {
	if f.at == "" {
		return f.text
	}
	return string(f.at) + ": " + f.text
}

// inside returns the fault as one of the value that has this one at a path.
func (f *fault) inside(at delta.Path) *fault { return &fault{at + f.at, f.text} }

// asError keeps a nil fault from becoming an error that is not nil.
func (f *fault) asError() error {
	if f == nil {
		return nil
	}
	return f
}
