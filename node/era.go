package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/storage"
)

// An era is a stretch of this replica's order of application. Dead rows and
// kept kills stand behind the number of the era in which they were written, so
// that those of a whole era go with one range delete once the horizon has
// passed it, however many they are. Readers look through all eras; there are
// few.
type era struct {
	number uint32
	first  uint64 // the ordinal of its first entry
}

// eras are those that may hold something, rising; the last is written to.
type eras []era

// maxEras bounds the eras, and with them what a read of the past looks through.
const maxEras = 16

func (e eras) now() uint32 { return e[len(e)-1].number }

// over counts the eras of which nothing is newer than an ordinal.
func (e eras) over(ordinal uint64) int {
	n := 0
	for n+1 < len(e) && e[n+1].first <= ordinal+1 {
		n++
	}
	return n
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// append writes the stored form: a checksum of the rest (4), the newest time
// below the horizon, then for each era its number and first ordinal (uvarints).
func (e eras) append(b []byte, past clock.Timestamp) []byte {
	row := binary.AppendUvarint(nil, uint64(past))
	for i := range e {
		row = binary.AppendUvarint(row, uint64(e[i].number))
		row = binary.AppendUvarint(row, e[i].first)
	}
	return append(binary.BigEndian.AppendUint32(b, crc32.Checksum(row, castagnoli)), row...)
}

func parseEras(b []byte) (out eras, past clock.Timestamp, err error) {
	bad := fmt.Errorf("eras: %w", storage.ErrCorrupt)
	if len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return nil, 0, bad
	}
	b = b[4:]
	next := func() (n uint64) {
		n, k := binary.Uvarint(b)
		if k <= 0 {
			b, err = nil, bad
			return 0
		}
		b = b[k:]
		return n
	}
	past = clock.Timestamp(next())
	for len(b) > 0 {
		number, first := next(), next()
		if n := len(out); n > 0 && (number != uint64(out[n-1].number)+1 || first < out[n-1].first) || number > 1<<31 {
			return nil, 0, bad
		}
		out = append(out, era{uint32(number), first})
	}
	if err == nil && len(out) == 0 {
		err = bad
	}
	return out, past, err
}

// readEras returns the eras that a reader sees, none where there is no row, and
// the newest time of what lies below the horizon.
func (v *rows) readEras() (eras, clock.Timestamp, error) {
	b, err := v.r.Get(v.key(kindEras, nil))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read eras: %w", err)
	}
	return parseEras(b)
}

// inEra returns a key of a kind of which each era has its own.
func (v *rows) inEra(kind byte, number uint32, k []byte) []byte {
	b := append(append(make([]byte, 0, len(v.prefix)+5+len(k)+dotBytes), v.prefix...), kind)
	return append(binary.BigEndian.AppendUint32(b, number), k...)
}

// openEras reads the eras. A store that knows none is new, or has dead rows and
// kills of the first format, which had no eras: those go, and with them all
// reads of the past.
func (r *Replica) openEras() error {
	e, past, err := r.state.readEras()
	if err != nil {
		return err
	}
	if e != nil {
		r.state.eras, r.state.past = e, past
		return nil
	}
	r.state.eras, r.state.erasDirty = eras{{number: 1, first: r.log.Ordinal() + 1}}, true
	if r.log.Ordinal() == 0 {
		return nil
	}
	r.batch = r.db.NewBatch()
	for _, kind := range []byte{kindDead, kindKill} {
		lo := r.state.key(kind, nil)
		r.batch.DeleteRange(lo, storage.PrefixEnd(lo))
	}
	r.log.RaiseHorizon()
	r.state.past = r.hlc.Last()
	if err := r.apply(); err != nil {
		return err
	}
	return r.step.Commit.Wait()
}

// newEra begins another era.
func (r *Replica) newEra() {
	s := r.state
	s.eras = append(s.eras[:len(s.eras):len(s.eras)], era{s.eras.now() + 1, r.log.Ordinal() + 1})
	s.erasDirty = true
}

// dropEras drops what the first n eras hold.
func (r *Replica) dropEras(n int) {
	s := r.state
	if n == 0 {
		return
	}
	lo, hi := s.eras[0].number, s.eras[n].number
	for _, kind := range []byte{kindDead, kindKill} {
		r.batch.DeleteRange(s.inEra(kind, lo, nil), s.inEra(kind, hi, nil))
	}
	s.eras, s.erasDirty = s.eras[n:], true
}
