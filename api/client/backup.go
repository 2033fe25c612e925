package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/rhizome-p2p/rhizome/backup"
)

// Backup has the node back up its repo, writes the file to w and checks it on
// the way: what is returned without an error can be restored. Tell, if not
// nil, is called now and then with how much is there of what.
func (c *Client) Backup(ctx context.Context, w io.Writer, withoutIdentity bool, tell func(h *backup.Header, at backup.Summary)) (
	h backup.Header, sum backup.Summary, err error,
) {
	q := url.Values{}
	if withoutIdentity {
		q.Set("identity", "0")
	}
	resp, err := c.do(ctx, http.MethodGet, "/v1/backup", q, nil, nil)
	if err != nil {
		return h, sum, err
	}
	defer resp.Body.Close()
	out, in := &tracked{w: w}, &cut{r: resp.Body}
	r, err := backup.NewReader(io.TeeReader(in, out))
	if err == nil {
		h = *r.Header()
		err = drain(r, tell)
		sum = r.Read()
	}
	switch {
	case out.err != nil:
		return h, sum, out.err
	case in.err != nil:
		return h, sum, c.lost(ctx, fmt.Errorf("the backup was cut short: %w", in.err))
	}
	return h, sum, err
}

// drain reads a backup to its end.
func drain(r *backup.Reader, tell func(h *backup.Header, at backup.Summary)) error {
	var last uint64
	for _, err := range r.Pairs() {
		if err != nil {
			return err
		}
		if at := r.Read(); tell != nil && at.Blocks != last {
			last = at.Blocks
			tell(r.Header(), at)
		}
	}
	return nil
}

// cut keeps an error of reading, other than the end.
type cut struct {
	r   io.Reader
	err error
}

func (c *cut) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
