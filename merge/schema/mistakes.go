package schema

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/rhizome-p2p/rhizome/delta"
)

// mistakes collects what is wrong with a document, one for each place: what
// follows from a first mistake is not worth telling.
type mistakes struct {
	list []*Mistake
	at   map[delta.Path]bool
	more int // what is past MaxMistakes
}

func (m *mistakes) add(at delta.Path, format string, args ...any) {
	if m.at[at] {
		return
	}
	if len(m.list) == MaxMistakes {
		m.more++
		return
	}
	if m.at == nil {
		m.at = make(map[delta.Path]bool)
	}
	m.at[at] = true
	m.list = append(m.list, &Mistake{at, fmt.Sprintf(format, args...)})
}

// err returns all of them, joined.
func (m *mistakes) err() error {
	errs := make([]error, 0, len(m.list)+1)
	for _, x := range m.list {
		errs = append(errs, x)
	}
	if m.more > 0 {
		errs = append(errs, fmt.Errorf("schema: and %d more", m.more))
	}
	return errors.Join(errs...)
}

// item returns the pointer of an element of an array.
func item(at delta.Path, i int) delta.Path { return at.Child(strconv.Itoa(i)) }
