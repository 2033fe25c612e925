package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/template"

	"github.com/rhizome-p2p/rhizome/bench/internal/stat"
)

// A Chart is a picture of some rows: a bar to each system, on a logarithmic
// axis, since the systems lie powers of ten apart.
type Chart struct {
	// Name is the file's, without extension.
	Name  string
	Title string
	// Better says which way is good.
	Better string
	Unit   string
	// Bars name a row each.
	Bars []Bar
}

// A Bar names a row of the report and says how a reader calls it.
type Bar struct{ Scenario, Metric, Label string }

// Charts are the pictures of the page.
func Charts() []Chart {
	return []Chart{
		{"writes", "Durable writes a second", "more is better", "/s", []Bar{
			{"put-single", "rate", "one writer"},
			{"put-64", "rate", "64 writers"},
			{"batch-100", "rate", "batches of 100"},
			{"batch-1000", "rate", "batches of 1,000"},
		}},
		{"replication", "Time until other replicas have it", "less is better", "s", []Bar{
			{"visible", "p50", "one put, median"},
			{"burst", "time", "burst of 5,000"},
			{"ten", "time", "1,000 puts on ten"},
			{"resync", "time", "100 + 100 apart"},
			{"fresh-1000", "time", "fresh, 1,000"},
			{"fresh-10000", "time", "fresh, 10,000"},
			{"fresh-50000", "time", "fresh, 50,000"},
			{"fresh-1000000", "time", "fresh, 1,000,000"},
		}},
		{"bytes", "Bytes on the wire and on disk", "less is better", "B", []Bar{
			{"burst", "wire_bytes", "wire, burst of 5,000"},
			{"ten", "wire_bytes", "wire, 1,000 on ten"},
			{"resync", "wire_bytes", "wire, 100 + 100 apart"},
			{"fresh-10000", "wire_bytes", "wire, fresh, 10,000"},
			{"disk", "disk_bytes_before", "disk, 20,000 keys"},
			{"disk", "disk_bytes", "disk, compacted"},
		}},
	}
}

const (
	chartWidth  = 760
	plotLeft    = 170
	plotRight   = 640 // the figures stand behind the bars
	firstGroup  = 74
	barHeight   = 11
	barStep     = 13
	groupGap    = 12
	legendTop   = 44
	legendStep  = 150
	minBarWidth = 2
)

// columns are the systems of a chart, in the order of their bars.
var columns = []struct {
	class, title, column string
	of                   func(Row) *stat.Spread
}{
	{"ours", "Rhizome", "ours", func(r Row) *stat.Spread { return r.Ours }},
	{"peer", "go-ds-crdt", "peer", func(r Row) *stat.Spread { return r.Peer }},
	{"fast", "… plain exchange", "peer_fast", func(r Row) *stat.Spread { return r.PeerFast }},
	{"limit", "raw Pebble", "limit", func(r Row) *stat.Spread { return r.Limit }},
}

type picture struct {
	Title, Better string
	Width, Height int
	Legend        []mark
	Lines         []line
	Groups        []group
}

type mark struct {
	X, Y  int
	Class string
	Text  string
}

type line struct {
	X, Top, Bottom int
	Text           string
}

type group struct {
	Y     int
	Label string
	Bars  []bar
}

type bar struct {
	X, Y, Width, Height, TextX, TextY int
	Class, Text                       string
}

// WriteSVG draws a chart of the rows that are there; drawn says whether there
// were any.
func (r *Report) WriteSVG(w io.Writer, c Chart) (drawn bool, err error) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, b := range c.Bars {
		row := r.row(b)
		for _, col := range columns {
			if s := col.of(row); s != nil && s.Median > 0 {
				x := inUnit(s.Median, row.Unit, c.Unit)
				low, high = min(low, x), max(high, x)
			}
		}
	}
	if high < low {
		return false, nil
	}
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	if from == to {
		to++
	}
	at := func(x float64) int {
		return plotLeft + int(math.Round((math.Log10(x)-from)/(to-from)*(plotRight-plotLeft)))
	}
	return true, svg.Execute(w, r.picture(c, at, from, to))
}

