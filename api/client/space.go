package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
)

// send sends one JSON value.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, in, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return api.Problemf(api.CodeValidation, "%v", err)
	}
	return c.call(ctx, method, path, q, bytes.NewReader(text), out)
}

// GetMany reads many keys at once; lossless brings every survivor.
func (c *Client) GetMany(ctx context.Context, keys []string, o rhizome.ReadOptions, lossless bool) ([]api.KeyValue, error) {
	q := readQuery(o)
	if lossless {
		q.Set("lossless", "1")
	}
	var out api.KeyValues
	err := c.send(ctx, http.MethodPost, "/v1/get", q, api.KeysRequest{Keys: keys}, &out)
	return out.Values, err
}

// ReadRange reads a page of the entities with a prefix, or of those of a view; a
// limit of 0 leaves it to the server.
func (c *Client) ReadRange(ctx context.Context, prefix, after string, limit int, o rhizome.ReadOptions, lossless bool) (v api.KeyValues, err error) {
	q := readQuery(o)
	for name, value := range map[string]string{"prefix": prefix, "after": after} { // a query is sorted by name
		if value != "" {
			q.Set(name, value)
		}
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if lossless {
		q.Set("lossless", "1")
	}
	err = c.call(ctx, http.MethodGet, "/v1/read", q, nil, &v)
	return v, err
}

// Explain says why a key reads as it does.
func (c *Client) Explain(ctx context.Context, key string, o rhizome.ReadOptions) (x api.Explanation, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/explain/"+keyPath(key), readQuery(o), nil, &x)
	return x, err
}

// RequireSchema says whether writes without a schema are refused.
func (c *Client) RequireSchema(ctx context.Context, on bool) (r api.Receipt, err error) {
	err = c.send(ctx, http.MethodPut, "/v1/space", nil, api.SpaceSettings{RequireSchema: on}, &r)
	return r, err
}

// Schemas lists the schemas of the space.
func (c *Client) Schemas(ctx context.Context) (s api.Schemas, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/schemas", nil, nil, &s)
	return s, err
}

// Schema returns the document of a version; 0 is the active one.
func (c *Client) Schema(ctx context.Context, name string, version int) (doc json.RawMessage, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/schemas/"+keyPath(name), page("version", strconv.Itoa(version)), nil, &doc)
	return doc, err
}

// AddSchema adds a version of a schema; dry only says what is wrong with it.
func (c *Client) AddSchema(ctx context.Context, doc []byte, dry bool) (r api.SchemaReceipt, err error) {
	q := url.Values{}
	if dry {
		q.Set("dry_run", "1")
	}
	err = c.call(ctx, http.MethodPost, "/v1/schemas", q, bytes.NewReader(doc), &r)
	return r, err
}

// RemoveSchema drops all versions of a schema.
func (c *Client) RemoveSchema(ctx context.Context, name string) (r api.Receipt, err error) {
	err = c.call(ctx, http.MethodDelete, "/v1/schemas/"+keyPath(name), nil, nil, &r)
	return r, err
}

// Resolvers lists the resolvers of the space.
func (c *Client) Resolvers(ctx context.Context) (r api.Resolvers, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/resolvers", nil, nil, &r)
	return r, err
}

// AddCEL adds a version of a resolver that is an expression.
func (c *Client) AddCEL(ctx context.Context, name, description, expression string) (r api.SchemaReceipt, err error) {
	err = c.send(ctx, http.MethodPut, "/v1/resolvers/"+keyPath(name), nil, api.CELRequest{Description: description, Expression: expression}, &r)
	return r, err
}

// AddWASM adds a version of a resolver that is a WebAssembly module.
func (c *Client) AddWASM(ctx context.Context, name, description string, module io.Reader) (r api.SchemaReceipt, err error) {
	q := url.Values{}
	if description != "" {
		q.Set("description", description)
	}
	resp, err := c.do(ctx, http.MethodPut, "/v1/resolvers/"+keyPath(name), q, module, http.Header{"Content-Type": {"application/wasm"}})
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return r, c.lost(ctx, err)
	}
	return r, nil
}

// RetireResolver retires a resolver.
func (c *Client) RetireResolver(ctx context.Context, name string) (r api.SchemaReceipt, err error) {
	err = c.call(ctx, http.MethodDelete, "/v1/resolvers/"+keyPath(name), nil, nil, &r)
	return r, err
}

// Views lists the views of the space.
func (c *Client) Views(ctx context.Context) (v api.Views, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/views", nil, nil, &v)
	return v, err
}

// PutView adds a view, or replaces it.
func (c *Client) PutView(ctx context.Context, name string, doc []byte) (r api.Receipt, err error) {
	err = c.call(ctx, http.MethodPut, "/v1/views/"+keyPath(name), nil, bytes.NewReader(doc), &r)
	return r, err
}

// RemoveView drops a view.
func (c *Client) RemoveView(ctx context.Context, name string) (r api.Receipt, err error) {
	err = c.call(ctx, http.MethodDelete, "/v1/views/"+keyPath(name), nil, nil, &r)
	return r, err
}

// ShowView returns a page of what a view shows; a limit of 0 leaves it to the
// server.
func (c *Client) ShowView(ctx context.Context, name, after string, limit int, at string) (p api.ViewPage, err error) {
	q := page("limit", strconv.Itoa(limit), "at", at)
	if after != "" {
		q.Set("after", after)
	}
	err = c.call(ctx, http.MethodGet, "/v1/views/"+keyPath(name), q, nil, &p)
	return p, err
}

// WatchView yields what a view shows as events "item", then "ready", and then an
// "item" for each that changes.
func (c *Client) WatchView(ctx context.Context, name string) iter.Seq2[Event, error] {
	return c.events(ctx, "/v1/views/"+keyPath(name)+"/watch", url.Values{}, "")
}
