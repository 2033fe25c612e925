package crdtside

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/host"
	libp2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// The exchange speaks in turns on a stream that stays open:
//
//	request   uvarint count, then for each  uvarint length | CID
//	response  for each of them              uvarint length + 1 | block, or 0 for one that is not there
const protocol = "/rhizome-bench/blocks/1"

const (
	// maxAsked bounds the CIDs of a request; a delta of go-ds-crdt has as many
	// children as there were heads.
	maxAsked = 4096
	maxCID   = 128
	maxBlock = 4 << 20 // go-ds-crdt keeps deltas below 1 MiB
)

// An exchange gets blocks from connected peers over streams that are kept. Each
// request waits for its response and for nothing else.
type exchange struct {
	host   host.Host
	blocks blockstore.Blockstore

	// mu guards idle: streams on which no request is under way.
	mu   sync.Mutex
	idle map[peer.ID][]*stream
	// last is the peer that had what was asked for last; it is asked first.
	last peer.ID
}

type stream struct {
	libp2pnet.Stream
	r *bufio.Reader
	w *bufio.Writer
}

func newExchange(h host.Host, bs blockstore.Blockstore) *exchange {
	x := &exchange{host: h, blocks: bs, idle: make(map[peer.ID][]*stream)}
	h.SetStreamHandler(protocol, x.serve)
	return x
}

// fetch asks one peer after another until all is there. A nil block is one that
// nobody has.
func (x *exchange) fetch(ctx context.Context, cids []cid.Cid) ([]blocks.Block, error) {
	found := make([]blocks.Block, len(cids))
	lacking := len(cids)
	var errs []error
	for _, p := range x.peers() {
		got, err := x.ask(ctx, p, cids, found)
		if err != nil {
			errs = append(errs, fmt.Errorf("ask %s: %w", p, err))
			continue
		}
		if lacking -= got; lacking == 0 {
			return found, nil
		}
	}
	return found, errors.Join(errs...)
}

// peers returns the connected peers, the one that answered last first.
func (x *exchange) peers() []peer.ID {
	peers := x.host.Network().Peers()
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, p := range peers {
		if p == x.last {
			peers[0], peers[i] = peers[i], peers[0]
		}
	}
	return peers
}

// ask asks a peer for what is not found yet and returns how much it had.
func (x *exchange) ask(ctx context.Context, p peer.ID, cids []cid.Cid, found []blocks.Block) (got int, err error) {
	s, err := x.take(ctx, p)
	if err != nil {
		return 0, err
	}
	var asked []int
	for i := range cids {
		if found[i] == nil && len(asked) < maxAsked {
			asked = append(asked, i)
		}
	}
	if got, err = s.request(cids, asked, found); err != nil {
		_ = s.Reset()
		return got, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.idle[p] = append(x.idle[p], s)
	if got > 0 {
		x.last = p
	}
	return got, nil
}

// take returns an idle stream to a peer, or a new one.
func (x *exchange) take(ctx context.Context, p peer.ID) (*stream, error) {
	x.mu.Lock()
	if l := x.idle[p]; len(l) > 0 {
		s := l[len(l)-1]
		x.idle[p] = l[:len(l)-1]
		x.mu.Unlock()
		return s, nil
	}
	x.mu.Unlock()
	raw, err := x.host.NewStream(ctx, p, protocol)
	if err != nil {
		return nil, err
	}
	return newStream(raw), nil
}

func newStream(s libp2pnet.Stream) *stream {
	return &stream{Stream: s, r: bufio.NewReader(s), w: bufio.NewWriter(s)}
}

func (s *stream) request(cids []cid.Cid, asked []int, found []blocks.Block) (got int, err error) {
	var b []byte
	b = binary.AppendUvarint(b, uint64(len(asked)))
	for _, i := range asked {
		c := cids[i].Bytes()
		b = append(binary.AppendUvarint(b, uint64(len(c))), c...)
	}
	if _, err := s.Write(b); err != nil {
		return 0, err
	}
	for _, i := range asked {
		n, err := binary.ReadUvarint(s.r)
		if err != nil {
			return got, err
		}
		if n == 0 {
			continue
		}
		data, err := s.read(n-1, maxBlock)
		if err != nil {
			return got, err
		}
		// What does not hash to its name was asked of the wrong peer.
		if c, err := cids[i].Prefix().Sum(data); err != nil || !c.Equals(cids[i]) {
			return got, fmt.Errorf("block %s has another hash", cids[i])
		}
		if found[i], err = blocks.NewBlockWithCid(data, cids[i]); err != nil {
			return got, err
		}
		got++
	}
	return got, nil
}

func (s *stream) read(n, limit uint64) ([]byte, error) {
	if n > limit {
		return nil, fmt.Errorf("%d bytes where at most %d may be", n, limit)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(s.r, b)
	return b, err
}

// serve answers requests until the stream ends.
func (x *exchange) serve(raw libp2pnet.Stream) {
	s := newStream(raw)
	for {
		if err := x.answer(s); err != nil {
			_ = s.Reset()
			return
		}
	}
}

func (x *exchange) answer(s *stream) error {
	n, err := binary.ReadUvarint(s.r)
	if err != nil {
		return err
	}
	if n > maxAsked {
		return fmt.Errorf("a request of %d blocks", n)
	}
	for range n {
		size, err := binary.ReadUvarint(s.r)
		if err != nil {
			return err
		}
		raw, err := s.read(size, maxCID)
		if err != nil {
			return err
		}
		c, err := cid.Cast(raw)
		if err != nil {
			return err
		}
		b, err := x.blocks.Get(context.Background(), c)
		var data []byte
		switch {
		case ipld.IsNotFound(err):
			data = binary.AppendUvarint(nil, 0)
		case err != nil:
			return err
		default:
			data = append(binary.AppendUvarint(nil, uint64(len(b.RawData()))+1), b.RawData()...)
		}
		if _, err := s.w.Write(data); err != nil {
			return err
		}
	}
	return s.w.Flush()
}
