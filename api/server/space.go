package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
)

// readOptions reads how a request wants to read.
func readOptions(r *http.Request) (rhizome.ReadOptions, error) {
	q := r.URL.Query()
	expand, err := number(r, "expand")
	return rhizome.ReadOptions{At: q.Get("at"), View: q.Get("view"), Raw: isSet(r, "raw"), Expand: expand}, err
}

// keyToRead reads the key of a request, and how it wants to read it.
func keyToRead(r *http.Request) (entity string, p api.Path, o rhizome.ReadOptions, err error) {
	if entity, p, err = key(r); err == nil {
		o, err = readOptions(r)
	}
	return entity, p, o, err
}

// body decodes a request of one JSON object; form is what it must look like.
func body(r *http.Request, into any, form string) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil && dec.More() {
		err = errors.New("more text after the object")
	}
	var tooBig *http.MaxBytesError
	if err == nil || errors.As(err, &tooBig) {
		return err
	}
	return api.NewProblem(api.CodeValidation, "the body: "+err.Error(), "the body is "+form)
}

// getMany reads many keys at once.
func (s *Server) getMany(w http.ResponseWriter, r *http.Request) error {
	var q api.KeysRequest
	if err := body(r, &q, `{"keys": [KEY, …]}`); err != nil {
		return err
	}
	if len(q.Keys) > maxPage {
		return api.NewProblem(api.CodeValidation, strconv.Itoa(len(q.Keys))+" keys, at most "+strconv.Itoa(maxPage)+" are allowed", "ask in several requests")
	}
	keys := make([]rhizome.Key, len(q.Keys))
	for i, k := range q.Keys {
		var err error
		if keys[i].Entity, keys[i].Path, err = delta.ParseKey(k); err != nil {
			return api.Problemf(api.CodeValidation, "%v", err)
		}
	}
	o, err := readOptions(r)
	if err != nil {
		return err
	}
	found, err := s.node.GetMany(r.Context(), keys, o)
	if err != nil {
		return err
	}
	return ok(w, keyValues(found, isSet(r, "lossless")))
}

func keyValues(read []rhizome.KeyRead, lossless bool) api.KeyValues {
	out := api.KeyValues{Values: make([]api.KeyValue, len(read))}
	for i := range read {
		out.Values[i] = api.KeyValueOf(&read[i], lossless)
	}
	return out
}

// readRange reads the entities with a prefix, or those of a view, page by page.
func (s *Server) readRange(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r, "limit")
	if err != nil {
		return err
	}
	o, err := readOptions(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	read, more, err := s.node.ReadRange(r.Context(), q.Get("prefix"), q.Get("after"), min(limit, maxPage), o)
	if err != nil {
		return err
	}
	out := keyValues(read, isSet(r, "lossless"))
	if more && len(read) > 0 {
		out.Next = read[len(read)-1].Entity
	}
	return ok(w, out)
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	entity, p, o, err := keyToRead(r)
	if err != nil {
		return err
	}
	x, err := s.node.Explain(r.Context(), entity, p, o)
	if err != nil {
		return err
	}
	return ok(w, api.ExplanationOf(&x))
}

func (s *Server) space(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, api.SpaceSettings{RequireSchema: s.node.Catalog().RequireSchema})
}

func (s *Server) setSpace(w http.ResponseWriter, r *http.Request) error {
	var q api.SpaceSettings
	if err := body(r, &q, `{"require_schema": true or false}`); err != nil {
		return err
	}
	receipt, err := s.node.RequireSchema(r.Context(), q.RequireSchema)
	return answer(w, &receipt, err)
}

// answer answers with a receipt.
func answer(w http.ResponseWriter, r *rhizome.Receipt, err error) error {
	if err != nil {
		return err
	}
	return ok(w, api.ReceiptOf(r))
}

func (s *Server) schemas(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, api.SchemasOf(s.node.Catalog()))
}

// schema answers with the document of one version, the active one where none is
// named.
func (s *Server) schema(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	version, err := number(r, "version")
	if err != nil {
		return err
	}
	c := s.node.Catalog()
	if version == 0 {
		for _, x := range c.Schemas.Schemas() {
			if x.Schema.Name == name {
				version = x.Schema.Version
			}
		}
	}
	for _, x := range c.Versions() {
		if x.Name == name && x.Version == version {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(append(x.Canonical(), '\n'))
			return nil
		}
	}
	return api.NewProblem(api.CodeNotFound, "no schema "+name+" of that version", "see rhizome schema ls")
}

