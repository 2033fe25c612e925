package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	ds "github.com/ipfs/go-datastore"
	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
	"github.com/rhizome-p2p/rhizome/datastore"
	"github.com/rhizome-p2p/rhizome/delta"
)

// formatCRDT is a directory of go-ds-pebble with a store of go-ds-crdt in it.
const formatCRDT = "go-ds-crdt"

const crdtHelp = `
--format go-ds-crdt is for the directory of a go-ds-pebble that holds a store of
go-ds-crdt. It is only read, and must not be open. --namespace is that of the store;
its keys go into the same namespace here, or into that of --into, as package
datastore has them: see docs/datastore.md.`

// A crdtImport is an import of a store of go-ds-crdt.
type crdtImport struct {
	dir, namespace, into string

	// What has been read so far; the node is told as lines are taken.
	read, values uint64
	refused      []error
	unlisted     uint64

	// Of these, the keys with large values, which are in, and what was written of
	// them.
	large, written uint64
}

// maxRefused is how many keys that do not fit are listed: as many as a person
// reads.
const maxRefused = 100

// crdtFlags adds the flags that go with the format.
func crdtFlags(cmd *cobra.Command, im *crdtImport) {
	cmd.Flags().StringVar(&im.namespace, "namespace", "/", "of the store, with --format go-ds-crdt")
	cmd.Flags().StringVar(&im.into, "into", "", "namespace here, where it is another one")
}

