package server

import (
	"crypto/rand"
	"errors"
	"net"
	"syscall"
)

// DefaultAddr is where the API listens unless told otherwise.
const DefaultAddr = "127.0.0.1:7171"

// Listen listens on the address. An empty one means DefaultAddr, or any free
// port of its host where another node has it already.
func Listen(addr string) (net.Listener, error) {
	if addr != "" {
		return net.Listen("tcp", addr)
	}
	ln, err := net.Listen("tcp", DefaultAddr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return ln, err
}

// NewToken returns a token that nobody guesses.
func NewToken() string { return rand.Text() }
