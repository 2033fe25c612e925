package crdtside

import (
	"context"
	"errors"
	"fmt"

	ipfslite "github.com/hsanjuan/ipfs-lite"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/ipld/merkledag"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	ipld "github.com/ipfs/go-ipld-format"
)

// newDAG returns the service that keeps blocks in a datastore and, with a
// network, gets those that are not there.
func newDAG(ctx context.Context, store ds.Batching, n *network, x Exchange) (ipld.DAGService, error) {
	if x == Plain {
		d := &plainDAG{blocks: blockstore.NewBlockstore(store, blockstore.WriteThrough(true))}
		if n != nil {
			d.exchange = newExchange(n.host, d.blocks)
		}
		return d, nil
	}
	cfg := &ipfslite.Config{Offline: n == nil, ReprovideInterval: -1}
	if n == nil {
		return ipfslite.New(ctx, store, nil, nil, nil, cfg)
	}
	return ipfslite.New(ctx, store, nil, n.host, nil, cfg)
}

// A plainDAG keeps blocks and asks connected peers for those that it lacks.
type plainDAG struct {
	blocks   blockstore.Blockstore
	exchange *exchange // nil without peers
}

var _ ipld.DAGService = (*plainDAG)(nil)

func decode(b blocks.Block) (ipld.Node, error) { return merkledag.DecodeProtobufBlock(b) }

// Get implements ipld.NodeGetter.
func (d *plainDAG) Get(ctx context.Context, c cid.Cid) (ipld.Node, error) {
	b, err := d.blocks.Get(ctx, c)
	if err == nil {
		return decode(b)
	}
	if !ipld.IsNotFound(err) || d.exchange == nil {
		return nil, err
	}
	found, err := d.exchange.fetch(ctx, []cid.Cid{c})
	if err != nil {
		return nil, err
	}
	if found[0] == nil {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	if err := d.blocks.Put(ctx, found[0]); err != nil {
		return nil, err
	}
	return decode(found[0])
}

// GetMany implements ipld.NodeGetter: all that are lacking are asked for at
// once.
func (d *plainDAG) GetMany(ctx context.Context, cids []cid.Cid) <-chan *ipld.NodeOption {
	out := make(chan *ipld.NodeOption, len(cids)) // never waits for its reader
	go func() {
		defer close(out)
		for _, o := range d.getAll(ctx, cids) {
			out <- o
		}
	}()
	return out
}

func (d *plainDAG) getAll(ctx context.Context, cids []cid.Cid) (out []*ipld.NodeOption) {
	add := func(b blocks.Block, err error) {
		o := &ipld.NodeOption{Err: err}
		if err == nil {
			o.Node, o.Err = decode(b)
		}
		out = append(out, o)
	}
	var lacking []cid.Cid
	for _, c := range cids {
		b, err := d.blocks.Get(ctx, c)
		if ipld.IsNotFound(err) && d.exchange != nil {
			lacking = append(lacking, c)
			continue
		}
		add(b, err)
	}
	if len(lacking) == 0 {
		return out
	}
	found, err := d.exchange.fetch(ctx, lacking)
	if err != nil {
		add(nil, err)
		return out
	}
	for i, b := range found {
		if b == nil {
			add(nil, ipld.ErrNotFound{Cid: lacking[i]})
			continue
		}
		add(b, d.blocks.Put(ctx, b))
	}
	return out
}

// Add implements ipld.NodeAdder.
func (d *plainDAG) Add(ctx context.Context, n ipld.Node) error { return d.blocks.Put(ctx, n) }

// AddMany implements ipld.NodeAdder.
func (d *plainDAG) AddMany(ctx context.Context, nodes []ipld.Node) error {
	bs := make([]blocks.Block, len(nodes))
	for i, n := range nodes {
		bs[i] = n
	}
	return d.blocks.PutMany(ctx, bs)
}

// Remove implements ipld.DAGService.
func (d *plainDAG) Remove(ctx context.Context, c cid.Cid) error { return d.blocks.DeleteBlock(ctx, c) }

// RemoveMany implements ipld.DAGService.
func (d *plainDAG) RemoveMany(ctx context.Context, cids []cid.Cid) error {
	var errs []error
	for _, c := range cids {
		errs = append(errs, d.Remove(ctx, c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove blocks: %w", err)
	}
	return nil
}
