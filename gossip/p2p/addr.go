package p2p

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// parseAddr reads /…/p2p/ID.
func parseAddr(s string) (peer.AddrInfo, error) {
	info, err := peer.AddrInfoFromString(s)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("address %q: %w; it should read like /ip4/192.0.2.1/tcp/4001/p2p/12D3…", s, err)
	}
	if len(info.Addrs) == 0 {
		return peer.AddrInfo{}, fmt.Errorf("address %q says who but not where; it should read like /ip4/192.0.2.1/tcp/4001/p2p/12D3…", s)
	}
	if !isEd25519(info.ID) {
		return peer.AddrInfo{}, fmt.Errorf("address %q: the peer id is not that of an Ed25519 key", s)
	}
	return *info, nil
}

// fullAddr renders an address with its /p2p/.
func fullAddr(id peer.ID, a multiaddr.Multiaddr) string {
	return a.String() + "/p2p/" + id.String()
}

func fullAddrs(id peer.ID, addrs []multiaddr.Multiaddr) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = fullAddr(id, a)
	}
	return out
}

// learnable filters the addresses that a peer says it listens on: its loopback
// is ours only if we reached it by loopback, and nobody is reached at an
// unspecified address.
func learnable(addrs []multiaddr.Multiaddr, remote multiaddr.Multiaddr) []multiaddr.Multiaddr {
	return multiaddr.FilterAddrs(addrs, func(a multiaddr.Multiaddr) bool {
		return !manet.IsIPUnspecified(a) && !manet.IsIP6LinkLocal(a) &&
			(!manet.IsIPLoopback(a) || manet.IsIPLoopback(remote))
	})
}

// onLoopback turns the unspecified address, on which one listens, into one that
// can be dialled on this machine.
func onLoopback(a multiaddr.Multiaddr) multiaddr.Multiaddr {
	if !manet.IsIPUnspecified(a) {
		return a
	}
	loopback := manet.IP6Loopback
	if a[0].Protocol().Code == multiaddr.P_IP4 {
		loopback = manet.IP4Loopback
	}
	return append(append(multiaddr.Multiaddr{}, loopback...), a[1:]...)
}
