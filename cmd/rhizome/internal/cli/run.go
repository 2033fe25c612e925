package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/server"
)

// closeTimeout bounds the wait for requests to end when the node closes.
const closeTimeout = 5 * time.Second

func (a *app) initCmd() *cobra.Command {
	cmd := a.command(spec{
		use: "init [--space NAME]", short: "Make a repo with a space of its own",
		long: "Not needed before run, which makes a repo where there is none. To join the space of\n" +
			"another host, use run --join instead.",
		example: "rhizome init --space inventory",
		codes:   []api.Code{api.CodeConflict, api.CodeLocked},
		run: func(cmd *cobra.Command, _ []string) error {
			if a.cfg.Get("api") != "" {
				return usage(cmd, "init: makes a repo here, so --api does not go with it")
			}
			dir := a.cfg.Get("repo")
			if err := rhizome.Init(dir, a.cfg.Get("space")); err != nil {
				return a.openError(err)
			}
			node, err := a.openLocal(cmd.Context())
			if err != nil {
				return err
			}
			id := node.ID()
			if err := node.Close(); err != nil {
				return err
			}
			if a.out.json() {
				a.out.value(struct {
					Repo string `json:"repo"`
					Node string `json:"node"`
				}{dir, id})
			} else {
				a.out.pairs("repo", dir, "node", id)
			}
			return nil
		},
	})
	cmd.Flags().String("space", "", "name of the space, for people")
	return cmd
}

func (a *app) rotateCmd() *cobra.Command {
	return a.command(spec{
		use: "rotate", short: "Give a stopped node a new identity",
		long: "For a repo that was copied from another host's: both would go by one id. What is\n" +
			"written stays signed by the old identity.",
		example: "rhizome id rotate",
		codes:   []api.Code{api.CodeLocked},
		run: func(cmd *cobra.Command, _ []string) error {
			if a.cfg.Get("api") != "" {
				return usage(cmd, "id rotate: changes a repo here, so --api does not go with it")
			}
			id, err := rhizome.RotateID(a.cfg.Get("repo"))
			if errors.Is(err, rhizome.ErrLocked) {
				return api.NewProblem(api.CodeLocked, err.Error(), "stop the node first")
			}
			if err != nil {
				return a.openError(err)
			}
			if a.out.json() {
				a.out.value(map[string]string{"id": id})
			} else {
				a.out.printf("%s\n", id)
			}
			return nil
		},
	})
}

func (a *app) runCmd() *cobra.Command {
	cmd := a.command(spec{
		use: "run [--join STRING] [--bootstrap MULTIADDR]... [--listen MULTIADDR]... [--http ADDR]\n" +
			"    [--retention archive|window|minimal] [--retention-age AGE] [--retention-bytes SIZE]",
		short: "Run the node",
		long: `Makes the repo where there is none, listens, and prints id, addresses, API and
invite; with -o json as one line: {node, addrs[], api, invite}. It knows its peers
again without flags. Ctrl-C and SIGTERM close it cleanly, a second one at once.

It listens on all interfaces, since the network is private by its key, and serves
its API on loopback alone: on 127.0.0.1:7171, or a free port where that is taken.

--retention says how much raw history it keeps, whatever its peers keep: archive all
of it, window that of --retention-age and at most --retention-bytes, minimal next to
none. The newest state is the same with each; log, undo, watch --since and reads of
the past reach no further back. See also rhizome compact.`,
		example: "rhizome run\nrhizome run --join rhizome1…\nrhizome run --listen /ip4/127.0.0.1/tcp/4001 --http 127.0.0.1:0",
		codes:   []api.Code{api.CodeValidation, api.CodeLocked},
		run: func(cmd *cobra.Command, _ []string) error {
			if a.cfg.Get("api") != "" {
				return usage(cmd, "run: serves an API itself, so --api does not go with it")
			}
			return a.runNode(cmd.Context())
		},
	})
	f := cmd.Flags()
	f.String("join", "", "invite of the network and space to join, as rhizome invite prints it")
	f.StringArray("bootstrap", nil, "multiaddr of a peer to dial; may be repeated")
	f.StringArray("listen", nil, "multiaddr to listen on; may be repeated (default: all interfaces)")
	f.String("retention", "", "how much raw history to keep: archive, window or minimal (default: window)")
	f.String("retention-age", "", "age that a window keeps, as 720h or 30d (default: 30d)")
	f.String("retention-bytes", "", "bytes that a window keeps at most, as 512MiB (default: 1GiB)")
	f.String("http", "", "address of the API (default: "+server.DefaultAddr+", or a free port)")
	return cmd
}

// runNode runs the node with its API until ctx is done or the node stops.
func (a *app) runNode(ctx context.Context) (err error) {
	dir, log := a.cfg.Get("repo"), a.logger("info")
	keep, err := a.retention()
	if err != nil {
		return err
	}
	httpAddr := a.cfg.Get("http")
	if a.cfg.IsDefault("http") {
		httpAddr = ""
	}
	ln, err := server.Listen(httpAddr)
	if err != nil {
		return api.NewProblem(api.CodeError, fmt.Sprintf("listen for the API: %v", err), "give another address with --http")
	}
	defer func() { err = errors.Join(err, ignoreClosed(ln.Close())) }()

	node, err := rhizome.Open(ctx, rhizome.Options{
		Dir: dir, Create: true, SpaceName: a.cfg.Get("space"), Join: a.cfg.Get("join"),
		Bootstrap: a.cfg.List("bootstrap"), Listen: a.cfg.List("listen"), LockWait: lockWait, Logger: log,
		Retention: keep,
	})
	if err != nil {
		return a.openError(err)
	}
	defer func() { err = errors.Join(err, node.Close()) }()

	addr := reachable(ln.Addr().String())
	at := api.Address{Addr: addr, Token: server.NewToken(), PID: os.Getpid()}
	if httpAddr == "" {
		httpAddr = addr
	}
	s := server.New(server.Options{Node: node, Token: at.Token, Addr: httpAddr, Logger: log})
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, s.Shutdown(end))
	}()
	if err := api.WriteAddress(dir, at); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, api.RemoveAddress(dir, at)) }()
	if err := a.announce(ctx, node, addr); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		log.Info("closing")
		return nil
	case <-node.Done():
		return fmt.Errorf("the node stopped: %w", node.Err())
	case err := <-served:
		return fmt.Errorf("serve the API: %w", err)
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// reachable returns an address at which this host reaches a listener.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

// announce prints how to reach the node.
func (a *app) announce(ctx context.Context, node api.Node, addr string) error {
	invite, err := node.Invite(ctx)
	if err != nil {
		return err
	}
	url := "http://" + addr
	switch {
	case a.out.json():
		a.out.value(struct {
			Node   string   `json:"node"`
			Addrs  []string `json:"addrs"`
			API    string   `json:"api"`
			Invite string   `json:"invite"`
		}{node.ID(), append([]string{}, node.Addrs()...), url, invite})
	case a.out.form == "raw":
		a.out.printf("%s\n", node.ID())
	default:
		a.out.pairs("node", node.ID(), "repo", a.cfg.Get("repo"), "addrs", strings.Join(node.Addrs(), "\n\t"), "api", url,
			"invite", invite)
		a.out.printf("\nAnother host joins with: rhizome run --join %s\n", invite)
	}
	return a.out.flush()
}
