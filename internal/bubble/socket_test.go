package bubble

import (
	"net"

	"github.com/libp2p/go-libp2p"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/quic-go/quic-go"
)

// quicOver returns the options by which a production host speaks QUIC over a
// router: all of libp2p but the socket is real. There is no pre-shared key,
// which QUIC does not know. stop releases what the host's end does not.
func quicOver(r *router, host int) (opts []libp2p.Option, stop func() error) {
	var manager *quicreuse.ConnManager
	make := func(reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		var err error
		manager, err = quicreuse.NewConnManager(reset, token, opts...)
		return manager, err
	}
	opts = []libp2p.Option{
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.QUICReuse(make,
			quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return source{addrOf(host).IP}, nil }),
			quicreuse.OverrideListenUDP(func(string, *net.UDPAddr) (net.PacketConn, error) { return r.listen(host), nil }),
		),
	}
	return opts, func() error {
		if manager == nil {
			return nil
		}
		return manager.Close()
	}
}

// source is the one address of a host.
type source struct{ ip net.IP }

// PreferredSourceIPForDestination implements quicreuse.SourceIPSelector.
func (s source) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return s.ip, nil }
