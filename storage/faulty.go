package storage

import (
	"errors"
	"fmt"
	"sync"
)

// ErrInjected is the error that a Faulty store makes.
var ErrInjected = errors.New("storage: injected fault")

// A FaultPoint is where a Faulty store fails.
type FaultPoint int

const (
	// FaultNever counts and lets everything through.
	FaultNever FaultPoint = iota
	// FaultApply fails an Apply.
	FaultApply
	// FaultWait fails the Wait of a commit.
	FaultWait
)

// A Fault says which write of a Faulty store fails, and how.
type Fault struct {
	At FaultPoint

	// N counts the writes of that kind from 1.
	N int

	// Persist makes the batch durable before the error is returned: the
	// write "failed but persisted". Without it the batch is lost: an Apply
	// does not reach the inner store, a Wait does not make it durable.
	Persist bool
}

// A Faulty store passes everything to another one and fails one write. From
// then on it refuses all writes, as the contract says; reads go on. A fault
// table runs the same work with N from 1 until Fired is false, and each time
// reopens the inner store and looks at what is there.
type Faulty struct {
	DB
	fault Fault

	// mu guards the fields below and serializes writes, so that N means the
	// same write in each run of a single writer.
	mu             sync.Mutex
	applies, waits int
	failed         error
}

// NewFaulty wraps db. The zero fault never happens.
func NewFaulty(db DB, fault Fault) *Faulty { return &Faulty{DB: db, fault: fault} }

// Fired reports whether the fault has happened.
func (f *Faulty) Fired() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed != nil
}

// fail makes f refuse writes from now on. mu is held.
func (f *Faulty) fail(what string) error {
	f.failed = fmt.Errorf("%w: %s: %w", ErrFailed, what, ErrInjected)
	return f.failed
}

// Apply is DB.Apply, or the fault.
func (f *Faulty) Apply(b Batch) (Commit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return nil, f.failed
	}
	f.applies++
	if f.fault.At == FaultApply && f.fault.N == f.applies {
		if f.fault.Persist {
			if err := ApplySync(f.DB, b); err != nil {
				return nil, err
			}
		}
		return nil, f.fail(fmt.Sprintf("apply %d", f.applies))
	}
	c, err := f.DB.Apply(b)
	if err != nil {
		return nil, err
	}
	return &faultyCommit{store: f, Commit: c}, nil
}

// Close closes the inner store. After the fault it does not: that would make
// durable what the fault lost. The inner store is then the test's to reopen.
func (f *Faulty) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return f.failed
	}
	return f.DB.Close()
}

type faultyCommit struct {
	store *Faulty
	Commit
}

func (c *faultyCommit) Wait() error {
	f := c.store
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return f.failed
	}
	f.waits++
	if f.fault.At != FaultWait || f.fault.N != f.waits {
		return c.Commit.Wait()
	}
	if f.fault.Persist {
		if err := c.Commit.Wait(); err != nil {
			return err
		}
	}
	return f.fail(fmt.Sprintf("wait %d", f.waits))
}
