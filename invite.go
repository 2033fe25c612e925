package rhizome

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// An invite holds all that another host needs to join: the network's key, the
// space's genesis and addresses. Whoever has it can join, so it is a secret.
//
//	"rhizome1" | base64url(DAG-CBOR [network key, genesis, [address …]] | first 4 bytes of its SHA-256)
type invite struct {
	network [32]byte
	genesis genesis
	addrs   []string
}

const invitePrefix = "rhizome1"

// ErrInvite reports a string that is not an invite, or not all of one.
var ErrInvite = errors.New("not a valid invite")

func (i *invite) String() string {
	addrs := make([]any, len(i.addrs))
	for n, a := range i.addrs {
		addrs[n] = a
	}
	b, err := delta.ValueOf([]any{i.network[:], i.genesis.bytes, addrs})
	if err != nil {
		panic(fmt.Sprintf("rhizome: encode an invite: %v", err)) // a few short strings
	}
	sum := sha256.Sum256(b)
	return invitePrefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:4]...))
}

func parseInvite(s string) (i invite, err error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s), invitePrefix)
	if !ok {
		return i, fmt.Errorf("%w: it begins with %s", ErrInvite, invitePrefix)
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 4 {
		return i, fmt.Errorf("%w: is all of it there?", ErrInvite)
	}
	b, check := b[:len(b)-4], b[len(b)-4:]
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:4], check) {
		return i, fmt.Errorf("%w: the checksum differs; is all of it there?", ErrInvite)
	}
	x, err := delta.Value(b).Any()
	if err != nil {
		return i, fmt.Errorf("%w: %w", ErrInvite, err)
	}
	l, _ := x.([]any)
	if len(l) != 3 {
		return i, fmt.Errorf("%w: made by another version", ErrInvite)
	}
	network, ok1 := l[0].([]byte)
	gen, ok2 := l[1].([]byte)
	addrs, ok3 := l[2].([]any)
	if !ok1 || !ok2 || !ok3 || copy(i.network[:], network) != len(i.network) {
		return i, fmt.Errorf("%w: made by another version", ErrInvite)
	}
	if i.genesis, err = parseGenesis(gen); err != nil {
		return i, fmt.Errorf("%w: %w", ErrInvite, err)
	}
	for _, a := range addrs {
		if s, ok := a.(string); ok {
			i.addrs = append(i.addrs, s)
		}
	}
	return i, nil
}