// run imports the store into the node.
func (im *crdtImport) run(interrupt context.Context, a *app) (err error) {
	if im.into == "" {
		im.into = im.namespace
	}
	if _, err := datastore.PutOps(ds.NewKey(im.into), ds.NewKey("/"), nil); err != nil {
		return api.NewProblem(api.CodeValidation, err.Error(), "name another one with --into")
	}
	base, err := datastore.OpenPebble(im.dir)
	if err != nil {
		return im.problem(err)
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	store, err := datastore.OpenCRDT(interrupt, base, ds.NewKey(im.namespace))
	if err != nil {
		return im.problem(err)
	}
	if store.Version == 0 {
		_, _ = fmt.Fprintln(a.Err, "note: the store is of an old format, in which keys that were removed once may have wrong values; go-ds-crdt v0.6.8 mends that when it opens it")
	}
	if store.Dirty {
		_, _ = fmt.Fprintln(a.Err, "note: the store is marked dirty: it had not applied all that it had heard of")
	}
	c, err := a.connect(interrupt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return im.send(interrupt, a, c, store)
}

// send sends the values: documents, and the large ones beside. An interrupt ends
// them, so that the node commits what it has.
func (im *crdtImport) send(interrupt context.Context, a *app, c *client.Client, store *datastore.CRDT) error {
	in, out := io.Pipe()
	source := make(chan error, 1)
	reading, stop := context.WithCancel(interrupt)
	defer stop()
	go func() {
		w := bufio.NewWriterSize(out, 64<<10)
		err := im.keys(reading, c, store, w)
		source <- errors.Join(err, w.Flush())
		_ = out.Close() // it has no error
	}()
	bar := newProgress(a.Err, 0)
	p, err := c.Import(context.WithoutCancel(interrupt), in, bar.importing)
	stop()
	_ = in.Close() // what is still to come has nowhere to go
	failed := <-source
	bar.end()
	p.Docs += im.large
	p.Written += im.written
	switch {
	case err != nil:
		return err
	case interrupt.Err() != nil:
		return api.NewProblem(api.CodeError, fmt.Sprintf("interrupted: %d keys are in", p.Docs), "run the import again; what is in is skipped")
	case failed != nil:
		return fmt.Errorf("%s: %w", im.dir, failed)
	}
	for _, err := range im.refused {
		_, _ = fmt.Fprintln(a.Err, err)
	}
	n := uint64(len(im.refused)) + im.unlisted
	switch {
	case a.out.json():
		a.out.value(struct {
			Keys    uint64 `json:"keys"`
			Bytes   uint64 `json:"bytes"`
			In      uint64 `json:"in"`
			Written uint64 `json:"written"`
			Refused uint64 `json:"refused"`
		}{im.read, im.values, p.Docs, p.Written, n})
	case a.out.form == "raw":
		a.out.printf("%d\n", p.Docs)
	default:
		a.out.printf("ok  %d keys read, %d in, %d deltas written\n", im.read, p.Docs, p.Written)
	}
	if n > 0 {
		return api.NewProblem(api.CodeValidation, fmt.Sprintf("%d of %d keys do not fit; %d of them are listed", n, im.read, len(im.refused)), "all others are in")
	}
	return nil
}

// keys writes a document for each key that fits, but for those with large values,
// which it has the node replace.
func (im *crdtImport) keys(ctx context.Context, c *client.Client, store *datastore.CRDT, w io.Writer) error {
	var line []byte
	into := ds.NewKey(im.into)
	for e, err := range store.Values(ctx) {
		if err != nil {
			return err
		}
		im.read++
		im.values += uint64(e.Size)
		ops, err := datastore.PutOps(into, ds.NewKey(e.Key), e.Value)
		if err != nil {
			if len(im.refused) < maxRefused {
				im.refused = append(im.refused, err)
			} else {
				im.unlisted++
			}
			continue
		}
		if len(ops) == 1 {
			line = append(delta.AppendAnyJSON(line[:0], map[string]any{"id": ops[0].Entity, "$value": ops[0].Value}), '\n')
			_, err = w.Write(line)
		} else {
			err = im.replace(ctx, c, ops)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// replace writes a value that is in parts, unless the entity holds these and
// nothing else. A document would be merged: the parts of a value that was there
// before would stay, and count as older or newer by when they were written.
func (im *crdtImport) replace(ctx context.Context, c *client.Client, ops []rhizome.Op) error {
	r, err := c.ReadWith(ctx, ops[0].Entity, rhizome.ReadOptions{Raw: true})
	if err != nil && api.ProblemOf(err).Code != api.CodeNotFound {
		return err
	}
	if err != nil || !holdsParts(r.Survivors, ops[1:]) {
		out := make([]api.Op, len(ops))
		for i := range ops {
			out[i] = api.Op{Op: ops[i].Kind, Key: delta.Key(ops[i].Entity, ops[i].Path)}
			if ops[i].Kind == rhizome.OpPut {
				out[i].Value = delta.AppendAnyJSON(nil, ops[i].Value)
			}
		}
		receipt, err := c.Commit(ctx, out...)
		if err != nil {
			return err
		}
		im.written += uint64(receipt.Deltas)
	}
	im.large++
	return nil
}

// holdsParts reports whether survivors are what puts write, and no more.
func holdsParts(survivors []api.Survivor, puts []rhizome.Op) bool {
	if len(survivors) != len(puts) {
		return false
	}
	for i := range puts {
		j := slices.IndexFunc(survivors, func(s api.Survivor) bool { return s.Path == puts[i].Path })
		if j < 0 || survivors[j].Verb != delta.Assign.String() {
			return false
		}
		x, err := delta.ParseJSON(survivors[j].Value)
		if err != nil || !api.EqualValue(x, puts[i].Value) {
			return false
		}
	}
	return true
}

// problem says what is wrong with the store.
func (im *crdtImport) problem(err error) error {
	var other *datastore.NamespaceError
	switch {
	case errors.Is(err, datastore.ErrLocked):
		return api.NewProblem(api.CodeLocked, im.dir+" is open in another process", "end the program that uses it first")
	case errors.Is(err, datastore.ErrNoPebble):
		return api.NewProblem(api.CodeValidation, im.dir+" holds no Pebble database", "give the directory of the go-ds-pebble, the one with files named MANIFEST-…")
	case errors.As(err, &other) && len(other.Found) > 0:
		return api.NewProblem(api.CodeNotFound, err.Error(), "name it with --namespace")
	case errors.As(err, &other):
		return api.NewProblem(api.CodeNotFound, im.dir+": "+err.Error(), "")
	}
	return err
}
