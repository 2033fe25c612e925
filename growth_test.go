package rhizome

import (
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var growthFlag = flag.String("growth", "", "draw docs/growth.svg anew, from a longer run")

// What edits of the same keys take on disk, with a compaction now and then and
// without one: the one line rises for ever, the other stays where it is.
func TestGrowth(t *testing.T) {
	const keys = 500
	edits, every := 8_000, 2_000
	if *growthFlag != "" {
		edits, every = 200_000, 10_000
	}
	var lines [2][]float64 // MB after each part
	for i, compacts := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "repo")
		if err := Init(dir, "growth"); err != nil {
			t.Fatal(err)
		}
		r := mathrand.New(mathrand.NewPCG(1, 1))
		for done := 0; done < edits; done += every / 4 {
			write(t, dir, every/4, func(int, *mathrand.Rand) Op {
				return Op{Kind: OpPut, Entity: fmt.Sprintf("key/%d", r.IntN(keys)), Value: raw100(r)}
			})
			if compacts && done%every == every-every/4 {
				n := openDir(t, dir)
				if _, err := n.Compact(t.Context(), CompactOptions{Force: true}); err != nil {
					t.Fatal(err)
				}
				mustClose(t, n)
			}
			lines[i] = append(lines[i], float64(dirBytes(t, filepath.Join(dir, dataDir)))/1e6)
		}
	}
	last := len(lines[0]) - 1
	t.Logf("%d edits of %d keys: %.2f MB without compaction, %.2f MB with", edits, keys, lines[0][last], lines[1][last])
	if lines[1][last] > lines[0][last]/4 || lines[0][last] < 1 {
		t.Errorf("%.2f MB with compaction, %.2f MB without", lines[1][last], lines[0][last])
	}
	if *growthFlag != "" {
		svg := drawGrowth(lines, edits)
		if err := os.WriteFile(*growthFlag, []byte(svg), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// drawGrowth draws two lines over a number of edits.
func drawGrowth(lines [2][]float64, edits int) string {
	const width, height, left, bottom, right = 660.0, 300.0, 66.0, 40.0, 34.0
	top := 0.0
	for _, l := range lines {
		for _, y := range l {
			top = max(top, y)
		}
	}
	x := func(i, n int) float64 { return left + (width-left-right)*float64(i+1)/float64(n) }
	y := func(v float64) float64 { return height - bottom - (height-bottom-28)*v/top }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="white"/>`+"\n", width, height)
	for i := range 5 {
		v := top * float64(i) / 4
		fmt.Fprintf(&b, `<path d="M%g %.1fH%g" stroke="#ddd"/><text x="%g" y="%.1f" text-anchor="end">%.1f MB</text>`+"\n",
			left, y(v), width-right, left-6, y(v)+4, v)
		n := edits * i / 4
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle">%d</text>`+"\n",
			left+(width-left-right)*float64(i)/4, height-bottom+18, n)
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle">edits of 500 keys</text>`+"\n", (left+width-right)/2, height-6)
	for i, c := range []struct{ color, name string }{{"#c0392b", "without compaction"}, {"#2471a3", "compacted every 10,000 edits"}} {
		l := lines[i]
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="2" d="M%g %.1f`, c.color, left, y(0))
		for k, v := range l {
			fmt.Fprintf(&b, "L%.1f %.1f", x(k, len(l)), y(v))
		}
		fmt.Fprintf(&b, `"/><text x="%.1f" y="%.1f" text-anchor="end" fill="%s">%s</text>`+"\n",
			width-right, y(slices.Max(l[max(0, len(l)-8):]))-8, c.color, c.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
