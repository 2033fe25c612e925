package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
	resp, err := c.do(ctx, http.MethodPost, "/v1/import", url.Values{"format": {api.FormatFeed}}, io.NopCloser(body), nil)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var q api.FeedProgress
		if err := dec.Decode(&q); err != nil {
			return p, c.lost(ctx, fmt.Errorf("the import was cut short: %w", err))
		}
		p = q
		switch {
		case p.Problem != nil:
			return p, p.Problem
		case p.Done:
			return p, nil
		}
		tell(p)
	}
}
