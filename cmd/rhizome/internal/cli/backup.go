package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
	"github.com/rhizome-p2p/rhizome/backup"
)

func (a *app) backupCmd() *cobra.Command {
	var force, without bool
	cmd := a.command(spec{
		use: "backup FILE|- [--force] [--without-identity]", short: "Back up the repo, with its history",
		long: `As of one moment, while the node goes on. The file is checked while it is written;
verify --backup checks it again, and restore makes a repo of it. It is written
beside FILE and takes its name when it is whole and on disk; with - it goes to
stdout.

It holds the network's key and the node's identity: whoever has it is a member, and
can pass for this node. --without-identity leaves the identity out; the repo that
is restored then gets one of its own.`,
		example: "rhizome backup /mnt/backup/web-1.rhizome\nrhizome backup - | ssh web-2 'cat > web-1.rhizome'",
		codes:   reach(api.CodeConflict), min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				if args[0] == "-" {
					return a.backupTo(ctx, c, a.Out, "", without)
				}
				return a.backupFile(ctx, c, args[0], force, without)
			})
		},
	})
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that exists")
	cmd.Flags().BoolVar(&without, "without-identity", false, "leave the node's identity out")
	return cmd
}

// backupFile writes a file that is there whole or not at all.
func (a *app) backupFile(ctx context.Context, c *client.Client, path string, force, without bool) (err error) {
	if err := replaceable(path, force); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return api.Problemf(api.CodeError, "%v", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err = a.backupTo(ctx, c, f, path, without); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = replaceable(path, force); err != nil {
		return err // it came meanwhile
	}
	// The commit point: from here on FILE is the backup.
	if err = os.Rename(f.Name(), path); err != nil {
		return api.Problemf(api.CodeError, "%v", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil //nolint:nilerr // a directory that may not be listed; the file is there
	}
	return errors.Join(d.Sync(), d.Close())
}

// replaceable says why a file may not be written at a path.
func replaceable(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return api.Problemf(api.CodeError, "%v", err)
	case !info.Mode().IsRegular():
		return api.NewProblem(api.CodeConflict, path+" exists and is no file", "name a file, or write to stdout with -")
	case !force:
		return api.NewProblem(api.CodeConflict, path+" exists", "name another file, or replace it with --force")
	}
	return nil
}

// backupTo writes a backup to a stream and says what it holds: on stderr where
// the stream is stdout, which has nothing else on it.
func (a *app) backupTo(ctx context.Context, c *client.Client, w io.Writer, path string, without bool) error {
	bar := newProgress(a.Err, 0)
	h, sum, err := c.Backup(ctx, w, without, bar.backingUp)
	bar.end()
	if err != nil {
		return err
	}
	out := a.out
	if path == "" {
		out = newPrinter(a.Err, a.out.form)
	}
	out.backup(path, &h, &sum)
	if path == "" {
		return out.flush()
	}
	return nil
}

func (p *progress) backingUp(h *backup.Header, at backup.Summary) {
	p.draw(fmt.Sprintf("%d rows and entries  %s", at.Pairs, sizeText(at.Bytes)))
}

// A backupReport is what a backup holds.
type backupReport struct {
	File     string    `json:"file,omitempty"`
	Node     string    `json:"node"`
	Space    string    `json:"space_name"`
	Time     time.Time `json:"time"`
	Digest   string    `json:"digest"`
	Frontier string    `json:"frontier"`
	Entries  uint64    `json:"entries"`
	Rows     uint64    `json:"rows"`
	Lanes    uint64    `json:"lanes"`
	Pairs    uint64    `json:"pairs"`
	Bytes    uint64    `json:"bytes"`
	SHA256   string    `json:"sha256"`
	Identity bool      `json:"identity"`
}

func backupReportOf(file string, h *backup.Header, sum *backup.Summary) backupReport {
	return backupReport{
		File: file, Node: h.Node, Space: h.Name, Time: h.Time, Digest: hex.EncodeToString(h.Digest),
		Frontier: hex.EncodeToString(h.Root), Entries: h.Entries, Rows: h.Rows, Lanes: h.Lanes, Pairs: sum.Pairs,
		Bytes: sum.Bytes, SHA256: hex.EncodeToString(sum.SHA256[:]), Identity: len(h.Identity) > 0,
	}
}

func (p *printer) backup(file string, h *backup.Header, sum *backup.Summary) {
	r := backupReportOf(file, h, sum)
	switch {
	case p.json():
		p.value(r)
	case p.form == "raw":
		p.printf("%s\n", r.SHA256)
	default:
		p.printf("ok  %d entries, %d rows, %d lanes, %s", r.Entries, r.Rows, r.Lanes, sizeText(r.Bytes))
		if !r.Identity {
			p.printf(", without the identity")
		}
		p.printf("\n")
	}
}

func (a *app) restoreCmd() *cobra.Command {
	var fresh bool
	cmd := a.command(spec{
		use: "restore FILE|- [--new-identity]", short: "Make a repo from a backup",
		long: `In the directory that --repo names, which must hold no repo. All of the file is
checked before the directory becomes one; a restore that was ended early can be run
again. What the backup lacks comes from peers, once the node runs.

The node gets its identity back, so the old one must be gone. --new-identity gives
the repo an identity of its own, to run beside the node that was backed up.`,
		example: "rhizome restore web-1.rhizome\nrhizome --repo copy restore web-1.rhizome --new-identity",
		codes:   []api.Code{api.CodeValidation, api.CodeConflict, api.CodeLocked}, min: 1, max: 1,
		run: func(cmd *cobra.Command, args []string) error {
			if a.cfg.Get("api") != "" {
				return usage(cmd, "restore: makes a repo here, so --api does not go with it")
			}
			return a.restore(cmd.Context(), args, fresh)
		},
	})
	cmd.Flags().BoolVar(&fresh, "new-identity", false, "give the repo an identity of its own")
	return cmd
}

func (a *app) restore(ctx context.Context, args []string, fresh bool) (err error) {
	in, closeFile, err := a.input(args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	dir := a.cfg.Get("repo")
	bar := newProgress(a.Err, sizeOf(in))
	rep, err := rhizome.Restore(ctx, dir, in, rhizome.RestoreOptions{
		NewIdentity: fresh, Progress: bar.restoring, Logger: a.logger("warn"),
	})
	bar.end()
	if err != nil {
		return a.openError(backupError(err, args[0]))
	}
	switch {
	case a.out.json():
		a.out.value(struct {
			Repo        string       `json:"repo"`
			Node        string       `json:"node"`
			NewIdentity bool         `json:"new_identity"`
			Backup      backupReport `json:"backup"`
		}{dir, rep.Node, rep.NewIdentity, backupReportOf("", &rep.Header, &rep.Summary)})
	case a.out.form == "raw":
		a.out.printf("%s\n", rep.Node)
	default:
		id := rep.Node
		if rep.NewIdentity {
			id += "  (a new identity)"
		}
		h := &rep.Header
		a.out.pairs("repo", dir, "node", id, "space", h.Name, "as of", shortTime(h.Time),
			"entries", strconv.FormatUint(h.Entries, 10), "rows", strconv.FormatUint(h.Rows, 10),
			"digest", hex.EncodeToString(h.Digest))
	}
	return nil
}

func (p *progress) restoring(n uint64) {
	text := sizeText(n) + " restored"
	if p.size > 0 {
		text += fmt.Sprintf("  %d%%", min(100, n*100/p.size))
	}
	p.draw(text)
}

// backupError says what to do about a backup that is no good.
func backupError(err error, file string) error {
	if file == "-" {
		file = "stdin"
	}
	switch {
	case errors.Is(err, backup.ErrNotBackup):
		return api.NewProblem(api.CodeValidation, file+" is not a backup", "give a file that rhizome backup wrote; an export is read by rhizome import")
	case errors.Is(err, backup.ErrCorrupt):
		return api.NewProblem(api.CodeValidation, fmt.Sprintf("%s: %v", file, err),
			"copy the file again from where it was written, or take another backup; nothing was restored")
	case errors.Is(err, backup.ErrVersion):
		return api.NewProblem(api.CodeLocked, fmt.Sprintf("%s: %v", file, err), "use the program that wrote it, or a newer one")
	case errors.Is(err, rhizome.ErrOccupied):
		return api.NewProblem(api.CodeConflict, err.Error(), "name an empty directory, or one that is not there, with --repo")
	}
	return err
}

// verifyBackup rereads a backup file.
func (a *app) verifyBackup(ctx context.Context, file string) (err error) {
	in, closeFile, err := a.input([]string{file})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	bar := newProgress(a.Err, sizeOf(in))
	defer bar.end()
	r, err := backup.NewReader(in)
	if err != nil {
		return damaged(err, file)
	}
	last := uint64(0)
	for _, err := range r.Pairs() {
		if err == nil && r.Read().Blocks != last {
			last = r.Read().Blocks
			bar.checking(r.Read().Bytes)
			err = ctx.Err()
		}
		if err != nil {
			return damaged(err, file)
		}
	}
	bar.end()
	sum := r.Read()
	a.out.backup(strings.TrimPrefix(file, "-"), r.Header(), &sum)
	return nil
}

func (p *progress) checking(n uint64) {
	text := sizeText(n) + " checked"
	if p.size > 0 {
		text += fmt.Sprintf("  %d%%", min(100, n*100/p.size))
	}
	p.draw(text)
}

// damaged is backupError for whoever only looks.
func damaged(err error, file string) error {
	err = backupError(err, file)
	var p *api.Problem
	if errors.As(err, &p) {
		p.Hint = strings.TrimSuffix(p.Hint, "; nothing was restored")
	}
	return err
}
