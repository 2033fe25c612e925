package datastore

import (
	"errors"
	"slices"

	ds "github.com/ipfs/go-datastore"

	"github.com/rhizome-p2p/rhizome"
)

// startHooks tells the hooks, if there are any, of what is applied from now on.
func (d *Datastore) startHooks() {
	if d.opts.PutHook == nil && d.opts.DeleteHook == nil && d.opts.ResetHook == nil {
		return
	}
	since := d.node.Cursor()
	d.hooks.Go(func() {
		if err := d.follow(since); err != nil && d.ctx.Err() == nil && !errors.Is(err, rhizome.ErrClosed) {
			d.log.Error("datastore: hooks have ended", "err", err)
		}
	})
}

// follow tells the hooks of what was applied after a cursor, until Close.
func (d *Datastore) follow(since string) error {
	prefix := d.space.start("/")
	for {
		var err error
		for c, e := range d.node.Changes(d.ctx, prefix, since) {
			if err = e; err != nil {
				break
			}
			if err = d.tell(since, &c); err != nil {
				return err
			}
			since = c.Cursor
		}
		if d.ctx.Err() != nil || !errors.Is(err, rhizome.ErrGone) {
			return err
		}
		if since, err = d.tellAll(); err != nil {
			return err
		}
	}
}

// tell tells what one transaction did. Before is the cursor of the one that was
// told before it: what this one does not touch has not changed since.
func (d *Datastore) tell(before string, c *rhizome.Change) error {
	var names []string
	for i := range c.Deltas {
		if name := c.Deltas[i].Entity; !slices.Contains(names[max(0, len(names)-1):], name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := d.tellKey(before, c, name); err != nil {
			return err
		}
	}
	return nil
}

// tellKey tells what a transaction did to one key.
func (d *Datastore) tellKey(before string, c *rhizome.Change, name string) error {
	key, ok := d.space.key(name)
	if !ok {
		return nil
	}
	now, there, err := d.readName(d.ctx, name, "")
	if err == nil && (!there || now.survivor.Txn != c.Txn) {
		// Something else stands there now. What stood there when this was applied?
		now, there, err = d.readAt(name, c.Cursor)
	}
	switch {
	case err != nil:
		return err
	case !there:
		return d.tellGone(before, name, key)
	case now.survivor.Txn != c.Txn:
		// A newer value hides what was written, or one that was hidden has come to
		// light: the first is nothing new.
		was, had, err := d.readAt(name, before)
		if err != nil || had && was.survivor.Dot == now.survivor.Dot {
			return err
		}
	}
	if d.opts.PutHook != nil {
		d.opts.PutHook(key, now.value)
	}
	return nil
}

// tellGone tells that a key shows nothing, where it showed something before: what
// was deleted twice at once, or never was a byte string, is nothing new.
func (d *Datastore) tellGone(before, name string, key ds.Key) error {
	if d.opts.DeleteHook == nil {
		return nil
	}
	_, had, err := d.readName(d.ctx, name, before)
	if errors.Is(err, rhizome.ErrHorizon) {
		had, err = true, nil // as far as is known
	}
	if had && err == nil {
		d.opts.DeleteHook(key)
	}
	return err
}

// readAt reads what an entity showed at a cursor, or, where the past is no longer
// held, what it shows now.
func (d *Datastore) readAt(name, cursor string) (found, bool, error) {
	f, ok, err := d.readName(d.ctx, name, cursor)
	if errors.Is(err, rhizome.ErrHorizon) {
		return d.readName(d.ctx, name, "")
	}
	return f, ok, err
}

// tellAll tells of every key that there is, after a gap, and returns the cursor
// to go on from.
func (d *Datastore) tellAll() (since string, err error) {
	for {
		since = d.node.Cursor()
		told := false
		err = nil
		for e, failed := range d.entries(d.ctx, "", since) {
			if err = failed; err != nil {
				break
			}
			if !told && d.opts.ResetHook != nil {
				d.opts.ResetHook()
			}
			told = true
			if d.opts.PutHook != nil {
				key, _ := d.space.key(d.space.start(e.Key))
				d.opts.PutHook(key, e.Value)
			}
		}
		if !told && err == nil && d.opts.ResetHook != nil {
			d.opts.ResetHook()
		}
		if !errors.Is(err, rhizome.ErrHorizon) || d.ctx.Err() != nil {
			return since, err
		}
	}
}
