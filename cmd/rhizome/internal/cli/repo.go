package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

// openLocal opens the repo without a network, for one command.
func (a *app) openLocal(ctx context.Context) (client.LocalNode, error) {
	keep, err := a.retention()
	if err != nil {
		return nil, err
	}
	node, err := rhizome.Open(ctx, rhizome.Options{Dir: a.cfg.Get("repo"), Offline: true, Logger: a.logger("warn"), Retention: keep})
	if errors.Is(err, rhizome.ErrLocked) {
		return nil, fmt.Errorf("%w: %w", client.ErrLocked, err)
	}
	if err != nil {
		return nil, a.openError(err)
	}
	return node, nil
}

// openError says what to do about a repo that does not open.
func (a *app) openError(err error) error {
	switch {
	case errors.Is(err, rhizome.ErrLocked):
		return api.NewProblem(api.CodeLocked, err.Error(),
			"a node runs on this repo already, or a command has it open; for a second node, give it a repo of its own with --repo")
	case errors.Is(err, rhizome.ErrNewerFormat):
		return api.NewProblem(api.CodeLocked, err.Error(), "use the newer program that wrote it")
	case errors.Is(err, rhizome.ErrNoRepo):
		return api.NewProblem(api.CodeConfig, err.Error(), "make one with rhizome init or rhizome run, or name another with --repo")
	case errors.Is(err, rhizome.ErrExists):
		return api.NewProblem(api.CodeConflict, err.Error(), "use it as it is, or name another with --repo")
	case errors.Is(err, rhizome.ErrOtherSpace):
		return api.NewProblem(api.CodeConflict, err.Error(), "a repo holds one space: join with another one, by --repo")
	case errors.Is(err, rhizome.ErrCorrupt):
		return api.NewProblem(api.CodeError, err.Error(), "rhizome repair gets the repo anew from its peers, and keeps what can be read")
	case errors.Is(err, rhizome.ErrInvite):
		return api.NewProblem(api.CodeValidation, err.Error(), "copy what rhizome invite prints on the other host, all of it")
	}
	return err
}
