package report

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// WriteMarkdown writes the page that docs/benchmarks.md is.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\n" + intro + "\n")
	r.machineText(&b)
	for _, c := range Charts() {
		if slices.ContainsFunc(c.Bars, func(x Bar) bool { return r.row(x).Scenario != "" }) {
			fmt.Fprintf(&b, "![%s, %s](benchmarks/%s.svg)\n\n", c.Title, c.Better, c.Name)
		}
	}
	b.WriteString("## All figures\n\n" + reading + "\n")
	for _, s := range r.Scenarios {
		r.scenarioText(&b, s)
	}
	r.lossesText(&b)
	b.WriteString(setup)
	for _, e := range r.Errors {
		fmt.Fprintf(&b, "\n**Error**: %s\n", e)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const intro = "Written by the program in [bench](../bench/README.md), as `go -C bench run . -write`; nothing here is edited by hand.\n\n" +
	"Rhizome is measured beside the peer that people would pick, [go-ds-crdt](https://github.com/ipfs/go-ds-crdt), a\n" +
	"go-datastore replicated by Merkle-CRDTs, with two exchanges of blocks: the usual one of ipfs-lite (Bitswap), and a plain\n" +
	"one that waits for no timer, which is better than what its users have. Raw Pebble, on which both stand, is the limit. All\n" +
	"run in processes of their own, in turn, over real libp2p on loopback and on a real disk, and every value is read back and\n" +
	"compared.\n"

const reading = "Medians, and the range in brackets. Ratios are ours ÷ the other, run by run, and their median: of a rate more is better, of\n" +
	"all else less is. Where there are no figures the cell says why; – is what does not apply.\n"

const setup = `## How they were set up

- All three have Pebble with the same options: newest format, memtables of 64 MiB, the same cache, filters and compression.
- Both networks are libp2p with TCP, Noise, Yamux and gossipsub on loopback, without discovery, relays or NAT mapping. Rhizome has
  its private network's second encryption on top, go-ds-crdt has none, and no limits on resources.
- A put of go-ds-crdt is four writes to its datastore. They are left unsynced, and one Sync follows each put or batch: one
  fsync, which is the cheapest durable put that the library has. It broadcasts before that fsync, which is to its advantage.
- go-ds-crdt tells its heads again every second (a minute is its default) and has long gossip queues, so that a burst is not dropped.
- Bytes on the wire are what the kernel counts as the payload of the TCP connections, handshakes included. Peak memory
  (` + "`rss`" + `) is that of the largest of the processes, which are one program and so begin equal.
- Puts, batches and removals run side by side in ten slices, one system's after another's; all else runs as a whole, in turn.
- Stores that are not what is measured are filled beforehand: Rhizome's by durable puts, the others' without fsyncs.
`

func (r *Report) machineText(b *strings.Builder) {
	m := r.Machine
	fmt.Fprintf(b, "Measured on %s with `%s`, which took %s: %s, %d CPUs, %d MiB of memory, %s %s on %s, file system %s, %s. The load was\n%s before and %s after; the machine may be shared, so look at ratios first.\n\n",
		r.Started.Format("2 January 2006"), r.Command, minutes(r.Seconds), m.CPU, m.CPUs, m.MemoryMiB, m.OS, m.Kernel, m.Arch, m.FileSystem, m.Go, m.LoadBefore, m.LoadAfter)
	b.WriteString("| Module | Version |\n| --- | --- |\n")
	for _, x := range r.Modules {
		fmt.Fprintf(b, "| %s | %s |\n", x.Path, x.Version)
	}
	b.WriteString("\n")
}

func minutes(seconds float64) string {
	if seconds < 90 {
		return fmt.Sprintf("%.0f s", seconds)
	}
	return fmt.Sprintf("%.0f min", seconds/60)
}

func (r *Report) scenarioText(b *strings.Builder, s Scenario) {
	fmt.Fprintf(b, "### %s\n\n%s. Durability: %s.\n\n", s.Name, capital(s.About), s.Durability)
	b.WriteString("| Metric | Rhizome | go-ds-crdt | … plain exchange | raw Pebble | ÷ go-ds-crdt | ÷ … plain | ÷ Pebble | Runs |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, x := range r.Rows {
		if x.Scenario != s.Name {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %d |\n", x.Metric,
			x.cell("ours", x.Ours, true), x.cell("peer", x.Peer, true), x.cell("peer_fast", x.PeerFast, true), x.cell("limit", x.Limit, true),
			ratio(x.RatioPeer), ratio(x.RatioPeerFast), ratio(x.RatioLimit), x.Runs)
	}
	b.WriteString("\n")
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// noise is by how much two sides may differ before one is said to be behind.
const noise = 0.05

// behind returns by which factor ours is worse than another, 0 where it is not.
func (r Row) behind(ratio *float64) float64 {
	if ratio == nil || *ratio <= 0 {
		return 0
	}
	worse := *ratio
	if r.HigherIsBetter() {
		worse = 1 / worse
	}
	if worse < 1+noise {
		return 0
	}
	return worse
}

// lossesText lists the rows in which Rhizome is behind the peer, with either
// exchange, the worst first.
func (r *Report) lossesText(b *strings.Builder) {
	type loss struct {
		row   Row
		worst float64
	}
	var losses []loss
	for _, x := range r.Rows {
		if worst := max(x.behind(x.RatioPeer), x.behind(x.RatioPeerFast)); worst > 0 {
			losses = append(losses, loss{x, worst})
		}
	}
	slices.SortStableFunc(losses, func(x, y loss) int { return cmp.Compare(y.worst, x.worst) })
	b.WriteString("## Where Rhizome is behind\n\n")
	if len(losses) == 0 {
		b.WriteString("In no row by more than 5 % of go-ds-crdt.\n\n")
		return
	}
	b.WriteString("By more than 5 %, of go-ds-crdt with the exchange that is better in the row:\n\n")
	for _, l := range losses {
		fmt.Fprintf(b, "- %s, %s: %s times\n", l.row.Scenario, l.row.Metric, digits(l.worst))
	}
	b.WriteString("\n")
}

// WriteDocs writes the page and its charts into a directory of documents.
func (r *Report) WriteDocs(dir string) error {
	write := func(name string, text string) error {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write documents: %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "benchmarks"), 0o755); err != nil {
		return fmt.Errorf("write documents: %w", err)
	}
	for _, c := range Charts() {
		var b strings.Builder
		drawn, err := r.WriteSVG(&b, c)
		if err != nil {
			return fmt.Errorf("draw %s: %w", c.Name, err)
		}
		if !drawn {
			continue
		}
		if err := write(filepath.Join("benchmarks", c.Name+".svg"), b.String()); err != nil {
			return err
		}
	}
	var b strings.Builder
	if err := r.WriteMarkdown(&b); err != nil {
		return err
	}
	return write("benchmarks.md", b.String())
}
