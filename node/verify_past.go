package node

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// kept checks what compaction and reads of the past stand on: checkpoints, dead
// rows and kept kills in the eras there are, rows that are staged.
func (v *verifier) kept() error {
	view := v.n.rows
	view.r = v.r
	v.checkpoints(&view)
	all, _, err := view.readEras()
	if err != nil {
		v.problem("%v", err)
		return v.ctx.Err()
	}
	if err := v.dead(&view, all); err != nil {
		return err
	}
	if err := v.kills(&view, all); err != nil {
		return err
	}
	err = view.stagedRows(func(key []byte, s *merge.Survivor) error {
		v.belongs("staged row", key, s)
		return v.step()
	})
	if err != nil && v.ctx.Err() == nil {
		v.problem("%v", err)
	}
	return v.ctx.Err()
}

func (v *verifier) checkpoints(view *rows) {
	all, err := view.readCheckpoints()
	if err != nil {
		v.problem("%v", err)
		return
	}
	floors := make(map[clock.LaneID]signedLane, len(v.signed))
	for _, s := range v.signed {
		floors[s.id] = s
	}
	for i := range all {
		c := &all[i]
		for _, h := range c.Cut {
			if s := floors[h.Lane]; c.Done && !s.closed && s.floor < h.Head.Seq {
				v.problem("checkpoint %d dropped lane %v up to %d, its floor is %d", c.Number, h.Lane, h.Head.Seq, s.floor)
			}
		}
	}
}

// belongs checks that a survivor stands in the row of its key.
func (v *verifier) belongs(what string, key []byte, s *merge.Survivor) {
	entity, path, tag, err := merge.ParseKey(key)
	if err != nil {
		v.problem("%s %x: %v", what, key, err)
		return
	}
	d := delta.Delta{Entity: entity, Path: path, Verb: s.Verb, Value: s.Value}
	if delta.CheckValue(s.Value) != nil || delta.TagOf(s.Dot.Lane, s.Creator, &d) != tag {
		v.problem("%s %s: survivor %v does not belong there", what, delta.Key(entity, path), s.Dot)
	}
}

// inEras yields the rows of a kind and reports those of an era that there is
// none of.
func (v *verifier) inEras(view *rows, kind byte, all eras, f func(k, value []byte) error) error {
	lo := view.key(kind, nil)
	for kv, err := range v.r.Scan(lo, storage.PrefixEnd(lo)) {
		if err == nil {
			err = v.step()
		}
		if err != nil {
			if v.ctx.Err() == nil {
				v.problem("scan %q: %v", kind, err)
			}
			return v.ctx.Err()
		}
		k := kv.Key[len(lo):]
		if len(k) < 4+dotBytes {
			v.problem("key %x is too short", kv.Key)
			continue
		}
		if e := binary.BigEndian.Uint32(k); len(all) == 0 || e < all[0].number || e > all.now() {
			v.problem("key %x is of era %d, which there is not", kv.Key, e)
			continue
		}
		if err := f(k[4:], kv.Value); err != nil {
			v.problem("key %x: %v", kv.Key, err)
		}
	}
	return nil
}

func (v *verifier) dead(view *rows, all eras) error {
	return v.inEras(view, kindDead, all, func(k, value []byte) error {
		at := len(k) - dotBytes
		dot, _, err := view.parseDot(k[at:])
		if err != nil {
			return err
		}
		_, s, err := view.parseDead(value)
		if err == nil && s.Dot != dot {
			err = fmt.Errorf("it holds %v", s.Dot)
		}
		if err == nil {
			v.belongs("dead row", k[:at], &s)
		}
		return err
	})
}

func (v *verifier) kills(view *rows, all eras) error {
	return v.inEras(view, kindKill, all, func(k, value []byte) error {
		if len(k) < 2+dotBytes || len(k) != 2+int(binary.BigEndian.Uint16(k))+dotBytes {
			return errors.New("its scope has another length")
		}
		killer, _, err := view.parseDot(k[len(k)-dotBytes:])
		if err == nil && killer == (clock.Dot{}) {
			err = errors.New("no killer")
		}
		if err == nil {
			_, err = view.parseKill(value)
		}
		return err
	})
}
