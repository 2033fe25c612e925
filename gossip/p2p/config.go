package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/multiformats/go-multiaddr"
)

// Config says who a host is, where it listens and whom it serves.
type Config struct {
	// Key is the node's identity. Required.
	Key ed25519.PrivateKey

	// NetworkKey is the pre-shared key of the private network. Required,
	// unless Options are given.
	NetworkKey [32]byte

	// Instance names this process, to tell a twin from ourselves. All zero
	// means random.
	Instance [16]byte

	// Listen holds the multiaddrs to listen on; none means that we only dial.
	// A port already in use falls back to a free port of the same address,
	// with a warning; see Host.Displaced.
	Listen []string

	// Topics is the fixed list of gossipsub topics; all are joined, and no
	// other is ever heard of.
	Topics []string

	// Handler gets everything that arrives. Required.
	Handler Handler

	// Logger gets warnings and debug lines. Nil means none.
	Logger *slog.Logger

	// MaxMessageBytes bounds sync frames and gossip messages. Zero means 5 MiB.
	// It must be the same on all nodes of a network.
	MaxMessageBytes int

	// Peers holds known addresses (/ip4/…/tcp/…/p2p/…), dialled and kept
	// dialling. Addresses under our own id are probed for a twin instead.
	Peers []string

	// Options replace the transport and the pre-shared key, for tests over
	// other transports.
	Options []libp2p.Option
}

// A Handler receives what arrives. Its methods are called from the host's
// goroutines. Those of one session are called one after the other; those of
// different sessions concurrently. None is called after Host.Close returned,
// which waits for those under way; so none of them may call Host.Close.
type Handler interface {
	// Opened is the first call for a session.
	Opened(s *Session)

	// Received hands over one frame, which the handler then owns. While it
	// blocks, the session's stream is not read.
	Received(s *Session, msg []byte)

	// Closed is the last call for a session, made exactly once. err is the
	// reason given to Session.Close where we closed, io.EOF where the peer did
	// so in order.
	Closed(s *Session, err error)

	// Validate judges a gossip message before it is relayed. It is called
	// concurrently, must not block, and must not keep data unless it accepts;
	// then data is immutable and may be kept. from is the id of the peer that
	// forwarded the message, which is not necessarily its origin.
	Validate(topic, from string, data []byte) (decoded any, v Verdict)

	// Gossiped hands over what Validate decoded from an accepted message of
	// others. It is called from one goroutine; messages of one origin may
	// arrive out of order. While it blocks, messages queue up and, beyond the
	// bound, are dropped and counted.
	Gossiped(topic, from string, decoded any)

	// Twin says that another process with our identity is at addr. It is
	// called again as long as that is so.
	Twin(addr string)
}

// A Verdict is what becomes of a gossip message.
type Verdict int

const (
	// Accept relays the message and hands it to Gossiped.
	Accept Verdict = iota
	// Keep hands it to Gossiped and relays it to nobody: all have it.
	Keep
	// Ignore drops it and blames nobody.
	Ignore
	// Reject drops it and blames the peer that forwarded it, who ought to have
	// rejected it as well.
	Reject
)

// PeerInfo describes a known peer.
type PeerInfo struct {
	ID        string
	Addrs     []string  // with /p2p/; the one that last worked comes first
	Connected bool      // a connection stands; the session may still be opening
	LastSeen  time.Time // of the last message or connection; zero if never
}

// Errors of callers.
var (
	// ErrSelf reports an address under our own id.
	ErrSelf = errors.New("p2p: the address is this node's own")
	// ErrUnknownPeer reports a peer that is not known.
	ErrUnknownPeer = errors.New("p2p: unknown peer")
	// ErrUnknownTopic reports a topic that is not in Config.Topics.
	ErrUnknownTopic = errors.New("p2p: unknown topic")
	// ErrTooLarge reports a message over MaxMessageBytes.
	ErrTooLarge = errors.New("p2p: message too large")
	// ErrCongested reports that more was published than gossip should carry;
	// the message was not sent, anti-entropy must bring it.
	ErrCongested = errors.New("p2p: gossip is congested")
	// ErrOverflow closes a session whose peer reads too slowly.
	ErrOverflow = errors.New("p2p: send queue overflow")
	// ErrClosed reports a closed host or session.
	ErrClosed = errors.New("p2p: closed")

	errUnsubscribed = errors.New("p2p: the peer's subscriptions were lost")
)

// validate fills the defaults and reports all mistakes at once.
func (c *Config) validate() ([]multiaddr.Multiaddr, error) {
	var errs []error
	if len(c.Key) != ed25519.PrivateKeySize {
		errs = append(errs, fmt.Errorf("Key: an Ed25519 private key has %d bytes, this one %d", ed25519.PrivateKeySize, len(c.Key)))
	}
	if c.NetworkKey == ([32]byte{}) && len(c.Options) == 0 {
		errs = append(errs, errors.New("NetworkKey: all zero; a network needs a secret key"))
	}
	if c.Handler == nil {
		errs = append(errs, errors.New("Handler: nil"))
	}
	if c.MaxMessageBytes < 0 {
		errs = append(errs, fmt.Errorf("MaxMessageBytes: %d is negative", c.MaxMessageBytes))
	}
	if c.MaxMessageBytes == 0 {
		c.MaxMessageBytes = defaultMessageBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	listen := make([]multiaddr.Multiaddr, 0, len(c.Listen))
	for _, s := range c.Listen {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("Listen %q: %w", s, err))
			continue
		}
		listen = append(listen, a)
	}
	for _, s := range c.Peers {
		if _, err := parseAddr(s); err != nil {
			errs = append(errs, fmt.Errorf("Peers: %w", err))
		}
	}
	return listen, errors.Join(errs...)
}
