package report

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable writes the report for a terminal.
func (r *Report) WriteTable(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d CPUs, %s %s, %s, %s; load %s, then %s\n", m.CPU, m.CPUs, m.OS, m.Kernel, m.FileSystem, m.Go, m.LoadBefore, m.LoadAfter)
	for _, x := range r.Modules {
		fmt.Fprintf(w, "%s %s\n", x.Path, x.Version)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SCENARIO\tMETRIC\tOURS\tPEER\tPEER FAST\tLIMIT\t÷ PEER\t÷ FAST\t÷ LIMIT\tRUNS")
	for _, x := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", x.Scenario, x.Metric,
			x.cell("ours", x.Ours, false), x.cell("peer", x.Peer, false), x.cell("peer_fast", x.PeerFast, false), x.cell("limit", x.Limit, false),
			ratio(x.RatioPeer), ratio(x.RatioPeerFast), ratio(x.RatioLimit), x.Runs)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nMedians. Ratios are ours ÷ the other, pair by pair; of a rate more is better, of all else less is.")
	for _, e := range r.Errors {
		fmt.Fprintf(w, "error: %s\n", e)
	}
	return nil
}
