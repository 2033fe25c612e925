package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rhizome-p2p/rhizome/bench/internal/side"
	"github.com/rhizome-p2p/rhizome/bench/internal/worker"
)

// prepared returns a directory that is made once for all runs of the scenario.
func (x *suite) prepared(name string, fill func(dir string) error) (string, error) {
	dir := filepath.Join(x.base, "prepared-"+name)
	if x.ready[name] {
		return dir, nil
	}
	// What an earlier attempt left is no store.
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := fill(dir); err != nil {
		return "", fmt.Errorf("prepare: %w", err)
	}
	x.ready[name] = true
	return dir, nil
}

// helper starts a worker whose memory does not count and opens a store without
// peers, unsynced.
func (c *cell) helper(ctx context.Context, dir string) (*worker.Client, error) {
	w, err := worker.Start(string(c.system)+"/prepare", c.cfg.Command(c.system))
	if err != nil {
		return nil, err
	}
	_, err = c.do(ctx, w, worker.Request{Op: worker.Open, Options: side.Options{Dir: dir}})
	if err != nil {
		return nil, errors.Join(err, w.Kill())
	}
	return w, nil
}

// ended ends a helper.
func ended(w *worker.Client, err error) error {
	if err != nil {
		return errors.Join(err, w.Kill())
	}
	return w.Close()
}

// copyDir copies the files of a store that nobody has open.
func copyDir(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy a prepared store: %w", err)
	}
	return nil
}
