package datastore

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A value stands in a register at the root of its entity. One that no register
// can hold stands in several, which one transaction writes:
//
//	/HASH/0, /HASH/1 …    parts of the value, 192 KiB each but for the last
//
// HASH is the SHA-256 of the value in hexadecimal. So parts of two values never
// mix, whoever wrote them at once, and a value of which anything is missing is
// not taken for one.

// putOps returns the operations that make a value all that an entity holds.
func putOps(entity string, value []byte) []rhizome.Op {
	if len(value) <= registerBytes {
		if value == nil {
			value = []byte{} // nil would be null
		}
		return []rhizome.Op{{Kind: rhizome.OpPut, Entity: entity, Value: value}}
	}
	ops := []rhizome.Op{{Kind: rhizome.OpRm, Entity: entity}}
	for p, part := range partsOf(value) {
		ops = append(ops, rhizome.Op{Kind: rhizome.OpPut, Entity: entity, Path: p, Value: part})
	}
	return ops
}

// partsOf yields the parts of a value with their paths.
func partsOf(value []byte) func(yield func(delta.Path, []byte) bool) {
	sum := sha256.Sum256(value)
	at := delta.Path("").Child(hex.EncodeToString(sum[:]))
	return func(yield func(delta.Path, []byte) bool) {
		i := 0
		for part := range slices.Chunk(value, partBytes) {
			if !yield(at.Child(strconv.Itoa(i)), part) {
				return
			}
			i++
		}
	}
}

// A found value is what is read of an entity.
type found struct {
	survivor *rhizome.Survivor // the register, or the newest of the parts
	value    []byte
}

// pick returns the value that the survivors of an entity show: the newest one
// that is whole. Nodes that hold the same survivors pick the same. ok is false
// where there is none: what is no byte string is not of a datastore.
func pick(survivors []rhizome.Survivor) (f found, ok bool, err error) {
	newest := make([]*rhizome.Survivor, 0, 1) // most have one
	for i := range survivors {
		if s := &survivors[i]; s.Verb == delta.Assign && s.Value.Kind() == delta.KindBytes {
			newest = append(newest, s)
		}
	}
	slices.SortFunc(newest, func(a, b *rhizome.Survivor) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), b.Dot.Compare(a.Dot))
	})
	var tried []string
	for _, s := range newest {
		if s.Path == "" {
			value, err := bytesOf(s)
			return found{s, value}, err == nil, err
		}
		hash := s.Path.Segments()[0]
		if slices.Contains(tried, hash) {
			continue
		}
		tried = append(tried, hash)
		if value, whole, err := join(hash, newest); err != nil || whole {
			return found{s, value}, whole, err
		}
	}
	return found{}, false, nil
}

// join puts the parts of a value together.
func join(hash string, from []*rhizome.Survivor) (value []byte, whole bool, err error) {
	for i := range maxParts {
		at := delta.Path("").Child(hash).Child(strconv.Itoa(i))
		j := slices.IndexFunc(from, func(s *rhizome.Survivor) bool { return s.Path == at })
		if j < 0 {
			break
		}
		part, err := bytesOf(from[j])
		if err != nil {
			return nil, false, err
		}
		value = append(value, part...)
	}
	sum := sha256.Sum256(value)
	return value, hex.EncodeToString(sum[:]) == hash, nil
}

func bytesOf(s *rhizome.Survivor) ([]byte, error) {
	x, err := s.Value.Any()
	if err != nil {
		return nil, err
	}
	b, _ := x.([]byte)
	return b, nil
}
