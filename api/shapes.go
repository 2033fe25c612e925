package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A Path is a JSON pointer inside an entity.
type Path = delta.Path

// A Reading is one read of a key with every survivor.
type Reading struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	ETag      string          `json:"etag"`
	Conflicts []Path          `json:"conflicts"`
	Survivors []Survivor      `json:"survivors"`
	// Incoming are the keys that refer to the entity.
	Incoming []string `json:"incoming"`
	// Rules name the schema, and the view, by which value was read.
	Rules string `json:"rules,omitempty"`
	// Errors say which properties have no value.
	Errors []PropertyError `json:"errors,omitempty"`
	// Refs are the entities that the survivors refer to, as far as was asked.
	Refs []Reading `json:"refs,omitempty"`
}

// A Survivor is one live delta with its provenance.
type Survivor struct {
	Path  Path            `json:"path"`
	Value json.RawMessage `json:"value"`
	// Total is that of a counter's lane.
	Total   *int64 `json:"total,omitempty"`
	Verb    string `json:"verb"`
	Dot     string `json:"dot"`
	CID     string `json:"cid"`
	Creator string `json:"creator"`
	Author  string `json:"author"`
	Lane    string `json:"lane"`
	// Time is the wall part of HLC.
	Time time.Time `json:"time"`
	HLC  string    `json:"hlc"`
	Txn  string    `json:"txn"`
	// Shown says that the lossy read shows this one.
	Shown bool `json:"shown"`
}

// FormatHLC prints a reading of a hybrid clock as milliseconds.counter.
func FormatHLC(t clock.Timestamp) string { return fmt.Sprintf("%d.%d", t.Millis(), t.Counter()) }

// dotText returns a dot's name; of the zero dot, which names nothing, "".
func dotText(d clock.Dot) string {
	if d == (clock.Dot{}) {
		return ""
	}
	return d.String()
}

func rawJSON(x any) json.RawMessage { return delta.AppendAnyJSON(nil, x) }

func rawValue(v delta.Value) json.RawMessage {
	if len(v) == 0 {
		return json.RawMessage("null")
	}
	b, err := delta.AppendJSON(nil, v)
	if err != nil {
		return json.RawMessage("null") // admission lets no such value in
	}
	return b
}

// ReadingOf returns a reading as JSON has it.
func ReadingOf(r *rhizome.Reading) Reading {
	out := Reading{
		Key: delta.Key(r.Entity, r.Path), Value: rawJSON(r.Value), ETag: r.ETag,
		Conflicts: append([]Path{}, r.Conflicts...), Survivors: make([]Survivor, 0, len(r.Survivors)),
		Incoming: append([]string{}, r.Incoming...), Rules: r.Rules, Errors: PropertyErrorsOf(r.Errors),
	}
	for i := range r.Survivors {
		out.Survivors = append(out.Survivors, SurvivorOf(&r.Survivors[i]))
	}
	for i := range r.Refs {
		out.Refs = append(out.Refs, ReadingOf(&r.Refs[i]))
	}
	return out
}

// SurvivorOf returns a survivor as JSON has it.
func SurvivorOf(s *rhizome.Survivor) Survivor {
	out := Survivor{
		Path: s.Path, Verb: s.Verb.String(), Dot: dotText(s.Dot), CID: s.CID, Creator: CreatorOf(s),
		Author: s.Author.String(), Lane: s.Dot.Lane.String(), Time: s.Time.Time(), HLC: FormatHLC(s.Time),
		Txn: dotText(s.Txn), Shown: s.Shown,
	}
	out.Value, out.Total = valueOf(s.Verb, s.Value)
	if s.Verb == delta.Inc {
		out.Total = &s.Total
	}
	return out
}

// valueOf returns a delta's value; of an inc the amount, and the total where
// the value carries it.
func valueOf(verb delta.Verb, v delta.Value) (json.RawMessage, *int64) {
	if verb == delta.Inc {
		if inc, ok := v.Inc(); ok {
			return rawJSON(inc.Amount), &inc.Total
		}
	}
	return rawValue(v), nil
}

// A Receipt tells what a transaction became.
type Receipt struct {
	// Txn names the transaction for undo; empty where nothing had to be
	// written.
	Txn     string   `json:"txn"`
	CID     string   `json:"cid"`
	Deltas  int      `json:"deltas"`
	Skipped []string `json:"skipped,omitempty"`
	// ETags are those of the keys of the operations, in their order, where
	// they were asked for.
	ETags []string `json:"etags,omitempty"`
}

// ReceiptOf returns a receipt as JSON has it.
func ReceiptOf(r *rhizome.Receipt) Receipt {
	out := Receipt{Txn: dotText(r.Txn), CID: r.CID, Deltas: r.Deltas, Skipped: r.Skipped}
	for _, tag := range r.ETags {
		if tag != "" { // where any was asked for, all were
			out.ETags = r.ETags
			break
		}
	}
	return out
}

// A Change is one transaction as the node applied it.
type Change struct {
	Cursor  string        `json:"cursor,omitempty"`
	Txn     string        `json:"txn"`
	CID     string        `json:"cid"`
	Author  string        `json:"author"`
	Creator string        `json:"creator"`
	Time    time.Time     `json:"time"`
	HLC     string        `json:"hlc"`
	Deltas  []ChangeDelta `json:"deltas"`
}