func (s *Server) addSchema(w http.ResponseWriter, r *http.Request) error {
	doc, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if isSet(r, "dry_run") {
		x, err := s.node.CheckSchema(r.Context(), doc)
		if err != nil {
			return err
		}
		return ok(w, api.SchemaReceipt{Name: x.Name, Version: x.Version, DryRun: true})
	}
	x, receipt, err := s.node.AddSchema(r.Context(), doc)
	if err != nil {
		return err
	}
	return ok(w, api.SchemaReceipt{Name: x.Name, Version: x.Version, Receipt: api.ReceiptOf(&receipt)})
}

func (s *Server) removeSchema(w http.ResponseWriter, r *http.Request) error {
	receipt, err := s.node.RemoveSchema(r.Context(), r.PathValue("name"))
	return answer(w, &receipt, err)
}

func (s *Server) resolvers(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, api.ResolversOf(s.node.Catalog()))
}

// wasmType is the media type of a WebAssembly module.
const wasmType = "application/wasm"

// putResolver adds a version: a module, or an expression.
func (s *Server) putResolver(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == wasmType {
		module, err := io.ReadAll(http.MaxBytesReader(w, r.Body, catalog.MaxModuleBytes))
		if err != nil {
			return err
		}
		version, receipt, err := s.node.AddWASM(r.Context(), name, r.URL.Query().Get("description"), module)
		return s.resolverAdded(w, name, version, &receipt, err)
	}
	var q api.CELRequest
	if err := body(r, &q, `{"expression": CEL, "description": …}, or a module as `+wasmType); err != nil {
		return err
	}
	version, receipt, err := s.node.AddCEL(r.Context(), name, q.Description, q.Expression)
	return s.resolverAdded(w, name, version, &receipt, err)
}

func (s *Server) retireResolver(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	version, receipt, err := s.node.RetireResolver(r.Context(), name)
	return s.resolverAdded(w, name, version, &receipt, err)
}

func (s *Server) resolverAdded(w http.ResponseWriter, name string, version int, r *rhizome.Receipt, err error) error {
	if err != nil {
		return err
	}
	return ok(w, api.SchemaReceipt{Name: name, Version: version, Receipt: api.ReceiptOf(r)})
}

func (s *Server) views(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, api.ViewsOf(s.node.Catalog()))
}

func (s *Server) putView(w http.ResponseWriter, r *http.Request) error {
	doc, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	receipt, err := s.node.AddView(r.Context(), r.PathValue("name"), doc)
	return answer(w, &receipt, err)
}

func (s *Server) removeView(w http.ResponseWriter, r *http.Request) error {
	receipt, err := s.node.RemoveView(r.Context(), r.PathValue("name"))
	return answer(w, &receipt, err)
}

func (s *Server) showView(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r, "limit")
	if err != nil {
		return err
	}
	q := r.URL.Query()
	items, more, err := s.node.ShowView(r.Context(), r.PathValue("name"), q.Get("after"), min(limit, maxPage), q.Get("at"))
	if err != nil {
		return err
	}
	page := api.ViewPage{Items: make([]api.ViewItem, len(items))}
	for i := range items {
		page.Items[i] = api.ViewItemOf(&items[i])
	}
	if more && len(items) > 0 {
		page.Next = items[len(items)-1].Entity
	}
	return ok(w, page)
}

// watchView streams what a view shows, and then what changes in it.
func (s *Server) watchView(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if s.node.Catalog().View(name) == nil {
		return api.NewProblem(api.CodeNotFound, "no view "+name, "see rhizome view ls")
	}
	return s.events(w, r, func(ctx context.Context, emit func(event) bool) error {
		for item, err := range s.node.WatchView(ctx, name) {
			if err != nil {
				return err
			}
			e := event{name: "item", data: api.ViewItemOf(&item)}
			if item.Ready {
				e = event{name: "ready", data: struct{}{}}
			}
			if !emit(e) {
				return nil
			}
		}
		return nil
	})
}
