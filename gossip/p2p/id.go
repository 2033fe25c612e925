package p2p

import (
	"crypto/ed25519"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// PeerID returns the peer id of a key, without a host.
func PeerID(key ed25519.PublicKey) (string, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(key)
	if err != nil {
		return "", fmt.Errorf("peer id: %w", err)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("peer id: %w", err)
	}
	return id.String(), nil
}

// PeerOf returns the peer id that a full address ends in. It refuses what
// Host.AddPeer would and a Config must not hold.
func PeerOf(addr string) (string, error) {
	info, err := parseAddr(addr)
	if err != nil {
		return "", err
	}
	return info.ID.String(), nil
}

// ListenAddrs are the addresses bound, without /p2p/ and with the ports that
// were chosen: to listen on the same again.
func (h *Host) ListenAddrs() []string {
	var out []string
	for _, a := range h.net.Network().ListenAddresses() {
		out = append(out, a.String())
	}
	return out
}
