// Command rhizome runs a Rhizome node and talks to one. This package holds the
// process: its signals and its exit code. The commands are in internal/cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/rhizome-p2p/rhizome/cmd/rhizome/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	// A closed pipe is an error of the write, so that a repo opened by a
	// command is closed cleanly.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal finds the default in place, and ends the process.
	context.AfterFunc(ctx, stop)
	return cli.Run(ctx, os.Args[1:], cli.Process{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ()})
}
