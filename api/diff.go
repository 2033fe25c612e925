package api

import (
	"encoding/json"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A DiffReport says in what two states differ.
type DiffReport struct {
	Peer    string    `json:"peer"` // its id, or "backup"
	Equal   bool      `json:"equal"`
	SameLog bool      `json:"same_log"`
	Here    uint64    `json:"here"`
	There   uint64    `json:"there"`
	Rows    []DiffRow `json:"rows"`
	More    bool      `json:"more,omitempty"`
}

// A DiffRow is a survivor that one side alone has.
type DiffRow struct {
	Key   string          `json:"key"`
	Dot   string          `json:"dot"`
	Value json.RawMessage `json:"value"`
	Side  string          `json:"side"` // here or there
	// New says that the other side has not applied the entry that it is of.
	New bool `json:"new"`
}

// DiffReportOf returns a report as JSON has it.
func DiffReportOf(r *rhizome.DiffReport) (DiffReport, error) {
	out := DiffReport{
		Peer: r.Peer, Equal: r.Equal, SameLog: r.SameLog, Here: r.Here, There: r.There, Rows: make([]DiffRow, 0, len(r.Rows)), More: r.More,
	}
	for i := range r.Rows {
		x := &r.Rows[i]
		side := "there"
		if x.Here {
			side = "here"
		}
		value, err := delta.AppendJSON(nil, x.Value)
		if err != nil {
			return out, err // a value that no entry could hold
		}
		out.Rows = append(out.Rows, DiffRow{Key: delta.Key(x.Entity, x.Path), Dot: x.Dot.String(), Value: value, Side: side, New: x.New})
	}
	return out, nil
}
