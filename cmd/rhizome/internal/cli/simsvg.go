package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/simnet"
)

// The figure's size and the margins of its plot.
const (
	svgWidth, svgHeight                  = 720, 300
	svgLeft, svgRight, svgTop, svgBottom = 56, 16, 40, 44
)

// convergenceSVG draws the share of hosts that are equal over virtual time.
func convergenceSVG(r *simnet.Report, faultsEnd time.Duration) []byte {
	last := max(r.VirtualS, 1)
	x := func(s float64) float64 { return svgLeft + s/last*(svgWidth-svgLeft-svgRight) }
	y := func(share float64) float64 { return svgTop + (1-share)*(svgHeight-svgTop-svgBottom) }

	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#222">`, svgWidth, svgHeight)
	put(`<rect width="%d" height="%d" fill="#fff"/>`, svgWidth, svgHeight)
	put(`<text x="%d" y="20" font-size="14">Hosts with equal vector and state: %d hosts, seed %d</text>`, svgLeft, r.Peers, r.Seed)
	for _, share := range []float64{0, 0.25, 0.5, 0.75, 1} {
		put(`<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f %%</text>`,
			svgLeft, y(share), svgWidth-svgRight, svgLeft-6, y(share)+4, share*100)
	}
	step := tickStep(last)
	for at := 0.0; at <= last; at += step {
		put(`<text x="%.1f" y="%d" text-anchor="middle">%g s</text>`, x(at), svgHeight-svgBottom+18, at)
	}
	put(`<text x="%d" y="%d" text-anchor="end">virtual time</text>`, svgWidth-svgRight, svgHeight-8)
	if end := faultsEnd.Seconds(); end <= last {
		put(`<path d="M%.1f %dV%d" stroke="#c33" stroke-dasharray="4 3"/>`, x(end), svgTop, svgHeight-svgBottom)
		put(`<text x="%.1f" y="%d" text-anchor="end" fill="#c33">faults and writes end</text>`, x(end)-4, svgTop-6)
	}
	b.WriteString(`<path fill="none" stroke="#26c" stroke-width="1.5" d="`)
	for i, p := range r.Equal {
		c := 'L'
		if i == 0 {
			c = 'M'
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", c, x(p.AtS), y(p.Share))
	}
	b.WriteString("\"/>\n</svg>\n")
	return []byte(b.String())
}

// tickStep is a round number of seconds that parts a span in at most ten.
func tickStep(span float64) float64 {
	for scale := 1.0; ; scale *= 10 {
		for _, n := range []float64{1, 2, 5} {
			if span/(n*scale) <= 10 {
				return n * scale
			}
		}
	}
}
