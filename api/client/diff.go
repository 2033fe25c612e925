package client

import (
	"context"
	"io"
	"net/http"

	"github.com/rhizome-p2p/rhizome/api"
)

// DiffPeer compares the node's state with that of a peer.
func (c *Client) DiffPeer(ctx context.Context, peer string) (r api.DiffReport, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/diff", page("peer", peer), nil, &r)
	return r, err
}

// DiffBackup compares it with that of a backup.
func (c *Client) DiffBackup(ctx context.Context, file io.Reader) (r api.DiffReport, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/diff", nil, file, &r)
	return r, err
}
