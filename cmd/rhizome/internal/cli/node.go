package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/client"
)

func (a *app) idCmd() *cobra.Command {
	var addr bool
	cmd := a.command(spec{
		use: "id [--addr]", short: "Print the node's id",
		long:    "--addr prints its addresses, for --bootstrap and peers add of another host.",
		example: "rhizome id\nrhizome id --addr",
		codes:   reach(api.CodeNotFound),
		run: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				id, err := c.Identity(ctx)
				if err != nil {
					return err
				}
				if addr && len(id.Addrs) == 0 && !a.out.json() {
					return api.NewProblem(api.CodeNotFound, "the node does not run, so it has no addresses", "start it with rhizome run")
				}
				a.printIdentity(&id, addr)
				return nil
			})
		},
	})
	cmd.Flags().BoolVar(&addr, "addr", false, "its addresses")
	cmd.AddCommand(a.rotateCmd())
	return cmd
}

func (a *app) printIdentity(id *api.Identity, addr bool) {
	switch {
	case a.out.json():
		a.out.value(struct {
			ID    string   `json:"id"`
			Addrs []string `json:"addrs"`
		}{id.ID, id.Addrs})
	case addr:
		for _, s := range id.Addrs {
			a.out.printf("%s\n", s)
		}
	default:
		a.out.printf("%s\n", id.ID)
	}
}

func (a *app) inviteCmd() *cobra.Command {
	return a.command(spec{
		use: "invite", short: "Print the string that another host joins with",
		long: `It holds the network's key, the space and this node's addresses: whoever has it is a
member. Another host needs no more than: rhizome run --join STRING`,
		example: "rhizome invite",
		codes:   reach(),
		run: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				s, err := c.Invite(ctx)
				if err != nil {
					return err
				}
				if a.out.json() {
					a.out.value(api.Invite{Invite: s})
				} else {
					a.out.printf("%s\n", s)
				}
				return nil
			})
		},
	})
}

func (a *app) statusCmd() *cobra.Command {
	var wait string
	var timeout time.Duration
	cmd := a.command(spec{
		use: "status [--wait converged] [--timeout 30s]", short: "Tell how the node stands",
		long: `Converged means equal vectors and digests with all connected peers, each asked
afresh; it is false while peers are known and none is connected.

--wait converged waits for a running node to be so, and exits 9 if it is not in
time; the last status is printed either way.`,
		example: "rhizome status\nrhizome status --wait converged --timeout 10s -o json",
		codes:   reach(api.CodeTimeout),
		run: func(cmd *cobra.Command, _ []string) error {
			switch {
			case wait == "" && cmd.Flags().Changed("timeout"):
				return usage(cmd, "status: --timeout goes with --wait")
			case wait == "":
				return a.with(cmd, func(ctx context.Context, c *client.Client) error {
					s, err := c.Status(ctx, true)
					if err == nil {
						a.printStatus(&s)
					}
					return err
				})
			case wait != "converged":
				return usage(cmd, "status: --wait %s: the one thing to wait for is converged", wait)
			}
			return a.waitConverged(cmd.Context(), timeout)
		},
	})
	cmd.Flags().StringVar(&wait, "wait", "", "wait until the node is so: converged")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait")
	return cmd
}

// pollPause is how long --wait waits between two looks.
const pollPause = 50 * time.Millisecond

// waitConverged looks until a running node is converged. It never holds the
// repo's lock for longer than a look, so that a node can start meanwhile.
func (a *app) waitConverged(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last *api.Status
	var lastErr error
	for {
		s, err := a.look(ctx)
		if err == nil {
			last = s
		}
		if !errors.Is(err, context.DeadlineExceeded) { // which says less than what came before
			lastErr = err
		}
		if err == nil && s.Converged {
			a.printStatus(s)
			return nil
		}
		if p := new(api.Problem); errors.As(err, &p) && p.Code == api.CodeAuth {
			return err
		}
		select {
		case <-time.After(pollPause):
			continue
		case <-ctx.Done():
		}
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return context.Canceled
		}
		if last != nil {
			a.printStatus(last)
		}
		p := api.NewProblem(api.CodeTimeout, fmt.Sprintf("not converged within %v", timeout),
			"see the peers of rhizome status; raise --timeout")
		if lastErr != nil {
			p.Detail += ": " + lastErr.Error()
		}
		return p
	}
}