func (r *Report) picture(c Chart, at func(float64) int, from, to float64) picture {
	p := picture{Title: c.Title, Better: c.Better, Width: chartWidth}
	for i, col := range columns {
		p.Legend = append(p.Legend, mark{X: plotLeft + i*legendStep, Y: legendTop, Class: col.class, Text: col.title})
	}
	y := firstGroup
	for _, b := range c.Bars {
		row := r.row(b)
		g := group{Label: b.Label}
		top := y
		for _, col := range columns {
			s := col.of(row)
			text := row.Notes[col.column]
			if s == nil && text == "" {
				continue
			}
			x := bar{X: plotLeft, Y: y, Height: barHeight, TextY: y + barHeight - 2, Class: col.class, Text: text}
			if s != nil && s.Median > 0 {
				x.Width = at(inUnit(s.Median, row.Unit, c.Unit)) - plotLeft
			}
			if s != nil {
				x.Text = figure(s.Median, row.Unit)
				x.Width = max(x.Width, minBarWidth) // without a figure there is no bar
			}
			x.TextX = x.X + x.Width + 5
			g.Bars = append(g.Bars, x)
			y += barStep
		}
		if len(g.Bars) == 0 {
			continue
		}
		g.Y = (top+y)/2 + 3
		p.Groups = append(p.Groups, g)
		y += groupGap
	}
	for e := from; e <= to; e++ {
		x := math.Pow(10, e)
		p.Lines = append(p.Lines, line{X: at(x), Top: firstGroup - 6, Bottom: y, Text: round.Replace(figure(x, c.Unit))})
	}
	p.Height = y + 24
	return p
}

// round takes the digits from a power of ten that say nothing.
var round = strings.NewReplacer(".00 ", " ", ".0 ", " ")

// row returns the row that a bar names, an empty one where it was not measured.
func (r *Report) row(b Bar) Row {
	for _, row := range r.Rows {
		if row.Scenario == b.Scenario && row.Metric == b.Metric {
			return row
		}
	}
	return Row{}
}

// inUnit makes seconds of milliseconds where the chart wants them.
func inUnit(x float64, have, want string) float64 {
	if have == "ms" && want == "s" {
		return x / 1000
	}
	return x
}

// svg has no scripts and both colour schemes: the viewer's decides.
var svg = template.Must(template.New("svg").Funcs(template.FuncMap{
	"below": func(y int) string { return fmt.Sprint(y + 16) },
}).Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.Width}} {{.Height}}" font-family="sans-serif" font-size="11" role="img" aria-label="{{.Title}}, {{.Better}}">
<style>
.back { fill: #ffffff } text { fill: #24292f } .line { stroke: #d0d7de } .soft { fill: #57606a }
.ours { fill: #1a7f5a } .peer { fill: #b35900 } .fast { fill: #e0a458 } .limit { fill: #8c959f }
@media (prefers-color-scheme: dark) {
.back { fill: #0d1117 } text { fill: #e6edf3 } .line { stroke: #30363d } .soft { fill: #9198a1 }
.ours { fill: #3fb983 } .peer { fill: #db8a3a } .fast { fill: #8f6229 } .limit { fill: #6e7681 }
}
</style>
<rect class="back" width="{{.Width}}" height="{{.Height}}"/>
<text x="16" y="24" font-size="15" font-weight="bold">{{.Title}}</text>
<text class="soft" x="{{.Width}}" dx="-16" y="24" text-anchor="end">{{.Better}}; logarithmic</text>
{{range .Legend}}<rect class="{{.Class}}" x="{{.X}}" y="{{.Y}}" width="11" height="11"/><text x="{{.X}}" dx="16" y="{{.Y}}" dy="10">{{.Text}}</text>
{{end}}{{range .Lines}}<path class="line" d="M{{.X}} {{.Top}}V{{.Bottom}}"/><text class="soft" x="{{.X}}" y="{{below .Bottom}}" text-anchor="middle">{{.Text}}</text>
{{end}}{{range .Groups}}<text x="160" y="{{.Y}}" text-anchor="end">{{.Label}}</text>
{{range .Bars}}{{if .Width}}<rect class="{{.Class}}" x="{{.X}}" y="{{.Y}}" width="{{.Width}}" height="{{.Height}}"/>{{end}}<text x="{{.TextX}}" y="{{.TextY}}" font-size="10">{{.Text}}</text>
{{end}}{{end}}</svg>
`))
