package client

import (
	"context"
	"io"
	"net/url"

	"github.com/rhizome-p2p/rhizome/api"
)

// ExportFeed writes all entities with the prefix, as of a cut, as a pointer feed;
// "" is now.
func (c *Client) ExportFeed(ctx context.Context, prefix, at string, w io.Writer) error {
	q := page("at", at, "format", api.FormatFeed)
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	return c.export(ctx, q, w)
}

// ImportFeed sends a pointer feed and calls tell with how far the node got. It
// returns the last of these, which has what is wrong with single deltas; an error
// is of the import as a whole. As with Import, a body that ends early ends it
// cleanly.
func (c *Client) ImportFeed(ctx context.Context, body io.Reader, tell func(api.FeedProgress)) (p api.FeedProgress, err error) {
	q := url.Values{"format": {api.FormatFeed}}
	return upload(ctx, c, q, body, tell, func(p *api.FeedProgress) (bool, *api.Problem) { return p.Done, p.Problem })
}