// look asks the running node once.
func (a *app) look(ctx context.Context) (_ *api.Status, err error) {
	c, err := a.connectWithin(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if c.Local {
		return nil, api.NewProblem(api.CodeUnreachable, "no node runs on this repo", "start one with rhizome run")
	}
	s, err := c.Status(ctx, true)
	return &s, err
}

func (a *app) printStatus(s *api.Status) {
	switch {
	case a.out.json():
		a.out.value(s)
		return
	case a.out.form == "raw":
		a.out.printf("%s\n", s.Digest)
		return
	}
	name := s.Space
	if s.SpaceName != "" {
		name += "  (" + plainKey(s.SpaceName) + ")"
	}
	converged := "no"
	if s.Converged {
		converged = "yes"
	}
	pairs := []string{
		"node", s.Node, "space", name, "repo", s.Repo, "version", s.Version, "converged", converged,
		"digest", s.Digest, "entries", strconv.FormatUint(s.Entries, 10), "rows", strconv.FormatUint(s.Rows, 10),
		"lanes", strconv.Itoa(s.Lanes), "pending", strconv.Itoa(s.Pending), "disk", sizeText(s.DiskBytes),
	}
	a.out.pairs(append(pairs, storagePairs(&s.Storage)...)...)
	if s.ReadOnly {
		a.out.printf("READ-ONLY: the disk failed; see the node's log\n")
	}
	if len(s.Peers) > 0 {
		a.out.printf("\n")
		a.printPeers(s.Peers)
	}
	for _, f := range s.Forks {
		a.out.printf("\nfork: lane %s of %s was closed at seq %d; %d entries kept beside the state\n", f.Lane, f.Author, f.Seq, f.Kept)
	}
	for _, x := range s.Alarms {
		a.out.printf("\nalarm: %s: %s (%s)\n", x.Kind, x.Text, shortTime(x.Time))
		if x.Hint != "" {
			a.out.printf("hint: %s\n", x.Hint)
		}
	}
}

func (a *app) printPeers(peers []api.PeerStatus) {
	var rows [][]string
	for i := range peers {
		p := &peers[i]
		state := "away"
		switch {
		case p.Connected && p.Converged:
			state = "converged"
		case p.Connected:
			state = "connected"
		}
		seen := "never"
		if p.LastSeen != nil {
			seen = shortTime(*p.LastSeen)
		}
		id := p.ID
		if id == "" {
			id = "?"
		}
		rows = append(rows, []string{
			id, state, strconv.FormatUint(p.MissingHere, 10),
			strconv.FormatUint(p.MissingThere, 10), seen, p.Addr,
		})
	}
	a.out.table([]string{"PEER", "STATE", "MISSING HERE", "THERE", "LAST SEEN", "ADDR"}, rows)
}

func (a *app) peersCmd() *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error {
		return a.with(cmd, func(ctx context.Context, c *client.Client) error {
			p, err := c.Peers(ctx)
			if err != nil {
				return err
			}
			a.listPeers(p.Peers)
			return nil
		})
	}
	change := func(f func(*client.Client, context.Context, string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				if err := f(c, ctx, args[0]); err != nil {
					return err
				}
				if a.out.json() {
					a.out.value(map[string]string{"peer": args[0]})
				} else {
					a.out.printf("ok  %s\n", args[0])
				}
				return nil
			})
		}
	}
	cmd := a.command(spec{
		use: "peers [ls|add|rm MULTIADDR]", short: "List, add or forget peers", example: "rhizome peers",
		codes: reach(), run: list,
	})
	cmd.AddCommand(
		a.command(spec{use: "ls", short: "List the peers that the node knows", example: "rhizome peers ls -o json", codes: reach(), run: list}),
		a.command(spec{
			use: "add MULTIADDR", short: "Add a peer, and dial it", example: "rhizome peers add /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo…",
			long:  "The peer must be in the same network: a host joins one with run --join.",
			codes: reach(api.CodeValidation), min: 1, max: 1, run: change((*client.Client).AddPeer),
		}),
		a.command(spec{
			use: "rm MULTIADDR", short: "Forget a peer, by address or id", example: "rhizome peers rm 12D3Koo…",
			codes: reach(api.CodeNotFound, api.CodeValidation), min: 1, max: 1, run: change((*client.Client).RemovePeer),
		}),
	)
	return cmd
}

func (a *app) listPeers(peers []api.PeerStatus) {
	switch a.out.form {
	case "json", "jsonl":
		l := a.out.list()
		for i := range peers {
			l.item(peers[i], nil)
		}
		l.end()
	case "raw":
		for i := range peers {
			a.out.printf("%s\n", strings.TrimSpace(peers[i].ID+" "+peers[i].Addr))
		}
	default:
		a.printPeers(peers)
	}
}

func (a *app) verifyCmd() *cobra.Command {
	var file string
	cmd := a.command(spec{
		use: "verify [--backup FILE|-]", short: "Reread and check the whole repo, or a backup",
		long:    "Exits 1 if anything is wrong with the repo, 7 if the backup is damaged.",
		example: "rhizome verify\nrhizome verify --backup web-1.rhizome",
		codes:   reach(api.CodeValidation),
		run: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("backup") {
				return a.verifyBackup(cmd.Context(), file)
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				bar := newProgress(a.Err, 0)
				r, err := c.Verify(ctx, bar.verifying)
				bar.end()
				if err != nil {
					return err
				}
				return a.printReport(r)
			})
		},
	})
	cmd.Flags().StringVar(&file, "backup", "", "a backup file to check in place of the repo")
	return cmd
}

func (a *app) printReport(r *api.VerifyReport) error {
	switch {
	case a.out.json():
		a.out.value(r)
	case a.out.form == "table" && len(r.Problems) == 0:
		a.out.printf("ok  %d entries, %d rows, %d lanes\n", r.Entries, r.Rows, r.Lanes)
	default:
		for _, p := range r.Problems {
			a.out.printf("%s\n", p)
		}
	}
	if len(r.Problems) > 0 {
		return api.NewProblem(api.CodeError, fmt.Sprintf("verify found %d problems", len(r.Problems)),
			"with the node stopped, rhizome repair gets the repo anew from its peers, and keeps what can be read")
	}
	return nil
}
