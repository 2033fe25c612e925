package delta

import (
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/rhizome-p2p/rhizome/clock"
)

// CID returns the content id that people and other systems quote for a block.
func CID(h clock.Hash) cid.Cid {
	mh, err := multihash.Encode(h[:], multihash.SHA2_256)
	if err != nil {
		panic(fmt.Sprintf("delta: encode a sha2-256 multihash: %v", err)) // no input can cause it
	}
	return cid.NewCidV1(cid.DagCBOR, mh)
}

// ParseCID reads the CID of a header or body block.
func ParseCID(s string) (h clock.Hash, err error) {
	c, err := cid.Decode(s)
	if err != nil {
		return h, fmt.Errorf("cid %q: %w", s, err)
	}
	mh, err := multihash.Decode(c.Hash())
	if err != nil {
		return h, fmt.Errorf("cid %q: %w", s, err)
	}
	if c.Type() != cid.DagCBOR || mh.Code != multihash.SHA2_256 || len(mh.Digest) != len(h) {
		return h, fmt.Errorf("cid %q: not a dag-cbor block under sha2-256", s)
	}
	copy(h[:], mh.Digest)
	return h, nil
}