// A ChangeDelta is one delta of a change.
type ChangeDelta struct {
	Key   string          `json:"key"`
	Verb  string          `json:"verb"`
	Value json.RawMessage `json:"value,omitempty"`
	Total *int64          `json:"total,omitempty"`
	Kills int             `json:"kills,omitempty"`
	Dot   string          `json:"dot"`
}

// ChangeOf returns a change as JSON has it.
func ChangeOf(c *rhizome.Change) Change {
	out := Change{
		Cursor: c.Cursor, Txn: dotText(c.Txn), CID: c.CID, Author: c.Author.String(), Creator: creatorOf(c.Creator, c.Author),
		Time: c.Time.Time(), HLC: FormatHLC(c.Time), Deltas: make([]ChangeDelta, 0, len(c.Deltas)),
	}
	for i := range c.Deltas {
		d := &c.Deltas[i]
		o := ChangeDelta{Key: delta.Key(d.Entity, d.Path), Verb: d.Verb.String(), Kills: d.Kills, Dot: dotText(d.Dot)}
		if d.Verb.Survives() {
			o.Value, o.Total = valueOf(d.Verb, d.Value)
		}
		out.Deltas = append(out.Deltas, o)
	}
	return out
}

// A LogEntry is one entry of the log.
type LogEntry struct {
	Cursor string    `json:"cursor,omitempty"`
	Entry  string    `json:"entry"` // lane:seq
	CID    string    `json:"cid"`
	Prev   string    `json:"prev,omitempty"`
	Body   string    `json:"body"`
	Author string    `json:"author"`
	Time   time.Time `json:"time"`
	HLC    string    `json:"hlc"`
	Deps   []string  `json:"deps"`
	Signed bool      `json:"signed"`
	Bytes  int       `json:"bytes"`
	Closed bool      `json:"closed,omitempty"`
	Txns   []Change  `json:"txns"`
	// Past is the entry's causal past, of one entry alone; PastCut says that it
	// reaches below the raw history that is held, and so is at least this.
	Past    []string `json:"past,omitempty"`
	PastCut bool     `json:"past_cut,omitempty"`
}

// LogEntryOf returns an entry as JSON has it.
func LogEntryOf(e *rhizome.LogEntry) LogEntry {
	out := LogEntry{
		Cursor: e.Cursor, Entry: e.ID.String(), CID: e.CID, Prev: e.Prev, Body: e.Body, Author: e.Author.String(),
		Time: e.Time.Time(), HLC: FormatHLC(e.Time), Deps: ids(e.Deps), Signed: e.Signed, Bytes: e.Bytes,
		Closed: e.Closed, Txns: make([]Change, 0, len(e.Txns)), Past: ids(e.Past), PastCut: e.PastCut,
	}
	for i := range e.Txns {
		out.Txns = append(out.Txns, ChangeOf(&e.Txns[i]))
	}
	return out
}

func ids(in []clock.EntryID) []string {
	out := make([]string, len(in))
	for i := range in {
		out[i] = in[i].String()
	}
	return out
}

// An Identity says who a node is and where it listens.
type Identity struct {
	ID    string   `json:"id"`
	Addrs []string `json:"addrs"`
	PID   int      `json:"pid"`
}

// Keys is a page of entity ids. Next, where not empty, is what to ask for
// entities after.
type Keys struct {
	Keys []string `json:"keys"`
	Next string   `json:"next,omitempty"`
}

// LogPage is a page of the log. Next, where not empty, is what to ask for
// entries since.
type LogPage struct {
	Entries []LogEntry `json:"entries"`
	Next    string     `json:"next,omitempty"`
	// Start, where entries before it are no longer held, is the cursor behind
	// which the log is whole.
	Start string `json:"start,omitempty"`
}

// Peers holds the peers that a node knows.
type Peers struct {
	Peers []PeerStatus `json:"peers"`
}

// A PeerRequest names a peer to add.
type PeerRequest struct {
	Addr string `json:"addr"`
}

// An Invite is the string that another host joins with.
type Invite struct {
	Invite string `json:"invite"`
}

// An ImportProgress tells how far an import got. The last one of a response
// has Done or Problem.
type ImportProgress struct {
	Docs    uint64   `json:"docs"`    // documents that are in
	Lines   uint64   `json:"lines"`   // lines up to the last of them
	Bytes   uint64   `json:"bytes"`   // of the input, up to there
	Written uint64   `json:"written"` // deltas that had to be written
	Done    bool     `json:"done,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

// A VerifyProgress tells how far a verify got. The last one of a response has
// Report or Problem.
type VerifyProgress struct {
	Done    uint64        `json:"done"`
	Total   uint64        `json:"total"`
	Report  *VerifyReport `json:"report,omitempty"`
	Problem *Problem      `json:"problem,omitempty"`
}

// A VerifyReport is what a full reread of the repo found.
type VerifyReport struct {
	Entries  uint64   `json:"entries"`
	Rows     uint64   `json:"rows"`
	Lanes    uint64   `json:"lanes"`
	Problems []string `json:"problems"`
}
