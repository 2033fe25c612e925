package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/delta"
)

// openRepo returns an OpenFunc of a repo, which it makes.
func openRepo(t *testing.T, dir string) OpenFunc {
	t.Helper()
	if err := rhizome.Init(dir, "test"); err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) (LocalNode, error) {
		n, err := rhizome.Open(ctx, rhizome.Options{Dir: dir, Offline: true})
		if errors.Is(err, rhizome.ErrLocked) {
			return nil, fmt.Errorf("%w: %w", ErrLocked, err)
		}
		if err != nil {
			return nil, err
		}
		return n, nil
	}
}

// local returns a client that serves itself a new repo.
func local(t *testing.T) *Client {
	t.Helper()
	c, err := Connect(t.Context(), "", 0, openRepo(t, filepath.Join(t.TempDir(), "repo")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func put(t *testing.T, c *Client, key, value string) api.Receipt {
	t.Helper()
	r, err := c.Commit(t.Context(), api.Op{Op: "put", Key: key, Value: json.RawMessage(value)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// code returns the class of an error.
func code(err error) api.Code {
	var p *api.Problem
	if !errors.As(err, &p) {
		return ""
	}
	return p.Code
}

// A client serves itself a whole API without a network: what is written is
// read, listed, logged and told.
func TestInProcess(t *testing.T) {
	c := local(t)
	ctx := t.Context()
	if !c.Local {
		t.Error("not local")
	}
	keys := []string{"a", "a//b", "..", ".", "ü ?&%#/x~1y", "a/", "/"}
	for i, k := range keys {
		r := put(t, c, k, fmt.Sprint(i))
		v, err := c.Get(ctx, k)
		if err != nil || string(v.JSON) != fmt.Sprint(i) || v.ETag == "" || v.ETag != r.ETags[0] {
			t.Errorf("%q: %+v %v, receipt %+v", k, v, err, r)
		}
		read, err := c.Read(ctx, k)
		if err != nil || read.Key != k || len(read.Survivors) != 1 || !read.Survivors[0].Shown || read.Survivors[0].Dot != r.Txn {
			t.Errorf("%q: %+v %v", k, read, err)
		}
		e, err := c.Show(ctx, r.CID)
		if err != nil || e.CID != r.CID || e.Txns[0].Deltas[0].Key != k {
			t.Errorf("%q: %+v %v", k, e, err)
		}
	}
	page, err := c.List(ctx, "a", "a", 1)
	if err != nil || len(page.Keys) != 1 || page.Keys[0] != "a/" || page.Next != "a/" {
		t.Errorf("list: %+v %v", page, err)
	}
	log, err := c.Log(ctx, "", "", 3)
	if err != nil || len(log.Entries) != 3 || log.Next == "" {
		t.Fatalf("log: %+v %v", log, err)
	}
	log, err = c.Log(ctx, "", log.Next, 0)
	if err != nil || len(log.Entries) != len(keys)-3 || log.Next != "" {
		t.Errorf("log: %+v %v", log, err)
	}
	status, err := c.Status(ctx, true)
	if err != nil || status.Entries != uint64(len(keys)) {
		t.Errorf("status: %+v %v", status, err)
	}
	id, err := c.Identity(ctx)
	if err != nil || id.ID != status.Node || id.PID != os.Getpid() {
		t.Errorf("identity: %+v %v", id, err)
	}
	if s, err := c.Invite(ctx); err != nil || !strings.HasPrefix(s, "rhizome1") {
		t.Errorf("invite: %q %v", s, err)
	}
	if r, err := c.Verify(ctx, func(uint64, uint64) {}); err != nil || len(r.Problems) > 0 || r.Entries != uint64(len(keys)) {
		t.Errorf("verify: %+v %v", r, err)
	}
	if r, err := c.Compact(ctx, "1h", true, true, nil); err != nil || r.Dropped != 0 {
		t.Errorf("compact --to 1h: %+v %v", r, err)
	}
	parts := 0
	if r, err := c.Compact(ctx, "", false, false, func(int, int) { parts++ }); err != nil || r.Dropped != uint64(len(keys)) || parts == 0 {
		t.Errorf("compact: %+v %v", r, err)
	}
	if all, err := c.Checkpoints(ctx); err != nil || len(all) != 1 || !all[0].Done {
		t.Errorf("checkpoints: %+v %v", all, err)
	}
	if v, err := c.GetWith(ctx, "a", rhizome.ReadOptions{At: "now"}); err != nil || string(v.JSON) != "0" {
		t.Errorf("get at: %+v %v", v, err)
	}
	var then bytes.Buffer
	if err := c.ExportAt(ctx, "", "now", &then); err != nil || bytes.Count(then.Bytes(), []byte("\n")) != len(keys) {
		t.Errorf("export at: %s %v", &then, err)
	}
	for what, err := range map[string]error{
		"get":    func() error { _, err := c.ReadWith(ctx, "a", rhizome.ReadOptions{At: "1h"}); return err }(),
		"export": c.ExportAt(ctx, "", "1h", io.Discard),
	} {
		if p := new(api.Problem); !errors.As(err, &p) || p.Code != api.CodeHorizon || p.Cursor == "" || p.Time == nil {
			t.Errorf("%s below the horizon: %v", what, err)
		}
	}
	for e, err := range c.Changes(ctx, "", "0") {
		if p := new(api.Problem); !errors.As(err, &p) || p.Code != api.CodeGone || p.Status != 410 || p.Cursor == "" {
			t.Errorf("changes from the beginning: %+v %v", e, err)
		}
		break
	}
	if p, err := c.Peers(ctx); err != nil || len(p.Peers) != 0 {
		t.Errorf("peers: %+v %v", p, err)
	}
	for name, err := range map[api.Code]error{
		api.CodeNotFound:   func() error { _, err := c.Get(ctx, "nobody"); return err }(),
		api.CodeValidation: c.AddPeer(ctx, "nonsense"),
		api.CodeConflict: func() error {
			_, err := c.Commit(ctx, api.Op{Op: "put", Key: "a", Value: json.RawMessage("1"), IfMatch: "absent"})
			return err
		}(),
	} {
		if code(err) != name {
			t.Errorf("%v is no %s", err, name)
		}
	}
}

// A stream that is taken up at any of its cursors has what came after, even
// between transactions that share one entry.
func TestResumeInsideEntry(t *testing.T) {
	c := local(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Writes at once share entries; until some have, there are more.
	shared := false
	for total := 0; !shared; {
		var writers sync.WaitGroup
		for range 32 {
			total++
			key := fmt.Sprintf("k%d", total)
			writers.Go(func() { put(t, c, key, "1") })
		}
		writers.Wait()
		log, err := c.Log(ctx, "", "", 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range log.Entries {
			shared = shared || len(e.Txns) > 2
		}
	}
	status, err := c.Status(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	var all []Event
	for e, err := range c.Changes(ctx, "", "0") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Name == "change" {
			all = append(all, e)
		}
		if len(all) > 0 && lastOf(e) && entriesOf(t, all) == status.Entries {
			break
		}
	}
	for i := range all[:len(all)-1] {
		for e, err := range c.Changes(ctx, "", all[i].ID) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Name == "ready" {
				continue
			}
			if e.ID != all[i+1].ID || !bytes.Equal(e.Data, all[i+1].Data) {
				t.Fatalf("after %s comes %s, want %s", all[i].ID, e.ID, all[i+1].ID)
			}
			break
		}
	}
}

// lastOf reports whether an event's transaction is the last of its entry.
func lastOf(e Event) bool { return !strings.Contains(e.ID, ".") }

func entriesOf(t *testing.T, events []Event) uint64 {
	t.Helper()
	cids := map[string]bool{}
	for _, e := range events {
		var c api.Change
		if err := json.Unmarshal(e.Data, &c); err != nil {
			t.Fatal(err)
		}
		cids[c.CID] = true
	}
	return uint64(len(cids))
}

// A follower of the log gets what is there and what comes.
func TestFollow(t *testing.T) {
	c := local(t)
	put(t, c, "a", "1")
	n := 0
	for e, err := range c.FollowLog(t.Context(), "", "") {
		if err != nil || e.Name != "entry" || e.ID == "" {
			t.Fatalf("%+v %v", e, err)
		}
		if n++; n == 2 {
			break
		}
		put(t, c, "b", "1")
	}
	for _, err := range c.Changes(t.Context(), "", "nonsense") {
		if err != nil {
			if code(err) != api.CodeValidation {
				t.Errorf("a cursor of nobody: %v", err)
			}
			break
		}
	}
}

// What is exported and imported elsewhere is the same, whatever verbs wrote
// it; imported again, also where it came from, it writes nothing.
func TestExportImport(t *testing.T) {
	here, there := local(t), local(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		n++
		id := fmt.Sprintf("e%d/%s", n, rapid.SampledFrom([]string{"", "id", "$value", "ü"}).Draw(rt, "id"))
		for range rapid.IntRange(1, 6).Draw(rt, "ops") {
			op := drawOp(rt, id)
			if _, err := here.Commit(ctx, op); err != nil {
				rt.Fatalf("%+v: %v", op, err)
			}
		}
		var text, again bytes.Buffer
		if err := here.Export(ctx, id, &text); err != nil {
			rt.Fatal(err)
		}
		if _, err := there.Import(ctx, bytes.NewReader(text.Bytes()), func(api.ImportProgress) {}); err != nil {
			rt.Fatalf("import %s: %v", &text, err)
		}
		if err := there.Export(ctx, id, &again); err != nil {
			rt.Fatal(err)
		}
		if text.String() != again.String() {
			rt.Fatalf("exported %s\nand after the import %s", &text, &again)
		}
		a, aerr := here.Get(ctx, id)
		b, berr := there.Get(ctx, id)
		if code(aerr) != code(berr) || string(a.JSON) != string(b.JSON) {
			rt.Fatalf("here %s %v, there %s %v", a.JSON, aerr, b.JSON, berr)
		}
		where := []*Client{there}
		if r, err := here.Read(ctx, id); err != nil || len(r.Conflicts) == 0 {
			where = append(where, here) // an import settles conflicts
		}
		for _, c := range where {
			p, err := c.Import(ctx, bytes.NewReader(text.Bytes()), func(api.ImportProgress) {})
			if err != nil || p.Written != 0 {
				rt.Fatalf("the second import of %s wrote %d, %v", &text, p.Written, err)
			}
		}
	})
}

func drawOp(t *rapid.T, id string) api.Op {
	path := rapid.SampledFrom([]string{"", "", "#/a", "#/a/b", "#/id", "#/$value", "#/$bags", "#/x~1y"}).Draw(t, "path")
	op := api.Op{Op: rapid.SampledFrom([]rhizome.OpKind{"put", "put", "put", "add", "inc", "vote", "rm"}).Draw(t, "op"), Key: id + path}
	switch op.Op {
	case "inc":
		n := rapid.Int64Range(-5, 5).Draw(t, "n")
		op.N = &n
	case "rm":
	default:
		op.Value = delta.AppendAnyJSON(nil, drawValue(t, 2))
	}
	return op
}

func drawValue(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case kind == 0:
		return nil
	case kind == 1:
		return rapid.Bool().Draw(t, "bool")
	case kind == 2:
		return rapid.Int64().Draw(t, "int")
	case kind == 3:
		return rapid.Float64Range(-1e9, 1e9).Draw(t, "float")
	case kind == 4:
		return []byte(rapid.StringN(0, 4, 8).Draw(t, "bytes"))
	case kind == 5:
		return map[string]any{"$ref": "e0/"}
	case kind == 6 && depth > 0:
		return []any{drawValue(t, depth-1), drawValue(t, depth-1)}
	case kind >= 7 && depth > 0:
		m := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			name := rapid.SampledFrom([]string{"a", "b", "id", "$value", "$counters", "$", "x/y~", ""}).Draw(t, "name")
			m[name] = drawValue(t, depth-1)
		}
		return m
	}
	return rapid.StringN(0, 8, 16).Draw(t, "text")
}

// Where a node runs, its address is used; a stale one does no harm; a lock
// without an answer is told from one without an address.
func TestConnect(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	open := openRepo(t, dir)
	stale := api.Address{Addr: "127.0.0.1:1", Token: "old", PID: 1}
	if err := api.WriteAddress(dir, stale); err != nil {
		t.Fatal(err)
	}
	c, err := Connect(t.Context(), dir, 0, open)
	if err != nil || !c.Local {
		t.Fatalf("with a stale address: %v", err)
	}
	_, err = Connect(t.Context(), dir, 0, open)
	if code(err) != api.CodeUnreachable || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("locked, with a stale address: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, api.AddressFile)); err != nil {
		t.Fatal(err)
	}
	if _, err = Connect(t.Context(), dir, 0, open); code(err) != api.CodeLocked {
		t.Errorf("locked, without an address: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = Connect(ctx, dir, time.Hour, func(context.Context) (LocalNode, error) { return nil, ErrLocked }); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}

	// Who waits gets the repo once it is free.
	waited := make(chan error, 1)
	tries := make(chan struct{}, 1)
	go func() {
		c, err := Connect(t.Context(), dir, time.Minute, func(ctx context.Context) (LocalNode, error) {
			select {
			case tries <- struct{}{}:
			default:
			}
			return open(ctx)
		})
		if err == nil {
			err = c.Close()
		}
		waited <- err
	}()
	<-tries
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("after waiting: %v", err)
	}
	bad := errors.New("broken")
	if _, err := Connect(t.Context(), dir, time.Hour, func(context.Context) (LocalNode, error) { return nil, bad }); !errors.Is(err, bad) {
		t.Errorf("a repo that does not open: %v", err)
	}
}

// What answers may be no node, or none may.
func TestForeign(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/id") {
			_, _ = io.WriteString(w, `{"pid": 1}`)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/v1/invite") {
			_, _ = io.WriteString(w, `<html>`)
			return
		}
		http.Error(w, "<html>", http.StatusTeapot)
	}))
	defer s.Close()
	c, err := New(s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Get(t.Context(), "k")
	if code(err) != api.CodeUnreachable || !strings.Contains(err.Error(), "no rhizome node") {
		t.Error(err)
	}
	if _, err = c.Invite(t.Context()); code(err) != api.CodeUnreachable {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := api.WriteAddress(dir, api.Address{Addr: strings.TrimPrefix(s.URL, "http://"), PID: 2}); err != nil {
		t.Fatal(err)
	}
	_, err = Connect(t.Context(), dir, 0, func(context.Context) (LocalNode, error) { return nil, ErrLocked })
	if code(err) != api.CodeUnreachable || !strings.Contains(err.Error(), "another process listens") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	gone, err := New(ln.Addr().String(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = gone.Get(t.Context(), "k"); code(err) != api.CodeUnreachable {
		t.Error(err)
	}
	for _, addr := range []string{"", "http://", "ftp://x", "http://x/y", "http://x y"} {
		if _, err := New(addr, ""); code(err) != api.CodeUsage {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// Events come whole, whatever their fields and the ends of their lines.
func TestReadEvents(t *testing.T) {
	var got []Event
	err := readEvents(strings.NewReader("\n: hello\n\nid: 1\r\nevent: x\r\ndata: {\r\ndata: }\r\n\r\nevent:y\ndata:2\nother\n\nevent: cut\n"), func(e Event) bool {
		got = append(got, e)
		return true
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) != 2 || got[0].ID != "1" || got[0].Name != "x" || string(got[0].Data) != "{\n}" ||
		got[1].ID != "1" || got[1].Name != "y" || string(got[1].Data) != "2" {
		t.Errorf("%+v %v", got, err)
	}
}

// WholeLines hands on all of a text, and whole lines of it when interrupted.
func TestWholeLines(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab\n")), 0, 300_000, -1).Draw(rt, "text")
		got, err := io.ReadAll(WholeLines(t.Context(), strings.NewReader(text)))
		if err != nil || string(got) != text {
			rt.Fatalf("%d bytes of %d, %v", len(got), len(text), err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	in := WholeLines(ctx, r)
	go func() { _, _ = io.WriteString(w, "one\ntwo\nhal") }()
	first := make([]byte, 2)
	if _, err := io.ReadFull(in, first); err != nil {
		t.Fatal(err)
	}
	cancel()
	rest, err := io.ReadAll(in)
	if got := string(first) + string(rest); err != nil || got != "one\ntwo\n" {
		t.Errorf("%q %v", got, err)
	}
	failing := errors.New("the disk is gone")
	if _, err := io.ReadAll(WholeLines(t.Context(), io.MultiReader(strings.NewReader("a"), errReader{failing}))); !errors.Is(err, failing) {
		t.Error(err)
	}
	if _, err := io.ReadAll(WholeLines(ctx, strings.NewReader(strings.Repeat("x", 3*longestLine)))); err != nil {
		t.Error(err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
